//! From readings of a running container's accounts to what it used. Pure.
//!
//! CPU time is a counter, and its last reading counts. Memory is a level: the mean of its readings, weighted by the time
//! between them, stands for the whole life, so that a supervisor that was away for a while changes little.

use std::time::Duration;

use super::Usage;
use crate::clock::Timestamp;

/// What the accounts said at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// CPU time since the start, in microseconds.
    pub cpu_us: u64,
    /// Memory in use, in bytes, without what the kernel would give back at once.
    pub memory_bytes: u64,
}

/// Everything that was read of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readings {
    cpu_us: Option<u64>,
    /// The newest reading of memory, in bytes, and when.
    newest: Option<(Timestamp, u64)>,
    /// Between the first and the newest: bytes times milliseconds, and the milliseconds.
    area: u128,
    span_ms: u128,
    /// The CPU time was read when it had ended.
    has_ended: bool,
}

impl Readings {
    /// Adds a reading of the running container.
    pub fn add(&mut self, at: Timestamp, reading: Reading) {
        // A counter that is read of what is being taken down may say less.
        self.cpu_us = self.cpu_us.max(Some(reading.cpu_us));
        if let Some((before, bytes)) = self.newest {
            // A clock that was set back measures nothing.
            let passed = at.since(before).as_millis();
            self.area += passed * (u128::from(reading.memory_bytes) + u128::from(bytes)) / 2;
            self.span_ms += passed;
        }
        self.newest = Some((at, reading.memory_bytes));
    }

    /// Adds the CPU time of a container that has just ended: there is no memory any more to be read.
    pub fn end(&mut self, cpu_us: u64) {
        self.cpu_us = self.cpu_us.max(Some(cpu_us));
        self.has_ended = true;
    }

    /// The mean of memory over time; 0 where none was read.
    fn mean_bytes(&self) -> u128 {
        let newest = self.newest.map_or(0, |(_, bytes)| u128::from(bytes));
        self.area.checked_div(self.span_ms).unwrap_or(newest)
    }

    /// What it used, having run for so long until then.
    pub fn usage(&self, ran: Duration, until: Timestamp) -> Usage {
        let all = Usage::unmeasured(ran);
        let Some(cpu_us) = self.cpu_us else { return all };
        let kib_s = self.mean_bytes().saturating_mul(ran.as_millis()) / (1024 * 1000);
        // What came after the last reading is not known, unless that was of the end.
        let since = self.newest.filter(|_| !self.has_ended).map_or(Duration::ZERO, |(at, _)| until.since(at));
        Usage {
            cpu_us,
            memory_kib_s: u64::try_from(kib_s).unwrap_or(u64::MAX),
            unmeasured_ms: Usage::unmeasured(since.min(ran)).running_ms,
            ..all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Readings (when, CPU, memory), how long it ran, and the CPU and memory that come of it.
    type Case = (&'static [(i64, u64, u64)], Duration, u64, u64);

    fn readings(of: &[(i64, u64, u64)]) -> Readings {
        let mut readings = Readings::default();
        for (at, cpu_us, memory_bytes) in of.iter().copied() {
            readings.add(Timestamp::from_millis(at), Reading { cpu_us, memory_bytes });
        }
        readings
    }

    #[test]
    fn memory_is_the_mean_over_time_of_what_was_read() {
        let second = Duration::from_secs(1);
        let table: [Case; 7] = [
            // Once: it counts for the whole life.
            (&[(0, 9, 10 * MIB)], 4 * second, 9, 40 * 1024),
            // Rising evenly: the middle.
            (&[(0, 1, 0), (1_000, 2, 10 * MIB)], second, 2, 5 * 1024),
            // A long level weighs more than a short one.
            (&[(0, 1, MIB), (1, 1, 11 * MIB), (10_001, 5, 11 * MIB)], 10 * second, 5, 112_634),
            // What was not watched is taken to be like the rest.
            (&[(0, 1, 2 * MIB), (1_000, 2, 2 * MIB)], 100 * second, 2, 200 * 1024),
            // The clock was set back.
            (&[(5_000, 1, MIB), (1_000, 2, 3 * MIB)], second, 2, 3 * 1024),
            (&[(0, 1, MIB), (3_600_000, 2, MIB), (1_000, 2, MIB), (2_000, 2, MIB)], second, 2, 1024),
            // A counter never goes back.
            (&[(0, 7, MIB), (1, 3, MIB)], second, 7, 1024),
        ];
        for (of, ran, cpu_us, memory_kib_s) in table {
            let until = Timestamp::from_millis(of[of.len() - 1].0 + 7);
            let usage = readings(of).usage(ran, until);
            assert_eq!((usage.cpu_us, usage.memory_kib_s), (cpu_us, memory_kib_s), "{of:?}");
            assert_eq!(usage.unmeasured_ms, 7, "what came after the last reading is not known: {of:?}");
        }
    }

    #[test]
    fn the_last_moment_counts_cpu_and_no_memory() {
        let mut readings = readings(&[(0, 10, MIB)]);
        readings.end(25);
        let usage = readings.usage(Duration::from_secs(2), Timestamp::from_millis(2_000));
        assert_eq!((usage.cpu_us, usage.memory_kib_s, usage.unmeasured_ms), (25, 2 * 1024, 0));
    }

    #[test]
    fn what_ended_before_memory_was_read_counts_its_cpu_alone() {
        let mut readings = Readings::default();
        readings.end(900);
        let ran = Duration::from_millis(3);
        assert_eq!(
            readings.usage(ran, Timestamp::from_millis(3)),
            Usage { running_ms: 3, cpu_us: 900, ..Usage::default() }
        );
    }

    #[test]
    fn what_was_never_read_is_unmeasured() {
        let ran = Duration::from_millis(70);
        assert_eq!(Readings::default().usage(ran, Timestamp::from_millis(70)), Usage::unmeasured(ran));
    }
}
