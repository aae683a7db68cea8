//! The rules of an array: by table, and in random lives with crashes at every commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::durable::{Change, Machine, MachineId as _, Message, Step};
use crate::id::JobId;
use crate::job;
use crate::job::event::Event as JobEvent;
use crate::job::parent::{Parent, ScheduleParent};
use crate::job::validate::Policy;
use crate::job::view::JobState;
use crate::schedule::{self, Schedule};

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn id() -> ArrayId {
    ArrayId::new(JobId::made_of(START, &[5; 10]))
}

fn given(array: Value) -> Given {
    let spec = serde_json::from_value(json!({"args": ["work"]})).unwrap();
    let array = serde_json::from_value(array).unwrap();
    Given { spec: Arc::new(spec), array, vault: None, claim: None, fire: None }
}

/// A child as the world knows it: whether it runs, and how it last ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Child {
    Runs { told: bool, suspended: bool },
    Over(JobState),
}

/// An array and its children.
#[derive(Debug, Clone)]
struct World {
    array: Option<Array>,
    now: Timestamp,
    children: BTreeMap<u32, Child>,
    /// How often each was submitted anew.
    submitted: BTreeMap<u32, u32>,
    index_of: BTreeMap<JobId, u32>,
    /// What the schedule was told whose fire it is.
    told: Vec<schedule::Event>,
}

impl World {
    fn of(array: Value) -> Self {
        Self::given(given(array))
    }

    fn given(given: Given) -> Self {
        let step = Array::create(id(), &Event::Submitted(Box::new(given)), START).unwrap().unwrap();
        let mut world = Self {
            array: None,
            now: START,
            children: BTreeMap::new(),
            submitted: BTreeMap::new(),
            index_of: BTreeMap::new(),
            told: vec![],
        };
        world.take(step);
        world
    }

    fn array(&self) -> &Array {
        self.array.as_ref().expect("it is not purged")
    }

    fn take(&mut self, step: Step<Array>) {
        match step.change {
            Change::None => {}
            Change::Next(next, _) => self.array = Some(Arc::unwrap_or_clone(next)),
            Change::Purge => self.array = None,
        }
        let mut told = vec![];
        for message in step.outbox {
            if message.kind == Schedule::KIND {
                self.told.push(serde_json::from_value(message.event).unwrap());
                continue;
            }
            self.arrives(&message, &mut told);
        }
        for (index, state) in told {
            self.does(Event::ChildEnded { index, state });
        }
    }

    /// A message arrives at its job, as the rules of jobs have it.
    fn arrives(&mut self, message: &Message, told: &mut Vec<(u32, JobState)>) {
        let job = JobId::from_key(&message.id).unwrap();
        let event: JobEvent = serde_json::from_value(message.event.clone()).unwrap();
        if let JobEvent::Submitted(submitted) = &event {
            let Some(Parent::Array(parent)) = submitted.parent.clone() else { panic!("{submitted:?}") };
            assert_eq!((parent.array, id().child(parent.index)), (id(), job));
            assert_eq!(submitted.spec.labels["dogwatch.index"], parent.index.to_string());
            self.index_of.insert(job, parent.index);
            if !self.children.contains_key(&parent.index) {
                *self.submitted.entry(parent.index).or_default() += 1;
                self.children.insert(parent.index, Child::Runs { told: false, suspended: false });
            }
            return;
        }
        let Some(index) = self.index_of.get(&job).copied() else { return };
        let Some(child) = self.children.get_mut(&index) else { return };
        match (event, *child) {
            (JobEvent::CancelRequested, Child::Runs { suspended: true, .. }) => {
                *child = Child::Over(JobState::Cancelled);
                told.push((index, JobState::Cancelled));
            }
            (JobEvent::CancelRequested, Child::Runs { suspended, .. }) => {
                *child = Child::Runs { told: true, suspended };
            }
            (JobEvent::SuspendRequested, Child::Runs { told, .. }) => {
                *child = Child::Runs { told, suspended: true }
            }
            (JobEvent::ResumeRequested, Child::Runs { told, .. }) => {
                *child = Child::Runs { told, suspended: false }
            }
            (JobEvent::RetryRequested, Child::Over(state)) => {
                assert_ne!(state, JobState::Succeeded, "what succeeded is not run again");
                *child = Child::Runs { told: false, suspended: false };
            }
            (_, _) => {}
        }
    }

    fn does(&mut self, event: Event) -> bool {
        // Died before the commit: nothing happened, and the event comes again.
        self.restart();
        match self.array().apply(&event, self.now) {
            Ok(step) => self.take(step),
            Err(_) => return false,
        }
        if self.array.is_some() {
            self.holds();
        }
        true
    }

