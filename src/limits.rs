//! Every limit of the server's and the client's own, in one place: name, unit last, and why.

use std::time::Duration;

/// How long a client waits for a connection: the server is on this machine or behind a near proxy.
pub const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client waits for an answer that the server does not hold back on purpose: a commit takes
/// milliseconds, a queue of them at its limit some seconds.
pub const CLIENT_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer that a client reads whole: a page of the longest specs is below it.
pub const CLIENT_ANSWER_BYTES_MAX: usize = 160 * 1024 * 1024;

/// The longest single server-sent event: a callback's body and its frame.
pub const CLIENT_EVENT_BYTES_MAX: usize = 1024 * 1024;

/// The entries of a history that a client asks for at once: the most that the server gives.
pub const CLIENT_HISTORY_PAGE: usize = 1_000;

/// How long one request of a client waits for the end of a job, well below what proxies cut.
pub const CLIENT_WAIT_STEP: Duration = Duration::from_secs(20);

/// How often a client looks for the next attempt of a job whose log it follows: below what people notice.
pub const CLIENT_ATTEMPT_POLL: Duration = Duration::from_millis(200);

/// How long a client goes on trying to reach a server that it was told by address and that went away.
pub const CLIENT_RECONNECT_MAX: Duration = Duration::from_secs(60);

/// How often it tries.
pub const CLIENT_RECONNECT_EVERY: Duration = Duration::from_millis(200);

/// How long the log of a job that is over may still take to arrive: it is written before the job is over, so
/// this only bounds a stream that hangs.
pub const CLIENT_LOG_DRAIN: Duration = Duration::from_secs(5);

/// How long two servers that start at the same moment on one directory may need until one of them answers.
pub const SERVER_START_MAX: Duration = Duration::from_secs(20);

/// How long the lock of a data directory is tried: `doctor` holds it for an instant to see whether it is free.
pub const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// The longest spec file that the command line reads; the server's own limit is lower.
pub const SPEC_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How long `events` without `--follow` waits for one more recorded event before it ends.
pub const EVENTS_IDLE: Duration = Duration::from_millis(700);

/// Below this much free space `doctor` warns: a store that runs full refuses work.
pub const DISK_FREE_WARN_BYTES: u64 = 512 * 1024 * 1024;

/// Below so many open files `doctor` warns: every log, connection and attempt needs some.
pub const FILES_OPEN_WARN: u64 = 4_096;

/// How long the demonstration may take before it is called failed.
pub const DEMO_MAX: Duration = Duration::from_secs(40);

/// How long a server may need to start or stop in the demonstration.
pub const DEMO_SERVER_MAX: Duration = Duration::from_secs(10);

/// The pause between two steps of the demonstration's job; with [`DEMO_STEPS`] it runs for six seconds.
pub const DEMO_STEP: Duration = Duration::from_millis(300);

/// The steps of the demonstration's job.
pub const DEMO_STEPS: u32 = 20;

/// How long the demonstration's job goes on trying to tell that it is done.
pub const DEMO_CALLBACK_MAX: Duration = Duration::from_secs(30);
