//! The times of a schedule: a cron expression or an interval, between two bounds, with jitter. Pure.
//!
//! A *time* is when a schedule is meant to fire, and is what identifies a fire; with jitter it fires a little later. The
//! jitter of a time is made of the schedule's name and the time, and never reaches the next time, so that fires come in
//! the order of their times.

use jiff::Timestamp as Moment;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::calendar::Calendar;
use super::cron::{Cron, CronError};
use super::spec::Spec;
use crate::clock::Timestamp;
use crate::limits::{CRON_BYTES_MAX, SCHEDULE_EVERY_MIN, TIME_ZONE_BYTES_MAX};
use crate::units::{ParseSpanError, Span};

/// Why a schedule has no times.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It is no cron expression.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// It is too long.
    #[error("has more than {CRON_BYTES_MAX} bytes")]
    Long,
    /// It is no interval.
    #[error("is no interval: {0}")]
    Every(#[from] ParseSpanError),
    /// It is too short.
    #[error("is an interval of less than {SCHEDULE_EVERY_MIN}")]
    Short,
    /// There is no such word.
    #[error(
        "`{0}` is not known; use @yearly, @monthly, @weekly, @daily, @hourly, or @every and a duration such as 90s"
    )]
    Word(String),
    /// A word or an interval has no seconds.
    #[error("has no fields; leave `seconds` out")]
    Seconds,
    /// There is no such time zone.
    #[error("`{0}` is not a time zone; use a name of the IANA database such as Europe/Berlin")]
    Zone(String),
}

/// When something comes, without bounds and jitter.
#[derive(Debug, Clone)]
enum Rhythm {
    Calendar(Calendar),
    /// Every so many milliseconds, counted from a moment.
    Every {
        millis: i64,
        from: i64,
    },
}

/// The times of a schedule.
#[derive(Debug, Clone)]
pub struct Plan {
    rhythm: Rhythm,
    zone: TimeZone,
    start_at: Option<Timestamp>,
    end_at: Option<Timestamp>,
    jitter: Option<Span>,
    name: String,
}

impl Plan {
    /// The times of the schedule of this name.
    pub fn of(name: &str, spec: &Spec) -> Result<Self, PlanError> {
        let zone = zone(&spec.time_zone)?;
        Ok(Self {
            rhythm: rhythm(spec, &zone)?,
            zone,
            start_at: spec.start_at,
            end_at: spec.end_at,
            jitter: spec.jitter,
            name: name.to_owned(),
        })
    }

    /// The first time behind `after`.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let just_before = |at: Timestamp| Timestamp::from_millis(at.as_millis().saturating_sub(1));
        let after = self.start_at.map(just_before).into_iter().fold(after, Timestamp::max);
        self.rhythm.next_after(after).filter(|at| self.end_at.is_none_or(|end| *at <= end))
    }

    /// The last time up to `upto`.
    pub fn last_until(&self, upto: Timestamp) -> Option<Timestamp> {
        let upto = self.end_at.into_iter().fold(upto, Timestamp::min);
        self.rhythm.last_until(upto).filter(|at| self.start_at.is_none_or(|start| *at >= start))
    }

    /// When the schedule fires for a time: later by its jitter.
    pub fn due_at(&self, at: Timestamp) -> Timestamp {
        let Some(jitter) = self.jitter.filter(|jitter| jitter.as_millis() > 0) else { return at };
        let room = self.rhythm.next_after(at).map_or(u64::MAX, |next| millis_between(at, next));
        let room = room.min(jitter.as_millis()).max(1);
        let share =
            xxhash_rust::xxh3::xxh3_64(&[self.name.as_bytes(), &at.as_millis().to_be_bytes()].concat());
        at.after(Span::from_millis(share % room).as_duration())
    }

    /// How many times lie behind `after` and up to `upto`, where that is known without looking at each.
    pub(super) fn count(&self, after: Timestamp, upto: Timestamp) -> Option<u64> {
        let Rhythm::Every { millis, .. } = self.rhythm else { return None };
        let (first, last) = (self.next_after(after)?, self.last_until(upto)?);
        let between = last.as_millis().saturating_sub(first.as_millis());
        u64::try_from(between / millis).ok().filter(|_| first <= last).map(|steps| steps + 1)
    }

    /// What the clock shows at a moment in the schedule's time zone, with its offset.
    pub fn local(&self, at: Timestamp) -> String {
        match Moment::from_millisecond(at.as_millis()) {
            Ok(moment) => moment.display_with_offset(self.zone.to_offset(moment)).to_string(),
            Err(_) => at.to_string(),
        }
    }
}

impl Rhythm {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Calendar(calendar) => calendar.next_after(after),
            Self::Every { millis, from } => {
                let since = after.as_millis().checked_sub(*from)?;
                let steps = if since < 0 { 0 } else { since / millis + 1 };
                Some(Timestamp::from_millis(from.checked_add(steps.checked_mul(*millis)?)?))
            }
        }
    }

    fn last_until(&self, upto: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Calendar(calendar) => calendar.last_until(upto),
            Self::Every { millis, from } => {
                let since = upto.as_millis().checked_sub(*from).filter(|since| *since >= 0)?;
                Some(Timestamp::from_millis(from + since / millis * millis))
            }
        }
    }
}

/// The time zone of this name, from the database that is part of the program: the same on every machine.
fn zone(name: &str) -> Result<TimeZone, PlanError> {
    let unknown = || PlanError::Zone(name.chars().take(TIME_ZONE_BYTES_MAX).collect());
    if name.len() > TIME_ZONE_BYTES_MAX || name.eq_ignore_ascii_case("Etc/Unknown") {
        return Err(unknown());
    }
    TimeZoneDatabase::bundled().get(name).map_err(|_| unknown())
}

fn rhythm(spec: &Spec, zone: &TimeZone) -> Result<Rhythm, PlanError> {
    let text = spec.cron.trim();
    if text.len() > CRON_BYTES_MAX {
        return Err(PlanError::Long);
    }
    let Some(word) = text.strip_prefix('@') else {
        let cron = Cron::parse(text, spec.seconds)?;
        return Ok(Rhythm::Calendar(Calendar { cron, zone: zone.clone() }));
    };
    if spec.seconds {
        return Err(PlanError::Seconds);
    }
    let fields = match word {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        _ => return every(word, spec.start_at),
    };
    Ok(Rhythm::Calendar(Calendar { cron: Cron::parse(fields, false)?, zone: zone.clone() }))
}

fn every(word: &str, start_at: Option<Timestamp>) -> Result<Rhythm, PlanError> {
    let Some(span) = word.strip_prefix("every").filter(|span| span.starts_with([' ', '\t'])) else {
        return Err(PlanError::Word(format!("@{}", word.chars().take(32).collect::<String>())));
    };
    let span: Span = span.parse()?;
    if span < SCHEDULE_EVERY_MIN {
        return Err(PlanError::Short);
    }
    let millis = i64::try_from(span.as_millis()).map_err(|_| PlanError::Long)?;
    // Without a start the epoch will do: declared anew, it comes at the same times.
    Ok(Rhythm::Every { millis, from: start_at.map_or(0, Timestamp::as_millis) })
}

fn millis_between(earlier: Timestamp, later: Timestamp) -> u64 {
    u64::try_from(later.as_millis().saturating_sub(earlier.as_millis())).unwrap_or(0)
}
