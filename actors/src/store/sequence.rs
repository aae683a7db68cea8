//! Turns batches, one after the other, into the changes of one atomic write: checks what they require and
//! numbers what they append.
//!
//! Not responsible for durability or threads. Every implementation of the store shares this file, so that
//! preconditions and numbers mean the same everywhere.
//!
//! Invariants:
//! - a batch sees all batches before it, also those of the same group that are not written yet;
//! - a rejected batch leaves no trace, not even a used number;
//! - a number is never given twice: the highest one given is stored with every group, so that it survives
//!   the deletion of the rows that carried it.

use super::backend::{Changes, Read};
use super::{Batch, Committed, Error, Key, KeyRange, Log, Op, Order, Precondition, Result};
use crate::limits;

/// Keys that begin with this byte belong to the store itself: no batch may name them, no scan shows them.
const RESERVED: u8 = 0;

/// Where the progress of the sequence is kept: two numbers of 8 bytes, big-endian.
const PROGRESS_KEY: &[u8] = b"\0sequence";

/// What batches are staged onto: the rows as all batches before leave them.
pub(super) trait Stage {
    /// The value of `key`.
    fn current(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Sets `key`, or removes it.
    fn set(&mut self, key: Key, value: Option<Vec<u8>>);
}

/// Changes over the rows of a database that does not have them yet.
struct Over<'a, R> {
    changes: &'a mut Changes,
    rows: &'a R,
}

impl<R: Read> Stage for Over<'_, R> {
    fn current(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.changes.get(key) {
            Some(staged) => Ok(staged.clone()),
            None => self.rows.get(key),
        }
    }

    fn set(&mut self, key: Key, value: Option<Vec<u8>>) {
        self.changes.insert(key, value);
    }
}

/// How far the store has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// The number that the next append gets.
    next: u64,
    /// The groups of batches written so far.
    groups: u64,
}

impl Sequence {
    /// Reads how far a store has come, from what it keeps about itself and from its logs: whichever is
    /// further.
    pub(super) fn recover(rows: &(impl Read + ?Sized)) -> Result<Self> {
        let (mut last, groups) = match rows.get(PROGRESS_KEY)? {
            None => (0, 0),
            Some(bytes) => decode_progress(&bytes)?,
        };
        for log in [Log::Events, Log::Outbox] {
            if let Some((key, _)) =
                rows.scan_all(&[KeyRange::log(log)], Order::Descending, 1)?.iter().flatten().next()
            {
                let seq = log.seq(key).ok_or_else(|| {
                    Error::Corrupt(
                        format!("the key {} is in a log but has no number", key.escape_ascii()).into(),
                    )
                })?;
                last = last.max(seq);
            }
        }
        Ok(Self { next: last + 1, groups })
    }

    /// That of a store that holds no group yet, and in which the numbers up to `last` were given.
    pub(super) const fn behind(last: u64) -> Self {
        Self { next: last + 1, groups: 0 }
    }

    /// The highest number given so far; 0 when there is none.
    pub(super) const fn last(self) -> u64 {
        self.next - 1
    }

    /// The groups of batches written so far.
    pub(super) const fn groups(self) -> u64 {
        self.groups
    }

    /// Adds what `batch` does to `changes`, when what it requires holds in `rows` overlaid with `changes`.
    pub(super) fn stage(
        &mut self,
        batch: Batch,
        changes: &mut Changes,
        rows: &impl Read,
    ) -> Result<Committed> {
        self.stage_onto(batch, &mut Over { changes, rows })
    }

    /// Makes the changes of `batch` in `stage`, all or none: when what it requires holds there.
    pub(super) fn stage_onto(&mut self, batch: Batch, stage: &mut impl Stage) -> Result<Committed> {
        for op in &batch.ops {
            if let Op::Put { key, .. } | Op::Delete { key } = op {
                check_key(key)?;
                self.check_log_row(key)?;
            }
        }
        for precondition in batch.preconditions {
            check(precondition, stage)?;
        }
        let first_seq = self.next;
        for op in batch.ops {
            match op {
                Op::Put { key, value } => stage.set(key, Some(value)),
                Op::Delete { key } => stage.set(key, None),
                Op::Append { log, value } => {
                    let seq = self.next;
                    self.next += 1;
                    stage.set(log.key(seq), Some(value));
                }
            }
        }
        Ok(Committed { first_seq })
    }

    /// The changes of `batch` as a group of its own, complete; none when there is nothing to write.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn group_of(&mut self, batch: Batch, rows: &impl Read) -> Result<(Committed, Changes)> {
        let mut changes = Changes::default();
        let committed = self.stage(batch, &mut changes, rows)?;
        if !changes.is_empty() {
            self.seal(&mut changes);
        }
        Ok((committed, changes))
    }

    /// A row of a log can be replaced or removed, but only [`Op::Append`] makes one: any other key among them
    /// would be taken for the end of the log.
    fn check_log_row(self, key: &Key) -> Result<()> {
        let Some(log) = Log::of(key) else { return Ok(()) };
        if log.seq(key).is_some_and(|seq| seq < self.next) { Ok(()) } else { Err(invalid(key)) }
    }

    /// Completes the changes of one group with the progress of the sequence.
    pub(super) fn seal(&mut self, changes: &mut Changes) {
        self.groups += 1;
        let mut progress = self.last().to_be_bytes().to_vec();
        progress.extend_from_slice(&self.groups.to_be_bytes());
        changes.insert(PROGRESS_KEY.to_vec(), Some(progress));
    }
}

/// Cuts the store's own keys off a range that a caller asks for.
pub(super) fn visible(mut range: KeyRange) -> KeyRange {
    let first = [RESERVED + 1];
    if range.from.as_slice() < first.as_slice() {
        range.from = first.to_vec();
    }
    range
}

/// The same of each of several ranges.
pub(super) fn all_visible(ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    ranges.into_iter().map(visible).collect()
}

/// The highest sequence number given at the end of a group; 0 when it does not say.
pub(crate) fn last_in(group: &Changes) -> u64 {
    let progress = group.get(PROGRESS_KEY).and_then(Option::as_deref);
    progress.and_then(|bytes| decode_progress(bytes).ok()).map_or(0, |(last, _)| last)
}

/// Whether a caller may read this key.
pub(crate) fn is_visible(key: &[u8]) -> bool {
    key.first().is_some_and(|first| *first != RESERVED)
}

fn check_key(key: &Key) -> Result<()> {
    if is_visible(key) && key.len() <= limits::STORE_KEY_BYTES_MAX {
        return Ok(());
    }
    Err(invalid(key))
}

fn invalid(key: &[u8]) -> Error {
    Error::InvalidKey { key: key.iter().copied().take(limits::STORE_KEY_BYTES_MAX).collect() }
}

fn check(precondition: Precondition, stage: &impl Stage) -> Result<()> {
    let (key, wanted) = match precondition {
        Precondition::Absent(key) => (key, false),
        Precondition::Present(key) => (key, true),
    };
    check_key(&key)?;
    let existing = stage.current(&key)?;
    if existing.is_some() == wanted { Ok(()) } else { Err(Error::Precondition { key, existing }) }
}

fn decode_progress(bytes: &[u8]) -> Result<(u64, u64)> {
    let damaged = || Error::Corrupt("the record of the store's own progress has the wrong length".into());
    let (last, groups) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let groups: [u8; 8] = groups.try_into().map_err(|_| damaged())?;
    Ok((u64::from_be_bytes(*last), u64::from_be_bytes(groups)))
}
