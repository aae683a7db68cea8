//! What an instance has to do with entities: what its code asks of them, and the locks that it has. Data only.

use serde::{Deserialize, Serialize};

use super::history::Trace;
use super::id::TaskId;
use super::payload::Payload;
use crate::entity::{EntityId, Signal};

/// A message to an entity that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityCall {
    /// Its number.
    pub task: TaskId,
    /// To which entity. A lock request goes to the first one of its set, whatever stands here.
    pub entity: EntityId,
    /// What it says.
    pub request: EntityRequest,
}

/// What is asked of an entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityRequest {
    /// To do something; nothing is waited for.
    Signal(Signal),
    /// To do something, and to answer.
    Call {
        /// What the answer is told with.
        request_id: String,
        /// The name of the operation.
        operation: String,
        /// Its input.
        #[serde(default, skip_serializing_if = "Payload::is_none")]
        input: Payload,
        /// The trace that it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<Trace>,
    },
    /// To be there for this instance only, as all of a set are.
    Lock {
        /// The critical section: what tells one lock from another.
        section: String,
        /// The set, as the code gave it.
        set: Vec<EntityId>,
    },
    /// To be there for everybody again.
    Unlock {
        /// The critical section.
        section: String,
    },
}

impl EntityCall {
    /// Whether the code waits for something to come of it.
    pub fn is_awaited(&self) -> bool {
        matches!(self.request, EntityRequest::Call { .. } | EntityRequest::Lock { .. })
    }
}

impl std::fmt::Display for EntityCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { task, entity, request } = self;
        match request {
            EntityRequest::Signal(signal) => {
                write!(f, "the signal `{}` to {entity} as task {task}", signal.operation)
            }
            EntityRequest::Call { operation, .. } => {
                write!(f, "the call of `{operation}` of {entity} as task {task}")
            }
            EntityRequest::Lock { set, .. } => {
                write!(f, "the lock of {}", set.first().unwrap_or(entity))?;
                if set.len() > 1 {
                    write!(f, " and {} more", set.len() - 1)?;
                }
                write!(f, " as task {task}")
            }
            EntityRequest::Unlock { .. } => write!(f, "the unlock of {entity} as task {task}"),
        }
    }
}

/// A critical section: a set of entities that an instance has for itself, or wants to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// The task that waits for it.
    pub task: TaskId,
    /// The entities that are not unlocked, in the order in which they are locked.
    pub set: Vec<EntityId>,
    /// Whether it has all of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_held: bool,
    /// How often the execution had been rewound when it asked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rewinds: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
