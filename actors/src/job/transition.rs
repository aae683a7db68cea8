//! The rules of a job: `(state, event, now) → (state', effects)`, in one place.
//!
//! [`apply`] first sorts out reports about attempts that are no longer of interest, then hands the event to
//! the one function for its kind, each a `match` over the phase. What no arm accepts is [`Rejected`].

use super::cause::Cause;
use super::draft::Draft;
use super::effect::Effect;
use super::event::Event;
use super::spec::Completion;
use super::state::{Ending, Job, Phase, ServicePhase, Then, Trouble};
use super::view::JobState;
use super::{announce, verdict};
use crate::clock::Timestamp;
use crate::durable::Machine as _;
use crate::limits::{EVENTS_RECEIVED_MAX, SERVICE_RETRY_EVERY, SERVICE_SILENCE_MAX};
use serde_json::{Value, json};

/// Why an event is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The job's state does not allow it.
    #[error("{message}")]
    Conflict {
        /// The state.
        state: JobState,
        /// Why not, and what to do instead.
        message: String,
    },
    /// The attempt that calls is over.
    #[error("attempt {attempt} is over; the job is at attempt {current}")]
    Stale {
        /// The attempt that calls.
        attempt: u32,
        /// The newest one.
        current: u32,
    },
    /// There is no such attempt yet.
    #[error("there is no attempt {attempt}")]
    NoAttempt {
        /// The attempt that calls.
        attempt: u32,
    },
    /// The job received as many events as one may.
    #[error("the job has received {EVENTS_RECEIVED_MAX} events, which is the limit of one life")]
    TooManyEvents,
}

/// What an event comes to.
#[derive(Debug)]
pub(super) enum Applied {
    /// No change; these effects.
    Unchanged(Vec<Effect>),
    /// A new state.
    Changed(Box<Draft>),
    /// The job is to be deleted.
    Purge,
}

type Outcome = Result<Applied, Rejected>;

fn changed(draft: Draft) -> Outcome {
    Ok(Applied::Changed(Box::new(draft)))
}

fn unchanged() -> Outcome {
    Ok(Applied::Unchanged(vec![]))
}

/// Applies an event.
pub(super) fn apply(job: &Job, event: &Event, now: Timestamp) -> Outcome {
    if let Some(effects) = obsolete(job, event) {
        return Ok(Applied::Unchanged(effects));
    }
    let draft = Draft::of(job, now);
    match event {
        Event::Submitted(_) => Err(conflict(job, "the job exists already")),
        Event::Ticked => tick(draft),
        Event::CancelRequested => cancel(draft),
        Event::SuspendRequested => suspend(draft),
        Event::ResumeRequested => resume(draft),
        Event::RestartRequested => restart(draft),
        Event::RetryRequested => retry(draft),
        Event::PurgeRequested => purge(job),
        Event::Quarantined { reason } => quarantine::quarantine(draft, reason),
        Event::CallbackReceived { attempt, name, data } => {
            callback_is_current(job, *attempt)?;
            receive(draft, name, data)
        }
        Event::EventRaised { name, data } => receive(draft, name, data),
        Event::PlaceAccepted { attempt } => place::accepted(draft, *attempt),
        Event::Skipped { attempt, message } => place::skipped(draft, *attempt, message),
        Event::Displaced { by } => place::displaced(draft, *by),
        report => attempt_report(draft, report),
    }
}

/// The effects that answer a report which no longer matters; `None` when it does.
fn obsolete(job: &Job, event: &Event) -> Option<Vec<Effect>> {
    let attempt = event.reported_attempt()?;
    if matches!(event, Event::SlotGranted { .. }) {
        let awaited = matches!(job.phase, Phase::Queued { .. }) && attempt == job.attempt + 1;
        return match awaited {
            true => None,
            false if attempt == job.attempt && job.has_attempt() => Some(job.resume_effects()),
            false => Some(vec![Effect::Withdraw { attempt }]),
        };
    }
    let current = attempt == job.attempt && job.has_attempt();
    (!current).then(|| vec![Effect::Discard { attempt }])
}

