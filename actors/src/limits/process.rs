//! Limits of processes and of the shims that serve them.

use std::time::Duration;

/// How long the start of a process may take until its shim has reported; loading a program from a cold and
/// busy disk takes seconds.
pub const PROCESS_START_MAX: Duration = Duration::from_secs(30);

/// How long after a kill a process may still be there: it dies when it next leaves the kernel, which a sick
/// disk can delay.
pub const PROCESS_KILL_MAX: Duration = Duration::from_secs(5);

/// How long output is read after the end of a process, when something that cannot be killed holds its pipes.
pub const PROCESS_DRAIN_MAX: Duration = Duration::from_secs(2);

/// How long a shim tries again to spawn while the host is short of processes or the file is being written.
pub const PROCESS_SPAWN_RETRY_MAX: Duration = Duration::from_secs(5);

/// Attempts of which is remembered what their shims said last, so that it need not be read: more are read from their
/// records.
pub const PROCESSES_KNOWN_MAX: usize = 16_384;

/// Shims that rest until there is another attempt for them: as many as usually run at once on one machine; each
/// takes a few hundred kilobytes.
pub const SHIMS_RESTING_MAX: usize = 64;

/// How long a shim rests before it goes: longer than the pauses of a machine that is busy.
pub const SHIM_REST_MAX: Duration = Duration::from_secs(10);

/// File descriptors of a process before it raises its own limit: the kernel's default, which `select` needs.
pub const PROCESS_FILES_SOFT_MAX: u64 = 1024;

/// The longest record of an attempt's directory in bytes; a plan holds at most a spec and some variables.
pub const PROCESS_RECORD_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Files of records that are over which are kept to be those of the next attempts: as many as there are shims at rest.
pub const RECORDS_SPARE_MAX: usize = SHIMS_RESTING_MAX;

/// How long a file is kept for another record: longer than the pauses of a machine that is busy.
pub const RECORD_REST_MAX: Duration = Duration::from_secs(2);
