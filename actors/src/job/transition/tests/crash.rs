//! Random lives with a crash between any two steps, on the same machine that the shell hosts.
//!
//! The simulated shell does what the real one does: apply, commit (the state goes through its stored form),
//! perform. A crash before the commit loses the event, which comes again as reports and commands do; a crash
//! after it loses the effects, and `resume` has to make up for them. After every step the invariants are
//! checked, and in the end the life must be the same as one without crashes.

mod inputs;

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use self::inputs::{Crash, Input, What, inputs, specs};
use super::sample::{ID, START, callback, every_event, exit, start_fails, started};
use crate::clock::Timestamp;
use crate::durable::{Change, Machine as _, Message};
use crate::job::cause::Cause;
use crate::job::effect::{Come, Effect};
use crate::job::event::{Event, Submitted};
use crate::job::spec::Spec;
use crate::job::state::{Job, Outcome, Phase};
use crate::job::view::HistoryEntry;
use crate::limits::{SERVICE_ANSWER_SLACK, SERVICE_POLL_TIMEOUT};

/// What the world would send in this state.
fn plausible(job: &Job, now: Timestamp) -> Vec<Event> {
    let attempt = job.attempt;
    let over = |code| Event::AttemptExited { attempt, exit: exit(code) };
    let mut events = vec![Event::Ticked];
    match &job.phase {
        Phase::Queued { .. } => {
            events.extend([false, true].map(|ahead| Event::SlotGranted { attempt: attempt + 1, ahead }));
        }
        Phase::Starting => {
            let prepared = Event::AttemptPrepared { attempt };
            events.extend([prepared.clone(), prepared, started(attempt, now), started(attempt, now)]);
            events.push(start_fails(attempt))
        }
        Phase::Running { .. } => {
            let answer = json!({ "event": "completed", "data": 1 });
            events.extend([over(0), over(1), over(137), Event::AttemptVanished { attempt }]);
            events.extend([
                callback(attempt, "completed", Value::Null),
                callback(attempt, "failed", Value::Null),
            ]);
            events.extend([
                Event::ServiceStarted { attempt, answer: Value::Null },
                Event::ServicePolled { attempt, answer: json!(now.as_millis()) },
                Event::ServicePolled { attempt, answer },
            ]);
        }
        Phase::AwaitingCallback { .. } => events.push(callback(attempt, "completed", Value::Null)),
        Phase::Stopping { .. } => events.extend([over(143), over(0), Event::AttemptNeverStarted { attempt }]),
        Phase::Finished(_) => events.push(Event::RetryRequested),
        Phase::Suspended => events.push(Event::ResumeRequested),
        Phase::Delayed { .. } | Phase::BackingOff { .. } => {}
    }
    events
}

/// The attempt that this event says is over, whatever it was doing.
fn ends(event: &Event) -> Option<u32> {
    use Event::*;
    match event {
        AttemptExited { attempt, .. } | OutputsCollected { attempt, .. } => Some(*attempt),
        AttemptStartFailed { attempt, .. } | AttemptNeverStarted { attempt } => Some(*attempt),
        AttemptVanished { attempt } => Some(*attempt),
        _ => None,
    }
}

/// A job on a disk, in a process that dies, in a world.
struct Simulation {
    job: Job,
    now: Timestamp,
    /// Everything that was ever committed besides the state.
    records: Vec<HistoryEntry>,
    messages: Vec<Message>,
    /// Attempts that the world was asked to run, and those of them that are over.
    driven: BTreeSet<u32>,
    ended: BTreeSet<u32>,
    /// When the call to the service was made that has no answer yet.
    called_at: Option<(u32, Timestamp)>,
    /// Attempts since the last retry that ended by their own doing.
    counted: u32,
    purged: bool,
}

impl Simulation {
    fn new(spec: Spec) -> Self {
        let submitted = Event::Submitted(Box::new(Submitted {
            spec: spec.into(),
            vault: None,
            claim: None,
            parent: None,
        }));
        let step = Job::create(ID, &submitted, START).expect("created").expect("accepted");
        let Change::Next(job, record) = step.change else { panic!("a submission is recorded") };
        let mut simulation = Self {
            job: Arc::unwrap_or_clone(job),
            now: START,
            records: record.into_iter().collect(),
            messages: vec![],
            driven: BTreeSet::new(),
            ended: BTreeSet::new(),
            called_at: None,
            counted: 0,
            purged: false,
        };
        simulation.perform(step.effects);
        simulation
    }