fn attempt_report(mut draft: Draft, report: &Event) -> Outcome {
    if let Event::OutputsCollected { attempt, exit, outputs } = report {
        draft.note_outputs(outputs);
        return attempt_report(draft, &Event::AttemptExited { attempt: *attempt, exit: exit.clone() });
    }
    let phase = draft.job.phase.clone();
    match (phase, report) {
        (_, Event::SlotGranted { ahead, .. }) => draft.begin(*ahead),
        (Phase::Starting, Event::AttemptPrepared { attempt }) => {
            if draft.job.newest().is_some_and(|record| record.let_start) {
                return Ok(Applied::Unchanged(vec![Effect::Start { attempt: *attempt }]));
            }
            draft.let_start();
        }
        (Phase::Starting, Event::AttemptStarted { running, .. }) => draft.run(running),
        (Phase::Running { running: known, .. }, Event::AttemptStarted { running, .. }) => {
            if known == *running && draft.job.trouble.is_none() {
                return unchanged();
            }
            return relocated(draft, running.clone());
        }
        (Phase::Starting | Phase::Running { .. }, Event::AttemptExited { exit, .. }) => draft.exited(exit),
        (Phase::Starting | Phase::Running { .. }, Event::AttemptStartFailed { fault, message, .. }) => {
            draft.note_start_fault(*fault);
            draft.conclude(verdict::of_start_fault(*fault, message));
        }
        (
            Phase::Starting | Phase::Running { .. },
            Event::AttemptVanished { .. } | Event::AttemptNeverStarted { .. },
        ) => {
            draft.conclude(verdict::vanished());
        }
        (Phase::Stopping { then, .. }, Event::AttemptExited { exit, .. }) => {
            draft.note_exit(exit);
            draft.stopped(then);
        }
        (
            Phase::Stopping { then, .. },
            Event::AttemptStartFailed { .. }
            | Event::AttemptVanished { .. }
            | Event::AttemptNeverStarted { .. },
        ) => draft.stopped(then),
        (
            Phase::Starting | Phase::Running { .. } | Phase::Stopping { .. },
            Event::TroubleSeen { message, .. },
        ) => {
            return trouble(draft, message);
        }
        (Phase::Running { .. }, Event::ProbeFailed { container, failures, message, .. }) => {
            return probes::failed(draft, container, *failures, message);
        }
        (Phase::Running { .. }, Event::ProbePassed { container, .. }) => {
            return probes::passed(draft, container);
        }
        (Phase::Running { .. }, service_report) => return service(draft, service_report),
        // Started while stopping, anything while its callback is awaited, a service's late answer.
        _ => return unchanged(),
    }
    changed(draft)
}

/// The attempt is seen again after trouble, perhaps elsewhere: a service port may have moved.
fn relocated(mut draft: Draft, seen: crate::runtime::Running) -> Outcome {
    draft.job.trouble = None;
    if let Phase::Running { running, .. } = &mut draft.job.phase {
        *running = seen;
    }
    draft.say("seen running");
    changed(draft)
}

fn trouble(mut draft: Draft, message: &str) -> Outcome {
    let known = draft.job.trouble.as_ref();
    if known.is_some_and(|trouble| trouble.message == message) {
        return unchanged();
    }
    let since = known.map_or(draft.now, |trouble| trouble.since);
    draft.job.trouble = Some(Trouble { since, message: message.to_owned() });
    draft.say(message);
    changed(draft)
}

