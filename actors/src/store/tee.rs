//! A copy of every group of commits, for whoever makes a backup while the store is in use.
//!
//! Responsible for: handing on each durable group, whole and in order, from the moment a [`Tee`] is opened. Not
//! responsible for: what was there before (that is scanned).
//!
//! Who opens a tee commits an empty batch before it scans, and another one before it takes the last groups: the
//! first lets a group pass that was under way at the opening, the second one that the scan may have seen early.
//!
//! Invariants: the committer never waits for a tee, and what a tee holds is bounded: one that is not emptied in
//! time breaks, and says so, instead of missing a group in silence.

use std::sync::Arc;

use parking_lot::Mutex;

use super::backend::Changes;
use super::{Error, Result};
use crate::limits::{STORE_TEE_BYTES_MAX, STORE_TEES_MAX};

/// The open tees of a store.
#[derive(Debug, Default)]
pub(super) struct Tees(Mutex<Vec<Arc<Mutex<Held>>>>);

#[derive(Debug, Default)]
struct Held {
    groups: Vec<Changes>,
    bytes: usize,
    broken: bool,
}

/// Every group since it was opened; dropped, it is closed.
#[derive(Debug)]
pub struct Tee(Arc<Mutex<Held>>);

impl Tees {
    /// Opens one more, up to [`STORE_TEES_MAX`].
    pub(super) fn open(&self) -> Result<Tee> {
        let mut open = self.0.lock();
        open.retain(|held| Arc::strong_count(held) > 1);
        if open.len() >= STORE_TEES_MAX {
            return Err(Error::Busy);
        }
        let held = Arc::<Mutex<Held>>::default();
        open.push(Arc::clone(&held));
        Ok(Tee(held))
    }

    /// Whether anybody wants the groups.
    pub(super) fn are_open(&self) -> bool {
        !self.0.lock().is_empty()
    }

    /// What [`Tees::pour`] will need of a group that is about to be written; nothing while no tee is open.
    pub(super) fn copy(&self, changes: &Changes) -> Changes {
        if self.are_open() { changes.clone() } else { Changes::default() }
    }

    /// Breaks all: what readers saw meanwhile may be undone.
    pub(super) fn break_all(&self) {
        self.0.lock().iter().for_each(|held| held.lock().break_off());
    }

    /// Hands a group on, now that it is durable.
    pub(super) fn pour(&self, group: Changes) {
        let mut open = self.0.lock();
        open.retain(|held| Arc::strong_count(held) > 1);
        for held in open.iter() {
            held.lock().take(&group);
        }
    }
}

impl Held {
    fn break_off(&mut self) {
        *self = Self { broken: true, ..Self::default() };
    }

    fn take(&mut self, group: &Changes) {
        let bytes = group.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        self.bytes += bytes.sum::<usize>();
        // A group that was under way when the tee was opened has no copy; see the module's description.
        if self.bytes > STORE_TEE_BYTES_MAX {
            self.break_off();
        } else if !self.broken && !group.is_empty() {
            self.groups.push(group.clone());
        }
    }
}

impl Tee {
    /// The groups since the last call, in order. [`Error::Busy`] when more was written than is kept for a
    /// reader that is too slow.
    pub(crate) fn take(&self) -> Result<Vec<Changes>> {
        let mut held = self.0.lock();
        if held.broken {
            return Err(Error::Busy);
        }
        held.bytes = 0;
        Ok(std::mem::take(&mut held.groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(key: &str, bytes: usize) -> Changes {
        Changes::from_iter([(key.into(), Some(vec![0; bytes]))])
    }

    #[test]
    fn every_group_comes_once_and_in_order() {
        let tees = Tees::default();
        assert!(tees.copy(&group("a", 1)).is_empty(), "nobody wants a copy");
        let tee = tees.open().unwrap();
        for key in ["a", "b"] {
            tees.pour(tees.copy(&group(key, 1)));
        }
        assert_eq!(tee.take().unwrap(), [group("a", 1), group("b", 1)]);
        tees.pour(group("c", 1));
        assert_eq!(tee.take().unwrap(), [group("c", 1)]);
    }

    #[test]
    fn a_tee_that_nobody_empties_breaks_and_says_so() {
        let tees = Tees::default();
        let tee = tees.open().unwrap();
        tees.pour(group("a", STORE_TEE_BYTES_MAX));
        tees.pour(group("b", 1));
        assert!(matches!(tee.take(), Err(Error::Busy)));
    }

    #[test]
    fn their_number_is_bounded_and_a_dropped_one_is_gone() {
        let tees = Tees::default();
        let open: Vec<Tee> = (0..STORE_TEES_MAX).map(|_| tees.open().unwrap()).collect();
        assert!(matches!(tees.open(), Err(Error::Busy)));
        drop(open);
        tees.open().unwrap();
    }
}
