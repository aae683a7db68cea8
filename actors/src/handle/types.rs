//! The shapes of questions and answers.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::id::JobId;
use crate::job::spec::Spec;
use crate::job::view::{JobState, JobView};
use crate::runtime::LogStream;

/// A job to be submitted.
#[derive(Clone)]
pub struct Submission {
    /// What to run.
    pub spec: Spec,
    /// The client's key for this submission (at most 255 characters), and the JSON it sent, which decides
    /// whether a repetition is the same.
    pub idempotency: Option<(String, Value)>,
}

impl fmt::Debug for Submission {
    /// Without the JSON: the client's own text holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.idempotency.as_ref().map(|(key, _)| key);
        f.debug_struct("Submission").field("spec", &self.spec).field("idempotency_key", &key).finish()
    }
}

/// The answer to a submission.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The job.
    pub job: JobView,
    /// Whether it was submitted before with the same key.
    pub replayed: bool,
}

/// What may be asked of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Stop it for good; it ends `cancelled`.
    Cancel,
    /// Stop its attempt and keep the job.
    Suspend,
    /// Let a suspended job go on.
    Resume,
    /// Stop its attempt and start a new one now; not counted.
    Restart,
    /// Run a failed or cancelled job again, with fresh attempts.
    Retry,
}

/// Which jobs to list. All given conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In one of these states; empty means any.
    pub states: Vec<JobState>,
    /// With these labels.
    pub labels: BTreeMap<String, String>,
    /// With this name.
    pub name: Option<String>,
    /// At most so many (1 to [`crate::limits::LIST_PAGE_MAX`]).
    pub limit: usize,
    /// Only those that were submitted at this time or later, to the millisecond.
    pub created_after: Option<Timestamp>,
    /// Only those that were submitted before this time.
    pub created_before: Option<Timestamp>,
    /// Only those older than this one: the last of the page before.
    pub before: Option<JobId>,
}

/// A page of jobs, newest first.
#[derive(Debug, Clone)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// Give it as [`Filter::before`] for the next page; `None` on the last.
    pub next: Option<JobId>,
}

/// Which log lines to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogQuery {
    /// Of this attempt; default: the newest.
    pub attempt: Option<u32>,
    /// Of this stream; default: both.
    pub stream: Option<LogStream>,
    /// Only the last so many lines.
    pub tail: Option<usize>,
    /// Go on with new lines until the attempt (with `attempt`) or the job (without) is over.
    pub follow: bool,
}

/// What an attempt calls back, and what is raised from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// `completed`, `failed`, `progress` or any other name.
    pub event: String,
    /// The caller's own id of this event, at most 255 characters: what makes a repetition one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The event's payload.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Option<Value>)]
    pub data: Value,
}

/// The answer to a callback that was applied, now or earlier.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CallbackReceipt {
    /// The job's state when it was asked.
    pub state: JobState,
    /// Whether it had been applied before.
    pub duplicate: bool,
}
