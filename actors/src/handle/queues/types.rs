//! What is sent to queues and what they give, in the shape of the public contract.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::queue::DeadLetter;
use crate::units::Span;

/// A message that is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// Any JSON; a text is a JSON string.
    #[schema(value_type = Object)]
    pub body: Value,
    /// An id of the sender's own: while it is remembered, the same one sent again is no second message.
    #[serde(default)]
    pub id: Option<String>,
    /// Not to be delivered before that time has passed.
    #[serde(default = "no_delay")]
    pub delay: Span,
    /// From -100 to 100: the higher, the earlier it is delivered.
    #[serde(default)]
    pub priority: i8,
    /// What is to be known of it besides.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

const fn no_delay() -> Span {
    Span::from_millis(0)
}

/// A message that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SentMessage {
    /// Its number in the queue.
    pub id: String,
    /// It had been sent before; this is the number of that one.
    pub duplicate: bool,
}

/// What a worker asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Receive {
    /// How many messages at most: 1 to 1,000.
    pub max: u32,
    /// For how long they are leased; the queue's own lease where nothing is said.
    pub lease: Option<Span>,
    /// How long to wait when there is none: up to 60s.
    pub wait: Span,
}

impl Default for Receive {
    fn default() -> Self {
        Self { max: 1, lease: None, wait: Span::from_millis(0) }
    }
}

/// A message that is leased to a worker.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReceivedMessage {
    /// Its number in the queue.
    pub id: String,
    /// What its lease is proved with.
    pub receipt: String,
    /// Its body.
    #[schema(value_type = Object)]
    pub body: Box<RawValue>,
    /// What its sender says of it.
    pub headers: BTreeMap<String, String>,
    /// Its priority.
    pub priority: i8,
    /// How often it was delivered, this time included.
    pub deliveries: u32,
    /// When it was sent.
    #[schema(value_type = String, format = DateTime)]
    pub sent_at: Timestamp,
    /// Until when nobody else is given it.
    #[schema(value_type = String, format = DateTime)]
    pub leased_until: Timestamp,
    /// The id that its sender gave it.
    pub dedup_id: Option<String>,
}

/// A message that is to be leased longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// The receipt of its lease.
    pub receipt: String,
    /// For how long from now on; the queue's own lease where nothing is said.
    #[serde(default)]
    pub lease: Option<Span>,
}

/// A lease that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Renewed {
    /// Until when nobody else is given the message.
    #[schema(value_type = String, format = DateTime)]
    pub leased_until: Timestamp,
}

/// A message that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// The receipt of its lease.
    pub receipt: String,
    /// What came of it: any JSON.
    #[serde(default, deserialize_with = "there")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
}

/// One of several messages that are done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeOne {
    /// Its number in the queue.
    pub id: String,
    /// The receipt of its lease.
    pub receipt: String,
    /// What came of it: any JSON.
    #[serde(default, deserialize_with = "there")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
}

/// A result that is `null` is one.
fn there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What became of the receipt of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Acknowledged {
    /// The number of the message.
    pub id: String,
    /// Whether the message is done by this receipt, now or before.
    pub acknowledged: bool,
}

/// A message that could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveBack {
    /// The receipt of its lease.
    pub receipt: String,
    /// Not to be delivered before that time has passed.
    #[serde(default = "no_delay")]
    pub delay: Span,
    /// Why: up to 2,000 characters.
    #[serde(default)]
    pub error: Option<String>,
}

/// What became of a message that was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GivenBack {
    /// Whether it is a dead letter now.
    pub dead: bool,
}

/// Some of the dead letters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadPage {
    /// By number.
    pub messages: Vec<DeadLetter>,
    /// What to ask for as `after` to be told the next; `null` where there are none.
    pub next_after: Option<String>,
}
