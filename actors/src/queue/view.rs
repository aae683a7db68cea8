//! A queue and its messages as the public contract shows them. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::event::Cause;
use super::settings::Settings;
use super::state::{Phase, Queue, Totals};
use crate::clock::Timestamp;

/// The states of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueState {
    /// It takes and gives messages.
    Active,
    /// It goes when its last message is deleted.
    Deleting,
    /// Its supervisor kept failing; declare it again to have it tried.
    Quarantined,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: QueueState,
    /// What it was declared with.
    #[schema(value_type = Settings)]
    pub settings: Settings,
    /// When it was first declared.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last declared.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Messages that wait for a worker or are with one.
    pub depth: u64,
    /// Messages that wait for a worker.
    pub ready: u64,
    /// Messages that workers have.
    pub leased: u64,
    /// Messages that wait for their time.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// How long the oldest message has waited that nobody has, in seconds; 0 where there is none.
    pub oldest_age_seconds: u64,
    /// Messages ever sent, without those that had been sent before.
    pub sent_total: u64,
    /// Messages ever delivered to workers.
    pub delivered_total: u64,
    /// Messages ever acknowledged.
    pub acknowledged_total: u64,
    /// Messages ever given back by workers.
    pub returned_total: u64,
    /// Leases that ever ran out.
    pub lease_expired_total: u64,
    /// Messages that ever became dead letters.
    pub dead_lettered_total: u64,
    /// The pool whose instances work on it.
    pub pool: Option<String>,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// It waits for a worker.
    Ready,
    /// It waits for its time.
    Delayed,
    /// A worker has it.
    Leased,
    /// It is a dead letter.
    Dead,
    /// It was acknowledged.
    Done,
}

/// One message.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = QueueMessageView)]
pub struct MessageView {
    /// Its number in the queue.
    pub id: String,
    /// Where it stands.
    pub state: MessageState,
    /// When it was sent, or last taken back from the dead letters.
    #[schema(value_type = String, format = DateTime)]
    pub sent_at: Timestamp,
    /// When that changes by itself: the end of its lease or of its delay.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Its priority.
    pub priority: i8,
    /// How often it was delivered.
    pub deliveries: u32,
    /// The id that its sender gave it.
    pub dedup_id: Option<String>,
    /// What its sender says of it.
    pub headers: BTreeMap<String, String>,
    /// Its body, while it is not done.
    #[schema(value_type = Option<Object>)]
    pub body: Option<Box<RawValue>>,
    /// How its last delivery failed.
    pub last_error: Option<String>,
    /// The result with which it was acknowledged.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Box<RawValue>>,
}

/// A message that is given to nobody any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Its number in the queue.
    pub id: String,
    /// Why.
    pub cause: Cause,
    /// How its last delivery failed.
    pub last_error: Option<String>,
    /// How often it was delivered.
    pub deliveries: u32,
    /// When it was sent.
    #[schema(value_type = String, format = DateTime)]
    pub sent_at: Timestamp,
    /// Since when it is dead.
    #[schema(value_type = String, format = DateTime)]
    pub dead_at: Timestamp,
    /// The id that its sender gave it.
    pub dedup_id: Option<String>,
}

impl Queue {
    /// The queue in the shape of the public contract.
    pub fn view(&self, now: Timestamp, pool: Option<String>) -> QueueView {
        let Totals { sent, delivered, acknowledged, returned, lease_expired, dead_lettered } = self.totals;
        QueueView {
            name: self.id.to_string(),
            state: match self.phase {
                Phase::Active => QueueState::Active,
                Phase::Deleting => QueueState::Deleting,
                Phase::Quarantined { .. } => QueueState::Quarantined,
            },
            settings: self.settings.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            depth: self.counts.ready + self.counts.leased,
            ready: self.counts.ready,
            leased: self.counts.leased,
            delayed: self.counts.delayed,
            dead: self.counts.dead,
            oldest_age_seconds: self.oldest_at.map_or(0, |sent_at| now.since(sent_at).as_secs()),
            sent_total: sent,
            delivered_total: delivered,
            acknowledged_total: acknowledged,
            returned_total: returned,
            lease_expired_total: lease_expired,
            dead_lettered_total: dead_lettered,
            pool,
        }
    }
}
