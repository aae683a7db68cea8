//! A spawned task that ends with its owner, and whose panic is a value.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;

use crate::supervise::panic_text;

/// Owns a task: dropping this cancels it at its next await.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

impl Task {
    /// Spawns `work`; when it panics, `rescue` gets the panic's text.
    pub(super) fn spawn(
        work: impl Future<Output = ()> + Send + 'static,
        rescue: impl FnOnce(String) + Send + 'static,
    ) -> Self {
        Self(tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                rescue(panic_text(&*panic));
            }
        }))
    }

    /// Waits until the task is over.
    pub(super) async fn done(&mut self) {
        // The only error left is that of a task cancelled by the runtime's own end.
        if let Err(error) = (&mut self.0).await {
            tracing::debug!(%error, "a task of the fleet was cancelled");
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
