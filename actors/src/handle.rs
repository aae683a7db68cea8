//! What one may ask of a running supervisor: the whole API without HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::id::{AttemptKey, JobId};
use crate::job::spec::Spec;
use crate::job::view::{EventView, HistoryEntry, JobState, JobView};
use crate::runtime::{LogLine, LogStream};
use crate::store;

/// A field of a submission that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901) such as `/backoff/factor`; empty for the whole document.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// What a supervisor may answer instead of what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such job (any more).
    #[error("there is no job {0}; it may have been purged")]
    NotFound(JobId),
    /// There is no such attempt of this job.
    #[error("job {} has no attempt {}", .0.job, .0.number)]
    NoAttempt(AttemptKey),
    /// The spec cannot be accepted.
    #[error("the job spec is not valid: {}", .0.first().map_or("", |field| field.message.as_str()))]
    InvalidSpec(Vec<FieldError>),
    /// The idempotency key was used before, with another body.
    #[error("this idempotency key was used for another submission (job {0}); use a new key for a new job")]
    IdempotencyMismatch(JobId),
    /// The job's state does not allow the command.
    #[error("{message}")]
    Conflict {
        /// The job's state.
        state: JobState,
        /// What was asked, why not, and what to do instead.
        message: String,
    },
    /// The token is not that of the attempt.
    #[error("the callback token is not valid for this attempt")]
    BadToken,
    /// A callback of an attempt that is over.
    #[error("attempt {attempt} is over; the job is at attempt {current}")]
    StaleAttempt {
        /// The attempt that called.
        attempt: u32,
        /// The newest attempt.
        current: u32,
    },
    /// Too much is going on; nothing was done.
    #[error("{message}")]
    Overloaded {
        /// What is full.
        message: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The answer was lost in a fault; the request may or may not have been done. Safe to repeat.
    #[error("the request was interrupted by an internal fault and may or may not have been done; repeat it")]
    Interrupted,
    /// The store refused.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The supervisor shuts down.
    #[error("dogwatch is shutting down; try again when it is back")]
    ShuttingDown,
}

/// The result of a request to a supervisor.
pub type Result<T> = std::result::Result<T, Error>;

/// A job to be submitted.
#[derive(Debug, Clone)]
pub struct Submission {
    /// What to run.
    pub spec: Spec,
    /// The client's key for this submission (at most 255 characters), and the JSON it sent, which decides
    /// whether a repetition is the same.
    pub idempotency: Option<(String, Value)>,
}

impl From<Spec> for Submission {
    fn from(spec: Spec) -> Self {
        Self { spec, idempotency: None }
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
    #[schema(value_type = Option<Object>)]
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

/// A supervisor. Cheap to clone; every clone is the same supervisor.
#[derive(Debug, Clone)]
pub struct Handle {}

impl Handle {
    /// Validates, commits and queues a job. Resolves when it is durable; goes on when the caller goes away.
    pub async fn submit(&self, submission: impl Into<Submission>) -> Result<Submitted> {
        let _ = submission.into();
        Err(Error::ShuttingDown)
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Result<JobView> {
        Err(Error::NotFound(id))
    }

    /// The job when it is over, or as it is after `patience`.
    pub async fn wait(&self, id: JobId, patience: Duration) -> Result<JobView> {
        let _ = patience;
        Err(Error::NotFound(id))
    }

    /// A page of jobs.
    pub fn list(&self, filter: &Filter) -> Result<Page> {
        let _ = filter;
        Err(Error::ShuttingDown)
    }

    /// Commits a command to a job. Resolves when it is durable; goes on when the caller goes away.
    pub async fn command(&self, id: JobId, command: Command) -> Result<JobView> {
        let _ = command;
        Err(Error::NotFound(id))
    }

    /// The entries of a job's history with a number greater than `after`, at most `limit`.
    pub fn history(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<HistoryEntry>> {
        let _ = (after, limit);
        Err(Error::NotFound(id))
    }

    /// The log of a job.
    pub fn logs(&self, id: JobId, query: LogQuery) -> Result<BoxStream<'static, Result<LogLine>>> {
        let _ = query;
        Err(Error::NotFound(id))
    }

    /// Raises an event to a job from outside: recorded in its history. `completed`, `failed` and `progress`
    /// mean what they mean in a callback of its newest attempt.
    pub async fn raise(&self, id: JobId, event: Callback) -> Result<CallbackReceipt> {
        let _ = event;
        Err(Error::NotFound(id))
    }

    /// Applies a callback of an attempt. Resolves when it is durable.
    pub async fn callback(
        &self,
        key: AttemptKey,
        token: &str,
        callback: Callback,
    ) -> Result<CallbackReceipt> {
        let _ = (key, token, callback);
        Err(Error::BadToken)
    }

    /// All events after number `after` (`None`: only new ones), for ever.
    pub fn events(&self, after: Option<u64>) -> BoxStream<'static, Result<EventView>> {
        let _ = after;
        Box::pin(futures_util::stream::empty())
    }

    /// Deletes a job that is over, with all that was kept of it.
    pub async fn purge(&self, id: JobId) -> Result<()> {
        Err(Error::NotFound(id))
    }

    /// Why the supervisor is not ready to take work; empty when it is.
    pub fn unready(&self) -> Vec<String> {
        Vec::new()
    }

    /// Prometheus text format 0.0.4.
    pub fn metrics(&self) -> String {
        String::new()
    }

    /// Stops taking work, waits for what is being committed, leaves every attempt running.
    pub async fn shutdown(&self) {}
}
