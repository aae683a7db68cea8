//! The layout of the store, in one place.
//!
//! | key | value |
//! |---|---|
//! | `m/<kind>/<id>` | the machine's snapshot; while it rests, with what it was given |
//! | `g/<kind>/<id>` | what the machine was given when it was created, where that is not in the snapshot's row |
//! | `h/<kind>/<id>/<revision>` | one history entry |
//! | `l/<kind>/<id>` | empty: the machine must be hydrated at a start |
//! | `t/<due>/<kind>/<id>` | empty: the machine's one armed deadline |
//! | `x/<kind>/<text>/<id>` | empty: the machine is listed under this text |
//! | `r/<kind>/<id>/<name>` | a row that the machine keeps beside its snapshot |
//! | `d/<kind>/<id>/<digest>` | when an event with this digest was applied; empty in old stores |
//! | `n/hub/<name>` | empty: there is a task hub of this name |
//! | `u/<hour>/<job>/<attempt>` | what an attempt used that ended in this hour, until it is in a sum |
//! | `v/<hour>/<digest of the account>` | what an account used in this hour |
//! | `e/<seq>`, `o/<seq>` | the logs of events and of messages between machines |
//!
//! Numbers are big-endian, so that keys sort as they do. Kinds contain no `/`.

use crate::clock::Timestamp;
use crate::durable::{Machine, MachineId};
use crate::id::JobId;
use crate::store::Key;

fn join(parts: &[&[u8]]) -> Key {
    parts.join(&b'/')
}

/// The row of a task hub.
pub fn task_hub(name: &str) -> Key {
    join(&[b"n", b"hub", name.as_bytes()])
}

/// All snapshots of a kind.
pub fn snapshots(kind: &str) -> Key {
    join(&[b"m", kind.as_bytes(), b""])
}

/// The snapshot of a machine.
pub fn snapshot<M: Machine>(id: M::Id) -> Key {
    join(&[b"m", M::KIND.as_bytes(), &id.to_key()])
}

/// What a machine was given.
pub fn given<M: Machine>(id: M::Id) -> Key {
    join(&[b"g", M::KIND.as_bytes(), &id.to_key()])
}

/// All history entries of a machine.
pub fn history<M: Machine>(id: M::Id) -> Key {
    join(&[b"h", M::KIND.as_bytes(), &id.to_key(), b""])
}

/// One history entry.
pub fn history_entry<M: Machine>(id: M::Id, revision: u64) -> Key {
    join(&[b"h", M::KIND.as_bytes(), &id.to_key(), &revision.to_be_bytes()])
}

/// All machines of a kind that must be hydrated at a start.
pub fn all_live(kind: &str) -> Key {
    join(&[b"l", kind.as_bytes(), b""])
}

/// The mark that a machine must be hydrated at a start.
pub fn live<M: Machine>(id: M::Id) -> Key {
    join(&[b"l", M::KIND.as_bytes(), &id.to_key()])
}

/// All armed deadlines.
pub fn timers() -> Key {
    b"t/".to_vec()
}

fn due_bytes(due: Timestamp) -> [u8; 8] {
    // A time before 1970 is due at once.
    u64::try_from(due.as_millis()).unwrap_or(0).to_be_bytes()
}

/// The first key behind all deadlines at or before `due`.
pub fn timers_after(due: Timestamp) -> Key {
    let next = u64::from_be_bytes(due_bytes(due)).saturating_add(1);
    join(&[b"t", &next.to_be_bytes()])
}

/// The first key of the deadlines at `due`.
pub fn timers_at(due: Timestamp) -> Key {
    join(&[b"t", &due_bytes(due)])
}

/// The armed deadline of a machine.
pub fn timer<M: Machine>(due: Timestamp, id: M::Id) -> Key {
    join(&[b"t", &due_bytes(due), M::KIND.as_bytes(), &id.to_key()])
}

/// Reads a key made by [`timer`]: when, which kind, which id.
pub fn read_timer(key: &[u8]) -> Option<(Timestamp, &str, &[u8])> {
    let rest = key.strip_prefix(b"t/")?;
    let (due, rest) = rest.split_at_checked(8)?;
    let due = u64::from_be_bytes(due.try_into().ok()?);
    let rest = rest.strip_prefix(b"/")?;
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    let kind = std::str::from_utf8(&rest[..slash]).ok()?;
    Some((Timestamp::from_millis(i64::try_from(due).ok()?), kind, &rest[slash + 1..]))
}

/// All machines of a kind that are listed under `text`.
pub fn listed(kind: &str, text: &[u8]) -> Key {
    join(&[b"x", kind.as_bytes(), text, b""])
}

/// The index row of a machine under `text`.
pub fn index<M: Machine>(text: &[u8], id: M::Id) -> Key {
    join(&[b"x", M::KIND.as_bytes(), text, &id.to_key()])
}

/// All rows that a machine keeps beside its snapshot.
pub fn rows<M: Machine>(id: M::Id) -> Key {
    join(&[b"r", M::KIND.as_bytes(), &id.to_key(), b""])
}

/// One row that a machine keeps beside its snapshot.
pub fn row<M: Machine>(id: M::Id, name: &[u8]) -> Key {
    join(&[b"r", M::KIND.as_bytes(), &id.to_key(), name])
}

/// All digests of events applied to a machine.
pub fn digests<M: Machine>(id: M::Id) -> Key {
    join(&[b"d", M::KIND.as_bytes(), &id.to_key(), b""])
}

/// The mark that an event with this digest was applied to a machine.
pub fn digest<M: Machine>(id: M::Id, digest: &[u8]) -> Key {
    join(&[b"d", M::KIND.as_bytes(), &id.to_key(), digest])
}

/// All digests of events applied to machines of a kind.
pub fn all_digests(kind: &str) -> Key {
    join(&[b"d", kind.as_bytes(), b""])
}

/// What is remembered with a digest: when the event was applied.
pub fn digest_value(at: Timestamp) -> Vec<u8> {
    at.as_millis().to_be_bytes().to_vec()
}

/// Reads what [`digest_value`] made.
pub fn read_digest_value(value: &[u8]) -> Option<Timestamp> {
    value.try_into().ok().map(i64::from_be_bytes).map(Timestamp::from_millis)
}

/// The claim of a client's idempotency key.
pub fn claim(digest: &[u8]) -> Key {
    join(&[b"i", digest])
}

/// All charges that are in no sum yet.
pub fn charges() -> Key {
    b"u/".to_vec()
}

/// The first key of the charges of this hour and of those behind it.
pub fn charges_of(hour: u32) -> Key {
    join(&[b"u", &hour.to_be_bytes()])
}

/// What an attempt used that ended in this hour.
pub fn charge(hour: u32, job: JobId, attempt: u32) -> Key {
    join(&[b"u", &hour.to_be_bytes(), job.as_bytes(), &attempt.to_be_bytes()])
}

/// All sums.
pub fn all_sums() -> Key {
    b"v/".to_vec()
}

/// The hour in a key made by [`charge`] or [`sum`].
pub fn hour_of(key: &[u8]) -> Option<u32> {
    let (hour, _) = key.strip_prefix(b"u/").or_else(|| key.strip_prefix(b"v/"))?.split_first_chunk()?;
    Some(u32::from_be_bytes(*hour))
}

/// The first key of the sums of this hour and of those behind it.
pub fn sums(hour: u32) -> Key {
    join(&[b"v", &hour.to_be_bytes()])
}

/// What an account used in this hour.
pub fn sum(hour: u32, account: &[u8]) -> Key {
    join(&[b"v", &hour.to_be_bytes(), account])
}
