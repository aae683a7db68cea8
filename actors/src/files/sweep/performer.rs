//! Removes what a sweep is to remove, and reports what came of it.

use std::sync::{Arc, OnceLock};

use super::{Event, Remove, Sweep};
use crate::durable::Perform;
use crate::durable::host::{Host, WeakHost};
use crate::files::ArtifactStore;
use crate::id::JobId;

/// The performer.
#[derive(Debug, Clone)]
pub struct SweepPerformer {
    store: ArtifactStore,
    /// Weak, because the host owns its performer.
    host: Arc<OnceLock<WeakHost<Sweep>>>,
}

impl SweepPerformer {
    /// Removes from here.
    pub fn new(store: ArtifactStore) -> Self {
        Self { store, host: Arc::default() }
    }

    /// Opens the way back into the sweeps' mailboxes. Later calls change nothing.
    pub fn open(&self, host: &Host<Sweep>) {
        drop(self.host.set(host.downgrade()));
    }
}

impl Perform<Sweep> for SweepPerformer {
    fn perform(&self, id: JobId, _: &Sweep, Remove: Remove) {
        let this = self.clone();
        tokio::spawn(async move {
            let event = match this.store.remove_job(id).await {
                Ok(()) => Event::Swept,
                Err(error) => {
                    tracing::warn!(job = %id, %error, "the artifacts of a purged job cannot be removed yet");
                    Event::Failed { reason: error.to_string() }
                }
            };
            if let Some(host) = this.host.get().and_then(WeakHost::upgrade) {
                host.tell(id, event);
            }
        });
    }
}
