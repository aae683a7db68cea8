//! Carries messages from one machine to another.
//!
//! A message is a row written in the batch of the state that implies it, and deleted in the batch of the
//! transition that it causes: whatever dies in between, it is applied exactly once. Messages to one machine
//! are delivered in the order they were written; messages to different machines do not wait for each other.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::sync::Notify;

use super::batch::MESSAGE_VERSION;
use super::host::Fate;
use super::timers::Router;
use crate::fault::{self, Point};
use crate::limits::MESSAGES_IN_FLIGHT_MAX;
use crate::store::{self, Batch, Key, KeyRange, Log, Order, Store, codec};

/// Rows read at once.
const PAGE: usize = 512;

/// The pause before a failed delivery is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The target of a message.
type Target = (String, Vec<u8>);

/// The relay's bell.
#[derive(Debug, Default)]
pub struct Outbox {
    written: Notify,
}

impl Outbox {
    /// Tells that messages were written.
    pub fn nudge(&self) {
        self.written.notify_one();
    }

    /// Delivers messages, for ever.
    pub async fn run(self: Arc<Self>, store: Arc<dyn Store>, router: Arc<Router>) {
        let mut relay = Relay { store, router, busy: HashSet::new(), deliveries: FuturesUnordered::new() };
        loop {
            if let Err(error) = relay.dispatch() {
                tracing::error!(%error, "messages between machines cannot be read");
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.written.notified() => {}
                Some((target, row, fate)) = relay.deliveries.next() => relay.done(&target, row, fate),
            }
        }
    }
}

struct Relay {
    store: Arc<dyn Store>,
    router: Arc<Router>,
    /// Machines with a message under way: their next one waits, so that order is kept.
    busy: HashSet<Target>,
    deliveries: FuturesUnordered<BoxFuture<'static, (Target, Key, Fate)>>,
}

impl Relay {
    fn dispatch(&mut self) -> store::Result<()> {
        let mut range = KeyRange::prefix(format!("{}/", Log::Outbox.prefix()));
        while self.busy.len() < MESSAGES_IN_FLIGHT_MAX {
            let rows = self.store.scan(range.clone(), Order::Ascending, PAGE)?;
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            for (row, bytes) in rows {
                match read(&row, &bytes) {
                    Ok((kind, id, event)) => self.deliver(row, (kind, id), event),
                    Err(error) => tracing::error!(%error, "a message between machines cannot be read"),
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self, row: Key, target: Target, event: Value) {
        if !self.busy.insert(target.clone()) {
            return;
        }
        fault::reach(Point::OutboxRead);
        let delivery =
            self.router.get(target.0.as_str()).map(|host| host.message(&target.1, event, row.clone()));
        self.deliveries.push(Box::pin(async move {
            let fate = match delivery {
                Some(delivery) => delivery.await,
                None => Fate::Missing,
            };
            if fate == Fate::Retry {
                tokio::time::sleep(RETRY_AFTER).await;
            }
            (target, row, fate)
        }));
    }

    fn done(&mut self, target: &Target, row: Key, fate: Fate) {
        fault::reach(Point::OutboxDelivered);
        self.busy.remove(target);
        if fate == Fate::Missing {
            tracing::warn!(kind = %target.0, "dropping a message to a machine that does not exist");
            let mut batch = Batch::new();
            batch.delete(row);
            drop(self.store.commit(batch));
        }
    }
}

fn read(row: &Key, bytes: &[u8]) -> store::Result<(String, Vec<u8>, Value)> {
    let record = codec::decode(row, bytes)?;
    if record.version != MESSAGE_VERSION {
        return Err(record.unknown_version(row));
    }
    record.parse(row)
}
