//! What follows from the state of an array: which children are started, and when it is over. Pure.

use std::sync::Arc;

use super::state::{Array, Outcome, Phase, Record};
use crate::clock::Timestamp;
use crate::durable::{Change, Message, Step};
use crate::job;
use crate::job::event::Event as JobEvent;
use crate::job::parent::{ArrayParent, Parent};
use crate::limits::SCHEDULE_MESSAGE_CHARS_MAX;
use crate::schedule;

/// The labels by which the children of an array are found. Users cannot set them: their namespace is kept.
pub(crate) const LABEL: &str = "dogwatch.array";
const LABEL_INDEX: &str = "dogwatch.index";

/// A transition that is being made.
pub(super) struct Draft {
    pub(super) array: Array,
    pub(super) now: Timestamp,
    pub(super) outbox: Vec<Message>,
    pub(super) texts: Vec<String>,
    pub(super) is_changed: bool,
}

impl Draft {
    pub(super) fn of(array: &Array, now: Timestamp) -> Self {
        Self { array: array.clone(), now, outbox: vec![], texts: vec![], is_changed: array.revision == 0 }
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.texts.push(text.into());
        self.is_changed = true;
    }

    /// Starts what there is room for, and ends what is over.
    pub(super) fn settle(mut self) -> Step<Array> {
        if self.array.phase == Phase::Running {
            match self.can_succeed() {
                true => self.start_missing(),
                false => {
                    self.say("too many children have not succeeded; the others are cancelled");
                    self.stop(Outcome::Failed);
                }
            }
        }
        self.end();
        if !self.is_changed {
            return Step::unchanged(vec![]);
        }
        let record = (!self.texts.is_empty()).then(|| {
            self.array.revision += 1;
            Record { at: self.now, text: self.texts.join("; ") }
        });
        Step { change: Change::Next(Arc::new(self.array), record), effects: vec![], outbox: self.outbox }
    }

    /// Whether as many may still succeed as have to.
    fn can_succeed(&self) -> bool {
        let (array, given) = (&self.array, &self.array.given().array);
        given.size - array.failed.len() - array.cancelled.len() >= given.needed()
    }

    fn start_missing(&mut self) {
        let (size, most) = (self.array.given().array.size, u64::from(self.array.given().array.parallelism));
        while self.array.active.len() < most {
            if let Some(index) = self.array.again.first() {
                self.array.again.remove(index);
                self.array.active.insert(index.into());
                self.tell(index, &JobEvent::RetryRequested);
                // Should it have been purged since, it is another job of this id; else this is refused.
                self.submit(index);
            } else if self.array.next < size {
                let index = self.array.next;
                self.array.next += 1;
                self.array.active.insert(index.into());
                self.submit(index);
            } else {
                return;
            }
            self.is_changed = true;
        }
    }

    fn submit(&mut self, index: u32) {
        let (id, given) = (self.array.id, self.array.given());
        let mut spec = (*given.spec).clone();
        spec.suspended = false;
        spec.labels.insert(LABEL.to_owned(), id.to_string());
        spec.labels.insert(LABEL_INDEX.to_owned(), index.to_string());
        let parent = ArrayParent { array: id, index, count: given.array.size, fire: given.fire };
        let submitted = job::event::Submitted {
            spec: spec.into(),
            vault: given.vault.clone(),
            claim: None,
            parent: Some(Parent::Array(parent)),
        };
        self.tell(index, &JobEvent::Submitted(Box::new(submitted)));
    }

    fn tell(&mut self, index: u32, event: &JobEvent) {
        self.outbox.push(Message::to::<job::state::Job>(self.array.id.child(index), event));
    }

    pub(super) fn tell_active(&mut self, event: &JobEvent) {
        let active: Vec<u64> = self.array.active.iter().collect();
        for index in active {
            self.tell(u32::try_from(index).unwrap_or(u32::MAX), event);
        }
    }

    /// Those under way are cancelled, and those that were to run again count as cancelled.
    pub(super) fn stop(&mut self, outcome: Outcome) {
        let again = std::mem::take(&mut self.array.again);
        self.array.cancelled.extend(&again);
        self.array.phase = Phase::Stopping { outcome };
        self.tell_active(&JobEvent::CancelRequested);
    }

    fn end(&mut self) {
        let size = self.array.given().array.size;
        let outcome = match self.array.phase {
            _ if !self.array.active.is_empty() => return,
            Phase::Stopping { outcome } => outcome,
            Phase::Running if self.array.next == size && self.array.again.is_empty() => Outcome::Succeeded,
            _ => return,
        };
        let array = &self.array;
        let (failed, cancelled) = (array.failed.len(), array.cancelled.len());
        let text = format!("over: {} succeeded, {failed} failed, {cancelled} cancelled", array.succeeded);
        self.finish(outcome, text);
    }

    /// It is over, and the schedule that fired is told.
    pub(super) fn finish(&mut self, outcome: Outcome, text: String) {
        self.array.phase = Phase::Finished { outcome, at: self.now };
        if let Some(fire) = self.array.given().fire {
            let message = Some(text.chars().take(SCHEDULE_MESSAGE_CHARS_MAX).collect());
            let end = Box::new(schedule::End { state: self.array.state().as_job(), message });
            let run = Box::new(schedule::Run::Array(self.array.id));
            let event = schedule::Event::RunEnded { run, end };
            self.outbox.push(Message::to::<schedule::Schedule>(fire.schedule, &event));
        }
        self.say(text);
    }
}
