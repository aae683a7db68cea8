//! Turns due timer rows into ticks.
//!
//! The rows in the store are the truth: written and deleted in the batches of their machines, sorted by time.
//! In memory there are only those that are soon due (`ahead.rs`) and the next moment at which to look, so a million
//! armed timers cost nothing while they wait. A row is gone when its machine has committed the tick, so each fires
//! once, across restarts too; a wall clock that jumps moves them with it.
//!
//! Not responsible for: what a tick does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ahead::Ahead;
use super::host::{Dispatch, Fate};
use super::{Machine, keys};
use crate::clock::{Clock, Timestamp};
use crate::fault::{self, Point};
use crate::limits::{TICKS_IN_FLIGHT_MAX, TIMERS_AHEAD_MAX, TIMERS_ARMED_MAX, TIMERS_ROUSED_AT_ONCE};
use crate::store::{self, Batch, Key, Store};

/// The longest sleep while something is armed: how late a jump of the wall clock is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The pause before a failed tick is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The hosts by kind.
pub type Router = BTreeMap<&'static str, Arc<dyn Dispatch>>;

/// The next moment at which to look, and what was armed for a time that was read already.
#[derive(Debug)]
pub struct Timers {
    next: AtomicI64,
    horizon: AtomicI64,
    armed: Mutex<Armed>,
    earlier: Notify,
}

/// The rows that were armed since the last look.
#[derive(Debug, Default)]
struct Armed {
    rows: Vec<Key>,
    /// There were too many: everything is read again.
    is_overfull: bool,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            next: AtomicI64::new(i64::MAX),
            horizon: AtomicI64::new(i64::MIN),
            armed: Mutex::default(),
            earlier: Notify::new(),
        }
    }
}

impl Timers {
    /// Tells of the deadline of a machine whose row is durable.
    pub fn arm<M: Machine>(&self, due: Timestamp, id: M::Id) {
        fault::reach(Point::TimerArmed);
        if due.as_millis() <= self.horizon.load(Ordering::SeqCst) {
            let mut armed = self.armed.lock();
            if armed.rows.len() < TIMERS_ARMED_MAX {
                armed.rows.push(keys::timer::<M>(due, id));
            } else {
                armed.is_overfull = true;
            }
        }
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
            let armed = std::mem::take(&mut *self.armed.lock());
            firing.take(armed);
            let now = clock.now();
            // Raised before what is below it is read: who finds it lower has a row that will be found.
            self.horizon.store(firing.ahead.look_up(now).as_millis(), Ordering::SeqCst);
            let look = firing.fire(now).unwrap_or_else(|error| {
                tracing::error!(%error, "timers cannot be read");
                Look::At(Some(now.after(RETRY_AFTER)))
            });
            match look {
                Look::Again => {
                    tokio::task::yield_now().await;
                    firing.collect();
                    continue;
                }
                Look::At(next) => {
                    let next = next.map_or(i64::MAX, Timestamp::as_millis);
                    self.next.fetch_min(next, Ordering::SeqCst);
                }
            }
            self.pause(&mut firing, clock.as_ref()).await;
        }
    }

    /// Waits until it is time to look at the rows again, collecting finished ticks meanwhile.
    async fn pause(&self, firing: &mut Firing, clock: &dyn Clock) {
        let was_full = firing.is_full();
        loop {
            firing.rouse();
            let armed = self.next.load(Ordering::SeqCst);
            let pause = Timestamp::from_millis(armed).since(clock.now()).min(LOOK_EVERY);
            tokio::select! {
                biased;
                () = tokio::time::sleep(pause), if armed != i64::MAX => return,
                () = self.earlier.notified() => return,
                Some(done) = firing.ticks.next() => {
                    firing.done(done);
                    firing.collect();
                    // Rows are looked at again in halves, not after each tick.
                    let look = if was_full { firing.is_half_empty() } else { firing.in_flight.is_empty() };
                    if look || std::mem::take(&mut firing.retry) {
                        return;
                    }
                }
                Some(()) = firing.roused.next() => firing.collect(),
            }
        }
    }
}

type Tick = BoxFuture<'static, (Key, Fate)>;

/// When to look at the rows again.
enum Look {
    /// At once: there is more to be read.
    Again,
    /// Then, or when a tick is finished.
    At(Option<Timestamp>),
}

struct Firing {
    store: Arc<dyn Store>,
    router: Arc<Router>,
    ahead: Ahead,
    in_flight: BTreeSet<Key>,
    ticks: FuturesUnordered<Tick>,
    /// Machines on their way into memory.
    roused: FuturesUnordered<BoxFuture<'static, ()>>,
    /// A tick failed and is to be tried again.
    retry: bool,
}

impl Firing {
    fn new(store: Arc<dyn Store>, router: Arc<Router>) -> Self {
        let (in_flight, ticks, roused) = (BTreeSet::new(), FuturesUnordered::new(), FuturesUnordered::new());
        Self { store, router, ahead: Ahead::new(TIMERS_AHEAD_MAX), in_flight, ticks, roused, retry: false }
    }

    fn is_full(&self) -> bool {
        self.in_flight.len() >= TICKS_IN_FLIGHT_MAX
    }

    fn is_half_empty(&self) -> bool {
        self.in_flight.len() <= TICKS_IN_FLIGHT_MAX / 2
    }

    fn take(&mut self, armed: Armed) {
        if armed.is_overfull {
            self.ahead = Ahead::new(TIMERS_AHEAD_MAX);
        }
        for key in armed.rows {
            self.ahead.insert(key);
        }
    }

    /// Ticks every due row that is not being ticked, as far as there is room, and says when to look again.
    fn fire(&mut self, now: Timestamp) -> store::Result<Look> {
        if self.ahead.wants_more() {
            self.ahead.read(self.store.as_ref())?;
        }
        while !self.is_full()
            && let Some(key) = self.ahead.take_due(now)
        {
            self.tick(key);
        }
        self.rouse();
        if self.is_full() {
            return Ok(Look::At(None)); // a finished tick looks again
        }
        if self.ahead.wants_more() {
            return Ok(Look::Again);
        }
        self.ahead.next(self.store.as_ref()).map(Look::At)
    }

    /// Has machines that are soon to be ticked brought into memory, so many at once.
    fn rouse(&mut self) {
        let room = TIMERS_ROUSED_AT_ONCE - self.roused.len();
        if room < TIMERS_ROUSED_AT_ONCE / 2 {
            return;
        }
        for key in self.ahead.name(room) {
            let machine = keys::read_timer(&key).and_then(|(_, kind, id)| Some((self.router.get(kind)?, id)));
            if let Some((host, id)) = machine {
                self.roused.push(host.rouse(id));
            }
        }
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

    /// What is finished by now.
    fn collect(&mut self) {
        while let Some(Some(done)) = self.ticks.next().now_or_never() {
            self.done(done);
        }
        while let Some(Some(())) = self.roused.next().now_or_never() {}
    }

    fn done(&mut self, (key, fate): (Key, Fate)) {
        fault::reach(Point::TimerTicked);
        self.in_flight.remove(&key);
        if fate == Fate::Retry {
            self.retry = true;
            self.ahead.insert(key);
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
