//! Who may run: the entries of all attempts the fleet knows, the slots they hold and the queue for more.
//!
//! Pure. Not responsible for: what runs (the drivers find out and tell), or whether an attempt should.
//!
//! While every slot is taken the next few of the queue are granted ahead: they are created, and then stand in line
//! for a slot, so that none of that work lies between the end of one attempt and the start of the next.
//!
//! Invariants:
//! - attempts that hold a slot never exceed the budget together, except one alone that is larger than all of it;
//! - attempts that may run hold a slot even over the budget: they run, whatever the books say. One that turns out
//!   never to have been started gives it back;
//! - an attempt is started only with a slot;
//! - grants follow the order of [`crate::admission`], and so do slots among those in line; one that does not fit
//!   holds back those behind it, so that a large one is delayed and never starved;
//! - the tally is the sum over the entries, at every moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::admission::{AdmissionView, Rules, Stand, Ticket, Verdict, Waiting};
use crate::clock::Timestamp;
use crate::id::{AttemptKey, JobId};
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
    Waiting,
    /// It may be prepared, and is not driven yet.
    Granted,
    /// It has a driver.
    Driven {
        /// On this runtime.
        runtime: String,
        /// What is known of it.
        seen: Seen,
        /// It may be started as soon as it has a slot.
        ready: bool,
    },
    /// Its end was observed and reported; it holds nothing.
    Ended,
}

/// Sums over all entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) waiting: usize,
    /// Granted or driven, and without a slot.
    pub(super) ahead: usize,
    pub(super) granted: usize,
    pub(super) starting: usize,
    pub(super) running: usize,
    pub(super) unknown: usize,
    pub(super) ended: usize,
    pub(super) cpu_millis: u64,
    pub(super) memory_bytes: u64,
    /// What those without a slot will need, beside what is held.
    cpu_millis_ahead: u64,
    memory_bytes_ahead: u64,
}

impl Tally {
    /// The attempts that hold a slot.
    pub(super) const fn held(&self) -> usize {
        self.granted + self.starting + self.running + self.unknown
    }

    fn count(&mut self, entry: &Entry) -> &mut usize {
        match entry.hold {
            Hold::Waiting => &mut self.waiting,
            Hold::Ended => &mut self.ended,
            _ if !entry.slot => &mut self.ahead,
            Hold::Granted => &mut self.granted,
            Hold::Driven { seen: Seen::Starting, .. } => &mut self.starting,
            Hold::Driven { seen: Seen::Running, .. } => &mut self.running,
            Hold::Driven { seen: Seen::Unknown, .. } => &mut self.unknown,
        }
    }

    fn add(&mut self, entry: &Entry) {
        *self.count(entry) += 1;
        let Demand { cpu_millis, memory_bytes } = entry.demand;
        if entry.slot {
            self.cpu_millis += cpu_millis;
            self.memory_bytes += memory_bytes;
        } else if entry.is_ahead() {
            self.cpu_millis_ahead += cpu_millis;
            self.memory_bytes_ahead += memory_bytes;
        }
    }

    fn take(&mut self, entry: &Entry) {
        *self.count(entry) -= 1;
        let Demand { cpu_millis, memory_bytes } = entry.demand;
        if entry.slot {
            self.cpu_millis -= cpu_millis;
            self.memory_bytes -= memory_bytes;
        } else if entry.is_ahead() {
            self.cpu_millis_ahead -= cpu_millis;
            self.memory_bytes_ahead -= memory_bytes;
        }
    }

    /// As if those ahead held their slots already.
    const fn with_those_ahead(self) -> Self {
        Self {
            granted: self.granted + self.ahead,
            cpu_millis: self.cpu_millis + self.cpu_millis_ahead,
            memory_bytes: self.memory_bytes + self.memory_bytes_ahead,
            ..self
        }
    }
}

/// Whether an attempt may be granted before there is a slot for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// It may.
    Yes,
    /// It leaves the queue only for a slot.
    No,
}

/// What the books have for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    /// It is its turn to be prepared.
    Turn(AttemptKey),
    /// What was granted ahead has its slot, and may be started.
    Slot(AttemptKey),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    demand: Demand,
    hold: Hold,
    /// Since when its job asks; the epoch where it came without asking, because it was granted in an earlier life.
    since: Timestamp,
    ahead: Ahead,
    slot: bool,
    ticket: Ticket,
    /// How far its tenant had been served when it was its turn.
    turn: u64,
}

impl Entry {
    const fn is_ahead(&self) -> bool {
        !self.slot && matches!(self.hold, Hold::Granted | Hold::Driven { .. })
    }

    const fn is_in_line(&self) -> bool {
        !self.slot && matches!(self.hold, Hold::Driven { ready: true, .. })
    }
}

