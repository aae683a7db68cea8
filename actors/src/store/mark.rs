//! A small file beside the database that remembers how much was acknowledged, so that a database which comes
//! back with less is not served.
//!
//! Not responsible for finding out which rows are gone. A database that meets damage in its log may take it
//! for the end of the log and silently drop what follows (sled does), and so does a restore of old files. The
//! mark is what tells "that was all" from "there was more".
//!
//! Invariants:
//! - the mark is written after the group that it counts is durable, so it is never ahead of an undamaged
//!   database;
//! - it is not synced with each group: after a loss of power it may be some seconds behind, which only makes
//!   it say less, and costs no second wait for the disk per group;
//! - two slots are written in turn, each with a checksum, so that a torn write leaves the older one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::backend::io_failure;
use super::{Error, Result};

const SLOT_BYTES: usize = 16;
const MAGIC: [u8; 4] = *b"DWm1";

/// The open mark.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    path: PathBuf,
    /// The groups that were acknowledged according to the file, when it says so.
    acknowledged: Option<u64>,
}

impl Mark {
    /// Opens the mark at `path`, creating it when there is none.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| io_failure(&error))?;
        let mut bytes = [0u8; 2 * SLOT_BYTES];
        let length = file.read_at(&mut bytes, 0).map_err(|error| io_failure(&error))?;
        let (first, second) = bytes.split_at(SLOT_BYTES);
        let acknowledged = decode(first).max(decode(second));
        if acknowledged.is_none() && bytes[..length].iter().any(|byte| *byte != 0) {
            return Err(Error::Corrupt(
                format!(
                    "{} is unreadable, so nothing proves that all acknowledged commits are there; see what \
                     there is with `dogwatch doctor --store`, then restore a backup with `dogwatch restore`, or \
                     remove that file to go on with what there is",
                    path.display()
                )
                .into(),
            ));
        }
        // So that recording what was acknowledged needs no space later.
        if length < bytes.len() {
            file.write_all_at(&bytes[length..], length as u64).map_err(|error| io_failure(&error))?;
        }
        Ok(Self { file, path: path.to_owned(), acknowledged })
    }

    /// The groups that were acknowledged when it was opened, when it says so.
    pub(super) const fn acknowledged(&self) -> Option<u64> {
        self.acknowledged
    }

    /// Refuses a database that holds `groups` groups when more were acknowledged.
    pub(super) fn check(&self, groups: u64) -> Result<()> {
        match self.acknowledged {
            Some(acknowledged) if acknowledged > groups => Err(Error::Corrupt(
                format!(
                    "{acknowledged} groups of commits were acknowledged but the database holds only {groups}: \
                     the last {} are missing; see what there is with `dogwatch doctor --store`, then restore a \
                     backup with `dogwatch restore`, or remove {} to go on without the rest",
                    acknowledged - groups,
                    self.path.display()
                )
                .into(),
            )),
            _ => Ok(()),
        }
    }

    /// Remembers that `groups` groups are durable.
    pub(super) fn record(&self, groups: u64) -> Result<()> {
        let offset = (groups % 2) * SLOT_BYTES as u64;
        self.file.write_all_at(&encode(groups), offset).map_err(|error| io_failure(&error))
    }

    /// Makes the mark itself durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|error| io_failure(&error))
    }
}

fn encode(groups: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0u8; SLOT_BYTES];
    slot[..4].copy_from_slice(&MAGIC);
    slot[4..12].copy_from_slice(&groups.to_le_bytes());
    let checksum = crc32c::crc32c(&slot[..12]);
    slot[12..].copy_from_slice(&checksum.to_le_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<u64> {
    let (content, checksum) = slot.split_last_chunk::<4>()?;
    let groups = content.strip_prefix(&MAGIC)?.try_into().ok()?;
    (crc32c::crc32c(content) == u32::from_le_bytes(*checksum)).then(|| u64::from_le_bytes(groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_with_fewer_groups_than_acknowledged_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        let mark = Mark::open(&path).unwrap();
        mark.check(0).unwrap();
        for groups in 1..=3 {
            mark.record(groups).unwrap();
        }
        let reopened = Mark::open(&path).unwrap();
        reopened.check(3).unwrap();
        reopened.check(4).unwrap();
        assert!(matches!(reopened.check(2), Err(Error::Corrupt(_))));
    }

    #[test]
    fn a_torn_slot_leaves_the_older_one_and_two_torn_slots_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        let mark = Mark::open(&path).unwrap();
        mark.record(6).unwrap();
        mark.record(7).unwrap();
        mark.file.write_all_at(&[0xff], SLOT_BYTES as u64 + 5).unwrap();
        assert_eq!(Mark::open(&path).unwrap().acknowledged, Some(6));
        mark.file.write_all_at(&[0xff], 5).unwrap();
        assert!(matches!(Mark::open(&path), Err(Error::Corrupt(_))));
    }
}
