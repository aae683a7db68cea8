//! The timer rows that are soon due, in memory and in their order.
//!
//! They are read a while before their time, a page at a time, each once; what is armed for that while later on is
//! handed in by whoever armed it. When many are due in a short time, their machines are named in advance, so that who
//! fires them can have them brought into memory before: what is left for the moment itself is the tick.
//!
//! Not responsible for: ticks, and when to look (`timers.rs`).
//!
//! Invariants:
//! - every row below `unread` was read, and is here or was taken; no row at or behind it is here;
//! - who finds a deadline above [`Ahead::horizon`] after its row is durable need not hand it in: it will be read.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use super::keys;
use crate::clock::Timestamp;
use crate::limits::TIMERS_BURST;
use crate::store::{self, Key, KeyRange, Order, Store};

/// Rows read at once.
const PAGE: usize = 512;

/// How far ahead of their time rows are read, and again when half of that has passed.
const AHEAD: Duration = Duration::from_secs(2);

/// The rows.
#[derive(Debug)]
pub(super) struct Ahead {
    rows: BTreeSet<Key>,
    /// So many rows at most.
    room: usize,
    unread: Key,
    /// Every row up to this moment was read, or is about to be; the rest has not been looked at.
    horizon: Timestamp,
    /// Every row up to the horizon was read.
    is_complete: bool,
    /// The machines of the rows up to this one were named.
    named: Key,
}

impl Ahead {
    /// Nothing read yet, and room for so many rows.
    pub(super) fn new(room: usize) -> Self {
        Self {
            rows: BTreeSet::new(),
            room,
            unread: keys::timers(),
            horizon: Timestamp::from_millis(i64::MIN),
            is_complete: true,
            named: Key::new(),
        }
    }

    /// Moves the horizon when it has come near: what it is now. To be told to everybody before [`Ahead::read`].
    pub(super) fn look_up(&mut self, now: Timestamp) -> Timestamp {
        if self.horizon < now.after(AHEAD / 2) {
            self.horizon = now.after(AHEAD);
            self.is_complete = false;
        }
        self.horizon
    }

    /// Whether [`Ahead::read`] would read something.
    pub(super) fn wants_more(&self) -> bool {
        !self.is_complete && self.rows.len() <= self.room - PAGE
    }

    /// Reads the next page.
    pub(super) fn read(&mut self, store: &dyn Store) -> store::Result<()> {
        let behind = keys::timers_after(self.horizon);
        let soon = KeyRange { from: self.unread.clone(), to: Some(behind.clone()) };
        let rows = store.scan(soon, Order::Ascending, PAGE)?;
        self.is_complete = rows.len() < PAGE;
        self.unread = match rows.last() {
            Some((last, _)) if !self.is_complete => store::behind(last),
            _ => behind,
        };
        self.rows.extend(rows.into_iter().map(|(key, _)| key));
        Ok(())
    }

    /// A row that may have come after it would have been read.
    pub(super) fn insert(&mut self, key: Key) {
        if key >= self.unread {
            return;
        }
        self.rows.insert(key);
        if self.rows.len() > self.room
            && let Some(last) = self.rows.pop_last()
        {
            self.unread = last;
            self.is_complete = false;
        }
    }

    /// The first row, when it is due.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Key> {
        let is_due = self.rows.first().and_then(|row| due_at(row)).is_some_and(|due| due <= now);
        if is_due { self.rows.pop_first() } else { None }
    }

    /// When the next row is due. Reads one where none is here.
    pub(super) fn next(&self, store: &dyn Store) -> store::Result<Option<Timestamp>> {
        if let Some(first) = self.rows.first() {
            return Ok(due_at(first));
        }
        let later = KeyRange { from: self.unread.clone(), to: KeyRange::prefix(keys::timers()).to };
        Ok(store.scan(later, Order::Ascending, 1)?.first().and_then(|(key, _)| due_at(key)))
    }

    /// The next rows whose machines were not named yet, while there are so many that it is worth it.
    pub(super) fn name(&mut self, limit: usize) -> Vec<Key> {
        if self.rows.len() < TIMERS_BURST {
            return Vec::new();
        }
        let unnamed = (Bound::Excluded(&self.named), Bound::Unbounded);
        let keys: Vec<Key> = self.rows.range::<Key, _>(unnamed).take(limit).cloned().collect();
        if let Some(last) = keys.last() {
            self.named.clone_from(last);
        }
        keys
    }
}

