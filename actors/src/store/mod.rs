//! Durable state: ordered keys, atomic batches that resolve when they are durable, sequenced logs.
//!
//! Responsible for: atomicity, durability and order. Not responsible for: what the bytes mean (that is
//! `codec.rs` and the machines) or who may write them.
//!
//! Invariants, checked for every implementation by the conformance suite:
//! - a batch is applied whole or not at all, also across a crash at any moment;
//! - the future of [`Store::commit`] resolves `Ok` only after the batch is on stable storage;
//! - batches take effect in the order in which `commit` was *called*; preconditions see all earlier ones;
//! - the numbers that [`Op::Append`] assigns rise without gaps or repeats, also across restarts;
//! - [`Error::Full`] says that nothing was changed, and later commits succeed once there is space again;
//! - a failed sync is fatal: from then on every commit is refused, and nothing is retried.
//!
//! How it is built: `committer.rs` is the one thread that writes; `sequence.rs` decides what a batch changes;
//! `sled.rs`, `redb.rs` and `lsm.rs` keep the rows; `mark.rs` notices when a database lost some; `format.rs` keeps away
//! from what a newer version wrote; `space.rs` from a disk that is about to be full.

mod backend;
pub mod codec;
mod committer;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod files;
mod fill;
mod format;
mod log;
mod lsm;
mod mark;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod patience;
mod redb;
mod row_map;
mod salvage;
mod sequence;
mod sled;
mod space;
mod tee;
mod volatile;

use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use self::backend::Backend;
use self::committer::GroupCommitStore;
use self::mark::Mark;

pub(crate) use self::backend::Changes;
pub(crate) use self::fill::Filling;
pub use self::format::{FORMAT, check as check_format};
pub use self::log::Log;
pub use self::patience::Patience;
pub use self::salvage::{About, Salvage};
pub(crate) use self::sequence::{is_visible, last_in as last_sequence_in};
pub use self::tee::Tee;
use crate::limits;

/// A key: bytes that sort as they compare.
pub type Key = Vec<u8>;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets a key.
    Put {
        /// The key.
        key: Key,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Removes a key; no error when there is none.
    Delete {
        /// The key.
        key: Key,
    },
    /// Adds a row to a sequenced log: the key is `log`, `/` and the next number, 8 bytes big-endian. All logs
    /// share one sequence, which is the order of commits.
    Append {
        /// The log.
        log: Log,
        /// The row.
        value: Vec<u8>,
    },
}

/// What must hold for a batch to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The key does not exist.
    Absent(Key),
    /// The key exists.
    Present(Key),
}

/// Changes that are applied together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Checked first, against everything committed before; on the first that fails nothing is applied.
    pub preconditions: Vec<Precondition>,
    /// Applied in this order.
    pub ops: Vec<Op>,
    /// How long it may wait for others to share its sync; by default not at all.
    pub patience: Option<Patience>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a [`Op::Put`].
    pub fn put(&mut self, key: impl Into<Key>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.ops.push(Op::Put { key: key.into(), value: value.into() });
        self
    }

    /// Adds a [`Op::Delete`].
    pub fn delete(&mut self, key: impl Into<Key>) -> &mut Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// Adds an [`Op::Append`].
    pub fn append(&mut self, log: Log, value: impl Into<Vec<u8>>) -> &mut Self {
        self.ops.push(Op::Append { log, value: value.into() });
        self
    }

    /// Adds a precondition.
    pub fn require(&mut self, precondition: Precondition) -> &mut Self {
        self.preconditions.push(precondition);
        self
    }
}

/// What a durable commit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The first sequence number that this batch's appends got; they follow each other without a gap. When
    /// the batch appended nothing: the number that the next append will get.
    pub first_seq: u64,
}

/// The bounds of a scan: keys `k` with `from <= k` and `k < to` (`to` = `None`: to the end).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key that may be in it.
    pub from: Key,
    /// The first key that is no longer in it.
    pub to: Option<Key>,
}

/// The first key behind `key`.
pub(crate) fn behind(key: &[u8]) -> Key {
    [key, &[0]].concat()
}

