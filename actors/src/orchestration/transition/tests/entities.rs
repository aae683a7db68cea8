//! What an instance asks of entities, what it hears of them, and what it leaves behind.

use super::super::super::entity::{EntityCall, EntityRequest};
use super::super::super::history::Note;
use super::super::super::rewind::{Story, plan};
use super::*;
use crate::entity::Signal;

fn action(task: u64, entity: &str, request: EntityRequest) -> Action {
    let entity = entity.parse().unwrap();
    Action::MessageEntity(Box::new(EntityCall { task, entity, request }))
}

fn call(task: u64) -> Action {
    let (request_id, operation) = (format!("r{task}"), "get".to_owned());
    let request = EntityRequest::Call { request_id, operation, input: json!(task).into(), trace: None };
    action(task, "@counter@a", request)
}

fn lock(task: u64, section: &str, set: &[&str]) -> Action {
    let set = set.iter().map(|entity| entity.parse().unwrap()).collect();
    action(task, "@counter@a", EntityRequest::Lock { section: section.to_owned(), set })
}

fn unlock(task: u64, section: &str, entity: &str) -> Action {
    action(task, entity, EntityRequest::Unlock { section: section.to_owned() })
}

fn answered(execution: u32, task: u64) -> Event {
    let outcome = Outcome::Completed(json!(task).into());
    Event::EntityAnswered { created_at: T0, execution, task, request_id: format!("r{task}"), outcome }
}

fn granted(execution: u32, task: u64, rewinds: u32, section: &str) -> Event {
    Event::LockGranted { created_at: T0, execution, task, rewinds, section: section.to_owned() }
}

fn anew() -> Action {
    Action::ContinueAsNew { input: json!(2).into(), version: None, carried: vec![] }
}

fn failed() -> Action {
    Action::Complete(Outcome::Failed(Failure::new("broken", "x")))
}

/// To whom the unlocks of a step go, and whether they follow the request.
fn unlocks(instance: &Instance) -> Vec<(String, bool)> {
    let unlocks = instance.outbox.iter().filter_map(|message| {
        let unlock = message.event.get("unlocked")?;
        let id = String::from_utf8_lossy(&message.id[1..message.id.len() - 1]).into_owned();
        Some((id, unlock.get("follows").is_some()))
    });
    unlocks.collect()
}

fn arrivals(instance: &mut Instance) -> Vec<Arrival> {
    instance.entry.take().map(|entry| entry.arrivals).unwrap_or_default()
}

#[test]
fn messages_go_out_with_the_turn_that_asked_for_them() {
    let mut instance = Instance::started();
    let signal = EntityRequest::Signal(Signal::new("add", 1));
    let actions = vec![action(1, "@counter@b", signal), call(2), lock(3, "s", &["@x@2", "@x@1", "@x@2"])];
    instance.turn(vec![], actions);
    let told = |index: usize| {
        let message: &Message = &instance.outbox[index];
        let id = String::from_utf8_lossy(&message.id[1..message.id.len() - 1]).into_owned();
        (message.kind, id, &message.event)
    };
    let (kind, id, event) = told(0);
    assert_eq!((kind, id.as_str()), ("entity", "@counter@b"));
    let operation = &event["operation_requested"];
    assert_eq!(
        operation["asker"]["signal"]["sender"],
        json!({ "instance": "i", "created_at": T0, "execution": 1 })
    );
    assert!(!operation["request_id"].as_str().unwrap().is_empty(), "it gets one of its own");
    let (_, id, event) = told(1);
    assert_eq!((id.as_str(), &event["operation_requested"]["request_id"]), ("@counter@a", &json!("r2")));
    assert_eq!(event["operation_requested"]["asker"]["call"]["task"], 2);
    let (_, id, event) = told(2);
    assert_eq!(id, "@x@1", "the first one of the sorted set");
    assert_eq!(event["lock_requested"]["set"], json!(["@x@1", "@x@2"]), "each once");
    assert_eq!(event["lock_requested"]["position"], 0);
    assert_eq!(instance.state.liveness(), Liveness::Waiting);
    // The same once more, as workers may ask that were asked to pause.
    instance.turn(vec![], vec![call(2), lock(3, "s", &["@x@1"])]);
    assert_eq!(instance.outbox, []);
}

