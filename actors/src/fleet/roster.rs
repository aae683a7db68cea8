//! Who may run: the entries of all attempts the fleet knows, the slots they hold and the queue for more.
//!
//! Pure. Not responsible for: what runs (the drivers find out and tell), or whether an attempt should.
//!
//! Invariants:
//! - granted attempts never exceed the budget together, except one alone that is larger than all of it;
//! - attempts that are driven hold a slot even over the budget: they run, whatever the books say;
//! - grants follow the order of the queue (`since`, then key); one that does not fit holds back those behind
//!   it, so that a large one is delayed and never starved;
//! - the tally is the sum over the entries, at every moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::id::AttemptKey;
use crate::job::spec::Resources;
use crate::limits;

/// What all attempts together may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Attempts at the same time; 0 is taken as 1.
    pub attempts_max: usize,
    /// CPU cores that they may name together.
    pub cpus: f64,
    /// Bytes of memory that they may name together.
    pub memory_bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { attempts_max: limits::ATTEMPTS_AT_ONCE_MAX, cpus: f64::INFINITY, memory_bytes: u64::MAX }
    }
}

/// What one attempt is counted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Demand {
    cpu_millis: u64,
    memory_bytes: u64,
}

impl Demand {
    /// The most that one attempt is counted with (a million cores, a pebibyte), so that no sum overflows.
    const MAX: Self = Self { cpu_millis: 1_000_000_000, memory_bytes: 1 << 50 };
}

impl From<&Resources> for Demand {
    fn from(resources: &Resources) -> Self {
        let cpu_millis = resources.cpu.map_or(limits::ATTEMPT_CPU_DEFAULT_MILLIS, millis);
        let memory_bytes =
            resources.memory.map_or(limits::ATTEMPT_MEMORY_DEFAULT_BYTES, |memory| memory.as_bytes());
        Self {
            cpu_millis: cpu_millis.min(Self::MAX.cpu_millis),
            memory_bytes: memory_bytes.min(Self::MAX.memory_bytes),
        }
    }
}

/// Thousandths; what is negative or no number counts as nothing, what is too large as all there is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, which is meant")]
fn millis(cores: f64) -> u64 {
    (cores * 1_000.0) as u64
}

/// What the driver of an attempt last said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// On its way: being created and started, or not yet looked at.
    Starting,
    /// It runs.
    Running,
    /// The runtime cannot tell at the moment.
    Unknown,
}

/// Where an attempt stands with the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hold {
    /// In the queue.
    Waiting {
        /// Since when its job asks.
        since: Timestamp,
    },
    /// It has a slot that it does not use yet.
    Granted,
    /// It has a slot and a driver.
    Driven {
        /// On this runtime.
        runtime: String,
        /// What is known of it.
        seen: Seen,
    },
    /// Its end was observed and reported; it holds nothing.
    Ended,
}

/// Sums over all entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) waiting: usize,
    pub(super) granted: usize,
    pub(super) starting: usize,
    pub(super) running: usize,
    pub(super) unknown: usize,
    pub(super) ended: usize,
    pub(super) cpu_millis: u64,
    pub(super) memory_bytes: u64,
}

impl Tally {
    /// The attempts that hold a slot.
    pub(super) const fn held(&self) -> usize {
        self.granted + self.starting + self.running + self.unknown
    }

    fn count(&mut self, hold: &Hold) -> &mut usize {
        match hold {
            Hold::Waiting { .. } => &mut self.waiting,
            Hold::Granted => &mut self.granted,
            Hold::Driven { seen: Seen::Starting, .. } => &mut self.starting,
            Hold::Driven { seen: Seen::Running, .. } => &mut self.running,
            Hold::Driven { seen: Seen::Unknown, .. } => &mut self.unknown,
            Hold::Ended => &mut self.ended,
        }
    }

    fn add(&mut self, entry: &Entry) {
        *self.count(&entry.hold) += 1;
        if entry.holds_slot() {
            self.cpu_millis += entry.demand.cpu_millis;
            self.memory_bytes += entry.demand.memory_bytes;
        }
    }

