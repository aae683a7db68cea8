//! Performs what triggers ask for: says which sources are to be looked at. No business rules.

use std::sync::Arc;

use super::id::TriggerId;
use super::lookout::{Lookout, Post};
use super::state::{Effect, Trigger};
use crate::durable::Perform;

/// The performer.
#[derive(Debug)]
pub struct TriggerPerformer(pub(crate) Lookout);

impl Perform<Trigger> for TriggerPerformer {
    fn perform(&self, id: TriggerId, state: &Trigger, effect: Effect) {
        match effect {
            Effect::Watch => {
                let (incarnation, generation) = (state.incarnation, state.generation);
                self.0.watch(id, Post { incarnation, generation, given: Arc::clone(state.given()) });
            }
            Effect::Unwatch => self.0.unwatch(id),
        }
    }

    fn purged(&self, id: TriggerId) {
        self.0.unwatch(id);
    }
}