fn service(mut draft: Draft, report: &Event) -> Outcome {
    let (now, next_poll) = (draft.now, draft.next_poll());
    let Phase::Running { service: Some(service), .. } = &mut draft.job.phase else { return unchanged() };
    match (service, report) {
        (service @ ServicePhase::Starting { .. }, Event::ServiceStarted { answer, .. }) => {
            *service = ServicePhase::Started { poll_at: next_poll, failing_since: None };
            draft.say("the service accepted the start call");
            draft.data = answer.clone();
        }
        (ServicePhase::Starting { next_at, until }, Event::ServiceStartFailed { message, refused, .. }) => {
            if *refused || *until <= now {
                let message = format!("the service did not accept the start call: {message}; see its logs");
                draft.stop(Then::Conclude(Ending::new(Cause::Unhealthy, message)));
            } else {
                *next_at = now.after(SERVICE_RETRY_EVERY);
                draft.say(format!("the service is not ready: {message}"));
            }
        }
        (service @ ServicePhase::Started { .. }, Event::ServicePolled { answer, .. }) => {
            *service = ServicePhase::Started { poll_at: next_poll, failing_since: None };
            return polled(draft, answer);
        }
        (ServicePhase::Started { poll_at, failing_since }, Event::ServicePollFailed { message, .. }) => {
            *poll_at = next_poll;
            let since = *failing_since.get_or_insert(now);
            if now.since(since) < SERVICE_SILENCE_MAX {
                draft.say(format!("the service did not answer the poll: {message}"));
            } else {
                let message = format!("the service answered no poll for {SERVICE_SILENCE_MAX:?}: {message}");
                draft.stop(Then::Conclude(Ending::new(Cause::Unhealthy, message)));
            }
        }
        _ => return unchanged(),
    }
    changed(draft)
}

/// The answer to a poll: one in the shape of a terminal callback counts as one, anything else is progress.
fn polled(mut draft: Draft, answer: &Value) -> Outcome {
    let name = answer.get("event").and_then(Value::as_str);
    match name {
        Some(name @ ("completed" | "failed")) => {
            receive(draft, name, answer.get("data").unwrap_or(&Value::Null))
        }
        _ => {
            let progress = if name == Some("progress") { answer.get("data") } else { Some(answer) }.cloned();
            draft.quiet = draft.job.progress == progress;
            draft.job.progress = progress;
            draft.data = answer.clone();
            changed(draft)
        }
    }
}

fn callback_is_current(job: &Job, attempt: u32) -> Result<(), Rejected> {
    if let Some(outcome) = job.outcome() {
        let message = format!("the job has {}: {}", outcome.state.name(), outcome.ending.message);
        return Err(Rejected::Conflict { state: outcome.state, message });
    }
    if attempt == 0 || attempt > job.attempt {
        return Err(Rejected::NoAttempt { attempt });
    }
    if attempt < job.attempt || !job.has_attempt() {
        return Err(Rejected::Stale { attempt, current: job.attempt });
    }
    Ok(())
}

fn receive(mut draft: Draft, name: &str, data: &Value) -> Outcome {
    let terminal = matches!(name, "completed" | "failed");
    if let Some(outcome) = draft.job.outcome() {
        return Err(conflict(&draft.job, &format!("the job has {}", outcome.state.name())));
    }
    // One that ends the attempt is taken even then: otherwise the job could never end well.
    let decides = terminal && draft.job.given.spec.completion != Completion::Exit;
    if draft.job.events_received >= EVENTS_RECEIVED_MAX && !decides {
        return Err(Rejected::TooManyEvents);
    }
    draft.job.events_received += 1;
    draft.data = json!({ "event": name, "data": data });
    match name {
        "progress" => draft.job.progress = Some(data.clone()),
        _ if terminal => return receive_terminal(draft, name, data),
        _ => draft.outbox.extend(announce::raised(&draft.job, name, data)),
    }
    changed(draft)
}

