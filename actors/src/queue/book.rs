//! Where every message of a queue stands, and the orders in which they are looked for. Pure.
//!
//! Maps that share what they have in common: a copy costs nothing, and a change only what lies on its way, however many
//! messages there are.
//!
//! Invariant: each message is in exactly the orders of its standing; nothing but [`Book::put`] and [`Book::remove`]
//! changes them.

use std::collections::BTreeMap;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::event::Cause;
use crate::clock::Timestamp;
use crate::id::{AttemptKey, JobId};

/// What stands for the id that a client gave a message.
pub type Digest = [u8; 16];

/// A message, but for its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// When it was sent, or last taken back from the dead.
    pub sent_at: Timestamp,
    /// The higher, the earlier it is delivered.
    pub priority: i8,
    /// How often it was delivered.
    pub deliveries: u32,
    /// How often it was leased, ever: the number of its last lease.
    pub lease: u32,
    /// Bytes of its body.
    pub bytes: u32,
    /// A delivery failed, and there is a row that says how.
    pub failed: bool,
    /// Where it stands.
    pub standing: Standing,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It waits for a worker.
    Ready,
    /// It waits for its time.
    Delayed(Timestamp),
    /// A worker has it until then; which attempt of an instance of a pool, where it is one.
    Leased(Timestamp, Option<AttemptKey>),
    /// It is given to nobody any more.
    Dead(Timestamp, Cause),
    /// It was acknowledged; whether there is a result.
    Done(Timestamp, bool),
}

/// The id of a message that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The message.
    pub seq: u64,
    /// Until when.
    pub until: Timestamp,
}

/// All messages of a queue.
#[derive(Debug, Clone, Default)]
pub struct Book {
    messages: OrdMap<u64, Entry>,
    /// By priority, the highest first, then by number.
    ready: OrdSet<(i8, u64)>,
    delayed: OrdSet<(Timestamp, u64)>,
    leased: OrdSet<(Timestamp, u64)>,
    dead: OrdSet<u64>,
    done: OrdSet<(Timestamp, u64)>,
    /// Those that wait, by age.
    ages: OrdSet<(Timestamp, u64)>,
    ids: OrdMap<Digest, Known>,
    ids_until: OrdSet<(Timestamp, Digest)>,
    /// How many messages the instances of pools have.
    holders: BTreeMap<JobId, u32>,
    /// The newest attempt of each that has one.
    attempts: BTreeMap<JobId, u32>,
}

impl Book {
    /// A message.
    pub fn get(&self, seq: u64) -> Option<Entry> {
        self.messages.get(&seq).copied()
    }

    /// Puts a message where it stands now.
    pub fn put(&mut self, seq: u64, entry: Entry) {
        let old = self.messages.insert(seq, entry);
        if let Some(old) = old {
            self.unlist(seq, &old);
        }
        match entry.standing {
            Standing::Ready => drop(self.ready.insert((-entry.priority, seq))),
            Standing::Delayed(until) => drop(self.delayed.insert((until, seq))),
            Standing::Leased(until, holder) => {
                self.leased.insert((until, seq));
                if let Some(holder) = holder {
                    *self.holders.entry(holder.job).or_default() += 1;
                    let newest = self.attempts.entry(holder.job).or_default();
                    *newest = holder.number.max(*newest);
                }
            }
            Standing::Dead(..) => drop(self.dead.insert(seq)),
            Standing::Done(at, _) => drop(self.done.insert((at, seq))),
        }
        if matches!(entry.standing, Standing::Ready | Standing::Delayed(_)) {
            self.ages.insert((entry.sent_at, seq));
        }
    }

    /// Strikes a message out.
    pub fn remove(&mut self, seq: u64) -> Option<Entry> {
        let old = self.messages.remove(&seq)?;
        self.unlist(seq, &old);
        Some(old)
    }

