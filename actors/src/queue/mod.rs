//! Work queues: messages that workers lease, and that come back unless they are acknowledged.
//!
//! A queue is one machine, whatever the number of its messages. Its snapshot is small; of each message there are rows
//! beside it, one that never changes (the body) and one that says where it stands, and a transition writes only those of
//! the messages that it touches. In memory is an index of all of them ([`book::Book`]), which is read back from the rows.
//!
//! Responsible for: order, leases and their expiry, delays, duplicates, dead letters, and what may be told of them
//! (pure: `machine.rs`, `steps.rs`, `book.rs`); for letting the requests of many clients share a commit and for waking
//! those who wait (`desk.rs`, `clerk.rs`). Not responsible for: who may ask (`handle::queues`, HTTP), and how many workers
//! there are (`pool`).
//!
//! Invariants:
//! - a message that was accepted is there until it is acknowledged, or dead and discarded, or its queue is deleted;
//! - between the start of a lease and its end nobody else is given the message;
//! - a message is acknowledged once, by the lease that is good at that moment; every other receipt changes nothing;
//! - a message is delivered at most `max_deliveries` times before it is a dead letter;
//! - a transition costs the same whether the queue is short or long.

pub mod book;
mod clerk;
pub(crate) mod desk;
mod event;
mod id;
mod machine;
mod performer;
mod rows;
pub(crate) mod settings;
mod state;
mod steps;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use clerk::Clerk;
pub(crate) use desk::Desk;
pub use event::{
    Ack, Cause, Effect, Event, Fresh, Leased, Op, Outcome, Rejected, Request, Return, Sent, Stale, Which,
};
pub use id::{ParseQueueIdError, QueueId};
pub use performer::QueuePerformer;
pub use rows::{Body, LastError, Names};
pub use settings::Settings;
pub use state::{Counts, Phase, Queue, Record, Totals};
pub use view::{DeadLetter, MessageState, MessageView, QueueState, QueueView};
