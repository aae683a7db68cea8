//! What an activity's code sees.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::id::{InstanceId, TaskId};

/// What an activity's code sees. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ActivityContext {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    instance: InstanceId,
    task: TaskId,
    name: String,
    cancelled: watch::Receiver<bool>,
    beats: Arc<Notify>,
}

impl ActivityContext {
    pub(super) fn new(
        instance: InstanceId,
        task: TaskId,
        name: String,
        cancelled: watch::Receiver<bool>,
        beats: Arc<Notify>,
    ) -> Self {
        Self { inner: Arc::new(Inner { instance, task, name, cancelled, beats }) }
    }

    /// The orchestration that asked for it.
    pub fn instance_id(&self) -> InstanceId {
        self.inner.instance
    }

    /// Its number within the orchestration's execution. Together with the instance's id it is a good idempotency key:
    /// an activity that runs again after a crash has the same.
    pub fn task_id(&self) -> TaskId {
        self.inner.task
    }

    /// The name under which it is registered.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Tells that it is alive, where it was asked for with a heartbeat.
    pub fn heartbeat(&self) {
        self.inner.beats.notify_one();
    }

    /// Whether nobody waits for it any more.
    pub fn is_cancelled(&self) -> bool {
        *self.inner.cancelled.borrow()
    }

    /// Resolves when nobody waits for it any more. An activity that does not end then is dropped a few seconds later.
    pub async fn cancelled(&self) {
        let mut cancelled = self.inner.cancelled.clone();
        if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
            // The executor is gone, and this with it.
            std::future::pending::<()>().await;
        }
    }
}
