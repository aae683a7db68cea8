//! How a server is stopped: what may be told it, and who hears of it.

use tokio::sync::watch;

/// How far it is with stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It serves.
    Serving,
    /// It takes no more connections, and those that are open end with what is being asked.
    Draining,
    /// What is open is closed.
    Closing,
}

/// Stops a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerHandle(watch::Sender<Stage>);

/// What the parts of the server look at.
#[derive(Debug, Clone)]
pub(super) struct Stopping(watch::Receiver<Stage>);

/// Both ends.
pub(super) fn pair() -> (ServerHandle, Stopping) {
    let (sender, receiver) = watch::channel(Stage::Serving);
    (ServerHandle(sender), Stopping(receiver))
}

impl ServerHandle {
    /// Stops it: takes no more connections and lets what is being asked be answered, for
    /// [`SHUTDOWN_TIMEOUT`](crate::limits::SHUTDOWN_TIMEOUT) at most; or, without `graceful`, closes what is open.
    /// Resolves when it has ended.
    pub async fn stop(&self, graceful: bool) {
        let wanted = if graceful { Stage::Draining } else { Stage::Closing };
        self.0.send_if_modified(|stage| {
            let goes_further = *stage < wanted;
            *stage = wanted.max(*stage);
            goes_further
        });
        // Every part of the server holds a receiver as long as it is there.
        self.0.closed().await;
    }
}

impl Stopping {
    /// Resolves when it is as far, or when nobody is left who could tell it to stop.
    pub(super) async fn reached(&mut self, stage: Stage) {
        // That nobody is left means the same.
        drop(self.0.wait_for(|now| *now >= stage).await);
    }
}
