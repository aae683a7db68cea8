//! The limits of queues and of their messages.

use std::time::Duration;

use crate::units::Span;

/// Queues of one installation: each keeps an actor and an index of its messages in memory, and has lines in the metrics.
pub const QUEUES_MAX: usize = 1_000;
/// Messages of one queue, those that wait, are leased, delayed or dead: each takes some 150 bytes of memory, and is read
/// when the queue comes back into it.
pub const QUEUE_MESSAGES_MAX: usize = 1_000_000;
/// The longest body of a message in bytes, as for callbacks: larger data goes by reference.
pub const QUEUE_BODY_BYTES_MAX: usize = 256 * 1024;
/// Messages in one request: what the best known queues take, times some; one commit holds it easily.
pub const QUEUE_BATCH_MAX: usize = 1_000;
/// Bytes of all messages of one request: a part of a group of commits.
pub const QUEUE_BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Headers of a message.
pub const QUEUE_HEADERS_MAX: usize = 16;
/// The longest value of a header in bytes; names are as long as those of labels.
pub const QUEUE_HEADER_BYTES_MAX: usize = 1_024;
/// The highest priority; the lowest is its negative, and 0 is usual.
pub const QUEUE_PRIORITY_MAX: i8 = 100;
/// The longest result of an acknowledged message in bytes: results are read by people and small programs.
pub const QUEUE_RESULT_BYTES_MAX: usize = 64 * 1024;
/// Characters of an error that are kept of a failed delivery.
pub const QUEUE_ERROR_CHARS_MAX: usize = 2_000;
/// Messages received at once.
pub const QUEUE_RECEIVE_MAX: u32 = 1_000;
/// Bytes of messages received at once; there is always room for one.
pub const QUEUE_RECEIVE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The longest that a receive waits for a message, so that no proxy in between gives up first.
pub const QUEUE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Receives that wait at one queue; each holds a connection.
pub const QUEUE_WAITERS_MAX: usize = 2_000;
/// Requests to one queue that wait for the commit that is under way; more is refused with 429.
pub const QUEUE_REQUESTS_WAITING_MAX: usize = 4_096;
/// Bytes of messages that wait for the commit that is under way; more is refused with 429.
pub const QUEUE_BYTES_WAITING_MAX: usize = 32 * 1024 * 1024;
/// Requests that share one transition, and so one commit: enough for every worker of a busy queue, few enough that none
/// waits long for the others.
pub const QUEUE_REQUESTS_PER_STEP: usize = 512;
/// Messages that the requests of one transition are about; the last of them may bring its whole batch.
pub const QUEUE_MESSAGES_PER_STEP: usize = 2_000;
/// Bytes that the requests of one transition bring; the last of them may bring its whole batch.
pub const QUEUE_BYTES_PER_STEP: usize = 4 * 1024 * 1024;
/// Messages whose time has come that one transition sees to; the rest follows in the next.
pub const QUEUE_DUE_PER_STEP: usize = 1_000;
/// Acknowledged messages that are remembered, so that acknowledging again is the same as once, and for their results.
pub const QUEUE_DONE_MAX: usize = 10_000;
/// Dead letters in one answer.
pub const QUEUE_PAGE_MAX: usize = 1_000;
/// Dead letters in one answer where nobody says how many.
pub const QUEUE_PAGE_DEFAULT: usize = 100;
/// How long a message is leased where neither queue nor worker says.
pub const QUEUE_LEASE_DEFAULT: Span = Span::from_secs(30);
/// The shortest lease: below it a busy disk could outlast it.
pub const QUEUE_LEASE_MIN: Span = Span::from_secs(1);
/// The longest lease; one may be renewed for ever.
pub const QUEUE_LEASE_MAX: Span = Span::from_secs(12 * 3_600);
/// Deliveries before a message counts as poisonous, where the queue does not say.
pub const QUEUE_DELIVERIES_DEFAULT: u32 = 5;
/// The most that a queue may say.
pub const QUEUE_DELIVERIES_MAX: u32 = 1_000;
/// How long a message waits to be worked on, where the queue does not say.
pub const QUEUE_RETENTION_DEFAULT: Span = Span::from_secs(14 * 86_400);
/// How long the id of a message is remembered, where the queue does not say.
pub const QUEUE_DEDUP_DEFAULT: Span = Span::from_secs(600);
/// The longest: every id is held in memory.
pub const QUEUE_DEDUP_MAX: Span = Span::from_secs(7 * 86_400);
/// How long what became of an acknowledged message is remembered, where the queue does not say.
pub const QUEUE_DONE_DEFAULT: Span = Span::from_secs(3_600);
/// The longest delay of a message.
pub const QUEUE_DELAY_MAX: Span = Span::from_secs(365 * 86_400);
