//! What becomes of a job for whose concurrency key places are short: it waits, is skipped, or gives way. Pure.
//!
//! Not responsible for: who has to (`crate::admission`).

use super::{Outcome, changed, unchanged};
use crate::id::JobId;
use crate::job::cause::Cause;
use crate::job::draft::Draft;
use crate::job::effect::Effect;
use crate::job::state::{Ending, Phase, Then};
use crate::job::view::JobState;

/// It may wait.
pub(super) fn accepted(mut draft: Draft, attempt: u32) -> Outcome {
    if !asks(&draft, attempt) || draft.job.place.is_none_or(|place| place.accepted) {
        return unchanged();
    }
    draft.quiet = true;
    if let Some(place) = &mut draft.job.place {
        place.accepted = true;
    }
    changed(draft)
}

/// It is not to run.
pub(super) fn skipped(mut draft: Draft, attempt: u32, message: &str) -> Outcome {
    if !asks(&draft, attempt) || draft.job.place.is_none_or(|place| place.accepted) {
        return unchanged();
    }
    draft.withdraw();
    draft.finish(JobState::Cancelled, Ending::new(Cause::Skipped, message));
    changed(draft)
}

/// Whether it waits for its first grant under the key, and for this attempt.
fn asks(draft: &Draft, attempt: u32) -> bool {
    let asks = draft.job.place.is_some_and(|place| !place.held);
    asks && attempt == draft.job.attempt + 1 && matches!(draft.job.phase, Phase::Queued { .. })
}

/// It is to make room for another job. What ends already is left to end: should it then go on after all, it hears this
/// again.
pub(super) fn displaced(mut draft: Draft, by: JobId) -> Outcome {
    if draft.job.place.is_none() {
        return unchanged();
    }
    match draft.job.phase {
        Phase::Finished(_) | Phase::Delayed { .. } | Phase::Suspended => return unchanged(),
        Phase::Stopping { then: Then::Suspend | Then::Restart, .. } => {
            draft.job.phase = Phase::Stopping { then: Then::GiveWay { by }, stop_at: None };
        }
        Phase::Stopping { .. } => return unchanged(),
        Phase::Starting | Phase::Running { .. } => {
            draft.say(format!("stopping: the job {by} replaces it"));
            draft.stop(Then::GiveWay { by });
        }
        Phase::AwaitingCallback { .. } => draft.gave_way(by),
        Phase::Queued { .. } | Phase::BackingOff { .. } => {
            draft.withdraw();
            draft.gave_way(by);
        }
    }
    changed(draft)
}

impl Draft {
    /// It made room.
    pub(in crate::job) fn gave_way(&mut self, by: JobId) {
        let key = self.job.given.spec.concurrency.as_ref().map_or("", |asked| asked.key.as_str());
        let message = format!("replaced by the job {by}, which has the concurrency key `{key}` too");
        let ending = Ending::new(Cause::Preempted, message);
        if self.job.has_attempt() {
            self.end_attempt(&ending);
        }
        self.finish(JobState::Cancelled, ending);
    }

    /// It lives no more under its concurrency key.
    pub(in crate::job) fn leave_place(&mut self) {
        if self.job.place.take().is_some() {
            self.effects.push(Effect::LeavePlace);
        }
    }
}
