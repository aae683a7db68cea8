//! Why a running server ends by itself, so that whoever manages it starts another one.
//!
//! Not responsible for what is merely troubled and passes: an engine that is away, a disk that is full.

use dogwatch_actors::handle::Handle;
use dogwatch_actors::store;
use dogwatch_actors::supervise::GaveUp;

/// Why a running server ends by itself.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fatal {
    /// A write or a sync of the store failed: nobody knows what the disk holds, so nothing is tried again and
    /// nothing was acknowledged since.
    #[error(
        "{0}; look at the disk, then start dogwatch again: it checks what is there, and the jobs go on meanwhile"
    )]
    Store(store::Error),
    /// A part that everything needs panicked too often: requests would be accepted that nobody does.
    #[error("{0}")]
    Supervision(GaveUp),
}

impl Fatal {
    /// Resolves when it has come to that.
    pub(super) async fn of(handle: &Handle) -> Self {
        tokio::select! {
            error = handle.store_failed() => Self::Store(error),
            gave_up = handle.failed() => Self::Supervision(gave_up),
        }
    }
}
