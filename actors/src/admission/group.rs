//! The jobs of one key: who lives under it, who holds a place, who has to give way. Pure.
//!
//! Invariant: `order` is everybody who lives under the key and was not told to give way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bucket::Bucket;
use super::rules::KeyRule;
use super::spec::{Concurrency, OnConflict, Rate};
use super::{Claim, Verdict};
use crate::clock::Timestamp;
use crate::id::{AttemptKey, JobId};

/// The limit of a key for which nobody names one any more: it was declared in a configuration that is gone.
const LIMIT_UNKNOWN: u32 = 1;

/// Since when a job asks, and which.
type Place = (Timestamp, JobId);

/// One key.
#[derive(Debug)]
pub(super) struct Group {
    key: Arc<str>,
    rule: KeyRule,
    /// What the newest job says that names a limit, and which one that is.
    said_limit: Option<(Place, u32)>,
    /// The same of the rate.
    said_rate: Option<(Place, Rate)>,
    pub(super) bucket: Bucket,
    /// No token before then.
    pub(super) asleep: Option<Timestamp>,
    members: BTreeMap<JobId, Timestamp>,
    holders: BTreeSet<JobId>,
    order: BTreeSet<Place>,
    /// Who was told to give way and is still there, and for whom.
    displaced: BTreeMap<JobId, JobId>,
    /// Whose conflicts are decided when everybody is known.
    undecided: BTreeMap<Place, (AttemptKey, OnConflict)>,
    /// The tenants that wait for it.
    pub(super) tenants: BTreeSet<Arc<str>>,
}

impl Group {
    /// A key for which the operator declares this.
    pub(super) fn new(key: &Arc<str>, rule: KeyRule) -> Self {
        Self {
            key: Arc::clone(key),
            rule,
            said_limit: None,
            said_rate: None,
            bucket: Bucket::default(),
            asleep: None,
            members: BTreeMap::new(),
            holders: BTreeSet::new(),
            order: BTreeSet::new(),
            displaced: BTreeMap::new(),
            undecided: BTreeMap::new(),
            tenants: BTreeSet::new(),
        }
    }

    /// How many may hold a place; `None` for a key that only has a rate.
    pub(super) fn limit(&self) -> Option<u32> {
        let said = || self.said_limit.map(|(_, limit)| limit);
        self.rule.limit.or_else(said).or_else(|| self.rate().is_none().then_some(LIMIT_UNKNOWN))
    }

    /// How often may be started.
    pub(super) fn rate(&self) -> Option<Rate> {
        self.rule.rate.or_else(|| self.said_rate.map(|(_, rate)| rate))
    }

    /// Whether an attempt of a job that has (not) its place may start, as far as this key is concerned.
    pub(super) fn lets_start(&self, held: bool) -> bool {
        self.asleep.is_none() && (held || !self.is_full())
    }

    /// Whether every place is held.
    pub(super) fn is_full(&self) -> bool {
        self.limit().is_some_and(|limit| self.holders.len() >= most(limit))
    }

    /// A job lives under it from now on. With `decide` its conflict is decided; else when all are known.
    pub(super) fn join(&mut self, key: AttemptKey, claim: &Claim, decide: bool) -> Vec<Verdict> {
        self.live(key.job, claim);
        if claim.held {
            self.holders.insert(key.job);
            return vec![];
        }
        let conflict = claim.concurrency.on_conflict;
        if conflict == OnConflict::Queue || claim.accepted {
            return vec![];
        }
        self.undecided.insert((claim.since, key.job), (key, conflict));
        if decide { self.decide() } else { vec![] }
    }

    fn live(&mut self, job: JobId, claim: &Claim) {
        let place = (claim.since, job);
        let Concurrency { limit, rate, .. } = *claim.concurrency;
        newest(&mut self.said_limit, place, limit);
        newest(&mut self.said_rate, place, rate);
        if let Some(since) = self.members.insert(job, claim.since) {
            self.order.remove(&(since, job));
        }
        if !self.displaced.contains_key(&job) {
            self.order.insert(place);
        }
    }