    fn unlist(&mut self, seq: u64, old: &Entry) {
        match old.standing {
            Standing::Ready => drop(self.ready.remove(&(-old.priority, seq))),
            Standing::Delayed(until) => drop(self.delayed.remove(&(until, seq))),
            Standing::Leased(until, holder) => {
                self.leased.remove(&(until, seq));
                if let Some(holder) = holder
                    && let Some(count) = self.holders.get_mut(&holder.job)
                {
                    *count -= 1;
                    if *count == 0 {
                        self.holders.remove(&holder.job);
                        self.attempts.remove(&holder.job);
                    }
                }
            }
            Standing::Dead(..) => drop(self.dead.remove(&seq)),
            Standing::Done(at, _) => drop(self.done.remove(&(at, seq))),
        }
        if matches!(old.standing, Standing::Ready | Standing::Delayed(_)) {
            self.ages.remove(&(old.sent_at, seq));
        }
    }

    /// The message that is delivered next.
    pub fn next_ready(&self) -> Option<u64> {
        self.ready.get_min().map(|(_, seq)| *seq)
    }

    /// The message whose lease ends next, and when.
    pub fn next_lease(&self) -> Option<(Timestamp, u64)> {
        self.leased.get_min().copied()
    }

    /// The message whose delay ends next, and when.
    pub fn next_delayed(&self) -> Option<(Timestamp, u64)> {
        self.delayed.get_min().copied()
    }

    /// The message that waits for the longest time, and since when.
    pub fn oldest(&self) -> Option<(Timestamp, u64)> {
        self.ages.get_min().copied()
    }

    /// The message that was acknowledged first of those that are remembered, and when.
    pub fn first_done(&self) -> Option<(Timestamp, u64)> {
        self.done.get_min().copied()
    }

    /// The first dead letters behind a number.
    pub fn dead_after(&self, seq: u64) -> impl Iterator<Item = u64> + '_ {
        self.dead.range(seq.saturating_add(1)..).copied()
    }

    /// The first of all messages, whatever they are.
    pub fn first(&self) -> Option<u64> {
        self.messages.iter().next().map(|(seq, _)| *seq)
    }

    /// Whether anything is kept at all.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.ids.is_empty()
    }

    /// The newest attempt of an instance of a pool that has messages.
    pub fn newest_attempt(&self, job: JobId) -> Option<u32> {
        self.attempts.get(&job).copied()
    }

    /// The messages that attempts of an instance of a pool have which came before the one of this number.
    pub fn held_before(&self, job: JobId, number: u32) -> impl Iterator<Item = u64> + '_ {
        let is_held = move |seq: &u64| {
            let standing = self.get(*seq).map(|entry| entry.standing);
            matches!(standing, Some(Standing::Leased(_, Some(by))) if by.job == job && by.number < number)
        };
        self.leased.iter().map(|(_, seq)| *seq).filter(is_held)
    }

    /// How many messages each instance of a pool has.
    pub fn holders(&self) -> &BTreeMap<JobId, u32> {
        &self.holders
    }

    /// The message that has this id, while that is remembered.
    pub fn known(&self, id: &Digest) -> Option<Known> {
        self.ids.get(id).copied()
    }

    /// Remembers the id of a message.
    pub fn learn(&mut self, id: Digest, known: Known) {
        if let Some(old) = self.ids.insert(id, known) {
            self.ids_until.remove(&(old.until, id));
        }
        self.ids_until.insert((known.until, id));
    }

    /// The id that is forgotten next, and when.
    pub fn next_forgotten(&self) -> Option<(Timestamp, Digest)> {
        self.ids_until.get_min().copied()
    }

    /// Forgets an id.
    pub fn forget(&mut self, id: &Digest) {
        if let Some(old) = self.ids.remove(id) {
            self.ids_until.remove(&(old.until, *id));
        }
    }

    /// Every message.
    pub fn messages(&self) -> impl Iterator<Item = (u64, Entry)> + '_ {
        self.messages.iter().map(|(seq, entry)| (*seq, *entry))
    }

    /// How many are ready, leased, delayed, dead, done.
    pub fn lengths(&self) -> [u64; 5] {
        let lengths =
            [self.ready.len(), self.leased.len(), self.delayed.len(), self.dead.len(), self.done.len()];
        lengths.map(|length| length as u64)
    }
}
