//! What an instance has to do with entities: what it asks of them, and what comes back. Pure.
//!
//! An answer is told to the code once, and only in the execution that called: it is matched with the task that is open.
//! A lock is given back when its execution ends, in the commit with which it does. One that was not granted yet is taken
//! back by an unlock that follows the request through the set (see `entity/transition/locks.rs`), because nobody here
//! knows how far it got.

use std::sync::Arc;

use super::super::entity::{EntityCall, EntityRequest, Section};
use super::super::history::{Arrival, Outcome};
use super::super::id::TaskId;
use super::super::state::{Orchestration, Phase};
use super::{Applied, Draft};
use crate::clock::Timestamp;
use crate::durable::{Change, Message, Step};
use crate::entity::event::{Asker, Caller, Event, LockRequest, Operation, Unlock};
use crate::entity::{Entity, EntityId};

impl Draft {
    fn as_caller(&self) -> Caller {
        let Orchestration { id, created_at, execution, .. } = self.next;
        Caller { instance: id, created_at, execution }
    }

    /// What tells its present execution from all others of the same id.
    fn execution(&self) -> (Timestamp, u32) {
        (self.next.created_at, self.next.execution)
    }

    fn send(&mut self, entity: EntityId, event: &Event) {
        self.outbox.push(Message::to::<Entity>(entity, event));
    }

    pub(super) fn message_entity(&mut self, call: &EntityCall) {
        let (caller, task) = (self.as_caller(), call.task);
        match &call.request {
            EntityRequest::Signal(signal) => {
                let spare = || format!("{}:{}.{task:x}", caller.instance, caller.execution);
                let operation = signal.clone().requested(Some(caller), spare);
                self.send(call.entity, &Event::OperationRequested(Box::new(operation)));
            }
            // Asked for already.
            EntityRequest::Call { .. } if self.next.calls.contains(task) => {}
            EntityRequest::Call { request_id, operation, input, trace } => {
                let operation = Operation {
                    request_id: request_id.clone(),
                    operation: operation.clone(),
                    input: input.clone(),
                    asker: Asker::Call { caller, task },
                    trace: trace.clone(),
                };
                self.next.calls.insert(task);
                self.send(call.entity, &Event::OperationRequested(Box::new(operation)));
            }
            EntityRequest::Lock { section, set } => self.lock(task, section, set),
            EntityRequest::Unlock { section } => self.unlock(section, call.entity),
        }
    }

    fn lock(&mut self, task: TaskId, section: &str, set: &[EntityId]) {
        if self.next.sections.contains_key(section) {
            // Asked for already.
            return;
        }
        // Everybody takes them in the same order, so that no two wait for each other.
        let mut set = set.to_vec();
        set.sort_unstable();
        set.dedup();
        let Some(first) = set.first().copied() else {
            // Of nothing it has all at once.
            return self.arrive(vec![Arrival::LockGranted { task, section: section.to_owned() }]);
        };
        let (owner, rewinds) = (self.as_caller(), self.next.rewinds);
        let request =
            LockRequest { section: section.to_owned(), set: set.clone(), position: 0, owner, task, rewinds };
        self.next.sections.insert(section.to_owned(), Section { task, set, is_held: false, rewinds });
        self.send(first, &Event::LockRequested(Box::new(request)));
    }

    /// Gives back one entity of a section; all of a section that is only asked for.
    fn unlock(&mut self, name: &str, entity: EntityId) {
        let Some(section) = self.next.sections.get_mut(name) else { return };
        if !section.is_held {
            return self.give_back(name);
        }
        let known = section.set.len();
        section.set.retain(|other| *other != entity);
        let (is_known, is_over) = (section.set.len() < known, section.set.is_empty());
        if is_over {
            self.next.sections.remove(name);
        }
        if is_known {
            self.tell_unlocked(name, entity, false);
        }
    }

    /// Gives back what is left of a section.
    fn give_back(&mut self, name: &str) {
        let Some(section) = self.next.sections.remove(name) else { return };
        let told = if section.is_held { section.set.len() } else { 1 };
        for entity in section.set.into_iter().take(told) {
            self.tell_unlocked(name, entity, !section.is_held);
        }
    }

    fn tell_unlocked(&mut self, section: &str, entity: EntityId, follows: bool) {
        let unlock = Unlock { section: section.to_owned(), owner: self.as_caller(), follows };
        self.send(entity, &Event::Unlocked(Box::new(unlock)));
    }

    /// The execution ends: nothing of it is locked any more.
    pub(super) fn unlock_all(&mut self) {
        let sections: Vec<String> = self.next.sections.keys().cloned().collect();
        for section in sections {
            self.give_back(&section);
        }
    }

    /// The code waits no longer for an answer, or for a lock.
    pub(super) fn let_go_of(&mut self, task: TaskId) {
        self.next.calls.remove(task);
        let asked = self.next.sections.iter().find(|(_, section)| section.task == task && !section.is_held);
        if let Some(section) = asked.map(|(name, _)| name.clone()) {
            self.give_back(&section);
        }
    }

    pub(super) fn entity_answered(
        mut self,
        execution: (Timestamp, u32),
        task: TaskId,
        request_id: &str,
        outcome: &Outcome,
    ) -> Applied {
        if execution != self.execution() || !self.next.calls.remove(task) {
            return Ok(Step::unchanged(vec![]));
        }
        let (request_id, outcome) = (request_id.to_owned(), outcome.clone());
        // One that has failed is over, and hears of it should it be rewound.
        let over = matches!(self.next.phase, Phase::Failed { .. }).then_some(self.next.updated_at);
        self.arrive(vec![Arrival::EntityAnswered { task, request_id, outcome }]);
        let mut step = self.step()?;
        if let (Some(updated_at), Change::Next(next, _)) = (over, &mut step.change) {
            Arc::make_mut(next).updated_at = updated_at;
        }
        Ok(step)
    }

    pub(super) fn lock_granted(
        mut self,
        execution: (Timestamp, u32),
        asked: (TaskId, u32),
        name: &str,
    ) -> Applied {
        let is_current = execution == self.execution();
        let section = self.next.sections.get_mut(name);
        // The code may use a name again, and a rewind asks once more for what was given back.
        let section = section.filter(|section| (section.task, section.rewinds) == asked);
        let Some(section) = section.filter(|section| is_current && !section.is_held) else {
            return Ok(Step::unchanged(vec![]));
        };
        section.is_held = true;
        let task = section.task;
        if matches!(self.next.phase, Phase::Terminating { .. }) {
            // Its code sees nothing any more; it is given back when all that it started has ended.
            return self.unrecorded();
        }
        self.arrive(vec![Arrival::LockGranted { task, section: name.to_owned() }]);
        self.step()
    }
}
