//! Brings back what was live when the process last ended.
//!
//! What may be running comes first, so that the fleet knows what is taken before it grants slots to others.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::durable::timers::Router;
use crate::durable::{Machine, keys};
use crate::fault::{self, Point};
use crate::fleet::FleetHandle;
use crate::job::machine::index_by_state;
use crate::job::state::Job;
use crate::job::view::JobState;
use crate::store::{KeyRange, Order, Store};

/// Machines roused at the same time.
const ROUSED_AT_ONCE: usize = 1_024;

/// The pause before what cannot be read is read again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Brings back what was live. Begun anew it does no harm: to what is in memory already it is nothing new.
#[derive(Clone)]
pub(super) struct Recovery {
    pub(super) store: Arc<dyn Store>,
    pub(super) router: Arc<Router>,
    /// Told when everybody who may hold a place has said so.
    pub(super) fleet: FleetHandle,
    /// Told when it is done.
    pub(super) done: watch::Sender<bool>,
}

impl Recovery {
    /// Until everything is back: a store that cannot be read is asked again, or what was live would rest for ever.
    pub(super) async fn run(self) {
        let may_run = [JobState::Stopping, JobState::Running, JobState::Starting];
        for state in may_run {
            self.rouse(Job::KIND, keys::listed(Job::KIND, &index_by_state(state.name()))).await;
        }
        fault::reach(Point::RecoveryRunningRoused);
        for kind in self.router.keys().copied() {
            self.rouse(kind, keys::all_live(kind)).await;
        }
        fault::reach(Point::RecoveryAllRoused);
        self.fleet.open();
        self.done.send_replace(true);
    }

    async fn rouse(&self, kind: &'static str, prefix: Vec<u8>) {
        let Some(host) = self.router.get(kind) else { return };
        let mut range = KeyRange::prefix(prefix.clone());
        loop {
            let rows = match self.store.scan(range.clone(), Order::Ascending, ROUSED_AT_ONCE) {
                Ok(rows) => rows,
                Err(error) => {
                    // Not recovered before everything is back: a job that nobody looks after is lost until then.
                    tracing::error!(kind, %error, "what was live cannot be read; trying again");
                    tokio::time::sleep(RETRY_AFTER).await;
                    continue;
                }
            };
            let Some((last, _)) = rows.last() else { return };
            range = range.after(last);
            let roused = rows.iter().map(|(key, _)| host.rouse(&key[prefix.len()..]));
            futures_util::future::join_all(roused).await;
        }
    }
}
