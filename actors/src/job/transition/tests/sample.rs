//! Jobs in every phase, and events of every kind, for the tests of the rules.

use std::sync::Arc;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::durable::{Change, Machine as _, Step};
use crate::id::JobId;
use crate::job::cause::Cause;
use crate::job::effect::Effect;
use crate::job::event::{Event, Submitted};
use crate::job::spec::{Backoff, Completion, Service, ServiceStart, ServiceStatus, Spec, WebhookTarget};
use crate::job::state::{Ending, Job, Phase, Then};
use crate::job::transition::Rejected;
use crate::runtime::{Exit, Running, StartFault};
use crate::secret::Secret;
use crate::units::Span;

/// When the jobs of these tests are submitted.
pub(super) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(super) fn at(secs: u64) -> Timestamp {
    START.after(Duration::from_secs(secs))
}

pub(super) const ID: JobId = JobId::from_bytes([7; 16]);

/// A spec whose pauses are known to the millisecond.
pub(super) fn spec() -> Spec {
    Spec { backoff: Backoff { jitter: 0.0, ..Backoff::default() }, ..Spec::process(["true"]) }
}

pub(super) fn service_spec() -> Spec {
    let status = Some(ServiceStatus { path: "/status".into(), every: Span::from_secs(5) });
    let start = Some(ServiceStart { path: "/start".into(), body: Value::Null });
    let service = Service { port: 8080, start, status, ready_timeout: Span::from_secs(60) };
    Spec { service: Some(service), ..spec() }
}

pub(super) fn hooked(targets: usize) -> Vec<WebhookTarget> {
    let target =
        |number| WebhookTarget { url: format!("https://{number}.example"), secret: Secret::default() };
    (0..targets).map(target).collect()
}

/// A job that is driven through the rules, with what the last event came to.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) job: Job,
    pub(super) effects: Vec<Effect>,
    pub(super) outbox: Vec<crate::durable::Message>,
    pub(super) now: Timestamp,
}

impl Life {
    pub(super) fn of(spec: Spec) -> Self {
        let submitted = Event::Submitted(Box::new(Submitted {
            spec: spec.into(),
            vault: None,
            claim: None,
            parent: None,
        }));
        let step = Job::create(ID, &submitted, START).expect("a submission creates").expect("always");
        let Change::Next(job, _) = step.change else { panic!("a submission is recorded") };
        Self { job: Arc::unwrap_or_clone(job), effects: step.effects, outbox: step.outbox, now: START }
    }

    pub(super) fn try_apply(&self, event: &Event) -> Result<Step<Job>, Rejected> {
        self.job.apply(event, self.now)
    }

    /// The event is accepted now.
    pub(super) fn apply(&mut self, event: Event) -> &mut Self {
        let step = self.try_apply(&event).unwrap_or_else(|rejected| panic!("{event:?}: {rejected}"));
        match step.change {
            Change::Next(job, _) => self.job = Arc::unwrap_or_clone(job),
            Change::None => {}
            Change::Purge => panic!("{event:?} purges"),
        }
        (self.effects, self.outbox) = (step.effects, step.outbox);
        self
    }

    /// The event is accepted `secs` after the submission.
    pub(super) fn apply_at(&mut self, secs: u64, event: Event) -> &mut Self {
        self.now = at(secs);
        self.apply(event)
    }

    /// The event is refused and changes nothing.
    pub(super) fn refuse(&mut self, event: Event) -> Rejected {
        self.try_apply(&event).map(|step| step.effects).expect_err("the event is refused")
    }

    pub(super) fn granted(&mut self) -> &mut Self {
        let attempt = self.job.attempt + 1;
        self.apply(Event::SlotGranted { attempt, ahead: false })
    }

    pub(super) fn started(&mut self) -> &mut Self {
        let event = started(self.job.attempt, self.now);
        self.apply(event)
    }

    /// Granted and seen running, both now.
    pub(super) fn running(&mut self) -> &mut Self {
        self.granted().started()
    }

    /// The newest attempt exits with `code` now.
    pub(super) fn exits(&mut self, code: i32) -> &mut Self {
        let exit = Exit { finished_at: Some(self.now), ..exit(code) };
        self.apply(Event::AttemptExited { attempt: self.job.attempt, exit })
    }

