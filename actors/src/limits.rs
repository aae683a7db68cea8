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

/// How often a follower of a log looks for more: quick for a reader's eye, cheap with hundreds of followers.
pub const LOG_FOLLOW_EVERY: Duration = Duration::from_millis(100);

/// Bytes that a log is read or searched by at once: one block bounds the memory of a reader.
pub const LOG_BLOCK_BYTES: usize = 64 * 1024;

/// How long the start of a process may take until its shim has reported; loading a program from a cold and
/// busy disk takes seconds.
pub const PROCESS_START_MAX: Duration = Duration::from_secs(30);

/// How long after a kill a process may still be there: it dies when it next leaves the kernel, which a sick
/// disk can delay.
pub const PROCESS_KILL_MAX: Duration = Duration::from_secs(5);

/// How long output is read after the end of a process, when something that cannot be killed holds its pipes.
pub const PROCESS_DRAIN_MAX: Duration = Duration::from_secs(2);

/// How long a shim tries again to spawn while the host is short of processes or the file is being written.
pub const PROCESS_SPAWN_RETRY_MAX: Duration = Duration::from_secs(5);

/// File descriptors of a process before it raises its own limit: the kernel's default, which `select` needs.
pub const PROCESS_FILES_SOFT_MAX: u64 = 1024;

/// The longest record of an attempt's directory in bytes; a plan holds at most a spec and some variables.
pub const PROCESS_RECORD_BYTES_MAX: u64 = 2 * 1024 * 1024;
