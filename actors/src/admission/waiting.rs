//! The attempts that wait for a slot, and who of them is next. See the module above for the rules.
//!
//! Every change leaves `ready` true: it lists the tenants that may start something, each with its first attempt. What
//! blocks is noticed when it begins and when it ends, and never looked for: a lane whose key is full is in no list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bucket::Bucket;
use super::group::Group;
use super::rules::{Rules, TenantRule};
use super::spec::Rate;
use super::{Claim, Ticket, Verdict};
use crate::clock::Timestamp;
use crate::id::{AttemptKey, JobId};
use crate::limits::{PRIORITY_POINT, RATES_IDLE_MAX};

/// The order within a tenant: since when it would have waited without its priority, then its key.
pub(super) type Place = (i64, AttemptKey);
/// The order among tenants: what it runs for its weight, when it was served, its first attempt.
type Turn = (u64, u64, Place, Arc<str>);
/// A lane: the key, and whether what waits in it has its place already.
pub(super) type LaneKey = Option<(Arc<str>, bool)>;

/// One attempt counts so much for a tenant of weight 1: fine enough that weights up to a thousand differ, and divisible
/// by every weight up to sixteen, so that equal shares are equal numbers.
const SHARE: u64 = 720_720;

/// Whose bucket is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Sleeper {
    All,
    Tenant(Arc<str>),
    Key(Arc<str>),
}

/// One tenant.
#[derive(Debug, Default)]
pub(super) struct Tenant {
    pub(super) rule: TenantRule,
    /// Its attempts that hold a slot.
    pub(super) slots: usize,
    /// Its attempts that were granted ahead of one.
    pub(super) ahead: usize,
    pub(super) waiting: usize,
    /// How far it has been served: rises with each grant by what one is for its weight.
    pass: u64,
    bucket: Bucket,
    pub(super) asleep: Option<Timestamp>,
    pub(super) lanes: BTreeMap<LaneKey, Lane>,
    ready: BTreeSet<(Place, LaneKey)>,
    listed: Option<Turn>,
}

/// Attempts of one tenant and one key.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) waiting: BTreeSet<Place>,
    listed: Option<Place>,
}

impl Tenant {
    fn share(&self, attempts: usize) -> u64 {
        let attempts = u64::try_from(attempts).unwrap_or(u64::MAX);
        attempts.saturating_mul(SHARE) / u64::from(self.rule.weight.max(1))
    }

    pub(super) fn is_at_most(&self) -> bool {
        let most = self.rule.max_running.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        most.is_some_and(|most| self.slots + self.ahead >= most)
    }
}

/// Where an attempt stands within its tenant.
fn place(ticket: &Ticket, since: Timestamp, key: AttemptKey) -> Place {
    let worth = i64::try_from(PRIORITY_POINT.as_millis()).unwrap_or(i64::MAX);
    (since.as_millis().saturating_sub(i64::from(ticket.priority).saturating_mul(worth)), key)
}

fn lane_key(ticket: &Ticket) -> LaneKey {
    ticket.claim.as_ref().map(|claim| (Arc::from(claim.concurrency.key.as_str()), claim.held))
}

fn pop_due(of: &mut BTreeSet<(Timestamp, Sleeper)>, now: Timestamp) -> Option<Sleeper> {
    of.first().filter(|(at, _)| *at <= now)?;
    of.pop_first().map(|(_, who)| who)
}

/// Who waits, and what they wait for.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(super) rules: Rules,
    pub(super) tenants: BTreeMap<Arc<str>, Tenant>,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    ready: BTreeSet<Turn>,
    sleeping: BTreeSet<(Timestamp, Sleeper)>,
    /// Whose bucket is all that is left of it, until that is full.
    idle: BTreeSet<(Timestamp, Sleeper)>,
    all: Bucket,
    pub(super) all_asleep: Option<Timestamp>,
    /// The pass of who was served last: nobody who comes later begins behind it.
    pass: u64,
    seen: Timestamp,
    /// How often a lane or a tenant was put into its place: what the cost of a decision is measured in.
    #[cfg(test)]
    pub(crate) steps: u64,
}

