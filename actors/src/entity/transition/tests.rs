//! The rules as tables.

mod locks;

use std::sync::Arc;

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::batch::{self, Batch, BatchOutcome, Gate};
use super::super::event::{
    Asker, BatchEnd, Caller, Effect, Entry, Event, LockRequest, Operation, PurgeCondition, Rejected, Signal,
    StateAfter, Unlock,
};
use super::super::id::EntityId;
use super::super::state::Entity;
use super::{apply, create, resume};
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine as _, Message};
use crate::limits::{ENTITY_BATCH_BYTES_MAX, ENTITY_BATCH_OPERATIONS_MAX, ENTITY_EMPTY_KEPT};
use crate::orchestration::Payload;
use crate::orchestration::event::Start;
use crate::orchestration::history::Outcome;
use crate::orchestration::state::Status;

const T0: Timestamp = Timestamp::from_millis(1_000_000);

fn id(text: &str) -> EntityId {
    text.parse().unwrap()
}

fn after(millis: u64) -> Timestamp {
    T0.after(Duration::from_millis(millis))
}

/// The execution of an orchestration, as `a` or `a/2`.
fn caller(text: &str) -> Caller {
    let (instance, execution) = text.split_once('/').unwrap_or((text, "1"));
    Caller { instance: instance.parse().unwrap(), created_at: T0, execution: execution.parse().unwrap() }
}

/// A signal from outside.
fn signal(name: &str) -> Event {
    let operation = Signal { request_id: Some(name.to_owned()), ..Signal::new(name, name) };
    Event::OperationRequested(Box::new(operation.requested(None, String::new)))
}

/// A signal that waits for its time.
fn scheduled(name: &str, at: Timestamp) -> Event {
    let operation = Signal { request_id: Some(name.to_owned()), at: Some(at), ..Signal::new(name, ()) };
    Event::OperationRequested(Box::new(operation.requested(None, String::new)))
}

/// A call, named as its operation.
fn call(by: &str, name: &str) -> Event {
    let asker = Asker::Call { caller: caller(by), task: 7 };
    let (request_id, operation) = (name.to_owned(), name.to_owned());
    let input = Payload::NONE;
    Event::OperationRequested(Box::new(Operation { request_id, operation, input, asker, trace: None }))
}

/// An entity, with what the store keeps of it.
struct One {
    entity: Option<Entity>,
    entries: BTreeMap<u64, Entry>,
    effects: Vec<Effect>,
    outbox: Vec<Message>,
    now: Timestamp,
}

impl One {
    fn new() -> Self {
        Self { entity: None, entries: BTreeMap::new(), effects: vec![], outbox: vec![], now: T0 }
    }

    fn after(events: impl IntoIterator<Item = Event>) -> Self {
        let mut one = Self::new();
        events.into_iter().for_each(|event| one.does(&event).unwrap());
        one
    }

    fn state(&self) -> &Entity {
        self.entity.as_ref().expect("it is there")
    }

    fn does(&mut self, event: &Event) -> Result<(), Rejected> {
        let step = match &self.entity {
            Some(entity) => apply(entity, event, self.now)?,
            None => create(id("@counter@a"), event, self.now).expect("it creates one")?,
        };
        (self.effects, self.outbox) = (step.effects, step.outbox);
        match step.change {
            Change::None => {}
            Change::Purge => (self.entity, self.entries) = (None, BTreeMap::new()),
            Change::Next(next, entry) => {
                let before = self.entity.as_ref().map_or(0, |entity| entity.revision);
                assert_eq!(next.revision, before + u64::from(entry.is_some()));
                self.entries.extend(entry.map(|entry| (next.revision, entry)));
                let kept = next.kept();
                let is_kept = |entry: &u64| kept.iter().any(|(first, last)| (*first..=*last).contains(entry));
                self.entries.retain(|entry, _| is_kept(entry));
                let numbers: Vec<u64> = kept.iter().flat_map(|(first, last)| *first..=*last).collect();
                assert_eq!(
                    self.entries.keys().copied().collect::<Vec<_>>(),
                    numbers,
                    "what is kept is there"
                );
                assert_eq!(next.liveness() == Liveness::Live, !resume(&next).is_empty());
                self.entity = Some(Arc::unwrap_or_clone(next));
            }
        }
        Ok(())
    }