#[test]
fn an_answer_is_told_once_and_only_to_the_execution_that_called() {
    let fresh = || {
        let mut instance = Instance::started();
        instance.turn(vec![], vec![call(1), call(2)]);
        instance
    };
    let mut instance = fresh();
    instance.does(&answered(1, 1)).unwrap();
    let [Arrival::EntityAnswered { task: 1, request_id, .. }] = &arrivals(&mut instance)[..] else {
        panic!()
    };
    assert_eq!(request_id, "r1");
    assert!(runs(&instance.effects));
    for (what, event) in [
        ("once more", answered(1, 1)),
        ("of a task that called nothing", answered(1, 9)),
        ("of another execution", answered(2, 2)),
    ] {
        let before = instance.state.clone();
        instance.does(&event).unwrap();
        assert_eq!((&instance.state, instance.effects.len()), (&before, 0), "{what}");
    }
    type Ends = fn(&mut Instance);
    let over: [(&str, Ends); 4] = [
        ("completed", |instance| instance.turn(vec![], vec![complete()])),
        ("terminated", |instance| {
            instance.does(&Event::TerminateRequested { reason: None, recursive: true }).unwrap();
        }),
        ("anew", |instance| instance.turn(vec![], vec![anew()])),
        ("replaced", |instance| {
            let start = Start { replaces: vec![Status::Running], ..start(None) };
            instance.does(&Event::StartRequested(Box::new(start))).unwrap();
        }),
    ];
    for (what, end) in over {
        let mut instance = fresh();
        end(&mut instance);
        instance.does(&answered(1, 1)).unwrap();
        assert!(instance.entry.is_none(), "{what}");
    }
    let mut suspended = fresh();
    suspended.does(&Event::SuspendRequested { reason: None }).unwrap();
    suspended.does(&answered(1, 1)).unwrap();
    assert!(arrivals(&mut suspended).len() == 1 && !runs(&suspended.effects), "it is kept");
}

#[test]
fn what_was_asked_by_one_that_was_purged_is_not_told_to_the_next_of_its_name() {
    let of_before = Timestamp::from_millis(T0.as_millis() - 1);
    let mut instance = Instance::started();
    instance.turn(vec![], vec![call(1), lock(2, "s", &["@x@1"])]);
    let outcome = Outcome::Completed(json!(1).into());
    let (execution, section) = (1, "s".to_owned());
    for event in [
        Event::EntityAnswered {
            created_at: of_before,
            execution,
            task: 1,
            request_id: "r1".to_owned(),
            outcome,
        },
        Event::LockGranted { created_at: of_before, execution, task: 2, rewinds: 0, section },
    ] {
        instance.does(&event).unwrap();
        assert!(instance.entry.is_none(), "{event:?}");
    }
}

#[test]
fn a_lock_is_granted_once_and_only_to_the_execution_that_asked() {
    let mut instance = Instance::started();
    instance.turn(vec![], vec![lock(1, "s", &["@x@1"])]);
    for event in [granted(2, 1, 0, "s"), granted(1, 2, 0, "s"), granted(1, 1, 1, "s"), granted(1, 1, 0, "t")]
    {
        instance.does(&event).unwrap();
        assert!(instance.entry.is_none(), "{event:?}");
    }
    instance.does(&granted(1, 1, 0, "s")).unwrap();
    assert_eq!(arrivals(&mut instance), [Arrival::LockGranted { task: 1, section: "s".to_owned() }]);
    instance.does(&granted(1, 1, 0, "s")).unwrap();
    assert!(instance.entry.is_none(), "once");
    // Of nothing one has all at once.
    instance.turn(vec![], vec![lock(2, "none", &[])]);
    assert_eq!(arrivals(&mut instance), [Arrival::LockGranted { task: 2, section: "none".to_owned() }]);
    assert!(instance.state.sections.keys().eq(["s"]));
}

