//! A job as the public contract shows it. Shapes only; they are filled from the state in `state.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::cause::Cause;
use super::spec::Spec;
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::usage::UsageView;

/// The states of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waiting for its time or for a slot.
    Queued,
    /// Its attempt is being created and started.
    Starting,
    /// Its attempt runs.
    Running,
    /// Its attempt ended; the next one waits for the backoff.
    BackingOff,
    /// Its attempt was told to stop.
    Stopping,
    /// Stopped and kept by the user.
    Suspended,
    /// Over, well.
    Succeeded,
    /// Over, not well.
    Failed,
    /// Over, by the user's wish.
    Cancelled,
}

impl JobState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Starting,
        Self::Running,
        Self::BackingOff,
        Self::Stopping,
        Self::Suspended,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether nothing more happens by itself.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::BackingOff => "backing_off",
            Self::Stopping => "stopping",
            Self::Suspended => "suspended",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: JobId,
    /// The name from its spec.
    pub name: Option<String>,
    /// Its state.
    pub state: JobState,
    /// Why it ended, or why its last attempt did.
    pub cause: Option<Cause>,
    /// One sentence for people: what happened and what to do.
    pub message: Option<String>,
    /// The number of the newest attempt; 0 before the first.
    pub attempt: u32,
    /// The attempts, oldest first; of very long lives the newest ones.
    pub attempts: Vec<AttemptView>,
    /// What the attempt last said of its progress.
    #[schema(value_type = Option<Object>)]
    pub progress: Option<Value>,
    /// The data of its completed or failed callback.
    #[schema(value_type = Option<Object>)]
    pub output: Option<Value>,
    /// The labels from its spec.
    pub labels: BTreeMap<String, String>,
    /// When it was submitted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its first attempt started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// What its ended attempts used, also those that are not shown.
    #[serde(default)]
    pub usage: UsageView,
    /// When something is next due by itself: the start, the next attempt, a timeout, the purge.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// The spec; secrets are `null`.
    #[schema(value_type = Spec)]
    pub spec: Arc<Spec>,
    /// Where to go from here, relative to the API's root; the API adds them.
    pub links: BTreeMap<String, String>,
}

/// One attempt of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// Its number, from 1.
    pub number: u32,
    /// The runtime's own name of it: a container id, a process id.
    pub runtime_id: Option<String>,
    /// Its state.
    pub state: AttemptState,
    /// Its exit code; 128 + n when signal n ended it.
    pub exit_code: Option<i32>,
    /// Why it ended.
    pub cause: Option<Cause>,
    /// One sentence for people.
    pub message: Option<String>,
    /// When it started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// What it used; `null` until it has ended, and where it never ran.
    pub usage: Option<UsageView>,
}

/// The states of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// Being created and started.
    Starting,
    /// Running.
    Running,
    /// Told to stop.
    Stopping,
    /// Over.
    Exited,
}

/// One event of a job's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// Its number within the job, from 1 without a gap.
    pub seq: u64,
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What happened, past tense in snake_case: `submitted`, `attempt_exited`, `callback_received` …
    #[serde(rename = "type")]
    pub kind: String,
    /// The job's state after it.
    pub state: JobState,
    /// The attempt it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attempt: Option<u32>,
    /// One sentence for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
    /// Structured details.
    #[serde(skip_serializing_if = "Value::is_null", default)]
    #[schema(value_type = Option<Object>)]
    pub data: Value,
}

/// One event in the stream over all jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its number over all jobs; give it as `Last-Event-ID` to go on behind it. Rises, with gaps.
    pub id: u64,
    /// The job.
    #[schema(value_type = String)]
    pub job: JobId,
    /// The job's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub entry: HistoryEntry,
}
