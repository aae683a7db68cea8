//! Ending everything that belongs to an attempt.
//!
//! The shim is the subreaper of all it started, so that while it lives a walk from it finds every descendant,
//! whatever group or session it moved to. When the shim is gone, what is left is known by the process group of
//! the first process, and by an entry in the environment that all descendants inherit.

use std::io;
use std::sync::Arc;

use rustix::process::{Pid, Signal};

use super::proc::{self, Identity, Stat};

/// The variable that marks what belongs to an attempt.
pub(super) const MARK: &str = "DOGWATCH_PROCESS_OF";

/// Kills every descendant of the calling process once. Returns how many there were.
pub(super) fn kill_descendants() -> io::Result<usize> {
    let root = rustix::process::getpid().as_raw_pid();
    let found = proc::descendants(&proc::all()?, root);
    found.iter().for_each(kill);
    Ok(found.len())
}

/// What is known of an attempt that cannot end itself.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) shim: Identity,
    pub(super) process: Option<Identity>,
    /// The value of [`MARK`].
    pub(super) mark: String,
    /// The present boot.
    pub(super) boot: Arc<str>,
}

impl Remains {
    /// Kills once what is there of the attempt, the shim included. Returns how many there were.
    pub(super) fn kill(&self) -> io::Result<usize> {
        let all = proc::all()?;
        let mut found = Vec::new();
        if self.shim.is_alive(&self.boot)? {
            found = proc::descendants(&all, self.shim.pid);
            found.extend(all.iter().find(|stat| stat.pid == self.shim.pid));
        }
        if let Some(process) = &self.process
            && process.is_alive(&self.boot)?
        {
            found.extend(all.iter().filter(|stat| stat.group == process.pid && stat.runs()));
        }
        let entry = format!("{MARK}={}", self.mark);
        let young = all.iter().filter(|stat| stat.start_ticks >= self.shim.start_ticks && stat.runs());
        found.extend(young.filter(|stat| proc::has_environment(stat.pid, &entry)));
        found.sort_unstable_by_key(|stat| stat.pid);
        found.dedup();
        found.iter().for_each(kill);
        Ok(found.len())
    }
}

fn kill(stat: &Stat) {
    if let Some(pid) = Pid::from_raw(stat.pid) {
        // It may have ended by itself meanwhile; whoever counts looks again.
        rustix::process::kill_process(pid, Signal::KILL).ok();
    }
}
