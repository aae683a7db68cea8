//! Turns due timer rows into ticks.
//!
//! The rows in the store are the truth: written and deleted in the batches of their machines, sorted by time.
//! In memory there is only the next moment at which to look, so a million armed timers cost nothing while
//! they wait. A row is gone when its machine has committed the tick, so each fires once, across restarts too;
//! a wall clock that jumps moves them with it.
//!
//! Not responsible for: what a tick does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Notify;

use super::host::{Dispatch, Fate};
use super::keys;
use crate::clock::{Clock, Timestamp};
use crate::fault::{self, Point};
use crate::limits::TICKS_IN_FLIGHT_MAX;
use crate::store::{self, Batch, Key, KeyRange, Order, Store};

/// Rows read at once.
const PAGE: usize = 512;

/// How far ahead of their time rows are read: once for many of them, when many are due in a moment. What is armed within
/// that time has them read again.
const AHEAD: Duration = Duration::from_secs(1);

/// The longest sleep while something is armed: how late a jump of the wall clock is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The pause before a failed tick is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The hosts by kind.
pub type Router = BTreeMap<&'static str, Arc<dyn Dispatch>>;

/// The next moment at which to look.
#[derive(Debug)]
pub struct Timers {
    next: AtomicI64,
    /// The earliest deadline that was armed since the rows were last looked at.
    armed: AtomicI64,
    earlier: Notify,
}

impl Default for Timers {
    fn default() -> Self {
        Self { next: AtomicI64::new(i64::MAX), armed: AtomicI64::new(i64::MAX), earlier: Notify::new() }
    }
}

impl Timers {
    /// Tells of a deadline whose row is durable.
    pub fn arm(&self, due: Timestamp) {
        fault::reach(Point::TimerArmed);
        self.armed.fetch_min(due.as_millis(), Ordering::SeqCst);
        let before = self.next.fetch_min(due.as_millis(), Ordering::SeqCst);
        if due.as_millis() < before {
            self.earlier.notify_one();
        }
    }

    /// Fires what is due, for ever.
    pub async fn run(self: Arc<Self>, store: Arc<dyn Store>, clock: Arc<dyn Clock>, router: Arc<Router>) {
        let mut firing = Firing::new(store, router);
        loop {
            // Set before looking, so that a deadline armed meanwhile is not overlooked.
            self.next.store(i64::MAX, Ordering::SeqCst);
            let armed = Timestamp::from_millis(self.armed.swap(i64::MAX, Ordering::SeqCst));
            firing.lower(keys::timers_at(armed));
            let now = clock.now();
            let next = match firing.fire(now) {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, "timers cannot be read");
                    Some(now.after(RETRY_AFTER))
                }
            };
            if let Some(next) = next {
                self.next.fetch_min(next.as_millis(), Ordering::SeqCst);
            }
            self.pause(&mut firing, clock.as_ref()).await;
        }
    }

    /// Waits until it is time to look at the rows again, collecting finished ticks meanwhile.
    async fn pause(&self, firing: &mut Firing, clock: &dyn Clock) {
        let was_full = firing.is_full();
        loop {
            let armed = self.next.load(Ordering::SeqCst);
            let pause = Timestamp::from_millis(armed).since(clock.now()).min(LOOK_EVERY);
            tokio::select! {
                biased;
                () = tokio::time::sleep(pause), if armed != i64::MAX => return,
                () = self.earlier.notified() => return,
                Some(done) = firing.ticks.next() => {
                    firing.done(done);
                    while let Some(Some(done)) = firing.ticks.next().now_or_never() {
                        firing.done(done);
                    }
                    // Rows are read again in halves, not after each tick.
                    let look = firing.retry || if was_full { firing.is_half_empty() } else { firing.in_flight.is_empty() };
                    if look {
                        firing.retry = false;
                        return;
                    }
                }
            }
        }
    }
}

type Tick = futures_util::future::BoxFuture<'static, (Key, Fate)>;

