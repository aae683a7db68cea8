//! The rows that a trigger keeps beside its snapshot, and their names. Pure.
//!
//! | name | value |
//! |---|---|
//! | `b<item>` | what arrived: written once, and once more without its body when the item is over |
//! | `k<key>` | a version that is remembered |
//! | `s<item>` | where the item stands |
//!
//! Numbers are 8 bytes, big-endian. All of them are read when a trigger comes into memory, in this order.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::book::{Entry, Known, Standing};
use super::object::{Key, Object};
use super::state::Trigger;
use crate::clock::Timestamp;
use crate::durable::Machine as _;
use crate::schedule::Run;
use crate::store::codec::{self, Record};
use crate::store::{Error, Result};

/// The rows that are read when a trigger comes into memory, by what their names begin with.
pub(super) const READ_BACK: &[&[u8]] = &[b"b", b"k", b"s"];

/// An entry as it is stored, but for its object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    #[serde(rename = "t")]
    arrived_at: Timestamp,
    #[serde(rename = "n", default)]
    deliveries: u32,
    #[serde(rename = "m", default)]
    starts: u32,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    error: Option<Arc<str>>,
    #[serde(rename = "s")]
    standing: Standing,
}

impl Row {
    /// With its object.
    pub(super) fn with(self, object: Arc<Object>) -> Entry {
        let Self { arrived_at, deliveries, starts, run, error, standing } = self;
        Entry { arrived_at, object, deliveries, starts, run, error, standing }
    }
}

/// The name of the row of what arrived.
pub(super) fn object(item: u64) -> Vec<u8> {
    [&b"b"[..], &item.to_be_bytes()].concat()
}

/// The name of the row of where an item stands.
pub(super) fn standing(item: u64) -> Vec<u8> {
    [&b"s"[..], &item.to_be_bytes()].concat()
}

/// The name of the row of a version.
pub(super) fn known(key: &Key) -> Vec<u8> {
    [&b"k"[..], key].concat()
}

/// A row's value.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    codec::encode(Trigger::VERSION, value)
}

/// The value of an entry.
pub(super) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let Entry { arrived_at, deliveries, starts, run, error, standing, .. } = entry.clone();
    encode(&Row { arrived_at, deliveries, starts, run, error, standing })
}

/// What a row that is read back says.
pub(super) enum ReadBack {
    Object(u64, Object),
    Known(Key, Known),
    Standing(u64, Row),
}

/// Reads a row back.
pub(super) fn read(name: &[u8], value: &[u8]) -> Result<ReadBack> {
    let record: Record<'_> = codec::decode(name, value)?;
    if record.version != Trigger::VERSION {
        return Err(record.unknown_version(name));
    }
    let unnamed = || Error::Corrupt(format!("the row {} names nothing", name.escape_ascii()).into());
    let (kind, rest) = name.split_first().ok_or_else(unnamed)?;
    if *kind == b'k' {
        return Ok(ReadBack::Known(rest.try_into().map_err(|_| unnamed())?, record.parse(name)?));
    }
    let item = rest.try_into().map(u64::from_be_bytes).map_err(|_| unnamed())?;
    match kind {
        b'b' => Ok(ReadBack::Object(item, record.parse(name)?)),
        b's' => Ok(ReadBack::Standing(item, record.parse(name)?)),
        _ => Err(unnamed()),
    }
}