    fn take(&mut self, entry: &Entry) {
        *self.count(&entry.hold) -= 1;
        if entry.holds_slot() {
            self.cpu_millis -= entry.demand.cpu_millis;
            self.memory_bytes -= entry.demand.memory_bytes;
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    demand: Demand,
    hold: Hold,
}

impl Entry {
    const fn holds_slot(&self) -> bool {
        matches!(self.hold, Hold::Granted | Hold::Driven { .. })
    }
}

/// The books of the fleet.
#[derive(Debug)]
pub(super) struct Roster {
    budget: Budget,
    cpu_millis_max: u64,
    entries: BTreeMap<AttemptKey, Entry>,
    queue: BTreeSet<(Timestamp, AttemptKey)>,
    tally: Tally,
}

impl Roster {
    /// Empty books over this budget.
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            budget: Budget { attempts_max: budget.attempts_max.max(1), ..budget },
            cpu_millis_max: millis(budget.cpus),
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// How many attempts may hold a slot.
    pub(super) const fn slots(&self) -> usize {
        self.budget.attempts_max
    }

    /// The sums.
    pub(super) const fn tally(&self) -> Tally {
        self.tally
    }

    /// Where this attempt stands; `None` when it is unknown here.
    pub(super) fn hold(&self, key: AttemptKey) -> Option<&Hold> {
        self.entries.get(&key).map(|entry| &entry.hold)
    }

    /// Every attempt that is known here, and where it stands.
    pub(super) fn holds(&self) -> impl Iterator<Item = (AttemptKey, &Hold)> {
        self.entries.iter().map(|(key, entry)| (*key, &entry.hold))
    }

    /// The attempts that are driven on `runtime`, with what is known of them.
    pub(super) fn driven_on<'a>(&'a self, runtime: &'a str) -> impl Iterator<Item = (AttemptKey, Seen)> + 'a {
        self.entries.iter().filter_map(move |(key, entry)| match &entry.hold {
            Hold::Driven { runtime: on, seen } if on == runtime => Some((*key, *seen)),
            _ => None,
        })
    }

    /// Puts an attempt into the queue, unless it is known already.
    pub(super) fn request(&mut self, key: AttemptKey, since: Timestamp, demand: Demand) {
        if !self.entries.contains_key(&key) {
            self.put(key, Entry { demand, hold: Hold::Waiting { since } });
        }
    }

    /// Gives slots to the head of the queue as long as it fits; answers who got one, in order.
    pub(super) fn grant(&mut self) -> Vec<AttemptKey> {
        let mut granted = Vec::new();
        while let Some(&(_, key)) = self.queue.first() {
            let demand = self.entries.get(&key).expect("what is queued has an entry").demand;
            if !self.fits(demand) {
                break;
            }
            self.put(key, Entry { demand, hold: Hold::Granted });
            granted.push(key);
        }
        granted
    }

    /// The attempt has a driver on `runtime`; it holds a slot from now on, over the budget if need be. One
    /// whose end was observed stays ended.
    pub(super) fn drive(&mut self, key: AttemptKey, runtime: &str, demand: Demand) {
        if !matches!(self.hold(key), Some(Hold::Driven { .. } | Hold::Ended)) {
            let hold = Hold::Driven { runtime: runtime.to_owned(), seen: Seen::Starting };
            self.put(key, Entry { demand, hold });
        }
    }

    /// What its driver now says of an attempt.
    pub(super) fn see(&mut self, key: AttemptKey, seen: Seen) {
        if let Some(Entry { demand, hold: Hold::Driven { runtime, .. } }) = self.entries.get(&key) {
            let entry = Entry { demand: *demand, hold: Hold::Driven { runtime: runtime.clone(), seen } };
            self.put(key, entry);
        }
    }

    /// The attempt is over, or will never be: its slot is free.
    pub(super) fn end(&mut self, key: AttemptKey) {
        if let Some(entry) = self.entries.get(&key) {
            let demand = entry.demand;
            self.put(key, Entry { demand, hold: Hold::Ended });
        }
    }

    /// Nothing of the attempt is of interest any more.
    pub(super) fn forget(&mut self, key: AttemptKey) -> Option<Hold> {
        let entry = self.entries.remove(&key)?;
        self.leave(key, &entry);
        Some(entry.hold)
    }

    fn fits(&self, demand: Demand) -> bool {
        let used = &self.tally;
        used.held() == 0
            || (used.held() < self.budget.attempts_max
                && used.cpu_millis.saturating_add(demand.cpu_millis) <= self.cpu_millis_max
                && used.memory_bytes.saturating_add(demand.memory_bytes) <= self.budget.memory_bytes)
    }

    /// The only writer of entries: keeps the queue and the tally in step with them.
    fn put(&mut self, key: AttemptKey, entry: Entry) {
        if let Some(old) = self.entries.remove(&key) {
            self.leave(key, &old);
        }
        self.tally.add(&entry);
        if let Hold::Waiting { since } = entry.hold {
            self.queue.insert((since, key));
        }
        self.entries.insert(key, entry);
    }

    fn leave(&mut self, key: AttemptKey, old: &Entry) {
        self.tally.take(old);
        if let Hold::Waiting { since } = old.hold {
            self.queue.remove(&(since, key));
        }
    }
}

#[cfg(test)]
mod tests;
