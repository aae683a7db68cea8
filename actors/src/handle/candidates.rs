//! What is listed under several texts at once, newest first: through indexes, whatever is asked for together.
//!
//! Every index lists in the order of creation. What fulfils several conditions is found by letting each index in turn
//! skip to where the others are, so that a page costs about what the rarest of them has, not what is stored.

use super::{Error, Result};
use crate::store::{Key, KeyRange, Order, Rows, Store};

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
    /// Rows read so far, each once.
    read: usize,
}

/// Those that are listed in any of some indexes, which are read together: each place is looked for in all of them at one
/// moment, so that what moves from one to another in its place is found once, wherever it is then. For that, rows of one
/// index are read again when another one was not read as far; they do not count.
struct Condition<P> {
    indexes: Vec<Index>,
    /// Read, in ascending order: the next one is the last.
    buffer: Vec<P>,
    page: usize,
    done: bool,
}

/// An index, and what was not read of it yet.
struct Index {
    prefix: Key,
    range: KeyRange,
}

impl<'a, P: Place> Candidates<'a, P> {
    /// Those that are listed, for each of these conditions, under one of its prefixes.
    pub(super) fn new(store: &'a dyn Store, conditions: Vec<Vec<Key>>, bounds: &Bounds) -> Self {
        let conditions = conditions.into_iter().map(|prefixes| Condition::new(prefixes, bounds)).collect();
        Self { store, conditions, read: 0 }
    }

    /// Rows read so far, each once.
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
    fn new(prefixes: Vec<Key>, bounds: &Bounds) -> Self {
        let indexes = prefixes.into_iter().map(|prefix| Index::new(prefix, bounds)).collect();
        Self { indexes, buffer: vec![], page: ROWS_FIRST, done: false }
    }

    /// The newest that is left.
    fn peek(&mut self, store: &dyn Store, read: &mut usize) -> Result<Option<P>> {
        while self.buffer.is_empty() && !self.done {
            self.fill(store, read)?;
        }
        Ok(self.buffer.last().copied())
    }

    /// Leaves out what is newer than `place`.
    fn skip_to(&mut self, place: P) {
        let keep = self.buffer.partition_point(|found| *found <= place);
        self.buffer.truncate(keep);
        if self.buffer.is_empty() && !self.done {
            let behind = [place.bytes().as_slice(), &[0]].concat();
            for index in &mut self.indexes {
                if index.end_before(&behind) {
                    self.page = ROWS_FIRST;
                }
            }
        }
    }

    /// Leaves out `place`.
    fn pass(&mut self, place: P) {
        if self.buffer.last() == Some(&place) {
            self.buffer.pop();
        }
    }

    /// Reads on in all indexes, as far as each of them was read.
    fn fill(&mut self, store: &dyn Store, read: &mut usize) -> Result<()> {
        let ranges = self.indexes.iter().map(|index| index.range.clone()).collect();
        let pages = store.scan_all(ranges, Order::Descending, self.page).map_err(Error::Store)?;
        let places: Vec<Vec<&[u8]>> =
            self.indexes.iter().zip(&pages).map(|(index, page)| index.places(page)).collect();
        // What is older than the oldest of a full page may be in the next page of that index by then.
        let full = places.iter().filter(|places| places.len() == self.page);
        let oldest = full.filter_map(|places| places.last().copied()).max();
        let known = places.iter().flatten().filter(|place| oldest.is_none_or(|oldest| **place >= oldest));
        self.buffer = known.inspect(|_| *read += 1).filter_map(|place| P::read(place)).collect();
        self.buffer.sort_unstable();
        self.buffer.dedup();
        match oldest {
            Some(oldest) => {
                for index in &mut self.indexes {
                    index.end_before(oldest);
                }
            }
            None => self.done = true,
        }
        self.page = (self.page * 2).min(ROWS_MAX);
        Ok(())
    }
}

impl Index {
    fn new(prefix: Key, bounds: &Bounds) -> Self {
        let mut index = Self { range: KeyRange::prefix(prefix.clone()), prefix };
        if let Some(from) = &bounds.from {
            index.range.from = index.key(from).max(index.range.from);
        }
        for before in &bounds.before {
            index.end_before(before);
        }
        index
    }

    fn key(&self, place: &[u8]) -> Key {
        [self.prefix.as_slice(), place].concat()
    }

    /// Leaves out this place and what is newer; answers whether that was in it.
    fn end_before(&mut self, place: &[u8]) -> bool {
        let end = self.key(place);
        let is_in = self.range.to.as_ref().is_none_or(|to| end < *to);
        if is_in {
            self.range.to = Some(end);
        }
        is_in
    }

