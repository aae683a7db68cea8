//! The history of an instance: what reached its code and what the code decided, in the order in which it did.
//!
//! Replaying it brings the code back to where it was. One [`Entry`] is one transition of the machine. It holds what
//! arrived from outside, or one turn of the code: the arrivals it saw (by their number), the results of activities
//! that came with it, and the actions it took. So a replay knows exactly what the code knew when it decided.
//!
//! Invariants: arrivals are numbered from 1 within an execution; a turn sees all arrivals up to `upto` and then its
//! own results; entries of an execution before its first are gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entity::EntityCall;
use super::failure::Failure;
use super::id::{InstanceId, TaskId};
use super::payload::Payload;
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::job::spec::Spec;
use crate::job::view::JobState;
use crate::secret::Sealed;
use crate::units::Span;

/// What one transition added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The number of its first event, from 1 for the instance.
    pub first: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The execution that it belongs to, from 1.
    pub execution: u32,
    /// What arrived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arrivals: Vec<Arrival>,
    /// What the code did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// What was done to the instance and is not told to its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
}

impl Entry {
    /// How many events it holds.
    pub fn len(&self) -> u64 {
        let turn = self.turn.as_ref().map_or(0, |turn| turn.results.len() + turn.actions.len());
        (self.arrivals.len() + turn + usize::from(self.note.is_some())) as u64
    }

    /// Whether it holds none: a turn that only looked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One turn of the code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Its number within the execution, from 1.
    pub number: u32,
    /// The newest arrival that it saw.
    pub upto: u64,
    /// What time it was for the code.
    pub now: Timestamp,
    /// Results of activities that came with the turn, in the order in which the code saw them, behind the arrivals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<TaskResult>,
    /// What the code asked for, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
}

/// What reaches the code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// The execution begins.
    Started(Box<Started>),
    /// A task is over.
    TaskEnded(TaskResult),
    /// A timer's time has come.
    TimerFired {
        /// Which.
        task: TaskId,
    },
    /// Somebody raised an event.
    EventRaised {
        /// Its name.
        name: String,
        /// Its payload.
        #[serde(default, skip_serializing_if = "Payload::is_none")]
        data: Payload,
    },
    /// An entity has done what it was called for.
    EntityAnswered {
        /// As which task it was called.
        task: TaskId,
        /// With which request id.
        request_id: String,
        /// What came of it.
        outcome: Outcome,
    },
    /// The instance has a set of entities for itself.
    LockGranted {
        /// As which task it asked for that.
        task: TaskId,
        /// For which critical section.
        section: String,
    },
}

/// How an execution began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The name of the orchestration.
    pub name: String,
    /// The version that was asked for or chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its input.
    #[serde(default, skip_serializing_if = "Payload::is_none")]
    pub input: Payload,
    /// The trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

/// Where something belongs in a distributed trace (W3C Trace Context).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The value of `traceparent`.
    pub parent: String,
    /// The value of `tracestate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// What came of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// Which.
    pub task: TaskId,
    /// Its result.
    pub outcome: Outcome,
}

/// A result or a failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It succeeded with this output.
    Completed(Payload),
    /// It failed.
    Failed(Failure),
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a job that belongs to an orchestration came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobOutcome {
    /// The job.
    pub job: JobId,
    /// `succeeded`, `failed` or `cancelled`.
    pub state: JobState,
    /// The machine-readable cause.
    pub cause: String,
    /// What happened, in a sentence.
    pub message: String,
    /// The exit code of the last attempt, where there is one.
    pub exit_code: Option<i32>,
    /// What the job called back as its output.
    pub output: Option<serde_json::Value>,
    /// How many attempts were made.
    pub attempts: u32,
}

impl JobOutcome {
    /// Itself when the job succeeded, otherwise a failure that says what happened.
    pub fn success(self) -> super::failure::Result<Self> {
        if self.state == JobState::Succeeded {
            return Ok(self);
        }
        let message = format!("job {} {}: {}", self.job, self.state.name(), self.message);
        Err(Failure::new(super::failure::kinds::JOB, message))
    }
}

/// What the code asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Run an activity.
    ScheduleActivity(Box<ActivityCall>),
    /// Fire a timer.
    CreateTimer {
        /// Its number.
        task: TaskId,
        /// When.
        fire_at: Timestamp,
    },
    /// Start another orchestration and wait for its end.
    StartChild(Box<ChildCall>),
    /// Submit a job and wait for its end.
    SubmitJob(Box<JobCall>),
    /// Raise an event to another instance; nothing is waited for.
    SendEvent {
        /// Its number.
        task: TaskId,
        /// To whom.
        instance: InstanceId,
        /// The event.
        name: String,
        /// Its payload.
        #[serde(default, skip_serializing_if = "Payload::is_none")]
        data: Payload,
    },
    /// Signal, call, lock or unlock an entity.
    MessageEntity(Box<EntityCall>),
    /// What the code asked for cannot be done at all: it was told so at once.
    Refuse {
        /// Its number.
        task: TaskId,
        /// Why.
        failure: Failure,
    },
    /// The code waits no longer for a task: what runs is cancelled.
    Cancel {
        /// Which.
        task: TaskId,
    },
    /// End another instance; nothing is waited for.
    Terminate {
        /// Its number.
        task: TaskId,
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: Option<String>,
        /// And its children.
        recursive: bool,
    },
    /// Begin again with a new input and an empty history.
    ContinueAsNew {
        /// The new input.
        #[serde(default, skip_serializing_if = "Payload::is_none")]
        input: Payload,
        /// The version of the new execution, where it is to be another one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// Events that were raised and not taken, which the new execution gets first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        carried: Vec<(String, Payload)>,
    },
    /// The orchestration is over.
    Complete(Outcome),
}

