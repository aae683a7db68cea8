//! Array jobs: one spec, run as many children as it says, each an ordinary job with an index.
//!
//! An array starts children as there is room for them, counts how they end, and decides what it comes to by its rule of
//! success. A child's id is made of the array's and its index, and it is submitted by a message of the commit in which
//! its index is taken: whatever dies, each index is started once and none is forgotten.
//!
//! Responsible for: which children there are, what became of each, and the end. Not responsible for: running a child,
//! its attempts and retries, which are those of any job.
//!
//! Invariants:
//! - there are never more children under way than `parallelism`;
//! - what a transition costs depends on that, and on a bit for each child, and not on how the children have ended;
//! - each child that was started is under way, or counted as succeeded, failed or cancelled, exactly once;
//! - an array is over only when nothing that it started is under way.

mod bits;
mod id;
mod machine;
mod performer;
mod rules;
mod spec;
mod state;
#[cfg(test)]
mod tests;
mod validate;
mod view;

pub use bits::Bits;
pub use id::{ArrayId, ParseArrayIdError};
pub use performer::ArrayPerformer;
pub(crate) use rules::LABEL;
pub use spec::{Spec, Success};
pub use state::{Array, Effect, Event, Given, Outcome, Phase, Record, Rejected};
pub(crate) use validate::validate;
pub use view::{ArrayCounts, ArrayProgress, ArrayState, ArrayView};
