//! The rules of a pool: what each event does; random lives are in `tests/lives.rs`.

mod lives;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine, MachineId as _, Message, Step};
use crate::id::JobId;
use crate::job;
use crate::job::cause::Cause;
use crate::job::parent::Parent;
use crate::job::view::JobState;
use crate::limits::{POOL_BACKOFF_MAX, POOL_BACKOFF_RESET_AFTER};

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn given(more: serde_json::Value) -> Given {
    let mut spec = json!({
        "activities": [{"name": "resize"}], "job": {"args": ["worker"]}, "per_instance": 10, "idle": "60s",
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let spec = Arc::new(serde_json::from_value(spec).unwrap());
    Given { spec, vault: None, seed: JobId::from_bytes([9; 16]) }
}

fn end(state: JobState, cause: Cause, exit_code: Option<i32>) -> Box<End> {
    Box::new(End { state, cause, exit_code, message: format!("ended with {}", cause.name()) })
}

/// A pool that is driven through the rules.
#[derive(Debug, Clone)]
struct Life {
    pool: Option<Pool>,
    now: Timestamp,
    effects: Vec<Effect>,
    outbox: Vec<Message>,
}

impl Life {
    fn of(more: serde_json::Value) -> Self {
        let id = "thumbnails".parse().unwrap();
        let step = Pool::create(id, &Event::Declared(Box::new(given(more))), START).unwrap().unwrap();
        let mut life = Self { pool: None, now: START, effects: vec![], outbox: vec![] };
        life.take(step);
        life
    }

    fn pool(&self) -> &Pool {
        self.pool.as_ref().expect("it is not deleted")
    }

    fn take(&mut self, step: Step<Pool>) {
        let before = self.pool.as_ref().map_or(0, |pool| pool.revision);
        match step.change {
            Change::None => {}
            Change::Next(next, record) => {
                assert_eq!(next.revision, before + u64::from(record.is_some()));
                self.pool = Some(Arc::unwrap_or_clone(next));
            }
            Change::Purge => self.pool = None,
        }
        (self.effects, self.outbox) = (step.effects, step.outbox);
    }

    fn does(&mut self, event: Event) -> &mut Self {
        let step = self.pool().apply(&event, self.now).unwrap_or_else(|error| panic!("{event:?}: {error}"));
        self.take(step);
        self
    }

    fn after(&mut self, span: Duration) -> &mut Self {
        self.now = self.now.after(span);
        self
    }

    fn tick(&mut self) -> &mut Self {
        self.now = self.pool().deadline().expect("it has a deadline");
        self.does(Event::Ticked)
    }

    fn sees(&mut self, waiting: u64, busy: &[(JobId, u32)]) -> &mut Self {
        let retired = |job: &JobId| self.pool().instances.get(job).is_some_and(|it| it.mode != Mode::Up);
        let seen = busy
            .iter()
            .map(|(job, busy)| (*job, Seen { connected: true, busy: *busy, retired: retired(job) }));
        let running = busy.iter().map(|(_, busy)| u64::from(*busy)).sum();
        let demand = Demand { waiting, running, instances: seen.collect() };
        self.does(Event::DemandSeen(demand.clone()));
        if let Some(pool) = &self.pool {
            assert!(pool.has_seen(&demand));
        }
        self
    }

    fn jobs(&self) -> Vec<JobId> {
        self.pool().instances.keys().copied().collect()
    }

    /// The jobs that the last event submitted, and those that it cancelled.
    fn sent(&self) -> (Vec<JobId>, Vec<JobId>) {
        sent(&self.outbox)
    }

    fn fails(&mut self, job: JobId) -> &mut Self {
        self.does(Event::InstanceEnded { job, end: end(JobState::Failed, Cause::Oom, Some(137)) })
    }
}

fn sent(outbox: &[Message]) -> (Vec<JobId>, Vec<JobId>) {
    let (mut submitted, mut cancelled) = (vec![], vec![]);
    for message in outbox {
        assert_eq!(message.kind, job::state::Job::KIND);
        let id = JobId::from_key(&message.id).unwrap();
        match serde_json::from_value(message.event.clone()).unwrap() {
            job::event::Event::Submitted(_) => submitted.push(id),
            job::event::Event::CancelRequested => cancelled.push(id),
            other => panic!("{other:?}"),
        }
    }
    (submitted, cancelled)
}

#[test]
fn the_wanted_instances_follow_the_work_between_the_least_and_the_most() {
    for (min, max, waiting, running, wanted) in [
        (0, 4, 0, 0, 0),
        (0, 4, 1, 0, 1),
        (0, 4, 10, 0, 1),
        (1, 4, 5, 6, 2),
        (0, 4, 1_000, 0, 4),
        (2, 4, 0, 0, 2),
        (2, 4, 0, 21, 3),
        (1, 1, u64::MAX, 7, 1),
    ] {
        let mut life = Life::of(json!({"min": min, "max": max}));
        let first = life.jobs().first().copied();
        life.sees(waiting, &first.map(|job| (job, running)).into_iter().collect::<Vec<_>>());
        assert_eq!(life.pool().wanted(), wanted, "{min} {max} {waiting} {running}");
        assert_eq!(life.jobs().len() as u32, wanted, "they are started");
    }
}

#[test]
fn an_instance_is_a_job_of_the_pool_with_an_id_of_its_own() {
    let mut life = Life::of(json!({}));
    assert_eq!((life.effects.as_slice(), life.outbox.len()), (&[Effect::Watch][..], 0), "zero at rest");
    life.sees(11, &[]);
    let (submitted, _) = life.sent();
    assert_eq!(submitted.len(), 2);
    assert_ne!(submitted[0], submitted[1]);
    assert!(submitted.iter().all(|job| job.made_at() == Some(START)), "found by the time of submission");
    let event = serde_json::from_value(life.outbox[0].event.clone()).unwrap();
    let job::event::Event::Submitted(submitted) = event else { panic!("{event:?}") };
    assert_eq!(submitted.spec.labels["dogwatch.pool"], "thumbnails");
    assert_eq!(submitted.spec.name.as_deref(), Some("thumbnails"));
    let Some(Parent::Pool(parent)) = submitted.parent else { panic!("{:?}", submitted.parent) };
    assert_eq!((parent.pool.as_str(), parent.hub.as_str()), ("thumbnails", "default"));
    assert_eq!(parent.sealed_for, JobId::from_bytes([9; 16]));
}

#[test]
fn an_idle_instance_is_drained_first_and_stopped_when_that_is_certain() {
    let mut life = Life::of(json!({}));
    let job = life.sees(1, &[]).jobs()[0];
    life.does(Event::InstanceConnected { job }).sees(0, &[(job, 1)]);
    assert_eq!(life.pool().deadline(), None, "it works");
    life.sees(0, &[(job, 0)]);
    assert_eq!(life.pool().deadline(), Some(life.now.after(Duration::from_secs(60))));
    // Something comes and goes: it is idle anew.
    life.after(Duration::from_secs(59)).sees(1, &[(job, 0)]).sees(0, &[(job, 0)]);
    life.after(Duration::from_secs(59)).does(Event::Ticked);
    assert!(life.effects.is_empty() && life.outbox.is_empty());

    life.tick();
    assert_eq!((life.effects.as_slice(), life.outbox.len()), (&[Effect::Retire(job)][..], 0));
    assert_eq!(life.pool().resume(), [Effect::Retire(job), Effect::Watch]);
    let refused = life.pool().apply(&Event::InstanceConnected { job }, life.now).unwrap_err();
    assert_eq!(refused, Rejected::NotAnInstance(job));
    // It was given something in the last moment.
    life.sees(0, &[(job, 1)]);
    assert!(life.outbox.is_empty(), "it ends what it has");
    life.sees(0, &[(job, 0)]);
    assert_eq!(life.sent(), (vec![], vec![job]));
    life.does(Event::InstanceEnded { job, end: end(JobState::Cancelled, Cause::Canceled, Some(143)) });
    assert_eq!((life.jobs(), life.effects.as_slice()), (vec![], &[Effect::Forget(job)][..]));
    assert_eq!((life.pool().failing, life.pool().deadline()), (None, None));
}

#[test]
fn a_failure_is_followed_by_a_pause_which_doubles_and_by_one_that_tries() {
    let mut life = Life::of(json!({"max": 3, "per_instance": 1}));
    life.sees(9, &[]);
    assert_eq!(life.jobs().len(), 3);
    let mut pauses = vec![];
    for _ in 0..12 {
        for job in life.jobs() {
            life.fails(job);
            assert!(life.outbox.is_empty(), "nothing is started at once");
        }
        pauses.push(life.pool().deadline().unwrap().since(life.now).as_secs());
        life.sees(9, &[]).does(Event::Ticked);
        assert!(life.outbox.is_empty(), "nor before the pause is over");
        life.tick();
        assert_eq!(life.jobs().len(), 1, "one tries");
        assert!(life.pool().deadline().is_none_or(|due| due > life.now));
    }
    // Three failed at once.
    assert_eq!(pauses, [4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300, 300]);
    assert_eq!(POOL_BACKOFF_MAX.as_secs(), 300);
    let failure = life.pool().last_failure.clone().unwrap();
    assert_eq!((failure.cause, failure.exit_code), (Cause::Oom, Some(137)));

    // Its worker connects: the others may follow, and a failure after a long time begins anew.
    let job = life.jobs()[0];
    life.does(Event::InstanceConnected { job });
    assert_eq!(life.jobs().len(), 2, "one more tries");
    life.after(POOL_BACKOFF_RESET_AFTER).fails(job);
    assert_eq!(life.pool().failing.unwrap().streak, 1);
}

#[test]
fn an_end_that_nobody_asked_for_is_a_failure_unless_the_worker_had_connected_and_ended_well() {
    for (connects, state, cause, is_failure) in [
        (true, JobState::Succeeded, Cause::Success, false),
        (false, JobState::Succeeded, Cause::Success, true),
        (true, JobState::Failed, Cause::ExitCode, true),
        (false, JobState::Failed, Cause::StartError, true),
        (true, JobState::Cancelled, Cause::Canceled, false),
        (false, JobState::Cancelled, Cause::Canceled, false),
    ] {
        let mut life = Life::of(json!({"min": 1}));
        let job = life.jobs()[0];
        if connects {
            life.does(Event::InstanceConnected { job });
        }
        life.does(Event::InstanceEnded { job, end: end(state, cause, None) });
        assert_eq!(life.pool().failing.is_some(), is_failure, "{connects} {state:?}");
        assert_eq!(life.pool().last_failure.is_some(), is_failure, "{connects} {state:?}");
        assert_eq!(life.jobs().len(), usize::from(!is_failure), "the least is kept up");
    }
}

#[test]
fn a_new_declaration_replaces_instances_only_where_they_are_something_else() {
    for (more, replaces) in [
        (json!({}), false),
        (json!({"min": 2, "max": 9, "idle": "1s"}), false),
        (json!({"per_instance": 3}), true),
        (json!({"task_hub": "blue"}), true),
        (json!({"job": {"args": ["worker", "--new"]}}), true),
        (json!({"activities": [{"name": "crop"}]}), true),
    ] {
        let mut life = Life::of(json!({}));
        let job = life.sees(1, &[]).jobs()[0];
        life.does(Event::InstanceConnected { job }).sees(0, &[(job, 1)]);
        life.does(Event::Declared(Box::new(given(more.clone()))));
        let is_leaving = life.pool().instances[&job].mode == Mode::Draining;
        assert_eq!(is_leaving, replaces, "{more}");
        assert!(!life.sent().1.contains(&job), "{more}: it ends what it has");
        if replaces {
            life.sees(1, &[(job, 0)]);
            assert!(life.sent().1.contains(&job), "{more}: and then it goes");
        }
    }
    let mut life = Life::of(json!({}));
    let again = Given { seed: JobId::from_bytes([8; 16]), ..given(json!({})) };
    life.does(Event::Declared(Box::new(again)));
    assert_eq!(life.pool().generation, 2, "other secrets are another job");
}

#[test]
fn a_deleted_pool_stops_its_instances_and_then_is_gone() {
    let mut life = Life::of(json!({}));
    life.does(Event::DeleteRequested);
    assert!(life.pool.is_none(), "without an instance at once");

    let mut life = Life::of(json!({"min": 2}));
    let jobs = life.jobs();
    life.does(Event::InstanceConnected { job: jobs[0] }).sees(5, &[(jobs[0], 3)]);
    life.does(Event::DeleteRequested);
    assert_eq!(life.sent(), (vec![], jobs.clone()));
    assert!(life.effects.contains(&Effect::Unwatch));
    assert_eq!((life.pool().liveness(), life.pool().wanted()), (Liveness::Live, 0));
    let refused = life.pool().apply(&Event::Declared(Box::new(given(json!({})))), life.now).unwrap_err();
    assert_eq!(refused, Rejected::Deleting);
    life.does(Event::DeleteRequested);
    assert!(life.outbox.is_empty(), "once is enough");
    let ended = |job| Event::InstanceEnded { job, end: end(JobState::Cancelled, Cause::Canceled, None) };
    life.does(ended(jobs[0])).does(ended(jobs[0]));
    assert_eq!(life.jobs(), [jobs[1]]);
    life.does(ended(jobs[1]));
    assert!(life.pool.is_none());
}

#[test]
fn a_quarantined_pool_rests_until_it_is_declared_again() {
    let mut life = Life::of(json!({"min": 1}));
    let job = life.jobs()[0];
    life.does(Pool::quarantine("boom".to_owned()));
    assert_eq!((life.pool().liveness(), life.pool().deadline()), (Liveness::Terminal, None));
    life.fails(job).does(Event::Ticked);
    assert!(life.jobs().is_empty() && life.pool().resume().is_empty());
    let declared = Event::Declared(Box::new(given(json!({"min": 1}))));
    assert!(Pool::releases(&declared));
    life.after(Duration::from_secs(2)).does(declared);
    assert_eq!((life.jobs().len(), life.effects.as_slice()), (1, &[Effect::Watch][..]));
}
