//! What a supervisor may answer instead of what was asked. Knows nothing of HTTP.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::durable::shell;
use crate::id::{AttemptKey, JobId};
use crate::job::Rejected;
use crate::job::view::JobState;
use crate::logs;
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
    /// There is no such webhook target of this job.
    #[error(
        "job {job} has no webhook {target}; its targets are numbered from 0 in the order of `on_complete`"
    )]
    NoWebhook {
        /// The job.
        job: JobId,
        /// What was asked for.
        target: u16,
    },
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
    /// The job received as many events as one may.
    #[error("{0}")]
    TooManyEvents(String),
    /// The job's supervisor panics whenever it is started; nothing can be asked of it.
    #[error(
        "job {0} is parked after repeated internal faults: {1}; retry it to have it started again, and report this"
    )]
    Parked(JobId, String),
    /// The answer was lost in a fault; the request may or may not have been done. Safe to repeat.
    #[error("the request was interrupted by an internal fault and may or may not have been done; repeat it")]
    Interrupted,
    /// The store refused.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A log cannot be read.
    #[error("the log cannot be read: {0}")]
    Log(String),
    /// There is no such artifact of this job.
    #[error("job {job} has no artifact `{name}`; list what it has")]
    NoArtifact {
        /// The job.
        job: JobId,
        /// What was asked for.
        name: String,
    },
    /// The artifact store failed.
    #[error(transparent)]
    Artifacts(#[from] crate::files::store::Error),
    /// The supervisor shuts down.
    #[error("dogwatch is shutting down; try again when it is back")]
    ShuttingDown,
}

/// The result of a request to a supervisor.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What the durable shell's answer means for whoever asked about this job.
    pub(super) fn of_job(id: JobId, error: shell::Error<Rejected>) -> Self {
        match error {
            shell::Error::Missing => Self::NotFound(id),
            shell::Error::Rejected(Rejected::Conflict { state, message }) => {
                Self::Conflict { state, message }
            }
            shell::Error::Rejected(Rejected::Stale { attempt, current }) => {
                Self::StaleAttempt { attempt, current }
            }
            shell::Error::Rejected(Rejected::NoAttempt { attempt }) => {
                Self::NoAttempt(AttemptKey::new(id, attempt))
            }
            shell::Error::Rejected(rejected @ Rejected::TooManyEvents) => {
                Self::TooManyEvents(rejected.to_string())
            }
            shell::Error::Store(error) => Self::of_store(error),
            shell::Error::Overloaded => Self::overloaded("too many requests are waiting"),
            shell::Error::Claimed(_) | shell::Error::Lost => Self::Interrupted,
            shell::Error::Parked(cause) => Self::Parked(id, cause),
        }
    }

    /// What the refusal of a commit means.
    pub(super) fn of_store(error: store::Error) -> Self {
        match error {
            store::Error::Busy => Self::overloaded("too many commits are waiting for the disk"),
            error => Self::Store(error),
        }
    }

    pub(super) fn overloaded(message: impl Into<String>) -> Self {
        Self::Overloaded { message: message.into(), retry_after: RETRY_AFTER }
    }
}

impl From<logs::Error> for Error {
    fn from(error: logs::Error) -> Self {
        Self::Log(error.to_string())
    }
}

/// When to try again after a refusal for want of room: groups of commits take milliseconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);
