//! Limits of usage: how often it is measured, and how long the books are kept.

use std::time::Duration;

/// When a running attempt's accounts are read for the second time; each pause is twice the one before. Short enough
/// that the memory of a short attempt is more than what its program began with.
pub const USAGE_READ_FIRST: Duration = Duration::from_millis(50);

/// The longest pause between two readings: a reading costs some 50 µs, so that a thousand attempts take 0.5 % of a core.
pub const USAGE_READ_EVERY_MAX: Duration = Duration::from_secs(10);

/// How long the end of an attempt waits for its last reading, which is taken when the kernel tells of the end, long
/// before the engine does.
pub const USAGE_LAST_READING_MAX: Duration = Duration::from_millis(200);

/// How often charges are folded into sums: they are read exactly at any time, and this bounds what a report has to fold.
pub const USAGE_FOLD_EVERY: Duration = Duration::from_secs(30);

/// Charges that are folded in one commit: some 1 MB.
pub const USAGE_FOLD_PAGE: usize = 5_000;

/// Hours whose sums are kept: a year and the month in which its bill is written, where something ends in every hour.
pub const USAGE_KEPT_HOURS: u32 = 400 * 24;

/// Accounts of one hour that are kept apart by names and labels. Beyond them only the tenant and the runtime are: a
/// label that is different for every job must not make the books as long as the history.
pub const USAGE_ACCOUNTS_MAX: usize = 4_096;

/// Accounts of one hour that are kept apart at all.
pub const USAGE_TENANTS_MAX: usize = 8_192;

/// Sums that are read before others have their turn.
pub const USAGE_READ_PAGE: usize = 1_000;

/// Lines that are kept apart while a report is made: some 10 MB.
pub const USAGE_LINES_MAX: usize = 50_000;

/// Jobs that are looked at for a report by job.
pub const USAGE_JOBS_READ_MAX: usize = 50_000;

/// Lines of a report: more are no report.
pub const USAGE_ITEMS_MAX: usize = 1_000;

/// How far back a report goes where nothing is said, in hours: a month.
pub const USAGE_REPORT_HOURS: u32 = 30 * 24;