    fn step(&mut self, input: &Input, crash: Crash) {
        let moved = self.now.as_millis() + input.moves * 1_000;
        self.now = Timestamp::from_millis(moved);
        let event = match &input.what {
            What::Plausible(index) => index.get(&plausible(&self.job, self.now)).clone(),
            What::Any(index, offset) => {
                let number = (self.job.attempt + offset).saturating_sub(1);
                index.get(&every_event(number, self.now)).1.clone()
            }
            What::Deadline => {
                let Some(due) = self.job.deadline() else { return };
                self.now = self.now.max(due);
                Event::Ticked
            }
        };
        if let Some(attempt) = ends(&event).filter(|attempt| self.driven.contains(attempt)) {
            self.ended.insert(attempt);
        }
        if crash == Crash::BeforeCommit {
            self.restart();
        }
        self.deliver(&event, crash);
    }

    fn deliver(&mut self, event: &Event, crash: Crash) {
        let Ok(step) = self.job.apply(event, self.now) else { return };
        if matches!(
            event,
            Event::ServiceStarted { .. }
                | Event::ServiceStartFailed { .. }
                | Event::ServicePolled { .. }
                | Event::ServicePollFailed { .. }
        ) {
            self.called_at = None;
        }
        match step.change {
            Change::Next(next, record) => self.commit(event, Arc::unwrap_or_clone(next), record, step.outbox),
            Change::None => assert_eq!(step.outbox, [], "messages without a change"),
            Change::Purge => {
                assert!(self.job.outcome().is_some(), "only what is over is purged");
                self.purged = true;
                return;
            }
        }
        if crash == Crash::AfterCommit {
            self.every_lost_effect_has_a_net(&step.effects);
            self.restart();
        } else {
            self.perform(step.effects);
        }
        self.every_state_is_woken();
        self.a_tick_moves_the_deadline();
    }

    fn commit(&mut self, event: &Event, next: Job, record: Option<HistoryEntry>, outbox: Vec<Message>) {
        let old = std::mem::replace(&mut self.job, stored(&next));
        assert_eq!(self.job, next, "the stored form is the state");
        let new = &self.job;
        let retried = matches!(event, Event::RetryRequested);

        // A terminal outcome never changes, but for an explicit retry.
        assert!(old.outcome().is_none() || retried || old.outcome() == new.outcome(), "{event:?}");

        // Attempts are numbered without gaps, and a number is used once.
        let begun = u32::from(matches!(event, Event::SlotGranted { .. }));
        assert_eq!(new.attempt, old.attempt + begun, "{event:?}");
        assert!(new.attempts.windows(2).all(|pair| pair[0].number + 1 == pair[1].number));
        assert_eq!(new.attempts.last().map_or(0, |attempt| attempt.number), new.attempt);

        // The revision is the number of the newest record.
        assert_eq!(new.revision, old.revision + u64::from(record.is_some()));
        assert!(
            record.as_ref().is_none_or(|record| record.seq == new.revision && record.state == new.state())
        );

        // Each end is announced once to each target, and nothing else is.
        let ended = old.outcome().is_none() && new.outcome().is_some();
        assert_eq!(outbox.len(), if ended { new.given.spec.on_complete.len() } else { 0 }, "{event:?}");
        let names = |messages: &[Message]| -> BTreeSet<String> {
            messages.iter().map(|message| message.event["announced"]["message"].to_string()).collect()
        };
        assert!(names(&outbox).is_disjoint(&names(&self.messages)), "a message has a name of its own");

        if matches!(event, Event::Quarantined { .. }) && old.has_attempt() && !new.has_attempt() {
            // Over without its end having been seen: the fleet kills and removes whatever is left.
            self.ended.insert(new.attempt);
        }

        self.count_attempts(&old, retried);
        self.records.extend(record);
        self.messages.extend(outbox);
    }