impl KeyRange {
    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Key>) -> Self {
        let from = prefix.into();
        let mut to = from.clone();
        while to.last() == Some(&0xff) {
            to.pop();
        }
        let to = to.last_mut().map(|last| *last += 1).map(|()| to);
        Self { from, to }
    }

    /// All rows of a log.
    pub fn log(log: Log) -> Self {
        Self::prefix([log.prefix().as_bytes(), b"/"].concat())
    }

    /// Whether `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.from.as_slice() <= key && self.to.as_deref().is_none_or(|to| key < to)
    }

    /// The same range without the keys up to and including `key`.
    pub fn after(mut self, key: &[u8]) -> Self {
        let next = behind(key);
        if next > self.from {
            self.from = next;
        }
        self
    }

    /// The same range without `key` and the keys behind it.
    pub fn before(mut self, key: &[u8]) -> Self {
        if self.to.as_deref().is_none_or(|to| key < to) {
            self.to = Some(key.to_vec());
        }
        self
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }

    /// The range in the form that the maps of the standard library take, which panic on an inverted one: that is an empty one.
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let to = self.to.as_deref().map(|to| to.max(&self.from));
        (Bound::Included(&self.from), to.map_or(Bound::Unbounded, Bound::Excluded))
    }
}

/// The order of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From the smallest key.
    Ascending,
    /// From the largest key.
    Descending,
}

/// What can go wrong in a store.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A precondition did not hold; nothing was changed.
    #[error("precondition failed: the key {} {}", .key.escape_ascii(), if .existing.is_some() { "exists" } else { "does not exist" })]
    Precondition {
        /// The key it was about.
        key: Key,
        /// The value that stands there, when there is one.
        existing: Option<Vec<u8>>,
    },
    /// The batch names a key that cannot be: nothing was changed.
    #[error(
        "the key {} cannot be written: it is empty, too long, begins with a zero byte, or is a row of a log that was never appended",
        .key.escape_ascii()
    )]
    InvalidKey {
        /// The key, cut off at the longest length.
        key: Key,
    },
    /// The data directory was made with another kind of store.
    #[error("{path} holds a {found} store; configure that kind, or choose another --data-dir")]
    OtherKind {
        /// The directory.
        path: String,
        /// What is in it.
        found: Kind,
    },
    /// Another process has the store open.
    #[error(
        "the data directory {path} is in use by another dogwatch; stop that one, or choose another --data-dir"
    )]
    Locked {
        /// The directory.
        path: String,
    },
    /// A newer version wrote the store.
    #[error(
        "the store in {path} has format {found}, and this version knows formats up to {FORMAT}; use the version of dogwatch that wrote it, or a newer one (nothing was changed)"
    )]
    NewerFormat {
        /// The directory.
        path: String,
        /// Its format.
        found: u32,
    },
    /// The disk is full: nothing was changed, and commits succeed again once there is space.
    #[error(
        "no space left on the device that holds the data directory; free some, and dogwatch goes on by itself: {0}"
    )]
    Full(Arc<str>),
    /// The disk or the database failed. The store refuses writes until it is opened again.
    #[error("the store failed and refuses writes until dogwatch is restarted: {0}")]
    Failed(Arc<str>),
    /// What is stored is not what was written.
    #[error("the store is damaged: {0}")]
    Corrupt(Arc<str>),
    /// The bounded queue of commits is full.
    #[error("too many commits are waiting for the disk; try again shortly")]
    Busy,
    /// The store is shut down.
    #[error("the store is closed")]
    Closed,
    /// This kind of store does not offer that.
    #[error("this kind of store does not offer that; use one on disk")]
    Unsupported,
}

impl Error {
    /// Whether the same batch may succeed when it is sent again to this open store.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy | Self::Full(_))
    }
}

/// The result of an operation of a store.
pub type Result<T> = std::result::Result<T, Error>;

/// Rows of a scan.
pub type Rows = Vec<(Key, Vec<u8>)>;

/// Which database keeps the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// sled 0.34: a tree that is read whole at every start.
    Sled,
    /// redb 4: slower under many writers, and also read whole at every start.
    Redb,
    /// A log-structured merge tree behind a journal: what is kept costs neither memory nor time at a start.
    #[default]
    Lsm,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Sled, Self::Redb, Self::Lsm];

    /// The name in the configuration, and of the database in the store's directory.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
            Self::Lsm => "lsm",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which kind of store there is in `dir`, if any.
pub fn find(dir: &Path) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| dir.join(kind.name()).exists())
}