#[test]
fn whatever_ends_an_execution_gives_back_its_locks() {
    type Ends = fn(&mut Instance);
    let ends: [(&str, Ends); 7] = [
        ("completed", |instance| instance.turn(vec![], vec![complete()])),
        ("failed", |instance| instance.turn(vec![], vec![failed()])),
        ("anew", |instance| instance.turn(vec![], vec![anew()])),
        ("terminated", |instance| {
            instance.does(&Event::TerminateRequested { reason: None, recursive: true }).unwrap();
        }),
        ("quarantined", |instance| instance.does(&Event::Quarantined { reason: "x".to_owned() }).unwrap()),
        ("panicked", |instance| {
            for _ in 0..2 {
                let turn = instance.state.turns + 1;
                instance.does(&Event::TurnPanicked { execution: 1, turn, message: "x".to_owned() }).unwrap();
            }
        }),
        ("replaced", |instance| {
            let start = Start { replaces: vec![Status::Running], ..start(None) };
            instance.does(&Event::StartRequested(Box::new(start))).unwrap();
        }),
    ];
    for (what, end) in ends {
        let mut instance = Instance::started();
        let actions = vec![lock(1, "held", &["@x@1", "@x@2", "@x@3"]), lock(2, "asked", &["@y@1", "@y@2"])];
        instance.turn(vec![], actions);
        instance.does(&granted(1, 1, 0, "held")).unwrap();
        instance.turn(vec![], vec![unlock(3, "held", "@x@2")]);
        assert_eq!(unlocks(&instance), [("@x@2".to_owned(), false)], "{what}");
        end(&mut instance);
        // What is held is told to each; what is asked for is followed from the first one on.
        let expected =
            [("@y@1", true), ("@x@1", false), ("@x@3", false)].map(|(id, follows)| (id.to_owned(), follows));
        assert_eq!(unlocks(&instance), expected, "{what}");
        assert!(instance.state.sections.is_empty(), "{what}");
        instance.does(&granted(1, 2, 0, "asked")).unwrap();
        assert!(instance.entry.is_none(), "{what}: it comes too late");
    }
}

#[test]
fn locks_are_given_back_when_what_was_started_under_them_has_ended() {
    let mut instance = Instance::started();
    instance.turn(vec![], vec![lock(1, "s", &["@x@1"]), activity(2)]);
    instance.does(&Event::TerminateRequested { reason: None, recursive: true }).unwrap();
    assert_eq!(unlocks(&instance), []);
    instance.does(&granted(1, 1, 0, "s")).unwrap();
    assert!(instance.entry.is_none(), "its code sees nothing any more");
    instance.does(&Event::TasksEnded { execution: 1, results: vec![done(2)] }).unwrap();
    assert_eq!(
        (instance.status(), unlocks(&instance)),
        (Status::Terminated, vec![("@x@1".to_owned(), false)])
    );
}

