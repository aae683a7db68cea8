//! The data of a delivery: its id, state, events and effects.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::durable::MachineId;
use crate::id::JobId;
use crate::secret::Sealed;

/// Which webhook: the target's place in the job's `on_complete`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WebhookId {
    /// The job.
    pub job: JobId,
    /// Its place, from 0.
    pub target: u16,
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.target)
    }
}

impl MachineId for WebhookId {
    fn to_key(self) -> Vec<u8> {
        [&self.job.as_bytes()[..], &self.target.to_be_bytes()].concat()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        let (job, target) = bytes.split_at_checked(16)?;
        let target = u16::from_be_bytes(target.try_into().ok()?);
        Some(Self { job: JobId::from_key(job)?, target })
    }

    fn at_front(bytes: &[u8]) -> Option<Self> {
        Self::from_key(bytes.get(..18)?)
    }

    fn at_end(bytes: &[u8]) -> Option<Self> {
        Self::from_key(bytes.get(bytes.len().checked_sub(18)?..)?)
    }

    fn job(self) -> Option<JobId> {
        Some(self.job)
    }
}

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// Where to.
    pub url: String,
    /// The job's sealed secrets, among them the signing secret.
    pub vault: Option<Sealed>,
    /// What they are sealed for, where it is not the job.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sealed_for: Option<JobId>,
    /// The message's id: the same on every try.
    pub message: String,
    /// The CloudEvents type.
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub data: Value,
}

/// The delivery of one job's messages to one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Which.
    pub id: WebhookId,
    /// How many events were applied.
    pub revision: u64,
    /// What is not delivered yet, oldest first.
    pub queue: VecDeque<Announcement>,
    /// Where it stands.
    pub phase: Phase,
    /// Failed tries of the oldest message.
    pub tries: u32,
    /// Messages delivered.
    pub delivered: u32,
    /// What the last failed try said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_error: Option<String>,
    /// Where to, for people.
    pub url: String,
}

/// Where a delivery stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing to deliver.
    Idle,
    /// A request is under way; should its answer be lost, it is made again.
    Sending {
        /// When its answer counts as lost.
        until: Timestamp,
    },
    /// The next try waits.
    Waiting {
        /// Until when.
        until: Timestamp,
    },
    /// No more tries without a replay.
    Parked,
}

/// What can happen to a delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// There is something to tell.
    Announced(Box<Announcement>),
    /// A deadline passed.
    Ticked,
    /// The target took the message.
    Delivered {
        /// Which message.
        message: String,
        /// The HTTP status.
        status: u16,
    },
    /// It did not.
    Failed {
        /// Which message.
        message: String,
        /// Why.
        reason: String,
        /// No further try makes sense: the target is gone, or not allowed.
        permanent: bool,
    },
    /// A user wants a parked delivery to be tried again.
    ReplayRequested,
    /// The job is deleted, and the delivery with it.
    JobPurged,
    /// Its actor kept panicking.
    Quarantined {
        /// The last panic's text.
        reason: String,
    },
}

/// The one effect: make the request for this message.
#[derive(Debug, Clone, PartialEq)]
pub struct Post(pub Announcement);

/// A history entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

/// Why an event is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Only a parked delivery can be replayed.
    #[error("the webhook is not parked; there is nothing to replay")]
    NotParked,
}

/// A delivery as its users see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WebhookView {
    /// The target's place in the job's `on_complete`, from 0.
    pub target: u16,
    /// Where to.
    pub url: String,
    /// `idle`, `sending`, `waiting` or `parked`.
    pub state: String,
    /// Messages delivered.
    pub delivered: u32,
    /// Messages not delivered yet.
    pub pending: usize,
    /// Failed tries of the oldest of those.
    pub tries: u32,
    /// What the last failed try said.
    pub last_error: Option<String>,
    /// When the next try is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
}

impl WebhookView {
    /// A target that was never told anything.
    pub(crate) fn idle(target: u16, url: &str) -> Self {
        let (url, state) = (url.to_owned(), "idle".to_owned());
        Self { target, url, state, delivered: 0, pending: 0, tries: 0, last_error: None, next_at: None }
    }
}

impl Delivery {
    /// The delivery in the shape of the public contract.
    pub fn view(&self) -> WebhookView {
        let (state, next_at) = match self.phase {
            Phase::Idle => ("idle", None),
            Phase::Sending { .. } => ("sending", None),
            Phase::Waiting { until } => ("waiting", Some(until)),
            Phase::Parked => ("parked", None),
        };
        WebhookView {
            target: self.id.target,
            url: self.url.clone(),
            state: state.to_owned(),
            delivered: self.delivered,
            pending: self.queue.len(),
            tries: self.tries,
            last_error: self.last_error.clone(),
            next_at,
        }
    }
}
