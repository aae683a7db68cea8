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

/// Attempts that run at the same time unless configured otherwise: more than that on one machine mostly
/// makes all of them slow.
pub const ATTEMPTS_AT_ONCE_MAX: usize = 64;

/// What an attempt that names no CPU is counted with, in thousandths of a core: about what an idle process
/// costs. Such attempts are held back by their number rather than by this.
pub const ATTEMPT_CPU_DEFAULT_MILLIS: u64 = 10;

/// What an attempt that names no memory is counted with, for the same reason.
pub const ATTEMPT_MEMORY_DEFAULT_BYTES: u64 = 16 * 1024 * 1024;

/// How long one observation may take: one sick container can hang an inspect for ever (FACTS docker 11).
pub const OBSERVE_DEADLINE: Duration = Duration::from_secs(10);

/// How long creating an attempt may take, the pull of a large image over a slow line included.
pub const CREATE_DEADLINE: Duration = Duration::from_secs(1_800);

/// How long a start may take: an engine under load starts four containers in a second (FACTS docker 14).
pub const START_DEADLINE: Duration = Duration::from_secs(120);

/// How much longer than its grace a stop may take: the kill and the engine's own cleaning up.
pub const STOP_SLACK: Duration = Duration::from_secs(30);

/// How long removing an attempt may take; the removal of a large file system is slow.
pub const REMOVE_DEADLINE: Duration = Duration::from_secs(120);

/// How long listing all attempts of a runtime may take.
pub const LIST_DEADLINE: Duration = Duration::from_secs(60);

/// How long subscribing to hints or to a log may take.
pub const SUBSCRIBE_DEADLINE: Duration = Duration::from_secs(30);

/// The shortest pause between two lists of one runtime, whatever asks for them.
pub const LIST_PAUSE: Duration = Duration::from_secs(1);

/// The first pause before a failed call to a runtime is repeated; doubles from there.
pub const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(250);

/// The longest such pause: how late at most the return of a runtime is noticed.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long a running attempt is waited for before it is looked at without a hint.
pub const WATCH_PATIENCE: Duration = Duration::from_secs(30);

/// The first pause between two looks at a running attempt when hints come without a change; doubles.
pub const OBSERVE_PAUSE_FIRST: Duration = Duration::from_millis(50);

/// The longest such pause.
pub const OBSERVE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often the same trouble of an attempt is reported again.
pub const TROUBLE_REPEAT: Duration = Duration::from_secs(30);

/// The first pause before a report that nobody acted on is repeated; doubles.
pub const REPORT_PAUSE_FIRST: Duration = Duration::from_secs(2);

/// The longest such pause: how much a lost report can delay a job.
pub const REPORT_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long the end of a log is waited for before the container goes, and its log with it.
pub const LOG_DRAIN_MAX: Duration = Duration::from_secs(30);

/// Removals at the same time on one runtime: enough to keep up, few enough to leave the engine to starts.
pub const REMOVALS_AT_ONCE_MAX: usize = 4;

/// How long a stop is remembered for an attempt that nobody drives (yet) after its grace is over.
pub const EARLY_STOP_KEPT: Duration = Duration::from_secs(300);

/// The longest grace that the fleet counts with, whatever it is told: beyond it sums of times could overflow.
pub const STOP_ORDER_GRACE_MAX: Duration = Duration::from_secs(365 * 86_400);
