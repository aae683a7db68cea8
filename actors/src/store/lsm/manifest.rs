//! Whether the list of tables is what was written: the tree checks what it reads of a table, but not the list.
//!
//! The file `current` names the list's file and holds its checksum (XXH3, 128 bits), both little-endian. Not
//! responsible for the tables in it: one that is missing keeps the tree from opening.

use std::fs;
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use super::super::backend::io_failure;
use super::super::{Error, Result};

/// Refuses a list in `tables` that is not what was written. No list is as good: the database is new, or its mark
/// says that there should be one.
pub(super) fn verify(tables: &Path) -> Result<()> {
    let current = match fs::read(tables.join("current")) {
        Ok(current) => current,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_failure(&error)),
    };
    let damaged = || {
        let dir = tables.display();
        Error::Corrupt(
            format!("the list of tables in {dir} is not what was written; restore a backup with `dogwatch restore`").into(),
        )
    };
    let (number, rest) = current.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (checksum, kind) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
    if kind != [0] {
        return Err(damaged());
    }
    let list = tables.join(format!("v{}", u64::from_le_bytes(*number)));
    let list = fs::read(list).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound { damaged() } else { io_failure(&error) }
    })?;
    if xxh3_128(&list) == u128::from_le_bytes(*checksum) { Ok(()) } else { Err(damaged()) }
}
