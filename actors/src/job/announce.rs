//! What a job tells others: its webhooks, and the orchestration, pool, schedule, trigger or array that started it. Pure.

use serde_json::{Value, json};

use super::parent::Parent;
use super::state::Job;
use crate::array;
use crate::durable::Message;
use crate::limits::{SCHEDULE_MESSAGE_CHARS_MAX, TRIGGER_ERROR_CHARS_MAX, WEBHOOK_OUTPUT_BYTES_MAX};
use crate::orchestration::event::Event as OrchestrationEvent;
use crate::orchestration::history::{self, JobOutcome};
use crate::orchestration::state::Orchestration;
use crate::pool;
use crate::schedule;
use crate::trigger;
use crate::webhook::{Announcement, Delivery, Event, WebhookId};

/// One message to each webhook of a job that has just finished.
pub(super) fn messages(job: &Job) -> Vec<Message> {
    let Some(outcome) = job.outcome() else { return vec![] };
    let kind = format!("dev.dogwatch.job.{}", outcome.state.name());
    let targets = job.given.spec.on_complete.iter().enumerate();
    targets
        .filter_map(|(index, target)| {
            let id = WebhookId { job: job.id, target: u16::try_from(index).ok()? };
            let announcement = Announcement {
                url: target.url.clone(),
                vault: job.given.vault.clone(),
                sealed_for: job.given.parent.as_ref().and_then(Parent::sealed_for),
                // The next history entry is this end: its number makes the message's id unique and repeatable.
                // No full stop in it: it separates the parts of what a signature covers (Standard Webhooks).
                message: format!("{}-{}-{index}", job.id, job.revision + 1),
                kind: kind.clone(),
                at: outcome.at,
                data: summary(job),
            };
            Some(Message::to::<Delivery>(id, &Event::Announced(Box::new(announcement))))
        })
        .collect()
}

/// The end of a job, to whoever started it and waits for it.
pub(super) fn end(job: &Job) -> Option<Message> {
    let outcome = job.outcome()?;
    let parent = match job.given.parent.as_ref()? {
        Parent::Task(task) => *task,
        Parent::Pool(parent) => {
            let end = pool::End {
                state: outcome.state,
                cause: outcome.ending.cause,
                exit_code: job.attempts.last().and_then(|attempt| attempt.exit_code),
                message: outcome.ending.message.clone(),
            };
            let event = pool::Event::InstanceEnded { job: job.id, end: Box::new(end) };
            return Some(Message::to::<pool::Pool>(parent.pool, &event));
        }
        Parent::Schedule(parent) => {
            let message = Some(outcome.ending.message.chars().take(SCHEDULE_MESSAGE_CHARS_MAX).collect());
            let end = Box::new(schedule::End { state: outcome.state, message });
            let event = schedule::Event::RunEnded { run: Box::new(schedule::Run::Job(job.id)), end };
            return Some(Message::to::<schedule::Schedule>(parent.schedule, &event));
        }
        Parent::Trigger(parent) => {
            let message = Some(outcome.ending.message.chars().take(TRIGGER_ERROR_CHARS_MAX).collect());
            let end = Box::new(schedule::End { state: outcome.state, message });
            let (item, run) = (parent.item, Box::new(schedule::Run::Job(job.id)));
            let event = trigger::Event::RunEnded { item, run, end };
            return Some(Message::to::<trigger::Trigger>(parent.trigger, &event));
        }
        Parent::Array(parent) => {
            let event = array::Event::ChildEnded { index: parent.index, state: outcome.state };
            return Some(Message::to::<array::Array>(parent.array, &event));
        }
    };
    let told = JobOutcome {
        job: job.id,
        state: outcome.state,
        cause: outcome.ending.cause.name().to_owned(),
        message: outcome.ending.message.clone(),
        exit_code: job.attempts.last().and_then(|attempt| attempt.exit_code),
        output: job.output.clone(),
        attempts: job.attempt,
    };
    let event = OrchestrationEvent::JobEnded {
        execution: parent.execution,
        task: parent.task,
        outcome: history::Outcome::Completed(serde_json::to_value(told).unwrap_or_default().into()),
    };
    Some(Message::to::<Orchestration>(parent.instance, &event))
}

/// An event that an attempt called back or that was raised, to the orchestration that waits for the job.
pub(super) fn raised(job: &Job, name: &str, data: &Value) -> Option<Message> {
    let parent = job.given.parent.as_ref()?.task()?;
    let event = OrchestrationEvent::EventRaised {
        name: name.to_owned(),
        data: data.clone().into(),
        keep_until: None,
    };
    Some(Message::to::<Orchestration>(parent.instance, &event))
}

fn summary(job: &Job) -> Value {
    let view = job.view();
    let output = view.output.filter(|output| output.to_string().len() <= WEBHOOK_OUTPUT_BYTES_MAX);
    json!({
        "id": view.id, "name": view.name, "state": view.state, "cause": view.cause, "message": view.message,
        "attempt": view.attempt, "exit_code": view.attempts.last().and_then(|attempt| attempt.exit_code),
        "output": output, "labels": view.labels, "created_at": view.created_at, "started_at": view.started_at,
        "finished_at": view.finished_at,
    })
}