    /// The job is ticked at its deadline.
    pub(super) fn tick(&mut self) -> &mut Self {
        self.now = self.job.deadline().expect("the job has a deadline");
        self.apply(Event::Ticked);
        assert!(self.job.deadline().is_none_or(|due| due > self.now), "the next one is later");
        self
    }

    pub(super) fn calls_back(&mut self, name: &str, data: Value) -> &mut Self {
        let event = callback(self.job.attempt, name, data);
        self.apply(event)
    }

    /// The state and the cause it is over with.
    pub(super) fn outcome(&self) -> Option<(&'static str, Cause)> {
        self.job.outcome().map(|outcome| (outcome.state.name(), outcome.ending.cause))
    }

    pub(super) fn message(&self) -> String {
        self.job.view().message.unwrap_or_default()
    }

    pub(super) fn stops(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Stop { .. }))
    }
}

pub(super) fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

pub(super) fn seen(attempt: u32, started_at: Timestamp) -> Running {
    Running { runtime_id: format!("fake-{attempt}"), started_at, address: Some(address()) }
}

pub(super) fn started(attempt: u32, started_at: Timestamp) -> Event {
    Event::AttemptStarted { attempt, running: seen(attempt, started_at) }
}

pub(super) fn exit(code: i32) -> Exit {
    Exit {
        runtime_id: "fake".into(),
        code: Some(code),
        signal: None,
        oom_killed: false,
        container: None,
        unseen: None,
        started_at: None,
        finished_at: None,
        usage: None,
    }
}

pub(super) fn callback(attempt: u32, name: &str, data: Value) -> Event {
    Event::CallbackReceived { attempt, name: name.into(), data }
}

pub(super) fn raised(name: &str) -> Event {
    Event::EventRaised { name: name.into(), data: json!({ "k": 1 }) }
}

pub(super) fn start_fails(attempt: u32) -> Event {
    Event::AttemptStartFailed {
        attempt,
        fault: StartFault::CommandNotFound,
        message: "no such command".into(),
    }
}

/// The attempt exited well, and an output is missing.
pub(super) fn outputs_are_missing(attempt: u32) -> Event {
    let outputs = Box::new(crate::files::Collected::failed("output `x` is missing"));
    Event::OutputsCollected { attempt, exit: exit(0), outputs }
}

pub(super) fn probe_failed(attempt: u32, failures: u32) -> Event {
    Event::ProbeFailed { attempt, container: "main".into(), failures, message: "it is ill".into() }
}

/// One event of every kind (of those with a name: one of every meaning) about this attempt.
pub(super) fn every_event(attempt: u32, now: Timestamp) -> Vec<(&'static str, Event)> {
    let message = || "it hurts".to_owned();
    let submitted = Submitted { spec: spec().into(), vault: None, claim: None, parent: None };
    vec![
        ("submitted", Event::Submitted(Box::new(submitted))),
        ("ticked", Event::Ticked),
        ("slot_granted", Event::SlotGranted { attempt, ahead: false }),
        ("place_accepted", Event::PlaceAccepted { attempt }),
        ("skipped", Event::Skipped { attempt, message: message() }),
        ("displaced", Event::Displaced { by: JobId::from_bytes([8; 16]) }),
        ("attempt_prepared", Event::AttemptPrepared { attempt }),
        ("attempt_started", started(attempt, now)),
        ("attempt_exited", Event::AttemptExited { attempt, exit: exit(1) }),
        ("outputs_collected", outputs_are_missing(attempt)),
        ("attempt_start_failed", start_fails(attempt)),
        ("attempt_never_started", Event::AttemptNeverStarted { attempt }),
        ("attempt_vanished", Event::AttemptVanished { attempt }),
        ("trouble_seen", Event::TroubleSeen { attempt, message: message() }),
        ("probe_failed", probe_failed(attempt, 3)),
        ("probe_passed", Event::ProbePassed { attempt, container: "main".into() }),
        ("service_started", Event::ServiceStarted { attempt, answer: json!({}) }),
        ("service_start_failed", Event::ServiceStartFailed { attempt, message: message(), refused: false }),
        ("service_polled", Event::ServicePolled { attempt, answer: json!({"percent": 3}) }),
        ("service_poll_failed", Event::ServicePollFailed { attempt, message: message() }),
        ("callback_received:completed", callback(attempt, "completed", Value::Null)),
        ("callback_received:failed", callback(attempt, "failed", Value::Null)),
        ("callback_received:progress", callback(attempt, "progress", json!(1))),
        ("callback_received:other", callback(attempt, "lunch", json!(1))),
        ("event_raised:completed", raised("completed")),
        ("event_raised:progress", raised("progress")),
        ("event_raised:other", raised("lunch")),
        ("cancel_requested", Event::CancelRequested),
        ("suspend_requested", Event::SuspendRequested),
        ("resume_requested", Event::ResumeRequested),
        ("restart_requested", Event::RestartRequested),
        ("retry_requested", Event::RetryRequested),
        ("purge_requested", Event::PurgeRequested),
        ("quarantined", Event::Quarantined { reason: "boom".into() }),
    ]
}

