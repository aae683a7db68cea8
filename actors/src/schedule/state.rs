//! The data of a schedule: what it was given, its state, events.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::ScheduleId;
use super::plan::{Plan, PlanError};
use super::spec::Spec;
use crate::array::ArrayId;
use crate::clock::Timestamp;
pub use crate::durable::Said as Record;
use crate::id::JobId;
use crate::job::view::JobState;
use crate::orchestration::InstanceId;
use crate::secret::Sealed;

/// What a schedule was declared with. A new declaration replaces all of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// What was asked for; holds no secrets.
    pub spec: Arc<Spec>,
    /// The secrets of its jobs, encrypted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vault: Option<Sealed>,
    /// What the vault is sealed for, and what the ids of jobs are made of: random, and no job's id.
    pub seed: JobId,
    /// Who declared it.
    pub origin: Origin,
}

/// Who declared a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ScheduleOrigin)]
pub enum Origin {
    /// A client.
    Api,
    /// The configuration: it goes when it is no longer there.
    Config,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Which.
    pub id: ScheduleId,
    /// How many entries its history has had.
    pub revision: u64,
    /// What it was declared with: stored in a row of its own.
    #[serde(skip)]
    pub given: Option<Arc<Given>>,
    /// When it was first declared.
    pub created_at: Timestamp,
    /// When it was last declared.
    pub updated_at: Timestamp,
    /// Counts the declarations that changed something.
    pub generation: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Every time up to this one is settled, and never comes again.
    pub settled: Timestamp,
    /// The next time, and when it fires for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<Upcoming>,
    /// How many fires there were: each has a number of its own.
    pub number: u64,
    /// How many of them started something.
    pub started: u64,
    /// How many of them started nothing.
    pub skipped: u64,
    /// How many times were missed and not made up for.
    pub missed: u64,
    /// Those that wait or run, and the last ones that are over; oldest first.
    #[serde(skip_serializing_if = "VecDeque::is_empty", default)]
    pub fires: VecDeque<Fire>,
}

/// Where a schedule stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It fires at its times.
    Active,
    /// It fires when it is triggered, and not at its times.
    Paused {
        /// Since when.
        since: Timestamp,
    },
    /// Its actor kept panicking: nothing changes before it is declared again.
    Quarantined {
        /// The last panic's text.
        reason: String,
    },
}

/// A time that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upcoming {
    /// The time.
    pub scheduled_at: Timestamp,
    /// When the schedule fires for it.
    pub due_at: Timestamp,
}

/// A fire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fire {
    /// Which, from 1.
    pub number: u64,
    /// The time that it is for; of a triggered one when it was triggered.
    pub scheduled_at: Timestamp,
    /// When it came.
    pub fired_at: Timestamp,
    /// It came late.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub past_due: bool,
    /// Somebody triggered it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub triggered: bool,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a fire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It waits for the end of what runs.
    Queued,
    /// What it started is not over.
    Running {
        /// What.
        run: Run,
        /// It was told to stop.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        stopping: bool,
    },
    /// What it started is over.
    Ended {
        /// What.
        run: Run,
        /// How.
        end: End,
        /// When.
        at: Timestamp,
    },
    /// It started nothing.
    Skipped {
        /// Why.
        reason: Skip,
    },
}

/// What a fire started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "the ids of instances are short texts by value")]
pub enum Run {
    /// A job.
    Job(JobId),
    /// An instance of an orchestration.
    Instance(InstanceId),
    /// An array of jobs.
    Array(ArrayId),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// `succeeded`, `failed` or `cancelled`.
    pub state: JobState,
    /// One sentence for people, where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
}

/// Why a fire started nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// What was started before is not over.
    Overlap,
    /// As many wait as may.
    QueueFull,
    /// As many run as may.
    TooMany,
    /// A newer one came before its turn.
    Replaced,
    /// What it starts was accepted once and cannot be started any more.
    Unusable,
}

/// What can happen to a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody declared it: creates the schedule, or replaces what it was given.
    Declared(Box<Given>),
    /// Somebody wants it to fire no more at its times.
    PauseRequested,
    /// Somebody wants it to fire at its times again.
    ResumeRequested,
    /// Somebody wants it to fire now.
    Triggered,
    /// Something that it started is over.
    RunEnded {
        /// What.
        run: Box<Run>,
        /// How.
        end: Box<End>,
    },
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

/// What a schedule asks of the world: nothing but messages to what it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {}

/// Why an event is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It rests.
    #[error(
        "the schedule is quarantined after repeated internal faults: {0}; declare it again to have it tried"
    )]
    Quarantined(String),
}

impl Schedule {
    /// What it was declared with.
    ///
    /// # Panics
    ///
    /// Never: the shell puts back what the snapshot does not hold before anything else is done with it.
    pub fn given(&self) -> &Arc<Given> {
        self.given.as_ref().expect("a schedule is read together with what it was given")
    }

    /// The spec that it was declared with.
    pub fn spec(&self) -> &Spec {
        &self.given().spec
    }

    /// Its times.
    pub fn plan(&self) -> Result<Plan, PlanError> {
        Plan::of(self.id.as_str(), self.spec())
    }

    /// What it started and what is not over.
    pub fn running(&self) -> usize {
        self.fires.iter().filter(|fire| matches!(fire.outcome, Outcome::Running { .. })).count()
    }

    /// Fires that wait for the end of what runs.
    pub fn queued(&self) -> usize {
        self.fires.iter().filter(|fire| fire.outcome == Outcome::Queued).count()
    }
}

impl Fire {
    /// What it started, where it did.
    pub fn run(&self) -> Option<Run> {
        match &self.outcome {
            Outcome::Running { run, .. } | Outcome::Ended { run, .. } => Some(*run),
            Outcome::Queued | Outcome::Skipped { .. } => None,
        }
    }

    /// Whether nothing more becomes of it.
    pub fn is_over(&self) -> bool {
        matches!(self.outcome, Outcome::Ended { .. } | Outcome::Skipped { .. })
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Job(job) => write!(f, "job {job}"),
            Self::Instance(instance) => write!(f, "instance {instance}"),
            Self::Array(array) => write!(f, "array {array}"),
        }
    }
}

impl Skip {
    /// Why, in words.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Overlap => "what was started before is not over",
            Self::QueueFull => "as many fires wait as may",
            Self::TooMany => "as many runs go on as may",
            Self::Replaced => "a newer fire came before its turn",
            Self::Unusable => "what it starts cannot be started any more; declare the schedule again",
        }
    }
}
