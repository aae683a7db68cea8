//! A job in the middle of a transition: the moves that transitions are made of. Pure.
//!
//! Each move changes the phase, leaves the records consistent with it, and collects the effects that make the
//! world follow.

mod outputs;

use std::time::Duration;

use serde_json::{Value, json};

use super::cause::Cause;
use super::effect::{Come, Effect};
use super::retry::{self, Decision, Facts};
use super::spec::Completion;
use super::state::{Attempt, Ending, Job, KeyPlace, Outcome, Phase, ServicePhase, Then};
use super::view::JobState;
use super::{announce, verdict};
use crate::clock::Timestamp;
use crate::durable::Message;
use crate::limits::{
    ATTEMPTS_KEPT_MAX, CALLBACK_GRACE, CALLBACK_LINGER, SERVICE_ANSWER_SLACK, SERVICE_POLL_TIMEOUT,
    SERVICE_START_TIMEOUT,
};
use crate::runtime::{Exit, Running, StartFault, Unseen};
use crate::usage::Usage;

/// A job in the middle of a transition.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) job: Job,
    pub(super) now: Timestamp,
    pub(super) effects: Vec<Effect>,
    pub(super) outbox: Vec<Message>,
    /// The attempt that the history entry is about.
    pub(super) attempt: Option<u32>,
    /// The sentence of the history entry.
    pub(super) message: Option<String>,
    /// The details of the history entry.
    pub(super) data: Value,
    /// Mere bookkeeping: no history entry.
    pub(super) quiet: bool,
}

impl Draft {
    pub(super) fn of(job: &Job, now: Timestamp) -> Self {
        let attempt = job.has_attempt().then_some(job.attempt);
        Self {
            job: job.clone(),
            now,
            effects: vec![],
            outbox: vec![],
            attempt,
            message: None,
            data: Value::Null,
            quiet: false,
        }
    }

    pub(super) fn say(&mut self, message: impl Into<String>) {
        self.message = Some(message.into());
    }

    /// Tells the fleet that the slot asked for is no longer wanted.
    pub(super) fn withdraw(&mut self) {
        if matches!(self.job.phase, Phase::Queued { .. }) {
            self.effects.push(Effect::Withdraw { attempt: self.job.attempt + 1 });
        }
    }

    /// Asks for a slot for the next attempt.
    pub(super) fn enqueue(&mut self) {
        self.job.phase = Phase::Queued { since: self.now };
        if self.job.given.spec.concurrency.is_some() {
            let asked = KeyPlace { since: self.now, accepted: false, held: false };
            self.job.place.get_or_insert(asked);
        }
        self.effects.push(Effect::RequestSlot { attempt: self.job.attempt + 1, since: self.now });
    }

    /// The time limits start anew: the pause was the user's wish.
    pub(super) fn forgive_pause(&mut self) {
        self.job.clock_from = self.job.clock_from.map(|_| self.now);
        self.job.failing_since = None;
    }

    /// Starts over from wherever no attempt is: at its time, or at once.
    pub(super) fn admit(&mut self) {
        match self.job.given.spec.start_at {
            Some(until) if until > self.now => self.job.phase = Phase::Delayed { until },
            _ => self.enqueue(),
        }
    }

    /// It is its turn: the intent to run the next attempt.
    pub(super) fn begin(&mut self, ahead: bool) {
        self.job.attempt += 1;
        if let Some(place) = &mut self.job.place {
            place.held = true;
        }
        let number = self.job.attempt;
        self.job.attempts.push(Attempt {
            number,
            granted_at: self.now,
            ahead,
            let_start: false,
            runtime_id: None,
            started_at: None,
            finished_at: None,
            exit_code: None,
            ending: None,
            artifacts: vec![],
            output_fault: None,
            usage: None,
        });
        if self.job.attempts.len() > ATTEMPTS_KEPT_MAX {
            let gone = self.job.attempts.remove(0);
            self.drop_artifacts(&gone);
        }
        self.job.phase = Phase::Starting;
        self.job.failing_probes.clear();
        self.job.trouble = None;
        self.attempt = Some(number);
        self.effects.push(Effect::Drive { attempt: number, come: Come::Intended });
    }

    /// The attempt is created: lets it start, now or again.
    pub(super) fn let_start(&mut self) {
        self.quiet = true;
        self.effects.push(Effect::Start { attempt: self.job.attempt });
        if let Some(record) = self.job.newest() {
            record.let_start = true;
        }
    }

