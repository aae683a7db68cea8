//! The default database: sled 0.34, one tree, one atomic sled batch per group, made durable by a sync of our
//! own.
//!
//! Not responsible for large values (`sled/large.rs` cuts them up) nor for finding rows that damage took
//! (`sled/tally.rs` and `mark.rs`).
//!
//! What sled does not do, and this file therefore does:
//! - its `flush` ends in `sync_file_range`, which survives the death of the process but not the loss of power:
//!   after it we sync the data of `<dir>/db` through a descriptor of our own (a sync is per file, not per
//!   descriptor);
//! - it never syncs the files and directory entries that it creates: `open` does, once;
//! - items over a quarter of a segment go to files of their own (`blobs/`), which sled neither syncs nor
//!   misses after a crash: the limits below keep every item smaller, and a blob that appears all the same is
//!   synced before the log that points to it;
//! - it panics on some kinds of damage: a panic is answered as an error;
//! - it may forget to wake who waits for a write that failed: `flush` asks anew;
//! - it holds the lock on its file a little longer than the `Db`: closing waits for the lock.

mod large;
mod tally;

use std::fmt;
use std::fs::{self, File};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustix::fs::{FlockOperation, flock};

use self::large::Stored;
use self::tally::Tally;
use super::backend::{Backend, Changes, Read, io_failure, sync_failure};
use super::files;
use super::{Error, Key, KeyRange, Order, Result, Rows};
use crate::limits;

/// Bytes of a segment of sled's log. Four times sled's default, so that its threshold for blobs (a quarter of
/// a segment) stays above every node that the limits allow.
const SEGMENT_BYTES: usize = 2 * 1024 * 1024;

/// sled splits a leaf above 16 items; a merge with a small neighbour can add three.
const LEAF_ITEMS_MAX: usize = 20;

/// sled splits an index node above 256 items; a merge can add 63.
const INDEX_ITEMS_MAX: usize = 320;

/// More than sled adds to a key and a value, or to a key and a pointer, in a node.
const ITEM_OVERHEAD_BYTES: usize = 32;

const _: () = {
    let blob_threshold = SEGMENT_BYTES / 4 - 64;
    let item = limits::STORE_KEY_BYTES_MAX + ITEM_OVERHEAD_BYTES;
    assert!(LEAF_ITEMS_MAX * (item + large::INLINE_BYTES_MAX) < blob_threshold, "a leaf would become a blob");
    assert!(INDEX_ITEMS_MAX * item < blob_threshold, "an index node would become a blob");
};

/// How long a flush may take before it is asked for again beside it: longer than a busy disk takes.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// How long closing waits for sled's background work to let go of the lock, and how often it looks.
const UNLOCK_WAIT: Duration = Duration::from_secs(5);
const UNLOCK_POLL: Duration = Duration::from_millis(1);

/// An open sled database.
pub(super) struct Sled {
    path: PathBuf,
    cache_bytes: u64,
    /// Our own descriptor of the file that holds sled's log.
    log: File,
    /// `None` once closed; the error when it could not be opened again.
    db: RwLock<Result<Option<Open>>>,
}

struct Open {
    db: ::sled::Db,
    large: large::Ids,
    /// What is in the database; only the committer changes it.
    tally: Mutex<Tally>,
    /// Held alone while a batch is applied, and shared by who reads ranges as of one moment: sled has no snapshots, and an
    /// iterator sees a batch in parts.
    gate: RwLock<()>,
}

impl Sled {
    /// Opens or creates the database in `path`.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self> {
        let (sled, verified) = Self::open_unverified(path, cache_bytes)?;
        verified.map(|()| sled)
    }

    /// The same however damaged it is, with what the verification says. Only for looking.
    pub(super) fn open_unverified(path: &Path, cache_bytes: u64) -> Result<(Self, Result<()>)> {
        let (open, verified) = Open::new(path, cache_bytes)?;
        let log = File::options()
            .read(true)
            .write(true)
            .open(path.join("db"))
            .map_err(|error| io_failure(&error))?;
        Ok((Self { path: path.to_owned(), cache_bytes, log, db: RwLock::new(Ok(Some(open))) }, verified))
    }

    fn with<T>(&self, run: impl FnOnce(&Open) -> Result<T>) -> Result<T> {
        let open = self.db.read();
        run(open.as_ref().map_err(Error::clone)?.as_ref().ok_or(Error::Closed)?)
    }

    /// Syncs the files in `blobs/`. There should be none; see [`SEGMENT_BYTES`].
    fn sync_blobs(&self) -> Result<()> {
        let blobs = self.path.join("blobs");
        let mut entries = fs::read_dir(&blobs).map_err(|error| io_failure(&error))?;
        if entries.next().is_none() {
            return Ok(());
        }
        tracing::warn!(path = %blobs.display(), "sled wrote a blob although every item should be small enough");
        files::sync_tree(&blobs)
    }

    /// Waits until sled's lock on the file is gone, so that whoever opens the directory next gets it.
    fn await_unlock(&self) {
        let deadline = tokio::time::Instant::now() + UNLOCK_WAIT;
        while flock(&self.log, FlockOperation::NonBlockingLockExclusive).is_err() {
            if tokio::time::Instant::now() > deadline {
                tracing::warn!(path = %self.path.display(), "sled still holds its lock after closing");
                return;
            }
            thread::sleep(UNLOCK_POLL);
        }
        if let Err(error) = flock(&self.log, FlockOperation::Unlock) {
            tracing::warn!(%error, path = %self.path.display(), "the lock of the closed store stays");
        }
    }
}

