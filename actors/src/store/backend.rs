//! What a database must offer so that the committer can make a store of it.
//!
//! Not responsible for preconditions, sequence numbers, order or acknowledgement: those are written once, in
//! `sequence.rs` and `committer.rs`.
//!
//! Invariants: one thread writes, many read; [`Backend::write`] is atomic also across a crash; after an error
//! of `write` or [`Backend::sync`] neither is called again before [`Backend::reopen`].

use std::fmt;
use std::io;

use indexmap::IndexMap;

use super::{Error, Key, KeyRange, Order, Result, Rows};

/// The outcome of a group of batches: what each key is afterwards, `None` for "does not exist". In the order in which keys
/// were first written: to sort them costs the committer more than anybody gains by it. Hashed quickly, because every row
/// passes here; the seed is random, and a map lives no longer than its group.
pub(crate) type Changes = IndexMap<Key, Option<Vec<u8>>, foldhash::fast::RandomState>;

/// Reading rows as they are now.
pub(super) trait Read {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// At most `limit` rows of each of these ranges in this order, all as of one moment.
    fn scan_all(&self, ranges: &[KeyRange], order: Order, limit: usize) -> Result<Vec<Rows>>;
}

/// A database with atomic writes.
pub(super) trait Backend: Read + Send + Sync + fmt::Debug + 'static {
    /// At most `limit` keys of `range`, ascending: also of rows whose values cannot be read.
    fn keys(&self, range: &KeyRange, limit: usize) -> Result<Vec<Key>>;

    /// Applies all changes or none. They need not be durable yet.
    fn write(&self, changes: Changes) -> Result<()>;

    /// Makes everything written so far durable: it survives the loss of power.
    fn sync(&self) -> Result<()>;

    /// After a write that ran out of space: fails when a sync failed, too, so that what was handed to the
    /// system earlier may be lost.
    fn check_synced(&self) -> Result<()>;

    /// Whether opening again needs no space; where it does, readers keep what is open until there is some.
    fn reopens_when_full(&self) -> bool;

    /// Closes and opens the database again; readers wait meanwhile. When that fails, reads answer why not,
    /// and it may be tried again.
    fn reopen(&self) -> Result<()>;

    /// Bytes on disk, where that is known.
    fn size_on_disk(&self) -> Option<u64>;

    /// Releases the files; what is asked afterwards answers [`Error::Closed`].
    fn close(&self);
}

/// Tells a full disk, which an operator can mend, from a broken one, and both from a file that is shorter than what
/// is in it says.
pub(super) fn io_failure(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full(error.to_string().into()),
        io::ErrorKind::UnexpectedEof => {
            Error::Corrupt(format!("a file ends too soon ({error}); see `dogwatch doctor --store`").into())
        }
        _ => Error::Failed(error.to_string().into()),
    }
}

/// The same for a sync. One that fails for want of space is as bad as any: what was to be synced is gone.
pub(super) fn sync_failure(error: &io::Error) -> Error {
    Error::Failed(error.to_string().into())
}