    fn read(&self) -> impl Fn(u64) -> crate::store::Result<Option<Entry>> + '_ {
        |entry| Ok(self.entries.get(&entry).cloned())
    }

    /// The batch that its code is to run, once the requests and unlocks before it are passed.
    fn batch(&mut self) -> Option<Batch> {
        while self.state().is_running {
            let (entity, number) = (self.state().clone(), self.state().batch);
            let event = if !entity.unsearched.is_empty() {
                let searched: Vec<u64> = entity.unsearched.iter().collect();
                let lock = entity.lock.as_ref().expect("it is searched for the owner's");
                let entries = batch::own(lock, &searched, self.read()).unwrap().expect("all are there");
                Event::OwnFound { number, entries }
            } else if entity.meets_gate() {
                match batch::gate(&entity, self.read()).unwrap().expect("it is there") {
                    Gate::Open => return batch::compose(&entity, self.read()).unwrap(),
                    Gate::Lock(entry, request) => Event::LockReached { number, entry, request },
                    Gate::Unlock(entry, unlock) => Event::UnlockReached { number, entry, unlock },
                }
            } else {
                return batch::compose(&entity, self.read()).unwrap();
            };
            let outbox = std::mem::take(&mut self.outbox);
            self.does(&event).unwrap();
            self.outbox.splice(0..0, outbox);
        }
        None
    }

    /// Runs one batch; the names of its operations. Each answers its own name.
    fn runs(&mut self) -> Vec<String> {
        let Some(batch) = self.batch() else { return vec![] };
        let names: Vec<String> =
            batch.operations.iter().map(|(_, operation)| operation.operation.clone()).collect();
        let results = names.iter().map(|name| Outcome::Completed(name.as_str().into())).collect();
        let end = batch.ended(BatchOutcome { results, state: batch.state.clone(), ..Default::default() });
        let outbox = std::mem::take(&mut self.outbox);
        self.does(&Event::BatchEnded(Box::new(end.expect("it ran something")))).unwrap();
        self.outbox.splice(0..0, outbox);
        names
    }

    /// Runs until nothing more may be run; the names of all operations.
    fn runs_all(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            let more = self.runs();
            if more.is_empty() {
                return names;
            }
            names.extend(more);
        }
    }

    /// Its messages, and to whom they go.
    fn told(&self) -> Vec<(&str, String)> {
        let text =
            |message: &Message| String::from_utf8_lossy(&message.id[1..message.id.len() - 1]).into_owned();
        let kind =
            |message: &Message| message.event.as_object().and_then(|event| event.keys().next().cloned());
        self.outbox
            .iter()
            .map(|message| {
                let what = match kind(message).as_deref() {
                    Some("operation_requested") => "operation",
                    Some("lock_requested") => "lock",
                    Some("unlocked") => "unlock",
                    Some("entity_answered") => "answer",
                    Some("lock_granted") => "granted",
                    Some("start_requested") => "start",
                    other => panic!("{other:?}"),
                };
                (what, text(message))
            })
            .collect()
    }
}

fn end_of(batch: &Batch, state: Payload) -> BatchEnd {
    let results = batch.operations.iter().map(|_| Outcome::Completed(Payload::NONE)).collect();
    batch.ended(BatchOutcome { results, state, ..Default::default() }).expect("it ran something")
}

#[test]
fn operations_are_run_in_the_order_in_which_they_came() {
    let mut one = One::after([signal("1"), signal("2"), call("i", "3")]);
    assert_eq!(one.state().backlog(), 3);
    let first = one.batch().unwrap();
    assert_eq!((first.number, first.operations.len(), first.state.is_none()), (1, 3, true));
    // What comes meanwhile is for the next one.
    one.does(&signal("4")).unwrap();
    assert_eq!(one.effects, [], "one batch at a time");
    one.does(&Event::BatchEnded(Box::new(end_of(&first, "s".into())))).unwrap();
    assert_eq!(one.effects, [Effect::RunBatch { number: 2 }]);
    assert_eq!(one.told(), [("answer", "i".to_owned())], "signals are not answered");
    let answer = &one.outbox[0].event["entity_answered"];
    assert_eq!(
        (&answer["execution"], &answer["task"], &answer["request_id"]),
        (&1.into(), &7.into(), &"3".into())
    );
    assert_eq!(one.runs(), ["4"]);
    assert_eq!((one.state().is_running, one.state().backlog()), (false, 0));
    assert_eq!(one.entries.len(), 1, "only the state is left: {:?}", one.entries);
}

