//! A cron expression: which dates and times of day it means, on a calendar without time zones. Pure.
//!
//! The fields are those of Vixie cron: lists, ranges and steps of numbers, names of months and of days of the week, 7 for
//! Sunday. Where neither the day of the month nor the day of the week begins with `*`, a date fits when either does;
//! else both have to.
//!
//! Not responsible for: time zones (`calendar.rs`), intervals and bounds (`plan.rs`).

use jiff::civil::{Date, DateTime, Time};

use crate::limits::SCHEDULE_HORIZON_YEARS;

/// Why a text is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Too few or too many fields.
    #[error("has {found} fields; {expected}")]
    Fields {
        /// How many there are.
        found: usize,
        /// What there should be.
        expected: &'static str,
    },
    /// A field that cannot be read.
    #[error("`{text}` is no {field}: {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

/// One field: its name, its smallest and greatest number, and the names of its numbers from the smallest on.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const SECOND: Field = Field { name: "second", min: 0, max: 59, names: &[] };
const MINUTE: Field = Field { name: "minute", min: 0, max: 59, names: &[] };
const HOUR: Field = Field { name: "hour", min: 0, max: 23, names: &[] };
const DAY: Field = Field { name: "day of the month", min: 1, max: 31, names: &[] };
const MONTH: Field = Field { name: "month", min: 1, max: 12, names: &MONTHS };
const WEEKDAY: Field = Field { name: "day of the week", min: 0, max: 7, names: &DAYS };

/// A cron expression: each field as the set of its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cron {
    seconds: Bits,
    minutes: Bits,
    hours: Bits,
    days: Bits,
    months: Bits,
    weekdays: Bits,
    /// One of the fields for days begins with `*`.
    needs_both_days: bool,
    /// Its minutes or hours begin with `*`: it means a rhythm and not times of day.
    is_rhythm: bool,
}

impl Cron {
    /// Reads five fields, or six with seconds first.
    pub(super) fn parse(text: &str, with_seconds: bool) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let (second, rest) = match (fields.as_slice(), with_seconds) {
            ([second, rest @ ..], true) if rest.len() == 5 => (*second, rest),
            (rest, false) if rest.len() == 5 => ("0", rest),
            (fields, _) => return Err(wrong_number(fields.len(), with_seconds)),
        };
        let [minute, hour, day, month, weekday] = rest else {
            return Err(wrong_number(fields.len(), with_seconds));
        };
        let mut weekdays = read(&WEEKDAY, weekday)?;
        if weekdays.has(7) {
            weekdays = weekdays.with(0);
        }
        Ok(Self {
            seconds: read(&SECOND, second)?,
            minutes: read(&MINUTE, minute)?,
            hours: read(&HOUR, hour)?,
            days: read(&DAY, day)?,
            months: read(&MONTH, month)?,
            weekdays,
            needs_both_days: day.starts_with('*') || weekday.starts_with('*'),
            is_rhythm: minute.starts_with('*') || hour.starts_with('*'),
        })
    }

    /// Whether it means a rhythm, which goes on through changes of the clock, and not times of day.
    pub(super) const fn is_rhythm(&self) -> bool {
        self.is_rhythm
    }

    /// The first moment at or behind `from`, which is a whole second. `None` when there is none for decades.
    pub(super) fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        let (mut date, mut time) = (from.date(), from.time());
        let last_year = from.year().saturating_add(SCHEDULE_HORIZON_YEARS);
        while date.year() <= last_year {
            if !self.months.has(positive(date.month())) {
                (date, time) = (date.last_of_month().tomorrow().ok()?, Time::MIN);
                continue;
            }
            if self.means_day(date)
                && let Some(found) = self.time_at_or_after(time)
            {
                return Some(date.to_datetime(found));
            }
            (date, time) = (date.tomorrow().ok()?, Time::MIN);
        }
        None
    }

    /// The last moment at or before `upto`, which is a whole second. `None` when there was none for decades.
    pub(super) fn at_or_before(&self, upto: DateTime) -> Option<DateTime> {
        let end = Time::constant(23, 59, 59, 0);
        let (mut date, mut time) = (upto.date(), upto.time());
        let first_year = upto.year().saturating_sub(SCHEDULE_HORIZON_YEARS);
        while date.year() >= first_year {
            if !self.months.has(positive(date.month())) {
                (date, time) = (date.first_of_month().yesterday().ok()?, end);
                continue;
            }
            if self.means_day(date)
                && let Some(found) = self.time_at_or_before(time)
            {
                return Some(date.to_datetime(found));
            }
            (date, time) = (date.yesterday().ok()?, end);
        }
        None
    }

    fn means_day(&self, date: Date) -> bool {
        let day = self.days.has(positive(date.day()));
        let weekday = self.weekdays.has(positive(date.weekday().to_sunday_zero_offset()));
        if self.needs_both_days { day && weekday } else { day || weekday }
    }

    fn time_at_or_after(&self, time: Time) -> Option<Time> {
        let (hour, minute, second) = parts(time);
        if self.hours.has(hour) {
            if self.minutes.has(minute)
                && let Some(second) = self.seconds.at_or_above(second)
            {
                return moment(hour, minute, second);
            }
            if let Some(minute) = self.minutes.at_or_above(minute + 1) {
                return moment(hour, minute, self.seconds.at_or_above(0)?);
            }
        }
        let hour = self.hours.at_or_above(hour + 1)?;
        moment(hour, self.minutes.at_or_above(0)?, self.seconds.at_or_above(0)?)
    }

    fn time_at_or_before(&self, time: Time) -> Option<Time> {
        let (hour, minute, second) = parts(time);
        if self.hours.has(hour) {
            if self.minutes.has(minute)
                && let Some(second) = self.seconds.at_or_below(second)
            {
                return moment(hour, minute, second);
            }
            if let Some(minute) = minute.checked_sub(1).and_then(|minute| self.minutes.at_or_below(minute)) {
                return moment(hour, minute, self.seconds.at_or_below(59)?);
            }
        }
        let hour = hour.checked_sub(1).and_then(|hour| self.hours.at_or_below(hour))?;
        moment(hour, self.minutes.at_or_below(59)?, self.seconds.at_or_below(59)?)
    }
}

