//! A cron expression in a time zone: which moments it means where clocks are changed. Pure.
//!
//! The rule is that of Vixie cron. An expression that names times of day (neither its minutes nor its hours begin with
//! `*`) fires once for each of them: a time that the clock skips fires at the moment at which it is changed, and one
//! that comes twice fires the first time. Any other expression is a rhythm: it fires whenever the clock on the wall
//! shows such a time, so that it goes on at its pace when the clock is changed.
//!
//! Not responsible for: which dates and times an expression means (`cron.rs`).
//!
//! Invariants: later local times of day never fire at earlier moments; of several that are skipped at once, and of the
//! one that follows at the moment of the change, one fire comes.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp as Moment};

use super::cron::Cron;
use crate::clock::Timestamp;
use crate::limits::SCHEDULE_HORIZON_YEARS;

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const INSTANT: SignedDuration = SignedDuration::from_nanos(1);

/// Between how many changes of the clock a rhythm is looked for: more than any zone has in the years that are searched.
const CHANGES_MAX: i16 = SCHEDULE_HORIZON_YEARS * 8;

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub(super) struct Calendar {
    pub(super) cron: Cron,
    pub(super) zone: TimeZone,
}

/// A change of the clock.
struct Change {
    at: Moment,
    /// What the clock showed at this moment, had it not been changed.
    unchanged: DateTime,
}

impl Calendar {
    /// The first moment behind `after`.
    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = Moment::from_millisecond(after.as_millis()).ok()?;
        let found = if self.cron.is_rhythm() { self.beat_after(after) } else { self.time_after(after) };
        found.map(|found| Timestamp::from_millis(found.as_millisecond()))
    }

    /// The last moment up to `upto`.
    pub(super) fn last_until(&self, upto: Timestamp) -> Option<Timestamp> {
        let upto = Moment::from_millisecond(upto.as_millis()).ok()?;
        let found = if self.cron.is_rhythm() { self.beat_until(upto) } else { self.time_until(upto) };
        found.map(|found| Timestamp::from_millis(found.as_millisecond()))
    }

    fn time_after(&self, after: Moment) -> Option<Moment> {
        let mut from = whole_second(self.zone.to_datetime(after))?.checked_add(SECOND).ok()?;
        // What the clock shows for the second time has fired.
        if let Some(change) = self.change_until(after) {
            from = from.max(change.unchanged);
        }
        loop {
            let local = self.cron.at_or_after(from)?;
            let at = self.moment_of(local)?;
            if at > after {
                return Some(at);
            }
            from = local.checked_add(SECOND).ok()?;
        }
    }

    fn time_until(&self, upto: Moment) -> Option<Moment> {
        let mut until = whole_second(self.zone.to_datetime(upto))?;
        // All that the clock shows for the second time has fired.
        if let Some(change) = self.change_until(upto) {
            until = until.max(change.unchanged.checked_sub(SECOND).ok()?);
        }
        loop {
            let local = self.cron.at_or_before(until)?;
            let at = self.moment_of(local)?;
            if at <= upto {
                return Some(at);
            }
            until = local.checked_sub(SECOND).ok()?;
        }
    }

    /// When a time of day fires.
    fn moment_of(&self, local: DateTime) -> Option<Moment> {
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
            // By the clock as it was before, it lies at or shortly behind the change.
            AmbiguousOffset::Gap { before, .. } => {
                let behind = before.to_timestamp(local).ok()?;
                Some(self.change_until(behind)?.at)
            }
        }
    }

    /// The last change of the clock up to a moment.
    fn change_until(&self, upto: Moment) -> Option<Change> {
        let at = self.zone.preceding(upto.checked_add(INSTANT).ok()?).next()?.timestamp();
        let before = self.zone.to_offset(at.checked_sub(INSTANT).ok()?);
        Some(Change { at, unchanged: before.to_datetime(at) })
    }

    fn beat_after(&self, after: Moment) -> Option<Moment> {
        let mut from = Moment::from_second(after.as_second().checked_add(1)?).ok()?;
        if after.as_second() < 0 && after.subsec_nanosecond() != 0 {
            // Before 1970 seconds are cut off towards it.
            from = Moment::from_second(after.as_second()).ok()?;
        }
        for _ in 0..CHANGES_MAX {
            let offset = self.zone.to_offset(from);
            let found = self.beat(offset, self.cron.at_or_after(offset.to_datetime(from))?)?;
            match self.zone.following(from).next().map(|change| change.timestamp()) {
                Some(change) if change <= found => from = change,
                _ => return Some(found),
            }
        }
        None
    }

    fn beat_until(&self, upto: Moment) -> Option<Moment> {
        let mut until = upto;
        for _ in 0..CHANGES_MAX {
            let offset = self.zone.to_offset(until);
            let local = whole_second(offset.to_datetime(until))?;
            let found = self.beat(offset, self.cron.at_or_before(local)?)?;
            match self.change_until(until).map(|change| change.at) {
                Some(change) if found < change => until = change.checked_sub(INSTANT).ok()?,
                _ => return Some(found),
            }
        }
        None
    }

    fn beat(&self, offset: Offset, local: DateTime) -> Option<Moment> {
        offset.to_timestamp(local).ok()
    }
}

/// A local time without its fraction of a second.
fn whole_second(local: DateTime) -> Option<DateTime> {
    local.with().subsec_nanosecond(0).build().ok()
}
