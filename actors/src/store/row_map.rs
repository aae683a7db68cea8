//! Rows in memory, in the order of their keys: what stores without a disk are made of.
//!
//! A search passes some twenty keys. They lie in the nodes of the tree themselves and not behind a pointer each, because
//! what a search costs is waiting for memory; and rows take no more room than they have bytes, because memory that is
//! touched for the first time is the dearest.
//!
//! Not responsible for: what a batch may change (`sequence.rs`), who may read (the stores).

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::backend::{Changes, Read};
use super::{KeyRange, Order, Result, Rows};

/// Bytes of a key that lie in the tree: a history entry's has 30.
const KEY_BYTES: usize = 32;

/// The rows.
#[derive(Debug, Clone, Default)]
pub(super) struct RowMap(BTreeMap<SmallVec<[u8; KEY_BYTES]>, Box<[u8]>>);

impl RowMap {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes these changes.
    pub(super) fn apply(&mut self, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => self.0.insert(SmallVec::from_slice(&key), value.into_boxed_slice()),
                None => self.0.remove(key.as_slice()),
            };
        }
    }
}

impl Read for RowMap {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(key).map(|value| value.to_vec()))
    }

    fn scan_all(&self, ranges: &[KeyRange], order: Order, limit: usize) -> Result<Vec<Rows>> {
        let scan = |range: &KeyRange| {
            let rows = self.0.range::<[u8], _>(range.bounds());
            let rows = rows.map(|(key, value)| (key.to_vec(), value.to_vec()));
            match order {
                Order::Ascending => rows.take(limit).collect(),
                Order::Descending => rows.rev().take(limit).collect(),
            }
        };
        Ok(ranges.iter().map(scan).collect())
    }
}
