//! Which boot of the host this is.
//!
//! Across a restart of the host an engine may invent an exit (FACTS docker 8); the boot during which a
//! container was created is written on it so that this can be seen. Not responsible for: remote engines. Of
//! another machine's boots nothing is known, and nothing is then concluded.

use std::fs;

use crate::clock::Timestamp;

/// This boot, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Boot {
    /// The kernel's random id of it.
    pub(super) id: Option<String>,
    /// When it began.
    pub(super) began_at: Option<Timestamp>,
}

impl Boot {
    /// The boot of this machine.
    pub(super) fn of_this_host() -> Self {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let began = fs::read_to_string("/proc/stat").ok().and_then(|stat| {
            let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
            seconds.trim().parse::<i64>().ok()?.checked_mul(1_000)
        });
        Self {
            id: id.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()),
            began_at: began.map(Timestamp::from_millis),
        }
    }
}
