//! A store that lives as long as the process: rows in a map, and nothing on a disk.
//!
//! Everything but durability is as in the others, through the same committer. For applications that want supervision
//! and no memory of it, and for measuring what everything above the disk costs. Not responsible for failing on purpose:
//! that is `memory.rs`, for tests.

use std::collections::BTreeMap;
use std::fmt;

use parking_lot::RwLock;

use super::backend::{Backend, Changes, Read};
use super::{Key, KeyRange, Order, Result, Rows};

/// The rows.
#[derive(Default)]
pub(super) struct Volatile(RwLock<BTreeMap<Key, Vec<u8>>>);

impl Read for Volatile {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.0.read().get(key).cloned())
    }

    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Rows> {
        self.0.read().scan(range, order, limit)
    }
}

impl Backend for Volatile {
    fn keys(&self, range: &KeyRange, limit: usize) -> Result<Vec<Key>> {
        Ok(self.0.read().range::<[u8], _>(range.bounds()).take(limit).map(|(key, _)| key.clone()).collect())
    }

    fn write(&self, changes: Changes) -> Result<()> {
        let mut rows = self.0.write();
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn check_synced(&self) -> Result<()> {
        Ok(())
    }

    fn reopens_when_full(&self) -> bool {
        true
    }

    fn reopen(&self) -> Result<()> {
        Ok(())
    }

    fn size_on_disk(&self) -> Option<u64> {
        None
    }

    /// What was in it is of no use any more.
    fn close(&self) {
        self.0.write().clear();
    }
}

impl fmt::Debug for Volatile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volatile").field("rows", &self.0.read().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::wait;
    use super::super::{Batch, Error, Log, volatile};

    #[test]
    fn it_keeps_what_is_committed_until_it_is_closed() {
        let store = volatile().unwrap();
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
    }
}
