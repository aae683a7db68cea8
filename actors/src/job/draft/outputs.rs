//! What an attempt left, in the record of its job. Pure.

use crate::files::Collected;
use crate::job::cause::Cause;
use crate::job::draft::Draft;
use crate::job::effect::Effect;
use crate::job::state::{Attempt, Ending};
use crate::limits::ARTIFACTS_KEPT_MAX;

impl Draft {
    /// Writes what was collected into the attempt's record. Of the oldest attempts it is dropped when it is too much.
    pub(in crate::job) fn note_outputs(&mut self, outputs: &Collected) {
        if let Some(record) = self.job.newest() {
            record.artifacts.clone_from(&outputs.artifacts);
            record.output_fault.clone_from(&outputs.fault);
        }
        let mut count: usize = self.job.attempts.iter().map(|attempt| attempt.artifacts.len()).sum();
        let newest = self.job.attempt;
        for index in 0..self.job.attempts.len() {
            if count <= ARTIFACTS_KEPT_MAX || self.job.attempts[index].number == newest {
                break;
            }
            let gone = self.job.attempts[index].clone();
            count -= gone.artifacts.len();
            self.job.attempts[index].artifacts.clear();
            self.drop_artifacts(&gone);
        }
    }

    /// Has the artifacts of an attempt removed that the job lists no more.
    pub(super) fn drop_artifacts(&mut self, attempt: &Attempt) {
        if !attempt.artifacts.is_empty() {
            self.effects.push(Effect::DropArtifacts { attempt: attempt.number });
        }
    }

    /// How the attempt ended, in the light of its outputs: one that did all it was asked and left not all of it failed.
    pub(super) fn in_the_light_of_outputs(&self, ending: Ending) -> Ending {
        let fault = self.job.attempts.last().and_then(|record| record.output_fault.as_ref());
        match fault {
            Some(fault) if ending.cause == Cause::Success => Ending::new(Cause::OutputFailed, fault.clone()),
            _ => ending,
        }
    }
}
