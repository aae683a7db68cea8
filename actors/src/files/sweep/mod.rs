//! The removal of what a purged job left in the artifact store: one durable machine per job, for as long as it takes.
//!
//! The message that makes it is in the batch that deletes the job, so that no death in between leaves anything behind.
//!
//! Not responsible for: the removal itself ([`super::ArtifactStore`]) and when a job is purged.
//!
//! Invariant: it is gone only after the store has said that nothing of the job is there any more.

mod machine;
mod performer;

use serde::{Deserialize, Serialize};

pub use self::performer::SweepPerformer;
use crate::clock::Timestamp;
use crate::id::JobId;

/// The removal of one job's artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// Of which job.
    pub id: JobId,
    /// How many events were applied.
    pub revision: u64,
    /// Failed tries.
    pub tries: u32,
    /// When it is tried again: after a failure, or when the answer counts as lost.
    pub until: Timestamp,
    /// It is being removed; otherwise the next try waits.
    pub active: bool,
}

/// What can happen to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The job is deleted. Makes the machine.
    JobPurged,
    /// A deadline passed.
    Ticked,
    /// Nothing is left.
    Swept,
    /// Not all could be removed.
    Failed {
        /// Why.
        reason: String,
    },
    /// Its actor kept panicking.
    Quarantined {
        /// The last panic's text.
        reason: String,
    },
}

/// The one effect: remove everything of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remove;

/// Nothing is ever refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the artifacts of a purged job are removed by themselves; there is nothing to ask")]
pub struct Rejected;
