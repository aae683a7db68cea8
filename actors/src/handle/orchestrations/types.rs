//! The shapes of questions and answers about orchestrations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::orchestration::history::Trace;
use crate::orchestration::state::Orchestration;
use crate::orchestration::view::InstanceView;
use crate::orchestration::{InstanceId, Payload, Status};

/// An instance to be started.
#[derive(Debug, Clone, Default)]
pub struct StartOrder {
    /// The name of the orchestration.
    pub name: String,
    /// Its input.
    pub input: Payload,
    /// The instance's id; without one it gets a random one.
    pub id: Option<InstanceId>,
    /// The version; without one the newest.
    pub version: Option<String>,
    /// What to write on it.
    pub tags: BTreeMap<String, String>,
    /// Not before this time.
    pub start_at: Option<Timestamp>,
    /// The trace that it belongs to.
    pub trace: Option<Trace>,
    /// An instance with this id in one of these states is replaced.
    pub replaces: Vec<Status>,
}

impl StartOrder {
    /// An instance of this orchestration with this input.
    pub fn new(name: impl Into<String>, input: impl Into<Payload>) -> Self {
        Self { name: name.into(), input: input.into(), ..Self::default() }
    }

    /// With this id.
    #[must_use]
    pub fn id(mut self, id: InstanceId) -> Self {
        self.id = Some(id);
        self
    }
}

/// How much of an instance is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reads {
    /// Its input.
    pub input: bool,
    /// Its output.
    pub output: bool,
}

impl Reads {
    /// All of it.
    pub const ALL: Self = Self { input: true, output: true };
}

/// An instance as it is recorded.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its state; it exists.
    pub state: Arc<Orchestration>,
    /// The input of its execution, where it was read.
    pub input: Option<Payload>,
    /// Its output, once it has completed, where it was read.
    pub output: Option<Payload>,
}

impl Instance {
    /// What clients are shown.
    pub fn view(&self) -> Option<InstanceView> {
        let mut view = self.state.view()?;
        view.input = self.input.as_ref().map(Payload::value);
        view.output = self.output.as_ref().map(Payload::value);
        Some(view)
    }
}

/// An event to be raised.
#[derive(Debug, Clone, Default)]
pub struct Raise {
    /// Its name.
    pub name: String,
    /// Its payload.
    pub data: Payload,
    /// What makes a repetition one.
    pub id: Option<String>,
    /// How long it waits for an instance that does not exist yet; without it there must be one.
    pub keep: Option<Duration>,
}

impl Raise {
    /// An event of this name.
    pub fn new(name: impl Into<String>, data: impl Into<Payload>) -> Self {
        Self { name: name.into(), data: data.into(), ..Self::default() }
    }
}

/// Which instances to list. All given conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct InstanceFilter {
    /// In this task hub; without one in the default one.
    pub hub: Option<String>,
    /// In one of these states; empty means any.
    pub statuses: Vec<Status>,
    /// Of this orchestration.
    pub name: Option<String>,
    /// With these tags.
    pub tags: BTreeMap<String, String>,
    /// Whose id begins so.
    pub id_prefix: Option<String>,
    /// Created at this time or later.
    pub created_after: Option<Timestamp>,
    /// Created before this time.
    pub created_before: Option<Timestamp>,
    /// At most so many (1 to [`crate::limits::LIST_PAGE_MAX`]); 0 means the default.
    pub limit: usize,
    /// Only those behind this one: the last of the page before.
    pub cursor: Option<String>,
    /// How much of each is read.
    pub reads: Reads,
}

/// A page of instances as they are recorded, newest first.
#[derive(Debug, Clone)]
pub struct Instances {
    /// The instances.
    pub instances: Vec<Instance>,
    /// Give it as the cursor for the next page; `None` on the last.
    pub next: Option<String>,
}

/// Which of those that are over to list, by when they were.
#[derive(Debug, Clone, Default)]
pub struct FinishedFilter {
    /// In this task hub; without one in the default one.
    pub hub: Option<String>,
    /// In one of these states; empty means any.
    pub statuses: Vec<Status>,
    /// Over at this time or later.
    pub from: Option<Timestamp>,
    /// Over before this time.
    pub before: Option<Timestamp>,
    /// At most so many (1 to [`crate::limits::LIST_PAGE_MAX`]); 0 means the default.
    pub limit: usize,
    /// Only those behind this one: the last of the page before.
    pub cursor: Option<String>,
}

/// A page of instances, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InstancePage {
    /// The instances.
    pub instances: Vec<InstanceView>,
    /// Give it as the cursor for the next page; `None` on the last.
    #[serde(rename = "next_cursor")]
    pub next: Option<String>,
}

/// What a purge by filter came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Purged {
    /// How many instances were deleted.
    pub deleted: u64,
    /// Whether none is left that fits.
    pub is_complete: bool,
}