fn wrong_number(found: usize, with_seconds: bool) -> CronError {
    let expected = match (with_seconds, found) {
        (true, _) => {
            "with `seconds` there are six: second, minute, hour, day of the month, month, day of the week"
        }
        (false, 6) => "there are five; for six with seconds first set `seconds` to true",
        (false, _) => "there are five: minute, hour, day of the month, month, day of the week",
    };
    CronError::Fields { found, expected }
}

fn read(field: &Field, text: &str) -> Result<Bits, CronError> {
    let wrong =
        |why: String| CronError::Field { field: field.name, text: text.chars().take(64).collect(), why };
    text.split(',')
        .try_fold(Bits(0), |bits, item| item_of(field, item).map(|item| bits.or(item)).map_err(wrong))
}

/// One item of a list: `*`, a number, a range, each with a step or without.
fn item_of(field: &Field, item: &str) -> Result<Bits, String> {
    let (range, step) = match item.split_once('/') {
        None => (item, None),
        Some((range, step)) => {
            let good = step.parse::<u32>().ok().filter(|step| (1..=field.max).contains(step));
            let step = good.ok_or_else(|| format!("a step is a number from 1 to {}", field.max))?;
            (range, Some(step))
        }
    };
    let (first, last) = match range.split_once('-') {
        // Sunday is there once.
        _ if range == "*" => (field.min, if field.max == 7 { 6 } else { field.max }),
        Some((first, last)) => (number(field, first)?, number(field, last)?),
        None => {
            let only = number(field, range)?;
            (only, if step.is_some() { field.max } else { only })
        }
    };
    if first > last {
        return Err(format!("the range {range} ends before it begins; write it as two, such as 22-23,0-4"));
    }
    let step = usize::try_from(step.unwrap_or(1)).unwrap_or(1);
    Ok((first..=last).step_by(step).fold(Bits(0), Bits::with))
}

fn number(field: &Field, text: &str) -> Result<u32, String> {
    let named = field.names.iter().position(|name| text.eq_ignore_ascii_case(name));
    let named = named.and_then(|at| u32::try_from(at).ok()).map(|at| field.min + at);
    // A sign is no part of a number here.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = named.or_else(|| text.parse().ok().filter(|_| plain));
    number.filter(|number| (field.min..=field.max).contains(number)).ok_or_else(|| {
        let names = match field.names {
            [first, .., last] => format!(" or a name from {first} to {last}"),
            _ => String::new(),
        };
        format!(
            "use numbers from {} to {}{names}, ranges a-b, lists a,b, steps */n, or *",
            field.min, field.max
        )
    })
}

fn positive(number: i8) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn parts(time: Time) -> (u32, u32, u32) {
    (positive(time.hour()), positive(time.minute()), positive(time.second()))
}

fn moment(hour: u32, minute: u32, second: u32) -> Option<Time> {
    let small = |number: u32| i8::try_from(number).ok();
    Time::new(small(hour)?, small(minute)?, small(second)?, 0).ok()
}

/// A set of numbers below 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bits(u64);

