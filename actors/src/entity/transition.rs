//! The rules of an entity: what each event does. Pure.
//!
//! What concerns locks is in [`locks`].

mod locks;

use std::sync::Arc;

use super::event::{Answer, BatchEnd, Effect, Entry, Event, Operation, PurgeCondition, Rejected, StateAfter};
use super::id::EntityId;
use super::runs::Runs;
use super::state::Entity;
use crate::clock::Timestamp;
use crate::durable::{Change, Message, Step};
use crate::orchestration::event::Event as Told;
use crate::orchestration::state::{Orchestration, Status};

/// What an event comes to.
pub(super) type Applied = Result<Step<Entity>, Rejected>;

/// An entity in the middle of a transition.
struct Draft {
    next: Entity,
    now: Timestamp,
    entry: Option<Entry>,
    effects: Vec<Effect>,
    outbox: Vec<Message>,
}

/// What `event` does where there is no entity.
pub(super) fn create(id: EntityId, event: &Event, now: Timestamp) -> Option<Applied> {
    let nothing = Entity {
        id,
        revision: 0,
        modified_at: now,
        state: None,
        queue: Runs::default(),
        own: Runs::default(),
        unsearched: Runs::default(),
        newest_gate: 0,
        newest_sent: 0,
        scheduled: std::collections::BTreeMap::new(),
        batch: 0,
        is_running: false,
        lock: None,
        quarantined: None,
    };
    match event {
        Event::OperationRequested(_) | Event::LockRequested(_) => Some(apply(&nothing, event, now)),
        _ => None,
    }
}

/// What `event` does to an entity.
pub(super) fn apply(entity: &Entity, event: &Event, now: Timestamp) -> Applied {
    let draft = Draft { next: entity.clone(), now, entry: None, effects: vec![], outbox: vec![] };
    match event {
        Event::OperationRequested(operation) => Ok(draft.requested(operation)),
        Event::LockRequested(request) => Ok(draft.lock_requested(request)),
        Event::Unlocked(unlock) => Ok(draft.unlocked(unlock)),
        Event::BatchEnded(end) => Ok(draft.batch_ended(end)),
        Event::LockReached { number, entry, request } => Ok(draft.lock_reached(*number, *entry, request)),
        Event::UnlockReached { number, entry, unlock } => Ok(draft.unlock_reached(*number, *entry, unlock)),
        Event::OwnFound { number, entries } => Ok(draft.own_found(*number, entries)),
        Event::OwnerGone(unlock) => Ok(draft.owner_gone(unlock)),
        Event::PurgeRequested { condition } => draft.purge(*condition),
        Event::ReleaseRequested => draft.release(),
        Event::Ticked => Ok(draft.ticked()),
        Event::Quarantined { reason } => Ok(draft.quarantine(reason)),
    }
}

/// What must hold in the world in this state.
pub(super) fn resume(entity: &Entity) -> Vec<Effect> {
    if entity.is_running { vec![Effect::RunBatch { number: entity.batch }] } else { vec![] }
}

impl Draft {
    fn step(self) -> Step<Entity> {
        Step {
            change: Change::Next(Arc::new(self.next), self.entry),
            effects: self.effects,
            outbox: self.outbox,
        }
    }

    /// What was told is of no consequence: it is known, or too old.
    fn unchanged(self) -> Step<Entity> {
        Step::unchanged(vec![])
    }

    /// What was told does not fit: whoever told it looks again.
    fn look_again(self) -> Step<Entity> {
        Step::unchanged(resume(&self.next))
    }

    /// Keeps this; the number under which.
    fn record(&mut self, entry: Entry) -> u64 {
        self.entry = Some(entry);
        self.next.revision += 1;
        self.next.revision
    }

    /// Begins the next batch, where something may be run and nothing is.
    fn advance(&mut self) {
        let next = &mut self.next;
        let may_go_on = !next.next_up().is_empty() || !next.unsearched.is_empty();
        if may_go_on && !next.is_running && next.quarantined.is_none() {
            next.is_running = true;
            next.batch += 1;
            self.effects.push(Effect::RunBatch { number: next.batch });
        }
    }