#[test]
fn a_batch_is_bounded_by_number_and_by_bytes() {
    let many = (0..ENTITY_BATCH_OPERATIONS_MAX + 3).map(|number| signal(&number.to_string()));
    let mut one = One::after(many);
    assert_eq!(one.runs().len(), ENTITY_BATCH_OPERATIONS_MAX);
    assert_eq!(one.runs().len(), 3);
    let large = |name: &str, bytes: usize| {
        let signal = Signal::new(name, "x".repeat(bytes));
        Event::OperationRequested(Box::new(signal.requested(None, String::new)))
    };
    let half = ENTITY_BATCH_BYTES_MAX / 2;
    let mut one = One::after([large("1", half), large("2", half), large("3", 10 * half), large("4", 10)]);
    for expected in [vec!["1"], vec!["2"], vec!["3"], vec!["4"]] {
        assert_eq!(one.runs(), expected, "two halves and their quotes are too much; one is always taken");
    }
}

#[test]
fn the_end_of_a_batch_counts_once_and_only_where_it_fits() {
    let fresh = || One::after([signal("1"), signal("2")]);
    let end = end_of(&fresh().batch().unwrap(), "s".into());
    let mut one = fresh();
    one.does(&Event::BatchEnded(Box::new(end.clone()))).unwrap();
    let after = one.state().clone();
    assert_eq!((after.state.is_some(), after.batch), (true, 1));
    one.does(&Event::BatchEnded(Box::new(end.clone()))).unwrap();
    assert_eq!((one.state(), one.effects.len()), (&after, 0), "the same once more changes nothing");
    type Spoils = fn(&mut BatchEnd);
    let unfit: [(&str, Spoils, bool); 4] = [
        ("an old number", |end| end.number = 0, false),
        ("a number ahead", |end| end.number = 2, false),
        ("an operation that does not wait", |end| end.done[1].entry = 9, true),
        ("nothing done", |end| end.done.clear(), true),
    ];
    for (what, change, looks_again) in unfit {
        let mut one = fresh();
        let before = one.state().clone();
        let mut end = end.clone();
        change(&mut end);
        one.does(&Event::BatchEnded(Box::new(end))).unwrap();
        assert_eq!(one.state(), &before, "{what}");
        assert_eq!(!one.effects.is_empty(), looks_again, "{what}");
    }
}

#[test]
fn what_was_not_run_of_a_batch_is_run_with_the_next() {
    let mut one = One::after([signal("1"), call("i", "2"), signal("3")]);
    let batch = one.batch().unwrap();
    let results = vec![Outcome::Completed(Payload::NONE)];
    let end = batch.ended(BatchOutcome { results, ..Default::default() }).unwrap();
    one.does(&Event::BatchEnded(Box::new(end))).unwrap();
    assert_eq!(one.outbox, [], "the call was not run");
    assert_eq!(one.runs(), ["2", "3"]);
    assert!(batch.ended(BatchOutcome::default()).is_none(), "nothing came of it");
}