    /// The attempt is seen running.
    pub(super) fn run(&mut self, running: &Running) {
        let started_at = running.started_at;
        self.note_start(Some(started_at), &running.runtime_id);
        self.data = json!({ "runtime_id": running.runtime_id });
        let service = self.job.given.spec.service.as_ref().map(|service| match service.start {
            Some(_) => ServicePhase::Starting {
                next_at: self.now,
                until: self.now.after(service.ready_timeout.as_duration()),
            },
            None => ServicePhase::Started { poll_at: self.next_poll(), failing_since: None },
        });
        self.job.phase = Phase::Running { running: running.clone(), service };
        self.job.trouble = None;
        self.call_service();
    }

    /// When a service is to be polled that has just begun, or has just answered.
    pub(super) fn next_poll(&self) -> Option<Timestamp> {
        let status = self.job.given.spec.service.as_ref()?.status.as_ref()?;
        Some(self.now.after(status.every.as_duration()))
    }

    /// Makes the call to the service that is due now, if one is. It is made again only after its answer, or
    /// when that counts as lost: a service must not be told twice to start its work.
    pub(super) fn call_service(&mut self) {
        let (attempt, now) = (self.job.attempt, self.now);
        let Phase::Running { running, service: Some(service) } = &mut self.job.phase else { return };
        let Some(address) = running.address else { return };
        let effect = match service {
            ServicePhase::Starting { next_at, .. } if *next_at <= now => {
                *next_at = now.after(SERVICE_START_TIMEOUT + SERVICE_ANSWER_SLACK);
                Effect::StartService { attempt, address }
            }
            ServicePhase::Started { poll_at: Some(at), .. } if *at <= now => {
                *at = now.after(SERVICE_POLL_TIMEOUT + SERVICE_ANSWER_SLACK);
                Effect::PollService { attempt, address }
            }
            _ => return,
        };
        self.effects.push(effect);
    }

    fn note_start(&mut self, started_at: Option<Timestamp>, runtime_id: &str) {
        let now = self.now;
        if let Some(record) = self.job.newest() {
            record.ahead = false;
            record.runtime_id = Some(runtime_id.to_owned());
            record.started_at = record.started_at.or(started_at);
        }
        if started_at.is_some() {
            self.job.started_at = self.job.started_at.or(started_at);
            self.job.clock_from = self.job.clock_from.or(Some(now));
        }
    }

    /// The attempt is seen to be over, and the exit itself says how.
    pub(super) fn exited(&mut self, exit: &Exit) {
        self.note_exit(exit);
        let unseen = exit.unseen.is_some();
        if self.job.given.spec.completion == Completion::Callback && !unseen {
            self.job.phase =
                Phase::AwaitingCallback { exit: exit.clone(), until: self.now.after(CALLBACK_GRACE) };
            self.say("exited; waiting for its callback");
        } else {
            self.conclude(verdict::of_exit(exit));
        }
    }

    /// Writes the facts of an exit into the attempt's record.
    pub(super) fn note_exit(&mut self, exit: &Exit) {
        self.note_start(exit.started_at, &exit.runtime_id);
        self.job.trouble = None;
        let code = verdict::exit_code(exit);
        self.data = json!({ "exit_code": code });
        if exit.oom_killed {
            self.data["oom_killed"] = true.into();
        }
        let (now, finished_at) = (self.now, exit.finished_at);
        if let Some(record) = self.job.newest() {
            record.exit_code = code;
            record.finished_at = Some(finished_at.unwrap_or(now));
            // Nobody knows when the host went down with it.
            let ended_with_host = exit.unseen == Some(Unseen::HostRestart);
            record.usage = if ended_with_host { Some(Usage::default()) } else { exit.usage };
        }
    }

    /// Writes what is known of a failed start into the attempt's record.
    pub(super) fn note_start_fault(&mut self, fault: StartFault) {
        let code = verdict::start_exit_code(fault);
        if let Some(record) = self.job.newest() {
            record.exit_code = code;
        }
    }

    /// Ends the attempt first, then what `then` says. An attempt that called back gets a moment to end by itself.
    pub(super) fn stop(&mut self, then: Then) {
        let lingers = matches!(&then, Then::Conclude(ending) if matches!(ending.cause, Cause::Success | Cause::CallbackFailed));
        let is_service = self.job.given.spec.service.is_some();
        if lingers && !is_service {
            self.job.phase = Phase::Stopping { then, stop_at: Some(self.now.after(CALLBACK_LINGER)) };
        } else {
            self.job.phase = Phase::Stopping { then, stop_at: None };
            self.send_stop();
        }
    }

    pub(super) fn send_stop(&mut self) {
        self.effects.push(self.job.stop_effect());
    }

