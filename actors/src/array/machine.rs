//! The array as a [`Machine`]: what each event does. What follows from the state alone is in `rules.rs`. Pure.

use std::sync::Arc;

use super::bits::Bits;
use super::id::ArrayId;
use super::rules::Draft;
use super::state::{Array, Effect, Event, Given, Outcome, Phase, Record, Rejected};
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine, Step, keys};
use crate::job;
use crate::job::view::JobState;
use crate::orchestration::tasks::TaskSet;
use crate::store::Key;

impl Machine for Array {
    const KIND: &'static str = "array";
    const VERSION: u8 = 1;
    const HAS_GIVEN: bool = true;

    type Id = ArrayId;
    type Event = Event;
    type Effect = Effect;
    type Record = Record;
    type Given = Given;
    type Rejection = Rejected;

    fn create(id: ArrayId, event: &Event, now: Timestamp) -> Option<Result<Step<Self>, Rejected>> {
        let Event::Submitted(given) = event else { return None };
        let array = Self {
            id,
            revision: 0,
            given: Some(Arc::new(given.as_ref().clone())),
            created_at: id.made_at().unwrap_or(now),
            phase: if given.spec.suspended { Phase::Suspended } else { Phase::Running },
            next: 0,
            active: TaskSet::default(),
            succeeded: 0,
            failed: Bits::default(),
            cancelled: Bits::default(),
            again: Bits::default(),
        };
        let mut draft = Draft::of(&array, now);
        draft.say("submitted");
        Some(Ok(draft.settle()))
    }

    fn apply(&self, event: &Event, now: Timestamp) -> Result<Step<Self>, Rejected> {
        let mut draft = Draft::of(self, now);
        match event {
            Event::Submitted(_) => return Err(Rejected::Exists),
            Event::ChildEnded { index, state } => draft.child_ended(*index, *state),
            Event::CancelRequested => draft.cancel()?,
            Event::SuspendRequested => draft.suspend()?,
            Event::ResumeRequested => draft.resume()?,
            Event::RetryRequested => draft.retry()?,
            Event::PurgeRequested if !matches!(self.phase, Phase::Finished { .. }) => {
                return Err(self.conflict("cancel it first"));
            }
            Event::PurgeRequested => return Ok(purge()),
            Event::Ticked if self.deadline().is_some_and(|due| due <= now) => return Ok(purge()),
            Event::Ticked => {}
            Event::Quarantined { reason } => draft.quarantine(reason),
        }
        Ok(draft.settle())
    }

    fn resume(&self) -> Vec<Effect> {
        vec![]
    }

    fn deadline(&self) -> Option<Timestamp> {
        let Phase::Finished { at, .. } = self.phase else { return None };
        self.given().spec.ttl_after_finished.map(|ttl| at.after(ttl.as_duration()))
    }

    fn tick() -> Event {
        Event::Ticked
    }

    fn quarantine(reason: String) -> Event {
        Event::Quarantined { reason }
    }

    fn releases(event: &Event) -> bool {
        matches!(event, Event::RetryRequested)
    }

    fn given(&self) -> Option<&Given> {
        self.given.as_deref()
    }

    fn with_given(self, given: Given) -> Self {
        Self { given: Some(Arc::new(given)), ..self }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    /// The stream of all events is one of jobs.
    fn is_announced(_: &Record) -> bool {
        false
    }

    /// The ends of its children wake it.
    fn liveness(&self) -> Liveness {
        match self.phase {
            Phase::Running | Phase::Suspended | Phase::Stopping { .. } => Liveness::Waiting,
            Phase::Finished { .. } => Liveness::Terminal,
        }
    }

    fn index(&self) -> Vec<Vec<u8>> {
        vec![]
    }

    fn owned_keys(&self) -> Vec<Key> {
        self.given().claim.iter().map(|digest| keys::claim(digest.as_bytes())).collect()
    }
}

fn purge() -> Step<Array> {
    Step { change: Change::Purge, effects: vec![], outbox: vec![] }
}

impl Array {
    pub(super) fn conflict(&self, message: &'static str) -> Rejected {
        Rejected::Conflict { state: self.state().name(), message }
    }
}

impl Draft {
    /// A child that is over is counted once; one that somebody ran again by itself is counted anew.
    fn child_ended(&mut self, index: u32, state: JobState) {
        let array = &mut self.array;
        let was_known = array.active.remove(index.into())
            || array.failed.remove(index)
            || array.cancelled.remove(index)
            || array.again.remove(index);
        if !was_known {
            return;
        }
        match state {
            JobState::Succeeded => array.succeeded += 1,
            JobState::Cancelled => drop(array.cancelled.insert(index)),
            _ => drop(array.failed.insert(index)),
        }
        self.is_changed = true;
    }

    fn cancel(&mut self) -> Result<(), Rejected> {
        match self.array.phase {
            Phase::Finished { .. } => Err(self.array.conflict("it is over; there is nothing to cancel")),
            Phase::Stopping { outcome: Outcome::Cancelled } => Ok(()),
            _ => {
                self.stop(Outcome::Cancelled);
                self.say("cancelled by request");
                Ok(())
            }
        }
    }

    fn suspend(&mut self) -> Result<(), Rejected> {
        match self.array.phase {
            Phase::Suspended => Ok(()),
            Phase::Running => {
                self.array.phase = Phase::Suspended;
                self.tell_active(&job::event::Event::SuspendRequested);
                self.say("suspended");
                Ok(())
            }
            _ => Err(self.array.conflict("only one that runs is suspended")),
        }
    }

    fn resume(&mut self) -> Result<(), Rejected> {
        match self.array.phase {
            Phase::Running => Ok(()),
            Phase::Suspended => {
                self.array.phase = Phase::Running;
                self.tell_active(&job::event::Event::ResumeRequested);
                self.say("resumed");
                Ok(())
            }
            _ => Err(self.array.conflict("only a suspended one goes on")),
        }
    }

    fn retry(&mut self) -> Result<(), Rejected> {
        let Phase::Finished { outcome, .. } = self.array.phase else {
            return Err(self.array.conflict("it is not over; its children are retried by their own policy"));
        };
        if outcome == Outcome::Succeeded && self.array.failed.is_empty() && self.array.cancelled.is_empty() {
            return Err(self.array.conflict("all of its children succeeded; submit another one"));
        }
        let (failed, cancelled) =
            (std::mem::take(&mut self.array.failed), std::mem::take(&mut self.array.cancelled));
        self.array.again.extend(&failed);
        self.array.again.extend(&cancelled);
        self.array.phase = Phase::Running;
        self.say(format!("{} children run again", self.array.again.len()));
        Ok(())
    }

    fn quarantine(&mut self, reason: &str) {
        let text = format!("its supervisor panicked again and again: {reason}; retry it to have it tried");
        self.finish(Outcome::Quarantined, text);
    }
}
