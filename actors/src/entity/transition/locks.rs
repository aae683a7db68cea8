//! Who has an entity for itself. Pure.
//!
//! An orchestration asks for a set of entities by one request, which goes through the set in the order of the ids: the
//! one that it comes to locks itself, once everything before it is done, and passes it on in the same commit; the last
//! one tells the owner. As everybody takes them in the same order, no two wait for each other.
//!
//! No lock is left behind, however far a request got when its owner ended. What an owner asks for and takes back goes
//! to the first entity in that order; an unlock that follows its request takes the same way, and each entity passes it
//! on only after it has passed on the request: so it comes to every entity behind the request, and releases what that
//! had locked. An owner that has been told that it holds all of them may unlock each by itself.
//!
//! An unlock waits for what its owner had asked of the entity before; then everybody else has their turn again.

use super::super::event::{Entry, Event, LockRequest, Unlock};
use super::super::runs::Runs;
use super::super::state::{Entity, Lock};
use super::Draft;
use crate::durable::{Message, Step};
use crate::orchestration::event::Event as Told;
use crate::orchestration::state::Orchestration;

impl Draft {
    pub(super) fn lock_requested(mut self, request: &LockRequest) -> Step<Entity> {
        if self.next.is_idle() && self.next.quarantined.is_none() {
            // Nothing is before it, so it need not be kept.
            self.lock(request);
        } else {
            let entry = self.record(Entry::LockRequested(Box::new(request.clone())));
            self.next.queue.push(entry);
            self.next.newest_gate = entry;
        }
        self.advance();
        self.step()
    }

    /// Gives it to the owner of the request, and passes that on.
    fn lock(&mut self, request: &LockRequest) {
        let next = request.set.get(request.position + 1).copied();
        let (section, owner) = (request.section.clone(), request.owner);
        self.next.lock = Some(Lock { section: section.clone(), owner, next });
        // What the owner sent behind its request, before it had the lock, is its own all the same.
        let may_hold_own = self.next.queue.reaches_below(self.next.newest_sent);
        self.next.unsearched =
            if may_hold_own { self.next.queue.upto(self.next.newest_sent) } else { Runs::default() };
        self.outbox.push(match next {
            Some(entity) => {
                let request = LockRequest { position: request.position + 1, ..request.clone() };
                Message::to::<Entity>(entity, &Event::LockRequested(Box::new(request)))
            }
            None => {
                let (created_at, execution) = (owner.created_at, owner.execution);
                let (task, rewinds) = (request.task, request.rewinds);
                let event = Told::LockGranted { created_at, execution, task, rewinds, section };
                Message::to::<Orchestration>(owner.instance, &event)
            }
        });
    }

    /// Takes it from its owner. What is left of the owner's takes its place among what waits.
    fn unlock(&mut self, follows: bool) {
        let Some(lock) = self.next.lock.take() else { return };
        if follows {
            self.outbox.extend(passed_on(&lock));
        }
        let own = std::mem::take(&mut self.next.own);
        self.next.newest_sent = self.next.newest_sent.max(own.newest().unwrap_or(0));
        self.next.queue.merge(&own);
        self.next.unsearched = Runs::default();
    }

    pub(super) fn unlocked(mut self, unlock: &Unlock) -> Step<Entity> {
        let is_mine = self.next.lock.as_ref().is_some_and(|lock| lock.ends_by(unlock));
        if is_mine && !self.next.is_running && self.next.own.is_empty() && self.next.unsearched.is_empty() {
            self.unlock(unlock.follows);
        } else if is_mine || self.next.queue.reaches_below(self.next.newest_gate) {
            // The owner's operations come first; or its request waits, and this behind it.
            let entry = self.record(Entry::Unlocked(Box::new(unlock.clone())));
            self.next.newest_gate = entry;
            if is_mine {
                self.next.own.push(entry);
            } else {
                self.next.queue.push(entry);
                self.next.newest_sent = entry;
            }
        } else {
            return self.unchanged();
        }
        self.advance();
        self.step()
    }

    pub(super) fn lock_reached(mut self, number: u64, entry: u64, request: &LockRequest) -> Step<Entity> {
        if !self.next.runs(number) {
            return self.unchanged();
        }
        if self.next.lock.is_some() || self.next.queue.front() != Some(entry) {
            return self.look_again();
        }
        self.take_out(entry);
        self.next.is_running = false;
        self.lock(request);
        self.advance();
        self.step()
    }

    pub(super) fn unlock_reached(mut self, number: u64, entry: u64, unlock: &Unlock) -> Step<Entity> {
        if !self.next.runs(number) {
            return self.unchanged();
        }
        if self.next.next_up().front() != Some(entry) {
            return self.look_again();
        }
        self.take_out(entry);
        self.next.is_running = false;
        if self.next.lock.as_ref().is_some_and(|lock| lock.ends_by(unlock)) {
            self.unlock(unlock.follows);
        }
        self.advance();
        self.step()
    }

    pub(super) fn own_found(mut self, number: u64, entries: &[u64]) -> Step<Entity> {
        if !self.next.runs(number) {
            return self.unchanged();
        }
        self.next.is_running = false;
        self.next.unsearched = Runs::default();
        if self.next.lock.is_some() {
            let found: Runs =
                entries.iter().copied().filter(|entry| self.next.queue.remove(*entry)).collect();
            self.next.own.merge(&found);
        }
        self.advance();
        self.step()
    }

    /// Nobody will unlock it: its owner is over, or was never heard of.
    pub(super) fn owner_gone(mut self, unlock: &Unlock) -> Step<Entity> {
        if !self.next.lock.as_ref().is_some_and(|lock| lock.ends_by(unlock)) {
            return self.unchanged();
        }
        self.unlock(true);
        self.advance();
        self.step()
    }
}

/// The unlock that follows the request to where it went on from here.
pub(super) fn passed_on(lock: &Lock) -> Option<Message> {
    let unlock = Unlock { section: lock.section.clone(), owner: lock.owner, follows: true };
    Some(Message::to::<Entity>(lock.next?, &Event::Unlocked(Box::new(unlock))))
}
