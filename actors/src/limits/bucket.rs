//! The limits of buckets.

use std::time::Duration;

/// How long a bucket may take to accept a connection.
pub const BUCKET_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a bucket may be silent in the middle of an answer. There is no limit for a whole answer: objects are large.
pub const BUCKET_SILENCE_MAX: Duration = Duration::from_secs(30);

/// How often one request to a bucket is made again before whoever asked hears of it, and decides.
pub const BUCKET_RETRIES_MAX: usize = 3;

/// How long that may take in all.
pub const BUCKET_RETRIED_FOR_MAX: Duration = Duration::from_secs(30);

/// Connections to one bucket that are kept while nobody uses them.
pub const BUCKET_IDLE_CONNECTIONS_MAX: usize = 4;

/// The longest file with the secret of a bucket in bytes: a service account of Google is about 2.5 KiB.
pub const BUCKET_SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of an object that are held before they are sent as a part: the least that all providers take as one.
pub const BUCKET_PART_BYTES: usize = 8 * 1024 * 1024;
