//! Pools: sets of identical jobs whose number follows a demand, down to zero.
//!
//! A pool is declared with the spec of its jobs, which are its instances, and with the source of its demand. So far
//! there is one: activities that wait for a worker. How many instances are wanted, which of them go, and when the next
//! one is started after a failure are the rules in `machine.rs` and `rules.rs`. A pool knows nothing of what it serves
//! but the numbers that it is told of it ([`Demand`]): another source needs another watcher, and no other rule.
//!
//! Responsible for: the number of instances, draining, backing off, and what may be told of both. Not responsible for:
//! running an instance, which is a job like any other and outlives this process; handing out work (the remote
//! executor); what an instance may ask for (`handle::pools`).
//!
//! Invariants:
//! - there are never more instances than `max`, in whatever state they are;
//! - an instance is told to stop only when it takes no more work and has none, or when its pool is deleted;
//! - a failure is followed by a pause, which doubles: never a hot loop;
//! - an instance is forgotten only after its job has told its end.

pub mod explain;
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
mod watcher;

pub use id::{ParsePoolIdError, PoolId};
pub use performer::PoolPerformer;
pub use spec::{Activity, Source, Spec};
pub use state::{
    Demand, Effect, End, Event, Failing, Failure, Given, Instance, Mode, Phase, Pool, Record, Rejected, Seen,
};
pub(crate) use validate::{overlap, validate};
pub use view::{FailureView, InstanceView, PoolState, PoolView};
pub(crate) use watcher::Watcher;
