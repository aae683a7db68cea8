//! Small files that must be whole or not there, readable by their owner only.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Puts `content` in the place of `path`: a reader sees the old file or the new one, also after a crash.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = draft(path);
    let written = write_draft(&draft, content).and_then(|()| std::fs::rename(&draft, path));
    finish(path, &draft, written)
}

/// Writes `content` to `path` unless there is a file already; tells whether it did.
pub fn create(path: &Path, content: &[u8]) -> io::Result<bool> {
    let draft = draft(path);
    // A link, unlike a rename, never replaces: of two who write at once one wins and both read the winner.
    let written = write_draft(&draft, content).and_then(|()| match std::fs::hard_link(&draft, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    });
    let outcome = finish(path, &draft, written);
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => outcome.and(Err(error)),
        _ => outcome,
    }
}

fn draft(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.tmp", std::process::id()))
}

fn write_draft(draft: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    file.write_all(content)?;
    file.sync_all()
}

fn finish<T>(path: &Path, draft: &Path, written: io::Result<T>) -> io::Result<T> {
    match written {
        // The new name itself is durable only once its directory is.
        Ok(value) => match path.parent() {
            Some(dir) => File::open(dir)?.sync_all().map(|()| value),
            None => Ok(value),
        },
        Err(error) => {
            // The first error is the one that matters; a draft left behind is overwritten next time.
            drop(std::fs::remove_file(draft));
            Err(error)
        }
    }
}
