//! The rows that a queue keeps beside its snapshot, and their names. Pure.
//!
//! | name | value |
//! |---|---|
//! | `b<seq>` | the body of a message, with its headers and its id: never written again |
//! | `s<seq>` | where the message stands |
//! | `e<seq>` | how its last delivery failed |
//! | `o<seq>` | the result with which it was acknowledged |
//! | `d<digest>` | which message has this id, and until when that is remembered |
//!
//! Numbers are 8 bytes, big-endian. Of these only `s` and `d` are read when a queue comes into memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::book::{Digest, Entry, Known, Standing};
use super::state::Queue;
use crate::clock::Timestamp;
use crate::durable::Machine as _;
use crate::store::codec::{self, Record};

/// What a message brings that never changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Body {
    /// The id that its sender gave it.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What its sender says of it.
    #[serde(rename = "h", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(rename = "b")]
    pub body: Box<RawValue>,
}

/// How a delivery failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// What its worker said, or what is known otherwise.
    pub text: String,
}

/// An entry as it is stored. Times are milliseconds: there is a row of these for every message.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    t: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    p: i8,
    #[serde(default, skip_serializing_if = "is_none")]
    n: u32,
    #[serde(default, skip_serializing_if = "is_none")]
    l: u32,
    b: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    f: bool,
    s: Standing,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(number: &i8) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_none(number: &u32) -> bool {
    *number == 0
}

/// The names of the rows of one message.
#[derive(Debug, Clone, Copy)]
pub struct Names(pub u64);

impl Names {
    fn named(self, kind: u8) -> Vec<u8> {
        [&[kind][..], &self.0.to_be_bytes()].concat()
    }

    /// The rows that there must be beside the one that says where the message stands.
    pub(super) fn of(self, entry: &Entry) -> Vec<Vec<u8>> {
        match entry.standing {
            Standing::Done(_, false) => vec![],
            Standing::Done(_, true) => vec![self.result()],
            _ if entry.failed => vec![self.body(), self.error()],
            _ => vec![self.body()],
        }
    }

    /// Its body.
    pub fn body(self) -> Vec<u8> {
        self.named(b'b')
    }

    /// Where it stands.
    pub(super) fn standing(self) -> Vec<u8> {
        self.named(b's')
    }

    /// How its last delivery failed.
    pub fn error(self) -> Vec<u8> {
        self.named(b'e')
    }

    /// Its result.
    pub fn result(self) -> Vec<u8> {
        self.named(b'o')
    }
}

/// The name of the row of an id.
pub(super) fn name_of_id(id: &Digest) -> Vec<u8> {
    [&b"d"[..], id].concat()
}

/// The rows that are read when a queue comes into memory, by what their names begin with.
pub(super) const READ_BACK: &[&[u8]] = &[b"d", b"s"];

/// The value of a row that holds JSON as somebody gave it.
pub(super) fn encode_json<T: Serialize>(value: &T) -> Vec<u8> {
    codec::encode_json(Queue::VERSION, value)
}

/// A row's value.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    codec::encode(Queue::VERSION, value)
}

/// An entry's value.
pub(super) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let Entry { sent_at, priority, deliveries, lease, bytes, failed, standing } = *entry;
    encode(&Row {
        t: sent_at.as_millis(),
        p: priority,
        n: deliveries,
        l: lease,
        b: bytes,
        f: failed,
        s: standing,
    })
}

/// An id's value.
pub(super) fn encode_known(known: &Known) -> Vec<u8> {
    encode(&(known.seq, known.until.as_millis()))
}

/// What a row that is read back says.
pub(super) enum ReadBack {
    Entry(u64, Entry),
    Known(Digest, Known),
}

/// Reads a row back.
pub(super) fn read(name: &[u8], value: &[u8]) -> Result<ReadBack, crate::store::Error> {
    let record: Record<'_> = codec::decode(name, value)?;
    if record.version != Queue::VERSION {
        return Err(record.unknown_version(name));
    }
    let unnamed =
        || crate::store::Error::Corrupt(format!("the row {} names nothing", name.escape_ascii()).into());
    let (kind, rest) = name.split_first().ok_or_else(unnamed)?;
    if *kind == b'd' {
        let id: Digest = rest.try_into().map_err(|_| unnamed())?;
        let (seq, until) = record.parse::<(u64, i64)>(name)?;
        return Ok(ReadBack::Known(id, Known { seq, until: Timestamp::from_millis(until) }));
    }
    let seq = rest.try_into().map(u64::from_be_bytes).map_err(|_| unnamed())?;
    let Row { t, p, n, l, b, f, s } = record.parse::<Row>(name)?;
    let sent_at = Timestamp::from_millis(t);
    let entry = Entry { sent_at, priority: p, deliveries: n, lease: l, bytes: b, failed: f, standing: s };
    Ok(ReadBack::Entry(seq, entry))
}
