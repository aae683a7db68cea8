//! The rules of a schedule: what each event does. Its times are in `tests/times.rs`, random lives in `tests/lives.rs`.

mod lives;
mod times;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::array::{self, Array, ArrayId};
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine, MachineId as _, Message, Step};
use crate::id::JobId;
use crate::job;
use crate::job::parent::Parent;
use crate::job::validate::Policy;
use crate::job::view::JobState;
use crate::limits::{SCHEDULE_FIRES_KEPT, SCHEDULE_RUNS_MAX};
use crate::orchestration::event::Event as OrchestrationEvent;
use crate::orchestration::state::Orchestration;
use crate::orchestration::{InstanceId, Payload};

/// 2027-01-15, eight o'clock.
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);

fn spec(more: &Value) -> Spec {
    let mut spec = json!({"cron": "* * * * *", "job": {"args": ["report"]}});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn given(more: &Value) -> Given {
    Given { spec: Arc::new(spec(more)), vault: None, seed: JobId::from_bytes([9; 16]), origin: Origin::Api }
}

fn end(state: JobState) -> Box<End> {
    Box::new(End { state, message: None })
}

/// A schedule that is driven through the rules.
#[derive(Debug, Clone)]
struct Life {
    schedule: Option<Schedule>,
    now: Timestamp,
    outbox: Vec<Message>,
}

/// What an event asked of what a schedule starts.
#[derive(Debug, Clone, PartialEq)]
enum Asked {
    Submit(JobId, Timestamp, bool),
    Cancel(JobId),
    Start(InstanceId, Value),
    Terminate(InstanceId),
    SubmitArray(ArrayId, array::Spec),
    CancelArray(ArrayId),
}

impl Life {
    fn of(more: &Value) -> Self {
        let id = "nightly".parse().unwrap();
        let step = Schedule::create(id, &Event::Declared(Box::new(given(more))), START).unwrap().unwrap();
        let mut life = Self { schedule: None, now: START, outbox: vec![] };
        life.take(step);
        life
    }

    fn schedule(&self) -> &Schedule {
        self.schedule.as_ref().expect("it is not deleted")
    }

    fn take(&mut self, step: Step<Schedule>) {
        let before = self.schedule.as_ref().map_or(0, |schedule| schedule.revision);
        match step.change {
            Change::None => {}
            Change::Next(next, record) => {
                assert_eq!(next.revision, before + u64::from(record.is_some()));
                self.schedule = Some(Arc::unwrap_or_clone(next));
            }
            Change::Purge => self.schedule = None,
        }
        self.outbox = step.outbox;
    }

    fn does(&mut self, event: Event) -> &mut Self {
        let step =
            self.schedule().apply(&event, self.now).unwrap_or_else(|error| panic!("{event:?}: {error}"));
        self.take(step);
        self
    }

    fn after(&mut self, span: Duration) -> &mut Self {
        self.now = self.now.after(span);
        self
    }

    /// Its next time comes.
    fn tick(&mut self) -> &mut Self {
        self.now = self.schedule().deadline().expect("it has a deadline");
        self.does(Event::Ticked)
    }

    fn asked(&self) -> Vec<Asked> {
        self.outbox.iter().map(asked).collect()
    }

    fn submitted(&self) -> Vec<JobId> {
        let submits = self.asked().into_iter().filter_map(|asked| match asked {
            Asked::Submit(job, ..) => Some(job),
            _ => None,
        });
        submits.collect()
    }

    fn ends(&mut self, job: JobId, state: JobState) -> &mut Self {
        self.does(Event::RunEnded { run: Box::new(Run::Job(job)), end: end(state) })
    }

    fn skips(&self) -> Vec<Skip> {
        let skip = |fire: &Fire| match fire.outcome {
            Outcome::Skipped { reason } => Some(reason),
            _ => None,
        };
        self.schedule().fires.iter().filter_map(skip).collect()
    }
}

fn asked(message: &Message) -> Asked {
    if message.kind == Orchestration::KIND {
        let id = InstanceId::from_key(&message.id).unwrap();
        return match serde_json::from_value(message.event.clone()).unwrap() {
            OrchestrationEvent::StartRequested(start) => Asked::Start(id, start.input.into_value()),
            OrchestrationEvent::TerminateRequested { recursive: true, .. } => Asked::Terminate(id),
            other => panic!("{other:?}"),
        };
    }
    if message.kind == Array::KIND {
        let id = ArrayId::from_key(&message.id).unwrap();
        return match serde_json::from_value(message.event.clone()).unwrap() {
            array::Event::Submitted(given) => {
                assert_eq!(given.spec.labels["dogwatch.schedule"], "nightly");
                assert_eq!((given.spec.array, given.fire.unwrap().schedule.as_str()), (None, "nightly"));
                Asked::SubmitArray(id, given.array)
            }
            array::Event::CancelRequested => Asked::CancelArray(id),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(message.kind, job::state::Job::KIND);
    let id = JobId::from_key(&message.id).unwrap();
    match serde_json::from_value(message.event.clone()).unwrap() {
        job::event::Event::Submitted(submitted) => {
            let Some(Parent::Schedule(parent)) = submitted.parent else { panic!("{:?}", submitted.parent) };
            assert_eq!(submitted.spec.labels["dogwatch.schedule"], "nightly");
            Asked::Submit(id, parent.scheduled_at, parent.past_due)
        }
        job::event::Event::CancelRequested => Asked::Cancel(id),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_time_fires_once_and_the_next_one_is_armed_in_the_same_commit() {
    let mut life = Life::of(&json!({}));
    assert_eq!(life.schedule().deadline(), Some(START.after(MINUTE)), "not for the time that it is");
    life.does(Event::Ticked);
    assert!(life.outbox.is_empty(), "a tick that comes early");
    life.tick();
    assert_eq!(life.submitted().len(), 1);
    assert_eq!(life.asked()[0], Asked::Submit(life.submitted()[0], START.after(MINUTE), false));
    assert_eq!(life.schedule().deadline(), Some(START.after(2 * MINUTE)));
    life.does(Event::Ticked);
    assert!(life.outbox.is_empty(), "the same tick again");
    // The clock goes back over the time, and on.
    life.now = START;
    life.does(Event::Ticked);
    assert!(life.outbox.is_empty());
    assert_eq!(life.schedule().deadline(), Some(START.after(2 * MINUTE)), "no time comes twice");
    assert_eq!((life.schedule().started, life.schedule().liveness()), (1, Liveness::Waiting));
}

#[test]
fn the_id_of_what_is_started_is_made_of_the_generation_and_the_time() {
    let first = |life: &mut Life| life.tick().submitted()[0];
    let tail = |job: JobId| job.as_bytes()[6..].to_vec();
    let one = first(&mut Life::of(&json!({})));
    assert_eq!(one, first(&mut Life::of(&json!({}))), "the same whenever it is computed");
    assert_eq!(one.made_at(), Some(START.after(MINUTE)), "found by the time of submission");
    let mut life = Life::of(&json!({"overlap": "allow"}));
    let mut seen = vec![tail(first(&mut life))];
    seen.push(tail(first(&mut life)));
    life.does(Event::Declared(Box::new(given(&json!({"overlap": "allow", "job": {"args": ["other"]}})))));
    assert_eq!(life.schedule().generation, 2);
    seen.push(tail(first(&mut life)));
    life.does(Event::Triggered);
    seen.push(tail(life.submitted()[0]));
    life.does(Event::Triggered);
    seen.push(tail(life.submitted()[0]));
    let different: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(different.len(), seen.len(), "each has another");
}

#[test]
fn what_is_due_at_the_same_time_fires_as_far_as_it_may_be_made_up_for() {
    let hourly = |catch_up: Value| json!({"cron": "0 * * * *", "overlap": "allow", "catch_up": catch_up});
    let hours = |count: u64| Duration::from_secs(3_600 * count);
    for (catch_up, late_by, fired, missed) in [
        // Three days, and half an hour behind the last time.
        (json!({}), 1_800, 1, 71),
        (json!({"max": 0}), 1_800, 0, 72),
        (json!({"max": 5}), 1_800, 5, 67),
        (json!({"max": 100}), 1_800, 72, 0),
        (json!({"max": 100, "within": "150m"}), 1_800, 3, 69),
        (json!({"max": 100, "within": "1m"}), 1_800, 0, 72),
        // A moment behind it: that one is not late, and fires in any case.
        (json!({}), 1, 1, 71),
        (json!({"max": 0}), 1, 1, 71),
        (json!({"max": 3}), 1, 3, 69),
    ] {
        let mut life = Life::of(&hourly(catch_up.clone()));
        life.after(hours(72) + Duration::from_secs(late_by)).does(Event::Ticked);
        let asked = life.asked();
        assert_eq!((asked.len(), life.schedule().missed), (fired, missed), "{catch_up} {late_by}");
        let times: Vec<(u64, bool)> = asked
            .iter()
            .map(|asked| match asked {
                Asked::Submit(_, at, late) => (at.since(START).as_secs() / 3_600, *late),
                other => panic!("{other:?}"),
            })
            .collect();
        let first = 73 - u64::try_from(fired).unwrap();
        let expected: Vec<(u64, bool)> = (first..=72).map(|hour| (hour, hour < 72 || late_by > 5)).collect();
        assert_eq!(times, expected, "{catch_up} {late_by}: the latest, oldest first");
        assert_eq!(life.schedule().deadline(), Some(START.after(hours(73))));
    }
}

#[test]
fn more_misses_than_anybody_counts_end_soon() {
    let mut life = Life::of(&json!({"cron": "@every 1s", "catch_up": {"max": 2}}));
    life.after(Duration::from_secs(365 * 86_400) + Duration::from_millis(500)).does(Event::Ticked);
    // Those of the last seconds are not late.
    assert_eq!(life.schedule().number, 5);
    assert_eq!(life.schedule().missed, 365 * 86_400 - 5, "an interval is counted without looking at each");
    let mut life = Life::of(&json!({"cron": "* * * * * *", "seconds": true}));
    life.after(Duration::from_secs(365 * 86_400)).does(Event::Ticked);
    assert_eq!(life.schedule().missed, 10_000);
    assert!(life.schedule().deadline().unwrap() > life.now);
}

#[test]
fn an_overlap_is_allowed_skipped_queued_or_replaced() {
    for (overlap, first, second, third, after_end) in
        [("allow", 1, 1, 1, 0), ("skip", 1, 0, 0, 0), ("queue", 1, 0, 0, 1), ("replace", 1, 0, 0, 1)]
    {
        let mut life = Life::of(&json!({"overlap": overlap, "queue_max": 1}));
        let job = *life.tick().submitted().first().unwrap();
        let counts = [life.submitted().len(), life.tick().submitted().len()];
        let cancels = life.asked().contains(&Asked::Cancel(job));
        assert_eq!(cancels, overlap == "replace", "{overlap}");
        let third_count = life.tick().submitted().len();
        assert!(!life.asked().contains(&Asked::Cancel(job)), "it is told once");
        assert_eq!((counts[0], counts[1], third_count), (first, second, third), "{overlap}");
        let ended = life.after(Duration::from_secs(1)).ends(job, JobState::Cancelled).submitted().len();
        assert_eq!(ended, after_end, "{overlap}");
        let skips = match overlap {
            "skip" => vec![Skip::Overlap, Skip::Overlap],
            "queue" => vec![Skip::QueueFull],
            "replace" => vec![Skip::Replaced],
            _ => vec![],
        };
        assert_eq!(life.skips(), skips, "{overlap}");
        assert_eq!(life.schedule().skipped, skips.len() as u64);
        // What waited is for its own time.
        if after_end == 1 {
            let waited = if overlap == "queue" { 2 } else { 3 };
            let Asked::Submit(_, at, _) = life.asked()[0].clone() else { panic!("{:?}", life.asked()) };
            assert_eq!(at, START.after(MINUTE * waited), "{overlap}");
        }
    }
}

#[test]
fn what_runs_and_what_is_shown_is_bounded() {
    let mut life = Life::of(&json!({"cron": "@every 1s", "overlap": "allow"}));
    for _ in 0..SCHEDULE_RUNS_MAX + 5 {
        life.tick();
    }
    assert_eq!(life.schedule().running(), SCHEDULE_RUNS_MAX);
    assert_eq!(life.skips(), [Skip::TooMany; 5]);
    let jobs: Vec<JobId> = life
        .schedule()
        .fires
        .iter()
        .filter_map(|fire| match fire.run() {
            Some(Run::Job(job)) => Some(job),
            _ => None,
        })
        .collect();
    for job in jobs {
        life.ends(job, JobState::Succeeded);
    }
    assert_eq!((life.schedule().running(), life.schedule().fires.len()), (0, SCHEDULE_FIRES_KEPT));
    assert_eq!(life.schedule().started, SCHEDULE_RUNS_MAX as u64);

    let mut life = Life::of(&json!({"cron": "@every 1s", "overlap": "queue", "queue_max": 3}));
    for _ in 0..50 {
        life.tick();
    }
    assert_eq!((life.schedule().running(), life.schedule().queued()), (1, 3));
}

#[test]
fn a_paused_schedule_fires_only_when_it_is_triggered_and_forgets_its_times() {
    let mut life = Life::of(&json!({"overlap": "allow", "catch_up": {"max": 100}}));
    life.does(Event::PauseRequested).does(Event::PauseRequested);
    assert_eq!((life.schedule().deadline(), life.schedule().view().state), (None, ScheduleState::Paused));
    life.after(10 * MINUTE).does(Event::Ticked);
    assert!(life.outbox.is_empty());
    life.does(Event::Triggered);
    assert_eq!(life.submitted().len(), 1);
    assert!(life.schedule().fires.back().unwrap().triggered);
    life.after(Duration::from_secs(1)).does(Event::ResumeRequested);
    assert_eq!(life.schedule().deadline(), Some(START.after(11 * MINUTE)));
    life.tick();
    assert_eq!((life.submitted().len(), life.schedule().missed), (1, 0));
}

#[test]
fn a_new_declaration_keeps_the_fires_and_with_the_same_times_what_was_missed() {
    let catch_up = json!({"max": 100});
    let mut life = Life::of(&json!({"overlap": "allow", "catch_up": catch_up}));
    let job = life.tick().submitted()[0];
    let again = Event::Declared(Box::new(given(&json!({"overlap": "allow", "catch_up": catch_up}))));
    let before = life.schedule().clone();
    assert_eq!(life.does(again).schedule(), &before, "the same again changes nothing");

    // Down for some minutes; then what it starts is another thing.
    life.after(5 * MINUTE);
    let other = json!({"overlap": "allow", "catch_up": catch_up, "job": {"args": ["other"]}});
    life.does(Event::Declared(Box::new(given(&other)))).does(Event::Ticked);
    assert_eq!((life.submitted().len(), life.schedule().generation), (5, 2));
    assert!(life.schedule().fires.iter().any(|fire| fire.run() == Some(Run::Job(job))), "its fires stay");

    // Other times begin now.
    life.after(5 * MINUTE);
    let other = json!({"cron": "*/2 * * * *", "overlap": "allow", "catch_up": catch_up});
    life.does(Event::Declared(Box::new(given(&other)))).does(Event::Ticked);
    assert!(life.outbox.is_empty());
    assert!(life.schedule().deadline().unwrap() > life.now);
    life.does(Event::PauseRequested).does(Event::Declared(Box::new(given(&json!({})))));
    assert!(matches!(life.schedule().phase, Phase::Paused { .. }), "and whether it is paused");
}

#[test]
fn an_orchestration_is_started_with_tags_and_with_an_envelope_where_that_is_asked_for() {
    for (envelope, expected) in [
        (false, json!({"region": "eu"})),
        (
            true,
            json!({
                "schedule": "nightly", "scheduled_at": START.after(MINUTE), "past_due": false,
                "input": {"region": "eu"},
            }),
        ),
    ] {
        let orchestration = json!({
            "name": "report", "task_hub": "blue", "input": {"region": "eu"}, "envelope": envelope,
            "tags": {"team": "data"},
        });
        let mut life = Life::of(&json!({"job": null, "orchestration": orchestration, "overlap": "replace"}));
        life.tick();
        let id: InstanceId = "blue/nightly:1:2027-01-15T08:01:00.000Z".parse().unwrap();
        assert_eq!(life.asked(), [Asked::Start(id, expected)]);
        let OrchestrationEvent::StartRequested(start) =
            serde_json::from_value(life.outbox[0].event.clone()).unwrap()
        else {
            panic!("{:?}", life.outbox)
        };
        assert_eq!(start.schedule.map(|id| id.to_string()).as_deref(), Some("nightly"));
        let tags: Vec<String> = start.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            tags.join(" "),
            "dogwatch.past_due=false dogwatch.schedule=nightly dogwatch.scheduled_at=2027-01-15T08:01:00.000Z team=data"
        );
        assert_eq!(life.tick().asked(), [Asked::Terminate(id)]);
        let ended = Event::RunEnded { run: Box::new(Run::Instance(id)), end: end(JobState::Cancelled) };
        assert_eq!(life.does(ended).asked().len(), 1, "the next one");
    }
    assert_eq!(Payload::from(Value::Null), Payload::NONE);
}

#[test]
fn a_job_with_an_array_is_submitted_as_one_and_its_end_is_that_of_the_array() {
    let job = json!({"args": ["part"], "array": {"size": 9, "parallelism": 3}});
    let mut life = Life::of(&json!({"job": job, "overlap": "replace"}));
    let Asked::SubmitArray(id, array) = life.tick().asked().remove(0) else { panic!("{:?}", life.outbox) };
    assert_eq!((array.size, array.parallelism), (9, 3));
    assert_eq!(life.schedule().fires[0].view().array, Some(id));
    assert_eq!(life.tick().asked(), [Asked::CancelArray(id)]);
    let ended = Event::RunEnded { run: Box::new(Run::Array(id)), end: end(JobState::Cancelled) };
    assert_eq!(life.does(ended).asked().len(), 1, "the next one");
}

#[test]
fn only_what_it_started_ends_a_run() {
    let mut life = Life::of(&json!({}));
    let job = life.tick().submitted()[0];
    let before = life.schedule().clone();
    life.ends(JobId::from_bytes([1; 16]), JobState::Failed);
    assert_eq!(life.schedule(), &before, "a job of an earlier schedule of this name");
    life.ends(job, JobState::Failed);
    let view = life.schedule().view();
    assert_eq!((view.fires[0].state, view.running), (FireState::Failed, 0));
    // It was retried.
    life.ends(job, JobState::Succeeded);
    assert_eq!(life.schedule().view().fires[0].state, FireState::Succeeded);
}

#[test]
fn a_quarantined_schedule_rests_until_it_is_declared_again() {
    let mut life = Life::of(&json!({"catch_up": {"max": 100}, "overlap": "allow"}));
    life.does(Schedule::quarantine("boom".to_owned()));
    assert_eq!((life.schedule().liveness(), life.schedule().deadline()), (Liveness::Terminal, None));
    let refused = life.schedule().apply(&Event::Triggered, life.now).unwrap_err();
    assert!(refused.to_string().contains("boom"), "{refused}");
    let declared = Event::Declared(Box::new(given(&json!({"catch_up": {"max": 100}, "overlap": "allow"}))));
    assert!(Schedule::releases(&declared));
    life.after(10 * MINUTE).does(declared).does(Event::Ticked);
    assert!(life.outbox.is_empty(), "it begins anew");
    assert_eq!(life.tick().submitted().len(), 1);
    life.does(Event::DeleteRequested);
    assert!(life.schedule.is_none());
}

#[test]
fn a_schedule_without_more_times_is_finished() {
    let mut life = Life::of(&json!({"end_at": START.after(2 * MINUTE)}));
    life.tick();
    let job = life.submitted()[0];
    life.ends(job, JobState::Succeeded).tick();
    assert_eq!((life.schedule().deadline(), life.schedule().view().state), (None, ScheduleState::Finished));
    assert!(life.schedule().view().message.contains("has no more times"));
}

#[test]
fn what_cannot_be_is_refused_and_it_is_said_where() {
    let faults = |more: &Value| validate("nightly", &spec(more), &Policy::default(), START);
    assert_eq!(faults(&json!({})), []);
    let orchestration = |more: Value| {
        let mut orchestration = json!({"name": "report"});
        for (key, value) in more.as_object().unwrap() {
            orchestration[key] = value.clone();
        }
        json!({"job": null, "orchestration": orchestration})
    };
    assert_eq!(faults(&orchestration(json!({}))), []);
    for (more, pointer, message) in [
        (json!({"cron": ""}), "/cron", "has 0 fields"),
        (json!({"cron": "61 * * * *"}), "/cron", "minute"),
        (json!({"cron": "0 0 30 2 *"}), "/cron", "never comes"),
        (json!({"cron": "@reboot"}), "/cron", "@every"),
        (json!({"cron": "@every"}), "/cron", "@every"),
        (json!({"cron": "@every soon"}), "/cron", "not a duration"),
        (json!({"cron": "@every 500ms"}), "/cron", "less than 1s"),
        (json!({"cron": "@every 90s", "seconds": true}), "/seconds", "leave `seconds` out"),
        (json!({"cron": "0 0 0 * * *"}), "/cron", "set `seconds` to true"),
        (json!({"cron": "* ".repeat(300)}), "/cron", "more than 512"),
        (json!({"time_zone": "Berlin"}), "/time_zone", "Europe/Berlin"),
        (json!({"time_zone": ""}), "/time_zone", "IANA"),
        (json!({"time_zone": "x".repeat(1_000)}), "/time_zone", "IANA"),
        (json!({"jitter": "40000d"}), "/jitter", "ten years"),
        (json!({"start_at": "2027-01-02T00:00:00Z", "end_at": "2027-01-01T00:00:00Z"}), "/end_at", "before"),
        (json!({"overlap": "queue", "queue_max": 0}), "/queue_max", "1 to 100"),
        (json!({"overlap": "queue", "queue_max": 101}), "/queue_max", "1 to 100"),
        (json!({"catch_up": {"max": 101}}), "/catch_up/max", "0 to 100"),
        (json!({"catch_up": {"within": "40000d"}}), "/catch_up/within", "ten years"),
        (json!({"job": null}), "", "one thing"),
        (json!({"orchestration": {"name": "report"}}), "", "one thing"),
        (json!({"job": {}}), "/job", ""),
        (json!({"job": {"args": ["x"], "suspended": true}}), "/job/suspended", "itself"),
        (json!({"job": {"args": ["x"], "start_at": "2030-01-01T00:00:00Z"}}), "/job/start_at", "itself"),
        (json!({"job": {"args": ["x"], "env": {"DOGWATCH_X": "1"}}}), "/job/env/DOGWATCH_X", ""),
        (orchestration(json!({"name": ""})), "/orchestration/name", "1 to"),
        (orchestration(json!({"version": ""})), "/orchestration/version", "1 to"),
        (orchestration(json!({"task_hub": "a/b"})), "/orchestration/task_hub", "task hub"),
        (orchestration(json!({"tags": {"a=b": "c"}})), "/orchestration/tags", "without"),
        (orchestration(json!({"tags": {"dogwatch.x": "c"}})), "/orchestration/tags", "kept"),
    ] {
        let faults = faults(&more);
        let found = faults.iter().any(|fault| fault.pointer == pointer && fault.message.contains(message));
        assert!(found, "{more}: {faults:?}");
    }
}
