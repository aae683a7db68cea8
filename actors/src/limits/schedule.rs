//! The limits of schedules and of what they start.

use std::time::Duration;

use crate::units::Span;

/// Schedules of one installation: all of them are read to list them, and each has lines of its own in the metrics.
pub const SCHEDULES_MAX: usize = 1_000;

/// Length of a cron expression in bytes: every minute of an hour may be named.
pub const CRON_BYTES_MAX: usize = 512;

/// Length of the name of a time zone in bytes; the longest of the IANA database has 32.
pub const TIME_ZONE_BYTES_MAX: usize = 64;

/// The shortest interval of a schedule: each fire is a commit, and a job.
pub const SCHEDULE_EVERY_MIN: Span = Span::from_secs(1);

/// Years that are searched for the next time of a cron expression. The rarest, a leap day that is a certain day of the
/// week around a century without one, comes within forty.
pub const SCHEDULE_HORIZON_YEARS: i16 = 50;

/// What a schedule started and what is not over: its snapshot holds them all and is written whenever one changes.
pub const SCHEDULE_RUNS_MAX: usize = 100;

/// Fires that may wait for the end of what runs.
pub const SCHEDULE_QUEUE_MAX: u32 = 100;

/// Fires that may wait where the schedule does not say.
pub const SCHEDULE_QUEUE_DEFAULT: u32 = 10;

/// The most times that are made up for at once: each is a job that is submitted in one commit.
pub const SCHEDULE_CATCH_UP_MAX: u32 = 100;

/// The most times that were missed at once that are counted one by one; more count as so many.
pub const SCHEDULE_MISSED_COUNTED_MAX: u64 = 10_000;

/// A fire that comes later than this behind its time is past due: longer than a busy machine or a restart takes.
pub const SCHEDULE_LATE_AFTER: Duration = Duration::from_secs(5);

/// Fires that are over and are still shown.
pub const SCHEDULE_FIRES_KEPT: usize = 20;

/// The longest sentence about the end of what a schedule started that it keeps, in characters: all of them are written
/// whenever one changes.
pub const SCHEDULE_MESSAGE_CHARS_MAX: usize = 512;

/// The next times that are shown of a schedule.
pub const SCHEDULE_UPCOMING: usize = 10;

/// The most times that a preview shows.
pub const SCHEDULE_PREVIEW_MAX: usize = 100;
