//! Files of records that are over, which become the records of the next attempts: to make and remove one for each
//! attempt is most of what a short attempt costs (see `record.rs`).
//!
//! Not responsible for what is in them, which whoever takes one writes over.
//!
//! Invariants:
//! - only what ended under our own eyes is kept, so that nobody else has anything to do with the file;
//! - a spare has the name of a draft, which is cleared away at the next start when we could not do it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::attempt::PREFIX;
use super::record::{RecordFile, fresh_name};
use crate::limits::RECORDS_SPARE_MAX;

/// The spare files of one folder.
#[derive(Debug)]
pub(super) struct Spares {
    root: PathBuf,
    free: Mutex<Vec<PathBuf>>,
}

impl Spares {
    /// None yet.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), free: Mutex::default() }
    }

    /// Where the next record is to be prepared: in a spare file, or in one that is not there yet.
    pub(super) fn draft(&self) -> PathBuf {
        let spare = self.free.lock().pop();
        spare.unwrap_or_else(|| self.fresh())
    }

    /// Takes a record away: keeps its file, or removes it when there are enough.
    pub(super) fn retire(&self, record: &RecordFile) -> io::Result<()> {
        if self.free.lock().len() >= RECORDS_SPARE_MAX {
            return record.remove();
        }
        let spare = self.fresh();
        if record.move_to(&spare)? {
            self.free.lock().push(spare);
        }
        Ok(())
    }

    /// A name that begins with a dot, which no attempt's name does.
    fn fresh(&self) -> PathBuf {
        self.root.join(fresh_name(&format!(".{PREFIX}")))
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        for spare in self.free.get_mut().drain(..) {
            if let Err(error) = fs::remove_file(&spare) {
                tracing::debug!(file = %spare.display(), %error, "a spare file was not removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn what_is_retired_is_taken_again_and_goes_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let spares = Spares::new(dir.path());
        let record = RecordFile::new(dir.path().join("record"));
        spares.retire(&record).unwrap();
        assert!(!spares.draft().exists(), "nothing was there to be kept");
        fs::write(record.path(), "one").unwrap();
        fs::write(record.complaints(), "none of these").unwrap();
        let inode = fs::metadata(record.path()).unwrap().ino();
        spares.retire(&record).unwrap();
        assert!(!record.path().exists() && !record.complaints().exists());
        let spare = spares.draft();
        assert_eq!(fs::metadata(&spare).unwrap().ino(), inode);
        assert_ne!(spares.draft(), spare, "it is given once");
        fs::rename(&spare, record.path()).unwrap();
        spares.retire(&record).unwrap();
        drop(spares);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_more_are_kept_than_are_of_use() {
        let dir = tempfile::tempdir().unwrap();
        let spares = Spares::new(dir.path());
        for number in 0..RECORDS_SPARE_MAX + 5 {
            let record = RecordFile::new(dir.path().join(number.to_string()));
            fs::write(record.path(), "").unwrap();
            spares.retire(&record).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), RECORDS_SPARE_MAX);
    }
}
