//! Why an executor could not do its work for now.

use std::any::Any;

use crate::orchestration::id::InstanceId;
use crate::store;
use crate::supervise::panic_text;

/// Why a driver could not do its work: it is tried again.
pub(super) enum Trouble {
    Store(store::Error),
    /// The machine did not answer.
    Silence,
    /// The driver panicked, and not the code that it drives.
    Panic(String),
    /// Everything ends.
    Over,
}

impl Trouble {
    pub(super) fn of(panic: &(dyn Any + Send)) -> Self {
        Self::Panic(panic_text(panic))
    }

    pub(super) fn tell(&self, id: InstanceId) {
        match self {
            Self::Store(error) => tracing::error!(instance = %id, %error, "the store refuses; trying again"),
            Self::Panic(cause) => {
                tracing::error!(instance = %id, cause, "the executor panicked; trying again: please report this");
            }
            Self::Silence | Self::Over => {}
        }
    }
}

impl From<store::Error> for Trouble {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}
