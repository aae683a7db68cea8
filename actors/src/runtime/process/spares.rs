//! Files of records that are over, which become the records of the next attempts: to make and remove one for each
//! attempt is most of what a short attempt costs (see `record.rs`).
//!
//! Not responsible for what is in them, which whoever takes one writes over.
//!
//! Invariants:
//! - only what ended under our own eyes is kept, so that nobody else has anything to do with the file;
//! - a spare has the name of a draft, which is cleared away at the next start when we could not do it;
//! - where nothing runs nothing is kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::attempt::PREFIX;
use super::record::{RecordFile, fresh_name};
use crate::limits::{RECORD_REST_MAX, RECORDS_SPARE_MAX};

/// The spare files of one folder.
#[derive(Debug)]
pub(super) struct Spares {
    root: PathBuf,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// Since when each is there, the last one at the end.
    files: Vec<(Instant, PathBuf)>,
    /// Somebody will come and remove what is not used.
    is_swept: bool,
}

impl Shelf {
    /// What nobody took for long, and whether nothing else is there.
    fn take_old(&mut self) -> (Vec<(Instant, PathBuf)>, bool) {
        let old = self.files.partition_point(|(since, _)| since.elapsed() >= RECORD_REST_MAX);
        let old = self.files.drain(..old).collect();
        self.is_swept = !self.files.is_empty();
        (old, !self.is_swept)
    }
}

impl Spares {
    /// None yet.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), shelf: Arc::default() }
    }

    /// Where the next record is to be prepared: in a spare file, or in one that is not there yet.
    pub(super) fn draft(&self) -> PathBuf {
        let spare = self.shelf.lock().files.pop();
        spare.map_or_else(|| self.fresh(), |(_, spare)| spare)
    }

    /// Takes a record away: keeps its file, or removes it when there are enough. Within a tokio runtime.
    pub(super) fn retire(&self, record: &RecordFile) -> io::Result<()> {
        if self.shelf.lock().files.len() >= RECORDS_SPARE_MAX {
            return record.remove();
        }
        let spare = self.fresh();
        if record.move_to(&spare)? {
            let mut shelf = self.shelf.lock();
            shelf.files.push((Instant::now(), spare));
            if !std::mem::replace(&mut shelf.is_swept, true) {
                tokio::spawn(sweep(Arc::clone(&self.shelf)));
            }
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
        remove(self.shelf.lock().files.drain(..));
    }
}

/// Removes what nobody took for long, until nothing is left.
async fn sweep(shelf: Arc<Mutex<Shelf>>) {
    loop {
        tokio::time::sleep(RECORD_REST_MAX).await;
        let (old, is_over) = shelf.lock().take_old();
        // Away from the thread of the actors: it may be many.
        drop(tokio::task::spawn_blocking(move || remove(old.into_iter())));
        if is_over {
            return;
        }
    }
}

fn remove(files: impl Iterator<Item = (Instant, PathBuf)>) {
    for (_, file) in files {
        if let Err(error) = fs::remove_file(&file) {
            tracing::debug!(file = %file.display(), %error, "a spare file was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_retired_is_taken_again_and_goes_at_the_end() {
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

    #[tokio::test(start_paused = true)]
    async fn no_more_are_kept_than_are_of_use_nor_longer() {
        let dir = tempfile::tempdir().unwrap();
        let spares = Spares::new(dir.path());
        for number in 0..RECORDS_SPARE_MAX + 5 {
            let record = RecordFile::new(dir.path().join(number.to_string()));
            fs::write(record.path(), "").unwrap();
            spares.retire(&record).unwrap();
        }
        let kept = || fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(kept(), RECORDS_SPARE_MAX);
        tokio::task::yield_now().await;
        tokio::time::advance(RECORD_REST_MAX).await;
        // They go on another thread; if they do not, this is ended as any test that hangs.
        while kept() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
