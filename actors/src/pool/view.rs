//! A pool as the public contract shows it. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::spec::Spec;
use super::state::{Instance, Mode, Phase, Pool};
use crate::clock::Timestamp;
use crate::durable::Machine as _;
use crate::id::JobId;
use crate::job::cause::Cause;
use crate::job::view::{JobState, JobView};

/// The states of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PoolState {
    /// Its instances follow the demand.
    Active,
    /// It goes when its last instance has ended.
    Deleting,
    /// Its supervisor kept failing; declare it again to have it tried.
    Quarantined,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: PoolState,
    /// The spec; secrets are `null`.
    #[schema(value_type = Spec)]
    pub spec: Arc<Spec>,
    /// When it was first declared.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last declared.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Work that waits for an instance, when it was last looked at.
    pub waiting: u64,
    /// Work that instances have, when it was last looked at.
    pub running: u64,
    /// How many instances the demand asks for.
    pub wanted: u32,
    /// Its instances, oldest first.
    pub instances: Vec<InstanceView>,
    /// The last instance that failed.
    pub last_failure: Option<FailureView>,
    /// When something is next due by itself: an idle instance goes, or one is started after a failure.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// What it does now, in a sentence.
    pub message: String,
}

/// An instance of a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = PoolInstance)]
pub struct InstanceView {
    /// Its job.
    #[schema(value_type = String)]
    pub job: JobId,
    /// The state of its job.
    pub job_state: Option<JobState>,
    /// What there is to say of its job.
    pub message: Option<String>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Whether its worker is connected.
    pub connected: bool,
    /// How much work it has.
    pub busy: u32,
    /// Since when it has nothing to do.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub idle_since: Option<Timestamp>,
    /// Whether it is given no more work and goes.
    pub leaving: bool,
}

/// How an instance of a pool failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = PoolFailure)]
pub struct FailureView {
    /// Its job.
    #[schema(value_type = String)]
    pub job: JobId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Why.
    pub cause: Cause,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// One sentence for people.
    pub message: String,
    /// How many failed in a row.
    pub in_a_row: u32,
}

impl Pool {
    /// The pool in the shape of the public contract; `job` tells of a job.
    pub fn view(&self, job: impl Fn(JobId) -> Option<JobView>) -> PoolView {
        let mut instances: Vec<InstanceView> =
            self.instances.iter().map(|(id, instance)| of_instance(*id, instance, job(*id))).collect();
        instances.sort_by_key(|instance| (instance.since, instance.job));
        let last_failure = self.last_failure.as_ref().map(|failure| FailureView {
            job: failure.job,
            at: failure.at,
            cause: failure.cause,
            exit_code: failure.exit_code,
            message: failure.message.clone(),
            in_a_row: self.failing.map_or(0, |failing| failing.streak),
        });
        let message = super::explain::sentence(self, &instances);
        PoolView {
            name: self.id.to_string(),
            state: match self.phase {
                Phase::Active => PoolState::Active,
                Phase::Deleting => PoolState::Deleting,
                Phase::Quarantined { .. } => PoolState::Quarantined,
            },
            spec: Arc::clone(&self.given().spec),
            created_at: self.created_at,
            updated_at: self.updated_at,
            waiting: self.waiting,
            running: self.running,
            wanted: self.wanted(),
            instances,
            last_failure,
            next_at: self.deadline(),
            message,
        }
    }
}

fn of_instance(id: JobId, instance: &Instance, job: Option<JobView>) -> InstanceView {
    InstanceView {
        job: id,
        job_state: job.as_ref().map(|job| job.state),
        message: job.and_then(|job| job.message),
        since: instance.since,
        connected: instance.seen.is_some_and(|seen| seen.connected),
        busy: instance.seen.map_or(0, |seen| seen.busy),
        idle_since: instance.idle_since,
        leaving: instance.mode != Mode::Up,
    }
}
