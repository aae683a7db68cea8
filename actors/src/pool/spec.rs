//! What a pool is declared with: the pool spec of the public contract.
//!
//! Only shapes and defaults live here; what may be combined with what is decided in `validate.rs`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::job;
use crate::limits::{POOL_IDLE_DEFAULT, POOL_MAX_DEFAULT, POOL_PER_INSTANCE_DEFAULT};
use crate::orchestration::id::DEFAULT_HUB;
use crate::queue::QueueId;
use crate::units::Span;

/// A pool, as declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PoolSpec)]
pub struct Spec {
    /// The activities that its instances run. No other pool of the task hub has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub activities: Vec<Activity>,
    /// The queue whose messages its instances work on, instead of activities. No other pool has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The task hub whose orchestrations it serves.
    #[serde(default = "default_hub")]
    pub task_hub: String,
    /// What an instance is: a container or a process whose worker connects to `DOGWATCH_GRPC_ENDPOINT` with
    /// `DOGWATCH_GRPC_TOKEN`, or for a queue to `DOGWATCH_QUEUE_URL` with `DOGWATCH_QUEUE_TOKEN`.
    pub job: job::spec::Spec,
    /// The fewest instances, also when there is nothing to do.
    #[serde(default)]
    pub min: u32,
    /// The most instances.
    #[serde(default = "default_max")]
    pub max: u32,
    /// How many activities one instance has at the same time; for how many messages of the queue there is one.
    /// For a queue also called `messages_per_instance`.
    #[serde(default = "default_per_instance", alias = "messages_per_instance")]
    pub per_instance: u32,
    /// How long an instance without anything to do is kept; also called `cooldown`.
    #[serde(default = "default_idle", alias = "cooldown")]
    pub idle: Span,
}

/// An activity that a pool runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PoolActivity)]
pub struct Activity {
    /// Its name.
    pub name: String,
    /// Its version; without one every version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Where the demand of a pool comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Source<'a> {
    /// Activities of a task hub.
    Activities {
        /// The task hub.
        hub: &'a str,
        /// Which.
        activities: &'a [Activity],
    },
    /// Messages of a queue.
    Queue(QueueId),
}

impl Spec {
    /// Where its demand comes from.
    pub fn source(&self) -> Source<'_> {
        // What is no name is refused before it comes this far.
        if let Some(queue) = self.queue.as_deref().and_then(|name| name.parse().ok()) {
            return Source::Queue(queue);
        }
        Source::Activities { hub: &self.task_hub, activities: &self.activities }
    }

    /// Whether instances of both are the same: they differ in their number at most.
    pub(super) fn has_instances_of(&self, other: &Self) -> bool {
        self.source() == other.source() && self.job == other.job && self.per_instance == other.per_instance
    }
}

fn default_hub() -> String {
    DEFAULT_HUB.to_owned()
}

const fn default_max() -> u32 {
    POOL_MAX_DEFAULT
}

const fn default_per_instance() -> u32 {
    POOL_PER_INSTANCE_DEFAULT
}

const fn default_idle() -> Span {
    POOL_IDLE_DEFAULT
}
