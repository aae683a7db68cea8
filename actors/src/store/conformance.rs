//! What every store must do, as one suite that each implementation runs.
//!
//! Responsible for the contract of [`Store`]; not for what only one database can do wrong (its own tests) nor
//! for the death of the process and the loss of power, which need another process.
//!
//! Each check gets a [`Place`] of its own.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Barrier};
use std::thread;

use futures_util::FutureExt as _;

use super::{Batch, Error, Key, KeyRange, Log, Order, Precondition, Result, Rows, Store};
use crate::limits;

/// Where one store is kept.
pub trait Place {
    /// Opens the store: empty at first, later with what was there.
    fn open(&self) -> Result<Arc<dyn Store>>;
}

/// One check of the suite. It fails by panicking.
pub type Check = fn(&dyn Place);

/// The checks and their names.
pub const CHECKS: &[(&str, Check)] = &[
    ("a_batch_is_applied_in_order_and_read_back", a_batch_is_applied_in_order_and_read_back),
    ("a_rejected_batch_changes_nothing", a_rejected_batch_changes_nothing),
    ("a_precondition_sees_every_batch_before_it", a_precondition_sees_every_batch_before_it),
    ("a_failed_precondition_answers_what_stands_there", a_failed_precondition_answers_what_stands_there),
    ("commits_take_effect_in_the_order_of_the_calls", commits_take_effect_in_the_order_of_the_calls),
    ("a_dropped_future_commits_all_the_same", a_dropped_future_commits_all_the_same),
    ("appends_are_numbered_without_gaps", appends_are_numbered_without_gaps),
    ("numbers_never_repeat_after_their_rows_are_gone", numbers_never_repeat_after_their_rows_are_gone),
    ("what_is_durable_is_published", what_is_durable_is_published),
    ("reserved_and_oversized_keys_are_refused", reserved_and_oversized_keys_are_refused),
    ("a_log_row_can_be_replaced_but_not_invented", a_log_row_can_be_replaced_but_not_invented),
    ("scans_respect_bounds_order_and_limit", scans_respect_bounds_order_and_limit),
    ("keys_of_all_bytes_keep_their_order", keys_of_all_bytes_keep_their_order),
    ("large_values_come_and_go", large_values_come_and_go),
    ("everything_is_there_after_reopening", everything_is_there_after_reopening),
    ("many_writers_lose_nothing", many_writers_lose_nothing),
    ("readers_see_whole_values_while_they_change", readers_see_whole_values_while_they_change),
    (
        "closing_waits_for_what_is_queued_and_refuses_the_rest",
        closing_waits_for_what_is_queued_and_refuses_the_rest,
    ),
    ("a_second_open_is_refused", a_second_open_is_refused),
];

/// Runs every check, each in a place of its own.
pub fn run<P: Place>(new_place: impl Fn() -> P) {
    for (name, check) in CHECKS {
        // On the standard error, so that a failure says which check it was.
        eprintln!("conformance: {name}");
        check(&new_place());
    }
}

/// Waits for a future of a store on this thread.
///
/// # Panics
/// When the operating system has no resources for a timer-less runtime.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime without drivers needs nothing that could be missing").block_on(future)
}

fn a_batch_is_applied_in_order_and_read_back(place: &dyn Place) {
    let store = open(place);
    assert_eq!(store.get(b"a").expect("reads"), None);
    let mut batch = Batch::new();
    batch.put("a", "1").put("b", "1").delete("b").put("a", "2").delete("c").put("c", "3").put("empty", "");
    assert_eq!(commit(&store, batch).expect("commits"), 1);
    assert_eq!(everything(&store), rows(&[("a", "2"), ("c", "3"), ("empty", "")]));
    assert_eq!(commit(&store, Batch::new()).expect("commits"), 1, "an empty batch is fine");
    let mut batch = Batch::new();
    batch.delete("a").delete("never there");
    commit(&store, batch).expect("deleting needs no row");
    assert_eq!(store.get(b"a").expect("reads"), None);
}