fn receive_terminal(mut draft: Draft, name: &str, data: &Value) -> Outcome {
    let ending = verdict::of_callback(name, data);
    let decides = draft.job.given.spec.completion != Completion::Exit;
    // First, so that what is announced of the end has it.
    draft.job.output = (!data.is_null()).then(|| data.clone());
    match draft.job.phase {
        Phase::Starting | Phase::Running { .. } if !decides => {}
        Phase::Starting | Phase::Running { .. } => {
            draft.say(ending.message.clone());
            draft.stop(Then::Conclude(ending));
        }
        Phase::AwaitingCallback { .. } => draft.conclude(ending),
        Phase::Stopping { .. } => return Err(conflict(&draft.job, "its attempt is being stopped already")),
        _ => return Err(conflict(&draft.job, "it has no running attempt that could be completed or failed")),
    }
    changed(draft)
}

fn tick(mut draft: Draft) -> Outcome {
    let now = draft.now;
    if draft.job.deadline().is_none_or(|due| now < due) {
        return unchanged();
    }
    if draft.job.timeout_at().is_some_and(|at| at <= now) {
        let limit = draft.job.given.spec.timeout.unwrap_or(crate::units::Span::from_millis(0));
        return fail_or_stop(draft, verdict::timed_out("timeout", limit));
    }
    match &mut draft.job.phase {
        Phase::Delayed { .. } | Phase::BackingOff { .. } => draft.enqueue(),
        Phase::Queued { .. } => {
            let limit = draft.job.given.spec.queue_timeout.unwrap_or(crate::units::Span::from_millis(0));
            return fail_or_stop(draft, verdict::timed_out("queue_timeout", limit));
        }
        Phase::Starting => {
            let said = draft.job.trouble.as_ref().map_or("", |trouble| trouble.message.as_str());
            let message = format!("the runtime could not be used for too long: {said}");
            draft.stop(Then::Fail(Ending::new(Cause::RuntimeUnavailable, message)));
        }
        Phase::Running { .. } => return tick_running(draft),
        Phase::AwaitingCallback { exit, .. } => {
            let ending = verdict::without_callback(exit);
            draft.conclude(ending);
        }
        Phase::Stopping { stop_at, .. } => {
            *stop_at = None;
            draft.send_stop();
            draft.say("did not end by itself; stopping it");
        }
        Phase::Finished(_) => return Ok(Applied::Purge),
        Phase::Suspended => return unchanged(),
    }
    changed(draft)
}

fn tick_running(mut draft: Draft) -> Outcome {
    let now = draft.now;
    if draft.job.attempt_timeout_at().is_some_and(|at| at <= now) {
        let limit = draft.job.given.spec.attempt_timeout.unwrap_or(crate::units::Span::from_millis(0));
        let ending = verdict::timed_out("attempt_timeout", limit);
        draft.say(ending.message.clone());
        draft.stop(Then::Conclude(ending));
        return changed(draft);
    }
    let Phase::Running { running, service: Some(phase) } = &draft.job.phase else { return unchanged() };
    if running.address.is_none() {
        let (attempt, message) = (draft.job.attempt, "the runtime knows no address of it".to_owned());
        let report = match phase {
            ServicePhase::Starting { .. } => Event::ServiceStartFailed { attempt, message, refused: false },
            ServicePhase::Started { .. } => Event::ServicePollFailed { attempt, message },
        };
        return service(draft, &report);
    }
    draft.call_service();
    draft.quiet = true;
    changed(draft)
}

/// Fails the job, after its attempt is stopped where there is one.
fn fail_or_stop(mut draft: Draft, ending: Ending) -> Outcome {
    match draft.job.phase {
        Phase::AwaitingCallback { .. } => draft.stopped(Then::Fail(ending)),
        _ if draft.job.has_attempt() => {
            draft.say(ending.message.clone());
            draft.stop(Then::Fail(ending));
        }
        _ => {
            draft.withdraw();
            draft.finish(JobState::Failed, ending);
        }
    }
    changed(draft)
}