impl Open {
    fn new(path: &Path, cache_bytes: u64) -> Result<(Self, Result<()>)> {
        let config = ::sled::Config::new()
            .path(path)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(cache_bytes)
            // Every group is flushed by the committer; sled's own flusher would only log its failures.
            .flush_every_ms(None);
        let db = guarded(|| config.open()).map_err(|error| match error {
            Error::Failed(text) if text.contains("could not acquire lock") => {
                Error::Locked { path: path.display().to_string() }
            }
            other => other,
        })?;
        let (large, tally) = (large::Ids::recover(&db)?, Tally::verify(&db));
        let (tally, verified) =
            tally.map_or_else(|error| (Tally::default(), Err(error)), |tally| (tally, Ok(())));
        Ok((Self { db, large, tally: Mutex::new(tally), gate: RwLock::default() }, verified))
    }
}

impl Open {
    fn first_of(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Rows> {
        let mut rows = Rows::new();
        let mut iter = self.db.range::<&[u8], _>(range.bounds());
        while rows.len() < limit {
            let next = guarded(|| {
                match order {
                    Order::Ascending => iter.next(),
                    Order::Descending => iter.next_back(),
                }
                .transpose()
            })?;
            let Some((key, stored)) = next else { break };
            if let Some(value) = large::value(&self.db, &key, Stored::decode(&key, &stored)?)? {
                rows.push((key.to_vec(), value));
            }
        }
        Ok(rows)
    }
}

impl Read for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with(|open| large::get(&open.db, key))
    }

    fn scan_all(&self, ranges: &[KeyRange], order: Order, limit: usize) -> Result<Vec<Rows>> {
        self.with(|open| {
            let _as_one = open.gate.read();
            ranges.iter().map(|range| open.first_of(range, order, limit)).collect()
        })
    }
}

impl Backend for Sled {
    fn keys(&self, range: &KeyRange, limit: usize) -> Result<Vec<Key>> {
        let (from, to): (Bound<&[u8]>, Bound<&[u8]>) = range.bounds();
        self.with(|open| {
            guarded(|| {
                let keys = open.db.range::<&[u8], _>((from, to)).keys().take(limit);
                keys.map(|key| key.map(|key| key.to_vec())).collect()
            })
        })
    }

    fn write(&self, changes: Changes) -> Result<()> {
        self.with(|open| {
            let batch = large::batch(&open.db, &open.large, &mut open.tally.lock(), changes)?;
            let _as_one = open.gate.write();
            guarded(|| open.db.apply_batch(batch))
        })
    }

    fn sync(&self) -> Result<()> {
        self.sync_blobs()?;
        self.with(|open| flush(&open.db))?;
        self.check_synced()
    }

    fn check_synced(&self) -> Result<()> {
        self.log.sync_data().map_err(|error| sync_failure(&error))
    }

    /// It writes a snapshot, and reads go on without it.
    fn reopens_when_full(&self) -> bool {
        false
    }

    fn reopen(&self) -> Result<()> {
        // Where the system's word on free space is not all (quotas): the old one still serves readers.
        files::try_room(&self.path, 2 * SEGMENT_BYTES)?;
        let mut db = self.db.write();
        if let Ok(Some(old)) = std::mem::replace(&mut *db, Err(Error::Closed)) {
            drop(old);
            self.await_unlock();
        }
        *db = Open::new(&self.path, self.cache_bytes)
            .and_then(|(open, verified)| verified.map(|()| Some(open)));
        db.as_ref().map(drop).map_err(Error::clone)
    }

