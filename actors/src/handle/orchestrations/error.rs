//! What may be answered instead of what was asked about orchestrations. Knows nothing of HTTP.

use crate::durable::shell;
use crate::handle::{self, FieldError};
use crate::orchestration::event::Rejected;
use crate::orchestration::executor::Unknown;
use crate::orchestration::id::ParseInstanceIdError;
use crate::orchestration::{Failure, InstanceId, Status};
use crate::store;

/// What may be answered instead of what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such instance (any more).
    #[error("there is no orchestration instance `{0}`; it may have been purged")]
    NotFound(InstanceId),
    /// There is no such task hub.
    #[error("there is no task hub `{0}`; create it, or use the default one")]
    NoHub(String),
    /// No such orchestration is registered.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The request cannot be accepted.
    #[error("the request is not valid: {}", .0.first().map_or("", |field| field.message.as_str()))]
    Invalid(Vec<FieldError>),
    /// There is an instance with this id.
    #[error("there is an instance `{id}` and it is {}; use another id, or name its state in `replaces`", .status.name())]
    Exists {
        /// Which.
        id: InstanceId,
        /// Where it stands.
        status: Status,
    },
    /// The instance's state does not allow it.
    #[error("the instance `{id}` is {}: {message}", .status.name())]
    Conflict {
        /// Which.
        id: InstanceId,
        /// Where it stands.
        status: Status,
        /// Why not, and what to do.
        message: &'static str,
    },
    /// Too many events wait for an instance that does not exist.
    #[error("{}", Rejected::TooManyEvents)]
    TooManyEvents(InstanceId),
    /// The cursor is none of ours.
    #[error("the cursor is not valid; give one that a page named")]
    BadCursor,
    /// The instance's supervisor panics whenever it is started.
    #[error(
        "the instance `{0}` is parked after repeated internal faults: {1}; release it to have it started again, and report this"
    )]
    Parked(InstanceId, String),
    /// What may be answered to any request.
    #[error(transparent)]
    Other(#[from] handle::Error),
}

/// The result of a request about orchestrations.
pub type Result<T> = std::result::Result<T, Error>;

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Other(handle::Error::Store(error))
    }
}

impl Error {
    pub(super) fn of(id: InstanceId, error: shell::Error<Rejected>) -> Self {
        match error {
            shell::Error::Missing | shell::Error::Rejected(Rejected::NotStarted) => Self::NotFound(id),
            shell::Error::Rejected(Rejected::Exists(status)) => Self::Exists { id, status },
            shell::Error::Rejected(Rejected::Conflict { status, message }) => {
                Self::Conflict { id, status, message }
            }
            shell::Error::Rejected(Rejected::TooManyEvents) => Self::TooManyEvents(id),
            shell::Error::Parked(cause) => Self::Parked(id, cause),
            shell::Error::Store(error) => Self::Other(handle::Error::of_store(error)),
            shell::Error::Overloaded => {
                Self::Other(handle::Error::overloaded("too many requests are waiting"))
            }
            shell::Error::Claimed(_) | shell::Error::Lost => Self::Other(handle::Error::Interrupted),
        }
    }

    pub(super) fn of_id(error: &ParseInstanceIdError) -> Self {
        Self::Invalid(vec![FieldError { pointer: "/id".to_owned(), message: error.to_string() }])
    }

    pub(super) fn payload(pointer: &str, failure: &Failure) -> Self {
        let message = failure.message.clone();
        Self::Invalid(vec![FieldError { pointer: pointer.to_owned(), message }])
    }
}