fn cancel(mut draft: Draft) -> Outcome {
    match draft.job.phase.clone() {
        Phase::Finished(outcome) => {
            let message = format!("the job has {} already; there is nothing to cancel", outcome.state.name());
            return Err(conflict(&draft.job, &message));
        }
        Phase::Stopping { then: Then::Cancel, .. } => return unchanged(),
        Phase::Stopping { then: Then::Conclude(ending), .. } if ending.cause == Cause::Success => {
            return Err(conflict(&draft.job, "it has completed by callback and is only being cleaned up"));
        }
        Phase::Stopping { stop_at, .. } => {
            draft.job.phase = Phase::Stopping { then: Then::Cancel, stop_at: None };
            if stop_at.is_some() {
                draft.send_stop();
            }
        }
        Phase::Starting | Phase::Running { .. } => draft.stop(Then::Cancel),
        Phase::AwaitingCallback { .. } => draft.cancelled(),
        _ => {
            draft.withdraw();
            draft.cancelled();
        }
    }
    changed(draft)
}

fn suspend(mut draft: Draft) -> Outcome {
    match &draft.job.phase {
        Phase::Suspended | Phase::Stopping { then: Then::Suspend, .. } => return unchanged(),
        Phase::Starting | Phase::Running { .. } => draft.stop(Then::Suspend),
        Phase::Delayed { .. } | Phase::Queued { .. } | Phase::BackingOff { .. } => {
            draft.withdraw();
            draft.job.phase = Phase::Suspended;
            draft.leave_place();
        }
        Phase::Finished(_) => {
            return Err(conflict(&draft.job, "the job is over; there is nothing to suspend"));
        }
        Phase::Stopping { .. } | Phase::AwaitingCallback { .. } => {
            return Err(conflict(
                &draft.job,
                "its attempt is ending; suspend it when the next one waits or runs",
            ));
        }
    }
    changed(draft)
}

fn resume(mut draft: Draft) -> Outcome {
    match draft.job.phase {
        Phase::Suspended => {
            draft.forgive_pause();
            draft.admit();
            changed(draft)
        }
        Phase::Finished(_) => Err(conflict(&draft.job, "the job is over; use retry to run it again")),
        _ => Err(conflict(&draft.job, "the job is not suspended")),
    }
}

fn restart(mut draft: Draft) -> Outcome {
    match &draft.job.phase {
        Phase::Starting | Phase::Running { .. } => draft.stop(Then::Restart),
        Phase::AwaitingCallback { .. } => draft.stopped(Then::Restart),
        Phase::Stopping { then: Then::Restart, .. } | Phase::Queued { .. } => return unchanged(),
        Phase::Delayed { .. } | Phase::BackingOff { .. } => draft.enqueue(),
        Phase::Suspended => {
            draft.forgive_pause();
            draft.enqueue();
        }
        Phase::Finished(_) => return Err(conflict(&draft.job, "the job is over; use retry to run it again")),
        Phase::Stopping { .. } => {
            return Err(conflict(&draft.job, "its attempt is being stopped for another reason"));
        }
    }
    changed(draft)
}

fn retry(mut draft: Draft) -> Outcome {
    match draft.job.phase.clone() {
        Phase::Finished(outcome) if outcome.state != JobState::Succeeded => {
            draft.job.spent = 0;
            draft.job.streak = 0;
            draft.job.failing_since = None;
            draft.job.clock_from = None;
            draft.job.output = None;
            draft.job.progress = None;
            draft.enqueue();
            changed(draft)
        }
        Phase::Finished(_) => {
            Err(conflict(&draft.job, "the job has succeeded; submit it again to run it again"))
        }
        _ => Err(conflict(&draft.job, "the job is not over; use restart for a new attempt now")),
    }
}

fn purge(job: &Job) -> Outcome {
    match job.phase {
        Phase::Finished(_) => Ok(Applied::Purge),
        _ => Err(conflict(job, "the job is not over; cancel it first")),
    }
}

fn conflict(job: &Job, why: &str) -> Rejected {
    let state = job.state();
    Rejected::Conflict { state, message: format!("the job is {}: {why}", state.name()) }
}

mod place;
mod probes;
mod quarantine;
#[cfg(test)]
mod tests;
