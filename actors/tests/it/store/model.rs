//! Random batches against a map of the standard library: every store must agree with it, also after it was
//! closed and opened again.

use std::collections::BTreeMap;
use std::sync::Arc;

use dogwatch_actors::store::conformance::{Place, wait};
use dogwatch_actors::store::{Batch, Error, Key, KeyRange, Kind, Log, Op, Order, Precondition, Rows, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{InMemory, OnDisk};

/// What the rules say, in the simplest form.
#[derive(Default)]
struct Model {
    rows: BTreeMap<Key, Vec<u8>>,
    last: u64,
}

impl Model {
    /// `Ok` with the first number, or the key and value of the precondition that fails.
    fn commit(&mut self, batch: &Batch) -> Result<u64, (Key, Option<Vec<u8>>)> {
        for precondition in &batch.preconditions {
            let (key, wanted) = match precondition {
                Precondition::Absent(key) => (key, false),
                Precondition::Present(key) => (key, true),
            };
            let existing = self.rows.get(key).cloned();
            if existing.is_some() != wanted {
                return Err((key.clone(), existing));
            }
        }
        let first = self.last + 1;
        for op in &batch.ops {
            match op.clone() {
                Op::Put { key, value } => drop(self.rows.insert(key, value)),
                Op::Delete { key } => drop(self.rows.remove(&key)),
                Op::Append { log, value } => {
                    self.last += 1;
                    self.rows.insert(log.key(self.last), value);
                }
            }
        }
        Ok(first)
    }

    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Rows {
        let within = self.rows.iter().filter(|(key, _)| range.contains(key));
        let within = within.map(|(key, value)| (key.clone(), value.clone()));
        match order {
            Order::Ascending => within.take(limit).collect(),
            Order::Descending => within.rev().take(limit).collect(),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Queued together, then awaited.
    Commit(Vec<Batch>),
    Scan(KeyRange, Order, usize),
    Reopen,
}

fn keys() -> impl Strategy<Value = Key> {
    prop_oneof![
        // Few keys, so that batches meet.
        8 => "[a-c]{1,2}".prop_map(String::into_bytes),
        2 => prop::collection::vec(prop_oneof![Just(1u8), Just(0x7f), Just(0xfe), Just(0xff)], 1..4),
        1 => (900usize..=1_100).prop_map(|length| vec![b'k'; length]),
    ]
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 16_300usize..16_500).prop_map(|(byte, length)| vec![byte; length]),
        1 => (any::<u8>(), 100_000usize..150_000).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (keys(), values()).prop_map(|(key, value)| Op::Put { key, value }),
        3 => keys().prop_map(|key| Op::Delete { key }),
        2 => (prop_oneof![Just(Log::Events), Just(Log::Outbox)], values())
            .prop_map(|(log, value)| Op::Append { log, value }),
        // Rows of a log that may be gone, or were never there: those are no valid keys.
        1 => (1u64..4).prop_map(|seq| Op::Delete { key: Log::Events.key(seq) }),
    ]
}

fn batches() -> impl Strategy<Value = Batch> {
    let precondition = (keys(), any::<bool>()).prop_map(|(key, absent)| {
        if absent { Precondition::Absent(key) } else { Precondition::Present(key) }
    });
    (prop::collection::vec(precondition, 0..2), prop::collection::vec(ops(), 0..8))
        .prop_map(|(preconditions, ops)| Batch { preconditions, ops, patience: None })
}

fn steps() -> impl Strategy<Value = Step> {
    let order = prop_oneof![Just(Order::Ascending), Just(Order::Descending)];
    let range = (keys(), prop::option::of(keys())).prop_map(|(from, to)| KeyRange { from, to });
    let range = prop_oneof![range, keys().prop_map(KeyRange::prefix), Just(KeyRange::prefix(""))];
    prop_oneof![
        6 => prop::collection::vec(batches(), 1..6).prop_map(Step::Commit),
        3 => (range, order, 0usize..20).prop_map(|(range, order, limit)| Step::Scan(range, order, limit)),
        1 => Just(Step::Reopen),
    ]
}

/// Whether the batch names a row of a log that was never appended.
fn is_invalid(batch: &Batch, last: u64) -> bool {
    batch.ops.iter().any(|op| match op {
        Op::Delete { key } => Log::Events.seq(key).is_some_and(|seq| seq > last),
        _ => false,
    })
}

fn agrees(place: &dyn Place, steps: Vec<Step>) {
    let mut model = Model::default();
    let mut store: Arc<dyn Store> = place.open().unwrap();
    for step in steps {
        match step {
            Step::Commit(batches) => {
                let answers: Vec<_> = batches.iter().map(|batch| store.commit(batch.clone())).collect();
                for (batch, answer) in batches.iter().zip(answers) {
                    let answer = wait(answer);
                    if is_invalid(batch, model.last) {
                        assert!(matches!(answer, Err(Error::InvalidKey { .. })));
                        continue;
                    }
                    match (model.commit(batch), answer) {
                        (Ok(first), Ok(committed)) => assert_eq!(first, committed.first_seq),
                        (Err(expected), Err(Error::Precondition { key, existing })) => {
                            assert!(expected == (key, existing));
                        }
                        (expected, answer) => panic!("expected {expected:?}, got {answer:?}"),
                    }
                }
            }
            Step::Scan(range, order, limit) => {
                assert!(
                    store.scan(range.clone(), order, limit).unwrap() == model.scan(&range, order, limit),
                    "{range:?} {order:?} {limit}"
                );
            }
            Step::Reopen => {
                store.close();
                store = place.open().unwrap();
            }
        }
        let all = store.scan(KeyRange::prefix(""), Order::Ascending, usize::MAX).unwrap();
        assert!(all.into_iter().eq(model.rows.clone()), "the stores differ");
        assert_eq!(*store.appended().borrow(), model.last);
    }
}

fn check<P: Place>(cases: u32, new_place: impl Fn() -> P) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(steps(), 1..25), |steps| {
            agrees(&new_place(), steps);
            Ok(())
        })
        .unwrap();
}

#[test]
fn sled_agrees_with_the_model() {
    check(24, || OnDisk::new(Kind::Sled));
}

#[test]
fn redb_agrees_with_the_model() {
    check(24, || OnDisk::new(Kind::Redb));
}

#[test]
fn lsm_agrees_with_the_model() {
    check(24, || OnDisk::new(Kind::Lsm));
}

#[test]
fn memory_agrees_with_the_model() {
    check(200, InMemory::default);
}
