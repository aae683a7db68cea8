//! Typed identifiers: a job, one attempt of it, one installation.
//!
//! Ids are created only through an injected [`Ids`] source, so that a simulation can repeat them, and are
//! parsed strictly, so that no text of a user ever reaches a key, a path or a container name unchecked.

use std::fmt;
use std::str::FromStr;

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;

/// The text given is no identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}; expected {expected}")]
pub struct ParseIdError {
    kind: &'static str,
    expected: &'static str,
    text: String,
}

/// A job: a UUID of version 7 (RFC 9562), so that ids sort by time of submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// The id made of these 16 bytes; they are taken as they are.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// What sorts at or before every id that was made at `time` or later, and behind every earlier one; to the
    /// millisecond.
    pub fn first_at(time: Timestamp) -> Self {
        let millis = u64::try_from(time.as_millis()).unwrap_or(0).to_be_bytes();
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis[2..]);
        Self::from_bytes(bytes)
    }

    /// When it was made, to the millisecond. None for an id that is of another version than 7.
    pub fn made_at(&self) -> Option<Timestamp> {
        (self.0.get_version_num() == 7).then(|| {
            let mut millis = [0; 8];
            millis[2..].copy_from_slice(&self.as_bytes()[..6]);
            // Six bytes of a positive number.
            Timestamp::from_millis(i64::from_be_bytes(millis))
        })
    }

    /// The id of a job that is submitted at `now`; `tail` is random, or at least nobody else's.
    pub fn made_of(now: Timestamp, tail: &[u8; 10]) -> Self {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, tail).into_uuid())
    }

    /// The 16 bytes, big-endian: they sort as the ids do.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.as_hyphenated(), f)
    }
}

impl FromStr for JobId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = Uuid::try_parse(text).ok().filter(|id| id.as_hyphenated().to_string() == text);
        parsed.map(Self).ok_or_else(|| ParseIdError {
            kind: "job id",
            expected: "a lower-case uuid such as 01939f6e-2d5c-7a00-8000-0123456789ab",
            text: text.chars().take(64).collect(),
        })
    }
}

/// One attempt of a job: the unit a runtime creates, starts once and removes. Numbered from 1, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptKey {
    /// The job it belongs to.
    pub job: JobId,
    /// Its number within the job, from 1.
    pub number: u32,
}

impl AttemptKey {
    /// The key of attempt `number` of `job`.
    pub const fn new(job: JobId, number: u32) -> Self {
        Self { job, number }
    }

    /// The name of the container or directory: `<prefix>-<job>-<attempt>`. The name is the claim that makes
    /// creating it twice a conflict, so it is a pure function of the key.
    pub fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{}-{}", self.job, self.number)
    }

    /// Reads a name made by [`AttemptKey::name`] with the same prefix.
    pub fn from_name(prefix: &str, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(prefix)?.strip_prefix('-')?;
        let (job, number) = rest.rsplit_once('-')?;
        let number: u32 = number.parse().ok().filter(|n| *n > 0)?;
        Some(Self { job: job.parse().ok()?, number })
    }
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.number)
    }
}

/// One data directory's identity, in the label of everything it starts: two installations on one engine
/// never touch each other's containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstallationId(Uuid);

impl InstallationId {
    /// The id made of these 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for InstallationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.as_simple(), f)
    }
}

impl FromStr for InstallationId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self).map_err(|_| ParseIdError {
            kind: "installation id",
            expected: "a uuid",
            text: text.chars().take(64).collect(),
        })
    }
}

/// Where new ids and other random bytes come from.
pub trait Ids: Send + Sync + 'static {
    /// Fills `out` with bytes that nobody can guess (in production).
    fn random(&self, out: &mut [u8]);

    /// A new job id for a submission at `now`.
    fn job_id(&self, now: Timestamp) -> JobId {
        let mut tail = [0u8; 10];
        self.random(&mut tail);
        JobId::made_of(now, &tail)
    }

    /// A new installation id.
    fn installation_id(&self) -> InstallationId {
        let mut bytes = [0u8; 16];
        self.random(&mut bytes);
        InstallationId(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }
}

/// Ids from the operating system's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn random(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system's random source answers");
    }

    /// The chance in an id comes from a generator of the thread's own that the system seeded: to ask the system is a call for
    /// each of them, and several are made where one is looked for that lives on this thread.
    fn job_id(&self, now: Timestamp) -> JobId {
        let mut tail = [0; 10];
        rand::rng().fill_bytes(&mut tail);
        JobId::made_of(now, &tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_its_key() {
        let key = AttemptKey::new(RandomIds.job_id(Timestamp::from_millis(1_700_000_000_000)), 12);
        assert_eq!(AttemptKey::from_name("dogwatch", &key.name("dogwatch")), Some(key));
        assert_eq!(AttemptKey::from_name("other", &key.name("dogwatch")), None);
        assert_eq!(AttemptKey::from_name("dogwatch", "dogwatch-web-1"), None);
        assert_eq!(AttemptKey::from_name("dogwatch", &AttemptKey::new(key.job, 0).name("dogwatch")), None);
    }

    #[test]
    fn only_the_canonical_text_is_a_job_id() {
        let id = RandomIds.job_id(Timestamp::from_millis(1));
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "..", "%2e%2e", &id.to_string().to_uppercase(), &id.to_string().replace('-', "")] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_sort_by_time() {
        let early = RandomIds.job_id(Timestamp::from_millis(1_000));
        let late = RandomIds.job_id(Timestamp::from_millis(2_000));
        assert!(early < late);
    }
}