    /// No more attempts than allowed end by their own doing.
    fn count_attempts(&mut self, old: &Job, retried: bool) {
        let ending = |job: &Job| job.attempts.last().and_then(|attempt| attempt.ending.clone());
        let newly = ending(&self.job).filter(|_| ending(old).is_none());
        let own = |cause: Cause| !cause.is_infrastructure() && cause != Cause::Canceled;
        self.counted =
            if retried { 0 } else { self.counted + u32::from(newly.is_some_and(|end| own(end.cause))) };
        if let Some(max) = self.job.given.spec.max_attempts {
            assert!(self.job.spent < max, "{} of {max}", self.job.spent);
            assert!(
                self.counted <= max || !self.job.given.spec.retry_rules.is_empty(),
                "{} of {max}",
                self.counted
            );
        }
    }

    /// The process starts on what is stored.
    fn restart(&mut self) {
        self.job = stored(&self.job);
        self.called_at = None;
        let resumed = self.job.resume();
        assert_eq!(resumed, stored(&self.job).resume(), "resuming twice is resuming once");
        self.perform(resumed);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let (job, now) = (&self.job, self.now);
        let is_active = |attempt| job.has_attempt() && job.attempt == attempt;
        for effect in effects {
            match effect {
                Effect::Drive { attempt, .. } => {
                    assert!(is_active(attempt), "its intent is committed: {effect:?} in {:?}", job.phase);
                    assert!(
                        self.driven.iter().all(|other| *other == attempt || self.ended.contains(other)),
                        "one attempt at a time: {:?} {:?}",
                        self.driven,
                        self.ended
                    );
                    self.driven.insert(attempt);
                }
                Effect::RequestSlot { attempt, .. } => {
                    assert!(matches!(job.phase, Phase::Queued { .. }) && attempt == job.attempt + 1);
                    assert!(self.driven.is_subset(&self.ended), "a slot is asked for after the end");
                }
                Effect::HoldPlace => assert!(job.place.is_some_and(|place| place.held)),
                Effect::LeavePlace => assert!(job.place.is_none()),
                Effect::Start { attempt } => {
                    assert!(is_active(attempt));
                    let durable = job.attempts.last().is_some_and(|record| record.let_start);
                    assert!(durable, "that it may have started is durable before it does");
                }
                Effect::DropArtifacts { attempt } => assert!(!is_active(attempt)),
                Effect::Stop { attempt, .. } => assert!(is_active(attempt)),
                Effect::Discard { attempt } => {
                    assert!(!is_active(attempt), "an active attempt is not discarded")
                }
                Effect::Withdraw { attempt } => {
                    let wanted = matches!(job.phase, Phase::Queued { .. }) && attempt == job.attempt + 1;
                    assert!(!wanted && !is_active(attempt));
                }
                Effect::StartService { attempt, .. } | Effect::PollService { attempt, .. } => {
                    assert!(is_active(attempt) && matches!(job.phase, Phase::Running { .. }));
                    let patience = SERVICE_POLL_TIMEOUT + SERVICE_ANSWER_SLACK;
                    let early =
                        |(called, at): (u32, Timestamp)| called == attempt && now < at.after(patience);
                    assert!(!self.called_at.is_some_and(early), "one call at a time");
                    self.called_at = Some((attempt, now));
                }
            }
        }
    }

    /// What a crash takes between commit and perform comes back by `resume`, by the report that the world
    /// repeats until somebody acts on it, or by the deadline.
    fn every_lost_effect_has_a_net(&self, effects: &[Effect]) {
        let resumed = self.job.resume();
        let answer =
            |event: &Event| self.job.apply(event, self.now).map(|step| step.effects).unwrap_or_default();
        for effect in effects {
            let caught = match effect {
                Effect::Drive { attempt, .. } => resumed
                    .iter()
                    .any(|again| matches!(again, Effect::Drive { attempt: same, .. } if same == attempt)),
                Effect::Start { attempt } => {
                    answer(&Event::AttemptPrepared { attempt: *attempt }).contains(effect)
                        && resumed.contains(&Effect::Drive { attempt: *attempt, come: Come::LetStart })
                }
                Effect::RequestSlot { .. } | Effect::Stop { .. } => resumed.contains(effect),
                Effect::HoldPlace | Effect::LeavePlace => resumed.contains(effect),
                Effect::Withdraw { attempt } => {
                    answer(&Event::SlotGranted { attempt: *attempt, ahead: false }).contains(effect)
                }
                Effect::Discard { attempt } => {
                    answer(&Event::AttemptExited { attempt: *attempt, exit: exit(0) }).contains(effect)
                }
                // Those stay until the job is purged, which removes all that is there.
                Effect::DropArtifacts { .. } => true,
                Effect::StartService { .. } | Effect::PollService { .. } => self.job.deadline().is_some(),
            };
            assert!(caught, "{effect:?} is lost in {:?}", self.job.phase);
        }
    }

