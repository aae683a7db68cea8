//! Where inputs lie between being fetched and being placed: files of ours, gone as soon as they are placed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::id::AttemptKey;

/// The directory of all that is staged.
#[derive(Debug, Clone)]
pub(super) struct Staging {
    dir: PathBuf,
}

/// What is staged for one attempt; removed with this value.
#[derive(Debug)]
pub(super) struct Staged {
    dir: PathBuf,
}

impl Staging {
    /// The directory `dir`, which is made when it is needed; what an earlier life left there is removed.
    pub(super) fn new(dir: PathBuf) -> Self {
        clear(&dir);
        Self { dir }
    }

    /// A place for the inputs of an attempt.
    pub(super) fn open(&self, key: AttemptKey) -> io::Result<Staged> {
        let dir = self.dir.join(format!("{}-{}", key.job, key.number));
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Staged { dir })
    }
}

impl Staged {
    /// Where input number `index` lies.
    pub(super) fn path(&self, index: usize) -> PathBuf {
        self.dir.join(index.to_string())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        clear(&self.dir);
    }
}

fn clear(dir: &Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "files that are needed no more cannot be removed");
        }
        _ => {}
    }
}
