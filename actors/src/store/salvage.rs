//! What is in a store's directory, however damaged: for looking, and for nothing else.
//!
//! Responsible for opening what the store itself refuses, and for saying why it does. Not responsible for what the
//! rows mean (`examine`), nor for mending anything. The database may tidy up its own files when it is opened, as
//! at every opening.

use std::path::Path;

use super::backend::Backend;
use super::mark::Mark;
use super::sequence::{self, Sequence};
use super::{Error, Key, KeyRange, Kind, Result, find, format, open_unverified};

/// A store that is only looked at.
#[derive(Debug)]
pub struct Salvage {
    backend: Box<dyn Backend>,
    /// What it is about.
    pub about: About,
    /// Why the store itself would refuse the directory.
    pub complaints: Vec<Error>,
}

/// What a store says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Which database.
    pub kind: Kind,
    /// The version of what is in it.
    pub format: u32,
    /// The highest sequence number.
    pub last_sequence: u64,
    /// The groups of commits in it.
    pub groups: u64,
    /// The groups of commits that were acknowledged, when that is known.
    pub acknowledged_groups: Option<u64>,
    /// Bytes on disk, where that is known.
    pub bytes: Option<u64>,
}

impl Salvage {
    /// Opens what is in `dir`; `None` when there is no store. Fails when it cannot even be looked at. Blocking.
    pub fn open(dir: &Path) -> Result<Option<Self>> {
        let mut complaints = Vec::new();
        let format = match format::check(dir) {
            Ok(None) => return Ok(None),
            Ok(Some(format)) => format,
            Err(error @ Error::Corrupt(_)) => {
                complaints.push(error);
                format::FORMAT
            }
            Err(error) => return Err(error),
        };
        let Some(kind) = find(dir) else {
            return Err(Error::Corrupt(format!("{} holds no database", dir.display()).into()));
        };
        let (backend, verified) = open_unverified(dir, kind)?;
        complaints.extend(verified.err());
        let sequence = Sequence::recover(&*backend).map_err(|error| complaints.push(error)).ok();
        let mark = Mark::open(&dir.join("mark")).map_err(|error| complaints.push(error)).ok();
        if let (Some(mark), Some(sequence)) = (&mark, sequence) {
            complaints.extend(mark.check(sequence.groups()).err());
        }
        let about = About {
            kind,
            format,
            last_sequence: sequence.map_or(0, Sequence::last),
            groups: sequence.map_or(0, Sequence::groups),
            acknowledged_groups: mark.and_then(|mark| mark.acknowledged()),
            bytes: backend.size_on_disk(),
        };
        Ok(Some(Self { backend, about, complaints }))
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.backend.get(key)
    }

    /// At most `limit` keys of `range`, ascending.
    pub fn keys(&self, range: KeyRange, limit: usize) -> Result<Vec<Key>> {
        self.backend.keys(&sequence::visible(range), limit)
    }
}

impl Drop for Salvage {
    fn drop(&mut self) {
        self.backend.close();
    }
}