fn a_rejected_batch_changes_nothing(place: &dyn Place) {
    let store = open(place);
    put(&store, "taken", "by the first");
    let mut batch = Batch::new();
    batch.put("new", "x").append(Log::Events, "row");
    batch.require(Precondition::Absent(b"free".to_vec())).require(Precondition::Absent(b"taken".to_vec()));
    assert!(matches!(commit(&store, batch), Err(Error::Precondition { .. })));
    assert_eq!(everything(&store), rows(&[("taken", "by the first")]));
    let mut batch = Batch::new();
    batch.append(Log::Events, "first");
    assert_eq!(commit(&store, batch).expect("commits"), 1, "the rejected batch used no number");
}

fn a_precondition_sees_every_batch_before_it(place: &dyn Place) {
    let store = open(place);
    // Queued without waiting, so that a store that groups takes them into few groups.
    let claims: Vec<_> = (0..100)
        .map(|number: u32| {
            let mut batch = Batch::new();
            batch.require(Precondition::Absent(b"claim".to_vec())).put("claim", number.to_string());
            store.commit(batch)
        })
        .collect();
    let mut release = Batch::new();
    release.require(Precondition::Present(b"claim".to_vec())).delete("claim");
    let release = store.commit(release);
    let mut again = Batch::new();
    again.require(Precondition::Present(b"claim".to_vec())).put("never", "");
    let again = store.commit(again);
    for (number, claim) in claims.into_iter().enumerate() {
        match (number, wait(claim)) {
            (0, Ok(_)) => {}
            (1.., Err(Error::Precondition { key, existing })) => {
                assert_eq!((key.as_slice(), existing.as_deref()), (&b"claim"[..], Some(&b"0"[..])));
            }
            (_, other) => panic!("claim {number} answered {other:?}"),
        }
    }
    wait(release).expect("the claim was there");
    assert!(matches!(wait(again), Err(Error::Precondition { existing: None, .. })));
    assert_eq!(everything(&store), Rows::new());
}

fn a_failed_precondition_answers_what_stands_there(place: &dyn Place) {
    let store = open(place);
    put(&store, "k", "value");
    let mut batch = Batch::new();
    batch.require(Precondition::Absent(b"k".to_vec()));
    let answer = wait(store.commit(batch));
    assert!(
        matches!(&answer, Err(Error::Precondition { existing: Some(value), .. }) if value == b"value"),
        "{answer:?}"
    );
    let mut batch = Batch::new();
    batch.require(Precondition::Present(b"other".to_vec()));
    let answer = wait(store.commit(batch));
    assert!(matches!(&answer, Err(Error::Precondition { existing: None, .. })), "{answer:?}");
    assert!(!answer.is_err_and(|error| error.is_retryable()));
}

fn commits_take_effect_in_the_order_of_the_calls(place: &dyn Place) {
    let store = open(place);
    let mut commits: Vec<_> = (0..200u32)
        .map(|number| {
            let mut batch = Batch::new();
            batch.put("last", number.to_string()).append(Log::Outbox, number.to_string());
            store.commit(batch)
        })
        .collect();
    // Awaiting the last one first changes nothing.
    commits.reverse();
    for commit in commits {
        wait(commit).expect("commits");
    }
    assert_eq!(store.get(b"last").expect("reads").as_deref(), Some(&b"199"[..]));
    let logged = scan(&store, KeyRange::log(Log::Outbox), Order::Ascending, 1_000);
    assert_eq!(logged.len(), 200);
    for (index, (key, value)) in logged.into_iter().enumerate() {
        assert_eq!(Log::Outbox.seq(&key), Some(index as u64 + 1));
        assert_eq!(value, index.to_string().into_bytes());
    }
}