    fn every_state_is_woken(&self) {
        let woken = self.job.deadline().is_some() || !self.job.resume().is_empty();
        // That it has no place any more may be said again at any time.
        let rests = self.job.resume().iter().all(|effect| *effect == Effect::LeavePlace);
        match self.job.phase {
            // A user has to resume it.
            Phase::Suspended => assert!(rests),
            Phase::Finished(_) => assert!(rests),
            _ => assert!(woken, "nothing wakes it up: {:?}", self.job.phase),
        }
    }

    fn a_tick_moves_the_deadline(&self) {
        let Some(due) = self.job.deadline() else { return };
        let early = self.job.apply(&Event::Ticked, Timestamp::from_millis(due.as_millis() - 1));
        assert!(matches!(early.expect("a tick").change, Change::None), "an early tick does nothing");
        let now = self.now.max(due);
        let ticked = self.job.apply(&Event::Ticked, now).expect("a tick is never refused");
        match ticked.change {
            Change::Next(next, _) => {
                assert!(next.deadline().is_none_or(|next| next > now), "{:?}", next.phase)
            }
            Change::Purge => assert!(self.job.outcome().is_some()),
            Change::None => panic!("a due tick is not ignored: {:?}", self.job.phase),
        }
    }
}

fn stored(job: &Job) -> Job {
    let bytes = serde_json::to_vec(job).expect("a job is JSON");
    let given = serde_json::to_vec(&job.given).expect("what it was given is JSON");
    let job: Job = serde_json::from_slice(&bytes).expect("a stored job reads back");
    job.with_given(serde_json::from_slice(&given).expect("what it was given reads back"))
}

fn live(spec: &Spec, inputs: &[Input], crashes: bool) -> Simulation {
    let mut simulation = Simulation::new(spec.clone());
    for input in inputs {
        simulation.step(input, if crashes { input.crash } else { Crash::Nowhere });
        if simulation.purged {
            break;
        }
    }
    simulation
}

fn run(cases: u32, check: impl Fn(&Spec, &[Input])) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    // The same lives every time: a failure is found again, and how far they get is not left to luck.
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
        .run(&(specs(), inputs()), |(spec, inputs)| {
            check(&spec, &inputs);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_life_with_crashes_is_the_same_life() {
    run(2_000, |spec, inputs| {
        let (smooth, bumpy) = (live(spec, inputs, false), live(spec, inputs, true));
        assert_eq!(bumpy.job, smooth.job);
        assert_eq!((bumpy.records, bumpy.messages), (smooth.records, smooth.messages));
        assert_eq!(bumpy.ended, smooth.ended);
    });
}

/// The random lives are worth something only when they get somewhere.
#[test]
fn the_random_lives_reach_every_end() {
    let seen = std::cell::RefCell::new(BTreeSet::new());
    run(600, |spec, inputs| {
        let life = live(spec, inputs, true);
        let mut seen = seen.borrow_mut();
        seen.extend(life.records.iter().map(|record| record.state.name().to_owned()));
        seen.extend(life.job.outcome().map(|Outcome { ending, .. }| ending.cause.name().to_owned()));
        seen.extend((life.job.attempt > 4).then(|| "many attempts".to_owned()));
        seen.extend((!life.messages.is_empty()).then(|| "announced".to_owned()));
        seen.extend(life.purged.then(|| "purged".to_owned()));
        seen.extend((life.records.len() > 30).then(|| "long".to_owned()));
    });
    let wanted = [
        "queued",
        "starting",
        "running",
        "backing_off",
        "stopping",
        "suspended",
        "succeeded",
        "failed",
        "cancelled",
        "success",
        "exit_code",
        "timeout",
        "start_error",
        "callback_failed",
        "quarantined",
        "canceled",
        "many attempts",
        "announced",
        "purged",
        "long",
    ];
    let seen = seen.into_inner();
    let missed: Vec<_> = wanted.iter().filter(|word| !seen.contains(**word)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}
