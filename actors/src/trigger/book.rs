//! Where every item of a trigger stands, and which versions of objects are remembered. Pure.
//!
//! Maps that share what they have in common: a copy costs nothing, and a change only what lies on its way, however many
//! items there are.
//!
//! Invariant: each item is in exactly the order of its standing; nothing but [`Book::put`] and [`Book::remove`] changes
//! them.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::object::{Key, Object};
use crate::clock::Timestamp;
use crate::schedule::Run;

/// An item: a version of an object, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When it arrived.
    pub arrived_at: Timestamp,
    /// What arrived.
    pub object: Arc<Object>,
    /// How often something was started for it, since it was last taken back from the dead.
    pub deliveries: u32,
    /// How often something was started for it, ever.
    pub starts: u32,
    /// What was started last.
    pub run: Option<Run>,
    /// How that failed, where it did.
    pub error: Option<Arc<str>>,
    /// Where it stands.
    pub standing: Standing,
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It waits for room.
    Pending,
    /// It waits for its time.
    Delayed(Timestamp),
    /// What was started for it is not over.
    Running,
    /// Nothing more is started for it.
    Dead(Timestamp),
    /// What was started for it ended well.
    Done(Timestamp),
}

/// A version that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its item.
    #[serde(rename = "i")]
    pub item: u64,
    /// Tells what came under the same name.
    #[serde(rename = "t")]
    pub tag: u64,
    /// Until when, where it is at its source no more.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// All items of a trigger, and what it remembers.
#[derive(Debug, Clone, Default)]
pub struct Book {
    items: OrdMap<u64, Arc<Entry>>,
    pending: OrdSet<u64>,
    delayed: OrdSet<(Timestamp, u64)>,
    running: OrdSet<u64>,
    dead: OrdSet<u64>,
    done: OrdSet<(Timestamp, u64)>,
    /// Bytes of those that are not over.
    bytes: u64,
    known: OrdMap<Key, Known>,
    fading: OrdSet<(Timestamp, Key)>,
}

impl Book {
    /// An item.
    pub fn get(&self, item: u64) -> Option<&Arc<Entry>> {
        self.items.get(&item)
    }

    /// Puts an item where it stands now.
    pub fn put(&mut self, item: u64, entry: Entry) {
        self.remove(item);
        match entry.standing {
            Standing::Pending => drop(self.pending.insert(item)),
            Standing::Delayed(until) => drop(self.delayed.insert((until, item))),
            Standing::Running => drop(self.running.insert(item)),
            Standing::Dead(_) => drop(self.dead.insert(item)),
            Standing::Done(at) => drop(self.done.insert((at, item))),
        }
        self.bytes += held_bytes(&entry);
        self.items.insert(item, Arc::new(entry));
    }

    /// Strikes an item out.
    pub fn remove(&mut self, item: u64) -> Option<Arc<Entry>> {
        let old = self.items.remove(&item)?;
        match old.standing {
            Standing::Pending => drop(self.pending.remove(&item)),
            Standing::Delayed(until) => drop(self.delayed.remove(&(until, item))),
            Standing::Running => drop(self.running.remove(&item)),
            Standing::Dead(_) => drop(self.dead.remove(&item)),
            Standing::Done(at) => drop(self.done.remove(&(at, item))),
        }
        self.bytes -= held_bytes(&old);
        Some(old)
    }

    /// The item that has waited for room for the longest time.
    pub fn next_pending(&self) -> Option<u64> {
        self.pending.get_min().copied()
    }

    /// The item whose pause ends next, and when.
    pub fn next_delayed(&self) -> Option<(Timestamp, u64)> {
        self.delayed.get_min().copied()
    }

    /// The item that was over first of those that are still shown, and when.
    pub fn first_done(&self) -> Option<(Timestamp, u64)> {
        self.done.get_min().copied()
    }

    /// The first dead ones behind a number.
    pub fn dead_after(&self, item: u64) -> impl Iterator<Item = u64> + '_ {
        self.dead.range(item.saturating_add(1)..).copied()
    }

    /// All items behind a number.
    pub fn after(&self, item: u64) -> impl Iterator<Item = (u64, &Arc<Entry>)> + '_ {
        self.items.range(item.saturating_add(1)..).map(|(item, entry)| (*item, entry))
    }

    /// The first of all items, whatever they are.
    pub fn first(&self) -> Option<u64> {
        self.items.get_min().map(|(item, _)| *item)
    }

    /// How many wait, run, are dead, are done; those that pause wait.
    pub fn lengths(&self) -> [u64; 4] {
        let pending = self.pending.len() + self.delayed.len();
        [pending, self.running.len(), self.dead.len(), self.done.len()].map(|length| length as u64)
    }

    /// Bytes of what is not over.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A version that is remembered.
    pub fn known(&self, key: &Key) -> Option<Known> {
        self.known.get(key).copied()
    }

    /// All versions that are remembered.
    pub fn all_known(&self) -> impl Iterator<Item = (&Key, &Known)> + '_ {
        self.known.iter()
    }

    /// How many versions are remembered.
    pub fn known_len(&self) -> usize {
        self.known.len()
    }

    /// Remembers a version.
    pub fn learn(&mut self, key: Key, known: Known) {
        self.forget(&key);
        if let Some(until) = known.until {
            self.fading.insert((until, key));
        }
        self.known.insert(key, known);
    }

    /// The version that is forgotten next, and when.
    pub fn next_forgotten(&self) -> Option<(Timestamp, Key)> {
        self.fading.get_min().copied()
    }

    /// Any version that is remembered.
    pub fn any_known(&self) -> Option<Key> {
        self.known.get_min().map(|(key, _)| *key)
    }

    /// Forgets a version.
    pub fn forget(&mut self, key: &Key) {
        let old = self.known.remove(key);
        if let Some(until) = old.and_then(|known| known.until) {
            self.fading.remove(&(until, *key));
        }
    }

    /// Whether nothing is kept at all.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.known.is_empty()
    }
}

/// What an item takes that is not over.
fn held_bytes(entry: &Entry) -> u64 {
    match entry.standing {
        Standing::Done(_) => 0,
        _ => entry.object.bytes(),
    }
}
