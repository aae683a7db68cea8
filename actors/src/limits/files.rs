//! The limits of files in and out, and of what is kept of them.

use std::time::Duration;

/// Inputs of a job.
pub const INPUTS_MAX: usize = 64;

/// Outputs of a job: paths and patterns.
pub const OUTPUTS_MAX: usize = 64;

/// The longest input in bytes: it lies on this machine's disk while it is placed.
pub const INPUT_BYTES_MAX: u64 = 2 << 30;

/// All inputs of an attempt in bytes.
pub const INPUTS_BYTES_MAX: u64 = 8 << 30;

/// Files that are collected of one attempt: each has a place in the snapshot of its job.
pub const OUTPUT_FILES_MAX: usize = 256;

/// The longest file that is collected, in bytes: what all providers take in parts of
/// [`BUCKET_PART_BYTES`](super::BUCKET_PART_BYTES).
pub const OUTPUT_BYTES_MAX: u64 = 16 << 30;

/// All files that are collected of one attempt, in bytes.
pub const OUTPUTS_BYTES_MAX: u64 = 64 << 30;

/// The longest name of an artifact in bytes: what all providers take as a key, escaped.
pub const ARTIFACT_NAME_BYTES_MAX: usize = 255;

/// Artifacts that a job lists, over all its attempts; those of the oldest go first.
pub const ARTIFACTS_KEPT_MAX: usize = 1_024;

/// How long one try to place all inputs may take, a slow line included.
pub const PLACE_DEADLINE: Duration = Duration::from_secs(1_800);

/// How long inputs are tried to be placed before their attempt counts as one that cannot start.
pub const PLACE_PATIENCE: Duration = Duration::from_secs(900);

/// How long one try to collect all outputs may take.
pub const COLLECT_DEADLINE: Duration = Duration::from_secs(3_600);

/// How long outputs are tried to be collected before their attempt ends without them.
pub const COLLECT_PATIENCE: Duration = Duration::from_secs(900);

/// How long a server may take to accept a connection for an input.
pub const INPUT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may be silent in the middle of an input.
pub const INPUT_SILENCE_MAX: Duration = Duration::from_secs(60);

/// Redirects that are followed for an input.
pub const INPUT_REDIRECTS_MAX: usize = 5;

/// Attempts whose files are carried in at the same time, and as many out: each holds a few parts of
/// [`BUCKET_PART_BYTES`](super::BUCKET_PART_BYTES) in memory.
pub const CARRIED_AT_ONCE_MAX: usize = 8;

/// Bytes of a file that are handed on at once.
pub const FILE_CHUNK_BYTES: usize = 64 * 1024;

/// Such chunks that may wait for whoever takes them.
pub const FILE_CHUNKS_QUEUED_MAX: usize = 8;

/// How long the removal of what a purged job left waits before it is tried again.
pub const SWEEP_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The longest such pause.
pub const SWEEP_RETRY_MAX: Duration = Duration::from_secs(6 * 3_600);
