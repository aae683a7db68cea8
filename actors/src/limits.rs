//! Every limit of the crate, in one place: name, unit last, and why it is what it is.

use std::time::Duration;

/// The longest job spec in bytes: room for a large environment, small enough for a record of the store.
pub const SPEC_BYTES_MAX: usize = 256 * 1024;

/// The longest callback or event body in bytes (reliability.md §2.4).
pub const CALLBACK_BODY_BYTES_MAX: usize = 256 * 1024;

/// The longest idempotency key, event name or event id in characters.
pub const CLIENT_KEY_CHARS_MAX: usize = 255;

/// The longest list of jobs in one answer.
pub const LIST_PAGE_MAX: usize = 500;

/// The default length of a list.
pub const LIST_PAGE_DEFAULT: usize = 50;

/// The longest that one request may wait for a job, so that no proxy in between gives up first.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// Batches in one group commit: past some hundreds a larger group only adds latency (FACTS sled 1).
pub const COMMIT_GROUP_MAX: usize = 1024;

/// Commits that may wait for the disk; more is refused with [`crate::store::Error::Busy`].
pub const COMMITS_QUEUED_MAX: usize = 65_536;

/// Bytes of page cache for sled, whose own default of 1 GiB would defeat a flat memory (FACTS sled 8).
pub const STORE_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of log kept per attempt and file; two files are kept, so the cap is twice this.
pub const LOG_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The longest log line in bytes; longer ones are cut into several.
pub const LOG_LINE_BYTES_MAX: usize = 64 * 1024;

/// Attempts whose record is kept in a job's snapshot; older ones remain in its history.
pub const ATTEMPTS_KEPT_MAX: usize = 50;

/// Events in the history of one job; further callbacks are refused (Temporal stops at 50k).
pub const HISTORY_EVENTS_MAX: u64 = 10_000;

/// How long infrastructure faults of one attempt are retried before the job fails.
pub const INFRASTRUCTURE_BUDGET: Duration = Duration::from_secs(3_600);

/// How long after an exit a callback may still arrive when only callbacks complete the job.
pub const CALLBACK_GRACE: Duration = Duration::from_secs(5);

/// How often everything the runtimes know is compared with what should be, hints or not (FACTS docker 6).
pub const RECONCILE_EVERY: Duration = Duration::from_secs(30);

/// Problems named in one refusal: enough to mend a spec in one go, few enough to read.
pub const FIELD_ERRORS_MAX: usize = 32;

/// The longest job name in characters: a DNS-1123 label, so that it may become a host name.
pub const NAME_CHARS_MAX: usize = 63;

/// Items in `entrypoint` or `args`.
pub const ARGV_ITEMS_MAX: usize = 1024;

/// The longest argument or environment entry in bytes: Linux takes 128 KiB with the NUL (`MAX_ARG_STRLEN`).
pub const ARG_BYTES_MAX: usize = 128 * 1024 - 1;

/// Environment variables and secrets together.
pub const ENV_ITEMS_MAX: usize = 512;

/// The longest key of a variable or a label in characters.
pub const KEY_CHARS_MAX: usize = 128;

/// Labels of a job: each costs an index row.
pub const LABELS_MAX: usize = 32;

/// The longest value of a label in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;

/// The longest path, in bytes (`PATH_MAX`).
pub const PATH_BYTES_MAX: usize = 4096;

/// The longest image reference in characters: a registry takes 255 for the repository, 128 for the tag.
pub const IMAGE_CHARS_MAX: usize = 512;

/// The longest URL in characters.
pub const URL_CHARS_MAX: usize = 2048;

/// Registry logins of a job.
pub const REGISTRY_CREDENTIALS_MAX: usize = 16;

/// Retry rules of a job.
pub const RETRY_RULES_MAX: usize = 32;

/// Exit codes and causes in one retry rule.
pub const RETRY_RULE_ITEMS_MAX: usize = 64;

/// Webhook targets of a job.
pub const WEBHOOKS_MAX: usize = 8;

/// The longest of any span in a spec: ten years, far from where sums of times overflow.
pub const SPAN_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// The longest grace for a stop: a stop holds a slot.
pub const STOP_GRACE_MAX: Duration = Duration::from_secs(3_600);

/// The shortest pause between two polls of a service.
pub const STATUS_POLL_MIN: Duration = Duration::from_millis(100);

/// The most cores an attempt may ask for: more is a typing error.
pub const CPU_CORES_MAX: f64 = 4096.0;

/// The least memory in bytes for a container: the engine refuses less.
pub const CONTAINER_MEMORY_BYTES_MIN: u64 = 6 * 1024 * 1024;

/// The most processes of an attempt: the kernel's own limit of process ids.
pub const PIDS_MAX: u32 = 4_194_304;