    fn requested(mut self, operation: &Operation) -> Step<Entity> {
        let entry = self.record(Entry::Operation(Box::new(operation.clone())));
        let sender = operation.sender();
        let next = &mut self.next;
        if let Some(at) = operation.at().filter(|at| *at > self.now) {
            next.scheduled.insert(entry, at);
        } else if sender.is_some() && sender == next.lock.as_ref().map(|lock| lock.owner) {
            next.own.push(entry);
        } else {
            next.queue.push(entry);
            if sender.is_some() {
                next.newest_sent = entry;
            }
        }
        self.advance();
        self.step()
    }

    fn batch_ended(mut self, end: &BatchEnd) -> Step<Entity> {
        if !self.next.runs(end.number) {
            return self.unchanged();
        }
        let waits = |entry| self.next.queue.contains(entry) || self.next.own.contains(entry);
        if end.done.is_empty() || !end.done.iter().all(|done| waits(done.entry)) {
            return self.look_again();
        }
        for done in &end.done {
            self.take_out(done.entry);
            if let Some(answer) = &done.answer {
                self.outbox.push(answered(answer));
            }
        }
        match &end.state {
            StateAfter::Unchanged => {}
            StateAfter::Is(state) => self.next.state = Some(self.record(Entry::State(state.clone()))),
            StateAfter::Deleted => self.next.state = None,
        }
        for (index, (entity, signal)) in end.signals.iter().enumerate() {
            let spare = || format!("{}:{:x}.{index:x}", self.next.id, end.number);
            let operation = signal.clone().requested(None, spare);
            let event = Event::OperationRequested(Box::new(operation));
            self.outbox.push(Message::to::<Entity>(*entity, &event));
        }
        for (instance, start) in &end.starts {
            let mut start = start.clone();
            // One that is over gives way; one that runs goes on, and nobody hears of that.
            start.replaces = Status::ALL.into_iter().filter(|status| status.is_terminal()).collect();
            self.outbox.push(Message::to::<Orchestration>(*instance, &Told::StartRequested(Box::new(start))));
        }
        self.next.modified_at = self.now;
        self.next.is_running = false;
        self.advance();
        self.step()
    }

    /// Takes an entry out of what waits; tells whether it was there.
    fn take_out(&mut self, entry: u64) -> bool {
        self.next.own.remove(entry) || self.next.queue.remove(entry)
    }

    fn ticked(mut self) -> Step<Entity> {
        let next = &mut self.next;
        if next.is_empty() && super::machine::empty_until(next) <= self.now {
            return Step { change: Change::Purge, effects: vec![], outbox: vec![] };
        }
        let mut due: Vec<(Timestamp, u64)> = next.scheduled.iter().map(|(entry, at)| (*at, *entry)).collect();
        due.retain(|(at, _)| *at <= self.now);
        if due.is_empty() {
            return self.unchanged();
        }
        due.sort_unstable();
        for (_, entry) in due {
            next.scheduled.remove(&entry);
            next.queue.push(entry);
        }
        self.advance();
        self.step()
    }

    fn purge(self, condition: PurgeCondition) -> Applied {
        let next = &self.next;
        let may_go = match condition {
            PurgeCondition::Empty => next.is_empty(),
            PurgeCondition::Idle => next.is_idle() || next.quarantined.is_some(),
            PurgeCondition::Always => true,
        };
        if !may_go {
            return Err(Rejected::InUse);
        }
        // The others of its lock's set are not held any more either.
        let outbox = next.lock.iter().filter_map(locks::passed_on).collect();
        Ok(Step { change: Change::Purge, effects: vec![], outbox })
    }

    fn quarantine(mut self, reason: &str) -> Step<Entity> {
        if self.next.quarantined.is_some() {
            return self.unchanged();
        }
        self.next.quarantined = Some(reason.to_owned());
        self.next.is_running = false;
        self.effects.push(Effect::Forget);
        self.step()
    }

    fn release(mut self) -> Applied {
        self.next.quarantined.take().ok_or(Rejected::NotQuarantined)?;
        self.advance();
        Ok(self.step())
    }
}

/// The message to an orchestration that waits for this.
fn answered(answer: &Answer) -> Message {
    let Answer { caller, task, request_id, outcome } = answer.clone();
    let (created_at, execution) = (caller.created_at, caller.execution);
    let event = Told::EntityAnswered { created_at, execution, task, request_id, outcome };
    Message::to::<Orchestration>(caller.instance, &event)
}

#[cfg(test)]
mod tests;
