//! Carries messages from one machine to another.
//!
//! A message is a row written in the batch of the state that implies it, and deleted in the batch of the
//! transition that it causes: whatever dies in between, it is applied exactly once. Messages to one machine
//! are delivered in the order they were written; messages to different machines do not wait for each other.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::sync::Notify;

use super::batch::MESSAGE_VERSION;
use super::host::{Dispatch, Fate};
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
        let mut relay = Relay {
            store,
            router,
            read: KeyRange::log(Log::Outbox),
            busy: HashMap::new(),
            waiting: 0,
            deliveries: FuturesUnordered::new(),
        };
        loop {
            if let Err(error) = relay.dispatch() {
                tracing::error!(%error, "messages between machines cannot be read");
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.written.notified() => {}
                Some((target, row, fate)) = relay.deliveries.next() => relay.done(target, row, fate),
            }
        }
    }
}

struct Relay {
    store: Arc<dyn Store>,
    router: Arc<Router>,
    /// What is behind it was not read yet. Rows come in the order of their numbers.
    read: KeyRange,
    /// Machines with a message under way, and the messages that wait for it: so order is kept.
    busy: HashMap<Target, VecDeque<(Key, Value)>>,
    /// How many messages wait.
    waiting: usize,
    deliveries: FuturesUnordered<BoxFuture<'static, (Target, Key, Fate)>>,
}

impl Relay {
    /// Reads and delivers what there is, as far as there is room.
    fn dispatch(&mut self) -> store::Result<()> {
        // What is durable is there in whole: a row with a lower number cannot come any more.
        let durable = *self.store.appended().borrow();
        let behind = Log::Outbox.key(durable.saturating_add(1));
        while self.busy.len() + self.waiting < MESSAGES_IN_FLIGHT_MAX {
            let rows = self.store.scan(self.read.clone().before(&behind), Order::Ascending, PAGE)?;
            let Some((last, _)) = rows.last() else { break };
            self.read = self.read.clone().after(last);
            for (row, bytes) in rows {
                match read(&row, &bytes) {
                    Ok((kind, id, event)) => self.take(row, (kind, id), event),
                    Err(error) => tracing::error!(%error, "a message between machines cannot be read"),
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, row: Key, target: Target, event: Value) {
        if let Some(waiting) = self.busy.get_mut(&target) {
            waiting.push_back((row, event));
            self.waiting += 1;
            return;
        }
        self.busy.insert(target.clone(), VecDeque::new());
        self.deliver(row, target, event);
    }

    fn deliver(&mut self, row: Key, target: Target, event: Value) {
        fault::reach(Point::OutboxRead);
        let host = self.router.get(target.0.as_str()).map(Arc::clone);
        self.deliveries.push(Box::pin(async move {
            let fate = match host {
                Some(host) => delivered(host.as_ref(), &target, event, &row).await,
                None => Fate::Missing,
            };
            (target, row, fate)
        }));
    }

    fn done(&mut self, target: Target, row: Key, fate: Fate) {
        fault::reach(Point::OutboxDelivered);
        if fate == Fate::Missing {
            tracing::warn!(kind = %target.0, "dropping a message to a machine that does not exist");
            let mut batch = Batch::new();
            batch.delete(row);
            drop(self.store.commit(batch));
        }
        match self.busy.get_mut(&target).and_then(VecDeque::pop_front) {
            Some((row, event)) => {
                self.waiting -= 1;
                self.deliver(row, target, event);
            }
            None => drop(self.busy.remove(&target)),
        }
    }
}

/// Delivers a message, again and again until it is known what became of it.
async fn delivered(host: &dyn Dispatch, target: &Target, event: Value, row: &Key) -> Fate {
    loop {
        let fate = host.message(&target.1, event.clone(), row.clone()).await;
        if fate != Fate::Retry {
            return fate;
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

fn read(row: &Key, bytes: &[u8]) -> store::Result<(String, Vec<u8>, Value)> {
    let record = codec::decode(row, bytes)?;
    if record.version != MESSAGE_VERSION {
        return Err(record.unknown_version(row));
    }
    record.parse(row)
}
