//! The version of what is in a store's directory, in a small file beside the database that is looked at before
//! the database is opened.
//!
//! It changes when a version of dogwatch before the change would misread or spoil what a version after it
//! wrote: another layout of keys, another envelope of records. A record that merely has a new version of its
//! own says so itself (`codec.rs`).
//!
//! Invariants: a directory of a newer format is not touched in any way; a directory without the file is of
//! format 1, whose first releases did not write it.

use std::fs;
use std::io;
use std::path::Path;

use super::backend::io_failure;
use super::{Error, Result, find};
use crate::data_dir::files;

/// The format that this version writes, and the newest that it reads. `tests/fixtures/README.md` says what a
/// change of it needs.
pub const FORMAT: u32 = 4;

const FILE: &str = "format";

/// The format of the store in `dir`, `None` when there is no store. Refuses a newer one. Writes nothing.
pub fn check(dir: &Path) -> Result<Option<u32>> {
    let path = dir.join(FILE);
    let found = match fs::read(&path) {
        Ok(bytes) => decode(&bytes).ok_or_else(|| {
            Error::Corrupt(
                format!(
                    "{} is damaged, so that it is not known which version wrote the store; restore that file \
                     (`dogwatch doctor --store` says more)",
                    path.display()
                )
                .into(),
            )
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(find(dir).map(|_| 1));
        }
        Err(error) => return Err(io_failure(&error)),
    };
    if found > FORMAT {
        return Err(Error::NewerFormat { path: dir.display().to_string(), found });
    }
    Ok(Some(found))
}

/// Writes the present format, unless it stands there.
pub(super) fn write(dir: &Path) -> Result<()> {
    let (path, content) = (dir.join(FILE), encode(FORMAT));
    match fs::read(&path) {
        Ok(bytes) if bytes == content => Ok(()),
        _ => files::replace(&path, &content).map_err(|error| io_failure(&error)),
    }
}

fn encode(format: u32) -> Vec<u8> {
    format!("{format} {:08x}\n", crc32c::crc32c(&format.to_le_bytes())).into_bytes()
}

fn decode(bytes: &[u8]) -> Option<u32> {
    let format = std::str::from_utf8(bytes).ok()?.split(' ').next()?.parse().ok()?;
    (encode(format) == bytes).then_some(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_every_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check(dir.path()).unwrap(), None);
        write(dir.path()).unwrap();
        assert_eq!(check(dir.path()).unwrap(), Some(FORMAT));
        let content = fs::read(dir.path().join(FILE)).unwrap();
        for bit in 0..content.len() * 8 {
            let mut damaged = content.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(dir.path().join(FILE), damaged).unwrap();
            assert!(matches!(check(dir.path()), Err(Error::Corrupt(_))), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), encode(FORMAT + 1)).unwrap();
        assert!(matches!(check(dir.path()), Err(Error::NewerFormat { found, .. }) if found == FORMAT + 1));
    }
}
