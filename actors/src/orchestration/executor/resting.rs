//! What rests in memory until it is wanted again, of which only the last are kept.

use std::collections::HashMap;
use std::hash::Hash;

/// Two generations: what rested last, and what did before that.
pub(super) struct Resting<K, T> {
    young: HashMap<K, T>,
    old: HashMap<K, T>,
    max: usize,
}

impl<K: Eq + Hash, T> Resting<K, T> {
    /// Keeps at most `max`.
    pub(super) fn new(max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), max }
    }

    /// Lets something rest. What it gives back is to be dropped where that may take a while.
    #[must_use]
    pub(super) fn insert(&mut self, key: K, value: T) -> HashMap<K, T> {
        let mut dropped = HashMap::new();
        if self.young.len() >= self.max / 2 {
            let rested = std::mem::take(&mut self.young);
            dropped = std::mem::replace(&mut self.old, rested);
        }
        self.young.insert(key, value);
        dropped
    }

    /// Takes what rests.
    pub(super) fn remove(&mut self, key: &K) -> Option<T> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }
}
