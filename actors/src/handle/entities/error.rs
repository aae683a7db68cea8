//! What may be answered instead of what was asked about entities. Knows nothing of HTTP.

use crate::durable::shell;
use crate::entity::EntityId;
use crate::entity::event::Rejected;
use crate::handle::{self, FieldError};
use crate::store;

/// What may be answered instead of what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such entity (any more).
    #[error("there is no entity `{0}`; signal it to make one")]
    NotFound(EntityId),
    /// There is no such task hub.
    #[error("there is no task hub `{0}`; create it, or use the default one")]
    NoHub(String),
    /// The request cannot be accepted.
    #[error("the request is not valid: {}", .0.first().map_or("", |field| field.message.as_str()))]
    Invalid(Vec<FieldError>),
    /// Something waits or runs, or somebody holds it.
    #[error("the entity `{0}` is in use; try again when nothing waits and nobody holds it")]
    InUse(EntityId),
    /// It is not quarantined.
    #[error("the entity `{0}` is not quarantined; there is nothing to release")]
    NotQuarantined(EntityId),
    /// The cursor is none of ours.
    #[error("the cursor is not valid; give one that a page named, or an entity's id")]
    BadCursor,
    /// The entity's supervisor panics whenever it is started.
    #[error(
        "the entity `{0}` is parked after repeated internal faults: {1}; release or purge it, and report this"
    )]
    Parked(EntityId, String),
    /// What may be answered to any request.
    #[error(transparent)]
    Other(#[from] handle::Error),
}

/// The result of a request about entities.
pub type Result<T> = std::result::Result<T, Error>;

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Other(handle::Error::Store(error))
    }
}

impl Error {
    pub(super) fn of(id: EntityId, error: shell::Error<Rejected>) -> Self {
        match error {
            shell::Error::Missing => Self::NotFound(id),
            shell::Error::Rejected(Rejected::InUse) => Self::InUse(id),
            shell::Error::Rejected(Rejected::NotQuarantined) => Self::NotQuarantined(id),
            shell::Error::Parked(cause) => Self::Parked(id, cause),
            shell::Error::Store(error) => Self::Other(handle::Error::of_store(error)),
            shell::Error::Overloaded => {
                Self::Other(handle::Error::overloaded("too many requests are waiting"))
            }
            shell::Error::Claimed(_) | shell::Error::Lost => Self::Other(handle::Error::Interrupted),
        }
    }
}