fn due_at(row: &[u8]) -> Option<Timestamp> {
    keys::read_timer(row).map(|(due, ..)| due)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::id::JobId;
    use crate::job::state::Job;
    use crate::store::Batch;
    use crate::store::conformance::wait;
    use crate::store::memory::MemoryStore;

    /// What happens at a moment, in milliseconds: so many rows come that are due so much later.
    fn arrivals() -> impl Strategy<Value = Vec<(i64, i64, usize)>> {
        proptest::collection::vec((0..6_000_i64, 0..4_000_i64, 1..900_usize), 1..12)
    }

    fn id(number: usize) -> JobId {
        JobId::from_bytes((number as u128).to_be_bytes())
    }

    fn write(store: &MemoryStore, keys: &[Key]) {
        let mut batch = Batch::new();
        for key in keys {
            batch.put(key.clone(), "");
        }
        wait(store.commit(batch)).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_row_is_taken_once_and_when_it_is_due(mut arrivals in arrivals()) {
            arrivals.sort_unstable();
            let (store, mut ahead) = (MemoryStore::new(), Ahead::new(PAGE + 300));
            let (mut due_at, mut arrivals) = (BTreeMap::new(), arrivals.into_iter().peekable());
            let mut made = 0;
            for now in (0..12_000).step_by(50) {
                while let Some((_, later, many)) = arrivals.next_if(|(at, ..)| *at <= now) {
                    let due = Timestamp::from_millis(now + later);
                    let keys: Vec<Key> = (0..many).map(|_| keys::timer::<Job>(due, { made += 1; id(made) })).collect();
                    write(&store, &keys);
                    due_at.extend(keys.iter().map(|key| (key.clone(), due)));
                    if due <= ahead.horizon {
                        keys.into_iter().for_each(|key| ahead.insert(key));
                    }
                }
                let now = Timestamp::from_millis(now);
                ahead.look_up(now);
                loop {
                    if ahead.wants_more() {
                        ahead.read(&store).unwrap();
                    }
                    prop_assert!(ahead.rows.len() <= ahead.room);
                    while let Some(key) = ahead.take_due(now) {
                        let due = due_at.remove(&key);
                        prop_assert!(due.is_some_and(|due| due <= now), "taken twice or early");
                        let mut batch = Batch::new();
                        wait(store.commit(batch.delete(key).clone())).unwrap();
                    }
                    if !ahead.wants_more() {
                        break;
                    }
                }
                prop_assert!(due_at.values().all(|due| *due > now), "what is due was not taken");
                let next = due_at.values().min().copied();
                prop_assert_eq!(ahead.next(&store).unwrap(), next);
            }
            prop_assert!(due_at.is_empty());
        }
    }

    #[test]
    fn machines_are_named_once_in_the_order_of_their_rows_and_only_of_a_burst() {
        let (store, mut ahead) = (MemoryStore::new(), Ahead::new(4 * TIMERS_BURST));
        let key = |number: usize| {
            let due = Timestamp::from_millis(number as i64 % 1_000);
            keys::timer::<Job>(due, id(number))
        };
        let mut all: Vec<Key> = (0..TIMERS_BURST).map(key).collect();
        write(&store, &all);
        ahead.look_up(Timestamp::from_millis(0));
        ahead.read(&store).unwrap();
        assert!(ahead.name(usize::MAX).is_empty(), "the first page is no burst");
        while ahead.wants_more() {
            ahead.read(&store).unwrap();
        }
        let mut named = ahead.name(100);
        assert_eq!(named.len(), 100);
        named.extend(ahead.name(usize::MAX));
        all.sort_unstable();
        assert_eq!(named, all);
        assert!(ahead.name(usize::MAX).is_empty());
    }
}
