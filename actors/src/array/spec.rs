//! What makes a job an array: the member `array` of a job spec.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::limits::ARRAY_PARALLELISM_DEFAULT;

/// How many children a job has, and what it takes that the whole succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ArraySpec)]
pub struct Spec {
    /// How many children, numbered from 0 (`DOGWATCH_INDEX`).
    pub size: u32,
    /// How many of them exist at once.
    #[serde(default = "default_parallelism")]
    pub parallelism: u32,
    /// What it takes; by default all of them succeed.
    #[serde(default)]
    pub success: Success,
}

/// What it takes that an array succeeds: at most one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ArraySuccess)]
pub struct Success {
    /// At least so many succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_succeeded: Option<u32>,
    /// At most so many fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failed: Option<u32>,
}

impl Spec {
    /// How many have to succeed.
    pub fn needed(&self) -> u32 {
        let failing = self.success.max_failed.unwrap_or(0);
        self.success.min_succeeded.unwrap_or_else(|| self.size.saturating_sub(failing))
    }
}

const fn default_parallelism() -> u32 {
    ARRAY_PARALLELISM_DEFAULT
}