    fn restart(&mut self) {
        let array = self.array();
        let given = Machine::given(array).unwrap().clone();
        let read: Array = serde_json::from_slice(&serde_json::to_vec(array).unwrap()).unwrap();
        let read = read.with_given(given);
        assert_eq!(&read, array, "an array reads back as it was stored");
        self.array = Some(read);
    }

    fn running(&self) -> Vec<u32> {
        let runs = |child: &Child| matches!(child, Child::Runs { .. });
        self.children.iter().filter(|(_, child)| runs(child)).map(|(index, _)| *index).collect()
    }

    fn ends(&mut self, index: u32, state: JobState) {
        self.children.insert(index, Child::Over(state));
        self.does(Event::ChildEnded { index, state });
    }

    fn holds(&self) {
        let array = self.array();
        let view = array.view();
        assert!(u64::from(view.array.parallelism) >= array.active.len(), "more than may be at once");
        let active: Vec<u32> = array.active.iter().map(|index| u32::try_from(index).unwrap()).collect();
        let counts = view.counts;
        let all = counts.pending + counts.active + counts.succeeded + counts.failed + counts.cancelled;
        assert_eq!(all, view.array.size, "each is counted once: {view:?}");
        assert!(self.submitted.values().all(|count| *count == 1), "started twice: {:?}", self.submitted);
        let running = self.running();
        assert!(running.iter().all(|index| active.contains(index)), "{running:?} {active:?}");
        if view.state.is_terminal() {
            assert!(running.is_empty(), "over while {running:?} run");
        }
    }

    fn state(&self) -> ArrayState {
        self.array().state()
    }

    /// Every child that runs ends like this, until nothing runs.
    fn end_all(&mut self, state: impl Fn(u32) -> JobState) {
        while let Some(index) = self.running().first().copied() {
            let told = matches!(self.children[&index], Child::Runs { told: true, .. });
            self.ends(index, if told { JobState::Cancelled } else { state(index) });
        }
    }
}

#[test]
fn as_many_are_under_way_as_may_be_and_each_index_is_started_once() {
    let mut world = World::of(json!({"size": 5, "parallelism": 2}));
    assert_eq!(world.running(), [0, 1]);
    world.ends(1, JobState::Succeeded);
    assert_eq!(world.running(), [0, 2]);
    world.does(Event::ChildEnded { index: 1, state: JobState::Failed });
    assert_eq!(world.array().view().counts.failed, 0, "it was counted");
    world.end_all(|_| JobState::Succeeded);
    assert_eq!((world.state(), world.submitted.len()), (ArrayState::Succeeded, 5));
    let finished_at = world.array().view().finished_at.unwrap();
    let due = world.array().deadline().unwrap();
    assert_eq!(due.since(finished_at).as_secs(), 7 * 86_400);
    world.does(Event::Ticked);
    assert!(world.array.is_some(), "a tick that comes early");
    world.now = due;
    world.does(Event::Ticked);
    assert!(world.array.is_none());
}

#[test]
fn the_rule_of_success_decides_and_ends_early_what_cannot_be_met() {
    for (success, failing, expected, started) in [
        (json!({}), vec![], ArrayState::Succeeded, 10),
        // The second of two that run is cancelled, and the others are never started.
        (json!({}), vec![3], ArrayState::Failed, 5),
        (json!({"max_failed": 1}), vec![3], ArrayState::Succeeded, 10),
        (json!({"max_failed": 1}), vec![3, 7], ArrayState::Failed, 9),
        (json!({"min_succeeded": 8}), vec![3, 7], ArrayState::Succeeded, 10),
        (json!({"min_succeeded": 9}), vec![3, 7], ArrayState::Failed, 9),
        (json!({"min_succeeded": 0}), (0..10).collect(), ArrayState::Succeeded, 10),
        (json!({"max_failed": 10}), (0..10).collect(), ArrayState::Succeeded, 10),
    ] {
        let mut world = World::of(json!({"size": 10, "parallelism": 2, "success": success}));
        world.end_all(|index| if failing.contains(&index) { JobState::Failed } else { JobState::Succeeded });
        assert_eq!((world.state(), world.submitted.len()), (expected, started), "{success} {failing:?}");
    }
}