    /// The places in these rows of it.
    fn places<'a>(&self, rows: &'a Rows) -> Vec<&'a [u8]> {
        rows.iter().filter_map(|(key, _)| key.strip_prefix(self.prefix.as_slice())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::wait;
    use crate::store::{Batch, volatile};

    impl Place for u32 {
        fn read(bytes: &[u8]) -> Option<Self> {
            bytes.try_into().ok().map(Self::from_be_bytes)
        }

        fn bytes(self) -> Vec<u8> {
            self.to_be_bytes().to_vec()
        }
    }

    const INDEXES: [&str; 3] = ["busy/", "done/", "failed/"];

    fn key(index: &str, place: u32) -> Key {
        [index.as_bytes(), &place.bytes()].concat()
    }

    /// A small generator: the seed decides.
    fn random(state: &mut u64, below: usize) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as usize % below
    }

    /// Each place in one of the indexes; `all/` has every second one.
    struct World {
        store: std::sync::Arc<dyn Store>,
        at: Vec<usize>,
        seed: u64,
    }

    impl World {
        fn new(places: u32, mut seed: u64) -> Self {
            let (store, mut batch, mut at) = (volatile(), Batch::new(), vec![]);
            for place in 0..places {
                at.push(random(&mut seed, INDEXES.len()));
                batch.put(key(INDEXES[at[place as usize]], place), "");
                if place.is_multiple_of(2) {
                    batch.put(key("all/", place), "");
                }
            }
            wait(store.commit(batch)).unwrap();
            Self { store, at, seed }
        }

        fn move_some(&mut self) {
            let mut batch = Batch::new();
            for _ in 0..self.at.len() / 4 {
                let place = random(&mut self.seed, self.at.len());
                batch.delete(key(INDEXES[self.at[place]], place as u32));
                self.at[place] = random(&mut self.seed, INDEXES.len());
                batch.put(key(INDEXES[self.at[place]], place as u32), "");
            }
            wait(self.store.commit(batch)).unwrap();
        }

        fn list(&mut self, conditions: &[&[&str]], bounds: &Bounds) -> Vec<u32> {
            let conditions =
                conditions.iter().map(|any| any.iter().map(|index| index.as_bytes().to_vec()).collect());
            let store = std::sync::Arc::clone(&self.store);
            let mut candidates = Candidates::new(store.as_ref(), conditions.collect(), bounds);
            let mut found = vec![];
            while let Some(place) = candidates.next().unwrap() {
                found.push(place);
                self.move_some();
            }
            found
        }
    }

    #[test]
    fn what_moves_while_it_is_listed_is_listed_once() {
        for seed in 0..20 {
            let mut world = World::new(300, seed);
            let found = world.list(&[&INDEXES], &Bounds::default());
            assert_eq!(found, (0..300).rev().collect::<Vec<_>>(), "seed {seed}");
            let found = world.list(&[&["all/"], &INDEXES], &Bounds::default());
            assert_eq!(
                found,
                (0..300).rev().filter(|place| place % 2 == 0).collect::<Vec<u32>>(),
                "seed {seed}"
            );
            let bounds = Bounds { from: Some(40.bytes()), before: vec![200.bytes(), 170.bytes()] };
            assert_eq!(world.list(&[&INDEXES], &bounds), (40..170).rev().collect::<Vec<_>>(), "seed {seed}");
        }
    }

    #[test]
    fn those_in_some_indexes_are_found_and_no_others() {
        for seed in 0..20 {
            let world = World::new(700, seed);
            for (conditions, expected) in
                [(vec![vec![0, 2]], 1), (vec![vec![1]], 1), (vec![vec![2, 1], vec![3]], 2)]
            {
                let prefix =
                    |index: &usize| INDEXES.get(*index).map_or("all/", |index| index).as_bytes().to_vec();
                let keys = conditions.iter().map(|any| any.iter().map(prefix).collect()).collect();
                let mut candidates = Candidates::<u32>::new(world.store.as_ref(), keys, &Bounds::default());
                let found: Vec<u32> = std::iter::from_fn(|| candidates.next().unwrap()).collect();
                let is_in = |place: u32| {
                    conditions[0].contains(&world.at[place as usize]) && place.is_multiple_of(expected)
                };
                assert_eq!(
                    found,
                    (0..700).rev().filter(|place| is_in(*place)).collect::<Vec<_>>(),
                    "seed {seed}"
                );
            }
        }
    }
}
