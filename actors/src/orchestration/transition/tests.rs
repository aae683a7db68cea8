//! The rules as tables.

mod entities;
mod world;

use std::sync::Arc;

use serde_json::json;

use super::super::event::{Effect, Event, Rejected, Start, TurnEnd};
use super::super::failure::Failure;
use super::super::history::{Action, ActivityCall, Arrival, ChildCall, Entry, Outcome, TaskResult, Turn};
use super::super::state::{Orchestration, Parent, Status};
use super::{apply, create, resume};
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine as _, Message};

const T0: Timestamp = Timestamp::from_millis(1_000_000);

struct Instance {
    state: Orchestration,
    effects: Vec<Effect>,
    outbox: Vec<Message>,
    entry: Option<Entry>,
}

impl Instance {
    fn started() -> Self {
        Self::started_by(None)
    }

    fn started_by(parent: Option<Parent>) -> Self {
        let event = Event::StartRequested(Box::new(start(parent)));
        let step = create("i".parse().unwrap(), &event, T0).unwrap().unwrap();
        let Change::Next(state, entry) = step.change else { panic!("a start is recorded") };
        Self { state: Arc::unwrap_or_clone(state), effects: step.effects, outbox: step.outbox, entry }
    }

    fn does(&mut self, event: &Event) -> Result<(), Rejected> {
        let step = apply(&self.state, event, T0)?;
        (self.effects, self.outbox, self.entry) = (step.effects, step.outbox, None);
        if let Change::Next(next, entry) = step.change {
            assert!(entry.is_none() || next.revision == self.state.revision + 1);
            (self.state, self.entry) = (Arc::unwrap_or_clone(next), entry);
        }
        Ok(())
    }

    /// Its code sees everything and asks for this.
    fn turn(&mut self, results: Vec<TaskResult>, actions: Vec<Action>) {
        let end = TurnEnd {
            execution: self.state.execution,
            turn: Turn { number: self.state.turns + 1, upto: self.state.arrived, now: T0, results, actions },
            custom_status: None,
            awaited: vec![],
            version: Some("1.0.0".to_owned()),
            detached: false,
            span: None,
        };
        self.does(&Event::TurnEnded(Box::new(end))).unwrap();
    }

    fn status(&self) -> Status {
        self.state.status().unwrap()
    }
}

fn start(parent: Option<Parent>) -> Start {
    Start {
        name: "order".to_owned(),
        version: None,
        input: json!(1).into(),
        tags: Default::default(),
        start_at: None,
        parent,
        parent_name: None,
        schedule: None,
        trigger: None,
        trace: None,
        replaces: vec![],
    }
}

fn activity(task: u64) -> Action {
    let call = ActivityCall {
        task,
        name: "work".to_owned(),
        version: None,
        trace: None,
        input: json!(task).into(),
        timeout: None,
        heartbeat: None,
        tags: Default::default(),
    };
    Action::ScheduleActivity(Box::new(call))
}

fn done(task: u64) -> TaskResult {
    TaskResult { task, outcome: Outcome::Completed(json!(task).into()) }
}

fn complete() -> Action {
    Action::Complete(Outcome::Completed(json!("done").into()))
}

fn runs(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::RunTurn(_)))
}

#[test]
fn commands_are_taken_where_they_make_sense() {
    let reason = || Some("because".to_owned());
    let commands = [
        Event::SuspendRequested { reason: reason() },
        Event::ResumeRequested { reason: reason() },
        Event::TerminateRequested { reason: reason(), recursive: true },
        Event::RewindRequested { reason: reason(), start: None },
        Event::ReleaseRequested,
        Event::EventRaised { name: "go".to_owned(), data: json!(1).into(), keep_until: None },
        Event::StartRequested(Box::new(start(None))),
    ];
    use Status::{Completed, Failed, Running, Suspended, Terminated};
    let failed = || Action::Complete(Outcome::Failed(Failure::new("broken", "x")));
    // What each command makes of it; `None` where it is refused.
    let table: [(&str, [Option<Status>; 7]); 5] = [
        ("running", [Some(Suspended), Some(Running), Some(Terminated), None, None, Some(Running), None]),
        ("suspended", [Some(Suspended), Some(Running), Some(Terminated), None, None, Some(Suspended), None]),
        ("completed", [None; 7]),
        ("failed", [None, None, None, Some(Running), None, None, None]),
        ("terminated", [None; 7]),
    ];
    for (phase, row) in table {
        for (command, expected) in commands.iter().zip(row) {
            let mut instance = Instance::started();
            instance.turn(vec![], vec![]);
            match phase {
                "suspended" => instance.does(&commands[0]).unwrap(),
                "completed" => instance.turn(vec![], vec![complete()]),
                "failed" => instance.turn(vec![], vec![failed()]),
                "terminated" => instance.does(&commands[2]).unwrap(),
                _ => {}
            }
            let before = instance.state.clone();
            let outcome = instance.does(command);
            assert_eq!(
                outcome.is_ok().then(|| instance.status()),
                expected,
                "{phase} {command:?}: {outcome:?}"
            );
            if expected.is_none() {
                assert_eq!(instance.state, before);
            }
        }
    }
    assert_eq!((Completed, Failed).0.name(), "completed");
}

