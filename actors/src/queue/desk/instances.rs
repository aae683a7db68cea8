//! The desk for pools whose instances work on a queue: what they ask for, what they have, and who is given nothing more.
//!
//! Not responsible for: how many instances there are to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::event::Op;
use super::super::id::QueueId;
use super::super::state::Queue;
use super::{Desk, State};
use crate::id::JobId;
use crate::pool::{Demand, PoolId, Seen};

/// An instance of a pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instance {
    pool: PoolId,
    connected: bool,
    /// It is given nothing any more.
    pub(super) retired: bool,
    /// Its receives that are on their way.
    receiving: u32,
}

impl Desk {
    /// Looks at the queue for a pool from now on.
    pub(crate) fn bind(&self, pool: PoolId, queue: QueueId) {
        self.0.state.lock().pools.insert(pool, queue);
        self.0.unserved.notify_one();
    }

    /// Looks no longer.
    pub(crate) fn unbind(&self, pool: PoolId) {
        let mut state = self.0.state.lock();
        state.pools.remove(&pool);
        state.instances.retain(|_, instance| instance.pool != pool);
    }

    /// An instance asks for something.
    pub(crate) fn connect(&self, pool: PoolId, job: JobId) {
        let mut state = self.0.state.lock();
        state.instance(pool, job).connected = true;
    }

    /// Gives an instance nothing any more; what it has it may end.
    pub(crate) fn retire(&self, pool: PoolId, job: JobId) {
        self.0.state.lock().instance(pool, job).retired = true;
        // That it is certain now is what its pool waits for.
        self.0.unserved.notify_one();
    }

    /// An instance is over: what it had goes to others at once.
    pub(crate) fn forget_instance(&self, queue: QueueId, job: JobId) {
        {
            let mut state = self.0.state.lock();
            state.instances.remove(&job);
            Self::tell(&mut state, queue, Op::Abandon { holder: job });
        }
        self.0.asked.notify_one();
    }

    /// Resolves when there may be a demand that nobody was told of.
    pub(crate) async fn unserved(&self) {
        self.0.unserved.notified().await;
    }

    /// The demand for each pool; `read` gives a queue as it is durably.
    pub(crate) fn demands(&self, read: impl Fn(QueueId) -> Option<Arc<Queue>>) -> Vec<(PoolId, Demand)> {
        // First what is on its way, then what is durable: what is under way in between is not certain.
        let (pools, instances) = {
            let state = self.0.state.lock();
            (state.pools.clone(), state.instances.clone())
        };
        let demand = |(pool, queue): (PoolId, QueueId)| {
            let queue = read(queue)?;
            let mut demand = Demand { waiting: queue.counts.ready, ..Demand::default() };
            let none = Seen { connected: false, busy: 0, retired: false };
            for (job, instance) in instances.iter().filter(|(_, instance)| instance.pool == pool) {
                let seen = demand.instances.entry(*job).or_insert(none);
                seen.connected = instance.connected;
                seen.retired = instance.retired && instance.receiving == 0;
            }
            for (job, count) in &queue.holders {
                demand.instances.entry(*job).or_insert(none).busy = *count;
                demand.running += u64::from(*count);
            }
            Some((pool, demand))
        };
        pools.into_iter().filter_map(demand).collect()
    }
}

impl State {
    fn instance(&mut self, pool: PoolId, job: JobId) -> &mut Instance {
        let new = Instance { pool, connected: false, retired: false, receiving: 0 };
        self.instances.entry(job).or_insert(new)
    }

    pub(super) fn count_receive(&mut self, holder: Option<JobId>, more: i32) {
        if let Some(instance) = holder.and_then(|job| self.instances.get_mut(&job)) {
            instance.receiving = instance.receiving.saturating_add_signed(more);
        }
    }

    pub(super) fn is_retired(&self, holder: Option<JobId>) -> bool {
        is_retired(&self.instances, holder)
    }
}

/// Whether this is an instance that is given nothing any more.
pub(super) fn is_retired(instances: &BTreeMap<JobId, Instance>, holder: Option<JobId>) -> bool {
    holder.and_then(|job| instances.get(&job)).is_some_and(|instance| instance.retired)
}
