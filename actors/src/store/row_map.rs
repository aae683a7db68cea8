//! Rows in memory, in the order of their keys: what stores without a disk are made of.
//!
//! A search passes some twenty keys. They lie in the nodes of the tree themselves and not behind a pointer each, because
//! what a search costs is waiting for memory, and are compared as numbers; and rows take no more room than they have bytes,
//! because memory that is touched for the first time is the dearest.
//!
//! Not responsible for: what a batch may change (`sequence.rs`), who may read (the stores).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

#[cfg(any(test, feature = "testing"))]
use super::backend::Changes;
use super::backend::Read;
use super::{Key, KeyRange, Order, Result, Rows};

/// Numbers that hold the beginning of a key.
const WORDS: usize = 4;

/// Bytes of a key that lie in the tree: a history entry's has 30.
const HEAD_BYTES: usize = WORDS * size_of::<u64>();

/// A key as it is kept. Sorts as its bytes do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    /// The first bytes, big-endian, and zeros behind a key that has fewer.
    head: [u64; WORDS],
    /// How many bytes of `head` are the key's.
    head_bytes: u8,
    /// The other bytes.
    tail: Box<[u8]>,
}

impl Kept {
    fn new(key: &[u8]) -> Self {
        let (first, tail) = key.split_at(key.len().min(HEAD_BYTES));
        let mut bytes = [0; HEAD_BYTES];
        bytes[..first.len()].copy_from_slice(first);
        let mut head = [0; WORDS];
        for (word, bytes) in head.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_be_bytes(*bytes);
        }
        let head_bytes = u8::try_from(first.len()).unwrap_or(u8::MAX);
        Self { head, head_bytes, tail: tail.into() }
    }

    fn to_key(&self) -> Key {
        let mut key = self.head.map(u64::to_be_bytes).concat();
        key.truncate(usize::from(self.head_bytes));
        key.extend_from_slice(&self.tail);
        key
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        // Of two whose heads are the same, one that has fewer bytes there is the beginning of the other.
        let heads = self.head.cmp(&other.head).then(self.head_bytes.cmp(&other.head_bytes));
        heads.then_with(|| self.tail.cmp(&other.tail))
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The rows.
#[derive(Debug, Clone, Default)]
pub(super) struct RowMap(BTreeMap<Kept, Box<[u8]>>);

impl RowMap {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes these changes.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn apply(&mut self, changes: Changes) {
        for (key, value) in changes {
            self.set(&key, value);
        }
    }

    /// Makes one change, and gives back what it replaced.
    pub(super) fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Option<Box<[u8]>> {
        let key = Kept::new(key);
        match value {
            Some(value) => self.0.insert(key, value.into_boxed_slice()),
            None => self.0.remove(&key),
        }
    }
}

impl Read for RowMap {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(&Kept::new(key)).map(|value| value.to_vec()))
    }

    fn scan_all(&self, ranges: &[KeyRange], order: Order, limit: usize) -> Result<Vec<Rows>> {
        let kept = |bound: Bound<&[u8]>| bound.map(Kept::new);
        let scan = |range: &KeyRange| {
            let (from, to) = range.bounds();
            let rows = self.0.range((kept(from), kept(to)));
            let rows = rows.map(|(key, value)| (key.to_key(), value.to_vec()));
            match order {
                Order::Ascending => rows.take(limit).collect(),
                Order::Descending => rows.rev().take(limit).collect(),
            }
        };
        Ok(ranges.iter().map(scan).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Key> {
        // Few different bytes, so that many have their beginning in common, and zeros, which a short key is filled with.
        prop::collection::vec(0..3_u8, 0..2 * HEAD_BYTES)
    }

    proptest! {
        #[test]
        fn a_kept_key_sorts_as_its_bytes_do(a in keys(), b in keys(), common in 0..=2 * HEAD_BYTES) {
            prop_assert_eq!(Kept::new(&a).to_key(), a.clone());
            let b = [&a[..common.min(a.len())], &b].concat();
            prop_assert_eq!(Kept::new(&a).cmp(&Kept::new(&b)), a.cmp(&b));
            prop_assert_eq!(Kept::new(&a) == Kept::new(&b), a == b);
        }
    }
}
