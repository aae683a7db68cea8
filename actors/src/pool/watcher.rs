//! Looks at the demand of pools and tells them of it.
//!
//! It looks when work comes that nobody takes, and now and then while a pool has work or instances. What it tells is
//! compared with what the pool knows durably, so that nothing is told twice, and nothing is lost with this process.
//!
//! Not responsible for: what follows from a demand.

use super::state::Event;
use super::{Demand, Pool};
use crate::durable::host::Host;
use crate::limits::{POOL_LOOK_EVERY, POOL_LOOK_PAUSE};
use crate::orchestration::executor::Remote;

/// The watcher.
#[derive(Clone)]
pub(crate) struct Watcher {
    /// Where work waits.
    pub(crate) remote: Remote,
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
            tokio::select! {
                () = self.remote.unserved() => {}
                () = later => {}
            }
        }
    }

    /// One look at every pool; whether there is a reason to look again without being told of one.
    async fn look(&self) -> bool {
        let mut look_again = false;
        for (id, demand) in self.remote.demands() {
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
}
