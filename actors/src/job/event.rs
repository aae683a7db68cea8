//! What can happen to a job: past tense for facts, `…Requested` for wishes of users. Data only.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::parent::Parent;
use super::spec::Spec;
use crate::files::Collected;
use crate::id::JobId;
use crate::runtime::{Exit, Running, StartFault};
use crate::secret::Sealed;

/// An event of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A user submitted it. Creates the job; for an existing one it is a conflict.
    Submitted(Box<Submitted>),
    /// A deadline of the job passed, or a tick came early.
    Ticked,
    /// The fleet has room for its next attempt, or will have soon.
    SlotGranted {
        /// Which attempt.
        attempt: u32,
        /// There is no slot yet: it is only prepared.
        ahead: bool,
    },
    /// The job may wait for its place, although it would rather be skipped.
    PlaceAccepted {
        /// For which attempt it was asked.
        attempt: u32,
    },
    /// There is no place for the job, and it does not want to wait.
    Skipped {
        /// For which attempt it was asked.
        attempt: u32,
        /// Why there is none.
        message: String,
    },
    /// Another job wants its place.
    Displaced {
        /// Which.
        by: JobId,
    },
    /// The attempt is created and waits to be started.
    AttemptPrepared {
        /// Which attempt.
        attempt: u32,
    },
    /// The attempt was seen running.
    AttemptStarted {
        /// Which attempt.
        attempt: u32,
        /// As what.
        running: Running,
    },
    /// The attempt was seen to be over.
    AttemptExited {
        /// Which attempt.
        attempt: u32,
        /// How it ended.
        exit: Exit,
    },
    /// The attempt was seen to be over, and its outputs were collected.
    OutputsCollected {
        /// Which attempt.
        attempt: u32,
        /// How it ended.
        exit: Exit,
        /// What came of its outputs.
        outputs: Box<Collected>,
    },
    /// The attempt can never start.
    AttemptStartFailed {
        /// Which attempt.
        attempt: u32,
        /// Which kind of fault.
        fault: StartFault,
        /// What happened.
        message: String,
    },
    /// The attempt was stopped before it started.
    AttemptNeverStarted {
        /// Which attempt.
        attempt: u32,
    },
    /// The attempt is gone without an exit.
    AttemptVanished {
        /// Which attempt.
        attempt: u32,
    },
    /// The runtime cannot be asked about the attempt; it is unknown, and that changes nothing by itself.
    TroubleSeen {
        /// Which attempt.
        attempt: u32,
        /// What the runtime says.
        message: String,
    },
    /// A probe of one of its containers failed.
    ProbeFailed {
        /// Which attempt.
        attempt: u32,
        /// Which container.
        container: String,
        /// How often in a row by now.
        failures: u32,
        /// What the probe saw.
        message: String,
    },
    /// A probe passed that had failed, or that is the first.
    ProbePassed {
        /// Which attempt.
        attempt: u32,
        /// Which container.
        container: String,
    },
    /// The service accepted the call that starts its work.
    ServiceStarted {
        /// Which attempt.
        attempt: u32,
        /// The body of its answer.
        answer: Value,
    },
    /// The service did not accept the call.
    ServiceStartFailed {
        /// Which attempt.
        attempt: u32,
        /// What happened.
        message: String,
        /// It refused for good (4xx); otherwise it may not be ready yet.
        refused: bool,
    },
    /// The service answered a poll.
    ServicePolled {
        /// Which attempt.
        attempt: u32,
        /// The body of its answer.
        answer: Value,
    },
    /// The service did not answer a poll.
    ServicePollFailed {
        /// Which attempt.
        attempt: u32,
        /// What happened.
        message: String,
    },
    /// The attempt called back.
    CallbackReceived {
        /// Which attempt.
        attempt: u32,
        /// `completed`, `failed`, `progress` or another name.
        name: String,
        /// Its payload.
        data: Value,
    },
    /// Somebody raised an event from outside; means what a callback of the newest attempt means.
    EventRaised {
        /// `completed`, `failed`, `progress` or another name.
        name: String,
        /// Its payload.
        data: Value,
    },
    /// A user wants it to stop for good.
    CancelRequested,
    /// A user wants it to pause.
    SuspendRequested,
    /// A user wants it to go on.
    ResumeRequested,
    /// A user wants a new attempt now.
    RestartRequested,
    /// A user wants a failed or cancelled job to run again.
    RetryRequested,
    /// A user wants it to be deleted.
    PurgeRequested,
    /// Its actor kept panicking.
    Quarantined {
        /// The last panic's text.
        reason: String,
    },
}

