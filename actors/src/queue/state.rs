//! The data of a queue: what is in its snapshot, and what is in memory beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::book::Book;
use super::id::QueueId;
use super::settings::Settings;
use crate::clock::Timestamp;
use crate::durable::Row;
pub use crate::durable::Said as Record;
use crate::id::JobId;

/// A queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Queue {
    /// Which.
    pub id: QueueId,
    /// How many entries its history has had.
    pub revision: u64,
    /// What it was declared with.
    pub settings: Settings,
    /// Tells its receipts from those of an earlier queue of the same name.
    pub incarnation: JobId,
    /// When it was first declared.
    pub created_at: Timestamp,
    /// When it was last declared.
    pub updated_at: Timestamp,
    /// Where it stands.
    pub phase: Phase,
    /// The number of the message that is sent next.
    pub next: u64,
    /// How many messages there are.
    pub counts: Counts,
    /// How many there ever were.
    pub totals: Totals,
    /// When the message was sent that waits for the longest time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub oldest_at: Option<Timestamp>,
    /// When something is due by itself, or was before something earlier was done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wake_at: Option<Timestamp>,
    /// How many messages the instances of pools have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub holders: BTreeMap<JobId, u32>,
    /// All messages. `None` where only the snapshot was read.
    #[serde(skip)]
    pub(super) book: Option<Book>,
    /// The rows that are to be written with this state; handed over before anybody sees it.
    #[serde(skip)]
    pub(super) unwritten: Vec<Row>,
}

/// Where a queue stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It takes and gives messages.
    Active,
    /// It goes when its last message is deleted.
    Deleting,
    /// Its actor kept panicking: nothing changes before it is declared again.
    Quarantined {
        /// The last panic's text.
        reason: String,
    },
}

/// How many messages there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// They wait for a worker.
    pub ready: u64,
    /// Workers have them.
    pub leased: u64,
    /// They wait for their time.
    pub delayed: u64,
    /// They are dead letters.
    pub dead: u64,
    /// They were acknowledged, and are remembered.
    pub done: u64,
}

impl Counts {
    /// What there is to lose.
    pub const fn held(&self) -> u64 {
        self.ready + self.leased + self.delayed + self.dead
    }
}

/// How many messages there ever were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Sent, without those that had been sent before.
    pub sent: u64,
    /// Delivered to workers.
    pub delivered: u64,
    /// Acknowledged.
    pub acknowledged: u64,
    /// Given back by workers.
    pub returned: u64,
    /// Leases that ran out.
    pub lease_expired: u64,
    /// That became dead letters.
    pub dead_lettered: u64,
}

impl Queue {
    /// All messages; `None` where only the snapshot was read.
    pub const fn book(&self) -> Option<&Book> {
        self.book.as_ref()
    }
}