    /// The job has its place.
    pub(super) fn hold(&mut self, job: JobId, claim: &Claim) {
        if !self.members.contains_key(&job) {
            self.live(job, claim);
        }
        self.undecided.remove(&(claim.since, job));
        self.holders.insert(job);
    }

    /// The job lives no more.
    pub(super) fn leave(&mut self, job: JobId) {
        if let Some(since) = self.members.remove(&job) {
            self.order.remove(&(since, job));
            self.undecided.remove(&(since, job));
        }
        self.holders.remove(&job);
        self.displaced.remove(&job);
    }

    /// Decides every conflict that is not, the oldest first.
    pub(super) fn decide(&mut self) -> Vec<Verdict> {
        let mut verdicts = vec![];
        while let Some((place, (key, conflict))) = self.undecided.pop_first() {
            let Some(limit) = self.limit().map(most) else { continue };
            let older = self.older_than(place, limit);
            match conflict {
                OnConflict::Skip if older >= limit => {
                    verdicts.push(Verdict::Skipped { key, message: self.full_message() });
                    self.leave(key.job);
                }
                OnConflict::Skip => verdicts.push(Verdict::Accepted(key)),
                OnConflict::Replace => verdicts.extend(self.displace(place, limit)),
                OnConflict::Queue => {}
            }
        }
        verdicts
    }

    /// How many are older, counted no further than to `enough`.
    fn older_than(&self, place: Place, enough: usize) -> usize {
        if self.order.last() == Some(&place) {
            return self.order.len() - 1;
        }
        self.order.range(..place).take(enough).count()
    }

    /// The oldest give way until there is a place for the one at `place`.
    fn displace(&mut self, place: Place, limit: usize) -> Vec<Verdict> {
        let older = if self.order.last() == Some(&place) {
            self.order.len() - 1
        } else {
            self.order.range(..place).count()
        };
        let excess = (older + 1).saturating_sub(limit);
        let victims: Vec<_> = self.order.range(..place).take(excess).copied().collect();
        let give_way = |(since, victim): Place| {
            self.order.remove(&(since, victim));
            self.undecided.remove(&(since, victim));
            self.displaced.insert(victim, place.1);
            Verdict::Displaced { victim, by: place.1 }
        };
        victims.into_iter().map(give_way).collect()
    }

    /// Who was told to give way and is still there: told again, in case it was not heard.
    pub(super) fn still_displaced(&self) -> impl Iterator<Item = Verdict> {
        self.displaced.iter().map(|(victim, by)| Verdict::Displaced { victim: *victim, by: *by })
    }

    fn full_message(&self) -> String {
        let key = &self.key;
        let limit = self.limit().unwrap_or(LIMIT_UNKNOWN);
        format!("skipped: {limit} jobs with the concurrency key `{key}` live already, which is its limit")
    }

    /// Some of those that hold a place.
    pub(super) fn holders(&self) -> impl ExactSizeIterator<Item = JobId> {
        self.holders.iter().copied()
    }

    /// How many live under it and hold no place.
    pub(super) fn waiting(&self) -> usize {
        self.members.len().saturating_sub(self.holders.len())
    }

    /// Whether nobody would miss it.
    pub(super) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.tenants.is_empty() && self.asleep.is_none()
    }
}

/// Keeps what the newest says, if it says anything.
fn newest<T>(known: &mut Option<(Place, T)>, place: Place, said: Option<T>) {
    let is_newer = known.as_ref().is_none_or(|(by, _)| *by <= place);
    if let Some(said) = said.filter(|_| is_newer) {
        *known = Some((place, said));
    }
}

fn most(limit: u32) -> usize {
    usize::try_from(limit.max(1)).unwrap_or(usize::MAX)
}