struct Firing {
    store: Arc<dyn Store>,
    router: Arc<Router>,
    /// Every row below it was read, and is under way, ahead or gone; but for those that were armed since. What fired
    /// need not be passed over again, which matters where deleted rows still cost something to skip.
    unread: Key,
    /// Rows that were read and are not due yet, or for which there was no room, in their order.
    ahead: VecDeque<Key>,
    in_flight: BTreeSet<Key>,
    ticks: FuturesUnordered<Tick>,
    /// A tick failed and its row must be read again.
    retry: bool,
}

impl Firing {
    fn new(store: Arc<dyn Store>, router: Arc<Router>) -> Self {
        let (ahead, in_flight, ticks) = (VecDeque::new(), BTreeSet::new(), FuturesUnordered::new());
        Self { store, router, unread: keys::timers(), ahead, in_flight, ticks, retry: false }
    }

    fn is_full(&self) -> bool {
        self.in_flight.len() >= TICKS_IN_FLIGHT_MAX
    }

    fn is_half_empty(&self) -> bool {
        self.in_flight.len() <= TICKS_IN_FLIGHT_MAX / 2
    }

    /// A row may have come that is not below `first`.
    fn lower(&mut self, first: Key) {
        if first < self.unread {
            self.ahead.truncate(self.ahead.partition_point(|key| *key < first));
            self.unread = first;
        }
    }

    /// Ticks every due row that is not being ticked, as far as there is room, and says when to look again.
    fn fire(&mut self, now: Timestamp) -> store::Result<Option<Timestamp>> {
        let behind = keys::timers_after(now);
        loop {
            while !self.is_full()
                && let Some(key) = self.ahead.pop_front_if(|key| *key < behind)
            {
                self.tick(key);
            }
            if self.is_full() {
                return Ok(None); // a finished tick looks again
            }
            if let Some(next) = self.ahead.front() {
                return Ok(keys::read_timer(next).map(|(due, _, _)| due));
            }
            let soon = KeyRange { from: self.unread.clone(), to: None }
                .before(&keys::timers_after(now.after(AHEAD)));
            let rows = self.store.scan(soon, Order::Ascending, PAGE)?;
            let Some((last, _)) = rows.last() else { break };
            self.unread = KeyRange { from: Key::new(), to: None }.after(last).from;
            self.ahead.extend(rows.into_iter().map(|(key, _)| key));
        }
        if self.unread < behind {
            self.unread = behind;
        }
        let later = KeyRange { from: self.unread.clone(), to: KeyRange::prefix(keys::timers()).to };
        let rows = self.store.scan(later, Order::Ascending, 1)?;
        Ok(rows.first().and_then(|(key, _)| keys::read_timer(key)).map(|(due, _, _)| due))
    }

    fn tick(&mut self, key: Key) {
        if !self.in_flight.insert(key.clone()) {
            return;
        }
        fault::reach(Point::TimerDue);
        let tick =
            keys::read_timer(&key).and_then(|(_, kind, id)| self.router.get(kind).map(|host| host.tick(id)));
        self.ticks.push(Box::pin(async move {
            let fate = match tick {
                Some(tick) => tick.await,
                None => Fate::Missing,
            };
            if fate == Fate::Retry {
                tokio::time::sleep(RETRY_AFTER).await;
            }
            (key, fate)
        }));
    }

    fn done(&mut self, (key, fate): (Key, Fate)) {
        fault::reach(Point::TimerTicked);
        self.in_flight.remove(&key);
        if fate == Fate::Retry {
            self.retry = true;
            self.lower(key);
            return;
        }
        // A row that was read ahead may have gone with its machine.
        if fate == Fate::Missing && !matches!(self.store.get(&key), Ok(None)) {
            tracing::warn!(row = %key.escape_ascii(), "dropping the timer of a machine that does not exist");
            let mut batch = Batch::new();
            batch.delete(key);
            drop(self.store.commit(batch));
        }
    }
}
