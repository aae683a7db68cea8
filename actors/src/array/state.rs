//! The data of an array: what it was given, its state, events.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bits::Bits;
use super::id::ArrayId;
use super::spec::Spec;
use crate::clock::Timestamp;
pub use crate::durable::Said as Record;
use crate::job;
use crate::job::parent::ScheduleParent;
use crate::job::view::JobState;
use crate::orchestration::tasks::TaskSet;
use crate::secret::Sealed;

/// What an array was given when it was submitted. It never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// What a child is; holds no secrets.
    pub spec: Arc<job::spec::Spec>,
    /// How many there are, and what it takes.
    pub array: Spec,
    /// The secrets of its children, encrypted, sealed for the array.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vault: Option<Sealed>,
    /// The digest of the idempotency key it was submitted with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub claim: Option<String>,
    /// The fire of the schedule that submitted it and is told its end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fire: Option<ScheduleParent>,
}

/// An array.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Array {
    /// Which.
    pub id: ArrayId,
    /// How many entries its history has had.
    pub revision: u64,
    /// What it was given: stored in a row of its own.
    #[serde(skip)]
    pub given: Option<Arc<Given>>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// Where it stands.
    pub phase: Phase,
    /// The first index that was never started.
    #[serde(default)]
    pub next: u32,
    /// Children that are under way.
    #[serde(skip_serializing_if = "TaskSet::is_empty", default)]
    pub active: TaskSet,
    /// Children that succeeded.
    #[serde(default)]
    pub succeeded: u32,
    /// Children that failed.
    #[serde(skip_serializing_if = "Bits::is_empty", default)]
    pub failed: Bits,
    /// Children that were cancelled.
    #[serde(skip_serializing_if = "Bits::is_empty", default)]
    pub cancelled: Bits,
    /// Children that are to run again.
    #[serde(skip_serializing_if = "Bits::is_empty", default)]
    pub again: Bits,
}

/// Where an array stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Children are started as there is room.
    Running,
    /// No more are started, and those under way are suspended.
    Suspended,
    /// Those under way are being cancelled.
    Stopping {
        /// What it then is.
        outcome: Outcome,
    },
    /// Nothing is under way any more.
    Finished {
        /// What it came to.
        outcome: Outcome,
        /// When.
        at: Timestamp,
    },
}

/// What an array came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As many succeeded as have to.
    Succeeded,
    /// They did not, or cannot any more.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// Its actor kept panicking.
    Quarantined,
}

/// What can happen to an array.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody submitted it.
    Submitted(Box<Given>),
    /// A child is over.
    ChildEnded {
        /// Which.
        index: u32,
        /// `succeeded`, `failed` or `cancelled`.
        state: JobState,
    },
    /// Somebody wants it to stop for good.
    CancelRequested,
    /// Somebody wants it to pause.
    SuspendRequested,
    /// Somebody wants it to go on.
    ResumeRequested,
    /// Somebody wants every child that did not succeed to run (again).
    RetryRequested,
    /// Somebody wants it to be deleted.
    PurgeRequested,
    /// A deadline passed, or a tick came early.
    Ticked,
    /// Its actor kept panicking.
    Quarantined {
        /// The last panic's text.
        reason: String,
    },
}

/// What an array asks of the world: nothing but messages to its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {}

/// Why an event is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// There is one with this id.
    #[error("there is an array with this id")]
    Exists,
    /// Its state does not allow it.
    #[error("the array is {state}: {message}")]
    Conflict {
        /// Its state.
        state: &'static str,
        /// Why not, and what to do.
        message: &'static str,
    },
}

impl Array {
    /// What it was given.
    ///
    /// # Panics
    ///
    /// Never: the shell puts back what the snapshot does not hold before anything else is done with it.
    pub fn given(&self) -> &Arc<Given> {
        self.given.as_ref().expect("an array is read together with what it was given")
    }

    /// Children that are over.
    pub fn finished(&self) -> u32 {
        self.succeeded + self.failed.len() + self.cancelled.len()
    }
}
