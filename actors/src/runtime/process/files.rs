//! The files of an attempt that is a process: a directory of its own, `files/<attempt>` beside the records, made before
//! the start and removed with the attempt. Blocking.
//!
//! Invariants: no path leads out of that directory, and no link in it is followed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::attempt::PREFIX;
use crate::files::Pattern;
use crate::files::pattern::names;
use crate::id::AttemptKey;
use crate::runtime::files::{Content, Outlet, Placed};
use crate::runtime::{Error, Result, StartFault};

/// The folder of them all.
const FOLDER: &str = "files";

/// The variable in which an attempt finds its directory.
pub(super) const VARIABLE: &str = "DOGWATCH_FILES";

/// The directory of an attempt's files.
pub(super) fn directory(root: &Path, key: AttemptKey) -> PathBuf {
    root.join(FOLDER).join(key.name(PREFIX))
}

/// Removes the directories of attempts that have no record any more: a death between the two left them.
pub(super) fn clear(root: &Path) {
    let Ok(entries) = fs::read_dir(root.join(FOLDER)) else { return };
    for entry in entries.flatten().filter(|entry| !root.join(entry.file_name()).exists()) {
        if let Err(error) = remove(&entry.path()) {
            tracing::warn!(%error, "the files of an attempt that is gone cannot be removed");
        }
    }
}

/// Makes the directory and puts the files there, over those that are there.
pub(super) fn put(directory: &Path, files: &[Placed]) -> Result<()> {
    private(directory).map_err(|error| unplaced(directory, &error))?;
    for file in files {
        let outside = || Error::Start {
            fault: StartFault::Input,
            message: format!(
                "input `{}` leads out of the attempt's directory; give a relative path",
                file.path
            ),
        };
        if file.path.starts_with('/') {
            return Err(outside());
        }
        let parts = names(&file.path).map_err(|_| outside())?;
        write(directory, &parts, file).map_err(|error| match error.kind() {
            // Two inputs that stand in each other's way.
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::AlreadyExists => {
                let message =
                    format!("input `{}` stands where another one does; choose another path", file.path);
                Error::Start { fault: StartFault::Input, message }
            }
            _ => unplaced(directory, &error),
        })?;
    }
    Ok(())
}

fn write(directory: &Path, parts: &[&str], file: &Placed) -> io::Result<()> {
    let mut path = directory.to_owned();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            private(&path)?;
        }
        path.push(part);
    }
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let options = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(&path);
    let mut target = options?;
    match &file.content {
        Content::Bytes(bytes) => target.write_all(bytes)?,
        Content::File { path, .. } => {
            io::copy(&mut File::open(path)?, &mut target)?;
        }
    }
    target.set_permissions(fs::Permissions::from_mode(file.mode))
}

fn private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn unplaced(directory: &Path, error: &io::Error) -> Error {
    let message = format!("files cannot be placed in {}: {error}; check its disk", directory.display());
    Error::Transient { message }
}

/// Gives the files that the patterns mean.
pub(super) fn take(directory: &Path, patterns: &[Pattern], outlet: &Outlet) -> Result<()> {
    for (index, pattern) in patterns.iter().enumerate() {
        if pattern.is_absolute() {
            continue;
        }
        let base = pattern.base();
        let mut place = directory.to_owned();
        let mut is_there = true;
        for name in &base {
            place.push(name);
            // Every step is looked at: a link in the middle would lead elsewhere.
            is_there &= fs::symlink_metadata(&place).is_ok_and(|found| !found.is_symlink());
        }
        if is_there {
            let mut path: Vec<String> = base.iter().map(|name| (*name).to_owned()).collect();
            Walk { index, pattern, outlet }.visit(&place, &mut path)?;
        }
    }
    Ok(())
}

/// One pattern's way through a directory.
struct Walk<'a> {
    index: usize,
    pattern: &'a Pattern,
    outlet: &'a Outlet,
}

impl Walk<'_> {
    fn visit(&self, place: &Path, path: &mut Vec<String>) -> Result<()> {
        let found = match fs::symlink_metadata(place) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(untaken(place, &error)),
        };
        if found.is_dir() {
            let mut entries: Vec<_> = fs::read_dir(place)
                .and_then(Iterator::collect::<io::Result<Vec<_>>>)
                .map_err(|error| untaken(place, &error))?;
            // Always the same order, so that a limit always cuts off the same.
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                // What has no name in Unicode has no name as an artifact.
                let Ok(name) = entry.file_name().into_string() else { continue };
                path.push(name);
                self.visit(&entry.path(), path)?;
                path.pop();
            }
            return Ok(());
        }
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        if !found.is_file() || !self.pattern.matches(&parts) {
            return Ok(());
        }
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(place);
        let file = file.map_err(|error| untaken(place, &error))?;
        self.outlet.give(self.index, path.join("/"), found.len(), file)
    }
}

fn untaken(place: &Path, error: &io::Error) -> Error {
    Error::Transient { message: format!("{} cannot be read: {error}", place.display()) }
}

/// Removes what is there of an attempt's files; nothing is no error.
pub(super) fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(untaken(directory, &error)),
        _ => Ok(()),
    }
}
