//! The third database: a log-structured merge tree (the crate `lsm-tree`) behind a journal of our own.
//!
//! A group of commits is appended to the journal, synced there, and kept in the tree's memory; what fills that is
//! written to sorted, immutable, compressed tables, which are merged in the background (`maintenance.rs`). So a
//! commit costs one write behind the end of one file, opening reads the list of tables and the tail of the journal
//! whatever else is stored, and space comes back by merging.
//!
//! Why damage is not served: every block of a table and every record of the journal has a checksum that is looked
//! at when it is read; the list of tables has one that is looked at when the database is opened (`manifest.rs`),
//! and so is the journal's going on where the tables end; the end of the journal is what `mark.rs` watches.
//!
//! Invariants:
//! - readers see a group whole or not at all: they read as of [`Open::visible`];
//! - a snapshot that a reader may still take is never forgotten by the maintenance ([`Open::gate`]);
//! - a file of the journal goes only after what is in it is in synced tables.

mod journal;
mod maintenance;
mod manifest;
mod spare;

use std::fmt;
use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_tree::config::{BlockSizePolicy, CompressionPolicy, PinningPolicy};
use lsm_tree::{
    AbstractTree as _, AnyTree, Cache, CompressionType, Config, DescriptorTable, Guard, SequenceNumberCounter,
};
use parking_lot::{Mutex, RwLock};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, getrlimit};

use self::journal::{Found, Journal, Record};
use self::maintenance::Maintenance;
use super::backend::{Backend, Changes, Read, io_failure};
use super::files;
use super::{Error, Key, KeyRange, Order, Result, Rows, Tuning};
use crate::limits::LSM_FILES_OPEN_MAX;

/// Where the tree keeps how far the journal had come with the newest group that is in it: out of reach for callers.
const ORDINAL_KEY: &[u8] = b"\0journal";

/// Bytes of a block of a table before it is compressed: a job's rows and those of its neighbours, which compress
/// well together, and little to unpack for one read (with 8 KiB the disk is an eighth smaller, and a read costs a tenth to a fifth more).
const BLOCK_BYTES: u32 = 4 * 1024;

/// Bytes that must be there before it is opened again after the disk was full: several groups of commits.
const ROOM_BYTES: usize = 1024 * 1024;

/// An open database.
pub(super) struct Lsm {
    path: PathBuf,
    tuning: Tuning,
    /// `None` once closed; the error when it could not be opened again.
    open: RwLock<Result<Option<Open>>>,
}

struct Open {
    tree: Arc<Tree>,
    writer: Mutex<Writer>,
    maintenance: Maintenance,
    /// Held for as long as it is open.
    _lock: File,
}

/// What readers, the writer and the maintenance share.
struct Tree {
    rows: AnyTree,
    /// Readers see what has a lower sequence number.
    visible: AtomicU64,
    /// Held shared while a reader takes its snapshot; alone while the maintenance asks which ones it may forget.
    gate: RwLock<()>,
}

/// The writing half.
struct Writer {
    journal: Journal,
    ordinal: u64,
    seqno: SequenceNumberCounter,
}

impl Tree {
    /// Runs `read` on the newest snapshot.
    fn snapshot<T>(&self, read: impl FnOnce(&AnyTree, u64) -> T) -> T {
        let _taken = self.gate.read();
        read(&self.rows, self.visible.load(Ordering::Acquire))
    }

    /// The sequence number below which nobody takes a snapshot any more.
    fn forgettable(&self) -> u64 {
        let _nobody_takes_one = self.gate.write();
        self.visible.load(Ordering::Acquire)
    }
}

impl Lsm {
    /// Opens or creates the database in `path`.
    pub(super) fn open(path: &Path, tuning: Tuning) -> Result<Self> {
        let (lsm, verified) = Self::open_unverified(path, tuning)?;
        verified.map(|()| lsm)
    }

    /// The same with a journal that is damaged. Only for looking.
    pub(super) fn open_unverified(path: &Path, tuning: Tuning) -> Result<(Self, Result<()>)> {
        let (open, verified) = guarded(|| Open::new(path, tuning))?;
        Ok((Self { path: path.to_owned(), tuning, open: RwLock::new(Ok(Some(open))) }, verified))
    }

