//! The limits of container groups, their volumes and their probes.

use std::time::Duration;

/// Init containers of a job: they run one after the other, and each costs a start.
pub const INIT_CONTAINERS_MAX: usize = 8;

/// Sidecars of a job: an observation looks at each of them.
pub const SIDECARS_MAX: usize = 8;

/// The longest name of a container or a volume in characters: behind the attempt's name it stays below the 128 that
/// engines and tools show.
pub const MEMBER_NAME_CHARS_MAX: usize = 40;

/// Volumes of a job; the image of the anchor has a mount point for each.
pub const VOLUMES_MAX: usize = 16;

/// Mounts of one container.
pub const MOUNTS_MAX: usize = 16;

/// Files in one volume of secrets.
pub const SECRET_FILES_MAX: usize = 64;

/// The longest name of a file with a secret in characters.
pub const SECRET_FILE_NAME_CHARS_MAX: usize = 100;

/// The largest file with a secret in bytes: a chain of certificates and more.
pub const SECRET_FILE_BYTES_MAX: usize = 128 * 1024;

/// What a volume of secrets can hold in bytes, beside what its files have: the blocks of a file system in memory.
pub const SECRET_VOLUME_SLACK_BYTES: u64 = 1024 * 1024;

/// The smallest volume in memory in bytes: one that holds nothing is a typing error.
pub const MEMORY_VOLUME_BYTES_MIN: u64 = 64 * 1024;

/// The shortest pause between two probes: each is several requests to the engine.
pub const PROBE_EVERY_MIN: Duration = Duration::from_secs(1);

/// The longest that one probe may take.
pub const PROBE_TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// The most failures in a row that may be waited for.
pub const PROBE_FAILURES_MAX: u32 = 100;

/// What is kept of the output of a probe's command, in bytes.
pub const PROBE_OUTPUT_BYTES_MAX: usize = 1_024;

/// How long a container beside the main one has after the stop signal at least, also when that one used up the grace.
pub const SIDECAR_GRACE_MIN: Duration = Duration::from_secs(2);