/// A job in every phase (and in every shape of a phase that the rules tell apart), reached by events. All but
/// those before their first attempt are at attempt 2.
pub(super) fn every_phase() -> Vec<(&'static str, Life)> {
    let second = |spec: Spec| {
        let mut life = Life::of(Spec { max_attempts: Some(9), ..spec });
        life.running().exits(1);
        while !matches!(life.job.phase, Phase::Queued { .. }) {
            life.tick();
        }
        life
    };
    let with = |mut life: Life, drive: fn(&mut Life) -> &mut Life| {
        drive(&mut life);
        life
    };
    let callback_only = Spec { completion: Completion::Callback, ..spec() };
    let delayed = Spec { start_at: Some(at(60)), ..spec() };
    vec![
        ("delayed", Life::of(delayed)),
        ("queued", second(spec())),
        ("suspended", with(second(spec()), |life| life.apply(Event::SuspendRequested))),
        ("starting", with(second(spec()), |life| life.granted())),
        ("running", with(second(spec()), |life| life.running())),
        ("service:starting", with(second(service_spec()), |life| life.running())),
        (
            "service:started",
            with(second(service_spec()), |life| {
                life.running().apply(Event::ServiceStarted { attempt: 2, answer: Value::Null })
            }),
        ),
        ("awaiting_callback", with(second(callback_only), |life| life.running().exits(0))),
        ("stopping:cancel", with(second(spec()), |life| life.running().apply(Event::CancelRequested))),
        ("stopping:suspend", with(second(spec()), |life| life.running().apply(Event::SuspendRequested))),
        ("stopping:restart", with(second(spec()), |life| life.running().apply(Event::RestartRequested))),
        ("stopping:done", with(second(spec()), |life| life.running().calls_back("completed", Value::Null))),
        ("stopping:fail", with(second(spec()), |life| life.running().apply(quarantine()))),
        ("backing_off", with(second(spec()), |life| life.running().exits(1))),
        ("succeeded", with(second(spec()), |life| life.running().exits(0))),
        ("failed", with(second(spec()), |life| life.apply(quarantine()))),
    ]
}

fn quarantine() -> Event {
    Event::Quarantined { reason: "boom".into() }
}

/// The word for a phase in the tables.
pub(super) fn phase_word(phase: &Phase) -> &'static str {
    use crate::job::state::ServicePhase;
    match phase {
        Phase::Delayed { .. } => "delayed",
        Phase::Queued { .. } => "queued",
        Phase::Suspended => "suspended",
        Phase::Starting => "starting",
        Phase::Running { service: None, .. } => "running",
        Phase::Running { service: Some(ServicePhase::Starting { .. }), .. } => "service:starting",
        Phase::Running { service: Some(ServicePhase::Started { .. }), .. } => "service:started",
        Phase::AwaitingCallback { .. } => "awaiting_callback",
        Phase::Stopping { then: Then::Cancel, .. } => "stopping:cancel",
        Phase::Stopping { then: Then::GiveWay { .. }, .. } => "stopping:give_way",
        Phase::Stopping { then: Then::Suspend, .. } => "stopping:suspend",
        Phase::Stopping { then: Then::Restart, .. } => "stopping:restart",
        Phase::Stopping { then: Then::Conclude(Ending { cause: Cause::Success, .. }), .. } => "stopping:done",
        Phase::Stopping { then: Then::Conclude(_), .. } => "stopping:ended",
        Phase::Stopping { then: Then::Fail(_), .. } => "stopping:fail",
        Phase::BackingOff { .. } => "backing_off",
        Phase::Finished(outcome) => outcome.state.name(),
    }
}
