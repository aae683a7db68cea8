//! Performs what schedules ask for, which is nothing: all that they do are messages in the outbox.

use super::id::ScheduleId;
use super::state::{Effect, Schedule};
use crate::durable::Perform;

/// The performer.
#[derive(Debug)]
pub struct SchedulePerformer;

impl Perform<Schedule> for SchedulePerformer {
    fn perform(&self, _: ScheduleId, _: &Schedule, effect: Effect) {
        match effect {}
    }
}
