//! Which logs are being saved at the moment: copied from an engine that keeps them, so that their end comes a
//! little after the end of the attempt.
//!
//! Responsible for: letting a reader wait until a log is complete. Not responsible for: saving it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::id::AttemptKey;

/// The logs that are being saved.
#[derive(Debug, Clone)]
pub(super) struct Saving {
    savers: Arc<Mutex<HashMap<AttemptKey, usize>>>,
    ended: watch::Sender<()>,
}

impl Default for Saving {
    fn default() -> Self {
        Self { savers: Arc::default(), ended: watch::Sender::new(()) }
    }
}

impl Saving {
    /// Somebody saves this log until the guard is dropped.
    pub(super) fn begin(&self, key: AttemptKey) -> SavingGuard {
        *self.savers.lock().entry(key).or_insert(0) += 1;
        SavingGuard { saving: self.clone(), key }
    }

    /// Whether somebody saves this log.
    pub(super) fn is_going_on(&self, key: AttemptKey) -> bool {
        self.savers.lock().contains_key(&key)
    }

    /// Resolves when nobody does (any more).
    pub(super) async fn done(&self, key: AttemptKey) {
        let mut ended = self.ended.subscribe();
        while self.is_going_on(key) {
            // The sender is a part of this very value.
            drop(ended.changed().await);
        }
    }
}

/// A log is being saved as long as this is there.
#[derive(Debug)]
pub struct SavingGuard {
    saving: Saving,
    key: AttemptKey,
}

impl Drop for SavingGuard {
    fn drop(&mut self) {
        let mut savers = self.saving.savers.lock();
        if let Some(count) = savers.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                savers.remove(&self.key);
            }
        }
        drop(savers);
        self.saving.ended.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::clock::Timestamp;
    use crate::id::{Ids as _, RandomIds};

    #[tokio::test]
    async fn a_log_is_complete_when_the_last_saver_is_gone() {
        let key = |number| AttemptKey::new(RandomIds.job_id(Timestamp::from_millis(0)), number);
        let (saving, one, other) = (Saving::default(), key(1), key(1));
        let (first, second, _third) = (saving.begin(one), saving.begin(one), saving.begin(other));
        let done = saving.done(one);
        tokio::pin!(done);
        assert!(done.as_mut().now_or_never().is_none());
        drop(first);
        assert!(done.as_mut().now_or_never().is_none());
        drop(second);
        done.await;
        assert!(saving.is_going_on(other));
    }
}
