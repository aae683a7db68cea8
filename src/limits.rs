//! Every limit of the HTTP listeners, in one place: name, unit last, and why it is what it is.

use std::time::Duration;

/// Threads that serve the API: the work is waiting for the store, not computing.
pub const API_WORKERS: usize = 2;

/// Threads that serve callbacks.
pub const CALLBACK_WORKERS: usize = 1;

/// Open connections per worker; more wait in the kernel's queue. With a request in flight each holds at most
/// one body, so that this bounds the memory that clients can take.
pub const CONNECTIONS_MAX: usize = 1024;

/// How long a client may take to send the head of a request.
pub const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to send a body: the largest one in this time is 26 KiB/s.
pub const REQUEST_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: longer than most clients poll, shorter than most proxies wait.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long the rest of a closing connection may take.
pub const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long requests in flight may go on after a stop, in seconds: everything durable is spawned and done
/// long before, and streams would never end by themselves.
pub const SHUTDOWN_TIMEOUT_SECONDS: u64 = 5;

/// Requests that are open at the same time because they follow or wait: event streams, followed logs, waits.
/// Each holds a connection, so that below [`CONNECTIONS_MAX`] there is room left for commands.
pub const FOLLOWERS_MAX: usize = 512;

/// The pause after which a silent event stream sends a comment, so that no proxy takes it for dead.
pub const EVENT_HEARTBEAT: Duration = Duration::from_secs(15);

/// What a client of the event stream is told to wait before it connects again, in milliseconds.
pub const EVENT_RECONNECT_MILLIS: u64 = 2_000;

/// The most entries of a history in one answer.
pub const HISTORY_PAGE_MAX: usize = 1_000;

/// The default length of a page of history.
pub const HISTORY_PAGE_DEFAULT: usize = 100;

/// The most log lines that `tail` may ask for.
pub const LOG_TAIL_LINES_MAX: usize = 100_000;

/// The longest query string in bytes: every filter at its longest fits.
pub const QUERY_BYTES_MAX: usize = 8 * 1024;

/// Labels in one query: each is a scan of an index.
pub const QUERY_LABELS_MAX: usize = 8;

/// The longest API key in bytes that is looked at.
pub const API_KEY_BYTES_MAX: usize = 512;

/// The shortest API key in bytes that may be configured: 128 bits in hexadecimal.
pub const API_KEY_BYTES_MIN: usize = 32;

/// How often a free port is looked for that all of several addresses can have.
pub const PORT_TRIES_MAX: usize = 16;
