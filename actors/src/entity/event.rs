//! What can happen to an entity, what it asks of the world, and what is kept of what waits. Data only.

use serde::{Deserialize, Serialize};

use super::id::EntityId;
use crate::clock::Timestamp;
use crate::orchestration::event::Start;
use crate::orchestration::history::{Outcome, Trace};
use crate::orchestration::id::{InstanceId, TaskId};
use crate::orchestration::payload::Payload;

/// What can happen to an entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It is to do something.
    OperationRequested(Box<Operation>),
    /// An orchestration wants it for itself.
    LockRequested(Box<LockRequest>),
    /// An orchestration does not need it for itself any more.
    Unlocked(Box<Unlock>),
    /// Its code has run a batch of operations.
    BatchEnded(Box<BatchEnd>),
    /// A lock request is what comes next.
    LockReached {
        /// The number of the batch that was to be run.
        number: u64,
        /// The history entry of the request.
        entry: u64,
        /// The request.
        request: Box<LockRequest>,
    },
    /// An unlock is what comes next.
    UnlockReached {
        /// The number of the batch that was to be run.
        number: u64,
        /// The history entry of the unlock.
        entry: u64,
        /// The unlock.
        unlock: Box<Unlock>,
    },
    /// It is known what of the lock's owner had come before the owner had the lock.
    OwnFound {
        /// The number of the batch that was to be run.
        number: u64,
        /// The history entries.
        entries: Vec<u64>,
    },
    /// Whoever holds it is gone, or over, and will not unlock it like this.
    OwnerGone(Box<Unlock>),
    /// Somebody wants it to be deleted.
    PurgeRequested {
        /// Under which condition.
        condition: PurgeCondition,
    },
    /// Somebody wants it to go on after its actor kept panicking.
    ReleaseRequested,
    /// A deadline passed.
    Ticked,
    /// Its actor kept panicking.
    Quarantined {
        /// The last panic's text.
        reason: String,
    },
}

/// When an entity may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PurgeCondition {
    /// When there is nothing to it.
    Empty,
    /// When nothing waits but for its time, and nobody holds it; or when its actor cannot be trusted.
    Idle,
    /// In any case: what waits goes with it, and calls among that are never answered.
    Always,
}

/// An execution of an orchestration, and of no other one that ever has the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The instance.
    pub instance: InstanceId,
    /// When it was created: once it is purged its executions are counted anew.
    pub created_at: Timestamp,
    /// Its execution.
    pub execution: u32,
}

/// A signal: nobody waits for what comes of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// What makes a repetition one. Without one it gets one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The name of the operation.
    pub operation: String,
    /// Its input.
    #[serde(default, skip_serializing_if = "Payload::is_none")]
    pub input: Payload,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

impl Signal {
    /// A signal of this operation.
    pub fn new(operation: impl Into<String>, input: impl Into<Payload>) -> Self {
        Self { operation: operation.into(), input: input.into(), ..Self::default() }
    }

    /// The operation that it asks for; `spare` is its request id where it has none.
    pub fn requested(self, sender: Option<Caller>, spare: impl FnOnce() -> String) -> Operation {
        Operation {
            request_id: self.request_id.unwrap_or_else(spare),
            operation: self.operation,
            input: self.input,
            asker: Asker::Signal { sender, at: self.at },
            trace: self.trace,
        }
    }
}

/// Something that an entity is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// What its answer is told with.
    pub request_id: String,
    /// Its name.
    pub operation: String,
    /// Its input.
    #[serde(default, skip_serializing_if = "Payload::is_none")]
    pub input: Payload,
    /// Who asks for it, and how.
    pub asker: Asker,
    /// The trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

/// Who asks for an operation, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asker {
    /// Nobody waits for an answer.
    Signal {
        /// The orchestration that sent it, where one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sender: Option<Caller>,
        /// Not before this time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// An orchestration waits for the answer.
    Call {
        /// Which.
        caller: Caller,
        /// As which of its tasks.
        task: TaskId,
    },
}

impl Operation {
    /// The orchestration that asks for it, where one does.
    pub fn sender(&self) -> Option<Caller> {
        match &self.asker {
            Asker::Signal { sender, .. } => *sender,
            Asker::Call { caller, .. } => Some(*caller),
        }
    }

    /// Whether somebody waits for the answer.
    pub fn is_call(&self) -> bool {
        matches!(self.asker, Asker::Call { .. })
    }

    /// Before when it is not run.
    pub fn at(&self) -> Option<Timestamp> {
        match &self.asker {
            Asker::Signal { at, .. } => *at,
            Asker::Call { .. } => None,
        }
    }
}

/// The wish of an orchestration to have a set of entities for itself. It goes from one of them to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LockRequest {
    /// The critical section: what tells one lock from another.
    pub section: String,
    /// The set, sorted, each once.
    pub set: Vec<EntityId>,
    /// The place of this entity in it.
    pub position: usize,
    /// Whose lock it is.
    pub owner: Caller,
    /// As which of its tasks it asked: an answer to another one is none.
    pub task: TaskId,
    /// How often the owner's execution had been rewound: an answer to what it asked before that is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rewinds: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The end of a lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unlock {
    /// The critical section.
    pub section: String,
    /// Whose lock it is.
    pub owner: Caller,
    /// It goes the way that the request went, from one entity to the next: so it comes to each behind the request,
    /// however far that got.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follows: bool,
}

/// What came of a batch of operations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchEnd {
    /// The number of the batch.
    pub number: u64,
    /// The operations that were run.
    pub done: Vec<Done>,
    /// The state that they left.
    pub state: StateAfter,
    /// Signals that they sent to entities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<(EntityId, Signal)>,
    /// Orchestrations that they started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<(InstanceId, Start)>,
}

/// An operation that was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The history entry of the operation.
    pub entry: u64,
    /// What is told to whoever waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Who waits for it.
    pub caller: Caller,
    /// As which task.
    pub task: TaskId,
    /// With which request id.
    pub request_id: String,
    /// The result.
    pub outcome: Outcome,
}

/// The state that a batch left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateAfter {
    /// The one that it found.
    Unchanged,
    /// This one.
    Is(Payload),
    /// None: the entity is deleted.
    Deleted,
}

/// What an entity asks of the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Run the operations that come next.
    RunBatch {
        /// The number of the batch.
        number: u64,
    },
    /// What is in memory of its batch is of no more use.
    Forget,
}

/// One entry of an entity's history: what waits, and the state. Entries that are neither any more are gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// An operation.
    Operation(Box<Operation>),
    /// A lock request.
    LockRequested(Box<LockRequest>),
    /// An unlock.
    Unlocked(Box<Unlock>),
    /// The state.
    State(Payload),
}

/// Why an event cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Something waits, runs or holds it.
    #[error("the entity is in use; try again when nothing waits and nobody holds it")]
    InUse,
    /// Nothing is to be released.
    #[error("the entity is not quarantined; there is nothing to release")]
    NotQuarantined,
}
