//! What a trigger is declared with: the trigger spec of the public contract.
//!
//! Only shapes and defaults live here; what may be combined with what is decided in `validate.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::job;
use crate::limits::{
    TRIGGER_BODY_BYTES_MAX, TRIGGER_BUCKET_POLL_DEFAULT, TRIGGER_DELIVERIES_DEFAULT,
    TRIGGER_KEY_REMEMBER_DEFAULT, TRIGGER_PARALLELISM_DEFAULT, TRIGGER_POLL_DEFAULT,
    TRIGGER_REMEMBER_DEFAULT, TRIGGER_RETRY_DELAY_DEFAULT, TRIGGER_SETTLE_DEFAULT,
};
use crate::orchestration::id::DEFAULT_HUB;
use crate::units::Span;

/// A trigger, as declared: one source, and one of `job` and `orchestration`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TriggerSpec)]
pub struct Spec {
    /// Files that arrive in a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Directory>,
    /// Objects that arrive in a bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Objects>,
    /// HTTP requests to `POST /v1/triggers/{name}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// Messages of a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Messages>,
    /// The job that is submitted for each object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Box<job::spec::Spec>>,
    /// The orchestration that is started for each object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orchestration: Option<Box<TriggeredOrchestration>>,
    /// How many run at once.
    #[serde(default = "default_parallelism")]
    pub parallelism: u32,
    /// How often something is started for an object before the object is a dead letter. A job has attempts of its own
    /// beside that.
    #[serde(default = "default_deliveries")]
    pub max_deliveries: u32,
    /// The pause before something is started for an object once more; it doubles each time, up to an hour.
    #[serde(default = "default_retry_delay")]
    pub retry_delay: Span,
    /// How long a version is remembered that is not at its source any more. By default 7 days; of an HTTP request its
    /// `Idempotency-Key`, by default a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remember: Option<Span>,
}

/// Files that arrive in a directory of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TriggerDirectory)]
pub struct Directory {
    /// Its absolute path. Over the API only one below `security.trigger_directories`.
    pub path: String,
    /// Only files whose name fits one of these: `*`, `?` and `[a-z]`; with a `/` in it the path below the directory is
    /// looked at, and `**` is any number of directories. By default all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<String>,
    /// Files in directories below it, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recursive: bool,
    /// Also hidden files and those that look unfinished: `.*`, `*~`, `*.tmp`, `*.part`, `*.crdownload`, `*.swp`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// For how long a file must not change before it is taken for whole.
    #[serde(default = "default_settle")]
    pub settle: Span,
    /// How often the directory is looked at where nothing tells of a change.
    #[serde(default = "default_poll")]
    pub poll: Span,
}

/// Objects that arrive in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TriggerBucket)]
pub struct Objects {
    /// The store, as it is called in the configuration: `[stores.<name>]`.
    pub store: String,
    /// Only objects below this.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Only objects whose name below the prefix fits one of these, as for files. By default all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<String>,
    /// How often the bucket is listed.
    #[serde(default = "default_bucket_poll")]
    pub poll: Span,
}

/// HTTP requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = TriggerHttp)]
pub struct Http {
    /// The longest body in bytes, at most 65536.
    pub body_max: usize,
}

impl Default for Http {
    fn default() -> Self {
        Self { body_max: TRIGGER_BODY_BYTES_MAX }
    }
}

/// Messages of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TriggerQueue)]
pub struct Messages {
    /// The queue.
    pub name: String,
}

/// An orchestration that a trigger starts. Its input is `{"trigger", "item", "delivery", "object", "body", "input"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggeredOrchestration {
    /// Its name.
    pub name: String,
    /// Its version; without one the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The task hub of its instances.
    #[serde(default = "default_hub")]
    pub task_hub: String,
    /// What else it is given, as `input`: any JSON.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Option<Object>)]
    pub input: Value,
    /// What to write on its instances, beside `dogwatch.trigger` and `dogwatch.item`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Where the objects of a trigger come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// A directory.
    Directory(&'a Directory),
    /// A bucket.
    Bucket(&'a Objects),
    /// HTTP requests.
    Http(&'a Http),
    /// A queue.
    Queue(&'a Messages),
}

impl Spec {
    /// Where its objects come from; `None` in one that was never accepted.
    pub fn source(&self) -> Option<Source<'_>> {
        let directory = self.directory.as_ref().map(Source::Directory);
        let bucket = || self.bucket.as_ref().map(Source::Bucket);
        let http = || self.http.as_ref().map(Source::Http);
        let queue = || self.queue.as_ref().map(Source::Queue);
        directory.or_else(bucket).or_else(http).or_else(queue)
    }

    /// How long what is gone is remembered.
    pub(super) fn remembers(&self) -> Span {
        let usual = match self.source() {
            // What was acknowledged never comes again.
            Some(Source::Queue(_)) => Span::from_secs(0),
            Some(Source::Http(_)) => TRIGGER_KEY_REMEMBER_DEFAULT,
            Some(Source::Directory(_) | Source::Bucket(_)) | None => TRIGGER_REMEMBER_DEFAULT,
        };
        self.remember.unwrap_or(usual)
    }
}

fn default_hub() -> String {
    DEFAULT_HUB.to_owned()
}

const fn default_parallelism() -> u32 {
    TRIGGER_PARALLELISM_DEFAULT
}

const fn default_deliveries() -> u32 {
    TRIGGER_DELIVERIES_DEFAULT
}

const fn default_retry_delay() -> Span {
    TRIGGER_RETRY_DELAY_DEFAULT
}

const fn default_settle() -> Span {
    TRIGGER_SETTLE_DEFAULT
}

const fn default_bucket_poll() -> Span {
    TRIGGER_BUCKET_POLL_DEFAULT
}

const fn default_poll() -> Span {
    TRIGGER_POLL_DEFAULT
}
