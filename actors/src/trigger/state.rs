//! The data of a trigger: what is in its snapshot, what is in memory beside it, its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::book::Book;
use super::id::TriggerId;
use super::object::{Key, Object};
use super::spec::Spec;
use crate::clock::Timestamp;
use crate::durable::Row;
pub use crate::durable::Said as Record;
use crate::id::JobId;
use crate::limits::TRIGGER_ITEMS_MAX;
pub use crate::schedule::{End, Origin, Run};
use crate::secret::Sealed;

/// What a trigger was declared with. A new declaration replaces all of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// What was asked for; holds no secrets.
    pub spec: Arc<Spec>,
    /// The secrets of its jobs, encrypted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vault: Option<Sealed>,
    /// What the vault is sealed for: random, and no job's id.
    pub seed: JobId,
    /// Who declared it.
    pub origin: Origin,
    /// Where its directory really is, without symbolic links; it has to stay there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub root: Option<String>,
}

/// A trigger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trigger {
    /// Which.
    pub id: TriggerId,
    /// How many entries its history has had.
    pub revision: u64,
    /// What it was declared with: stored in a row of its own.
    #[serde(skip)]
    pub given: Option<Arc<Given>>,
    /// Tells what it starts from what an earlier trigger of the same name started; random.
    pub incarnation: JobId,
    /// The number of its token: another number is another token.
    #[serde(default)]
    pub token: u32,
    /// When it was first declared.
    pub created_at: Timestamp,
    /// When it was last declared.
    pub updated_at: Timestamp,
    /// Counts the declarations that changed something.
    pub generation: u64,
    /// Where it stands.
    pub phase: Phase,
    /// The number of the item that arrives next.
    pub next: u64,
    /// How many items there are.
    pub counts: Counts,
    /// How many there ever were.
    pub totals: Totals,
    /// What is wrong with its source, where something is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fault: Option<String>,
    /// When something is due by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wake_at: Option<Timestamp>,
    /// All items. `None` where only the snapshot was read.
    #[serde(skip)]
    pub(super) book: Option<Book>,
    /// What was read back of items whose standing was not, yet.
    #[serde(skip)]
    pub(super) unread: BTreeMap<u64, Arc<Object>>,
    /// The rows that are to be written with this state; handed over before anybody sees it.
    #[serde(skip)]
    pub(super) unwritten: Vec<Row>,
}

/// Where a trigger stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It starts something for what arrives.
    Active,
    /// It starts nothing, and does not look at its source.
    Paused {
        /// Since when.
        since: Timestamp,
    },
    /// It goes when its last row is deleted.
    Deleting,
    /// Its actor kept panicking: nothing changes before it is declared again.
    Quarantined {
        /// The last panic's text.
        reason: String,
    },
}

/// How many items there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// They wait for room, or for their time.
    pub pending: u64,
    /// What was started for them is not over.
    pub running: u64,
    /// They are dead letters.
    pub dead: u64,
    /// They are over, and still shown.
    pub done: u64,
    /// Versions that are remembered.
    #[serde(default)]
    pub known: u64,
}

/// How many there ever were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Items that arrived, each once.
    pub arrived: u64,
    /// Jobs and instances that were started.
    pub started: u64,
    /// Items that were done.
    pub done: u64,
    /// Starts that came to nothing.
    pub failed: u64,
    /// Items that became dead letters.
    pub dead_lettered: u64,
}

/// What can happen to a trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody declared it: creates the trigger, or replaces what it was given.
    Declared {
        /// What it is given.
        given: Box<Given>,
        /// What tells it from an earlier one of this name, should it be new.
        incarnation: JobId,
    },
    /// Its source was looked at.
    Looked {
        /// What is there. What is known already changes nothing.
        found: Vec<Object>,
        /// What was there and is not any more.
        gone: Vec<Key>,
        /// What is wrong with it.
        fault: Option<String>,
    },
    /// A request came, and whoever made it waits to hear that it is kept.
    Called(Box<Object>),
    /// What was started for an item is over.
    RunEnded {
        /// Which item.
        item: u64,
        /// What.
        run: Box<Run>,
        /// How.
        end: Box<End>,
    },
    /// Somebody wants it to start nothing for now.
    PauseRequested,
    /// Somebody wants it to go on.
    ResumeRequested,
    /// Somebody wants its token to be another one.
    TokenRotated,
    /// Somebody wants dead letters to be tried again.
    Requeued(Which),
    /// Somebody wants dead letters to go; their versions stay known.
    Discarded(Which),
    /// Somebody wants it to go.
    DeleteRequested,
    /// A deadline passed, or a tick came early.
    Ticked,
    /// Its actor kept panicking.
    Quarantined {
        /// The last panic's text.
        reason: String,
    },
}

pub use crate::queue::Which;

/// What a trigger asks of the world besides messages to what it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Look at its source, from now on.
    Watch,
    /// Look at it no more.
    Unwatch,
}

/// Why an event is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It rests.
    #[error(
        "the trigger is quarantined after repeated internal faults: {0}; declare it again to have it tried"
    )]
    Quarantined(String),
    /// It goes.
    #[error("the trigger is being deleted; declare it again when it is gone")]
    Deleting,
    /// It holds as much as it may.
    #[error(
        "the trigger holds as much as it may, which is {TRIGGER_ITEMS_MAX} items; try again when some are over, or see to \
         its dead letters"
    )]
    Full,
    /// The same name with something else.
    #[error("the Idempotency-Key was used with another body; use another key")]
    Reused,
}

impl Trigger {
    /// What it was declared with.
    ///
    /// # Panics
    ///
    /// Never: the shell puts back what the snapshot does not hold before anything else is done with it.
    pub fn given(&self) -> &Arc<Given> {
        self.given.as_ref().expect("a trigger is read together with what it was given")
    }

    /// The spec that it was declared with.
    pub fn spec(&self) -> &Spec {
        &self.given().spec
    }

    /// All items; `None` where only the snapshot was read.
    pub const fn book(&self) -> Option<&Book> {
        self.book.as_ref()
    }
}