#[test]
fn code_unlocks_what_it_has_and_takes_back_what_it_asked_for() {
    let mut instance = Instance::started();
    instance.turn(vec![], vec![lock(1, "s", &["@x@1", "@x@2"])]);
    instance.turn(vec![], vec![unlock(2, "s", "@x@2"), unlock(3, "s", "@x@1"), unlock(4, "other", "@x@1")]);
    assert_eq!(unlocks(&instance), [("@x@1".to_owned(), true)], "all of it by one that follows");
    instance.turn(vec![], vec![lock(5, "s", &["@x@1", "@x@2"])]);
    instance.does(&granted(1, 5, 0, "s")).unwrap();
    instance.turn(vec![], vec![unlock(6, "s", "@x@2"), unlock(7, "s", "@x@2"), unlock(8, "s", "@x@1")]);
    assert_eq!(unlocks(&instance), [("@x@2".to_owned(), false), ("@x@1".to_owned(), false)], "each once");
    assert!(instance.state.sections.is_empty());
    // A task that is cancelled is waited for no longer.
    instance.turn(vec![], vec![lock(9, "t", &["@x@1"]), call(10)]);
    instance.turn(vec![], vec![Action::Cancel { task: 9 }, Action::Cancel { task: 10 }]);
    assert_eq!(unlocks(&instance), [("@x@1".to_owned(), true)]);
    assert!(instance.state.calls.is_empty());
}

#[test]
fn what_is_asked_for_with_a_new_beginning_is_done_but_for_activities() {
    let mut instance = Instance::started();
    let sent = |task| Action::SendEvent {
        task,
        instance: "other".parse().unwrap(),
        name: "go".to_owned(),
        data: json!(1).into(),
    };
    let child = ChildCall {
        task: 2,
        instance: "kid".parse().unwrap(),
        name: "order".to_owned(),
        version: None,
        input: json!(1).into(),
        tags: Default::default(),
        trace: None,
    };
    let timer = Action::CreateTimer { task: 4, fire_at: T0 };
    let actions = vec![sent(1), Action::StartChild(Box::new(child)), activity(3), timer, call(5), anew()];
    instance.turn(vec![], actions);
    let kinds: Vec<&str> = instance.outbox.iter().map(|message| message.kind).collect();
    assert_eq!(kinds, ["orchestration", "orchestration", "entity"]);
    assert_eq!(instance.outbox[1].event["start_requested"]["parent"]["execution"], 1, "the old one's child");
    assert!(!instance.effects.iter().any(|effect| matches!(effect, Effect::StartActivities { .. })));
    assert_eq!((instance.state.execution, instance.state.deadline()), (2, None));
    assert!(instance.state.activities.is_empty() && instance.state.calls.is_empty());
}

/// Everything that happens to one, with its history.
struct Told {
    instance: Instance,
    entries: Vec<Entry>,
}

impl Told {
    fn new() -> Self {
        let mut instance = Instance::started();
        let entries = instance.entry.take().into_iter().collect();
        Self { instance, entries }
    }

    fn does(&mut self, event: &Event) {
        self.instance.does(event).unwrap();
        self.entries.extend(self.instance.entry.take());
    }

    fn turn(&mut self, actions: Vec<Action>) {
        self.instance.turn(vec![], actions);
        self.entries.extend(self.instance.entry.take());
    }

    /// Lets it go on from before its failure.
    fn rewind(&mut self) -> Vec<Arrival> {
        self.does(&Event::RewindRequested { reason: None, start: None });
        let (rewind, open, arrivals) = plan(&Story::of(self.entries.clone()), None);
        let revision = self.instance.state.revision;
        self.does(&Event::RewindPlanned { revision, rewind, open, arrivals });
        let rewound = self.entries.last().filter(|entry| matches!(entry.note, Some(Note::Rewound(_))));
        rewound.expect("it was rewound").arrivals.clone()
    }
}

