//! What of an entity's backlog is run next. Pure: its history is given as a function that reads one entry of it.

use super::event::{
    Answer, Asker, BatchEnd, Caller, Done, Entry, LockRequest, Operation, Signal, StateAfter, Unlock,
};
use super::id::EntityId;
use super::state::{Entity, Lock};
use crate::limits::{ENTITY_BATCH_BYTES_MAX, ENTITY_BATCH_OPERATIONS_MAX};
use crate::orchestration::event::Start;
use crate::orchestration::history::Outcome;
use crate::orchestration::id::InstanceId;
use crate::orchestration::payload::Payload;
use crate::store::Result;

/// Operations that are run together, with the state that they find.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Whose.
    pub entity: EntityId,
    /// Its number.
    pub number: u64,
    /// The state; none where the entity has none.
    pub state: Payload,
    /// The operations, each with its history entry. At least one.
    pub operations: Vec<(u64, Operation)>,
}

/// What running a batch came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BatchOutcome {
    /// The results of the operations, in their order. Those behind the last of them were not run, and are run again.
    pub results: Vec<Outcome>,
    /// The state afterwards; none when the entity is deleted.
    pub state: Payload,
    /// Signals that were sent to entities.
    pub signals: Vec<(EntityId, Signal)>,
    /// Orchestrations that were started. One that runs goes on; one that is over gives way.
    pub starts: Vec<(InstanceId, Start)>,
}

impl Batch {
    /// What the entity is told when the batch has been run. Without any result there is nothing to tell: the batch is
    /// to be run again.
    pub fn ended(&self, outcome: BatchOutcome) -> Option<BatchEnd> {
        let BatchOutcome { results, state, signals, starts } = outcome;
        let operations = self.operations.iter().zip(results);
        let done: Vec<Done> = operations
            .map(|((entry, operation), outcome)| Done { entry: *entry, answer: answer(operation, outcome) })
            .collect();
        if done.is_empty() {
            return None;
        }
        let state = match state {
            state if state == self.state => StateAfter::Unchanged,
            Payload::NONE => StateAfter::Deleted,
            state => StateAfter::Is(state),
        };
        Some(BatchEnd { number: self.number, done, state, signals, starts })
    }
}

fn answer(operation: &Operation, outcome: Outcome) -> Option<Answer> {
    let Asker::Call { caller, task } = operation.asker else { return None };
    Some(Answer { caller, task, request_id: operation.request_id.clone(), outcome })
}

/// The batch that is to be run; `None` when there is none (any more).
pub(crate) fn compose(entity: &Entity, read: impl Fn(u64) -> Result<Option<Entry>>) -> Result<Option<Batch>> {
    if !entity.is_running || !entity.unsearched.is_empty() {
        return Ok(None);
    }
    let Some(state) = state(entity, &read)? else { return Ok(None) };
    let (mut operations, mut bytes) = (Vec::new(), 0);
    for entry in entity.next_up().iter().take(ENTITY_BATCH_OPERATIONS_MAX) {
        match read(entry)? {
            Some(Entry::Operation(operation)) => {
                bytes += operation.input.len();
                if !operations.is_empty() && bytes > ENTITY_BATCH_BYTES_MAX {
                    break;
                }
                operations.push((entry, *operation));
            }
            // What is behind it has to wait for it.
            Some(_) => break,
            None => return Ok(None),
        }
    }
    let number = entity.batch;
    Ok((!operations.is_empty()).then_some(Batch { entity: entity.id, number, state, operations }))
}

/// The state of an entity, none where it has none; `None` when a newer one has taken its place.
pub(crate) fn state(entity: &Entity, read: impl Fn(u64) -> Result<Option<Entry>>) -> Result<Option<Payload>> {
    let Some(entry) = entity.state else { return Ok(Some(Payload::NONE)) };
    Ok(match read(entry)? {
        Some(Entry::State(state)) => Some(state),
        _ => None,
    })
}

/// What comes next, where that is not an operation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Gate {
    /// Nothing but operations.
    Open,
    /// A lock request.
    Lock(u64, Box<LockRequest>),
    /// An unlock.
    Unlock(u64, Box<Unlock>),
}

/// What comes next; `None` when it is gone.
pub(crate) fn gate(entity: &Entity, read: impl Fn(u64) -> Result<Option<Entry>>) -> Result<Option<Gate>> {
    let Some(front) = entity.next_up().front() else { return Ok(None) };
    Ok(read(front)?.and_then(|entry| match entry {
        Entry::Operation(_) => Some(Gate::Open),
        Entry::LockRequested(request) => Some(Gate::Lock(front, request)),
        Entry::Unlocked(unlock) => Some(Gate::Unlock(front, unlock)),
        Entry::State(_) => None,
    }))
}

/// Those of these entries that are of the owner of `lock`; `None` when one is gone.
pub(crate) fn own(
    lock: &Lock,
    entries: &[u64],
    read: impl Fn(u64) -> Result<Option<Entry>>,
) -> Result<Option<Vec<u64>>> {
    let mut own = Vec::new();
    for entry in entries {
        let Some(read) = read(*entry)? else { return Ok(None) };
        if is_own(&read, lock) {
            own.push(*entry);
        }
    }
    Ok(Some(own))
}

/// An unlock is the owner's only for this very lock: that of another section has to wait behind its request.
fn is_own(entry: &Entry, lock: &Lock) -> bool {
    let is_owner = |caller: Option<Caller>| caller == Some(lock.owner);
    match entry {
        Entry::Operation(operation) => is_owner(operation.sender()),
        Entry::Unlocked(unlock) => lock.ends_by(unlock),
        Entry::LockRequested(_) | Entry::State(_) => false,
    }
}