/// A submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submitted {
    /// What to run; its secrets are taken out.
    pub spec: Arc<Spec>,
    /// Its secrets.
    pub vault: Option<Sealed>,
    /// The digest of the client's idempotency key, in hexadecimal, so that a purge frees the key.
    pub claim: Option<String>,
    /// Who is told its end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parent: Option<Parent>,
}

impl Event {
    /// The name in histories.
    pub fn name(&self) -> &str {
        match self {
            Self::Submitted(_) => "submitted",
            Self::Ticked => "deadline_passed",
            Self::SlotGranted { .. } => "slot_granted",
            Self::PlaceAccepted { .. } => "place_accepted",
            Self::Skipped { .. } => "skipped",
            Self::Displaced { .. } => "displaced",
            Self::AttemptPrepared { .. } => "attempt_prepared",
            Self::AttemptStarted { .. } => "attempt_started",
            Self::AttemptExited { .. } | Self::OutputsCollected { .. } => "attempt_exited",
            Self::AttemptStartFailed { .. } => "attempt_start_failed",
            Self::AttemptNeverStarted { .. } => "attempt_never_started",
            Self::AttemptVanished { .. } => "attempt_vanished",
            Self::TroubleSeen { .. } => "trouble_seen",
            Self::ProbeFailed { .. } => "probe_failed",
            Self::ProbePassed { .. } => "probe_passed",
            Self::ServiceStarted { .. } => "service_started",
            Self::ServiceStartFailed { .. } => "service_start_failed",
            Self::ServicePolled { .. } => "service_polled",
            Self::ServicePollFailed { .. } => "service_poll_failed",
            Self::CallbackReceived { .. } => "callback_received",
            Self::EventRaised { .. } => "event_raised",
            Self::CancelRequested => "cancel_requested",
            Self::SuspendRequested => "suspend_requested",
            Self::ResumeRequested => "resume_requested",
            Self::RestartRequested => "restart_requested",
            Self::RetryRequested => "retry_requested",
            Self::PurgeRequested => "purge_requested",
            Self::Quarantined { .. } => "quarantined",
        }
    }

    /// The attempt that a report of the fleet or of a service is about. Callbacks are not among them: what
    /// comes late from the fleet is of no interest, a late callback must be told so.
    pub fn reported_attempt(&self) -> Option<u32> {
        match self {
            Self::SlotGranted { attempt, .. }
            | Self::AttemptPrepared { attempt }
            | Self::AttemptStarted { attempt, .. }
            | Self::AttemptExited { attempt, .. }
            | Self::OutputsCollected { attempt, .. }
            | Self::AttemptStartFailed { attempt, .. }
            | Self::AttemptNeverStarted { attempt }
            | Self::AttemptVanished { attempt }
            | Self::TroubleSeen { attempt, .. }
            | Self::ProbeFailed { attempt, .. }
            | Self::ProbePassed { attempt, .. }
            | Self::ServiceStarted { attempt, .. }
            | Self::ServiceStartFailed { attempt, .. }
            | Self::ServicePolled { attempt, .. }
            | Self::ServicePollFailed { attempt, .. } => Some(*attempt),
            _ => None,
        }
    }
}
