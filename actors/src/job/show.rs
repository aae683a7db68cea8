//! A job as its users see it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::{Attempt, Job, Phase};
use super::view::{AttemptView, JobView};
use crate::durable::Machine;

impl Job {
    fn waits_for(&self) -> String {
        let key = self.given.spec.concurrency.as_ref().map(|asked| &asked.key);
        match key.filter(|_| self.place.is_some_and(|place| !place.held)) {
            Some(key) => {
                format!("waiting for a free slot, and for a place under the concurrency key `{key}`")
            }
            None => "waiting for a free slot".to_owned(),
        }
    }

    /// The job in the shape of the public contract.
    pub fn view(&self) -> JobView {
        let ending = match &self.phase {
            Phase::Finished(outcome) => Some(&outcome.ending),
            _ => self.attempts.iter().rev().find_map(|attempt| attempt.ending.as_ref()),
        };
        let trouble = self.trouble.as_ref().map(|trouble| trouble.message.clone());
        let waiting = matches!(self.phase, Phase::Queued { .. }).then(|| self.waits_for());
        JobView {
            id: self.id,
            name: self.given.spec.name.clone(),
            state: self.state(),
            cause: ending.map(|ending| ending.cause),
            message: trouble
                .or_else(|| self.probe_failure())
                .or_else(|| ending.map(|ending| ending.message.clone()))
                .or(waiting),
            attempt: self.attempt,
            attempts: self.attempts.iter().map(|attempt| self.view_attempt(attempt)).collect(),
            progress: self.progress.clone(),
            output: self.output.clone(),
            labels: self.given.spec.labels.clone(),
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.outcome().map(|outcome| outcome.at),
            usage: self.usage.view(),
            next_at: self.deadline(),
            spec: Arc::clone(&self.given.spec),
            links: BTreeMap::new(),
        }
    }

    /// What the last probe saw of a container that does not pass.
    pub(super) fn probe_failure(&self) -> Option<String> {
        let (container, message) = self.failing_probes.first_key_value()?;
        Some(format!("the probe of `{container}` fails: {message}"))
    }

    fn view_attempt(&self, attempt: &Attempt) -> AttemptView {
        AttemptView {
            number: attempt.number,
            runtime_id: attempt.runtime_id.clone(),
            state: self.attempt_state(attempt),
            exit_code: attempt.exit_code,
            cause: attempt.ending.as_ref().map(|ending| ending.cause),
            message: attempt.ending.as_ref().map(|ending| ending.message.clone()),
            started_at: attempt.started_at,
            finished_at: attempt.finished_at,
            usage: attempt.ending.is_some().then_some(attempt.usage).flatten().map(|usage| usage.view()),
        }
    }
}
