//! A worker that is connected: what it takes, what it has, whether it looks for work. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::ready::{Kind, Need, WorkerId, WorkerOptions};
use crate::id::JobId;
use crate::limits::WORKER_ITEMS_DEFAULT;

/// How much more than another worker one may have to do before work is left to that one.
const SPREAD_MIN: u32 = 4;

/// How long a worker that was woken may take until it looks for work; then nothing is left to it any more.
const WAKE_PATIENCE: Duration = Duration::from_millis(100);

/// A worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) options: WorkerOptions,
    out: [u32; 3],
    wakes: Arc<Notify>,
    /// Since which call it waits for work.
    waits: Option<u64>,
    /// When it was last woken.
    woken_at: Option<Instant>,
}

impl Worker {
    pub(super) fn new(options: WorkerOptions, wakes: Arc<Notify>) -> Self {
        Self { options, out: [0; 3], wakes, waits: None, woken_at: None }
    }

    /// Whether it takes such work.
    pub(super) fn takes(&self, need: &Need) -> bool {
        self.options.hub == need.hub && self.options.admits(need.kind, &need.name, &need.version)
    }

    /// Whether it is the worker of this instance of a pool.
    pub(super) fn is_instance(&self, job: JobId) -> bool {
        self.options.instance.is_some_and(|(_, own)| own == job)
    }

    /// Whether it may have more of a kind.
    pub(super) fn has_room(&self, kind: Kind) -> bool {
        let limit = match self.options.limits[kind as usize] {
            0 => WORKER_ITEMS_DEFAULT,
            limit => limit,
        };
        self.out[kind as usize] < limit
    }

    /// How much it has to do.
    pub(super) fn busy(&self) -> u32 {
        self.out.iter().sum()
    }

    /// Whom to wake first: who has the least to do, and of those who has waited longest.
    pub(super) fn order(&self) -> (u32, Option<u64>) {
        (self.busy(), self.waits)
    }

    /// It is given something.
    pub(super) fn takes_one(&mut self, kind: Kind) {
        self.out[kind as usize] += 1;
    }

    /// Something that it had is over: it may have more.
    pub(super) fn ends_one(&mut self, kind: Kind) {
        self.out[kind as usize] = self.out[kind as usize].saturating_sub(1);
        self.wake();
    }

    /// It found nothing and waits to be woken, since this call.
    pub(super) fn waits(&mut self, call: u64) {
        self.waits = Some(call);
    }

    /// Whether it waits to be woken.
    pub(super) fn is_waiting(&self) -> bool {
        self.waits.is_some()
    }

    /// Lets it look for work, if it waits.
    pub(super) fn wake(&mut self) {
        if self.waits.take().is_some() {
            self.woken_at = Some(Instant::now());
            self.wakes.notify_one();
        }
    }

    /// Lets it look again, whatever it does.
    pub(super) fn wake_up(&self) {
        self.wakes.notify_one();
    }
}

/// The workers of the same task hub that have less to do and are about to look for work: it is left to them.
pub(super) fn idlers(
    workers: &BTreeMap<WorkerId, Worker>,
    worker: WorkerId,
) -> Option<Vec<(WorkerId, &Worker)>> {
    let own = workers.get(&worker)?;
    let busy = own.busy();
    if busy < SPREAD_MIN {
        return Some(vec![]);
    }
    let is_idler = |(id, other): &(&WorkerId, &Worker)| {
        **id != worker
            && other.busy() + SPREAD_MIN <= busy
            && other.options.hub == own.options.hub
            && (other.waits.is_some() || other.woken_at.is_some_and(|at| at.elapsed() < WAKE_PATIENCE))
    };
    Some(workers.iter().filter(is_idler).map(|(id, other)| (*id, other)).collect())
}
