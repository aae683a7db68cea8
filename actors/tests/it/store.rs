//! The stores: the conformance suite for each, a model, the death of the process, and damage.

use std::path::Path;
use std::sync::Arc;

use dogwatch_actors::store::conformance::{self, Place};
use dogwatch_actors::store::memory::MemoryStore;
use dogwatch_actors::store::{self, Error, Kind, Store, Tuning};
use parking_lot::Mutex;

mod damage;
mod killed;
mod model;
pub(crate) mod power_loss;

/// Opens a store that keeps so little in memory that a test of some commits sees it write all its kinds of files.
fn open(dir: &Path, kind: Kind) -> store::Result<Arc<dyn Store>> {
    store::open_with(
        dir,
        kind,
        Tuning { memory_bytes: 8 * 1024, table_bytes: 16 * 1024, ..Tuning::default() },
    )
}

/// A directory of its own.
struct OnDisk {
    dir: tempfile::TempDir,
    kind: Kind,
}

impl OnDisk {
    fn new(kind: Kind) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), kind }
    }
}

impl Place for OnDisk {
    fn open(&self) -> store::Result<Arc<dyn Store>> {
        open(self.dir.path(), self.kind)
    }
}

/// The memory of a process: closing keeps it, and only one store may be open on it.
#[derive(Default)]
struct InMemory(Mutex<Option<Arc<MemoryStore>>>);

impl Place for InMemory {
    fn open(&self) -> store::Result<Arc<dyn Store>> {
        let mut last = self.0.lock();
        let next = match last.take() {
            None => MemoryStore::new(),
            Some(open) if open.health().is_ok() && Arc::strong_count(&open) > 1 => {
                *last = Some(open);
                return Err(Error::Locked { path: "memory".to_owned() });
            }
            Some(closed) => closed.crash(),
        };
        let next = Arc::new(next);
        *last = Some(Arc::clone(&next));
        Ok(next)
    }
}

#[test]
fn sled_conforms() {
    conformance::run(|| OnDisk::new(Kind::Sled));
}

#[test]
fn redb_conforms() {
    conformance::run(|| OnDisk::new(Kind::Redb));
}

#[test]
fn lsm_conforms() {
    conformance::run(|| OnDisk::new(Kind::Lsm));
}

#[test]
fn memory_conforms() {
    conformance::run(InMemory::default);
}

/// A new one every time: nothing is kept.
struct Nowhere;

impl Place for Nowhere {
    fn open(&self) -> store::Result<Arc<dyn Store>> {
        Ok(store::volatile())
    }
}

#[test]
fn volatile_conforms() {
    conformance::run_for_one_life(|| Nowhere);
}

#[test]
fn a_directory_keeps_its_kind() {
    let place = OnDisk::new(Kind::Redb);
    place.open().unwrap().close();
    let other = store::open(place.dir.path(), Kind::Sled);
    assert!(matches!(other, Err(Error::OtherKind { found: Kind::Redb, .. })), "{other:?}");
}
