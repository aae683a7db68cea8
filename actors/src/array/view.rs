//! An array as the public contract shows it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::ArrayId;
use super::spec::Spec;
use super::state::{Array, Outcome, Phase};
use crate::clock::Timestamp;
use crate::job;
use crate::job::view::JobState;

/// How many ranges of indexes are shown of those that did not succeed.
const RANGES_SHOWN: usize = 32;

/// The states of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArrayState {
    /// Children are started as there is room.
    Running,
    /// No more are started, and those under way are suspended.
    Suspended,
    /// Those under way are being cancelled.
    Stopping,
    /// As many succeeded as have to.
    Succeeded,
    /// They did not, or could not any more.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl ArrayState {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state that a job would have.
    pub(crate) const fn as_job(self) -> JobState {
        match self {
            Self::Running => JobState::Running,
            Self::Suspended => JobState::Suspended,
            Self::Stopping => JobState::Stopping,
            Self::Succeeded => JobState::Succeeded,
            Self::Failed => JobState::Failed,
            Self::Cancelled => JobState::Cancelled,
        }
    }

    /// Nothing more happens by itself.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// One array.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArrayView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ArrayId,
    /// Its name.
    pub name: Option<String>,
    /// Its state.
    pub state: ArrayState,
    /// What it does, or how it ended, in a sentence.
    pub message: String,
    /// How many children, how many at once, and what it takes.
    pub array: Spec,
    /// How far it is.
    pub progress: ArrayProgress,
    /// Its children by state.
    pub counts: ArrayCounts,
    /// The indexes of children that failed, as ranges such as `0-3,7`.
    pub failed: String,
    /// The spec of its children; secrets are `null`.
    #[schema(value_type = job::spec::Spec)]
    pub spec: Arc<job::spec::Spec>,
    /// When it was submitted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// Where to go from here, relative to the API's root; the API adds them.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
}

/// How far an array is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArrayProgress {
    /// Children that are over.
    pub finished: u32,
    /// All of them.
    pub total: u32,
}

/// The children of an array by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArrayCounts {
    /// Not started yet, or to run again.
    pub pending: u32,
    /// Under way, in whatever state they are.
    pub active: u32,
    /// Succeeded.
    pub succeeded: u32,
    /// Failed.
    pub failed: u32,
    /// Cancelled.
    pub cancelled: u32,
}

impl Array {
    /// Its state in the words of the contract.
    pub fn state(&self) -> ArrayState {
        match &self.phase {
            Phase::Running => ArrayState::Running,
            Phase::Suspended => ArrayState::Suspended,
            Phase::Stopping { .. } => ArrayState::Stopping,
            Phase::Finished { outcome, .. } => match outcome {
                Outcome::Succeeded => ArrayState::Succeeded,
                Outcome::Failed | Outcome::Quarantined => ArrayState::Failed,
                Outcome::Cancelled => ArrayState::Cancelled,
            },
        }
    }

    /// The array in the shape of the public contract.
    pub fn view(&self) -> ArrayView {
        let given = self.given();
        let active = u32::try_from(self.active.len()).unwrap_or(u32::MAX);
        let counts = ArrayCounts {
            pending: given.array.size - self.finished() - active,
            active,
            succeeded: self.succeeded,
            failed: self.failed.len(),
            cancelled: self.cancelled.len(),
        };
        ArrayView {
            id: self.id,
            name: given.spec.name.clone(),
            state: self.state(),
            message: self.sentence(counts),
            array: given.array,
            progress: ArrayProgress { finished: self.finished(), total: given.array.size },
            counts,
            failed: self.failed.ranges(RANGES_SHOWN),
            spec: Arc::clone(&given.spec),
            created_at: self.created_at,
            finished_at: match self.phase {
                Phase::Finished { at, .. } => Some(at),
                _ => None,
            },
            links: BTreeMap::new(),
        }
    }

    fn sentence(&self, counts: ArrayCounts) -> String {
        let (needed, size) = (self.given().array.needed(), self.given().array.size);
        let ArrayCounts { pending, active, succeeded, failed, cancelled } = counts;
        let counted = format!("{succeeded} of {size} succeeded, {failed} failed, {cancelled} cancelled");
        match &self.phase {
            Phase::Finished { outcome: Outcome::Quarantined, .. } => {
                "rests after repeated internal faults; retry it to have it tried".to_owned()
            }
            Phase::Finished { .. } => format!("{counted}; {needed} had to succeed"),
            Phase::Stopping { .. } => format!("{counted}; {active} are being stopped"),
            Phase::Suspended => format!("{counted}; {active} suspended, {pending} waiting for `resume`"),
            Phase::Running => format!("{counted}; {active} under way, {pending} waiting"),
        }
    }
}
