//! One transition as one atomic batch of the store. Pure.
//!
//! Not responsible for purging, which needs to look at what there is (see `shell.rs`).

use super::{Machine, MachineId, Message, Row, keys};
use crate::clock::Timestamp;
use crate::limits::RESTING_ROW_BYTES_MAX;
use crate::store::codec;
use crate::store::{Batch, Key, Log, Patience, Precondition};

/// What else belongs into the batch of one delivery.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Claim this key for this value: the batch is refused when the key is taken.
    pub claim: Option<(Key, Vec<u8>)>,
    /// Remember the event under this digest: the same one is not applied again.
    pub digest: Option<Vec<u8>>,
    /// The outbox row that carried the event: it goes when the event is applied, and the event is not
    /// applied when it is gone.
    pub consume: Option<Key>,
    /// How long its commit may wait for others.
    pub patience: Option<Patience>,
}

impl Terms {
    /// Whether there is anything to commit even when the state does not change.
    pub(super) const fn is_empty(&self) -> bool {
        self.claim.is_none() && self.digest.is_none() && self.consume.is_none()
    }

    pub(super) fn write<M: Machine>(&self, id: M::Id, now: Timestamp, batch: &mut Batch) {
        if let Some((key, value)) = &self.claim {
            batch.require(Precondition::Absent(key.clone())).put(key.clone(), value.clone());
        }
        if let Some(digest) = &self.digest {
            batch.put(keys::digest::<M>(id, digest), keys::digest_value(now));
        }
        batch.patience = self.patience;
        if let Some(row) = &self.consume {
            batch.require(Precondition::Present(row.clone())).delete(row.clone());
        }
    }
}

/// Writes the snapshot of `new` and what it was given: in the same row when it comes to rest, so that who reads it reads one
/// row; else in one of its own, so that no transition writes it again. `has_row`: whether there is such a row; answers
/// whether there is one afterwards.
pub(super) fn snapshot<M: Machine>(
    id: M::Id,
    old: Option<&M>,
    new: &M,
    has_row: bool,
    batch: &mut Batch,
) -> bool {
    let (key, given_key) = (keys::snapshot::<M>(id), keys::given::<M>(id));
    let Some(given) = new.given() else {
        batch.put(key, codec::encode(M::VERSION, new));
        return false;
    };
    // What changes while it rests may change again.
    if new.rests() && !old.is_some_and(Machine::rests) {
        let both = codec::encode_both(M::VERSION, new, given);
        if both.len() <= RESTING_ROW_BYTES_MAX {
            batch.put(key, both);
            if has_row {
                batch.delete(given_key);
            }
            return false;
        }
    }
    batch.put(key, codec::encode(M::VERSION, new));
    if !has_row || old.is_some_and(|old| new.is_given_anew(old)) {
        batch.put(given_key, codec::encode(M::VERSION, given));
    }
    true
}

/// Writes what the machine keeps beside its snapshot.
pub(super) fn rows<M: Machine>(id: M::Id, rows: Vec<Row>, batch: &mut Batch) {
    for row in rows {
        match row {
            Row::Put { name, value } => batch.put(keys::row::<M>(id, &name), value),
            Row::Delete { name } => batch.delete(keys::row::<M>(id, &name)),
        };
    }
}