    fn with<T>(&self, run: impl FnOnce(&Open) -> Result<T>) -> Result<T> {
        let open = self.open.read();
        let open = open.as_ref().map_err(Error::clone)?.as_ref().ok_or(Error::Closed)?;
        guarded(|| run(open))
    }
}

impl Open {
    fn new(path: &Path, tuning: Tuning) -> Result<(Self, Result<()>)> {
        files::create_dir_durably(path)?;
        let lock = lock(path)?;
        let tables = path.join("tables");
        manifest::verify(&tables)?;
        let seqno = SequenceNumberCounter::default();
        let rows = config(&tables, &seqno, tuning).open().map_err(failure)?;
        // The tables' numbers begin at 0.
        let persisted = rows.get_highest_persisted_seqno().map_or(0, |highest| highest + 1);
        let mut ordinal = ordinal_in(&rows)?;
        let mut next = persisted;
        let Found { journal, oldest, verified } = Journal::open(&path.join("journal"), |record| {
            replay(&rows, persisted, &mut ordinal, record, &mut next)
        })?;
        seqno.set(next);
        let tree = Arc::new(Tree { rows, visible: AtomicU64::new(next), gate: RwLock::new(()) });
        let maintenance = Maintenance::start(Arc::clone(&tree), path.join("journal"), oldest, tuning)?;
        let writer = Mutex::new(Writer { journal, ordinal, seqno });
        Ok((Self { tree, writer, maintenance, _lock: lock }, verified))
    }
}

fn config(tables: &Path, seqno: &SequenceNumberCounter, tuning: Tuning) -> Config {
    Config::new(tables, seqno.clone(), SequenceNumberCounter::default())
        .use_cache(Arc::new(Cache::with_capacity_bytes(tuning.cache_bytes)))
        .use_descriptor_table(Some(Arc::new(DescriptorTable::new(files_open()))))
        .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        // Where a row is, and that it is not there, is known without a look at the disk and without displacing rows from
        // the cache: some 16 bytes of memory for each stored job.
        .index_block_partitioning_policy(PinningPolicy::all(false))
        .index_block_pinning_policy(PinningPolicy::all(true))
        .filter_block_partitioning_policy(PinningPolicy::all(false))
        .filter_block_pinning_policy(PinningPolicy::all(true))
}

/// How many files of tables stay open: a quarter of what this process may open is what the store takes at most.
fn files_open() -> usize {
    let allowed = getrlimit(Resource::Nofile).current.map_or(LSM_FILES_OPEN_MAX, |files| files / 4);
    usize::try_from(allowed.min(LSM_FILES_OPEN_MAX)).unwrap_or(usize::MAX)
}

/// Keeps a second one away.
fn lock(path: &Path) -> Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path.join("lock"));
    let file = file.map_err(|error| io_failure(&error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked { path: path.display().to_string() }),
        Err(error) => Err(io_failure(&error.into())),
    }
}

/// The number of the newest group that is in the tables.
fn ordinal_in(rows: &AnyTree) -> Result<u64> {
    let Some(bytes) = rows.get(ORDINAL_KEY, u64::MAX >> 1).map_err(failure)? else { return Ok(0) };
    let bytes = bytes.as_ref().try_into();
    bytes.map(u64::from_be_bytes).map_err(|_| Error::Corrupt("the tables do not say how far they go".into()))
}

/// Takes a group from the journal into the tree's memory, unless it is in a table.
fn replay(rows: &AnyTree, persisted: u64, ordinal: &mut u64, record: Record, next: &mut u64) -> Result<()> {
    if record.ordinal <= *ordinal {
        return Ok(());
    }
    if record.ordinal != *ordinal + 1 || record.seqno < persisted {
        return Err(Error::Corrupt(
            format!(
                "group {} of commits is not where it should be: the journal goes on with {}; restore a backup with `dogwatch restore`",
                *ordinal + 1,
                record.ordinal
            )
            .into(),
        ));
    }
    *ordinal = record.ordinal;
    *next = record.seqno + 1;
    insert(rows, record);
    Ok(())
}

fn insert(rows: &AnyTree, Record { ordinal, seqno, changes }: Record) {
    for (key, value) in changes {
        match value {
            Some(value) => rows.insert(key, value, seqno),
            None => rows.remove(key, seqno),
        };
    }
    rows.insert(ORDINAL_KEY, ordinal.to_be_bytes(), seqno);
}

