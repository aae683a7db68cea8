//! The state of a job: everything that is stored of it but its history.
//!
//! Each phase carries its own data, so that "running without an attempt" cannot be written. How phases follow
//! each other is in `transition.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cause::Cause;
use super::parent::Parent;
use super::spec::Spec;
use super::view::{AttemptState, JobState};
use crate::clock::Timestamp;
use crate::files::Artifact;
use crate::id::{AttemptKey, JobId};
use crate::runtime::{Exit, Running};
use crate::secret::Sealed;
use crate::usage::Usage;

/// What a job was given when it was submitted. It never changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Given {
    /// What was asked for; holds no secrets.
    pub spec: Arc<Spec>,
    /// The spec's secrets, encrypted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vault: Option<Sealed>,
    /// The digest of the idempotency key it was submitted with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub claim: Option<String>,
    /// Who is told its end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parent: Option<Parent>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// How many events were applied.
    pub revision: u64,
    /// What was asked for: stored in a row of its own.
    #[serde(skip)]
    pub given: Arc<Given>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When its first attempt was seen running.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub started_at: Option<Timestamp>,
    /// From when `timeout` counts: the first start, or the last time it was resumed or retried.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub clock_from: Option<Timestamp>,
    /// Where it stands.
    pub phase: Phase,
    /// Its attempts, oldest first; the newest `ATTEMPTS_KEPT_MAX`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub attempts: Vec<Attempt>,
    /// The number of the newest attempt; 0 before the first.
    #[serde(default)]
    pub attempt: u32,
    /// Attempts that count against `max_attempts`.
    #[serde(default)]
    pub spent: u32,
    /// Retries in a row: the exponent of the backoff.
    #[serde(default)]
    pub streak: u32,
    /// What the runtime's trouble with the newest attempt is; cleared when the attempt is seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trouble: Option<Trouble>,
    /// Containers of the newest attempt whose last probe failed, with what it saw.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub failing_probes: BTreeMap<String, String>,
    /// Since when attempts end by faults of the infrastructure, without one in between that did not: what the
    /// budget of elapsed time is measured from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failing_since: Option<Timestamp>,
    /// What its attempt last said of its progress.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub progress: Option<Value>,
    /// The data of its terminal callback.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output: Option<Value>,
    /// Callbacks and raised events applied so far.
    #[serde(default)]
    pub events_received: u32,
    /// Its place among the jobs with the same concurrency key, from when it asks for its first slot to its end or its
    /// suspension.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place: Option<KeyPlace>,
    /// What all its ended attempts used, also those that are not kept.
    #[serde(skip_serializing_if = "Usage::is_zero", default)]
    pub usage: Usage,
    /// How many attempts that is.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub charged: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The place of a job among those with the same concurrency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPlace {
    /// Since when it asks.
    pub since: Timestamp,
    /// It was decided that it may wait. Durable, so that it is not decided anew after a restart.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub accepted: bool,
    /// It has it: its first attempt was granted. Durable before anything of that attempt exists.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub held: bool,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// `queued`: its time has not come.
    Delayed {
        /// When it comes.
        until: Timestamp,
    },
    /// `queued`: waits for the fleet to grant a slot to attempt `attempt + 1`.
    Queued {
        /// Since when.
        since: Timestamp,
    },
    /// `suspended`: waits for `resume`.
    Suspended,
    /// `starting`: the intent is durable; the fleet creates and starts the attempt. `queued` while it has no slot, because
    /// it is prepared ahead.
    Starting,
    /// `running`: the attempt was seen running.
    Running {
        /// As what.
        running: Running,
        /// How far its service is.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        service: Option<ServicePhase>,
    },
    /// `running`: the attempt exited, and only a callback may say what that means.
    AwaitingCallback {
        /// How it ended.
        exit: Exit,
        /// Until when a callback may come.
        until: Timestamp,
    },
    /// `stopping`: the attempt has to end, and then something follows.
    Stopping {
        /// What follows.
        then: Then,
        /// When the stop is sent, to let an attempt that called back end by itself; `None` once it is sent.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        stop_at: Option<Timestamp>,
    },
    /// `backing_off`: the next attempt waits.
    BackingOff {
        /// Until when.
        until: Timestamp,
    },
    /// Over.
    Finished(Outcome),
}

/// How far the service of a running attempt is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServicePhase {
    /// The start call is to be made, again and again until it is accepted.
    Starting {
        /// When to try next.
        next_at: Timestamp,
        /// When to give up.
        until: Timestamp,
    },
    /// It works.
    Started {
        /// When to poll next; `None` when it is not polled.
        poll_at: Option<Timestamp>,
        /// Since when polls fail.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        failing_since: Option<Timestamp>,
    },
}

