//! Makes new files and directories survive the loss of power: a name is durable only once the directory that
//! holds it is synced.
//!
//! Not responsible for the content of databases.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::Result;
use super::backend::io_failure;

/// Creates `path` and the directories above it that are missing, and syncs each name that is new.
pub(super) fn create_dir_durably(path: &Path) -> Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    fs::create_dir_all(path).map_err(|error| io_failure(&error))?;
    for dir in missing {
        sync_name(dir)?;
    }
    Ok(())
}

/// Syncs the directory that holds `path`.
fn sync_name(path: &Path) -> Result<()> {
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    sync(parent)
}

/// Fails when `bytes` more cannot be written to the directory, by trying it.
pub(super) fn try_room(dir: &Path, bytes: usize) -> Result<()> {
    let path = dir.join("room");
    let written = fs::write(&path, vec![1; bytes]).and_then(|()| File::open(&path)?.sync_data());
    let removed = fs::remove_file(&path);
    written.and(removed).map_err(|error| io_failure(&error))
}

/// Syncs `path`, all files and directories below it, and its name.
pub(super) fn sync_tree(path: &Path) -> Result<()> {
    sync_below(path)?;
    sync_name(path)
}

fn sync_below(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path).map_err(|error| io_failure(&error))? {
        let entry = entry.map_err(|error| io_failure(&error))?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => sync_below(&entry.path())?,
            Ok(_) => sync(&entry.path())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_failure(&error)),
        }
    }
    sync(path)
}

/// Syncs one file or directory; one that is gone needs no sync.
fn sync(path: &Path) -> Result<()> {
    match File::open(path).and_then(|file| file.sync_all()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_failure(&error)),
        _ => Ok(()),
    }
}
