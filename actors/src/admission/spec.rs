//! What a job asks for: `concurrency` of its spec. Shapes only; bounds are checked in `job::validate`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::units::Span;

/// How many jobs of one key may live at once, and how often they may start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Concurrency)]
pub struct Concurrency {
    /// What they have in common. Jobs with the same key, of whatever name or tenant, share the places.
    pub key: String,
    /// How many of them may live at once. Where the configuration declares the key, that limit counts; else that of
    /// the newest job that names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// What becomes of a job for which there is no place.
    #[serde(default, skip_serializing_if = "OnConflict::is_queue")]
    pub on_conflict: OnConflict,
    /// How often attempts of them may start. Where the configuration gives the key a rate, that one counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// What becomes of a job for whose key there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// It waits for one.
    #[default]
    Queue,
    /// It is cancelled, with cause `skipped`.
    Skip,
    /// As many of the oldest as needed are cancelled, with cause `preempted`; it starts when they have ended.
    Replace,
}

impl OnConflict {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    const fn is_queue(&self) -> bool {
        matches!(self, Self::Queue)
    }
}

/// Starts of attempts per time: a token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StartRate)]
pub struct Rate {
    /// So many starts.
    pub limit: u32,
    /// In this time.
    pub per: Span,
    /// How many may start at once after a pause; default: `limit`. With 1 they are evenly spaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}