impl Bits {
    const fn with(self, number: u32) -> Self {
        Self(self.0 | 1 << number)
    }

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, number: u32) -> bool {
        number < 64 && self.0 & (1 << number) != 0
    }

    /// The smallest that is not below `number`.
    fn at_or_above(self, number: u32) -> Option<u32> {
        let rest = self.0 & u64::MAX.checked_shl(number)?;
        (rest != 0).then(|| rest.trailing_zeros())
    }

    /// The greatest that is not above `number`, which is below 64.
    fn at_or_below(self, number: u32) -> Option<u32> {
        let rest = self.0 & u64::MAX.checked_shr(63 - number.min(63))?;
        (rest != 0).then(|| 63 - rest.leading_zeros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, from: &str) -> Option<String> {
        let seconds = text.split_ascii_whitespace().count() == 6;
        let found = Cron::parse(text, seconds).unwrap().at_or_after(from.parse().unwrap())?;
        assert_eq!(Cron::parse(text, seconds).unwrap().at_or_before(found), Some(found), "{text}: it is one");
        Some(found.to_string())
    }

    #[test]
    fn the_next_moment_is_the_one_that_people_expect() {
        for (cron, from, expected) in [
            ("* * * * *", "2026-11-22T10:30:00", Some("2026-11-22T10:30:00")),
            ("* * * * *", "2026-11-22T10:30:01", Some("2026-11-22T10:31:00")),
            ("30 2 * * *", "2026-11-22T02:30:01", Some("2026-11-23T02:30:00")),
            ("*/20 9-17/4 * * mon-fri", "2026-11-21T12:00:00", Some("2026-11-23T09:00:00")),
            ("5/20 * * * *", "2026-11-21T12:26:00", Some("2026-11-21T12:45:00")),
            ("0 0 31 * *", "2026-11-01T00:00:00", Some("2026-12-31T00:00:00")),
            ("0 0 29 2 *", "2026-03-01T00:00:00", Some("2028-02-29T00:00:00")),
            ("0 0 29 2 *", "2097-01-01T00:00:00", Some("2104-02-29T00:00:00")),
            ("0 0 30 2 *", "2026-01-01T00:00:00", None),
            // Either day when both are named, both when one is not.
            ("0 0 13 * fri", "2026-11-01T00:00:00", Some("2026-11-06T00:00:00")),
            ("0 0 13 * 5", "2026-11-07T00:00:00", Some("2026-11-13T00:00:00")),
            ("0 0 */2 * fri", "2026-11-07T00:00:00", Some("2026-11-13T00:00:00")),
            ("0 0 * * 7", "2026-11-16T00:00:00", Some("2026-11-22T00:00:00")),
            ("0 0 * * SUN", "2026-11-16T00:00:00", Some("2026-11-22T00:00:00")),
            ("0 0 * JAN,dec *", "2026-02-01T00:00:00", Some("2026-12-01T00:00:00")),
            ("15,45 30 4 * * *", "2026-11-16T04:30:16", Some("2026-11-16T04:30:45")),
            ("0 0 0 1 1 *", "2026-01-01T00:00:01", Some("2027-01-01T00:00:00")),
        ] {
            assert_eq!(next(cron, from).as_deref(), expected, "{cron} from {from}");
        }
    }

    #[test]
    fn the_last_moment_mirrors_the_next_one() {
        for (cron, upto, expected) in [
            ("30 2 * * *", "2026-11-22T02:29:59", "2026-11-21T02:30:00"),
            ("0 0 29 2 *", "2026-03-01T00:00:00", "2024-02-29T00:00:00"),
            ("*/20 9-17/4 * * mon-fri", "2026-11-23T08:59:59", "2026-11-20T17:40:00"),
            ("0 12 * JAN *", "2026-11-23T08:59:59", "2026-01-31T12:00:00"),
        ] {
            let found = Cron::parse(cron, false).unwrap().at_or_before(upto.parse().unwrap()).unwrap();
            assert_eq!(found.to_string(), expected, "{cron} up to {upto}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_with_what_to_write() {
        for (text, seconds, expected) in [
            ("", false, "has 0 fields"),
            ("* * * *", false, "has 4 fields"),
            ("0 0 0 * * *", false, "set `seconds` to true"),
            ("0 0 * * *", true, "there are six"),
            ("60 * * * *", false, "minute: use numbers from 0 to 59"),
            ("* 24 * * *", false, "hour"),
            ("* * 0 * *", false, "day of the month"),
            ("* * 32 * *", false, "day of the month"),
            ("* * * 13 *", false, "a name from jan to dec"),
            ("* * * * 8", false, "day of the week"),
            ("* * * * mo", false, "a name from sun to sat"),
            ("*/0 * * * *", false, "a step is a number from 1"),
            ("*/x * * * *", false, "a step is a number from 1"),
            ("22-4 * * * *", false, "ends before it begins"),
            ("1, * * * *", false, "minute"),
            ("+1 * * * *", false, "minute"),
            ("-1 * * * *", false, "minute"),
            ("1--2 * * * *", false, "minute"),
            ("* * L * *", false, "day of the month"),
            ("* * ? * *", false, "day of the month"),
            ("* * * * 5#2", false, "day of the week"),
        ] {
            let error = Cron::parse(text, seconds).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
