//! A whole store in one file, made while it is in use, and a data directory made of such a file.
//!
//! Responsible for the file: its form, its checksums, what is in it. Not responsible for where it is written to or
//! sent (the server and the command line), nor for the logs of attempts, which it does not hold.
//!
//! A backup shows the store as it was at one moment, the one at which the backup ended, although commits go on
//! meanwhile: the rows are read in order, a page at a time, and every group of commits since the beginning is
//! written among them. Applied in the order of the file, the groups bring each row to what it was at the end.
//!
//! **It holds the key that opens the secrets of the jobs**: whoever has the file has the secrets. It does not hold
//! the API's root key; a restored directory gets one of its own.
//!
//! A restored directory is another installation than the one that was backed up, unless it is said to take its
//! place: two servers of one installation would each stop and remove what the other one runs. As another one it
//! leaves the containers and processes of the first alone; the attempts that were running at the moment of the
//! backup count as lost to it, and its jobs go on as their policies say. Taking the place is for when the original
//! is gone for good: then what still runs is found again.

mod frame;
mod restore;
mod write;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::InstallationId;
use crate::store;

pub use self::restore::{Identity, Restored, restore, verify};
pub use self::write::{Stream, Subject, start};

/// Why a backup cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// More was committed than the reader took.
    #[error(
        "the backup was read too slowly for what is being written; try again when there is less to do, or write to a faster disk"
    )]
    TooSlow,
    /// The file cannot be read or written.
    #[error("cannot use {}: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no backup.
    #[error("{} is no backup of dogwatch", .0.display())]
    NoBackup(PathBuf),
    /// The file is not as it was written.
    #[error("the backup {} is damaged ({what}); nothing was restored, use another one", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer version made it.
    #[error("the backup {} was made by dogwatch {version} and has format {format}, which is newer than this version reads; use that one", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version that made it.
        version: String,
        /// Its format.
        format: u32,
    },
    /// The directory holds something.
    #[error("{} is not empty; name a directory that is empty or does not exist yet", .0.display())]
    NotEmpty(PathBuf),
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format of the store's content.
    pub format: u32,
    /// The version of dogwatch that made it.
    pub version: String,
    /// The installation that it is of.
    pub installation: InstallationId,
    /// When it was begun.
    pub made_at: Timestamp,
}

/// How a backup ends; one without this is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The highest sequence number at the moment that it shows.
    pub last_sequence: u64,
}
