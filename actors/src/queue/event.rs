//! What can happen to a queue, what it answers, and what it asks for. Data only.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::book::Digest;
use super::settings::Settings;
use crate::clock::Timestamp;
use crate::id::{AttemptKey, JobId};
use crate::units::Span;

/// What can happen to a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody declared it: creates the queue, or gives it other settings.
    Declared {
        /// With these.
        settings: Settings,
        /// Tells its receipts from those of an earlier queue of the same name; kept from the first declaration.
        incarnation: JobId,
    },
    /// Many clients asked something; all of it becomes durable together, in this order.
    Asked(Arc<[Request]>),
    /// Somebody wants it to go.
    DeleteRequested {
        /// With everything in it.
        force: bool,
    },
    /// A deadline passed, or a tick came early.
    Ticked,
    /// Its actor kept panicking.
    Quarantined {
        /// The last panic's text.
        reason: String,
    },
}

/// What one client asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// By which the answer finds him.
    pub ticket: u64,
    /// What.
    pub op: Op,
}

/// What one may ask of a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// To keep these messages: all or none.
    Send(Arc<[Fresh]>),
    /// To be given messages.
    Receive {
        /// At most so many.
        max: u32,
        /// For so long; the queue's own lease where nothing is said.
        lease: Option<Span>,
        /// The attempt of an instance of a pool that asks, where it is one.
        holder: Option<AttemptKey>,
    },
    /// To have a message longer, from now on.
    Renew {
        /// Which.
        seq: u64,
        /// By this lease.
        number: u32,
        /// For so long; the queue's own lease where nothing is said.
        lease: Option<Span>,
    },
    /// To be rid of messages that are done.
    Ack(Arc<[Ack]>),
    /// To give a message back that could not be done.
    Nack {
        /// Which.
        seq: u64,
        /// By this lease.
        number: u32,
        /// Not to be delivered before that time has passed.
        delay: Span,
        /// Why.
        error: Option<Arc<str>>,
    },
    /// To take back what nobody was there to receive: as if it had not been delivered.
    Return(Vec<Return>),
    /// To take back what an instance of a pool has that is over.
    Abandon {
        /// Which.
        holder: JobId,
    },
    /// To deliver dead letters again.
    Requeue(Which),
    /// To delete dead letters.
    Discard(Which),
}

/// A message that is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fresh {
    /// The higher, the earlier it is delivered.
    pub priority: i8,
    /// Not to be delivered before that time has passed.
    pub delay: Span,
    /// What stands for the id that its sender gave it.
    pub id: Option<Digest>,
    /// Bytes of its body.
    pub bytes: u32,
    /// The row of its body (see `rows::Body`).
    pub row: Arc<Vec<u8>>,
}

/// A message that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// Which.
    pub seq: u64,
    /// By this lease.
    pub number: u32,
    /// What came of it: JSON.
    pub result: Option<Arc<str>>,
}

/// A message that nobody was there to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// Which.
    pub seq: u64,
    /// By this lease.
    pub number: u32,
}

/// Which dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// One.
    One(u64),
    /// The first so many of those whose number is below.
    First {
        /// At most so many.
        most: u32,
        /// The first number that is not meant.
        below: u64,
    },
}

/// What is answered to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The messages are kept, in their order.
    Sent(Vec<Sent>),
    /// These are leased; none where there was none.
    Received(Vec<Leased>),
    /// The lease ends then.
    Renewed(Result<Timestamp, Stale>),
    /// Each is done, or its receipt was not good; in their order.
    Acked(Vec<Result<(), Stale>>),
    /// It is given back; whether it is a dead letter now.
    Nacked(Result<bool, Stale>),
    /// So many were moved.
    Moved(u32),
    /// The queue is full.
    Full,
    /// The queue takes no such requests (any more).
    Refused(Rejected),
}

/// A message that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its number.
    pub seq: u64,
    /// It had been sent before.
    pub duplicate: bool,
}

/// A message that is leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased {
    /// Which.
    pub seq: u64,
    /// By this lease.
    pub number: u32,
    /// Until then.
    pub until: Timestamp,
    /// How often it was delivered, this one included.
    pub deliveries: u32,
    /// Its priority.
    pub priority: i8,
    /// When it was sent.
    pub sent_at: Timestamp,
}

/// The receipt is not good any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale;

/// Why a message is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DeadLetterCause)]
pub enum Cause {
    /// It was given back too often.
    Failed,
    /// Its lease ran out too often.
    LeaseExpired,
    /// No worker took it in time.
    Expired,
}

/// What a queue asks of the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Tell each who asked.
    Answer(Arc<[(u64, Outcome)]>),
    /// So many messages wait for a worker.
    Ready(u64),
}

/// Why an event is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It goes.
    #[error("the queue is being deleted; declare it again when it is gone")]
    Deleting,
    /// Its actor kept panicking.
    #[error("the queue is stopped after repeated internal faults; declare it again to have it tried")]
    Quarantined,
    /// It is to be deleted, and there is something in it.
    #[error("the queue holds {0} messages; discard them with `?force=true`, or wait until they are done")]
    NotEmpty(u64),
}