fn a_dropped_future_commits_all_the_same(place: &dyn Place) {
    let store = open(place);
    let mut batch = Batch::new();
    batch.put("dropped", "but there");
    drop(store.commit(batch));
    put(&store, "barrier", "");
    assert!(store.get(b"dropped").expect("reads").is_some());
}

fn appends_are_numbered_without_gaps(place: &dyn Place) {
    let mut expected = 1;
    for round in 0..3 {
        let store = open(place);
        for size in 0..4u64 {
            let mut batch = Batch::new();
            for number in 0..size {
                let log = if number % 2 == 0 { Log::Events } else { Log::Outbox };
                batch.append(log, format!("{round}"));
            }
            assert_eq!(commit(&store, batch).expect("commits"), expected);
            expected += size;
        }
        store.close();
    }
    let store = open(place);
    let seqs = |log: Log| -> Vec<u64> {
        let rows = scan(&store, KeyRange::log(log), Order::Ascending, 1_000);
        rows.iter().map(|(key, _)| log.seq(key).expect("keys of a log have a number")).collect()
    };
    let mut all = seqs(Log::Events);
    all.extend(seqs(Log::Outbox));
    all.sort_unstable();
    assert_eq!(all, (1..expected).collect::<Vec<_>>());
}

fn numbers_never_repeat_after_their_rows_are_gone(place: &dyn Place) {
    let store = open(place);
    let mut batch = Batch::new();
    batch.append(Log::Events, "1").append(Log::Outbox, "2").append(Log::Outbox, "3");
    commit(&store, batch).expect("commits");
    let mut batch = Batch::new();
    for seq in 1..=3 {
        batch.delete(Log::Events.key(seq)).delete(Log::Outbox.key(seq));
    }
    commit(&store, batch).expect("commits");
    assert_eq!(everything(&store), Rows::new());
    store.close();
    let store = open(place);
    assert_eq!(*store.appended().borrow(), 3);
    let mut batch = Batch::new();
    batch.append(Log::Events, "4");
    assert_eq!(commit(&store, batch).expect("commits"), 4);
}

fn what_is_durable_is_published(place: &dyn Place) {
    let store = open(place);
    let mut appended = store.appended();
    assert_eq!(*appended.borrow_and_update(), 0);
    put(&store, "no", "append");
    assert!(!appended.has_changed().expect("the store is open"));
    let mut batch = Batch::new();
    batch.append(Log::Events, "1").append(Log::Events, "2");
    commit(&store, batch).expect("commits");
    // Published before the future resolves: whoever knows of the commit finds its number here.
    assert_eq!(appended.changed().now_or_never().map(|changed| changed.is_ok()), Some(true));
    assert_eq!(*appended.borrow_and_update(), 2);
}

fn reserved_and_oversized_keys_are_refused(place: &dyn Place) {
    let store = open(place);
    put(&store, "before", "");
    let longest = vec![b'k'; limits::STORE_KEY_BYTES_MAX];
    let mut too_long = longest.clone();
    too_long.push(b'k');
    for key in [Vec::new(), vec![0], b"\0sequence".to_vec(), too_long] {
        let mut puts = Batch::new();
        puts.put("beside", "").put(key.clone(), "");
        let mut deletes = Batch::new();
        deletes.put("beside", "").delete(key.clone());
        let mut requires = Batch::new();
        requires.put("beside", "").require(Precondition::Absent(key.clone()));
        for batch in [puts, deletes, requires] {
            assert!(matches!(commit(&store, batch), Err(Error::InvalidKey { .. })), "{}", key.escape_ascii());
        }
        assert_eq!(store.get(&key).expect("reads"), None);
    }
    store.health().expect("a wrong key is no fault of the store");
    assert_eq!(everything(&store), rows(&[("before", "")]), "and what the store keeps for itself is hidden");
    let mut batch = Batch::new();
    batch.put(longest.clone(), "fits");
    commit(&store, batch).expect("the longest key fits");
    assert_eq!(store.get(&longest).expect("reads").as_deref(), Some(&b"fits"[..]));
}

