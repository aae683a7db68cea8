//! A store that lives as long as the process: rows in a map, and nothing on a disk.
//!
//! Everything but durability is as in the others. There is no disk to wait for and so nothing to gain by groups: a commit is
//! applied where it is called, and its answer is there at once. For applications that want supervision and no memory of
//! it, and for measuring what everything above the disk costs. Not responsible for failing on purpose: that is
//! `memory.rs`, for tests.

use std::fmt;

use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::backend::{Changes, Read as _};
use super::row_map::RowMap;
use super::sequence::{self, Sequence, Stage};
use super::tee::{Tee, Tees};
use super::{Batch, Committed, Error, Key, KeyRange, Op, Order, Result, Rows, Store};

/// The store.
pub(super) struct Volatile {
    /// `None` once closed.
    state: RwLock<Option<State>>,
    tees: Tees,
    appended: watch::Sender<u64>,
}

struct State {
    rows: RowMap,
    sequence: Sequence,
}

impl Default for Volatile {
    fn default() -> Self {
        let sequence = Sequence::behind(0);
        let state = State { rows: RowMap::default(), sequence };
        Self {
            state: RwLock::new(Some(state)),
            tees: Tees::default(),
            appended: watch::Sender::new(sequence.last()),
        }
    }
}

impl Volatile {
    fn commit_now(&self, mut batch: Batch) -> Result<Committed> {
        // All that can be is done out of the lock, for which every actor of every thread comes.
        for op in &mut batch.ops {
            if let Op::Put { value, .. } | Op::Append { value, .. } = op {
                value.shrink_to_fit();
            }
        }
        let mut replaced = Vec::with_capacity(batch.ops.len());
        let (committed, last) = self.apply(batch, &mut replaced)?;
        drop(replaced);
        self.appended.send_if_modified(|known| {
            let is_later = *known < last;
            *known = last.max(*known);
            is_later
        });
        Ok(committed)
    }

    fn apply(&self, batch: Batch, replaced: &mut Vec<Box<[u8]>>) -> Result<(Committed, u64)> {
        let mut state = self.state.write();
        let State { rows, sequence } = state.as_mut().ok_or(Error::Closed)?;
        let copy = self.tees.are_open().then(Changes::default);
        let mut stage = InPlace { rows, replaced, copy };
        let committed = sequence.stage_onto(batch, &mut stage)?;
        // A tee gets the groups in their order, because this is in the lock, and complete. Nobody else asks how far the
        // sequence has come: there is no opening again.
        if let Some(mut group) = stage.copy.filter(|group| !group.is_empty()) {
            sequence.seal(&mut group);
            self.tees.pour(group);
        }
        Ok((committed, sequence.last()))
    }
}

/// The rows themselves: no other batch is staged before this one is there.
struct InPlace<'a> {
    rows: &'a mut RowMap,
    /// What is no longer there, to be freed where nobody waits for it.
    replaced: &'a mut Vec<Box<[u8]>>,
    /// The changes for those who want a copy.
    copy: Option<Changes>,
}

impl Stage for InPlace<'_> {
    fn current(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.rows.get(key)
    }

    fn set(&mut self, key: Key, value: Option<Vec<u8>>) {
        if let Some(copy) = &mut self.copy {
            copy.insert(key.clone(), value.clone());
        }
        self.replaced.extend(self.rows.set(&key, value));
    }
}

impl Store for Volatile {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let state = self.state.read();
        let state = state.as_ref().ok_or(Error::Closed)?;
        if sequence::is_visible(key) { state.rows.get(key) } else { Ok(None) }
    }

    fn scan_all(&self, ranges: Vec<KeyRange>, order: Order, limit: usize) -> Result<Vec<Rows>> {
        let state = self.state.read();
        state.as_ref().ok_or(Error::Closed)?.rows.scan_all(&sequence::all_visible(ranges), order, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Committed>> {
        future::ready(self.commit_now(batch)).boxed()
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    fn health(&self) -> Result<()> {
        self.state.read().as_ref().map_or(Err(Error::Closed), |_| Ok(()))
    }

    fn tee(&self) -> Result<Tee> {
        self.health()?;
        self.tees.open()
    }

    fn size_on_disk(&self) -> Option<u64> {
        None
    }

    /// What was in it is of no use any more.
    fn close(&self) {
        self.state.write().take();
    }
}

impl fmt::Debug for Volatile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.state.read().as_ref().map(|state| state.rows.len());
        f.debug_struct("Volatile").field("rows", &rows).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::wait;
    use super::super::{Batch, Error, Log, Store as _};
    use super::Volatile;

    #[test]
    fn it_keeps_what_is_committed_until_it_is_closed() {
        let store = Volatile::default();
        let mut batch = Batch::new();
        batch.put("row", "value").append(Log::Events, "event");
        assert_eq!(wait(store.commit(batch)).unwrap().first_seq, 1);
        assert_eq!(store.get(b"row").unwrap().as_deref(), Some(&b"value"[..]));
        assert_eq!(*store.appended().borrow(), 1);
        assert_eq!(store.size_on_disk(), None);
        store.close();
        let mut batch = Batch::new();
        batch.delete("row");
        assert!(matches!(wait(store.commit(batch)), Err(Error::Closed)));
        assert!(matches!(store.get(b"row"), Err(Error::Closed)));
    }
}
