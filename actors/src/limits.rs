//! Every limit of the crate, in one place: name, unit last, and why it is what it is.

mod admission;
mod array;
mod bucket;
mod entity;
mod files;
mod group;
mod orchestration;
mod pool;
mod process;
mod queue;
mod schedule;
mod trigger;
mod usage;

use std::time::Duration;

pub use self::admission::*;
pub use self::array::*;
pub use self::bucket::*;
pub use self::entity::*;
pub use self::files::*;
pub use self::group::*;
pub use self::orchestration::*;
pub use self::pool::*;
pub use self::process::*;
pub use self::queue::*;
pub use self::schedule::*;
pub use self::trigger::*;
pub use self::usage::*;

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

/// How many others are at work before a commit waits for some of them: with few there is nothing to be shared, and
/// each would feel the wait.
pub const COMMIT_SIBLINGS_MIN: usize = 8;

/// Of so many others one is waited for.
pub const COMMIT_SIBLINGS_PER_COMPANION: usize = 4;

/// For so many batches a commit waits at most: a sync that they share costs each next to nothing.
pub const COMMIT_COMPANY_MAX: usize = 16;

/// How long a commit waits for each of the others that are at work: less than the work of one of them takes, so that what
/// waits behind that many loses nothing by it.
pub const COMMIT_WAIT_PER_SIBLING: Duration = Duration::from_micros(500);

/// How long a commit waits for others at most: some dozens of syncs. With 10 ms a stock Python worker, whose six threads
/// each wait for the answer to what they did, does a fifth less; with 6 ms no less that could be told.
pub const COMMIT_PATIENCE_MAX: Duration = Duration::from_millis(6);

/// After so many waits for which nobody came, a pause of so many commits is made, which doubles.
pub const COMMIT_WAITS_IN_VAIN: u32 = 3;

/// The longest such pause, in commits: what waiting in vain costs stays below a hundredth.
pub const COMMIT_WAIT_RESTS_MAX: u32 = 256;

/// Commits that may wait for the disk; more is refused with [`crate::store::Error::Busy`].
pub const COMMITS_QUEUED_MAX: usize = 65_536;

/// Bytes in one group commit: what one sync makes durable stays a fraction of a second of any disk.
pub const COMMIT_GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of batches that may wait for the disk: the number of commits alone would not keep memory flat.
pub const COMMITS_QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The longest key of the store in bytes: room for a client's key in UTF-8, and small enough that a node of
/// sled's tree stays a node.
pub const STORE_KEY_BYTES_MAX: usize = 1_100;

/// Bytes of page cache for sled, whose own default of 1 GiB would defeat a flat memory (FACTS sled 8).
pub const STORE_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of rows that a log-structured store keeps in memory before it writes them to a table: what a start has to
/// read from the journal, and a fraction of the memory that a waiting job may take.
pub const LSM_MEMORY_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of a table of a log-structured store: merging one with those below it takes a second at most, which is
/// how long closing may wait for it.
pub const LSM_TABLE_BYTES: u64 = 16 * 1024 * 1024;

/// Files of tables that a log-structured store keeps open: those of 60 GB, or of some 200,000,000 jobs. A read of one that is
/// not open opens it first.
pub const LSM_FILES_OPEN_MAX: u64 = 4_096;

/// Snapshots of machines of one kind at rest that are kept for whoever reads them next: some 2 KB each.
pub const SNAPSHOTS_RESTING_MAX: usize = 16_384;

/// Tables of a log-structured store over each other before they are merged: merging rewrites all that lies below them,
/// and was a fifth of the work of 20,000 callbacks a second when it began with four.
pub const LSM_MERGE_FROM: u8 = 10;

/// Tables that may lie unmerged over each other before commits wait for the merging: each is asked by a read that
/// finds nothing above it.
pub const LSM_RUNS_MAX: usize = 24;

/// Bytes that stay free on the disk of the store: several times what a group of commits makes the database write,
/// so that a commit is refused with nothing changed, and the exit codes of running attempts still find room.
pub const STORE_FREE_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// On a small disk no more than this part of it is kept free: one in so many.
pub const STORE_FREE_PART_MIN: u64 = 8;

/// How long it is believed that a disk has room: what is written meanwhile is less than what stays free.
pub const STORE_ROOM_BELIEVED: Duration = Duration::from_millis(10);

/// How often a database that ran out of space amid a write is tried again, when there is space.
pub const STORE_REOPEN_EVERY: Duration = Duration::from_millis(200);

/// Backups of one store at the same time: each copies every commit.
pub const STORE_TEES_MAX: usize = 1;

/// Bytes of commits that are kept for a backup whose reader is slower than the writers; then it is broken off.
pub const STORE_TEE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Rows that a backup reads at once: at their largest some 16 MiB.
pub const BACKUP_PAGE: usize = 64;

/// Parts of a backup that are made before the reader has taken them.
pub const BACKUP_PARTS_AHEAD: usize = 4;

/// The longest part of a backup in bytes: a page of rows or a group of commits is far below it.
pub const BACKUP_FRAME_BYTES_MAX: u32 = 256 * 1024 * 1024;

/// Rows that an examination of a store reads at once.
pub const EXAMINE_PAGE: usize = 1_000;

/// Faults that an examination names; of more it tells the number.
pub const EXAMINE_FAULTS_MAX: usize = 1_000;

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

/// Deliveries from outside (commands, callbacks, submissions) that may be under way at once; more is refused
/// with 429. At some kilobytes each this bounds their memory to some tens of megabytes.
pub const DELIVERIES_IN_FLIGHT_MAX: usize = 16_384;

