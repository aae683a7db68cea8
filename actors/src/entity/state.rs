//! The state of an entity as its rules need it: numbers, and who holds it. What its code calls its state, and what
//! waits for it, are in its history.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::event::{Caller, Unlock};
use super::id::EntityId;
use super::runs::Runs;
use crate::clock::Timestamp;

/// An entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// Which.
    pub id: EntityId,
    /// How many entries its history has had.
    pub revision: u64,
    /// When its code last ran; when it was created, before that.
    pub modified_at: Timestamp,
    /// The entry with its state, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<u64>,
    /// The entries of what waits, in order of arrival; what is being run is still in it.
    #[serde(default, skip_serializing_if = "Runs::is_empty")]
    pub queue: Runs,
    /// The entries of what waits of whoever holds it: it comes before everything else.
    #[serde(default, skip_serializing_if = "Runs::is_empty")]
    pub own: Runs,
    /// The part of the queue that came before the lock was taken, and may hold something of its owner's.
    #[serde(default, skip_serializing_if = "Runs::is_empty")]
    pub unsearched: Runs,
    /// The newest entry of a lock request or an unlock: what is behind it is not one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub newest_gate: u64,
    /// The newest entry in the queue that an orchestration sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub newest_sent: u64,
    /// The entries of signals that wait for their time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scheduled: BTreeMap<u64, Timestamp>,
    /// The number of the last batch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub batch: u64,
    /// Whether that one is under way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_running: bool,
    /// Who holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// Why nothing of it is run: its actor kept panicking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An orchestration has an entity for itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lock {
    /// For which critical section.
    pub section: String,
    /// Who.
    pub owner: Caller,
    /// The entity to which the request went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<EntityId>,
}

impl Lock {
    /// Whether this is its end.
    pub fn ends_by(&self, unlock: &Unlock) -> bool {
        self.section == unlock.section && self.owner == unlock.owner
    }
}

impl Entity {
    /// How many operations and requests wait, those that are being run among them; not those that wait for their time.
    pub fn backlog(&self) -> u64 {
        self.queue.len() + self.own.len()
    }

    /// Whether nothing waits or runs and nobody holds it.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.own.is_empty() && self.lock.is_none()
    }

    /// Whether there is nothing to it: it only remembers requests for a while.
    pub fn is_empty(&self) -> bool {
        self.state.is_none() && self.is_idle() && self.scheduled.is_empty() && self.quarantined.is_none()
    }

    /// What comes next: while it is held, only what is its owner's.
    pub fn next_up(&self) -> &Runs {
        if self.lock.is_some() { &self.own } else { &self.queue }
    }

    /// Whether a batch of this number is under way.
    pub fn runs(&self, number: u64) -> bool {
        self.is_running && self.batch == number
    }

    /// Whether something else than an operation may come next.
    pub fn meets_gate(&self) -> bool {
        !self.unsearched.is_empty() || self.next_up().front().is_some_and(|front| front <= self.newest_gate)
    }
}
