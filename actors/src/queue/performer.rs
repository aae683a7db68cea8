//! Performs what queues ask for: tells those who asked, and wakes those who wait. No business rules.

use super::desk::Desk;
use super::event::Effect;
use super::id::QueueId;
use super::state::Queue;
use crate::durable::Perform;

/// The performer.
#[derive(Debug)]
pub struct QueuePerformer(pub(crate) Desk);

impl Perform<Queue> for QueuePerformer {
    fn perform(&self, id: QueueId, _: &Queue, effect: Effect) {
        match effect {
            Effect::Answer(answers) => self.0.answered(id, &answers),
            Effect::Ready(ready) => self.0.ready(id, ready),
        }
    }

    fn purged(&self, id: QueueId) {
        self.0.gone(id);
    }
}
