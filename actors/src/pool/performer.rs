//! Performs what pools ask for: tells those who have the work what is looked at, and which instances are given no more of
//! it. No business rules.

use super::id::PoolId;
use super::spec::Source;
use super::state::{Effect, Pool};
use crate::durable::Perform;
use crate::orchestration::executor::Remote;
use crate::orchestration::executor::remote::Bound;
use crate::queue::Desk;

/// The performer.
#[derive(Debug)]
pub struct PoolPerformer {
    /// Who has the activities. Without workers there is nothing to be looked at, and no instance ever connects.
    pub(crate) remote: Option<Remote>,
    /// Who gives messages.
    pub(crate) desk: Desk,
}

impl Perform<Pool> for PoolPerformer {
    fn perform(&self, id: PoolId, state: &Pool, effect: Effect) {
        match state.spec().source() {
            Source::Queue(queue) => match effect {
                Effect::Watch => {
                    // It may have been declared for activities before.
                    self.remote.iter().for_each(|remote| remote.unbind(id));
                    self.desk.bind(id, queue);
                }
                Effect::Unwatch => self.desk.unbind(id),
                Effect::Retire(job) => self.desk.retire(id, job),
                Effect::Forget(job) => self.desk.forget_instance(queue, job),
            },
            Source::Activities { hub, .. } => {
                if effect == Effect::Watch {
                    self.desk.unbind(id);
                }
                let Some(remote) = &self.remote else { return };
                match effect {
                    Effect::Watch => {
                        remote.bind(id, Bound { hub: hub.to_owned(), takes: state.names() });
                    }
                    Effect::Unwatch => remote.unbind(id),
                    Effect::Retire(job) => remote.retire(id, job),
                    Effect::Forget(job) => remote.forget_instance(job),
                }
            }
        }
    }

    fn purged(&self, id: PoolId) {
        self.desk.unbind(id);
        if let Some(remote) = &self.remote {
            remote.unbind(id);
        }
    }
}