    /// The attempt of a stopping job is over.
    pub(super) fn stopped(&mut self, then: Then) {
        match then {
            Then::Cancel => self.cancelled(),
            Then::GiveWay { by } => self.gave_way(by),
            Then::Suspend => {
                self.end_attempt(&Ending::new(Cause::Canceled, "stopped to suspend the job"));
                self.job.phase = Phase::Suspended;
                self.leave_place();
                self.say("suspended");
            }
            Then::Restart => {
                self.end_attempt(&Ending::new(Cause::Canceled, "stopped to restart the job"));
                self.enqueue();
                self.say("stopped; a new attempt follows");
            }
            Then::Conclude(ending) => self.conclude(ending),
            Then::Fail(ending) => {
                self.end_attempt(&ending);
                self.finish(JobState::Failed, ending);
            }
        }
    }

    pub(super) fn end_attempt(&mut self, ending: &Ending) {
        let now = self.now;
        if let Some(record) = self.job.newest() {
            record.ending = Some(ending.clone());
            record.finished_at = record.finished_at.or(Some(now));
        }
        self.charge();
        self.job.failing_probes.clear();
        self.job.trouble = None;
        self.effects.push(Effect::Discard { attempt: self.job.attempt });
    }

    /// Adds what the newest attempt used, if it ever ran, to the job's total: it has just ended.
    fn charge(&mut self) {
        let now = self.now;
        let Some(record) = self.job.newest() else { return };
        let (Some(started_at), Some(finished_at)) = (record.started_at, record.finished_at) else {
            record.usage = None;
            return;
        };
        // An end that nobody saw is dated by another clock than the start; by its own it was no longer than this.
        let ran = finished_at.since(started_at).min(now.since(record.granted_at));
        let used = *record.usage.get_or_insert_with(|| Usage::unmeasured(ran));
        self.job.usage += used;
        self.job.charged += 1;
    }

    /// The attempt ended like this: rules and policy decide what follows.
    pub(super) fn conclude(&mut self, ending: Ending) {
        let ending = self.in_the_light_of_outputs(ending);
        self.end_attempt(&ending);
        let record = self.job.attempts.last();
        let ran = record.and_then(|record| Some(record.finished_at?.since(record.started_at?)));
        let exit_code = record.and_then(|record| record.exit_code);
        if ran.is_some_and(|ran| ran >= self.job.given.spec.backoff.reset_after.as_duration()) {
            self.job.streak = 0;
            self.job.failing_since = None;
        }
        if ending.cause.is_infrastructure() {
            self.job.failing_since = self.job.failing_since.or(Some(self.now));
        } else {
            self.job.failing_since = None;
        }
        let facts = Facts {
            ending: &ending,
            exit_code,
            spent: self.job.spent,
            failing_since: self.job.failing_since,
            now: self.now,
        };
        match retry::decide(&self.job.given.spec, facts) {
            Decision::Succeed => self.finish(JobState::Succeeded, ending),
            Decision::Fail => self.finish(JobState::Failed, ending),
            Decision::Exhausted => {
                let message = match self.job.given.spec.max_attempts {
                    Some(max) if max > 1 => format!("{}; all {max} attempts are used up", ending.message),
                    _ => ending.message,
                };
                self.finish(JobState::Failed, Ending::new(ending.cause, message));
            }
            Decision::Retry { counted } => self.back_off(&ending, counted),
        }
    }

    fn back_off(&mut self, ending: &Ending, counted: bool) {
        if counted {
            self.job.spent += 1;
        }
        if ending.cause == Cause::Success {
            self.job.streak = 0;
        }
        let pause = retry::pause(&self.job.given.spec.backoff, self.job.streak, self.job.attempt_key());
        self.job.streak = self.job.streak.saturating_add(1);
        self.job.phase = Phase::BackingOff { until: self.now.after(pause) };
        let pause = Duration::from_millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        self.say(format!("{}; the next attempt follows in {pause:.1?}", ending.message));
        self.data["cause"] = ending.cause.name().into();
    }

    /// The user's cancel is done.
    pub(super) fn cancelled(&mut self) {
        if self.job.has_attempt() {
            self.end_attempt(&Ending::new(Cause::Canceled, "stopped by cancel"));
        }
        self.finish(JobState::Cancelled, Ending::new(Cause::Canceled, "cancelled by request"));
    }

    /// The job is over.
    pub(super) fn finish(&mut self, state: JobState, ending: Ending) {
        self.say(ending.message.clone());
        if self.data.is_null() {
            self.data = json!({});
        }
        self.data["cause"] = ending.cause.name().into();
        self.job.trouble = None;
        self.job.phase = Phase::Finished(Outcome { state, ending, at: self.now });
        self.leave_place();
        self.outbox.extend(announce::messages(&self.job));
        self.outbox.extend(announce::end(&self.job));
    }
}
