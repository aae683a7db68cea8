//! Where measurements leave their files: a directory of its own for each, on the disk of the repository, gone
//! when the measurement is over.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Result, file};

/// A directory that is removed with its contents when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// A new one in `base`.
    pub(crate) fn new(base: &Path, name: &str) -> Result<Self> {
        let mut number = 0;
        loop {
            let path = base.join(format!("{name}-{}-{number}", std::process::id()));
            // Closed to others, as a server wants its directory.
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(file(path)(error)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What its files take on the disk, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        bytes_below(&self.0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("bench: {} cannot be removed: {error}", self.0.display());
        }
    }
}

/// The blocks of all files below a directory: what was reserved and never written does not count.
pub(crate) fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let one = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_below(&entry.path()),
        Ok(data) => data.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_gone_with_its_measurement() {
        let place = Place::new(&std::env::temp_dir(), "bench-test").unwrap();
        let path = place.path().to_owned();
        std::fs::create_dir(path.join("deep")).unwrap();
        std::fs::write(path.join("deep/file"), [7; 10_000]).unwrap();
        assert!((10_000..20_000).contains(&place.bytes()), "{}", place.bytes());
        drop(place);
        assert!(!path.exists());
    }
}