fn a_log_row_can_be_replaced_but_not_invented(place: &dyn Place) {
    let store = open(place);
    let mut batch = Batch::new();
    batch.append(Log::Outbox, "first try");
    commit(&store, batch).expect("commits");
    let mut batch = Batch::new();
    batch.put(Log::Outbox.key(1), "second try");
    commit(&store, batch).expect("the row exists");
    assert_eq!(store.get(&Log::Outbox.key(1)).expect("reads").as_deref(), Some(&b"second try"[..]));
    for key in [Log::Outbox.key(2), Log::Events.key(u64::MAX), b"o/x".to_vec(), b"e/".to_vec()] {
        let mut batch = Batch::new();
        batch.put(key, "");
        assert!(matches!(commit(&store, batch), Err(Error::InvalidKey { .. })));
    }
}

fn scans_respect_bounds_order_and_limit(place: &dyn Place) {
    let store = open(place);
    assert_eq!(everything(&store), Rows::new());
    let mut batch = Batch::new();
    for key in ["a", "b", "b/1", "b/2", "b/3", "b/30", "b0", "c"] {
        batch.put(key, key);
    }
    commit(&store, batch).expect("commits");
    let keys = |range: KeyRange, order: Order, limit: usize| -> Vec<String> {
        let rows = scan(&store, range, order, limit);
        rows.into_iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect()
    };
    let all = || KeyRange::prefix("");
    let prefix = || KeyRange::prefix("b/");
    assert_eq!(keys(all(), Order::Ascending, usize::MAX).len(), 8);
    assert_eq!(keys(all(), Order::Descending, 2), ["c", "b0"]);
    assert_eq!(keys(prefix(), Order::Ascending, 10), ["b/1", "b/2", "b/3", "b/30"]);
    assert_eq!(keys(prefix(), Order::Descending, 3), ["b/30", "b/3", "b/2"]);
    assert_eq!(keys(prefix(), Order::Ascending, 0), [""; 0]);
    assert_eq!(keys(prefix().after(b"b/2"), Order::Ascending, 10), ["b/3", "b/30"]);
    assert_eq!(keys(prefix().after(b"b/2"), Order::Descending, 10), ["b/30", "b/3"]);
    assert_eq!(keys(prefix().before(b"b/3"), Order::Descending, 10), ["b/2", "b/1"]);
    assert_eq!(keys(prefix().before(b"b/3"), Order::Ascending, 10), ["b/1", "b/2"]);
    assert_eq!(keys(prefix().after(b"a"), Order::Ascending, 1), ["b/1"], "a bound outside changes nothing");
    assert_eq!(keys(prefix().before(b"c"), Order::Descending, 1), ["b/30"]);
    assert_eq!(keys(prefix().after(b"b/1").before(b"b/2"), Order::Ascending, 10), [""; 0]);
    assert_eq!(keys(prefix().after(b"b/3").before(b"b/1"), Order::Ascending, 10), [""; 0], "inverted");
    assert_eq!(keys(prefix().after(b"z"), Order::Descending, 10), [""; 0]);
    assert_eq!(keys(KeyRange::prefix("nothing"), Order::Ascending, 10), [""; 0]);
}

fn keys_of_all_bytes_keep_their_order(place: &dyn Place) {
    let store = open(place);
    let mut keys: Vec<Key> = (1..=255u8).map(|byte| vec![byte]).collect();
    keys.extend([vec![1, 0], vec![0x7f, 0xff], vec![0xff, 0], vec![0xff, 0xff], vec![0xff, 0xff, 0xff]]);
    let mut batch = Batch::new();
    for key in &keys {
        batch.put(key.clone(), key.clone());
    }
    commit(&store, batch).expect("commits");
    keys.sort();
    let found: Vec<Key> = everything(&store).into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, keys);
    let found = scan(&store, KeyRange::prefix([0xff]), Order::Ascending, 10);
    assert_eq!(found.len(), 4, "0xff, and what begins with it");
    let found = scan(&store, KeyRange::prefix([0xff, 0xff]).after(&[0xff, 0xff]), Order::Descending, 10);
    assert_eq!(found, [(vec![0xff; 3], vec![0xff; 3])]);
    assert_eq!(scan(&store, KeyRange::prefix([0x7f, 0xff]), Order::Ascending, 10).len(), 1);
}

