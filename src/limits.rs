//! Every limit of the listeners, the server and the client, in one place: name, unit last, and why it is what it is.

use std::time::Duration;

/// Open connections per thread and listener; more wait in the kernel's queue. A silent one costs some ten KiB, so that some
/// thousands of clients that do nothing keep nobody else out.
pub const CONNECTIONS_MAX: usize = 4_096;

/// What the bodies of all requests that are being read may take together, in bytes; whoever sends more at that
/// moment is refused. Some hundred of the largest, some ten thousand of the usual ones.
pub const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Connections that were taken and wait for the thread that is to serve them.
pub const CONNECTIONS_HANDED_MAX: usize = 64;

/// The pause before the next connection is taken when the system refused to give one, as without free files.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// How long a client may take to send the head of a request.
pub const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to send a body: the largest one in this time is 26 KiB/s.
pub const REQUEST_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: longer than most clients poll, shorter than most proxies wait.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long the rest of a closing connection may take.
pub const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long requests in flight may go on after a stop: everything durable is spawned and done
/// long before, and streams would never end by themselves.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a command may take until it is answered that its outcome is not known: a commit takes milliseconds,
/// and clients give up after [`CLIENT_ANSWER_TIMEOUT`].
pub const ANSWER_MAX: Duration = Duration::from_secs(20);

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

/// How long a client waits for a connection: the server is on this machine or behind a near proxy.
pub const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client waits for an answer that the server does not hold back on purpose: a commit takes
/// milliseconds, a queue of them at its limit some seconds.
pub const CLIENT_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client waits while the server reads all of its store: some gigabytes.
pub const CLIENT_EXAMINE_TIMEOUT: Duration = Duration::from_secs(600);

/// The longest answer that a client reads whole: a page of the longest specs is below it.
pub const CLIENT_ANSWER_BYTES_MAX: usize = 160 * 1024 * 1024;

/// The longest single server-sent event: a callback's body and its frame.
pub const CLIENT_EVENT_BYTES_MAX: usize = 1024 * 1024;

/// The entries of a history that a client asks for at once: the most that the server gives.
pub const CLIENT_HISTORY_PAGE: usize = HISTORY_PAGE_MAX;

/// How long a client waits for the end of a job before it looks for the first time what holds it up; doubles
/// up to [`CLIENT_WAIT_STEP`].
pub const CLIENT_WAIT_FIRST: Duration = Duration::from_secs(2);

/// How long one request of a client waits for the end of a job, well below what proxies cut.
pub const CLIENT_WAIT_STEP: Duration = Duration::from_secs(20);

/// How often a client that waits for an array before somebody's eyes looks how far it is.
pub const CLIENT_ARRAY_LOOK: Duration = Duration::from_millis(500);

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

/// The longest spec file that the command line reads; the server's own limit is lower.
pub const SPEC_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How long `events` without `--follow` waits for one more recorded event before it ends.
pub const EVENTS_IDLE: Duration = Duration::from_millis(700);

/// Below this much free space `doctor` warns: a store that runs full refuses work.
pub const DISK_FREE_WARN_BYTES: u64 = 512 * 1024 * 1024;

/// Below so many open files `doctor` warns: every log, connection and attempt needs some.
pub const FILES_OPEN_WARN: u64 = 4_096;

/// How long the demonstration may take before it is called failed.
pub const DEMO_MAX: Duration = Duration::from_secs(90);

/// How long a server may need to start or stop in the demonstration.
pub const DEMO_SERVER_MAX: Duration = Duration::from_secs(10);

/// How long the engine may take to import the image of the demonstration, or to remove everything of it.
pub const DEMO_IMAGE_MAX: Duration = Duration::from_secs(30);

/// The pause between two steps of the demonstration's job; with [`DEMO_STEPS`] it runs for six seconds.
pub const DEMO_STEP: Duration = Duration::from_millis(300);

/// The steps of the demonstration's job.
pub const DEMO_STEPS: u32 = 20;

/// How long the demonstration's job goes on trying to tell that it is done.
pub const DEMO_CALLBACK_MAX: Duration = Duration::from_secs(30);

/// How long an engine is waited for at the start and by `doctor`: one that is restarted answers later.
pub const ENGINE_START_MAX: Duration = Duration::from_secs(10);

/// The most characters of an event's payload that are shown on its line.
pub const EVENT_DATA_CHARS_MAX: usize = 80;

/// How long a server that lived for one command waits for other clients: commands are answered in
/// milliseconds, and those who follow a job look for the next server by themselves.
pub const EMBEDDED_SHUTDOWN_MAX: Duration = Duration::from_millis(500);

/// The longest that a client of the Durable Functions API waits for an instance that it starts: Azure's front end cuts
/// requests off after that time.
pub const DURABLE_FUNCTIONS_WAIT_MAX: Duration = Duration::from_secs(230);

/// The longest that a stream of work is silent: workers take one for dead after 120 seconds without anything.
pub const DURABLE_TASK_PING_EVERY: Duration = Duration::from_secs(30);

/// Bytes of one message that somebody sends: a turn may ask for thousands of activities with an input each.
pub const DURABLE_TASK_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of a page of instances or of a part of a history: clients take messages of 4 MiB.
pub const DURABLE_TASK_PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How long a request waits while too many are under way, before it is refused.
pub const DURABLE_TASK_OVERLOAD_PATIENCE: Duration = Duration::from_secs(20);

/// Calls at the same time on one connection; a client that sends more lets them wait by itself.
pub const DURABLE_TASK_CALLS_PER_CONNECTION_MAX: u32 = 10_000;

/// How often a silent connection is asked whether somebody is still there, and how long the answer may take: the work
/// of a worker that has gone without a word goes to others.
pub const DURABLE_TASK_KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The longest body that the command line reads for a call of a trigger: more than any trigger takes.
pub const CLI_BODY_BYTES_MAX: u64 = 1024 * 1024;

/// Instances that one request may end at once, as the Durable Task Scheduler has it.
pub const DURABLE_TASK_TERMINATE_BATCH_MAX: usize = 500;

/// How long calls may take to end after the listener was told to stop: those that wait for the end of an instance
/// would go on for ever.
pub const DURABLE_TASK_SHUTDOWN_MAX: Duration = Duration::from_secs(2);

/// Bytes of requests that a connection may have under way. Half of it is what the overhead of small frames may come to
/// before the connection is ended as one that attacks (ENHANCE_YOUR_CALM): with this thousands of calls at once are none.
pub const DURABLE_TASK_CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;

/// Bytes of one request that are taken before it is looked at: a turn with large payloads is not to wait for each part.
pub const DURABLE_TASK_CALL_WINDOW: u32 = 1024 * 1024;
