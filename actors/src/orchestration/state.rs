//! The state of an instance: what its rules need between two events, and no more. Inputs, outputs and results are
//! in its history.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::entity::Section;
use super::event::TriggerLink;
use super::failure::Failure;
use super::id::{InstanceId, TaskId};
use super::payload::Payload;
use super::tasks::TaskSet;
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::schedule::ScheduleId;

/// An orchestration instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Orchestration {
    /// Which.
    pub id: InstanceId,
    /// How many entries its history has had.
    pub revision: u64,
    /// How many events its history has had.
    pub events: u64,
    /// The name of the orchestration; empty while only events wait for it.
    pub name: String,
    /// The version that its code has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What its starter wrote on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Who waits for its end. Most have none, and an id has room for the longest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Box<Parent>>,
    /// The name of that one's orchestration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_name: Option<String>,
    /// The schedule that started it and is told its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleId>,
    /// The trigger that started it and is told its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerLink>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its last event was.
    pub updated_at: Timestamp,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The current execution, from 1: continuing as new and starting again begin another.
    pub execution: u32,
    /// The execution with which it was last started: those behind it continue it as new.
    pub started: u32,
    /// The history entry with which the execution began.
    pub began: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Arrivals of this execution so far.
    pub arrived: u64,
    /// Arrivals that the code has seen.
    pub seen: u64,
    /// Turns of this execution so far.
    pub turns: u32,
    /// Activities that are not over.
    #[serde(default, skip_serializing_if = "TaskSet::is_empty")]
    pub activities: TaskSet,
    /// How often activities were started again because the process had ended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts: BTreeMap<TaskId, u32>,
    /// Timers that have not fired.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timers: BTreeMap<TaskId, Timestamp>,
    /// Children that are not over.
    #[serde(default, skip_serializing_if = "TaskSet::is_empty")]
    pub children: TaskSet,
    /// The ids of those that were given one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub named_children: BTreeMap<TaskId, InstanceId>,
    /// Jobs that are not over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub jobs: BTreeMap<TaskId, JobId>,
    /// Calls of entities that are not answered. Those of an instance that failed stay open, should it be rewound.
    #[serde(default, skip_serializing_if = "TaskSet::is_empty")]
    pub calls: TaskSet,
    /// The critical sections that it is in, or waits for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sections: BTreeMap<String, Section>,
    /// The span under which its worker traces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// What its code says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_status: Option<Payload>,
    /// The names of the events that its code waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaited: Vec<String>,
    /// Why its code cannot go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
    /// How often this execution was rewound.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rewinds: u32,
    /// Panics of its code since its last turn.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub panics: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The span of an instance in a distributed trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its id.
    pub id: Option<String>,
    /// When it began.
    pub began_at: Option<Timestamp>,
}

/// The task of another instance that waits for this one's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Which instance.
    pub instance: InstanceId,
    /// In which execution.
    pub execution: u32,
    /// As which task.
    pub task: TaskId,
}

/// Why the code of an instance cannot go on for now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blocked {
    /// Since when.
    pub since: Timestamp,
    /// Why, and what to do.
    pub reason: String,
}

/// Where an instance stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// There is none yet: events wait for it.
    Awaited {
        /// Until when.
        until: Timestamp,
        /// What was raised.
        events: Vec<(String, Payload)>,
    },
    /// It waits for its time to start.
    Scheduled {
        /// When.
        start_at: Timestamp,
    },
    /// Its code runs, or waits for what it asked for.
    Running,
    /// What arrives is kept.
    Suspended {
        /// Why.
        reason: Option<String>,
    },
    /// What it started is being stopped.
    Terminating {
        /// Why.
        reason: Option<String>,
        /// Its children are terminated, too.
        recursive: bool,
    },
    /// It failed and its history is being read for the place to go on from.
    Rewinding {
        /// Why.
        reason: Option<String>,
        /// How it had failed.
        failure: Failure,
    },
    /// Its code returned.
    Completed,
    /// Its code failed.
    Failed {
        /// How.
        failure: Failure,
    },
    /// Somebody ended it.
    Terminated {
        /// Why.
        reason: Option<String>,
    },
}

/// Where an instance stands, in the words of the Durable Task family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for its first turn.
    Pending,
    /// It runs.
    Running,
    /// It pauses.
    Suspended,
    /// It is over with a result.
    Completed,
    /// It is over with a failure.
    Failed,
    /// It was ended.
    Terminated,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Suspended, Self::Completed, Self::Failed, Self::Terminated];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Terminated => "terminated",
        }
    }

    /// Nothing more happens by itself.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Terminated)
    }
}

impl Orchestration {
    /// Where it stands; `None` while there is none but events that wait for it.
    pub fn status(&self) -> Option<Status> {
        Some(match &self.phase {
            Phase::Awaited { .. } => return None,
            Phase::Scheduled { .. } => Status::Pending,
            Phase::Running if self.turns == 0 && self.execution == self.started => Status::Pending,
            Phase::Running | Phase::Terminating { .. } | Phase::Rewinding { .. } => Status::Running,
            Phase::Suspended { .. } => Status::Suspended,
            Phase::Completed => Status::Completed,
            Phase::Failed { .. } => Status::Failed,
            Phase::Terminated { .. } => Status::Terminated,
        })
    }

    /// Whether its code may have a turn.
    pub fn may_turn(&self) -> bool {
        self.phase == Phase::Running && self.blocked.is_none()
    }

    /// The id of a child.
    pub fn child(&self, task: TaskId) -> InstanceId {
        let named = self.named_children.get(&task).copied();
        named.unwrap_or_else(|| InstanceId::of_child(self.id, self.execution, task))
    }

    /// Activities that may run: not those that are parked.
    pub fn runnable(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.activities.iter().filter(|task| !self.is_parked(*task))
    }

    /// Whether an activity is parked: the process ended each time it was started.
    pub fn is_parked(&self, task: TaskId) -> bool {
        self.restarts.get(&task).is_some_and(|count| *count > crate::limits::ACTIVITY_RESTARTS_MAX)
    }

    /// Whether something that it started may still run.
    pub fn has_open_work(&self) -> bool {
        !self.activities.is_empty() || !self.jobs.is_empty() || !self.children.is_empty()
    }
}