/// How much memory a store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Bytes of what was read that are kept.
    pub cache_bytes: u64,
    /// Bytes of what was written that are kept before they go to a table ([`Kind::Lsm`]).
    pub memory_bytes: u64,
    /// Bytes of a table ([`Kind::Lsm`]).
    pub table_bytes: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            cache_bytes: limits::STORE_CACHE_BYTES,
            memory_bytes: limits::LSM_MEMORY_BYTES,
            table_bytes: limits::LSM_TABLE_BYTES,
        }
    }
}

/// Opens the store in `dir`, creating what is missing. Blocking.
pub fn open(dir: &Path, kind: Kind) -> Result<Arc<dyn Store>> {
    open_with(dir, kind, Tuning::default())
}

/// The same with another [`Tuning`].
pub fn open_with(dir: &Path, kind: Kind, tuning: Tuning) -> Result<Arc<dyn Store>> {
    format::check(dir)?;
    files::create_dir_durably(dir)?;
    if let Some(found) = find(dir).filter(|found| *found != kind) {
        return Err(Error::OtherKind { path: dir.display().to_string(), found });
    }
    let path = dir.join(kind.name());
    match kind {
        Kind::Sled => start(dir, sled::Sled::open(&path, tuning.cache_bytes)?),
        Kind::Redb => start(dir, redb::Redb::open(&path, tuning.cache_bytes)?),
        Kind::Lsm => start(dir, lsm::Lsm::open(&path, tuning)?),
    }
}

/// A store that lives as long as the process, for applications that want supervision and no memory of it.
pub fn volatile() -> Arc<dyn Store> {
    Arc::new(volatile::Volatile::default())
}

/// Opens the database in `dir` however damaged it is, with what its verification says.
fn open_unverified(dir: &Path, kind: Kind) -> Result<(Box<dyn Backend>, Result<()>)> {
    let (path, tuning) = (dir.join(kind.name()), Tuning::default());
    Ok(match kind {
        Kind::Sled => {
            let (database, verified) = sled::Sled::open_unverified(&path, tuning.cache_bytes)?;
            (Box::new(database), verified)
        }
        Kind::Redb => {
            let (database, verified) = redb::Redb::open_unverified(&path, tuning.cache_bytes)?;
            (Box::new(database), verified)
        }
        Kind::Lsm => {
            let (database, verified) = lsm::Lsm::open_unverified(&path, tuning)?;
            (Box::new(database), verified)
        }
    })
}

/// The database is open, and with it the lock: nobody else touches the mark.
fn start(dir: &Path, backend: impl Backend) -> Result<Arc<dyn Store>> {
    let mark = Mark::open(&dir.join("mark"))?;
    let store = GroupCommitStore::start(backend, mark, space::around(dir))?;
    format::write(dir)?;
    // Neither database syncs the names of the files that it creates.
    files::sync_tree(dir)?;
    Ok(Arc::new(store))
}

/// An ordered key-value store with durable, atomic, conditional batches. One process owns it.
///
/// Reads see every batch whose commit future has resolved, and may see later ones. They are quick (memory or
/// page cache) and may be called from an actor.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// At most `limit` rows of `range` in this order.
    fn scan(&self, range: KeyRange, order: Order, limit: usize) -> Result<Rows> {
        Ok(self.scan_all(vec![range], order, limit)?.pop().unwrap_or_default())
    }

    /// The same of each of these ranges, all of them as they were at one moment: what a batch moves from one to another
    /// is in exactly one.
    fn scan_all(&self, ranges: Vec<KeyRange>, order: Order, limit: usize) -> Result<Vec<Rows>>;

    /// Queues `batch` at once (the order of calls is the order of effect) and resolves when it is durable.
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Committed>>;

    /// The highest sequence number that is durable, 0 at first; changes after each group of commits.
    fn appended(&self) -> watch::Receiver<u64>;

    /// `Err` with the reason when the store no longer accepts writes.
    fn health(&self) -> Result<()>;

    /// Changes once: to the error after which nothing is accepted any more until the store is opened again.
    /// Not for a full disk, which passes.
    fn failure(&self) -> watch::Receiver<Option<Error>> {
        watch::Sender::new(None).subscribe()
    }

    /// A copy of every group of commits from now on, for a backup.
    fn tee(&self) -> Result<Tee> {
        Err(Error::Unsupported)
    }

    /// Bytes on disk, where that is known.
    fn size_on_disk(&self) -> Option<u64>;

    /// Waits for queued commits and closes; later calls answer [`Error::Closed`]. Blocking.
    fn close(&self);
}