impl Writer {
    /// Appends to the journal, then shows to readers.
    fn write(&mut self, tree: &Tree, changes: Changes) -> Result<()> {
        let (ordinal, seqno) = (self.ordinal + 1, self.seqno.next());
        self.journal.append(ordinal, seqno, &changes)?;
        self.ordinal = ordinal;
        insert(&tree.rows, Record { ordinal, seqno, changes });
        tree.visible.store(seqno + 1, Ordering::Release);
        Ok(())
    }
}

impl Read for Lsm {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with(|open| {
            let value = open.tree.snapshot(|rows, seqno| rows.get(key, seqno)).map_err(failure)?;
            Ok(value.map(|value| value.to_vec()))
        })
    }

    fn scan_all(&self, ranges: &[KeyRange], order: Order, limit: usize) -> Result<Vec<Rows>> {
        self.with(|open| {
            let found: Vec<_> = open.tree.snapshot(|rows, seqno| {
                ranges.iter().map(|range| rows.range::<&[u8], _>(range.bounds(), seqno, None)).collect()
            });
            found.into_iter().map(|rows| first_of(rows, order, limit)).collect()
        })
    }
}

fn first_of(
    mut found: impl DoubleEndedIterator<Item = impl Guard>,
    order: Order,
    limit: usize,
) -> Result<Rows> {
    let mut rows = Rows::new();
    while rows.len() < limit {
        let next = match order {
            Order::Ascending => found.next(),
            Order::Descending => found.next_back(),
        };
        let Some(row) = next else { break };
        let (key, value) = row.into_inner().map_err(failure)?;
        rows.push((key.to_vec(), value.to_vec()));
    }
    Ok(rows)
}

impl Backend for Lsm {
    fn keys(&self, range: &KeyRange, limit: usize) -> Result<Vec<Key>> {
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = range.bounds();
        self.with(|open| {
            let rows =
                open.tree.snapshot(|rows, seqno| rows.range::<&[u8], _>(bounds, seqno, None)).take(limit);
            rows.map(|row| row.key().map(|key| key.to_vec()).map_err(failure)).collect()
        })
    }

    fn write(&self, changes: Changes) -> Result<()> {
        self.with(|open| {
            let mut writer = open.writer.lock();
            open.maintenance.admit(&mut writer.journal)?;
            writer.write(&open.tree, changes)
        })
    }

    fn sync(&self) -> Result<()> {
        self.check_synced()
    }

    fn check_synced(&self) -> Result<()> {
        self.with(|open| open.writer.lock().journal.sync())
    }

    /// The tables that are written next need some.
    fn reopens_when_full(&self) -> bool {
        false
    }

    fn reopen(&self) -> Result<()> {
        // Where the system's word on free space is not all (quotas): else it would open, and the next write fail again.
        files::try_room(&self.path, ROOM_BYTES)?;
        let mut open = self.open.write();
        // The old one first: it holds the lock.
        drop(std::mem::replace(&mut *open, Err(Error::Closed)));
        *open = guarded(|| Open::new(&self.path, self.tuning))
            .and_then(|(open, verified)| verified.map(|()| Some(open)));
        open.as_ref().map(drop).map_err(Error::clone)
    }

    fn size_on_disk(&self) -> Option<u64> {
        let journal = journal::size(&self.path.join("journal")).ok()?;
        self.with(|open| Ok(open.tree.rows.disk_space() + journal)).ok()
    }

    fn close(&self) {
        drop(std::mem::replace(&mut *self.open.write(), Ok(None)));
    }
}

impl fmt::Debug for Lsm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lsm").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Runs a call into the tree, and answers its panic as damage.
fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        Err(Error::Corrupt(
            "the database panicked, which it does when it meets damage it did not expect; see the log for its words and \
             `dogwatch doctor --store` for what is there, then restore a backup"
                .into(),
        ))
    })
}

fn failure(error: lsm_tree::Error) -> Error {
    match error {
        lsm_tree::Error::Io(error) => io_failure(&error),
        error => Error::Corrupt(
            format!(
                "a table is not what was written ({error:?}); see what there is with `dogwatch doctor --store`, then restore a \
                 backup with `dogwatch restore`"
            )
            .into(),
        ),
    }
}
