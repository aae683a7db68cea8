//! Tells that a part which everything needs was given up.
//!
//! A job whose actor keeps panicking is quarantined and the rest goes on. A part without which nothing goes on (the
//! fleet, a shard of actors, the timers) cannot be: its alarm is raised, and whoever runs the service ends it and
//! starts another one, instead of answering requests that nobody will do.
//!
//! Not responsible for: ending anything.

use std::sync::Arc;

use tokio::sync::watch;

/// A part that everything needs panicked too often and is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part} panicked too often and was given up: {cause}; start dogwatch again, and report this")]
pub struct GaveUp {
    /// Which part.
    pub part: &'static str,
    /// The last panic's text.
    pub cause: String,
}

/// The alarm of one part or of several. Cheap to clone; every clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Alarm {
    raised: Arc<watch::Sender<Option<GaveUp>>>,
}

impl Alarm {
    /// Raises it. The first reason stays.
    pub fn raise(&self, part: &'static str, cause: String) {
        let gave_up = GaveUp { part, cause };
        tracing::error!("{gave_up}");
        self.raised.send_if_modified(|raised| {
            let is_first = raised.is_none();
            raised.get_or_insert(gave_up);
            is_first
        });
    }

    /// Why it is raised, if it is.
    pub fn now(&self) -> Option<GaveUp> {
        self.raised.borrow().clone()
    }

    /// Resolves when it is raised.
    pub async fn raised(&self) -> GaveUp {
        let mut raised = self.raised.subscribe();
        loop {
            if let Some(gave_up) = raised.borrow_and_update().clone() {
                return gave_up;
            }
            if raised.changed().await.is_err() {
                // Nobody is left who could raise it.
                std::future::pending::<()>().await;
            }
        }
    }
}
