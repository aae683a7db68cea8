//! Performs what arrays ask for, which is nothing: all that they do are messages in the outbox.

use super::id::ArrayId;
use super::state::{Array, Effect};
use crate::durable::Perform;

/// The performer.
#[derive(Debug)]
pub struct ArrayPerformer;

impl Perform<Array> for ArrayPerformer {
    fn perform(&self, _: ArrayId, _: &Array, effect: Effect) {
        match effect {}
    }
}
