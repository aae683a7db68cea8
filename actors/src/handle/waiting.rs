//! Waiting for a machine to be in some state, as requests do: not for ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Inner;
use crate::durable::Machine;
use crate::durable::published::{Published, Wanted};
use crate::limits::WAIT_MAX;
use crate::store;

impl Inner {
    /// The machine when it is as wanted or gone, or as it is when everything ends or after `patience` (at most
    /// [`WAIT_MAX`]).
    pub(super) async fn wait<M: Machine>(
        &self,
        published: &Arc<Published<M>>,
        id: M::Id,
        patience: Duration,
        is_wanted: impl Fn(&M) -> bool + Send + Sync + 'static,
    ) -> store::Result<Option<Arc<M>>> {
        let closing = Arc::clone(&self.closing);
        let wanted: Wanted<M> =
            Arc::new(move |machine| machine.is_none_or(&is_wanted) || closing.load(Ordering::SeqCst));
        match tokio::time::timeout(patience.min(WAIT_MAX), published.until(id, &wanted)).await {
            Ok(found) => found,
            Err(_) => published.read(id),
        }
    }
}
