//! The second database: redb 4, one file, one table, one durable transaction per group.
//!
//! Slower than sled under many writers. Opening reads all of it and compares it with its checksums, and a damaged
//! file is refused: by itself redb does that only after a crash. Not
//! responsible for the name of its file surviving a loss of power: `open` syncs that.

use std::fmt;
use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ::redb::{Database, DatabaseError, Durability, ReadOnlyTable, ReadableDatabase as _, TableDefinition};
use parking_lot::RwLock;

use super::backend::{Backend, Changes, Read, io_failure, sync_failure};
use super::{Error, Key, KeyRange, Order, Result, Rows};

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// All rows as of one moment.
type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// An open redb database.
pub(super) struct Redb {
    path: PathBuf,
    cache_bytes: u64,
    /// Our own descriptor of the file: each one is told once of a sync that failed.
    file: File,
    /// `None` once closed; the error when it could not be opened again.
    db: RwLock<Result<Option<Database>>>,
}

impl Redb {
    /// Opens or creates the database in the file `path`.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self> {
        let (redb, verified) = Self::open_unverified(path, cache_bytes)?;
        verified.map(|()| redb)
    }

    /// The same however damaged it is, with what the verification says. Only for looking.
    pub(super) fn open_unverified(path: &Path, cache_bytes: u64) -> Result<(Self, Result<()>)> {
        guarded(|| Self::open_and_verify(path, cache_bytes))
    }

    fn open_and_verify(path: &Path, cache_bytes: u64) -> Result<(Self, Result<()>)> {
        let mut db = Self::open_database(path, cache_bytes)?;
        let mut verified = guarded(|| Self::verify(&mut db, path));
        if verified.is_err() {
            // A check that failed leaves a database that cannot be used.
            drop(db);
            db = Self::open_database(path, cache_bytes)?;
        } else {
            verified = Self::make_table(&db);
        }
        let file = File::open(path).map_err(|error| io_failure(&error))?;
        Ok((Self { path: path.to_owned(), cache_bytes, file, db: RwLock::new(Ok(Some(db))) }, verified))
    }

    fn open_database(path: &Path, cache_bytes: u64) -> Result<Database> {
        let cache = usize::try_from(cache_bytes).unwrap_or(usize::MAX);
        Database::builder().set_cache_size(cache).create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => Error::Locked { path: path.display().to_string() },
            other => failure(other),
        })
    }

    fn verify(db: &mut Database, path: &Path) -> Result<()> {
        // redb checks what it reads only when it is asked to. What it mends by going back to an older state is
        // noticed by whoever counts the groups.
        if !db.check_integrity().map_err(failure)? {
            tracing::warn!(path = %path.display(), "the database was damaged, and what redb could mend is mended");
        }
        Ok(())
    }

    /// A table must have been written once before it can be read.
    fn make_table(db: &Database) -> Result<()> {
        let transaction = db.begin_write().map_err(failure)?;
        transaction.open_table(ROWS).map_err(failure)?;
        transaction.commit().map_err(failure)
    }

    fn with<T>(&self, run: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        let db = self.db.read();
        let db = db.as_ref().map_err(Error::clone)?.as_ref().ok_or(Error::Closed)?;
        guarded(|| run(db))
    }

    fn read<T>(&self, run: impl FnOnce(Table) -> Result<T>) -> Result<T> {
        self.with(|db| run(db.begin_read().map_err(failure)?.open_table(ROWS).map_err(failure)?))
    }
}

impl Read for Redb {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read(|rows| Ok(rows.get(key).map_err(failure)?.map(|value| value.value().to_vec())))
    }

    fn scan_all(&self, ranges: &[KeyRange], order: Order, limit: usize) -> Result<Vec<Rows>> {
        self.read(|rows| ranges.iter().map(|range| first_of(&rows, range, order, limit)).collect())
    }
}

fn first_of(rows: &Table, range: &KeyRange, order: Order, limit: usize) -> Result<Rows> {
    let mut found = Rows::new();
    let mut iter = rows.range::<&[u8]>(range.bounds()).map_err(failure)?;
    while found.len() < limit {
        let next = match order {
            Order::Ascending => iter.next(),
            Order::Descending => iter.next_back(),
        };
        let Some((key, value)) = next.transpose().map_err(failure)? else { break };
        found.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(found)
}

impl Backend for Redb {
    fn keys(&self, range: &KeyRange, limit: usize) -> Result<Vec<Key>> {
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = range.bounds();
        self.read(|rows| {
            let keys = rows.range::<&[u8]>(bounds).map_err(failure)?.take(limit);
            keys.map(|row| row.map(|(key, _)| key.value().to_vec()).map_err(failure)).collect()
        })
    }

    fn write(&self, changes: Changes) -> Result<()> {
        self.with(|db| {
            let mut transaction = db.begin_write().map_err(failure)?;
            transaction
                .set_durability(Durability::Immediate)
                .map_err(::redb::Error::from)
                .map_err(failure)?;
            {
                let mut rows = transaction.open_table(ROWS).map_err(failure)?;
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(rows.insert(key.as_slice(), value.as_slice()).map_err(failure)?),
                        None => drop(rows.remove(key.as_slice()).map_err(failure)?),
                    }
                }
            }
            transaction.commit().map_err(failure)
        })
    }

    /// Nothing to do: a commit with [`Durability::Immediate`] has synced the file.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn check_synced(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| sync_failure(&error))
    }

    /// Without it there would be no reads: a failed write makes redb refuse those, too.
    fn reopens_when_full(&self) -> bool {
        true
    }

    fn reopen(&self) -> Result<()> {
        let mut db = self.db.write();
        // The old one first: it holds the lock.
        discard(std::mem::replace(&mut *db, Err(Error::Closed)));
        *db = guarded(|| {
            let mut open = Self::open_database(&self.path, self.cache_bytes)?;
            Self::verify(&mut open, &self.path)?;
            Self::make_table(&open)?;
            Ok(Some(open))
        });
        db.as_ref().map(drop).map_err(Error::clone)
    }

    fn size_on_disk(&self) -> Option<u64> {
        self.path.metadata().ok().map(|file| file.len())
    }

    fn close(&self) {
        discard(std::mem::replace(&mut *self.db.write(), Ok(None)));
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        self.close();
    }
}

/// Closes a database, which writes to it once more and may panic over damage that was not met before.
fn discard(db: Result<Option<Database>>) {
    if let Err(error) = guarded(|| {
        drop(db);
        Ok(())
    }) {
        tracing::error!(%error, "the database could not be closed in order");
    }
}

impl fmt::Debug for Redb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redb").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Runs a call into redb, and answers its panic as damage.
fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        Err(Error::Corrupt(
            "redb panicked, which it does when it meets damage it did not expect; see the log for its words and \
             `dogwatch doctor --store` for what is there, then restore a backup"
                .into(),
        ))
    })
}

fn failure(error: impl Into<::redb::Error>) -> Error {
    match error.into() {
        ::redb::Error::Io(error) => io_failure(&error),
        ::redb::Error::Corrupted(text) => Error::Corrupt(text.into()),
        other => Error::Failed(other.to_string().into()),
    }
}
