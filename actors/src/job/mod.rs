//! One job: its spec, its state, its rules, and the performer of its effects.
//!
//! Everything here but `performer.rs` is pure: no clock, no store, no actor, no I/O. The rules are in
//! `transition.rs`; what they are made of in `draft.rs`; what an exit means in `verdict.rs`; what follows it
//! in `retry.rs`.
//!
//! Invariants:
//! - terminal is final, but for an explicit retry;
//! - an attempt's number is never used again, and an attempt is asked for only after the one before has ended;
//! - an attempt whose end is not known is never counted as ended.

mod announce;
pub mod cause;
mod draft;
pub mod effect;
pub mod event;
pub mod explain;
pub mod machine;
pub mod parent;
pub mod parse;
pub mod performer;
pub mod planner;
pub mod retry;
mod show;
pub mod spec;
pub mod state;
mod stop_signal;
mod transition;
pub mod validate;
mod verdict;
pub mod view;

pub use transition::Rejected;
