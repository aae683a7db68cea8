//! What a schedule is declared with: the schedule spec of the public contract.
//!
//! Only shapes and defaults live here; what may be combined with what is decided in `validate.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::job;
use crate::limits::SCHEDULE_QUEUE_DEFAULT;
use crate::orchestration::id::DEFAULT_HUB;
use crate::units::Span;

/// A schedule, as declared: when, and one of `job` and `orchestration`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScheduleSpec)]
pub struct Spec {
    /// The times: five fields (minute, hour, day of the month, month, day of the week), `@every 90s`, or one of
    /// `@yearly`, `@monthly`, `@weekly`, `@daily` and `@hourly`.
    pub cron: String,
    /// The expression has six fields, seconds first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seconds: bool,
    /// The time zone of the expression: a name of the IANA database.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// Each fire comes later by a share of this span, which is always the same for the same time. It never reaches the
    /// next time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// Nothing fires before this time. An interval is counted from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub start_at: Option<Timestamp>,
    /// Nothing fires behind this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub end_at: Option<Timestamp>,
    /// What happens when it fires while something that it started is not over.
    #[serde(default)]
    pub overlap: Overlap,
    /// With the overlap `queue`: how many fires may wait.
    #[serde(default = "default_queue_max")]
    pub queue_max: u32,
    /// What becomes of times that were missed.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// The job that is submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Box<job::spec::Spec>>,
    /// The orchestration that is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orchestration: Option<Box<ScheduledOrchestration>>,
}

/// An orchestration that a schedule starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduledOrchestration {
    /// Its name.
    pub name: String,
    /// Its version; without one the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The task hub of its instances.
    #[serde(default = "default_hub")]
    pub task_hub: String,
    /// Its input: any JSON.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Option<Object>)]
    pub input: Value,
    /// The input is `{"schedule", "scheduled_at", "past_due", "input"}` instead of the input alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub envelope: bool,
    /// What to write on its instances, beside `dogwatch.schedule`, `dogwatch.scheduled_at` and `dogwatch.past_due`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// What happens when a schedule fires while something that it started is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ScheduleOverlap)]
pub enum Overlap {
    /// It starts another one beside it.
    Allow,
    /// It starts nothing.
    #[default]
    Skip,
    /// It starts another one when that is over; as many wait as `queue_max` says.
    Queue,
    /// That is stopped, and when it is over another one is started.
    Replace,
}

/// What becomes of times that were missed, because nobody was there to fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ScheduleCatchUp)]
pub struct CatchUp {
    /// How many of those that are due at the same time fire at most, the latest ones; 0 for none.
    pub max: u32,
    /// Only those that are not longer ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

impl Default for CatchUp {
    fn default() -> Self {
        Self { max: 1, within: None }
    }
}

impl Spec {
    /// Whether it has the same times as another one.
    pub(super) fn has_times_of(&self, other: &Self) -> bool {
        self.cron == other.cron
            && self.seconds == other.seconds
            && self.time_zone == other.time_zone
            && self.jitter == other.jitter
            && self.start_at == other.start_at
            && self.end_at == other.end_at
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

fn default_hub() -> String {
    DEFAULT_HUB.to_owned()
}

const fn default_queue_max() -> u32 {
    SCHEDULE_QUEUE_DEFAULT
}
