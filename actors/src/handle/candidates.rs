//! What is listed under several texts at once, newest first: through indexes, whatever is asked for together.
//!
//! Every index lists in the order of creation. What fulfils several conditions is found by letting each index in turn
//! skip to where the others are, so that a page costs about what the rarest of them has, not what is stored.

use super::{Error, Result};
use crate::store::{Key, KeyRange, Order, Store};

/// Rows of an index read at once, at first and after each skip, and at most.
const ROWS_FIRST: usize = 16;
const ROWS_MAX: usize = 256;

/// A place in an index: what follows the text under which something is listed. Places sort by time.
pub(super) trait Place: Copy + Ord {
    /// Reads it; `None` for a row of a longer text that begins alike.
    fn read(bytes: &[u8]) -> Option<Self>;

    /// What [`Place::read`] reads.
    fn bytes(self) -> Vec<u8>;
}

/// Which places to look at.
#[derive(Debug, Clone, Default)]
pub(super) struct Bounds {
    /// At this place or later.
    pub(super) from: Option<Vec<u8>>,
    /// Before all of these.
    pub(super) before: Vec<Vec<u8>>,
}

/// All that fulfil every condition, newest first.
pub(super) struct Candidates<'a, P> {
    store: &'a dyn Store,
    conditions: Vec<Condition<P>>,
    /// Rows read so far.
    read: usize,
}

/// Those that are listed in any of these.
struct Condition<P>(Vec<Source<P>>);

/// One index.
struct Source<P> {
    prefix: Key,
    /// What was not read yet.
    range: KeyRange,
    /// Read, in ascending order: the next one is the last.
    buffer: Vec<P>,
    page: usize,
    done: bool,
}

impl<'a, P: Place> Candidates<'a, P> {
    /// Those that are listed, for each of these conditions, under one of its prefixes.
    pub(super) fn new(store: &'a dyn Store, conditions: Vec<Vec<Key>>, bounds: &Bounds) -> Self {
        let condition = |prefixes: Vec<Key>| {
            Condition(prefixes.into_iter().map(|prefix| Source::new(prefix, bounds)).collect())
        };
        Self { store, conditions: conditions.into_iter().map(condition).collect(), read: 0 }
    }

    /// Rows read so far.
    pub(super) fn read(&self) -> usize {
        self.read
    }

    /// The newest that is left.
    pub(super) fn next(&mut self) -> Result<Option<P>> {
        let Some(mut candidate) = self.conditions[0].peek(self.store, &mut self.read)? else {
            return Ok(None);
        };
        let mut agreed = 0;
        while agreed < self.conditions.len() {
            agreed = 0;
            for condition in &mut self.conditions {
                condition.skip_to(candidate);
                let Some(found) = condition.peek(self.store, &mut self.read)? else { return Ok(None) };
                if found != candidate {
                    candidate = found;
                    break;
                }
                agreed += 1;
            }
        }
        self.conditions[0].pass(candidate);
        Ok(Some(candidate))
    }
}

impl<P: Place> Condition<P> {
    /// The newest that is left.
    fn peek(&mut self, store: &dyn Store, read: &mut usize) -> Result<Option<P>> {
        let mut newest = None;
        for source in &mut self.0 {
            newest = newest.max(source.peek(store, read)?);
        }
        Ok(newest)
    }

    /// Leaves out what is newer than `place`.
    fn skip_to(&mut self, place: P) {
        for source in &mut self.0 {
            source.skip_to(place);
        }
    }

    /// Leaves out `place`.
    fn pass(&mut self, place: P) {
        for source in &mut self.0 {
            if source.buffer.last() == Some(&place) {
                source.buffer.pop();
            }
        }
    }
}

impl<P: Place> Source<P> {
    fn new(prefix: Key, bounds: &Bounds) -> Self {
        let key = |place: &Vec<u8>| [prefix.as_slice(), place].concat();
        let mut range = KeyRange::prefix(prefix.clone());
        if let Some(from) = &bounds.from {
            range.from = range.from.max(key(from));
        }
        for before in &bounds.before {
            range = range.before(&key(before));
        }
        Self { prefix, range, buffer: vec![], page: ROWS_FIRST, done: false }
    }

    fn skip_to(&mut self, place: P) {
        let keep = self.buffer.partition_point(|found| *found <= place);
        self.buffer.truncate(keep);
        if self.buffer.is_empty() && !self.done {
            let mut behind = [self.prefix.clone(), place.bytes()].concat();
            behind.push(0);
            if self.range.to.as_ref().is_none_or(|to| behind < *to) {
                self.range = self.range.clone().before(&behind);
                self.page = ROWS_FIRST;
            }
        }
    }

    fn peek(&mut self, store: &dyn Store, read: &mut usize) -> Result<Option<P>> {
        while self.buffer.is_empty() && !self.done {
            let rows = store.scan(self.range.clone(), Order::Descending, self.page).map_err(Error::Store)?;
            *read += rows.len();
            self.done = rows.len() < self.page;
            self.page = (self.page * 2).min(ROWS_MAX);
            if let Some((lowest, _)) = rows.last() {
                self.range = self.range.clone().before(lowest);
            }
            let prefix = self.prefix.len();
            self.buffer = rows.iter().rev().filter_map(|(key, _)| P::read(&key[prefix..])).collect();
        }
        Ok(self.buffer.last().copied())
    }
}
