//! Makes a data directory of a backup.
//!
//! Invariants: the whole file is checked before anything is made; the directory appears under its name whole, or
//! not at all.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::frame::{self, Kind};
use super::{End, Error, Header};
use crate::data_dir::{STORE, files};
use crate::examine::{self, Report};
use crate::id::{Ids, InstallationId};
use crate::store::{self, Changes, FORMAT, Filling};

/// Which installation a restored directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// One of its own, which leaves everything alone that the original started.
    New,
    /// The original itself, which must be gone for good.
    TakeOver,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup says of itself.
    pub header: Header,
    /// The installation that the directory is now.
    pub installation: InstallationId,
    /// What is in the restored store.
    pub report: Report,
}

/// Reads a backup to its end and checks everything in it. Blocking.
pub fn verify(file: &Path) -> Result<Header, Error> {
    let mut backup = Backup::open(file)?;
    let (header, _) = backup.begin()?;
    while backup.rows()?.is_some() {}
    Ok(header)
}

/// Makes the data directory `dir`, which must be missing or empty, of a backup. Blocking.
pub fn restore(
    file: &Path,
    dir: &Path,
    kind: store::Kind,
    identity: Identity,
    ids: &dyn Ids,
) -> Result<Restored, Error> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(Error::NotEmpty(dir.to_owned())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(dir)(error)),
        _ => {}
    }
    verify(file)?;
    let dir = std::path::absolute(dir).map_err(fail(dir))?;
    let draft = draft_of(&dir);
    DirBuilder::new().recursive(true).mode(0o700).create(&draft).map_err(fail(&draft))?;
    let made = fill(file, &draft, kind, identity, ids).and_then(|restored| {
        fs::rename(&draft, &dir).map_err(fail(&dir))?;
        let parent = dir.parent().unwrap_or_else(|| Path::new("/"));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(fail(parent))?;
        Ok(restored)
    });
    if made.is_err() {
        // The first error is the one that matters.
        drop(fs::remove_dir_all(&draft));
    }
    made
}

/// Beside the directory, so that it can be renamed to it.
fn draft_of(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(format!(".restoring-{}", std::process::id()));
    dir.with_file_name(name)
}

fn fill(
    file: &Path,
    draft: &Path,
    kind: store::Kind,
    identity: Identity,
    ids: &dyn Ids,
) -> Result<Restored, Error> {
    let mut backup = Backup::open(file)?;
    let (header, key) = backup.begin()?;
    let filling = Filling::begin(&draft.join(STORE), kind)?;
    while let Some(rows) = backup.rows()? {
        filling.write(rows)?;
    }
    filling.finish(backup.last_sequence)?;
    let installation = match identity {
        Identity::New => ids.installation_id(),
        Identity::TakeOver => header.installation,
    };
    for (name, content) in [("secrets.key", key), ("installation", format!("{installation}\n").into_bytes())]
    {
        let path = draft.join(name);
        files::replace(&path, &content).map_err(|source| Error::Io { path, source })?;
    }
    let report = examine::offline(&draft.join(STORE))?.unwrap_or_default();
    Ok(Restored { header, installation, report })
}

/// A backup that is being read.
struct Backup {
    path: PathBuf,
    file: BufReader<File>,
    place: u64,
    last_sequence: u64,
}

impl Backup {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: BufReader::new(file), place: 0, last_sequence: 0 })
    }

    /// The header, and the key of the secrets.
    fn begin(&mut self) -> Result<(Header, Vec<u8>), Error> {
        let mut magic = [0; frame::MAGIC.len()];
        match self.file.read_exact(&mut magic) {
            Ok(()) if magic == *frame::MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(self.io(error)),
            _ => return Err(Error::NoBackup(self.path.clone())),
        }
        let (Kind::Header, header) = self.next()? else { return Err(self.damaged("it has no header")) };
        let header: Header =
            serde_json::from_slice(&header).map_err(|error| self.damaged(&format!("its header: {error}")))?;
        if header.format > FORMAT {
            let (version, format) = (header.version, header.format);
            return Err(Error::Newer { path: self.path.clone(), version, format });
        }
        let (Kind::Key, key) = self.next()? else { return Err(self.damaged("it has no key")) };
        Ok((header, key))
    }

    /// The next rows, to be written over those before; `None` at the end of a whole backup.
    fn rows(&mut self) -> Result<Option<Changes>, Error> {
        match self.next()? {
            (Kind::Rows, content) => match frame::decode_rows(&content) {
                Some(rows) => Ok(Some(rows)),
                None => Err(self.damaged("its rows cannot be read")),
            },
            (Kind::End, content) => {
                let end: End = serde_json::from_slice(&content)
                    .map_err(|error| self.damaged(&format!("its end: {error}")))?;
                self.last_sequence = end.last_sequence;
                let behind = self.file.read(&mut [0]).map_err(|error| self.io(error))?;
                if behind == 0 { Ok(None) } else { Err(self.damaged("something stands behind its end")) }
            }
            _ => Err(self.damaged("its parts are not in order")),
        }
    }

    fn next(&mut self) -> Result<(Kind, Vec<u8>), Error> {
        let found = frame::read(&mut self.file, self.place).map_err(|error| self.io(error))?;
        self.place += 1;
        found.map_err(|what| self.damaged(&what))
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }

    fn damaged(&self, what: &str) -> Error {
        Error::Damaged { path: self.path.clone(), what: what.to_owned() }
    }
}