/// What follows when the attempt of a stopping job has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The job is cancelled.
    Cancel,
    /// The job is cancelled, because another one wants its place.
    GiveWay {
        /// Which.
        by: JobId,
    },
    /// The job is suspended.
    Suspend,
    /// A new attempt, not counted.
    Restart,
    /// The attempt ended with this, whatever its exit says; policy decides what follows.
    Conclude(Ending),
    /// The job fails with this, whatever the policy says.
    Fail(Ending),
}

/// How an attempt ended, as the job sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// Why.
    pub cause: Cause,
    /// One sentence, and what to do.
    pub message: String,
}

impl Ending {
    /// An ending.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into() }
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// `succeeded`, `failed` or `cancelled`.
    pub state: JobState,
    /// Why, in a word and a sentence.
    #[serde(flatten)]
    pub ending: Ending,
    /// When.
    pub at: Timestamp,
}

/// A time of infrastructure faults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// Since when.
    pub since: Timestamp,
    /// What was last said.
    pub message: String,
}

/// The record of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// When it was its turn.
    pub granted_at: Timestamp,
    /// It was its turn before there was a slot for it; not told any more once it has run.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub ahead: bool,
    /// It was let start. Durable before a start is asked for: from then on it may have run.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub let_start: bool,
    /// The runtime's own name of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runtime_id: Option<String>,
    /// When it was started.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finished_at: Option<Timestamp>,
    /// Its exit code; 128 + n for signal n.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit_code: Option<i32>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ending: Option<Ending>,
    /// What was collected of it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub artifacts: Vec<Artifact>,
    /// Which output was not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output_fault: Option<String>,
    /// What it used, as its runtime measured it; once it has ended, in any case.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub usage: Option<Usage>,
}

impl Job {
    /// The key of the newest attempt.
    pub fn attempt_key(&self) -> AttemptKey {
        AttemptKey::new(self.id, self.attempt)
    }

    /// Its state in the words of the contract.
    pub fn state(&self) -> JobState {
        match &self.phase {
            Phase::Delayed { .. } | Phase::Queued { .. } => JobState::Queued,
            Phase::Suspended => JobState::Suspended,
            // To its user it waits for a slot, whatever is prepared meanwhile.
            Phase::Starting if self.attempts.last().is_some_and(|attempt| attempt.ahead) => JobState::Queued,
            Phase::Starting => JobState::Starting,
            Phase::Running { .. } | Phase::AwaitingCallback { .. } => JobState::Running,
            Phase::Stopping { .. } => JobState::Stopping,
            Phase::BackingOff { .. } => JobState::BackingOff,
            Phase::Finished(outcome) => outcome.state,
        }
    }

    /// How it ended, when it did.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Finished(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether an attempt of it may be prepared before there is a slot. Not where the time in the queue is limited, because
    /// that is left then.
    pub fn may_go_ahead(&self) -> bool {
        self.given.spec.queue_timeout.is_none()
    }

    /// Whether its newest attempt may exist in the world.
    pub fn has_attempt(&self) -> bool {
        matches!(
            self.phase,
            Phase::Starting | Phase::Running { .. } | Phase::AwaitingCallback { .. } | Phase::Stopping { .. }
        )
    }

    /// An artifact by its name, and the attempt that left it: this one, or the newest that has it.
    pub fn artifact(&self, name: &str, attempt: Option<u32>) -> Option<(u32, &Artifact)> {
        let attempts = self.attempts.iter().rev();
        let mut found = attempts.filter(|record| attempt.is_none_or(|wanted| wanted == record.number));
        found.find_map(|record| {
            let artifact = record.artifacts.iter().find(|artifact| artifact.name == name)?;
            Some((record.number, artifact))
        })
    }

    /// The record of the newest attempt.
    pub(super) fn newest(&mut self) -> Option<&mut Attempt> {
        let number = self.attempt;
        self.attempts.last_mut().filter(|attempt| attempt.number == number)
    }

    /// The state of one attempt's record.
    pub(crate) fn attempt_state(&self, attempt: &Attempt) -> AttemptState {
        let is_newest = attempt.number == self.attempt;
        match &self.phase {
            _ if attempt.finished_at.is_some() || !is_newest => AttemptState::Exited,
            Phase::Starting => AttemptState::Starting,
            Phase::Stopping { .. } => AttemptState::Stopping,
            Phase::Running { .. } => AttemptState::Running,
            _ => AttemptState::Exited,
        }
    }
}
