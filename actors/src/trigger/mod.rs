//! Triggers: files, objects in buckets, requests and messages, for each of which one job or one orchestration is started.
//!
//! What is at a source becomes *items*: one for each version of an object, whatever is seen of it and however often. An
//! item is noted, and what is started for it put into the outbox, in one commit each; what was started reports its end
//! the same way. So whatever dies in between, nothing is started twice and nothing is lost. Of each item there are rows
//! beside the snapshot, and a transition writes only those of the items that it touches.
//!
//! Responsible for: which versions are known, how many run at once, trying again, dead letters (pure: `machine.rs`,
//! `steps.rs`, `starts.rs`, `book.rs`); for looking at directories and buckets and taking messages from queues (`watcher.rs` and what
//! is below it). Not responsible for: running what is started, and who may call (`handle::triggers`, HTTP).
//!
//! Invariants:
//! - a version of an object that is remembered is one item for ever; it is remembered while it is at its source;
//! - for an item at most one run goes on at a time, and it is started at most `max_deliveries` times before it is a dead
//!   letter, which only people bring back;
//! - no more run at once than the trigger says, and what is held and remembered is bounded; what there is no room for
//!   stays where it is;
//! - what tells of changes is a hint: a look at the source decides.

pub mod book;
mod directory;
mod hints;
mod id;
mod lookout;
mod machine;
mod messages;
mod object;
mod objects;
mod pattern;
mod performer;
mod rows;
mod settling;
mod spec;
mod starts;
mod state;
mod steps;
#[cfg(test)]
mod tests;
mod validate;
mod view;
mod watcher;

pub use id::{ParseTriggerIdError, TriggerId};
pub(crate) use lookout::Lookout;
pub use object::{Key, Kind, Object};
pub use performer::TriggerPerformer;
pub use spec::{Directory, Http, Messages, Objects, Source, Spec, TriggeredOrchestration};
pub use state::{
    Counts, Effect, End, Event, Given, Origin, Phase, Record, Rejected, Run, Totals, Trigger, Which,
};
pub(crate) use validate::validate;
pub use view::{ItemState, ItemView, TriggerState, TriggerView};
pub(crate) use watcher::Watcher;