fn large_values_come_and_go(place: &dyn Place) {
    let large = |seed: u32, bytes: usize| -> Vec<u8> {
        (0..bytes).map(|index| (index as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) as u8).collect()
    };
    let sizes = [1 << 20, 16 * 1024, 16 * 1024 + 1, 32 * 1024, 3 << 20, 1, 200_000];
    let store = open(place);
    for (round, size) in (0u32..).zip(sizes) {
        let mut batch = Batch::new();
        batch.put("big", large(round, size)).put("bigger", large(round + 100, size)).put("small", "x");
        batch.append(Log::Events, large(round + 200, size));
        commit(&store, batch).expect("commits");
        assert_eq!(store.get(b"big").expect("reads"), Some(large(round, size)), "size {size}");
        let found = scan(&store, KeyRange::prefix("b"), Order::Ascending, 10);
        let expected =
            [(b"big".to_vec(), large(round, size)), (b"bigger".to_vec(), large(round + 100, size))];
        assert!(found == expected, "size {size}");
    }
    let mut batch = Batch::new();
    batch.delete("big").put("bigger", "now small");
    commit(&store, batch).expect("commits");
    store.close();
    let store = open(place);
    assert_eq!(store.get(b"big").expect("reads"), None);
    assert_eq!(store.get(b"bigger").expect("reads").as_deref(), Some(&b"now small"[..]));
    for (round, size) in (0u32..).zip(sizes) {
        let row = store.get(&Log::Events.key(u64::from(round) + 1)).expect("reads");
        assert!(row == Some(large(round + 200, size)), "size {size}");
    }
    assert_eq!(everything(&store).len(), 2 + sizes.len());
}

fn everything_is_there_after_reopening(place: &dyn Place) {
    let mut expected = Rows::new();
    for round in 0..4u32 {
        let store = open(place);
        assert_eq!(everything(&store), expected);
        let mut batch = Batch::new();
        for number in 0..300u32 {
            batch.put(format!("{round}/{number:04}"), format!("{}", round * number));
            expected.push((
                format!("{round}/{number:04}").into_bytes(),
                format!("{}", round * number).into_bytes(),
            ));
        }
        commit(&store, batch).expect("commits");
        // Dropping the last handle closes as well.
        if round.is_multiple_of(2) {
            store.close();
        }
    }
}

fn many_writers_lose_nothing(place: &dyn Place) {
    const WRITERS: u64 = 16;
    const EACH: u64 = 50;
    let store = open(place);
    let start = Barrier::new(usize::try_from(WRITERS).expect("a few"));
    let firsts: Vec<u64> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, start) = (&store, &start);
                scope.spawn(move || {
                    start.wait();
                    let commits = (0..EACH).map(|number| {
                        let mut batch = Batch::new();
                        batch.put(format!("w/{writer:02}/{number:03}"), number.to_string());
                        batch.append(Log::Events, format!("{writer}/{number}")).append(Log::Outbox, "");
                        let first = commit(store, batch).expect("commits");
                        // Reads see what was answered.
                        let row = store.get(&Log::Events.key(first)).expect("reads");
                        assert_eq!(row, Some(format!("{writer}/{number}").into_bytes()));
                        first
                    });
                    commits.collect::<Vec<u64>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer panicked")).collect()
    });
    let firsts: BTreeSet<u64> = firsts.into_iter().collect();
    assert_eq!(firsts, (0..WRITERS * EACH).map(|number| 2 * number + 1).collect());
    assert_eq!(scan(&store, KeyRange::prefix("w/"), Order::Ascending, usize::MAX).len(), 800);
    assert_eq!(*store.appended().borrow(), 2 * WRITERS * EACH);
}

