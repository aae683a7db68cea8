//! Performs what pools ask for: tells the remote executor which activities are looked at, and which instances are
//! given no more work. No business rules.

use super::id::PoolId;
use super::spec::Source;
use super::state::{Effect, Pool};
use crate::durable::Perform;
use crate::orchestration::executor::Remote;
use crate::orchestration::executor::remote::Bound;

/// The performer. Without workers there is nothing to be looked at, and no instance ever connects.
#[derive(Debug)]
pub struct PoolPerformer(pub Option<Remote>);

impl Perform<Pool> for PoolPerformer {
    fn perform(&self, id: PoolId, state: &Pool, effect: Effect) {
        let Some(remote) = &self.0 else { return };
        match effect {
            Effect::Watch => {
                let Source::Activities { hub, .. } = state.spec().source();
                remote.bind(id, Bound { hub: hub.to_owned(), takes: state.names() });
            }
            Effect::Unwatch => remote.unbind(id),
            Effect::Retire(job) => remote.retire(id, job),
            Effect::Forget(job) => remote.forget_instance(job),
        }
    }

    fn purged(&self, id: PoolId) {
        if let Some(remote) = &self.0 {
            remote.unbind(id);
        }
    }
}
