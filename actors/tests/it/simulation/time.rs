//! Time in a simulated world: one that only goes forward, over all lives of the server, and a wall clock that may
//! be set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dogwatch_actors::clock::{Clock, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::faults::Panics;

/// 2027-01-15, a little before midnight UTC.
const EPOCH_MILLIS: i64 = 1_800_000_000_000;

/// The time that only goes forward. Clones are the same time.
#[derive(Debug, Clone, Default)]
pub(super) struct Time(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// What passed before the present life.
    before: AtomicI64,
    /// When the present life began, by tokio's clock, which begins anew in each.
    began: Mutex<Option<Instant>>,
    /// By how much the wall clock is set wrong.
    wrong_by: AtomicI64,
}

impl Time {
    /// Called inside a life, at its beginning.
    pub(super) fn begin(&self) {
        *self.0.began.lock() = Some(Instant::now());
    }

    /// Called inside a life, at its end.
    pub(super) fn end(&self) {
        let now = self.millis();
        *self.0.began.lock() = None;
        self.0.before.store(now, Ordering::SeqCst);
    }

    /// The server is down for so long.
    pub(super) fn pass(&self, span: Duration) {
        self.0.before.fetch_add(span.as_millis() as i64, Ordering::SeqCst);
    }

    pub(super) fn millis(&self) -> i64 {
        let life = self.0.began.lock().map_or(0, |began| began.elapsed().as_millis() as i64);
        self.0.before.load(Ordering::SeqCst) + life
    }

    /// Sets the wall clock wrong by so many milliseconds, 0 for right.
    pub(super) fn set_wrong_by(&self, millis: i64) {
        self.0.wrong_by.store(millis, Ordering::SeqCst);
    }

    pub(super) fn wall(&self) -> Timestamp {
        Timestamp::from_millis(EPOCH_MILLIS + self.millis() + self.0.wrong_by.load(Ordering::SeqCst))
    }
}

/// What engines live by.
impl Clock for Time {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis())
    }
}

/// The wall clock. Whoever looks at it in dogwatch may panic over it, in place of any bug there.
#[derive(Debug, Clone)]
pub(super) struct WallClock {
    pub(super) time: Time,
    pub(super) panics: Panics,
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        self.panics.perhaps();
        self.time.wall()
    }
}
