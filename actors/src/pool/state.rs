//! The data of a pool: what it was given, its state, events, effects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::PoolId;
use super::spec::{Source, Spec};
use crate::clock::Timestamp;
pub use crate::durable::Said as Record;
use crate::id::JobId;
use crate::job::cause::Cause;
use crate::job::view::JobState;
use crate::orchestration::executor::remote::Names;
use crate::secret::Sealed;

/// What a pool was declared with. A new declaration replaces all of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// What was asked for; holds no secrets.
    pub spec: Arc<Spec>,
    /// The secrets of its instances, encrypted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vault: Option<Sealed>,
    /// What the vault is sealed for, and what the ids of instances are made of: random, and no job's id.
    pub seed: JobId,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Which.
    pub id: PoolId,
    /// How many entries its history has had.
    pub revision: u64,
    /// What it was declared with: stored in a row of its own.
    #[serde(skip)]
    pub given: Option<Arc<Given>>,
    /// When it was first declared.
    pub created_at: Timestamp,
    /// When it was last declared.
    pub updated_at: Timestamp,
    /// Where it stands.
    pub phase: Phase,
    /// Counts the declarations that changed what an instance is.
    pub generation: u64,
    /// How many instances were ever started: each has a number of its own.
    pub started: u64,
    /// Its instances.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub instances: BTreeMap<JobId, Instance>,
    /// Work that waits, when it was last looked at.
    #[serde(default)]
    pub waiting: u64,
    /// Work that its instances have, when it was last looked at.
    #[serde(default)]
    pub running: u64,
    /// Instances fail: when the next one is started.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failing: Option<Failing>,
    /// The last instance that failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_failure: Option<Failure>,
}

/// Where a pool stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its instances follow the demand.
    Active,
    /// It goes when its last instance has ended.
    Deleting,
    /// Its actor kept panicking: nothing changes before it is declared again.
    Quarantined {
        /// The last panic's text.
        reason: String,
    },
}

/// An instance: a job of the pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// When it was asked for.
    pub since: Timestamp,
    /// Of which generation.
    pub generation: u64,
    /// Whether more work may be given to it.
    pub mode: Mode,
    /// When its worker first connected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connected_at: Option<Timestamp>,
    /// Its worker, when it was last looked at; `None` where there was nothing to see.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seen: Option<Seen>,
    /// Since when it has nothing to do, and nothing waits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub idle_since: Option<Timestamp>,
}

/// Whether more work may be given to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It may.
    Up,
    /// It may not, and is stopped when it has nothing any more.
    Draining,
    /// It was told to stop.
    Stopping,
}

/// What was seen of the worker of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Whether it is connected.
    pub connected: bool,
    /// How much work it has.
    pub busy: u32,
    /// Whether it is certain that it is given no more.
    pub retired: bool,
}

/// The demand of a pool, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Demand {
    /// Work that waits for an instance.
    pub waiting: u64,
    /// Work that instances have.
    pub running: u64,
    /// The instances whose workers are connected, and those that are certainly given nothing any more.
    pub instances: BTreeMap<JobId, Seen>,
}

/// Instances fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// How many in a row.
    pub streak: u32,
    /// When the next one may be started.
    pub until: Timestamp,
}

/// How an instance failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Its job.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub cause: Cause,
    /// Its exit code.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit_code: Option<i32>,
    /// One sentence for people.
    pub message: String,
}

/// How the job of an instance ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// `succeeded`, `failed` or `cancelled`.
    pub state: JobState,
    /// Why.
    pub cause: Cause,
    /// The exit code of its last attempt.
    pub exit_code: Option<i32>,
    /// One sentence for people.
    pub message: String,
}

/// What can happen to a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody declared it: creates the pool, or replaces what it was given.
    Declared(Box<Given>),
    /// The demand is another one.
    DemandSeen(Demand),
    /// The worker of an instance connects.
    InstanceConnected {
        /// Which.
        job: JobId,
    },
    /// The job of an instance is over.
    InstanceEnded {
        /// Which.
        job: JobId,
        /// How it ended.
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

/// What a pool asks of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Look at its demand, and tell it when that changes.
    Watch,
    /// Look no longer.
    Unwatch,
    /// Give an instance no more work.
    Retire(JobId),
    /// An instance is over.
    Forget(JobId),
}

/// Why an event is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It goes.
    #[error("the pool is being deleted; declare it again when its last instance has ended")]
    Deleting,
    /// The job is no instance that may have work.
    #[error("job {0} is no instance of the pool that may have work")]
    NotAnInstance(JobId),
}

impl Pool {
    /// What it was declared with.
    ///
    /// # Panics
    ///
    /// Never: the shell puts back what the snapshot does not hold before anything else is done with it.
    pub fn given(&self) -> &Arc<Given> {
        self.given.as_ref().expect("a pool is read together with what it was given")
    }

    /// The spec that it was declared with.
    pub fn spec(&self) -> &Spec {
        &self.given().spec
    }

    /// Whether this is the demand that it was last told of.
    pub fn has_seen(&self, demand: &Demand) -> bool {
        self.waiting == demand.waiting
            && self.running == demand.running
            && self
                .instances
                .iter()
                .all(|(job, instance)| instance.seen.as_ref() == demand.instances.get(job))
    }

    /// How many instances the demand asks for.
    pub fn wanted(&self) -> u32 {
        let Phase::Active = self.phase else { return 0 };
        let spec = self.spec();
        // What those that go have, they end.
        let up = self.instances.values().filter(|instance| instance.mode == Mode::Up);
        let running: u64 = up.filter_map(|instance| instance.seen).map(|seen| u64::from(seen.busy)).sum();
        let work = self.waiting.saturating_add(running);
        let needed = work.div_ceil(u64::from(spec.per_instance.max(1)));
        u32::try_from(needed).unwrap_or(u32::MAX).clamp(spec.min.min(spec.max), spec.max)
    }

    /// The activities that it runs, as the filters of workers have them.
    pub fn names(&self) -> Names {
        let mut names = Names::new();
        let Source::Activities { activities, .. } = self.spec().source() else { return names };
        for activity in activities {
            let versions = names.entry(activity.name.clone()).or_default();
            versions.extend(activity.version.clone());
        }
        // No version means every one, whatever else is named beside it.
        for activity in activities.iter().filter(|activity| activity.version.is_none()) {
            names.insert(activity.name.clone(), BTreeSet::new());
        }
        names
    }

    /// How many of its instances may be given work.
    pub(super) fn up(&self) -> u32 {
        let up = self.instances.values().filter(|instance| instance.mode == Mode::Up).count();
        u32::try_from(up).unwrap_or(u32::MAX)
    }
}
