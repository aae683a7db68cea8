//! Measuring what the processes of an attempt use.
//!
//! CPU time is what the kernel counted of all that was reaped: the shim is the parent or the subreaper of everything in an
//! attempt, and serves one after the other. Missing are children of processes that ignore SIGCHLD, whose time the kernel
//! gives to nobody (getrusage(2)). Memory is what is resident of all of it, read now and then;
//! what is over before the first reading counts none.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use tokio::time::Instant;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::limits::{USAGE_READ_EVERY_MAX, USAGE_READ_FIRST};
use crate::runtime::process::proc;
use crate::usage::Usage;
use crate::usage::readings::{Reading, Readings};

/// The meter of one attempt.
pub(super) struct Meter {
    /// CPU time of all attempts before, in microseconds.
    before_us: Option<u64>,
    readings: Readings,
    next_at: Instant,
    pause: Duration,
}

impl Meter {
    /// Begins with an attempt that was just started.
    pub(super) fn begin() -> Self {
        Self {
            before_us: reaped_us(),
            readings: Readings::default(),
            next_at: Instant::now() + USAGE_READ_FIRST,
            pause: USAGE_READ_FIRST,
        }
    }

    /// How long until the next reading.
    pub(super) fn patience(&self) -> Duration {
        self.next_at.saturating_duration_since(Instant::now())
    }

    /// Reads, when it is time.
    pub(super) fn tick(&mut self) {
        if self.next_at > Instant::now() {
            return;
        }
        if let Some(memory_bytes) = proc::resident_below() {
            self.readings.add(SystemClock.now(), Reading { cpu_us: 0, memory_bytes });
        }
        self.next_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(USAGE_READ_EVERY_MAX);
    }

    /// What the attempt used: all of it has been reaped.
    pub(super) fn usage(mut self, ran: Duration, until: Timestamp) -> Usage {
        if let (Some(before), Some(now)) = (self.before_us, reaped_us()) {
            self.readings.end(now.saturating_sub(before));
        }
        self.readings.usage(ran, until)
    }
}

/// CPU time of everything that this process has reaped, and of what that had reaped, in microseconds.
fn reaped_us() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    u64::try_from(usage.user_time().num_microseconds() + usage.system_time().num_microseconds()).ok()
}