#[test]
fn the_schedule_whose_fire_it_is_is_told_its_end_each_time() {
    let fire = ScheduleParent {
        schedule: "nightly".parse().unwrap(),
        scheduled_at: START,
        past_due: false,
        sealed_for: JobId::from_bytes([9; 16]),
    };
    let mut world = World::given(Given { fire: Some(fire), ..given(json!({"size": 3, "parallelism": 2})) });
    world.end_all(|index| if index == 1 { JobState::Failed } else { JobState::Succeeded });
    assert!(world.does(Event::RetryRequested));
    world.end_all(|_| JobState::Succeeded);
    let states: Vec<JobState> = world.told.iter().map(state_told).collect();
    assert_eq!(states, [JobState::Failed, JobState::Succeeded]);
    assert!(World::of(json!({"size": 1})).told.is_empty());
}

fn state_told(event: &schedule::Event) -> JobState {
    match event {
        schedule::Event::RunEnded { run, end } if **run == schedule::Run::Array(id()) => end.state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cancelled_array_ends_when_its_children_have() {
    let mut world = World::of(json!({"size": 10, "parallelism": 3}));
    assert!(world.does(Event::CancelRequested) && world.does(Event::CancelRequested));
    assert_eq!((world.state(), world.running().len()), (ArrayState::Stopping, 3));
    assert!(!world.does(Event::PurgeRequested), "not before it is over");
    // One was faster.
    world.ends(0, JobState::Succeeded);
    world.end_all(|_| JobState::Failed);
    let view = world.array().view();
    assert_eq!(
        (view.state, view.counts.succeeded, view.counts.cancelled, view.counts.pending),
        (ArrayState::Cancelled, 1, 2, 7)
    );
    assert!(!world.does(Event::CancelRequested) && !world.does(Event::SuspendRequested));

    // Retried, all that did not succeed run.
    assert!(world.does(Event::RetryRequested));
    assert_eq!(world.running(), [1, 2, 3]);
    world.end_all(|_| JobState::Succeeded);
    assert_eq!((world.state(), world.array().view().counts.succeeded), (ArrayState::Succeeded, 10));
    assert!(!world.does(Event::RetryRequested), "there is nothing to retry");
    assert!(world.does(Event::PurgeRequested));
    assert!(world.array.is_none());
}

#[test]
fn a_suspended_array_starts_nothing_and_goes_on() {
    let mut world = World::of(json!({"size": 4, "parallelism": 2}));
    world.does(Event::SuspendRequested);
    let suspended = Child::Runs { told: false, suspended: true };
    assert_eq!((world.children[&0], world.children[&1]), (suspended, suspended));
    world.ends(0, JobState::Succeeded);
    assert_eq!((world.state(), world.running()), (ArrayState::Suspended, vec![1]));
    world.does(Event::ResumeRequested);
    assert_eq!(world.running(), [1, 2]);
    assert_eq!(world.children[&1], Child::Runs { told: false, suspended: false });
    world.does(Event::SuspendRequested);
    world.does(Event::CancelRequested);
    assert_eq!(world.state(), ArrayState::Cancelled);
}

#[test]
fn only_failed_children_run_again_also_where_they_were_purged() {
    let mut world = World::of(json!({"size": 6, "parallelism": 6, "success": {"max_failed": 6}}));
    world.end_all(|index| if index % 2 == 0 { JobState::Failed } else { JobState::Succeeded });
    assert_eq!((world.state(), world.array().view().failed.as_str()), (ArrayState::Succeeded, "0,2,4"));
    world.children.remove(&2);
    world.submitted.remove(&2);
    assert!(world.does(Event::RetryRequested));
    assert_eq!(world.running(), [0, 2, 4]);
    world.end_all(|_| JobState::Succeeded);
    assert_eq!(world.array().view().counts.succeeded, 6);
}

#[test]
fn what_a_transition_writes_does_not_depend_on_how_children_end() {
    let mut array = World::of(json!({"size": 10_000, "parallelism": 10, "success": {"max_failed": 10_000}}));
    let mut longest = 0;
    let mut world = array.array().clone();
    for index in 0..10_000 {
        let state = if index % 2 == 0 { JobState::Failed } else { JobState::Succeeded };
        let step = world.apply(&Event::ChildEnded { index, state }, START).unwrap();
        let Change::Next(next, _) = step.change else { panic!("{index}") };
        world = Arc::unwrap_or_clone(next);
        longest = longest.max(serde_json::to_vec(&world).unwrap().len());
    }
    assert_eq!(world.state(), ArrayState::Succeeded);
    assert!(longest < 4_096, "{longest} bytes");
    array.array = Some(world);
}

#[test]
fn what_cannot_be_is_refused_and_it_is_said_where() {
    let policy = Policy::default();
    for (spec, array, pointer) in [
        (json!({"args": ["x"]}), json!({"size": 0}), "/array/size"),
        (json!({"args": ["x"]}), json!({"size": 10_001}), "/array/size"),
        (json!({"args": ["x"]}), json!({"size": 1, "parallelism": 0}), "/array/parallelism"),
        (json!({"args": ["x"]}), json!({"size": 1, "parallelism": 1_001}), "/array/parallelism"),
        (
            json!({"args": ["x"]}),
            json!({"size": 3, "success": {"min_succeeded": 4}}),
            "/array/success/min_succeeded",
        ),
        (
            json!({"args": ["x"]}),
            json!({"size": 3, "success": {"max_failed": 4}}),
            "/array/success/max_failed",
        ),
        (
            json!({"args": ["x"]}),
            json!({"size": 3, "success": {"max_failed": 1, "min_succeeded": 1}}),
            "/array/success",
        ),
        (
            json!({"args": ["x"], "on_complete": [{"url": "https://a.example"}]}),
            json!({"size": 3}),
            "/on_complete",
        ),
        (json!({}), json!({"size": 3}), ""),
    ] {
        let (read, of) =
            (serde_json::from_value(spec.clone()).unwrap(), serde_json::from_value(array.clone()).unwrap());
        let faults = validate(&read, &of, &policy);
        assert!(faults.iter().any(|fault| fault.pointer == pointer), "{spec} {array}: {faults:?}");
    }
    let job: job::spec::Spec = serde_json::from_value(json!({"args": ["x"]})).unwrap();
    assert_eq!(validate(&job, &serde_json::from_value(json!({"size": 10_000})).unwrap(), &policy), []);
}

/// What may happen in a random life.
#[derive(Debug, Clone)]
enum Act {
    End(u8, u8),
    /// A user runs a child again that is over.
    RetryChild(u8),
    Cancel,
    Suspend,
    Resume,
    Retry,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        20 => (any::<u8>(), any::<u8>()).prop_map(|(which, how)| Act::End(which, how)),
        1 => any::<u8>().prop_map(Act::RetryChild),
        1 => Just(Act::Cancel),
        1 => Just(Act::Suspend),
        3 => Just(Act::Resume),
        1 => Just(Act::Retry),
    ]
}

#[test]
fn whatever_happens_each_index_is_counted_once_and_in_the_end_all_have_succeeded() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let lives = (1..20_u32, 1..6_u32, 0..20_u32, proptest::collection::vec(act(), 0..120));
    let tried = runner.run(&lives, |(size, parallelism, failing, acts)| {
        let success = json!({"max_failed": failing.min(size)});
        let mut world = World::of(json!({"size": size, "parallelism": parallelism, "success": success}));
        for act in acts {
            let pick = |which: u8, of: &[u32]| of.get(usize::from(which) % of.len().max(1)).copied();
            match act {
                Act::End(which, how) => {
                    let Some(index) = pick(which, &world.running()) else { continue };
                    let state =
                        [JobState::Succeeded, JobState::Failed, JobState::Cancelled][usize::from(how % 3)];
                    world.ends(index, state);
                }
                Act::RetryChild(which) => {
                    let over: Vec<u32> = world
                        .children
                        .iter()
                        .filter(|(_, child)| {
                            matches!(child, Child::Over(JobState::Failed | JobState::Cancelled))
                        })
                        .map(|(index, _)| *index)
                        .collect();
                    // It runs, ends, and tells so.
                    if let Some(index) = pick(which, &over) {
                        world.ends(index, JobState::Succeeded);
                    }
                }
                Act::Cancel => drop(world.does(Event::CancelRequested)),
                Act::Suspend => drop(world.does(Event::SuspendRequested)),
                Act::Resume => drop(world.does(Event::ResumeRequested)),
                Act::Retry => drop(world.does(Event::RetryRequested)),
            }
        }
        // From now on everything goes well.
        for _ in 0..4 {
            world.does(Event::ResumeRequested);
            world.end_all(|_| JobState::Succeeded);
            if world.state().is_terminal() {
                world.does(Event::RetryRequested);
            }
        }
        world.end_all(|_| JobState::Succeeded);
        prop_assert_eq!(world.state(), ArrayState::Succeeded);
        prop_assert_eq!(world.array().view().counts.succeeded, size);
        let started: BTreeSet<u32> = world.submitted.keys().copied().collect();
        prop_assert_eq!(started, (0..size).collect::<BTreeSet<u32>>());
        Ok(())
    });
    tried.unwrap();
}
