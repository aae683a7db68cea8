//! Keeps the log of events bounded.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::EVENTS_KEPT_MAX;
use crate::store::{Batch, KeyRange, Log, Order, Store};

/// How often the events log is trimmed.
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// Rows trimmed in one batch.
const TRIM_PAGE: usize = 10_000;

/// Drops the oldest events beyond [`EVENTS_KEPT_MAX`], for ever.
pub(super) async fn trim_events(store: Arc<dyn Store>) {
    loop {
        tokio::time::sleep(TRIM_EVERY).await;
        let Some(keep_from) = store.appended().borrow().checked_sub(EVENTS_KEPT_MAX) else { continue };
        let mut range = KeyRange { from: Log::Events.key(0), to: Some(Log::Events.key(keep_from)) };
        loop {
            let rows = match store.scan(range.clone(), Order::Ascending, TRIM_PAGE) {
                Ok(rows) if rows.is_empty() => break,
                Ok(rows) => rows,
                Err(error) => {
                    tracing::error!(%error, "old events cannot be read");
                    break;
                }
            };
            // What is deleted need not be passed over again.
            range = rows.last().map_or_else(|| range.clone(), |(last, _)| range.clone().after(last));
            let mut batch = Batch::new();
            for (key, _) in rows {
                batch.delete(key);
            }
            if let Err(error) = store.commit(batch).await {
                tracing::error!(%error, "old events cannot be dropped");
                break;
            }
        }
    }
}
