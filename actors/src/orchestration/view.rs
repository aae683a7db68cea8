//! What clients are shown of an instance and of its history.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::entity::{EntityCall, EntityRequest};
use super::failure::Failure;
use super::history::{Action, Arrival, Entry, Note, Outcome, TaskResult};
use super::id::InstanceId;
use super::payload::Payload;
use super::state::{Orchestration, Phase, Status};
use crate::clock::Timestamp;

/// One instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceView {
    /// Its id.
    pub id: InstanceId,
    /// The name of the orchestration.
    pub name: String,
    /// The version of its code.
    pub version: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// Its input, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub input: Option<Value>,
    /// Its output, once it has completed, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output: Option<Value>,
    /// How it failed.
    pub failure: Option<Failure>,
    /// Why it was suspended or terminated.
    pub reason: Option<String>,
    /// What its code says of itself.
    #[schema(value_type = Option<Object>)]
    pub custom_status: Option<Value>,
    /// What its starter wrote on it.
    pub tags: BTreeMap<String, String>,
    /// The instance that waits for its end.
    pub parent: Option<InstanceId>,
    /// The number of its execution: starting it again and continuing as new count up.
    pub execution: u32,
    /// Why its code cannot go on, where it cannot.
    pub blocked: Option<String>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When something last happened to it.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When it was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// Events in its history.
    pub events: u64,
    /// Where to go from here, relative to the API's root; the API adds them.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
}

impl Orchestration {
    /// What clients are shown; `None` while only events wait for it.
    pub fn view(&self) -> Option<InstanceView> {
        let (failure, reason) = match &self.phase {
            Phase::Failed { failure } | Phase::Rewinding { failure, .. } => (Some(failure.clone()), None),
            Phase::Suspended { reason }
            | Phase::Terminating { reason, .. }
            | Phase::Terminated { reason } => (None, reason.clone()),
            _ => (None, None),
        };
        Some(InstanceView {
            id: self.id,
            name: self.name.clone(),
            version: self.version.clone(),
            status: self.status()?,
            input: None,
            output: None,
            failure,
            reason,
            custom_status: self.custom_status.as_ref().map(Payload::value),
            tags: self.tags.clone(),
            parent: self.parent.as_ref().map(|parent| parent.instance),
            execution: self.execution,
            blocked: self.blocked.as_ref().map(|blocked| blocked.reason.clone()),
            created_at: self.created_at,
            updated_at: self.updated_at,
            finished_at: self.finished_at,
            events: self.events,
            links: BTreeMap::new(),
        })
    }
}

/// One event of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryEvent {
    /// Its number, from 1.
    pub seq: u64,
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The execution that it belongs to.
    pub execution: u32,
    /// The turn of the code that it belongs to, where it is the code's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// What happened, in snake case, as `activity_scheduled`.
    pub kind: String,
    /// The number of the task that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<u64>,
    /// The details.
    #[schema(value_type = Object)]
    pub data: Value,
}

/// The events of an entry, in order.
pub fn events(entry: &Entry) -> Vec<HistoryEvent> {
    let mut events = Vec::new();
    let mut push = |turn: Option<u32>, (kind, task, data): (&str, Option<u64>, Value)| {
        events.push(HistoryEvent {
            seq: entry.first + events.len() as u64,
            at: entry.at,
            execution: entry.execution,
            turn,
            kind: kind.to_owned(),
            task,
            data,
        });
    };
    // A note comes first: what arrived with it arrived because of it.
    if let Some(note) = &entry.note {
        push(None, of_note(note));
    }
    for arrival in &entry.arrivals {
        push(None, of_arrival(arrival));
    }
    if let Some(turn) = &entry.turn {
        for result in &turn.results {
            push(Some(turn.number), of_result(result));
        }
        for action in &turn.actions {
            push(Some(turn.number), of_action(action));
        }
    }
    events
}

fn of_arrival(arrival: &Arrival) -> (&'static str, Option<u64>, Value) {
    match arrival {
        Arrival::Started(started) => (
            "execution_started",
            None,
            json!({ "name": started.name, "version": started.version, "input": started.input.value() }),
        ),
        Arrival::TaskEnded(result) => of_result(result),
        Arrival::TimerFired { task } => ("timer_fired", Some(*task), json!({})),
        Arrival::EventRaised { name, data } => {
            ("event_raised", None, json!({ "name": name, "data": data.value() }))
        }
        Arrival::EntityAnswered { task, request_id, outcome: Outcome::Completed(output) } => (
            "entity_operation_completed",
            Some(*task),
            json!({ "output": output.value(), "request_id": request_id }),
        ),
        Arrival::EntityAnswered { task, request_id, outcome: Outcome::Failed(failure) } => {
            ("entity_operation_failed", Some(*task), json!({ "failure": failure, "request_id": request_id }))
        }
        Arrival::LockGranted { task, section } => {
            ("entity_lock_granted", Some(*task), json!({ "section": section }))
        }
    }
}

