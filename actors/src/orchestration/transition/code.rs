//! What becomes of an instance whose code, or whose own actor, cannot go on. Pure.

use super::super::event::Effect;
use super::super::failure::{Failure, kinds};
use super::super::history::Note;
use super::super::state::{Blocked, Phase};
use super::{Applied, Draft, look};
use crate::durable::Step;

/// Panics of the code in a row after which an instance fails: the first may have been the fault of what was in memory,
/// and is followed by a replay.
const CODE_PANICS_MAX: u32 = 2;

impl Draft {
    pub(super) fn turn_blocked(mut self, execution: u32, turn: u32, reason: &str) -> Applied {
        let is_current = execution == self.next.execution && turn == self.next.turns + 1;
        let is_known = self.next.blocked.as_ref().is_some_and(|blocked| blocked.reason == reason);
        if !is_current || is_known || self.next.phase != Phase::Running {
            return Ok(Step::unchanged(vec![Effect::Forget]));
        }
        self.next.blocked = Some(Blocked { since: self.now, reason: reason.to_owned() });
        self.note = Some(Note::Blocked { reason: reason.to_owned() });
        self.effects.push(Effect::Forget);
        self.step()
    }

    pub(super) fn turn_panicked(mut self, execution: u32, turn: u32, message: &str) -> Applied {
        if execution != self.next.execution
            || turn != self.next.turns + 1
            || self.next.phase != Phase::Running
        {
            return Ok(Step::unchanged(vec![Effect::Forget]));
        }
        self.next.panics += 1;
        self.effects.push(Effect::Forget);
        if self.next.panics >= CODE_PANICS_MAX {
            self.fail(Failure::new(kinds::PANIC, message));
        } else {
            self.note = Some(Note::CodePanicked { message: message.to_owned() });
            self.effects.push(look(&self.next));
        }
        self.step()
    }

    pub(super) fn quarantined(mut self, reason: &str) -> Applied {
        if self.next.status().is_none_or(super::super::state::Status::is_terminal) {
            return Ok(Step::unchanged(vec![]));
        }
        self.fail(Failure::new(kinds::QUARANTINED, reason));
        self.step()
    }
}