#[test]
fn a_rewound_one_hears_what_came_after_its_failure_and_asks_again_for_the_rest() {
    let mut told = Told::new();
    told.turn(vec![call(1), call(2), call(3), lock(4, "s", &["@x@1", "@x@2"])]);
    told.does(&answered(1, 1));
    let outcome = Outcome::Failed(Failure::new("broken", "x"));
    told.does(&Event::EntityAnswered {
        created_at: T0,
        execution: 1,
        task: 2,
        request_id: "r2".to_owned(),
        outcome,
    });
    told.turn(vec![failed()]);
    let updated_at = told.instance.state.updated_at;
    told.instance.state.updated_at = Timestamp::from_millis(0);
    told.does(&answered(1, 3));
    assert_eq!(
        told.instance.state.updated_at,
        Timestamp::from_millis(0),
        "it is over: nothing happens to it"
    );
    told.instance.state.updated_at = updated_at;

    let again = told.rewind();
    let tasks: Vec<u64> = again
        .iter()
        .map(|arrival| match arrival {
            Arrival::EntityAnswered { task, .. } => *task,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(tasks, [1, 3], "what succeeded is seen again, or for the first time");
    let sent: Vec<&serde_json::Value> = told.instance.outbox.iter().map(|message| &message.event).collect();
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(sent[0]["operation_requested"]["request_id"], "r2", "what failed is called again");
    assert_eq!(sent[1]["lock_requested"]["rewinds"], 1, "the lock was given back, and is asked for again");
    assert!(told.instance.state.calls.iter().eq([2]));
    // What the old request still comes to is not for this one.
    told.does(&granted(1, 4, 0, "s"));
    assert!(!told.instance.state.sections["s"].is_held);
    told.does(&granted(1, 4, 1, "s"));
    assert!(told.instance.state.sections["s"].is_held);
}

#[test]
fn a_call_that_is_not_answered_stays_open_over_a_failure() {
    let mut told = Told::new();
    told.turn(vec![call(1), lock(2, "s", &["@x@1"])]);
    told.does(&granted(1, 2, 0, "s"));
    told.turn(vec![call(3), failed()]);
    assert!(told.instance.state.calls.iter().eq([1, 3]));
    assert_eq!(told.rewind(), [], "a lock that was given back is not told of");
    // The failing turn is void, and its call with it: that is asked for again.
    assert!(told.instance.state.calls.iter().eq([1]));
    assert_eq!(told.instance.outbox.len(), 1, "the lock: {:?}", told.instance.outbox);
    told.does(&answered(1, 3));
    assert!(told.instance.entry.is_none());
    told.does(&answered(1, 1));
    assert!(told.instance.state.calls.is_empty());
}

#[test]
fn people_are_told_what_it_waits_for() {
    use super::super::super::explain::explain;
    use super::super::super::view::events;
    let mut told = Told::new();
    let signal = EntityRequest::Signal(Signal::new("add", 1));
    let actions = vec![call(1), lock(2, "s", &["@x@1", "@x@2"]), action(3, "@x@1", signal), call(4)];
    told.turn(actions);
    told.does(&answered(1, 4));
    let explained = explain(&told.instance.state, Status::Running, &told.entries, vec![]);
    let waits: Vec<(&str, &str)> =
        explained.waits_for.iter().map(|wait| (wait.kind.as_str(), wait.what.as_str())).collect();
    assert_eq!(waits[1], ("entity", "the answer to the call of `get` of @counter@a as task 1"));
    assert_eq!(waits[2], ("lock", "the lock of @x@1 and 1 more as task 2"));
    told.does(&granted(1, 2, 0, "s"));
    told.turn(vec![unlock(5, "s", "@x@1")]);
    let kinds: Vec<String> = told.entries.iter().flat_map(events).map(|event| event.kind).collect();
    let expected = [
        "execution_started",
        "entity_operation_called",
        "entity_lock_requested",
        "entity_operation_signaled",
        "entity_operation_called",
        "entity_operation_completed",
        "entity_lock_granted",
        "entity_unlock_sent",
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn what_was_stored_before_there_were_entities_still_reads() {
    let state = Instance::started().state;
    let mut value = serde_json::to_value(&state).unwrap();
    assert!(
        value.get("calls").is_none() && value.get("sections").is_none(),
        "what is not there costs nothing"
    );
    value.as_object_mut().unwrap().retain(|name, _| !["calls", "sections"].contains(&name.as_str()));
    assert_eq!(serde_json::from_value::<Orchestration>(value).unwrap(), state);
}