impl Waiting {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            tenants: BTreeMap::new(),
            groups: BTreeMap::new(),
            ready: BTreeSet::new(),
            sleeping: BTreeSet::new(),
            idle: BTreeSet::new(),
            all: Bucket::default(),
            all_asleep: None,
            pass: 0,
            seen: Timestamp::from_millis(0),
            #[cfg(test)]
            steps: 0,
        }
    }

    /// An attempt waits from now on. Its job joins those of its key first: see [`Waiting::join`].
    pub(crate) fn insert(&mut self, key: AttemptKey, ticket: &Ticket, since: Timestamp) {
        let name = Arc::clone(&ticket.tenant);
        self.tenant(&name).waiting += 1;
        let lane = lane_key(ticket);
        let place = place(ticket, since, key);
        self.tenant(&name).lanes.entry(lane.clone()).or_default().waiting.insert(place);
        if let Some((key, _)) = &lane {
            self.group(key).tenants.insert(Arc::clone(&name));
        }
        self.refresh_lane(&name, &lane);
    }

    /// An attempt waits no more.
    pub(crate) fn remove(&mut self, key: AttemptKey, ticket: &Ticket, since: Timestamp) {
        let (name, lane) = (Arc::clone(&ticket.tenant), lane_key(ticket));
        let tenant = self.tenant(&name);
        let row = tenant.lanes.entry(lane.clone()).or_default();
        if row.waiting.remove(&place(ticket, since, key)) {
            tenant.waiting -= 1;
        }
        self.refresh_lane(&name, &lane);
    }

    /// A job wants a place under a key, or has one.
    pub(crate) fn join(&mut self, key: AttemptKey, ticket: &Ticket) -> Vec<Verdict> {
        let Some(claim) = &ticket.claim else { return vec![] };
        let open = !self.rules.recovering;
        self.change(claim, |group| group.join(key, claim, open))
    }

    /// A job has its place: it was granted one, or had it in an earlier life.
    pub(crate) fn hold(&mut self, job: JobId, ticket: &Ticket) {
        if let Some(claim) = &ticket.claim {
            self.change(claim, |group| group.hold(job, claim));
        }
    }

    /// A job lives no more under this key.
    pub(crate) fn leave(&mut self, job: JobId, key: &str) {
        let key: Arc<str> = Arc::from(key);
        if let Some(group) = self.groups.get_mut(&key) {
            group.leave(job);
            self.refresh_key(&key);
        }
    }

    fn change<T>(&mut self, claim: &Claim, change: impl FnOnce(&mut Group) -> T) -> T {
        let key: Arc<str> = Arc::from(claim.concurrency.key.as_str());
        let group = self.group(&key);
        let before = (group.lets_start(false), group.lets_start(true));
        let result = change(group);
        if before != (group.lets_start(false), group.lets_start(true)) {
            self.refresh_key(&key);
        }
        result
    }

    /// Everybody of an earlier life is known: what is limited may be granted, and conflicts are decided.
    pub(crate) fn open(&mut self) -> Vec<Verdict> {
        self.rules.recovering = false;
        let verdicts = self.groups.values_mut().flat_map(Group::decide).collect();
        let keys: Vec<_> = self.groups.keys().cloned().collect();
        keys.iter().for_each(|key| self.refresh_key(key));
        let names: Vec<_> = self.tenants.keys().cloned().collect();
        names.iter().for_each(|name| self.refresh_tenant(name));
        verdicts
    }

    /// Who was told to make room and has not yet.
    pub(crate) fn still_displaced(&self) -> Vec<Verdict> {
        self.groups.values().flat_map(Group::still_displaced).collect()
    }

    /// Who is next, if anybody may start.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<AttemptKey> {
        self.wake(now);
        let (_, _, (_, key), _) = self.ready.first().filter(|_| self.all_asleep.is_none())?;
        Some(*key)
    }

    /// When a token comes for which something may wait.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.sleeping.first().map(|(at, _)| *at)
    }

    /// What waits was granted: whoever it counts for was served. Answers how far the tenant had been before.
    pub(crate) fn took(&mut self, key: AttemptKey, ticket: &Ticket, now: Timestamp) -> u64 {
        let name = Arc::clone(&ticket.tenant);
        let floor = self.pass;
        let tenant = self.tenant(&name);
        let pass = tenant.pass.max(floor);
        tenant.pass = pass.saturating_add(tenant.share(1));
        self.pass = pass;
        if let Some(rate) = self.rules.rate {
            self.all.take(rate, now);
            self.all_asleep = self.sleep(Sleeper::All, self.all.ready_at(rate), now);
        }
        if let Some(rate) = self.tenant(&name).rule.rate {
            self.tenant(&name).bucket.take(rate, now);
            let ready_at = self.tenant(&name).bucket.ready_at(rate);
            self.tenant(&name).asleep = self.sleep(Sleeper::Tenant(Arc::clone(&name)), ready_at, now);
        }
        if let Some((of, _)) = lane_key(ticket)
            && let Some(rate) = self.group(&of).rate()
        {
            self.group(&of).bucket.take(rate, now);
            let ready_at = self.group(&of).bucket.ready_at(rate);
            self.group(&of).asleep = self.sleep(Sleeper::Key(Arc::clone(&of)), ready_at, now);
            self.refresh_key(&of);
        }
        self.hold(key.job, ticket);
        self.refresh_tenant(&name);
        pass
    }

    /// Whether this ticket counts for any rate: what is granted is to start at once then, and not be prepared for later.
    pub(crate) fn is_rated(&self, ticket: &Ticket) -> bool {
        let tenant = self.tenants.get(&ticket.tenant).and_then(|tenant| tenant.rule.rate);
        let key = lane_key(ticket).and_then(|(key, _)| self.groups.get(&key)?.rate());
        self.rules.rate.or(tenant).or(key).is_some()
    }

    fn sleep(&mut self, who: Sleeper, until: Timestamp, now: Timestamp) -> Option<Timestamp> {
        (until > now).then(|| {
            self.sleeping.insert((until, who));
            until
        })
    }

    /// The tenant has an attempt more or less that holds a slot, or is ahead of one.
    pub(crate) fn count(&mut self, tenant: &Arc<str>, slots: isize, ahead: isize) {
        if (slots, ahead) == (0, 0) {
            return;
        }
        let row = self.tenant(tenant);
        row.slots = row.slots.saturating_add_signed(slots);
        row.ahead = row.ahead.saturating_add_signed(ahead);
        self.refresh_tenant(tenant);
    }

    /// How much of the slots a tenant has, for its weight: of those in line the one with the least is next.
    pub(crate) fn share_of(&self, tenant: &Arc<str>) -> u64 {
        self.tenants.get(tenant).map_or(0, |tenant| tenant.share(tenant.slots))
    }

    /// The order within the tenant.
    pub(crate) fn urgency(ticket: &Ticket, since: Timestamp, key: AttemptKey) -> (i64, AttemptKey) {
        place(ticket, since, key)
    }

    fn wake(&mut self, now: Timestamp) {
        if now < self.seen {
            self.forgive(now);
        }
        self.seen = now;
        while let Some(who) = pop_due(&mut self.sleeping, now) {
            match who {
                Sleeper::All => self.all_asleep = None,
                Sleeper::Tenant(name) => {
                    self.tenant(&name).asleep = None;
                    self.refresh_tenant(&name);
                }
                Sleeper::Key(key) => {
                    self.group(&key).asleep = None;
                    self.refresh_key(&key);
                }
            }
        }
        while let Some(who) = pop_due(&mut self.idle, now) {
            match who {
                Sleeper::All => {}
                Sleeper::Tenant(name) => self.refresh_tenant(&name),
                Sleeper::Key(key) => self.refresh_key(&key),
            }
        }
    }

    /// The clock went back: no wait may be longer than filling a bucket takes.
    fn forgive(&mut self, now: Timestamp) {
        let sleeping = std::mem::take(&mut self.sleeping);
        for (_, who) in sleeping {
            let (bucket, rate) = match &who {
                Sleeper::All => (Some(&mut self.all), self.rules.rate),
                Sleeper::Tenant(name) => {
                    let tenant = self.tenants.get_mut(name);
                    let rate = tenant.as_ref().and_then(|tenant| tenant.rule.rate);
                    (tenant.map(|tenant| &mut tenant.bucket), rate)
                }
                Sleeper::Key(key) => {
                    let group = self.groups.get_mut(key);
                    let rate = group.as_ref().and_then(|group| group.rate());
                    (group.map(|group| &mut group.bucket), rate)
                }
            };
            let at = match (bucket, rate) {
                (Some(bucket), Some(rate)) => {
                    bucket.forgive(rate, now);
                    bucket.ready_at(rate)
                }
                _ => now,
            };
            self.sleeping.insert((at, who));
        }
    }

    fn tenant(&mut self, name: &Arc<str>) -> &mut Tenant {
        if !self.tenants.contains_key(name) {
            let rule = self.rules.tenants.get(&**name).copied().unwrap_or_default();
            let tenant = Tenant { rule, pass: self.pass, ..Tenant::default() };
            self.tenants.insert(Arc::clone(name), tenant);
        }
        self.tenants.get_mut(name).expect("it was put there")
    }

    fn group(&mut self, key: &Arc<str>) -> &mut Group {
        if !self.groups.contains_key(key) {
            let rule = self.rules.keys.get(&**key).copied().unwrap_or_default();
            self.groups.insert(Arc::clone(key), Group::new(key, rule));
        }
        self.groups.get_mut(key).expect("it was put there")
    }

    /// A key became full, or free, or nobody lives under it.
    fn refresh_key(&mut self, key: &Arc<str>) {
        let Some(group) = self.groups.get(key) else { return };
        for name in group.tenants.clone() {
            for held in [false, true] {
                self.refresh_lane(&name, &Some((Arc::clone(key), held)));
            }
        }
        let Some(group) = self.groups.get(key).filter(|group| group.is_idle()) else { return };
        if group.bucket.is_full(self.seen) || group.rate().is_none() {
            self.groups.remove(key);
            return;
        }
        self.idle.insert((group.bucket.full_at(), Sleeper::Key(Arc::clone(key))));
        // Too many are remembered for their rate alone: the one that would be forgotten next is now.
        if self.idle.len() > RATES_IDLE_MAX
            && let Some((_, Sleeper::Key(first))) = self.idle.pop_first()
            && self.groups.get(&first).is_some_and(Group::is_idle)
        {
            self.groups.remove(&first);
        }
    }

    fn refresh_lane(&mut self, name: &Arc<str>, key: &LaneKey) {
        self.step();
        let may_start = match key {
            None => true,
            Some((key, held)) => {
                !self.rules.recovering && self.groups.get(key).is_none_or(|group| group.lets_start(*held))
            }
        };
        let Some(tenant) = self.tenants.get_mut(name) else { return };
        let Some(lane) = tenant.lanes.get_mut(key) else { return };
        let head = lane.waiting.first().copied().filter(|_| may_start);
        let was = std::mem::replace(&mut lane.listed, head);
        if lane.waiting.is_empty() {
            tenant.lanes.remove(key);
        }
        if was != head {
            was.map(|was| tenant.ready.remove(&(was, key.clone())));
            head.map(|head| tenant.ready.insert((head, key.clone())));
        }
        if let Some((of, held)) = key
            && !tenant.lanes.contains_key(key)
            && !tenant.lanes.contains_key(&Some((Arc::clone(of), !held)))
            && let Some(group) = self.groups.get_mut(of)
        {
            group.tenants.remove(name);
        }
        self.refresh_tenant(name);
    }

    fn refresh_tenant(&mut self, name: &Arc<str>) {
        self.step();
        let recovering = self.rules.recovering;
        let Some(tenant) = self.tenants.get_mut(name) else { return };
        let gated = recovering && tenant.rule.max_running.is_some();
        let may_start = tenant.asleep.is_none() && !gated && !tenant.is_at_most();
        let head = tenant.ready.first().filter(|_| may_start).map(|(place, _)| *place);
        let share = tenant.share(tenant.slots + tenant.ahead);
        let turn = head.map(|head| (share, tenant.pass, head, Arc::clone(name)));
        if tenant.listed != turn {
            tenant.listed.take().map(|was| self.ready.remove(&was));
            tenant.listed.clone_from(&turn);
            self.ready.extend(turn);
        }
        let gone = tenant.lanes.is_empty() && tenant.slots + tenant.ahead == 0 && tenant.asleep.is_none();
        if gone && (tenant.bucket.is_full(self.seen) || tenant.rule.rate.is_none()) {
            self.tenants.remove(name);
        } else if gone {
            self.idle.insert((tenant.bucket.full_at(), Sleeper::Tenant(Arc::clone(name))));
        }
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "counted in tests"))]
    const fn step(&mut self) {
        #[cfg(test)]
        {
            self.steps += 1;
        }
    }
}

#[cfg(test)]
impl Waiting {
    /// Everybody who waits, in the order of one tenant.
    pub(crate) fn everybody(&self) -> BTreeSet<(i64, AttemptKey)> {
        let lanes = self.tenants.values().flat_map(|tenant| tenant.lanes.values());
        lanes.flat_map(|lane| lane.waiting.iter().copied()).collect()
    }
}

impl Waiting {
    /// The rate of all starts.
    pub(super) const fn rate(&self) -> Option<Rate> {
        self.rules.rate
    }
}