#[test]
fn the_state_is_what_the_last_batch_left() {
    let mut one = One::new();
    // What the batch leaves, what that is told as, and whether the entry with the state is another one.
    type IsTold = fn(&StateAfter) -> bool;
    let table: [(Option<&str>, IsTold, bool); 6] = [
        (None, |told| *told == StateAfter::Unchanged, false),
        (Some("a"), |told| matches!(told, StateAfter::Is(_)), true),
        (Some("a"), |told| *told == StateAfter::Unchanged, false),
        (Some("b"), |told| matches!(told, StateAfter::Is(_)), true),
        (None, |told| *told == StateAfter::Deleted, true),
        (Some("c"), |told| matches!(told, StateAfter::Is(_)), true),
    ];
    for (step, (left, expected, is_new)) in table.into_iter().enumerate() {
        one.does(&signal("x")).unwrap();
        one.now = after(step as u64 + 1);
        let before = one.state().state;
        let batch = one.batch().unwrap();
        let end = end_of(&batch, Payload::of_text(left.map(str::to_owned)));
        assert!(expected(&end.state), "{step}: {:?}", end.state);
        one.does(&Event::BatchEnded(Box::new(end))).unwrap();
        let state = batch::state(one.state(), one.read()).unwrap().unwrap();
        assert_eq!(state.text().as_deref(), left, "{step}");
        assert_eq!(one.state().state != before, is_new, "{step}");
        assert_eq!(one.state().modified_at, one.now, "{step}");
        assert_eq!(one.entries.len(), usize::from(left.is_some()), "{step}: only the newest is kept");
    }
}

#[test]
fn what_a_batch_sends_and_starts_goes_out_with_it() {
    let mut one = One::after([signal("1")]);
    let batch = one.batch().unwrap();
    let start = Start {
        name: "order".to_owned(),
        version: None,
        input: Payload::NONE,
        tags: Default::default(),
        start_at: None,
        parent: None,
        parent_name: None,
        schedule: None,
        trigger: None,
        trace: None,
        replaces: vec![],
    };
    let outcome = BatchOutcome {
        results: vec![Outcome::Completed(Payload::NONE)],
        signals: vec![(id("@counter@b"), Signal::new("add", 1)), (id("@counter@a"), Signal::new("again", 1))],
        starts: vec![("i".parse().unwrap(), start)],
        ..Default::default()
    };
    one.does(&Event::BatchEnded(Box::new(batch.ended(outcome).unwrap()))).unwrap();
    let expected = [
        ("operation", "@counter@b".to_owned()),
        ("operation", "@counter@a".to_owned()),
        ("start", "i".to_owned()),
    ];
    assert_eq!(one.told(), expected);
    let requests: Vec<&str> = one.outbox[..2]
        .iter()
        .map(|message| message.event["operation_requested"]["request_id"].as_str().unwrap())
        .collect();
    assert_ne!(requests[0], requests[1], "each has a request id of its own");
    let replaces = serde_json::from_value(one.outbox[2].event["start_requested"]["replaces"].clone());
    assert_eq!(replaces.ok(), Some(vec![Status::Completed, Status::Failed, Status::Terminated]));
}

#[test]
fn a_signal_waits_for_its_time_and_then_for_its_turn() {
    let mut one =
        One::after([scheduled("late", after(20)), scheduled("soon", after(10)), scheduled("past", T0)]);
    assert_eq!(one.state().deadline(), Some(after(10)));
    assert_eq!(one.runs_all(), ["past"], "what is due is not kept back");
    assert_eq!((one.state().backlog(), one.state().liveness()), (0, Liveness::Waiting));
    one.does(&Event::Ticked).unwrap();
    assert!(one.effects.is_empty() && one.state().scheduled.len() == 2, "too early");
    one.does(&signal("now")).unwrap();
    one.now = after(30);
    one.does(&Event::Ticked).unwrap();
    assert_eq!(one.state().deadline(), None);
    assert_eq!(one.runs_all(), ["now", "soon", "late"], "by their times, behind what was there");
}

#[test]
fn a_signal_for_next_year_keeps_nothing_but_itself() {
    let mut one = One::after([scheduled("late", after(1_000_000))]);
    for number in 0..50 {
        one.does(&signal(&number.to_string())).unwrap();
        let batch = one.batch().unwrap();
        one.does(&Event::BatchEnded(Box::new(end_of(&batch, number.into())))).unwrap();
    }
    assert_eq!(one.entries.len(), 2, "{:?}", one.entries.keys());
}

