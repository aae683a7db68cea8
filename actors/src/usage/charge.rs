//! What one ended attempt used, and to whom it is charged. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Usage;
use crate::clock::Timestamp;
use crate::durable::keys;
use crate::job::parent::Parent;
use crate::job::state::Job;
use crate::name::OWN_LABELS;
use crate::store::{Key, codec};

/// The version of stored charges and sums.
pub const VERSION: u8 = 1;

/// An hour in milliseconds: what the books are kept by.
const HOUR_MS: i64 = 3_600_000;

/// The hour of a time, counted from the epoch; a time before that is in the first.
pub fn hour_of(at: Timestamp) -> u32 {
    u32::try_from(at.as_millis().div_euclid(HOUR_MS).max(0)).unwrap_or(u32::MAX)
}

/// When an hour begins.
pub fn begin_of(hour: u32) -> Timestamp {
    Timestamp::from_millis(i64::from(hour) * HOUR_MS)
}

/// To whom something is charged. Absent parts mean that the job had none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Account {
    /// The tenant.
    #[serde(rename = "t", skip_serializing_if = "Option::is_none", default)]
    pub tenant: Option<String>,
    /// The job's name.
    #[serde(rename = "n", skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// What it ran on.
    #[serde(rename = "r", skip_serializing_if = "Option::is_none", default)]
    pub runtime: Option<String>,
    /// What started the job: `array:…`, `pool:…`, `schedule:…`, `trigger:…`, `orchestration`.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none", default)]
    pub source: Option<String>,
    /// The labels.
    #[serde(rename = "l", skip_serializing_if = "BTreeMap::is_empty", default)]
    pub labels: BTreeMap<String, String>,
    /// It stands for several that could not be kept apart.
    #[serde(rename = "o", skip_serializing_if = "std::ops::Not::not", default)]
    pub others: bool,
}

impl Account {
    /// Whose a job is.
    pub fn of(job: &Job) -> Self {
        let spec = &job.given.spec;
        // Some of ours are different for every job of an array or a trigger, and the source says what they say.
        let mut labels = spec.labels.clone();
        labels.retain(|key, _| !key.starts_with(OWN_LABELS));
        Self {
            tenant: spec.tenant.clone(),
            name: spec.name.clone(),
            runtime: Some(spec.runtime_name().to_owned()),
            source: job.given.parent.as_ref().map(source),
            others: false,
            labels,
        }
    }

    /// Where it goes when it cannot be kept apart: to what is known of the tenant and the runtime.
    pub fn of_tenant(&self) -> Self {
        Self { tenant: self.tenant.clone(), runtime: self.runtime.clone(), ..Self::of_all() }
    }

    /// Where it goes when not even that can be kept apart.
    pub fn of_all() -> Self {
        Self { others: true, ..Self::default() }
    }
}

fn source(parent: &Parent) -> String {
    match parent {
        Parent::Task(_) => "orchestration".to_owned(),
        Parent::Pool(parent) => format!("pool:{}", parent.pool),
        Parent::Schedule(parent) => format!("schedule:{}", parent.schedule),
        Parent::Array(parent) => format!("array:{}", parent.array),
        Parent::Trigger(parent) => format!("trigger:{}", parent.trigger),
    }
}

/// A row of the books that no sum contains yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Whose.
    #[serde(rename = "a")]
    pub account: Account,
    /// What was used.
    #[serde(rename = "u")]
    pub usage: Usage,
}

/// The row that goes with a transition of a job: of the attempt that ended by it. Its key names the attempt, so that it
/// is there once however often it is written. Its hour is by the clock of the books, not by that of the engine, which
/// may be on another host.
pub fn of_transition(old: Option<&Job>, new: &Job, now: Timestamp) -> Option<(Key, Vec<u8>)> {
    if new.charged == old.map_or(0, |old| old.charged) {
        return None;
    }
    let attempt = new.attempts.last()?;
    let charge = Charge { account: Account::of(new), usage: attempt.usage? };
    Some((keys::charge(hour_of(now), new.id, attempt.number), codec::encode(VERSION, &charge)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_found_again() {
        for (at, hour) in [(-5, 0), (0, 0), (3_599_999, 0), (3_600_000, 1), (i64::MAX, u32::MAX)] {
            assert_eq!(hour_of(Timestamp::from_millis(at)), hour, "{at}");
        }
        assert_eq!(hour_of(begin_of(495_000)), 495_000);
    }
}
