//! What pools have to know of the work for workers: how much waits for their instances, and what these have.
//!
//! Not responsible for: how many instances there are to be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Notify;

use super::book::Book;
use super::piece::{ActivityKey, Key, Standing};
use super::ready::{Kind, Names, Need, WorkerOptions};
use super::{Inner, Remote};
use crate::id::JobId;
use crate::limits::POOL_DEMAND_COUNTED_MAX;
use crate::orchestration::state::Orchestration;
use crate::pool::{Demand, PoolId, Seen};

/// Which activities of which task hub a pool runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The task hub.
    pub hub: String,
    /// The activities.
    pub takes: Names,
}

impl Bound {
    fn admits(&self, name: &str, version: &str) -> bool {
        self.takes.get(name).is_some_and(|versions| versions.is_empty() || versions.contains(version))
    }

    fn has(&self, need: &Need) -> bool {
        need.kind == Kind::Activity && need.hub == self.hub && self.admits(&need.name, &need.version)
    }
}

/// The pools whose demand is looked at.
#[derive(Debug, Default)]
pub(super) struct Pools {
    bound: BTreeMap<PoolId, Bound>,
    /// Instances that are given no more work.
    retired: BTreeMap<JobId, PoolId>,
    /// Rung when work comes that no worker waits for, and when a pool is bound.
    unserved: Arc<Notify>,
}

impl Pools {
    /// There is work that no worker waits for.
    pub(super) fn want(&self, need: &Need) {
        if need.kind == Kind::Activity && !self.bound.is_empty() {
            self.unserved.notify_one();
        }
    }

    /// The pool that runs this.
    pub(super) fn of(&self, need: &Need) -> Option<PoolId> {
        self.bound.iter().find(|(_, bound)| bound.has(need)).map(|(id, _)| *id)
    }

    /// The options of a worker, which takes nothing when it is a retired instance.
    pub(super) fn admit(&self, mut options: WorkerOptions) -> WorkerOptions {
        if options.instance.is_some_and(|(_, job)| self.retired.contains_key(&job)) {
            options.takes = [const { Some(Names::new()) }; 3];
        }
        options
    }
}

/// Whose work a token stands for, as seen from one instance of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nobody's any more, or never anybody's.
    Unknown,
    /// Its own, or that of a connection that is gone and may have been its own.
    Own,
    /// Somebody else's.
    Other,
}

impl Remote {
    /// Looks at the demand for a pool's activities from now on.
    pub(crate) fn bind(&self, pool: PoolId, bound: Bound) {
        let mut book = self.0.book.lock();
        book.pools.bound.insert(pool, bound);
        book.pools.unserved.notify_one();
    }

    /// Looks no longer.
    pub(crate) fn unbind(&self, pool: PoolId) {
        let mut book = self.0.book.lock();
        book.pools.bound.remove(&pool);
        book.pools.retired.retain(|_, of| *of != pool);
    }

    /// Gives an instance no more work; what it has it may end.
    pub(crate) fn retire(&self, pool: PoolId, job: JobId) {
        let mut book = self.0.book.lock();
        book.pools.retired.insert(job, pool);
        for worker in book.workers.values_mut().filter(|worker| worker.is_instance(job)) {
            worker.options.takes = [const { Some(Names::new()) }; 3];
        }
        // That it is certain now is what its pool waits for.
        book.pools.unserved.notify_one();
    }

    /// An instance is over.
    pub(crate) fn forget_instance(&self, job: JobId) {
        self.0.book.lock().pools.retired.remove(&job);
    }

    /// Resolves when there may be a demand that nobody was told of.
    pub(crate) async fn unserved(&self) {
        let unserved = Arc::clone(&self.0.book.lock().pools.unserved);
        unserved.notified().await;
    }

    /// The demand for each pool.
    pub(crate) fn demands(&self) -> Vec<(PoolId, Demand)> {
        let book = self.0.book.lock();
        book.pools.bound.iter().map(|(id, bound)| (*id, book.demand(*id, bound))).collect()
    }

    /// Whose work a token stands for, as seen from an instance that runs these activities.
    pub fn holder(&self, token: &str, job: JobId, bound: &Bound) -> Holder {
        let Some(number) = self.number(token) else { return Holder::Unknown };
        let book = self.0.book.lock();
        let Some(out) = book.outs.get(&number) else { return Holder::Unknown };
        let Key::Activity(key) = out.key else { return Holder::Other };
        let is_own = match book.workers.get(&out.worker) {
            Some(worker) => worker.is_instance(job),
            None => book.tasks.get(&key).is_some_and(|task| bound.has(&task.need)),
        };
        if is_own { Holder::Own } else { Holder::Other }
    }

    /// The pools that run what an instance waits for and no worker takes.
    pub(crate) fn pools_for(&self, state: &Orchestration) -> BTreeSet<PoolId> {
        let Inner { book, .. } = self.0.as_ref();
        let book = book.lock();
        let tasks = state.activities.iter().take(crate::limits::EXPLAIN_TASKS_MAX);
        let tasks = tasks.filter_map(|task| book.tasks.get(&(state.id, state.execution, task)));
        let waiting = tasks.filter(|task| matches!(task.standing, Standing::Ready(_)));
        waiting.filter_map(|task| book.pools.of(&task.need)).collect()
    }
}

impl Book {
    fn demand(&self, pool: PoolId, bound: &Bound) -> Demand {
        let mut demand = Demand::default();
        let waits = |key: &Key| {
            let Key::Activity(key) = key else { return false };
            self.tasks.get::<ActivityKey>(key).is_some_and(|task| matches!(task.standing, Standing::Ready(_)))
        };
        for ((name, version), keys) in self.ready.lanes(&bound.hub, Kind::Activity) {
            if !bound.admits(name, version) || self.is_served(&bound.hub, name, version) {
                continue;
            }
            // What was cancelled stays in its lane until somebody looks for work there.
            let counted = keys.take(POOL_DEMAND_COUNTED_MAX).filter(|key| waits(key)).count();
            demand.waiting += counted as u64;
        }
        let pausing = self.pausing.values().filter(|key| waits(key));
        let pausing = pausing.filter_map(|key| match key {
            Key::Activity(key) => self.tasks.get(key),
            Key::Turn(_) | Key::Batch(_) => None,
        });
        demand.waiting += pausing.filter(|task| bound.has(&task.need)).count() as u64;
        for (job, _) in self.pools.retired.iter().filter(|(_, of)| **of == pool) {
            demand.instances.insert(*job, Seen { connected: false, busy: 0, retired: true });
        }
        for worker in self.workers.values() {
            let Some((_, job)) = worker.options.instance.filter(|(of, _)| *of == pool) else { continue };
            let new = Seen { connected: true, busy: 0, retired: false };
            let seen = demand.instances.entry(job).or_insert(new);
            seen.connected = true;
            seen.busy += worker.busy();
            demand.running += u64::from(worker.busy());
        }
        demand
    }

    /// Whether a worker that is no instance of a pool has room for such an activity and is about to take it.
    fn is_served(&self, hub: &str, name: &str, version: &str) -> bool {
        self.workers.values().any(|worker| {
            let options = &worker.options;
            options.instance.is_none()
                && options.hub == hub
                && options.admits(Kind::Activity, name, version)
                && worker.has_room(Kind::Activity)
        })
    }
}