impl Action {
    /// The number of the task that it begins, where it begins one.
    pub fn begins(&self) -> Option<TaskId> {
        match self {
            Self::ScheduleActivity(call) => Some(call.task),
            Self::StartChild(call) => Some(call.task),
            Self::SubmitJob(call) => Some(call.task),
            Self::MessageEntity(call) => Some(call.task),
            Self::CreateTimer { task, .. }
            | Self::SendEvent { task, .. }
            | Self::Terminate { task, .. }
            | Self::Refuse { task, .. } => Some(*task),
            Self::Cancel { .. } | Self::ContinueAsNew { .. } | Self::Complete(_) => None,
        }
    }
}

impl std::fmt::Display for Action {
    /// What people compare when a replay takes another way.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ScheduleActivity(call) => write!(f, "activity `{}` as task {}", call.name, call.task),
            Self::CreateTimer { task, .. } => write!(f, "a timer as task {task}"),
            Self::StartChild(call) => {
                write!(f, "child `{}` ({}) as task {}", call.name, call.instance, call.task)
            }
            Self::SubmitJob(call) => write!(f, "a job as task {}", call.task),
            Self::SendEvent { task, instance, name, .. } => {
                write!(f, "event `{name}` to {instance} as task {task}")
            }
            Self::Terminate { task, instance, .. } => {
                write!(f, "the termination of {instance} as task {task}")
            }
            Self::MessageEntity(call) => call.fmt(f),
            Self::Refuse { task, failure } => write!(f, "task {task}, refused ({failure})"),
            Self::Cancel { task } => write!(f, "the cancellation of task {task}"),
            Self::ContinueAsNew { .. } => f.write_str("continuing as new"),
            Self::Complete(Outcome::Completed(_)) => f.write_str("the end with a result"),
            Self::Complete(Outcome::Failed(_)) => f.write_str("the end with a failure"),
        }
    }
}

/// An activity that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActivityCall {
    /// Its number.
    pub task: TaskId,
    /// Its name.
    pub name: String,
    /// The version that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its input.
    #[serde(default, skip_serializing_if = "Payload::is_none")]
    pub input: Payload,
    /// How long it may take each time it is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How often it must send a heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Span>,
    /// Tags, for whoever routes it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

/// A child that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildCall {
    /// Its number.
    pub task: TaskId,
    /// Its id.
    pub instance: InstanceId,
    /// The name of the orchestration.
    pub name: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its input.
    #[serde(default, skip_serializing_if = "Payload::is_none")]
    pub input: Payload,
    /// Its tags; without any it has its parent's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

/// A job that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobCall {
    /// Its number.
    pub task: TaskId,
    /// The id that the job gets.
    pub job: JobId,
    /// What to run; its secrets are taken out.
    pub spec: Arc<Spec>,
    /// Its secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Sealed>,
}

/// What is done to an instance from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// It waits for its time to start.
    Scheduled {
        /// When.
        start_at: Timestamp,
    },
    /// It pauses: what arrives is kept for later.
    Suspended {
        /// Why.
        reason: Option<String>,
    },
    /// It goes on.
    Resumed {
        /// Why.
        reason: Option<String>,
    },
    /// It is to end, and all that it started with it.
    Terminating {
        /// Why.
        reason: Option<String>,
    },
    /// It ended so.
    Terminated,
    /// Its code cannot go on for now.
    Blocked {
        /// Why.
        reason: String,
    },
    /// It failed and goes on from before the failure.
    Rewound(Rewind),
    /// Somebody wants it to be tried again.
    Released,
    /// Its code panicked; it is replayed.
    CodePanicked {
        /// The panic's text.
        message: String,
    },
    /// It failed for a reason that is not the code's.
    Failed(Failure),
    /// Activities are started again, because the process ended while they may have run.
    ActivitiesRestarted {
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// An activity is not started any more: the process ended each time.
    ActivityParked {
        /// Which.
        task: TaskId,
    },
}

/// How a history is to be read after a rewind: turns from `from_turn` on, as they were before it, did not happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rewind {
    /// Why.
    pub reason: Option<String>,
    /// The first turn that is void.
    pub from_turn: u32,
    /// The tasks whose failures are forgotten, so that they are tried again.
    pub reopened: Vec<TaskId>,
    /// The arrivals that turns before `from_turn` saw.
    pub upto: u64,
    /// The greatest number that a task ever had: none is used again, so that what is left of a task that did not
    /// happen is not taken for another one.
    pub tasks: TaskId,
}
