//! The delivery of webhooks: one durable machine per job and target.
//!
//! Responsible for: order, the retry schedule, parking after the last try, replay. Not responsible for: the
//! request itself (`outbound`) and what is announced (`job::announce`).
//!
//! Invariants: messages of one job to one target are delivered in order, each at least once; a message leaves
//! the queue only after a 2xx; a parked delivery keeps its messages until it is replayed or its job is purged.

mod machine;
mod performer;
mod state;

pub use performer::WebhookPerformer;
pub use state::{Announcement, Delivery, Event, Phase, Post, Record, Rejected, WebhookId, WebhookView};
