//! The id of an array, and those of its children.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::durable::MachineId;
use crate::id::{JobId, ParseIdError};

/// An array: a UUID of version 7 as those of jobs, so that ids sort by time of submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArrayId(JobId);

/// The text is no array's id.
pub type ParseArrayIdError = ParseIdError;

impl ArrayId {
    /// The array whose id is made of these bytes.
    pub const fn new(id: JobId) -> Self {
        Self(id)
    }

    /// What the secrets of its children are sealed for.
    pub const fn seal(self) -> JobId {
        self.0
    }

    /// When it was submitted.
    pub fn made_at(self) -> Option<Timestamp> {
        self.0.made_at()
    }

    /// The job of an index: always the same.
    pub fn child(self, index: u32) -> JobId {
        let parts = [self.0.as_bytes().as_slice(), &index.to_be_bytes()].concat();
        let tail = xxhash_rust::xxh3::xxh3_128(&parts).to_be_bytes();
        let at = self.0.made_at().unwrap_or(Timestamp::from_millis(0));
        JobId::made_of(at, tail.first_chunk().expect("16 bytes are more than 10"))
    }
}

impl fmt::Display for ArrayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for ArrayId {
    type Err = ParseArrayIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl MachineId for ArrayId {
    fn to_key(self) -> Vec<u8> {
        self.0.to_key()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        JobId::from_key(bytes).map(Self)
    }

    fn at_front(bytes: &[u8]) -> Option<Self> {
        JobId::at_front(bytes).map(Self)
    }

    fn at_end(bytes: &[u8]) -> Option<Self> {
        JobId::at_end(bytes).map(Self)
    }
}
