//! Makes a store in an empty directory out of rows that come from elsewhere: a backup.
//!
//! Responsible for what a store keeps about itself besides the rows. Not responsible for where they come from, nor
//! for whoever might open the directory meanwhile: it is to be one that nobody knows yet.

use std::path::{Path, PathBuf};

use super::backend::{Backend, Changes};
use super::mark::Mark;
use super::sequence::Sequence;
use super::{Kind, Result, files, format, open_unverified};

/// A store in the making.
#[derive(Debug)]
pub(crate) struct Filling {
    dir: PathBuf,
    backend: Box<dyn Backend>,
}

impl Filling {
    /// Begins in `dir`, which is empty or missing. Blocking.
    pub(crate) fn begin(dir: &Path, kind: Kind) -> Result<Self> {
        files::create_dir_durably(dir)?;
        let (backend, verified) = open_unverified(dir, kind)?;
        verified.map(|()| Self { dir: dir.to_owned(), backend })
    }

    /// Writes rows over those that are there. The caller's, not the store's own.
    pub(crate) fn write(&self, changes: Changes) -> Result<()> {
        if changes.is_empty() { Ok(()) } else { self.backend.write(changes) }
    }

    /// Makes it whole and durable: `last` is the highest sequence number that was ever given.
    pub(crate) fn finish(self, last: u64) -> Result<()> {
        let mut sequence = Sequence::behind(last);
        let mut changes = Changes::default();
        sequence.seal(&mut changes);
        self.backend.write(changes)?;
        self.backend.sync()?;
        let mark = Mark::open(&self.dir.join("mark"))?;
        mark.record(sequence.groups())?;
        mark.sync()?;
        format::write(&self.dir)?;
        self.backend.close();
        files::sync_tree(&self.dir)
    }
}
