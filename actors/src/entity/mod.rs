//! Durable entities: named objects with a state, each of which does one thing after another; virtual actors.
//!
//! An entity is one more machine in the durable shell. What it is to do waits in its history, in the order in which it
//! came; its code, which runs elsewhere, is given a batch of that with the state, and what comes of it is one commit:
//! the new state, the answers to whoever called, the signals that it sent and the orchestrations that it started. A
//! batch whose worker died is run again, and nothing of the lost one was seen. An orchestration may have a set of
//! entities for itself for a while.
//!
//! Not responsible for: what an operation does (an [`executor::EntityExecutor`] has it done), and who may ask for what.
//!
//! Invariants: at most one batch of an entity is accepted per number; each operation is accepted once, in the order in
//! which those of one sender came; while an entity is locked only its owner's operations are run; no lock outlives its
//! owner's execution; the snapshot does not grow with the state, nor with the length of the queue.

pub mod batch;
pub mod event;
pub mod executor;
pub mod id;
pub mod machine;
pub mod runs;
pub mod state;
pub mod stored;
mod transition;

pub use self::batch::{Batch, BatchOutcome};
pub use self::event::Signal;
pub use self::id::EntityId;
pub use self::state::Entity;