#[test]
fn a_turn_is_taken_once_and_with_a_true_view_only() {
    let fresh = || {
        let mut instance = Instance::started();
        instance.turn(vec![], vec![activity(1), activity(2)]);
        instance
    };
    let good = TurnEnd {
        execution: 1,
        turn: Turn { number: 2, upto: 1, now: T0, results: vec![done(1)], actions: vec![activity(3)] },
        custom_status: None,
        awaited: vec![],
        version: None,
        detached: false,
        span: None,
    };
    let mut accepted = fresh();
    accepted.does(&Event::TurnEnded(Box::new(good.clone()))).unwrap();
    assert_eq!(accepted.state.activities.iter().collect::<Vec<_>>(), [2, 3]);
    type Spoils = fn(&mut TurnEnd);
    let stale: [(&str, Spoils); 5] = [
        ("an old number", |end| end.turn.number = 1),
        ("a number ahead", |end| end.turn.number = 3),
        ("a view of what is not there", |end| end.turn.upto = 9),
        ("another execution", |end| end.execution = 2),
        ("a result of a task that is not open", |end| end.turn.results.push(done(7))),
    ];
    for (what, change) in stale {
        let mut instance = fresh();
        let mut end = good.clone();
        change(&mut end);
        instance.does(&Event::TurnEnded(Box::new(end.clone()))).unwrap();
        assert_eq!(instance.state.turns, 1, "{what}");
        assert!(!instance.state.activities.contains(3), "{what}");
        assert_eq!(instance.effects[0], Effect::Forget, "{what}");
        // What came of activities is recorded all the same, once.
        assert_eq!(instance.state.activities.contains(1), end.execution != 1, "{what}");
        assert!(runs(&instance.effects), "{what}: the code looks again");
    }
}

#[test]
fn what_arrives_late_is_not_lost_when_it_begins_anew() {
    let mut instance = Instance::started();
    instance.turn(vec![], vec![]);
    instance
        .does(&Event::EventRaised { name: "late".to_owned(), data: json!(1).into(), keep_until: None })
        .unwrap();
    let anew = |upto| {
        let actions = vec![Action::ContinueAsNew { input: json!(2).into(), version: None, carried: vec![] }];
        let turn = Turn { number: 2, upto, now: T0, results: vec![], actions };
        Event::TurnEnded(Box::new(TurnEnd {
            execution: 1,
            turn,
            custom_status: None,
            awaited: vec![],
            version: None,
            detached: false,
            span: None,
        }))
    };
    instance.does(&anew(1)).unwrap();
    assert_eq!(instance.state.execution, 1, "it has not seen everything");
    instance.does(&anew(2)).unwrap();
    assert_eq!((instance.state.execution, instance.state.arrived, instance.state.turns), (2, 1, 0));
    assert_eq!(instance.state.history_from(), instance.state.revision, "the old history goes");
    assert!(matches!(instance.entry.unwrap().arrivals[0], Arrival::Started(_)));
}