fn of_result(result: &TaskResult) -> (&'static str, Option<u64>, Value) {
    match &result.outcome {
        Outcome::Completed(output) => {
            ("task_completed", Some(result.task), json!({ "output": output.value() }))
        }
        Outcome::Failed(failure) => ("task_failed", Some(result.task), json!({ "failure": failure })),
    }
}

fn of_action(action: &Action) -> (&'static str, Option<u64>, Value) {
    let task = action.begins();
    match action {
        Action::ScheduleActivity(call) => {
            let mut data = json!({ "name": call.name, "input": call.input.value() });
            if let Some(timeout) = call.timeout {
                data["timeout"] = json!(timeout);
            }
            ("activity_scheduled", task, data)
        }
        Action::CreateTimer { fire_at, .. } => ("timer_created", task, json!({ "fire_at": fire_at })),
        Action::StartChild(call) => (
            "child_started",
            task,
            json!({ "instance": call.instance, "name": call.name, "version": call.version, "input": call.input.value() }),
        ),
        Action::SubmitJob(call) => ("job_submitted", task, json!({ "job": call.job, "spec": call.spec })),
        Action::SendEvent { instance, name, data, .. } => {
            ("event_sent", task, json!({ "instance": instance, "name": name, "data": data.value() }))
        }
        Action::Terminate { instance, reason, recursive, .. } => (
            "termination_sent",
            task,
            json!({ "instance": instance, "reason": reason, "recursive": recursive }),
        ),
        Action::MessageEntity(call) => of_message(call),
        Action::Refuse { failure, .. } => ("task_refused", task, json!({ "failure": failure })),
        Action::Cancel { task } => ("task_cancelled", Some(*task), json!({})),
        Action::ContinueAsNew { input, .. } => ("continued_as_new", None, json!({ "input": input.value() })),
        Action::Complete(Outcome::Completed(output)) => {
            ("execution_completed", None, json!({ "output": output.value() }))
        }
        Action::Complete(Outcome::Failed(failure)) => {
            ("execution_failed", None, json!({ "failure": failure }))
        }
    }
}

fn of_message(call: &EntityCall) -> (&'static str, Option<u64>, Value) {
    let entity = call.entity;
    let (kind, data) = match &call.request {
        EntityRequest::Signal(signal) => (
            "entity_operation_signaled",
            json!({
                "entity": entity,
                "operation": signal.operation,
                "input": signal.input.value(),
                "request_id": signal.request_id,
                "at": signal.at,
            }),
        ),
        EntityRequest::Call { request_id, operation, input, .. } => (
            "entity_operation_called",
            json!({ "entity": entity, "operation": operation, "input": input.value(), "request_id": request_id }),
        ),
        EntityRequest::Lock { section, set } => {
            ("entity_lock_requested", json!({ "section": section, "entities": set }))
        }
        EntityRequest::Unlock { section } => {
            ("entity_unlock_sent", json!({ "section": section, "entity": entity }))
        }
    };
    (kind, Some(call.task), data)
}

fn of_note(note: &Note) -> (&'static str, Option<u64>, Value) {
    match note {
        Note::Scheduled { start_at } => ("execution_scheduled", None, json!({ "start_at": start_at })),
        Note::Suspended { reason } => ("execution_suspended", None, json!({ "reason": reason })),
        Note::Resumed { reason } => ("execution_resumed", None, json!({ "reason": reason })),
        Note::Terminating { reason } => ("termination_requested", None, json!({ "reason": reason })),
        Note::Terminated => ("execution_terminated", None, json!({})),
        Note::Blocked { reason } => ("execution_blocked", None, json!({ "reason": reason })),
        Note::Rewound(rewind) => (
            "execution_rewound",
            None,
            json!({ "reason": rewind.reason, "from_turn": rewind.from_turn, "tasks": rewind.reopened }),
        ),
        Note::Released => ("execution_released", None, json!({})),
        Note::CodePanicked { message } => ("code_panicked", None, json!({ "message": message })),
        Note::Failed(failure) => ("execution_failed", None, json!({ "failure": failure })),
        Note::ActivitiesRestarted { tasks } => ("activities_restarted", None, json!({ "tasks": tasks })),
        Note::ActivityParked { task } => ("activity_parked", Some(*task), json!({})),
    }
}
