//! Keeps bounded what nobody needs for ever: the log of events, and the request ids that entities remember.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::durable::{Machine, keys};
use crate::entity::Entity;
use crate::limits::{ENTITY_REQUESTS_KEPT, EVENTS_KEPT_MAX};
use crate::store::{Batch, KeyRange, Log, Order, Store};

/// How often the events log is trimmed.
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// Rows trimmed in one batch.
const TRIM_PAGE: usize = 10_000;

/// How often request ids are trimmed: some may be remembered that much longer.
const TRIM_DIGESTS_EVERY: Duration = Duration::from_secs(300);

/// Digests looked at before others have their turn.
const DIGESTS_PAGE: usize = 1_000;

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

/// Drops the digests of signals that are older than [`ENTITY_REQUESTS_KEPT`], for ever. An entity may live for years, and
/// each signal from outside leaves one; those of other kinds stay as long as their machine.
pub(super) async fn trim_digests(store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(TRIM_DIGESTS_EVERY).await;
        let now = clock.now();
        let mut range = KeyRange::prefix(keys::all_digests(Entity::KIND));
        loop {
            let rows = match store.scan(range.clone(), Order::Ascending, DIGESTS_PAGE) {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::error!(%error, "old request ids cannot be read");
                    break;
                }
            };
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            let is_old = |value: &[u8]| {
                keys::read_digest_value(value).is_none_or(|at| now.since(at) > ENTITY_REQUESTS_KEPT)
            };
            let mut batch = Batch::new();
            for (key, _) in rows.into_iter().filter(|(_, value)| is_old(value)) {
                batch.delete(key);
            }
            if !batch.ops.is_empty()
                && let Err(error) = store.commit(batch).await
            {
                tracing::error!(%error, "old request ids cannot be dropped");
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}
