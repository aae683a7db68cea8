//! The output of attempts, on disk.
//!
//! Responsible for: where the log of an attempt lies, its format (the CRI log format, so that other tools read
//! it), its cap, reading and following it. Not responsible for: who writes it (a runtime that keeps its own
//! logs, or the watcher of an engine's stream) or when a job's logs are removed.
//!
//! Invariants:
//! - paths are built from typed ids, and of a container's name from its letters, digits and `-` alone, so no text of a
//!   user reaches the file system;
//! - an attempt's log never takes more than two files of [`crate::limits::LOG_FILE_BYTES_MAX`], and where
//!   older output was dropped a line says so;
//! - times within one log rise strictly, so that the last one tells where a stream is to be taken up again;
//! - a reader needs a few blocks of memory, however long the log is, and never shows half a line.

mod cursor;
mod line;
mod reader;
mod saving;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

use crate::id::{AttemptKey, JobId};
use saving::Saving;

#[cfg(feature = "process")]
pub(crate) use line::Full;
pub use reader::{LogReader, Start};
pub use saving::SavingGuard;
pub use writer::LogWriter;

/// What can go wrong with a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("the log {} cannot be {verb}: {source}; check the data directory's disk and permissions", .path.display())]
    Io {
        /// What was tried: `read`, `written`, `removed`.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { verb, path, source }
    }
}

/// The result of an operation on a log.
pub type Result<T> = std::result::Result<T, Error>;

/// The folder of all logs: `<dir>/<job>/<attempt>.log`.
#[derive(Debug, Clone)]
pub struct LogStore {
    dir: PathBuf,
    saving: Saving,
}

impl LogStore {
    /// The logs under `dir`, which is made when the first one is written.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), saving: Saving::default() }
    }

    /// Where the log of an attempt lies.
    pub fn path(&self, key: AttemptKey) -> PathBuf {
        self.job_dir(key.job).join(format!("{}.log", key.number))
    }

    /// Opens the log of an attempt for appending. There must be one writer at a time.
    pub fn writer(&self, key: AttemptKey) -> Result<LogWriter> {
        LogWriter::open(self.path(key))
    }

    /// Opens the log of a container beside the main one. There must be one writer at a time.
    pub fn member_writer(&self, key: AttemptKey, member: &str) -> Result<LogWriter> {
        LogWriter::open(self.member_path(key, member))
    }

    /// Reads the log of a container beside the main one, which need not exist yet.
    pub fn member_reader(&self, key: AttemptKey, member: &str) -> LogReader {
        LogReader::new(self.member_path(key, member))
    }

    /// The names of containers are checked when a job is submitted; whatever else comes here leads nowhere else.
    fn member_path(&self, key: AttemptKey, member: &str) -> PathBuf {
        let safe: String =
            member.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        self.job_dir(key.job).join(format!("{}.{safe}.log", key.number))
    }

    /// Reads the log of an attempt, which need not exist yet.
    pub fn reader(&self, key: AttemptKey) -> LogReader {
        LogReader::new(self.path(key))
    }

    /// Says that somebody will write this log until the guard is dropped. Every clone of this store knows.
    pub fn begin_saving(&self, key: AttemptKey) -> SavingGuard {
        self.saving.begin(key)
    }

    /// Whether somebody said so.
    pub fn is_being_saved(&self, key: AttemptKey) -> bool {
        self.saving.is_going_on(key)
    }

    /// Resolves when nobody writes this log (any more): what is there then is all.
    pub async fn saved(&self, key: AttemptKey) {
        self.saving.done(key).await;
    }

    /// Removes every log of a job; none is no error.
    pub fn remove(&self, job: JobId) -> Result<()> {
        let dir = self.job_dir(job);
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("removed", &dir)(error)),
            _ => Ok(()),
        }
    }

    fn job_dir(&self, job: JobId) -> PathBuf {
        self.dir.join(job.to_string())
    }
}

/// The file that a full log is moved to.
fn predecessor(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}
