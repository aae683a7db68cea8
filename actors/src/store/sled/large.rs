//! Cuts large values into rows that sled keeps in its log.
//!
//! sled moves a node of its tree that outgrows a quarter of a segment to a file of its own, a blob. It neither
//! syncs that file nor refuses to start when it is missing, so that the loss of power could take a row that
//! was acknowledged. No item here comes near that size.
//!
//! Invariants:
//! - a stored value begins with a tag: the value itself follows, or the id and length of a large value;
//! - the chunks of a large value are written and removed in the batch that writes or removes its row, under
//!   an id that no other value has had since the database was opened: who reads a row while it is replaced
//!   finds a chunk missing, never a chunk of another value.

use std::sync::atomic::{AtomicU64, Ordering};

use ::sled::{Batch, Db};

use super::super::backend::Changes;
use super::super::{Error, Key, Result};
use super::guarded;
use super::tally::Tally;

/// The largest value that is one row, and the size of a chunk of a larger one.
pub(super) const INLINE_BYTES_MAX: usize = 16 * 1024;

/// What the keys of chunks begin with: out of reach for callers. The id follows, then the chunk's number.
const CHUNKS: &[u8] = b"\0chunk/";

const INLINE: u8 = 0;
const LARGE: u8 = 1;

/// What stands in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    /// The value.
    Inline(&'a [u8]),
    /// The value is in chunks.
    Large(LargeValue),
}

/// Where the chunks of a large value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LargeValue {
    id: u64,
    bytes: u64,
}

impl<'a> Stored<'a> {
    /// Reads the stored form of the value of `key`.
    pub(super) fn decode(key: &[u8], stored: &'a [u8]) -> Result<Self> {
        match stored.split_first() {
            Some((&INLINE, value)) => Ok(Self::Inline(value)),
            Some((&LARGE, rest)) => LargeValue::decode(rest).map(Self::Large).ok_or_else(|| damaged(key)),
            _ => Err(damaged(key)),
        }
    }
}

impl LargeValue {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, length) = bytes.split_first_chunk::<8>()?;
        Some(Self { id: u64::from_be_bytes(*id), bytes: u64::from_be_bytes(length.try_into().ok()?) })
    }

    fn encode(self) -> Vec<u8> {
        let mut stored = vec![LARGE];
        stored.extend_from_slice(&self.id.to_be_bytes());
        stored.extend_from_slice(&self.bytes.to_be_bytes());
        stored
    }

    fn chunk_keys(self) -> impl Iterator<Item = Key> {
        (0..self.bytes.div_ceil(INLINE_BYTES_MAX as u64)).map(move |number| {
            let mut key = CHUNKS.to_vec();
            key.extend_from_slice(&self.id.to_be_bytes());
            key.extend_from_slice(&number.to_be_bytes());
            key
        })
    }
}

/// Gives ids to large values.
#[derive(Debug)]
pub(super) struct Ids(AtomicU64);

impl Ids {
    /// Goes on behind the highest id in the database.
    pub(super) fn recover(db: &Db) -> Result<Self> {
        let last = guarded(|| db.scan_prefix(CHUNKS).next_back().transpose())?;
        let Some((key, _)) = last else { return Ok(Self(AtomicU64::new(1))) };
        let id = key.strip_prefix(CHUNKS).and_then(|rest| rest.first_chunk::<8>());
        let id = id.ok_or_else(|| damaged(&key))?;
        Ok(Self(AtomicU64::new(u64::from_be_bytes(*id) + 1)))
    }

    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// The value of `key`.
pub(super) fn get(db: &Db, key: &[u8]) -> Result<Option<Vec<u8>>> {
    match guarded(|| db.get(key))? {
        None => Ok(None),
        Some(stored) => value(db, key, Stored::decode(key, &stored)?),
    }
}

/// The value of `key`, which was just read as `stored`; `None` when it is gone by now.
pub(super) fn value(db: &Db, key: &[u8], stored: Stored<'_>) -> Result<Option<Vec<u8>>> {
    let mut large = match stored {
        Stored::Inline(value) => return Ok(Some(value.to_vec())),
        Stored::Large(large) => large,
    };
    loop {
        if let Some(value) = gather(db, large)? {
            return Ok(Some(value));
        }
        // The row was replaced or removed since it was read, or chunks are lost.
        let Some(stored) = guarded(|| db.get(key))? else { return Ok(None) };
        match Stored::decode(key, &stored)? {
            Stored::Inline(value) => return Ok(Some(value.to_vec())),
            Stored::Large(now) if now == large => return Err(damaged(key)),
            Stored::Large(now) => large = now,
        }
    }
}

/// The changes in sled's form: with the chunks of the large values that come and go, and with the new tally.
pub(super) fn batch(db: &Db, ids: &Ids, tally: &mut Tally, changes: Changes) -> Result<Batch> {
    let mut plan = Plan { db, tally, batch: Batch::default() };
    for (key, value) in changes {
        plan.clear(&key)?;
        match value {
            None => plan.batch.remove(key),
            Some(value) if value.len() <= INLINE_BYTES_MAX => {
                let mut stored = Vec::with_capacity(value.len() + 1);
                stored.push(INLINE);
                stored.extend_from_slice(&value);
                plan.insert(key, stored);
            }
            Some(value) => {
                let large = LargeValue { id: ids.next(), bytes: value.len() as u64 };
                for (chunk, bytes) in large.chunk_keys().zip(value.chunks(INLINE_BYTES_MAX)) {
                    plan.insert(chunk, bytes.to_vec());
                }
                plan.insert(key, large.encode());
            }
        }
    }
    plan.tally.put(&mut plan.batch);
    Ok(plan.batch)
}

/// A batch in the making, and what the database holds after it.
struct Plan<'a> {
    db: &'a Db,
    tally: &'a mut Tally,
    batch: Batch,
}

impl Plan<'_> {
    /// Counts out the row of `key` and removes its chunks. The row itself is left to whoever replaces it.
    fn clear(&mut self, key: &[u8]) -> Result<()> {
        let Some(old) = guarded(|| self.db.get(key))? else { return Ok(()) };
        self.tally.remove(key, &old);
        if let Stored::Large(old) = Stored::decode(key, &old)? {
            for chunk in old.chunk_keys() {
                let bytes = guarded(|| self.db.get(&chunk))?.ok_or_else(|| damaged(key))?;
                self.tally.remove(&chunk, &bytes);
                self.batch.remove(chunk);
            }
        }
        Ok(())
    }

    fn insert(&mut self, key: Key, stored: Vec<u8>) {
        self.tally.add(&key, &stored);
        self.batch.insert(key, stored);
    }
}

fn gather(db: &Db, large: LargeValue) -> Result<Option<Vec<u8>>> {
    let mut value = Vec::new();
    for chunk in large.chunk_keys() {
        match guarded(|| db.get(&chunk))? {
            Some(bytes) => value.extend_from_slice(&bytes),
            None => return Ok(None),
        }
    }
    Ok((value.len() as u64 == large.bytes).then_some(value))
}

fn damaged(key: &[u8]) -> Error {
    Error::Corrupt(format!("the value of the key {} is not what was written", key.escape_ascii()).into())
}
