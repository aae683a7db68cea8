//! Why an attempt waits, in words. Pure; a look and never a decision.

use std::sync::Arc;

use super::Ticket;
use super::waiting::Waiting;
use crate::clock::Timestamp;
use crate::id::{AttemptKey, JobId};
use crate::limits::PLACES_COUNTED_MAX;

/// Holders of a key that are named.
const HOLDERS_NAMED: usize = 3;

/// Where an attempt stands among those that wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// How many of its tenant and key are before it; counted to [`PLACES_COUNTED_MAX`].
    pub before: usize,
    /// What holds it back first.
    pub hindrance: Hindrance,
}

/// What holds an attempt back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hindrance {
    /// Every slot is taken, or it is not its turn.
    Slot,
    /// After a start everybody is asked first who holds what.
    Recovering,
    /// Every place of its key is held.
    Key {
        /// Which key.
        key: String,
        /// How many places there are.
        limit: u32,
        /// Some of those that hold them.
        holders: Vec<JobId>,
    },
    /// Its tenant runs as many as it may.
    Tenant {
        /// Which tenant.
        tenant: String,
        /// How many that is.
        max_running: u32,
    },
    /// So many were started that the next has to wait.
    Rate {
        /// Whose rate.
        of: String,
        /// Until when.
        until: Timestamp,
    },
}

impl Stand {
    /// The kind of the wait: one word.
    pub const fn kind(&self) -> &'static str {
        match self.hindrance {
            Hindrance::Slot | Hindrance::Recovering => "slot",
            Hindrance::Key { .. } => "concurrency",
            Hindrance::Tenant { .. } => "tenant",
            Hindrance::Rate { .. } => "rate",
        }
    }

    /// What it waits for, as the end of a sentence.
    pub fn what(&self) -> String {
        let what = match &self.hindrance {
            Hindrance::Slot => "a free slot to run in".to_owned(),
            Hindrance::Recovering => "the jobs of before the restart to be brought back".to_owned(),
            Hindrance::Key { key, limit, holders } => {
                let named: Vec<_> = holders.iter().take(HOLDERS_NAMED).map(JobId::to_string).collect();
                let more = if holders.len() > named.len() { " and others" } else { "" };
                format!(
                    "a place under the concurrency key `{key}`, of whose {limit} each is held ({}{more})",
                    named.join(", ")
                )
            }
            Hindrance::Tenant { tenant, max_running } => {
                format!("an attempt of the tenant `{tenant}` to end, which may run {max_running} at once")
            }
            Hindrance::Rate { of, .. } => format!("the next start that the rate of {of} allows"),
        };
        match self.before {
            0 => format!("{what}, and is the next of its kind"),
            many if many >= PLACES_COUNTED_MAX => format!("{what}, with {many} or more before it"),
            many => format!("{what}, with {many} before it"),
        }
    }

    /// When that passes by itself, where it does.
    pub const fn due(&self) -> Option<Timestamp> {
        match self.hindrance {
            Hindrance::Rate { until, .. } => Some(until),
            _ => None,
        }
    }
}

impl Waiting {
    /// Where an attempt stands that waits.
    pub(crate) fn stand(&self, key: AttemptKey, ticket: &Ticket, since: Timestamp) -> Option<Stand> {
        let lane_key =
            ticket.claim.as_ref().map(|claim| (Arc::from(claim.concurrency.key.as_str()), claim.held));
        let tenant = self.tenants.get(&ticket.tenant)?;
        let lane = tenant.lanes.get(&lane_key)?;
        let place = Self::urgency(ticket, since, key);
        let before = lane.waiting.range(..place).take(PLACES_COUNTED_MAX).count();
        Some(Stand { before, hindrance: self.hindrance(ticket) })
    }

    fn hindrance(&self, ticket: &Ticket) -> Hindrance {
        let group = ticket.claim.as_ref().and_then(|claim| {
            let key = &claim.concurrency.key;
            self.groups.get(key.as_str()).map(|group| (key, claim.held, group))
        });
        if let Some((key, held, group)) = group {
            if self.rules.recovering {
                return Hindrance::Recovering;
            }
            if !held && let Some(limit) = group.limit().filter(|_| group.is_full()) {
                let holders = group.holders().take(HOLDERS_NAMED + 1).collect();
                return Hindrance::Key { key: key.clone(), limit, holders };
            }
            if let Some(until) = group.asleep {
                return Hindrance::Rate { of: format!("the concurrency key `{key}`"), until };
            }
        }
        let Some(tenant) = self.tenants.get(&ticket.tenant) else { return Hindrance::Slot };
        let name = &ticket.tenant;
        if let Some(max_running) = tenant.rule.max_running.filter(|_| tenant.is_at_most()) {
            return Hindrance::Tenant { tenant: name.to_string(), max_running };
        }
        if let Some(until) = tenant.asleep {
            return Hindrance::Rate { of: format!("the tenant `{name}`"), until };
        }
        match self.all_asleep {
            Some(until) => Hindrance::Rate { of: "all starts".to_owned(), until },
            None => Hindrance::Slot,
        }
    }
}