/// Writes the transition from `old` to `new`, but for what [`snapshot`] writes.
pub(super) fn transition<M: Machine>(
    id: M::Id,
    old: Option<&M>,
    new: &M,
    record: Option<&M::Record>,
    batch: &mut Batch,
) {
    if let Some(record) = record {
        history::<M>(id, new.revision(), record, batch);
    }
    let was_kept = old.map(Machine::kept).unwrap_or_default();
    for entry in missing(&was_kept, &new.kept()) {
        batch.delete(keys::history_entry::<M>(id, entry));
    }

    let (was_live, is_live) = (old.is_some_and(is_live), is_live(new));
    if is_live && !was_live {
        batch.put(keys::live::<M>(id), Vec::new());
    } else if was_live && !is_live {
        batch.delete(keys::live::<M>(id));
    }

    let (was_due, is_due) = (old.and_then(Machine::deadline), new.deadline());
    if was_due != is_due {
        if let Some(due) = was_due {
            batch.delete(keys::timer::<M>(due, id));
        }
        if let Some(due) = is_due {
            batch.put(keys::timer::<M>(due, id), Vec::new());
        }
    }

    if old.is_some_and(|old| old.is_listed_as(new)) {
        return;
    }
    let (was_listed, is_listed) = (old.map(Machine::index).unwrap_or_default(), new.index());
    for text in was_listed.iter().filter(|text| !is_listed.contains(text)) {
        batch.delete(keys::index::<M>(text, id));
    }
    for text in is_listed.iter().filter(|text| !was_listed.contains(text)) {
        batch.put(keys::index::<M>(text, id), Vec::new());
    }
}

fn history<M: Machine>(id: M::Id, revision: u64, record: &M::Record, batch: &mut Batch) {
    batch.put(keys::history_entry::<M>(id, revision), codec::encode(M::VERSION, record));
    if M::is_announced(record) {
        batch.append(Log::Events, event_pointer::<M>(id, revision));
    }
}

/// The numbers in `ranges` that are in none of `others`; both are in ascending order.
fn missing(ranges: &[(u64, u64)], others: &[(u64, u64)]) -> Vec<u64> {
    let (mut missing, mut others) = (Vec::new(), others.iter().peekable());
    for (first, last) in ranges.iter().copied() {
        let mut next = first;
        while next <= last {
            while others.next_if(|(_, end)| *end < next).is_some() {}
            let (start, end) = others.peek().map_or((u64::MAX, u64::MAX), |range| **range);
            let upto = start.min(last + 1);
            missing.extend(next..upto);
            next = if start <= last { end + 1 } else { last + 1 };
        }
    }
    missing
}

fn is_live<M: Machine>(machine: &M) -> bool {
    machine.liveness() == super::Liveness::Live
}

/// Writes the messages to other machines.
pub(super) fn outbox(messages: &[Message], batch: &mut Batch) {
    for message in messages {
        batch.append(Log::Outbox, encode_message(message));
    }
}

/// The version of a stored message.
pub(super) const MESSAGE_VERSION: u8 = 1;

fn encode_message(message: &Message) -> Vec<u8> {
    codec::encode(MESSAGE_VERSION, &(message.kind, &message.id, &message.event))
}

/// A row of the events log: which machine, which entry of its history.
fn event_pointer<M: Machine>(id: M::Id, revision: u64) -> Vec<u8> {
    [M::KIND.as_bytes(), b"/", &id.to_key(), &revision.to_be_bytes()].concat()
}

/// Reads a row of the events log: kind, id, revision.
pub fn read_event_pointer(row: &[u8]) -> Option<(&str, &[u8], u64)> {
    let slash = row.iter().position(|byte| *byte == b'/')?;
    let kind = std::str::from_utf8(&row[..slash]).ok()?;
    let rest = &row[slash + 1..];
    let (id, revision) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
    Some((kind, id, u64::from_be_bytes(revision.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ranges(numbers: &BTreeSet<u64>) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *number && number % 5 != 0 => *last = *number,
                _ => ranges.push((*number, *number)),
            }
        }
        ranges
    }

    proptest! {
        #[test]
        fn what_is_kept_no_more_is_what_is_missing(
            old in proptest::collection::btree_set(0_u64..40, 0..40),
            new in proptest::collection::btree_set(0_u64..40, 0..40),
        ) {
            let expected: Vec<u64> = old.difference(&new).copied().collect();
            prop_assert_eq!(missing(&ranges(&old), &ranges(&new)), expected);
        }
    }
}
