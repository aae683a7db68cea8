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

/// How long connecting to the container engine and agreeing on a version of its API may take.
pub const ENGINE_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the engine may take to tell something: one sick container can hang an inspect (FACTS docker 11).
pub const ENGINE_QUERY_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the engine may take to list containers: longer, since a list waits for the sickest of them.
pub const ENGINE_LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the engine may take to create, start or remove a container. On a loaded disk these take tens of
/// seconds, and giving up early leaves a result that nobody knows.
pub const ENGINE_CHANGE_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the engine may take to send a signal: it waits up to 12 s for a killed container itself.
pub const ENGINE_KILL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long after SIGKILL a container may still run before it counts as stuck.
pub const CONTAINER_KILL_WAIT: Duration = Duration::from_secs(30);

/// How long a pull may show no progress: unpacking a large layer is silent for minutes on a slow disk.
pub const PULL_STALL_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a pull may take in all.
pub const PULL_TIMEOUT: Duration = Duration::from_secs(3_600);

/// How long a wait, a log or a stream of events may stay silent before its headers count as lost.
pub const ENGINE_STREAM_TIMEOUT: Duration = Duration::from_secs(86_400);

/// The pause before a wait that could not be made says so, so that its caller does not spin.
pub const ENGINE_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Containers that are inspected at once for a list; more only queue up in the engine.
pub const ENGINE_INSPECTS_MAX: usize = 8;

/// How long a followed log may be silent before the container is looked at: an engine can lose the end.
pub const LOG_SILENCE_CHECK: Duration = Duration::from_secs(30);

/// Commands that were found in an image and need not be looked for again.
pub const COMMANDS_FOUND_MAX: usize = 1_024;

/// Directories of a `PATH` that are searched for a command before it is left to the container to find it.
pub const COMMAND_DIRECTORIES_MAX: usize = 16;

/// CPU cores of a container whose spec names none.
pub const CONTAINER_CPU_CORES_DEFAULT: f64 = 1.0;

/// Memory of a container whose spec names none, in bytes.
pub const CONTAINER_MEMORY_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;

/// Processes and threads of a container whose spec names no number: enough for a web server with a thread
/// pool, far too few for a fork bomb.
pub const CONTAINER_PIDS_DEFAULT: u32 = 512;

/// Bytes of the memory file system on /tmp of a container with a read-only root.
pub const CONTAINER_TMPFS_BYTES: u64 = 64 * 1024 * 1024;

/// How long a container that probes the callback address may take for its one request.
pub const CALLBACK_PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a container whose name is taken may stay invisible: its creation may still be under way.
pub const CLAIM_SETTLE_WAIT: Duration = Duration::from_secs(10);

/// The pause between looks for it.
pub const CLAIM_SETTLE_POLL: Duration = Duration::from_millis(50);

/// How long after an end the engine may still report that memory ran out: it learns of the two apart.
pub const OOM_EVENT_DELAY: Duration = Duration::from_millis(250);