/// The books of the fleet.
#[derive(Debug)]
pub(super) struct Roster {
    budget: Budget,
    cpu_millis_max: u64,
    entries: BTreeMap<AttemptKey, Entry>,
    queue: Waiting,
    /// What was granted ahead and lacks nothing but a slot.
    line: BTreeSet<(i64, AttemptKey)>,
    tally: Tally,
    /// Nothing is granted any more.
    is_closed: bool,
}

impl Roster {
    /// Empty books over this budget, for jobs that are admitted by these rules.
    pub(super) fn new(budget: Budget, rules: Rules) -> Self {
        Self {
            budget: Budget { attempts_max: budget.attempts_max.max(1), ..budget },
            cpu_millis_max: millis(budget.cpus),
            entries: BTreeMap::new(),
            queue: Waiting::new(rules),
            line: BTreeSet::new(),
            tally: Tally::default(),
            is_closed: false,
        }
    }

    /// Grants nothing any more.
    pub(super) const fn close(&mut self) {
        self.is_closed = true;
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
            Hold::Driven { runtime: on, seen, .. } if on == runtime => Some((*key, *seen)),
            _ => None,
        })
    }

    /// Whether this attempt holds a slot.
    pub(super) fn has_slot(&self, key: AttemptKey) -> bool {
        self.entries.get(&key).is_some_and(|entry| entry.slot)
    }

    /// Puts an attempt into the queue, unless it is known already; answers what that means for jobs of the same key.
    pub(super) fn request(
        &mut self,
        key: AttemptKey,
        since: Timestamp,
        demand: Demand,
        ahead: Ahead,
        ticket: Ticket,
    ) -> Vec<Verdict> {
        if self.entries.contains_key(&key) {
            return vec![];
        }
        let verdicts = self.queue.join(key, &ticket);
        self.put(key, Entry { demand, hold: Hold::Waiting, since, ahead, slot: false, ticket, turn: 0 });
        verdicts
    }

    /// A job holds its place under its key, although none of its attempts is known here.
    pub(super) fn hold_place(&mut self, job: JobId, ticket: &Ticket) {
        self.queue.hold(job, ticket);
    }

    /// A job lives no more under this key.
    pub(super) fn leave_place(&mut self, job: JobId, key: &str) {
        self.queue.leave(job, key);
    }

    /// Everybody of an earlier life is known.
    pub(super) fn open(&mut self) -> Vec<Verdict> {
        self.queue.open()
    }

    /// Who was told to make room and has not yet.
    pub(super) fn still_displaced(&self) -> Vec<Verdict> {
        self.queue.still_displaced()
    }

    /// When [`Roster::grant`] may have more to give although nothing else happens.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.queue.due()
    }

    /// Where an attempt stands that waits.
    pub(super) fn stand(&self, key: AttemptKey) -> Option<Stand> {
        let entry = self.entries.get(&key).filter(|entry| entry.hold == Hold::Waiting)?;
        self.queue.stand(key, &entry.ticket, entry.since)
    }

    /// Who waits and who runs, by tenant and by key.
    pub(super) fn admission(&self) -> AdmissionView {
        self.queue.view()
    }

    /// Gives slots to the line, and then turns to whoever is next in the queue, as long as there is room; answers who
    /// got what, in order.
    pub(super) fn grant(&mut self, now: Timestamp) -> Vec<Grant> {
        let mut grants = Vec::new();
        if self.is_closed {
            return grants;
        }
        while let Some((key, entry)) = self.next_in_line() {
            if !self.fits(self.tally, entry.demand) {
                break;
            }
            self.put(key, Entry { slot: true, ..entry });
            grants.push(Grant::Slot(key));
        }
        while let Some(key) = self.queue.next(now) {
            let entry = self.entries.get(&key).expect("what is queued has an entry").clone();
            let slot = self.fits(self.tally.with_those_ahead(), entry.demand);
            // What is counted by time is not prepared for later: too many would start together then.
            let ahead = entry.ahead == Ahead::Yes && !self.queue.is_rated(&entry.ticket);
            if !slot && (!ahead || self.tally.ahead >= limits::ATTEMPTS_AHEAD_MAX) {
                break;
            }
            let ticket = entry.ticket.clone();
            self.put(key, Entry { hold: Hold::Granted, slot, ..entry });
            let turn = self.queue.took(key, &ticket, now);
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.turn = turn;
            }
            grants.push(Grant::Turn(key));
        }
        grants
    }

    /// Of the few in line: the tenant with the least, then the one whose turn came first, and of that one the most
    /// urgent attempt.
    fn next_in_line(&self) -> Option<(AttemptKey, Entry)> {
        let entries = || self.line.iter().filter_map(|(_, key)| Some((*key, self.entries.get(key)?)));
        let rank = |(_, entry): (AttemptKey, &'_ Entry)| {
            let tenant = Arc::clone(&entry.ticket.tenant);
            (self.queue.share_of(&tenant), entry.turn, tenant)
        };
        let (_, _, tenant) = entries().map(rank).min()?;
        let (key, entry) = entries().find(|(_, entry)| entry.ticket.tenant == tenant)?;
        Some((key, entry.clone()))
    }

    /// The attempt has a driver on `runtime`. One that may run holds a slot from now on, over the budget if need be;
    /// one that never did and was not granted here takes one if there is room. One whose end was observed stays ended.
    pub(super) fn drive(
        &mut self,
        key: AttemptKey,
        runtime: &str,
        demand: Demand,
        may_run: bool,
        ticket: Ticket,
    ) {
        if matches!(self.hold(key), Some(Hold::Driven { .. } | Hold::Ended)) {
            return;
        }
        let room = self.fits(self.tally.with_those_ahead(), demand);
        let slot = may_run || self.entries.get(&key).map_or(room, |entry| entry.slot);
        let hold = Hold::Driven { runtime: runtime.to_owned(), seen: Seen::Starting, ready: false };
        let known = self.entries.get(&key);
        let (since, turn) = known.map_or((Timestamp::from_millis(0), 0), |entry| (entry.since, entry.turn));
        // That it is driven means that its job has its place, durably.
        self.queue.hold(key.job, &ticket);
        self.put(key, Entry { demand, hold, since, ahead: Ahead::Yes, slot, ticket, turn });
    }

    /// The attempt exists, was never started, and lacks nothing but a slot. One that it holds over the budget it gives
    /// back: it does not run, as was feared.
    pub(super) fn ready(&mut self, key: AttemptKey) {
        let Some(entry) = self.entries.get(&key).cloned() else { return };
        let Hold::Driven { runtime, seen, ready: false } = entry.hold else { return };
        let slot = entry.slot && self.is_within_budget();
        let hold = Hold::Driven { runtime, seen, ready: true };
        self.put(key, Entry { hold, slot, ..entry });
    }

    /// What its driver now says of an attempt. One that runs holds a slot, whatever became of it before.
    pub(super) fn see(&mut self, key: AttemptKey, seen: Seen) {
        let Some(entry) = self.entries.get(&key).cloned() else { return };
        let Hold::Driven { runtime, ready, .. } = entry.hold else { return };
        let slot = entry.slot || seen == Seen::Running;
        self.put(key, Entry { hold: Hold::Driven { runtime, seen, ready }, slot, ..entry });
    }

    /// The attempt is over, or will never be: its slot is free.
    pub(super) fn end(&mut self, key: AttemptKey) {
        if let Some(entry) = self.entries.get(&key).cloned() {
            self.put(key, Entry { hold: Hold::Ended, slot: false, ..entry });
        }
    }

    /// Nothing of the attempt is of interest any more.
    pub(super) fn forget(&mut self, key: AttemptKey) -> Option<Hold> {
        let entry = self.entries.remove(&key)?;
        self.leave(key, &entry);
        // Given up before its job made it last that it has a place.
        if let (Hold::Waiting | Hold::Granted, Some(claim)) = (&entry.hold, &entry.ticket.claim)
            && !claim.held
        {
            self.queue.leave(key.job, &claim.concurrency.key);
        }
        Some(entry.hold)
    }

    fn fits(&self, used: Tally, demand: Demand) -> bool {
        used.held() == 0
            || (used.held() < self.budget.attempts_max
                && used.cpu_millis.saturating_add(demand.cpu_millis) <= self.cpu_millis_max
                && used.memory_bytes.saturating_add(demand.memory_bytes) <= self.budget.memory_bytes)
    }

    /// Whether what holds slots may do so together.
    fn is_within_budget(&self) -> bool {
        let used = &self.tally;
        used.held() <= 1
            || (used.held() <= self.budget.attempts_max
                && used.cpu_millis <= self.cpu_millis_max
                && used.memory_bytes <= self.budget.memory_bytes)
    }

    /// The only writer of entries: keeps the queue, the line and the tally in step with them.
    fn put(&mut self, key: AttemptKey, entry: Entry) {
        // First, so that its tenant is not forgotten in between.
        self.queue.count(&entry.ticket.tenant, isize::from(entry.slot), isize::from(entry.is_ahead()));
        if let Some(old) = self.entries.remove(&key) {
            self.leave(key, &old);
        }
        self.tally.add(&entry);
        if entry.hold == Hold::Waiting {
            self.queue.insert(key, &entry.ticket, entry.since);
        } else if entry.is_in_line() {
            self.line.insert(Waiting::urgency(&entry.ticket, entry.since, key));
        }
        self.entries.insert(key, entry);
    }

    fn leave(&mut self, key: AttemptKey, old: &Entry) {
        self.tally.take(old);
        self.queue.count(&old.ticket.tenant, -isize::from(old.slot), -isize::from(old.is_ahead()));
        if old.hold == Hold::Waiting {
            self.queue.remove(key, &old.ticket, old.since);
        } else if old.is_in_line() {
            self.line.remove(&Waiting::urgency(&old.ticket, old.since, key));
        }
    }
}

#[cfg(test)]
mod tests;
