//! One server per data directory: an advisory lock on `<data-dir>/lock`, which holds the owner's process id.
//!
//! The kernel drops the lock with the process, however it dies, so a stale file means nothing. The database
//! has a lock of its own; this one is taken before anything else in the directory is touched.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tokio::time::{Instant, sleep};

use crate::limits::LOCK_PATIENCE;

/// The lock of a data directory; dropped, it is free again.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another server has it.
    #[error(
        "the data directory {} is in use by another dogwatch{}; stop that one, or choose another --data-dir",
        .dir.display(), .pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
    )]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The process that has it.
        pid: Option<u32>,
    },
    /// The lock file cannot be used.
    #[error("cannot lock the data directory {}: {source}", .dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DirLock {
    /// Takes the lock, or says who has it.
    pub async fn take(dir: &Path) -> Result<Self, Error> {
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match Self::try_take(dir) {
                Err(Error::Held { .. }) if Instant::now() < deadline => sleep(LOCK_PATIENCE / 10).await,
                outcome => return outcome,
            }
        }
    }

    /// Takes the lock if it is free at this moment.
    pub fn try_take(dir: &Path) -> Result<Self, Error> {
        let io_error = |source| Error::Io { dir: dir.to_owned(), source };
        let path = dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io_error)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                file.set_len(0).map_err(io_error)?;
                write!(file, "{}", std::process::id()).map_err(io_error)?;
                Ok(Self { _file: file })
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
                let pid = read.ok().and_then(|_| text.trim().parse().ok());
                Err(Error::Held { dir: dir.to_owned(), pid })
            }
            Err(errno) => Err(io_error(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_one_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::take(dir.path()).await.unwrap();
        let Err(Error::Held { pid, .. }) = DirLock::take(dir.path()).await else { panic!("taken twice") };
        assert_eq!(pid, Some(std::process::id()));
        drop(first);
        DirLock::take(dir.path()).await.unwrap();
    }
}