#[test]
fn it_is_terminated_when_nothing_of_it_runs_any_more() {
    let mut instance = Instance::started();
    let child = ChildCall {
        task: 2,
        instance: "kid".parse().unwrap(),
        name: "order".to_owned(),
        version: None,
        input: json!(1).into(),
        tags: Default::default(),
        trace: None,
    };
    instance.turn(vec![], vec![activity(1), Action::StartChild(Box::new(child))]);
    instance.does(&Event::TerminateRequested { reason: None, recursive: true }).unwrap();
    assert_eq!(instance.status(), Status::Running);
    assert!(instance.effects.contains(&Effect::CancelActivities { execution: 1, tasks: vec![1] }));
    assert_eq!(instance.outbox.len(), 1, "the child is told");
    assert_eq!(resume(&instance.state), [Effect::CancelActivities { execution: 1, tasks: vec![1] }]);
    instance.does(&Event::TasksEnded { execution: 1, results: vec![done(1)] }).unwrap();
    assert_eq!(instance.status(), Status::Running, "the child is not over");
    assert_eq!(instance.state.liveness(), Liveness::Waiting);
    let outcome = Outcome::Failed(Failure::new("terminated", "x"));
    instance.does(&Event::ChildEnded { execution: 1, task: 2, outcome }).unwrap();
    assert_eq!(instance.status(), Status::Terminated);
}

#[test]
fn a_parent_hears_of_every_end_and_of_a_start_that_is_refused() {
    let parent = Parent { instance: "p".parse().unwrap(), execution: 3, task: 7 };
    type Ends = fn(&mut Instance);
    let ends: [(&str, Ends); 3] = [
        ("completed", |instance| instance.turn(vec![], vec![complete()])),
        ("terminated", |instance| {
            instance.does(&Event::TerminateRequested { reason: None, recursive: true }).unwrap();
        }),
        ("quarantined", |instance| instance.does(&Event::Quarantined { reason: "x".to_owned() }).unwrap()),
    ];
    let is_told = |instance: &Instance| {
        let [message] = instance.outbox.as_slice() else { return false };
        message.event["child_ended"]["execution"] == 3 && message.event["child_ended"]["task"] == 7
    };
    for (what, end) in ends {
        let mut instance = Instance::started_by(Some(parent));
        end(&mut instance);
        assert!(is_told(&instance), "{what}: {:?}", instance.outbox);
    }
    let mut instance = Instance::started();
    instance.does(&Event::StartRequested(Box::new(start(Some(parent))))).unwrap();
    assert!(is_told(&instance), "refused: {:?}", instance.outbox);
    // The same start once more is no refusal.
    let mut instance = Instance::started_by(Some(parent));
    instance.does(&Event::StartRequested(Box::new(start(Some(parent))))).unwrap();
    assert!(instance.outbox.is_empty());
}

#[test]
fn nothing_runs_while_it_is_suspended_or_blocked() {
    let raised = Event::EventRaised { name: "go".to_owned(), data: json!(1).into(), keep_until: None };
    let blocked = Event::TurnBlocked { execution: 1, turn: 2, reason: "no code".to_owned() };
    for (pause, go_on) in [
        (Event::SuspendRequested { reason: None }, Event::ResumeRequested { reason: None }),
        (blocked, Event::ReleaseRequested),
    ] {
        let mut instance = Instance::started();
        instance.turn(vec![], vec![activity(1)]);
        instance.does(&pause).unwrap();
        instance.does(&raised).unwrap();
        instance.does(&Event::TasksEnded { execution: 1, results: vec![done(1)] }).unwrap();
        assert!(!runs(&instance.effects), "{pause:?}");
        assert_eq!((instance.state.arrived, instance.state.seen), (3, 1));
        instance.does(&go_on).unwrap();
        assert!(runs(&instance.effects), "{go_on:?}");
    }
}

#[test]
fn timers_fire_once_each_in_their_order() {
    let mut instance = Instance::started();
    let timer = |task, after: i64| Action::CreateTimer {
        task,
        fire_at: Timestamp::from_millis(T0.as_millis() + after),
    };
    instance.turn(vec![], vec![timer(1, 5), timer(2, -5), timer(3, 0)]);
    assert_eq!(instance.state.deadline(), Some(Timestamp::from_millis(T0.as_millis() - 5)));
    instance.does(&Event::Ticked).unwrap();
    let fired: Vec<Arrival> = instance.entry.take().unwrap().arrivals;
    assert_eq!(fired, [Arrival::TimerFired { task: 2 }, Arrival::TimerFired { task: 3 }]);
    assert_eq!(instance.state.deadline(), Some(Timestamp::from_millis(T0.as_millis() + 5)));
    instance.does(&Event::Ticked).unwrap();
    assert!(instance.entry.is_none(), "nothing is due");
}
