//! Who may start next: priorities, fair share among tenants, places under a key, rates.
//!
//! Pure. Responsible for: choosing among the attempts that wait for a slot, and for what becomes of a job for whose key
//! there is no place. Not responsible for: the slots themselves (`fleet::roster`), and for making a decision last:
//! what is decided here is a proposal until the job has committed it, and is told again by the jobs after a restart.
//!
//! ```text
//!   Waiting ─ tenants ─ lanes (one per key) ─ attempts, in the order of their urgency
//!      └───── groups (one per key): who lives under it, how many may
//! ```
//!
//! Invariants:
//! - under a key never more jobs hold a place than its limit, but those that held one before the limit was lowered;
//! - a place is held from the first grant of a job to its end or suspension, pauses between attempts included;
//! - of the tenants that may start something, the one with the fewest attempts for its weight is next; where they
//!   have equally many, the one that was served longest ago, by weight. Within a tenant the most urgent attempt is
//!   next, that is the one that waits longest, each point of priority being worth [`PRIORITY_POINT`] of waiting:
//!   so nobody starves, neither a small tenant nor a low priority;
//! - a decision costs the logarithm of the number of tenants and attempts, however many wait; a place that comes free
//!   costs one step per tenant that waits for the key.
//!
//! [`PRIORITY_POINT`]: crate::limits::PRIORITY_POINT

mod bucket;
mod explain;
mod group;
mod rules;
mod spec;
mod view;
mod waiting;

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::id::{AttemptKey, JobId};

pub use self::explain::{Hindrance, Stand};
pub use self::rules::{KeyRule, Rules, TENANT_DEFAULT, TenantRule};
pub use self::spec::{Concurrency, OnConflict, Rate};
pub use self::view::{AdmissionView, KeyView, TenantView};
pub(crate) use self::waiting::Waiting;

/// What an attempt is admitted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// For whom it counts.
    pub tenant: Arc<str>,
    /// How urgent it is: higher is earlier.
    pub priority: i16,
    /// The place that its job needs, where it needs one.
    pub claim: Option<Claim>,
}

impl Default for Ticket {
    fn default() -> Self {
        Self { tenant: Arc::from(TENANT_DEFAULT), priority: 0, claim: None }
    }
}

/// The wish of a job for a place under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Under which key, how many, and what else.
    pub concurrency: Arc<Concurrency>,
    /// Since when the job wants it: who came first.
    pub since: Timestamp,
    /// It was decided, durably, that it may wait.
    pub accepted: bool,
    /// It holds it, durably.
    pub held: bool,
}

/// What was decided about a job for whose key places are short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may wait, although it would rather be skipped.
    Accepted(AttemptKey),
    /// It is not to run.
    Skipped {
        /// Whose first attempt it would have been.
        key: AttemptKey,
        /// Why, in a sentence.
        message: String,
    },
    /// This job is to make room.
    Displaced {
        /// Which.
        victim: JobId,
        /// For whom.
        by: JobId,
    },
}