/// Deliveries under way per thread up to which new machines are spread over all threads by chance. Above it each thread has
/// enough to do, and it costs less to keep what comes to it.
pub const DELIVERIES_SPREAD_MAX: usize = 4;

/// Ticks under way at once: enough to fill several groups of commits, small against memory.
pub const TICKS_IN_FLIGHT_MAX: usize = 4_096;

/// Rows of timers in memory before their time: some 100 bytes each. More of them are read when these have fired.
pub const TIMERS_AHEAD_MAX: usize = 131_072;

/// From so many rows in memory on, the machines of those that come next are brought into memory before they are due:
/// fewer are there in time without it.
pub const TIMERS_BURST: usize = 1_024;

/// Machines on their way into memory at once for timers that are not due yet: what somebody else asks of an actor waits
/// behind them for some milliseconds.
pub const TIMERS_ROUSED_AT_ONCE: usize = 256;

/// Rows armed between two looks at the timers, which are at most a second apart, and remembered by themselves: some 60
/// bytes each. With more, all that are soon due are read again.
pub const TIMERS_ARMED_MAX: usize = 65_536;

/// Messages between machines under way at once.
pub const MESSAGES_IN_FLIGHT_MAX: usize = 1_024;

/// How long an actor stays in memory without being sent anything. Hydrating one again costs microseconds, but
/// repeats what its machine is waiting for: so this is longer than a webhook's request may take.
pub const ACTOR_IDLE_MAX: Duration = Duration::from_secs(20);
const _: () = assert!(ACTOR_IDLE_MAX.as_millis() > WEBHOOK_TIMEOUT.as_millis());

/// Callbacks and raised events that one job may receive in its life; each leaves a mark of 16 bytes that makes
/// a repetition one, so their number must be bounded.
pub const EVENTS_RECEIVED_MAX: u32 = 100_000;

/// How long an attempt that called back may take to end by itself before it is told to stop: a script that
/// posts its result and exits should not find a signal in its way.
pub const CALLBACK_LINGER: Duration = Duration::from_secs(2);

/// The pause between two calls to a service that is not ready yet.
pub const SERVICE_RETRY_EVERY: Duration = Duration::from_millis(500);

/// How much longer than its time limit the answer of a call to a service may take to be recorded; after that
/// it counts as lost with whoever waited for it, and the call is made again.
pub const SERVICE_ANSWER_SLACK: Duration = Duration::from_secs(5);

/// How long a service may fail every poll before it counts as unhealthy.
pub const SERVICE_SILENCE_MAX: Duration = Duration::from_secs(60);

/// The longest output that is repeated in a webhook; receivers want thin messages (Standard Webhooks: 20 KB).
pub const WEBHOOK_OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// Jobs that may wait for a slot; more submissions are refused with 429. Each costs the fleet some 200 bytes.
pub const JOBS_QUEUED_MAX: usize = 100_000;

/// The longest row in bytes that a resting machine has for its snapshot and what it was given together: a block of the store,
/// most specs among them. What is larger is written once, and read with a look more, which it then hardly notices.
pub const RESTING_ROW_BYTES_MAX: usize = 4096;

/// Rows of an index that one listing may read: with a filter that matches little the page comes back short,
/// with a cursor to go on, instead of holding a thread.
pub const LIST_ROWS_READ_MAX: usize = 20_000;

/// Rows of the events log that are kept: what a follower that was away may catch up with.
pub const EVENTS_KEPT_MAX: u64 = 1_000_000;

/// How long a shutdown waits for requests that are being committed.
pub const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);

/// How long it then waits for the removal of attempts that are over: an engine needs a second for some of them.
pub const SHUTDOWN_CLEAR_MAX: Duration = Duration::from_secs(3);

/// How often a follower of a log looks for more: quick for a reader's eye, cheap with hundreds of followers.
pub const LOG_FOLLOW_EVERY: Duration = Duration::from_millis(100);

/// Bytes that a log is read or searched by at once: one block bounds the memory of a reader.
pub const LOG_BLOCK_BYTES: usize = 64 * 1024;

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

/// The longest pause between two tries to reach a runtime that went away: one cheap call each, and how late at
/// most its return is noticed.
pub const REACH_PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long after its start an attempt's job is told that it runs: most of those that are over by then did nothing, and
/// their job hears of both at once; nobody misses the time.
pub const START_TOLD_AFTER: Duration = Duration::from_millis(10);

/// How long a shim waits for the end of what it started before it records and tells that it runs: a small part of
/// [`START_TOLD_AFTER`], and several times what a program takes that does nothing.
pub const SHIM_TELLS_AFTER: Duration = Duration::from_millis(3);

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

/// Attempts that are created while every slot is taken, for the slots that come free next: more than end while one is
/// prepared, and few enough that what waits costs the runtime nothing.
pub const ATTEMPTS_AHEAD_MAX: usize = 16;

/// How long a stop is remembered for an attempt that nobody drives (yet) after its grace is over.
pub const EARLY_STOP_KEPT: Duration = Duration::from_secs(300);

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

/// The longest URL in characters: what proxies and servers in between commonly take.
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

/// The longest grace that the fleet counts with, whatever it is told: beyond it sums of times could overflow.
pub const STOP_ORDER_GRACE_MAX: Duration = Duration::from_secs(365 * 86_400);

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

/// How long the lock of a data directory is tried: `doctor` holds it for an instant to see whether it is free.
pub const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// How long an event is held back until its job shows the same: longer than a publication ever takes.
pub const EVENT_SETTLE_MAX: Duration = Duration::from_secs(1);