#[test]
fn an_entity_with_nothing_to_it_goes_by_itself() {
    let mut one = One::after([signal("1")]);
    assert_eq!(one.state().deadline(), None);
    one.now = after(5);
    one.runs();
    let gone_at = one.now.after(ENTITY_EMPTY_KEPT);
    assert_eq!(one.state().deadline(), Some(gone_at));
    one.now = gone_at;
    one.does(&Event::Ticked).unwrap();
    assert_eq!(one.entity, None);
    // Not one that has something, that somebody holds, or for which something waits.
    let request = LockRequest {
        section: "s".to_owned(),
        set: vec![id("@counter@a")],
        position: 0,
        owner: caller("i"),
        task: 1,
        rewinds: 0,
    };
    for event in
        [scheduled("x", after(u64::from(u32::MAX))), signal("1"), Event::LockRequested(Box::new(request))]
    {
        let mut one = One::after([event]);
        one.now = gone_at.after(ENTITY_EMPTY_KEPT);
        one.does(&Event::Ticked).unwrap();
        assert!(one.entity.is_some());
    }
}

#[test]
fn what_is_in_use_is_not_purged() {
    use PurgeCondition::{Always, Empty, Idle};
    let lock = || {
        let (section, set, owner) = ("s".to_owned(), vec![id("@counter@a"), id("@counter@b")], caller("i"));
        Event::LockRequested(Box::new(LockRequest { section, set, position: 0, owner, task: 1, rewinds: 0 }))
    };
    let with_state = || {
        let mut one = One::after([signal("1")]);
        let end = end_of(&one.batch().unwrap(), 1.into());
        one.does(&Event::BatchEnded(Box::new(end))).unwrap();
        one
    };
    let empty = || {
        let mut one = One::after([signal("1")]);
        one.runs();
        one
    };
    let broken = || {
        let mut one = One::after([lock(), signal("1")]);
        one.does(&Event::Quarantined { reason: "x".to_owned() }).unwrap();
        one
    };
    type Makes<'a> = &'a dyn Fn() -> One;
    let table: [(&str, Makes<'_>, [bool; 3]); 6] = [
        ("empty", &empty, [true, true, true]),
        ("with a state", &with_state, [false, true, true]),
        ("with a signal for later", &|| One::after([scheduled("x", after(9))]), [false, true, true]),
        ("with something to do", &|| One::after([signal("1")]), [false, false, true]),
        ("locked", &|| One::after([lock()]), [false, false, true]),
        ("quarantined", &broken, [false, true, true]),
    ];
    for (what, make, expected) in table {
        for (condition, expected) in [Empty, Idle, Always].into_iter().zip(expected) {
            let mut one = make();
            let outcome = one.does(&Event::PurgeRequested { condition });
            assert_eq!(outcome.is_ok(), expected, "{what} {condition:?}");
            assert_eq!(one.entity.is_none(), expected, "{what} {condition:?}");
            let was_locked = ["locked", "quarantined"].contains(&what);
            if expected && was_locked {
                assert_eq!(
                    one.told(),
                    [("unlock", "@counter@b".to_owned())],
                    "{what}: the next one is let go"
                );
            }
        }
    }
}

#[test]
fn a_quarantined_one_rests_until_it_is_released() {
    let mut one = One::after([signal("1")]);
    let lost = one.batch().unwrap();
    one.does(&Event::Quarantined { reason: "it fumbled".to_owned() }).unwrap();
    assert_eq!((&one.effects, resume(one.state())), (&vec![Effect::Forget], vec![]));
    one.does(&signal("2")).unwrap();
    assert!(one.effects.is_empty(), "what comes is kept");
    one.does(&Event::BatchEnded(Box::new(end_of(&lost, 1.into())))).unwrap();
    assert_eq!(one.state().backlog(), 2, "its batch is void");
    one.does(&Event::ReleaseRequested).unwrap();
    assert_eq!(one.runs(), ["1", "2"]);
    assert_eq!(one.does(&Event::ReleaseRequested), Err(Rejected::NotQuarantined));
}

#[test]
fn nothing_but_a_wish_makes_an_entity() {
    let unlock = Unlock { section: "s".to_owned(), owner: caller("i"), follows: true };
    for event in [
        Event::Ticked,
        Event::Unlocked(Box::new(unlock)),
        Event::PurgeRequested { condition: PurgeCondition::Always },
        Event::ReleaseRequested,
        Event::Quarantined { reason: String::new() },
    ] {
        assert!(create(id("@counter@a"), &event, T0).is_none(), "{event:?}");
    }
}