    fn size_on_disk(&self) -> Option<u64> {
        self.with(|open| guarded(|| open.db.size_on_disk())).ok()
    }

    fn close(&self) {
        if let Ok(Some(open)) = std::mem::replace(&mut *self.db.write(), Ok(None)) {
            drop(open);
            self.await_unlock();
        }
    }
}

impl Drop for Sled {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Sled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sled").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Waits until everything is written. When sled's own thread fails to write, whoever began to wait in that moment is
/// never woken (measured: half of such failures), and who asks anew is told, and wakes the others: so it is asked
/// anew as long as there is no answer.
fn flush(db: &::sled::Db) -> Result<()> {
    let (done, answers) = mpsc::channel();
    loop {
        let (db, done) = (db.clone(), done.clone());
        let ask = move || drop(done.send(guarded(|| db.flush())));
        let asking = thread::Builder::new().name("store-flush".to_owned()).spawn(ask);
        asking.map_err(|error| io_failure(&error))?;
        if let Ok(answer) = answers.recv_timeout(FLUSH_PATIENCE) {
            return answer.map(drop);
        }
    }
}

/// Runs a call into sled, and answers its panic as damage.
fn guarded<T>(call: impl FnOnce() -> ::sled::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => answer.map_err(failure),
        Err(_) => Err(Error::Corrupt(
            "sled panicked, which it does when it meets damage it did not expect; see the log for its words \
             and `dogwatch doctor --store` for what is there, then restore a backup"
                .into(),
        )),
    }
}

fn failure(error: ::sled::Error) -> Error {
    match error {
        ::sled::Error::Io(error) => io_failure(&error),
        // The last two are what it says of files that it cannot have written as they are.
        ::sled::Error::Corruption { .. }
        | ::sled::Error::Unsupported(_)
        | ::sled::Error::ReportableBug(_) => Error::Corrupt(error.to_string().into()),
        other => Error::Failed(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: usize, bytes: usize) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut key = format!("{number:06}").into_bytes();
        key.resize(limits::STORE_KEY_BYTES_MAX, b'k');
        (key, Some(vec![number as u8; bytes]))
    }

    #[test]
    fn no_item_becomes_a_blob_at_the_largest_keys_and_values() {
        let dir = tempfile::tempdir().unwrap();
        let sled = Sled::open(dir.path(), limits::STORE_CACHE_BYTES).unwrap();
        for round in 0..4 {
            for start in (0..1_200).step_by(100) {
                let bytes = if round == 3 { large::INLINE_BYTES_MAX * 2 } else { large::INLINE_BYTES_MAX };
                sled.write((start..start + 100).map(|number| row(number * 7_919 % 1_200, bytes)).collect())
                    .unwrap();
                sled.sync().unwrap();
                assert_eq!(fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0);
            }
            // Removing most rows merges nodes.
            sled.write((0..1_200).filter(|number| number % 9 > 1).map(|n| (row(n, 0).0, None)).collect())
                .unwrap();
            sled.sync().unwrap();
            assert_eq!(fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0);
        }
    }

    #[test]
    fn rows_that_vanish_or_change_are_noticed_at_opening() {
        type Harm = fn(&::sled::Db);
        let harms: [(&str, Harm); 4] = [
            ("a row vanishes", |db| drop(db.remove(row(3, 0).0).unwrap())),
            ("a row changes", |db| drop(db.insert(row(3, 0).0, vec![0, 9]).unwrap())),
            ("a chunk vanishes", |db| {
                drop(db.scan_prefix(b"\0chunk/").keys().next().unwrap().map(|key| db.remove(key)))
            }),
            ("the tally vanishes", |db| drop(db.remove(b"\0tally").unwrap())),
        ];
        for (what, harm) in harms {
            let dir = tempfile::tempdir().unwrap();
            let sled = Sled::open(dir.path(), limits::STORE_CACHE_BYTES).unwrap();
            sled.write((0..10).map(|number| row(number, 10)).chain([row(10, 100_000)]).collect()).unwrap();
            sled.sync().unwrap();
            sled.close();
            drop(Sled::open(dir.path(), limits::STORE_CACHE_BYTES).unwrap());
            let sled = Sled::open(dir.path(), limits::STORE_CACHE_BYTES).unwrap();
            harm(&sled.db.read().as_ref().unwrap().as_ref().unwrap().db);
            sled.sync().unwrap();
            sled.close();
            let refused = Sled::open(dir.path(), limits::STORE_CACHE_BYTES);
            assert!(matches!(refused, Err(Error::Corrupt(_))), "{what}: {refused:?}");
        }
    }
}
