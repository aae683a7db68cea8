//! Looks at the demand of pools and tells them of it.
//!
//! It looks when work comes that nobody takes, and now and then while a pool has work or instances. What it tells is
//! compared with what the pool knows durably, so that nothing is told twice, and nothing is lost with this process.
//!
//! Not responsible for: what follows from a demand.

use std::sync::Arc;

use super::id::PoolId;
use super::state::Event;
use super::{Demand, Pool};
use crate::durable::host::Host;
use crate::durable::published::Published;
use crate::limits::{POOL_LOOK_EVERY, POOL_LOOK_PAUSE};
use crate::orchestration::executor::Remote;
use crate::queue::{Desk, Queue};

/// The watcher.
#[derive(Clone)]
pub(crate) struct Watcher {
    /// Where activities wait, where workers may connect at all.
    pub(crate) remote: Option<Remote>,
    /// Where workers of queues ask for messages.
    pub(crate) desk: Desk,
    /// Where messages wait.
    pub(crate) queues: Arc<Published<Queue>>,
    /// Who is told.
    pub(crate) pools: Host<Pool>,
}

impl Watcher {
    /// Looks, for ever.
    pub(crate) async fn run(self) {
        loop {
            let look_again = self.look().await;
            tokio::time::sleep(POOL_LOOK_PAUSE).await;
            let later = async {
                match look_again {
                    true => tokio::time::sleep(POOL_LOOK_EVERY).await,
                    false => std::future::pending().await,
                }
            };
            let unserved = async {
                match &self.remote {
                    Some(remote) => remote.unserved().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = unserved => {}
                () = self.desk.unserved() => {}
                () = later => {}
            }
        }
    }

    /// One look at every pool; whether there is a reason to look again without being told of one.
    async fn look(&self) -> bool {
        let mut look_again = false;
        let (demands, all_read) = self.demands();
        look_again |= !all_read;
        for (id, demand) in demands {
            let pool = match self.pools.published().read(id) {
                Ok(Some(pool)) => pool,
                // It is gone, or is tried again.
                known => {
                    look_again |= known.is_err();
                    continue;
                }
            };
            look_again |= demand != Demand::default() || !pool.instances.is_empty();
            if pool.has_seen(&demand) {
                continue;
            }
            if let Err(error) = self.pools.ask(id, Event::DemandSeen(demand)).await {
                tracing::warn!(pool = %id, %error, "a pool cannot be told of its demand; trying again");
                look_again = true;
            }
        }
        look_again
    }

    /// The demand of every pool that is looked at, and whether each could be read.
    fn demands(&self) -> (Vec<(PoolId, Demand)>, bool) {
        let mut demands = self.remote.as_ref().map(Remote::demands).unwrap_or_default();
        let all_read = std::cell::Cell::new(true);
        let read = |queue| match self.queues.read(queue) {
            Ok(queue) => queue,
            Err(error) => {
                tracing::warn!(%queue, %error, "a queue cannot be read; trying again");
                all_read.set(false);
                None
            }
        };
        demands.extend(self.desk.demands(read));
        (demands, all_read.get())
    }
}
