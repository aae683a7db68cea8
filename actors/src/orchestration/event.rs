//! What can happen to an instance, and what it asks of the world. Data only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::entity::EntityCall;
use super::history::{ActivityCall, Arrival, ChildCall, Outcome, Rewind, TaskResult, Trace, Turn};
use super::id::TaskId;
use super::payload::Payload;
use super::state::{Parent, Span, Status};
use crate::clock::Timestamp;
use crate::schedule::ScheduleId;
use crate::trigger::TriggerId;

/// What can happen to an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It is to be started.
    StartRequested(Box<Start>),
    /// An event is raised to it. With `keep_until` it waits for an instance that does not exist yet.
    EventRaised {
        /// Its name.
        name: String,
        /// Its payload.
        #[serde(default, skip_serializing_if = "Payload::is_none")]
        data: Payload,
        /// Until when it waits for the instance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep_until: Option<Timestamp>,
    },
    /// Its code had a turn.
    TurnEnded(Box<TurnEnd>),
    /// Its code cannot go on.
    TurnBlocked {
        /// In which execution.
        execution: u32,
        /// In which turn.
        turn: u32,
        /// Why, and what to do.
        reason: String,
    },
    /// Its code panicked.
    TurnPanicked {
        /// In which execution.
        execution: u32,
        /// In which turn.
        turn: u32,
        /// The panic's text.
        message: String,
    },
    /// Tasks are over.
    TasksEnded {
        /// Of which execution.
        execution: u32,
        /// What came of them.
        results: Vec<TaskResult>,
    },
    /// Activities are about to be started again, because the process ended while they may have run.
    ActivitiesRestarting {
        /// Of which execution.
        execution: u32,
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// A child is over.
    ChildEnded {
        /// Of which execution.
        execution: u32,
        /// As which task.
        task: TaskId,
        /// What came of it.
        outcome: Outcome,
    },
    /// A job is over.
    JobEnded {
        /// Of which execution.
        execution: u32,
        /// As which task.
        task: TaskId,
        /// What came of it.
        outcome: Outcome,
    },
    /// An entity has done what it was called for.
    EntityAnswered {
        /// When the instance that called it was created.
        created_at: Timestamp,
        /// In which execution it was called.
        execution: u32,
        /// As which task.
        task: TaskId,
        /// With which request id.
        request_id: String,
        /// What came of it.
        outcome: Outcome,
    },
    /// It has a set of entities for itself.
    LockGranted {
        /// When the instance that asked for that was created.
        created_at: Timestamp,
        /// In which execution it asked.
        execution: u32,
        /// As which task.
        task: TaskId,
        /// How often the execution had been rewound by then.
        #[serde(default)]
        rewinds: u32,
        /// For which critical section.
        section: String,
    },
    /// Somebody wants it to pause.
    SuspendRequested {
        /// Why.
        reason: Option<String>,
    },
    /// Somebody wants it to go on.
    ResumeRequested {
        /// Why.
        reason: Option<String>,
    },
    /// Somebody wants it to end.
    TerminateRequested {
        /// Why.
        reason: Option<String>,
        /// And its children.
        recursive: bool,
    },
    /// Somebody wants a failed one to go on from before its failure.
    RewindRequested {
        /// Why.
        reason: Option<String>,
        /// How its parent started it, should it have been purged since: then it is started again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start: Option<Box<Start>>,
    },
    /// It is known from where it goes on.
    RewindPlanned {
        /// The revision of the history that was read.
        revision: u64,
        /// How.
        rewind: Rewind,
        /// The tasks that are open there.
        open: OpenTasks,
        /// What is to be seen again, or for the first time.
        arrivals: Vec<Arrival>,
    },
    /// Somebody wants what is blocked or parked to be tried again.
    ReleaseRequested,
    /// Somebody wants it to be deleted.
    PurgeRequested,
    /// A deadline passed.
    Ticked,
    /// Its actor kept panicking.
    Quarantined {
        /// The last panic's text.
        reason: String,
    },
}

/// How an instance is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The name of the orchestration.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// Its input.
    #[serde(default)]
    pub input: Payload,
    /// What to write on it.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Not before this time.
    pub start_at: Option<Timestamp>,
    /// Who waits for its end.
    pub parent: Option<Parent>,
    /// The name of that one's orchestration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_name: Option<String>,
    /// The schedule that is told its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleId>,
    /// The trigger that is told its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerLink>,
    /// The trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// An existing instance in one of these states is replaced.
    #[serde(default)]
    pub replaces: Vec<Status>,
}

/// For which item of which trigger something was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerLink {
    /// The trigger.
    pub trigger: TriggerId,
    /// Its item.
    pub item: u64,
}

/// A turn as it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnEnd {
    /// In which execution.
    pub execution: u32,
    /// What it saw and asked for.
    pub turn: Turn,
    /// What the code says of itself, where it said something new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_status: Option<Payload>,
    /// The names of the events that it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaited: Vec<String>,
    /// The version of the code that took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Activities that are not over when the execution ends go on by themselves, and those that are asked for with its
    /// end are begun: workers elsewhere expect it so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
    /// The span under which the worker traces the instance, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
}

/// The tasks that are open at some place of a history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenTasks {
    /// Activities.
    pub activities: Vec<TaskId>,
    /// Timers.
    pub timers: Vec<(TaskId, Timestamp)>,
    /// Children, as they were asked for.
    pub children: Vec<ChildCall>,
    /// Jobs.
    pub jobs: Vec<(TaskId, crate::id::JobId)>,
    /// Calls of entities and lock requests, as they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<EntityCall>,
}

/// What an instance asks of the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Give the code a turn, should there be something it has not seen.
    RunTurn(Box<TurnRequest>),
    /// Start these activities.
    StartActivities {
        /// Of which execution.
        execution: u32,
        /// Which.
        calls: Vec<ActivityCall>,
    },
    /// See to it that every activity that is not over runs; what they are is in the history.
    RecoverActivities {
        /// Of which execution.
        execution: u32,
    },
    /// Stop these activities, and tell when they have stopped.
    CancelActivities {
        /// Of which execution.
        execution: u32,
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// Read the history for the place to go on from.
    PlanRewind {
        /// Why.
        reason: Option<String>,
    },
    /// What is in memory of its code is of no more use.
    Forget,
}

/// What the code has to see.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnRequest {
    /// In which execution.
    pub execution: u32,
    /// How many arrivals there were before `fresh`.
    pub before: u64,
    /// The newest arrivals; where others are missing, they are in the history.
    pub fresh: Vec<Arrival>,
}

/// Why an event cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// There is one with this id.
    #[error("there is an instance with this id, and it is {}; use another id, or name its state in `replaces`", .0.name())]
    Exists(Status),
    /// There is none yet.
    #[error("there is no such instance")]
    NotStarted,
    /// Its state does not allow it.
    #[error("the instance is {}: {message}", .status.name())]
    Conflict {
        /// Its state.
        status: Status,
        /// Why not, and what to do.
        message: &'static str,
    },
    /// Too many events wait for it.
    #[error("{} events wait for this instance already; start it", crate::limits::EVENTS_AWAITING_START_MAX)]
    TooManyEvents,
}
