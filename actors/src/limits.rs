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

/// The longest URL of a webhook in characters: what proxies and servers in between commonly take.
pub const WEBHOOK_URL_CHARS_MAX: usize = 2048;

/// How long one delivery of a webhook may take in all (Standard Webhooks: 15 to 30 s).
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a delivery may wait for its connection, TLS included.
pub const WEBHOOK_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a receiver's answer that are read, and thrown away, before the connection is closed.
pub const WEBHOOK_ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How long a service may take to accept a connection: it is on this host or its bridge.
pub const SERVICE_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a service may take to answer the start call: it may set up before it answers, but the work itself
/// belongs behind the answer.
pub const SERVICE_START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a service may take to answer a poll; the next one waits for it.
pub const SERVICE_POLL_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer of a service in bytes: an answer may count as a callback, so the same as for those.
pub const SERVICE_ANSWER_BYTES_MAX: usize = CALLBACK_BODY_BYTES_MAX;

/// Characters that an error quotes from a peer or a library: enough to understand, too few to flood a record.
pub const QUOTE_CHARS_MAX: usize = 200;