fn readers_see_whole_values_while_they_change(place: &dyn Place) {
    const ROUNDS: u8 = 40;
    let store = open(place);
    let value = |round: u8| vec![round; if round.is_multiple_of(3) { 100 } else { 40_000 }];
    let write = |round: u8| {
        let mut batch = Batch::new();
        for key in 0..20 {
            batch.put(format!("stable/{key:02}"), value(round));
            // Neighbours that come and go make the database move the stable rows about.
            let key = format!("stable/{key:02}/{}", round / 2);
            if round.is_multiple_of(2) {
                batch.put(key, "")
            } else {
                batch.delete(key)
            };
        }
        commit(&store, batch).expect("commits");
    };
    write(0);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while seen < ROUNDS {
                for order in [Order::Ascending, Order::Descending] {
                    let found = scan(&store, KeyRange::prefix("stable/"), order, usize::MAX);
                    let stable: Vec<_> = found.iter().filter(|(key, _)| key.len() == 9).collect();
                    assert_eq!(stable.len(), 20, "{order:?}");
                    for (key, found) in stable {
                        let round = found.first().copied().expect("no value is empty");
                        assert!(*found == value(round), "{} is torn", key.escape_ascii());
                    }
                }
                let last = store.get(b"stable/19").expect("reads").expect("is there");
                assert!(last[0] >= seen, "reads went back from {seen} to {}", last[0]);
                seen = last[0];
            }
        });
        (1..=ROUNDS).for_each(write);
        reader.join().expect("the reader panicked");
    });
}

fn closing_waits_for_what_is_queued_and_refuses_the_rest(place: &dyn Place) {
    let store = open(place);
    let queued: Vec<_> = (0..50u32)
        .map(|number| {
            let mut batch = Batch::new();
            batch.put(number.to_string(), "");
            store.commit(batch)
        })
        .collect();
    store.close();
    for commit in queued {
        wait(commit).expect("was queued before the close");
    }
    let mut late = Batch::new();
    late.put("late", "");
    assert!(matches!(commit(&store, late), Err(Error::Closed)));
    assert!(matches!(store.get(b"0"), Err(Error::Closed)));
    assert!(matches!(store.scan(KeyRange::prefix(""), Order::Ascending, 1), Err(Error::Closed)));
    assert!(matches!(store.health(), Err(Error::Closed)));
    store.close();
    let reopened = open(place);
    assert_eq!(everything(&reopened).len(), 50);
}

fn a_second_open_is_refused(place: &dyn Place) {
    let store = open(place);
    put(&store, "a", "1");
    let second = place.open();
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
    put(&store, "b", "2");
    store.close();
    assert_eq!(everything(&open(place)), rows(&[("a", "1"), ("b", "2")]));
}

fn open(place: &dyn Place) -> Arc<dyn Store> {
    place.open().expect("the store opens")
}

/// Commits and waits; answers the first number.
fn commit(store: &Arc<dyn Store>, batch: Batch) -> Result<u64> {
    wait(store.commit(batch)).map(|committed| committed.first_seq)
}

fn put(store: &Arc<dyn Store>, key: &str, value: &str) {
    let mut batch = Batch::new();
    batch.put(key, value);
    commit(store, batch).expect("commits");
}

fn scan(store: &Arc<dyn Store>, range: KeyRange, order: Order, limit: usize) -> Rows {
    store.scan(range, order, limit).expect("scans")
}

fn everything(store: &Arc<dyn Store>) -> Rows {
    scan(store, KeyRange::prefix(""), Order::Ascending, usize::MAX)
}

fn rows(rows: &[(&str, &str)]) -> Rows {
    rows.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}
