//! Time as data: [`Timestamp`] is what state stores, [`Clock`] is where it comes from.
//!
//! Nothing else in the crate may ask the operating system for the time (clippy bans it), so that a
//! simulation can run months in seconds and a test can make the clock jump.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment of wall-clock time: milliseconds since the Unix epoch. Serialised as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment plus `span`, saturating.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The length of the text of a time of our years.
const TEXT_BYTES: usize = "2026-11-21T08:00:00.000Z".len();

/// The last time that has a text, a day before the end of the year 9999: what is read back may have any offset.
const LAST: i64 = 253_402_207_200_000;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

impl Timestamp {
    /// The text in RFC 3339 to the millisecond, from 1970 to 9999. By hand, because half a dozen of these are in each record
    /// and each answer, and a library's formatter for all calendars took a seventh of what a transition costs.
    fn write_to(self, text: &mut [u8; TEXT_BYTES]) -> Option<&str> {
        if !(0..=LAST).contains(&self.0) {
            return None;
        }
        let (year, month, day) = civil(self.0 / DAY_MILLIS);
        let millis = self.0 % DAY_MILLIS;
        *text = *b"0000-00-00T00:00:00.000Z";
        put(text, 0, year / 100);
        put(text, 2, year % 100);
        put(text, 5, month);
        put(text, 8, day);
        put(text, 11, millis / 3_600_000);
        put(text, 14, millis / 60_000 % 60);
        put(text, 17, millis / 1_000 % 60);
        put(text, 20, millis % 1_000 / 10);
        text[22] += (millis % 10) as u8;
        str::from_utf8(text).ok()
    }
}

/// The two digits of every number below 100.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Writes a number below 100.
fn put(text: &mut [u8; TEXT_BYTES], at: usize, number: i64) {
    text[at..at + 2].copy_from_slice(&PAIRS[number as usize % PAIRS.len()]);
}

impl Timestamp {
    /// Reads what [`Timestamp::write_to`] wrote, and nothing else: the form of every stored time.
    fn from_own_text(text: &str) -> Option<Self> {
        let text: &[u8; TEXT_BYTES] = text.as_bytes().try_into().ok()?;
        let number = |at: usize, digits: usize| {
            text[at..at + digits].iter().try_fold(0_i64, |number, digit| {
                digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
            })
        };
        let days = days_of((number(0, 4)?, number(5, 2)?, number(8, 2)?));
        let seconds = (number(11, 2)? * 60 + number(14, 2)?) * 60 + number(17, 2)?;
        let found = Self(days * DAY_MILLIS + seconds * 1_000 + number(20, 3)?);
        // Whatever is no day or no time, and every other separator, would be written in another way.
        (found.write_to(&mut [0; TEXT_BYTES])?.as_bytes() == text).then_some(found)
    }
}

/// The inverse of [`civil`].
fn days_of((year, month, day): (i64, i64, i64)) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

/// The year, month and day of so many days after the first of January 1970; in the Gregorian calendar, in which 400 years have
/// 146,097 days. Years begin in March here, so that the day that some of them have more is their last
/// (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    // From the first of March of the year 0.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.write_to(&mut [0; TEXT_BYTES]) {
            return f.write_str(text);
        }
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// The text is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 time; write it like 2026-11-21T08:00:00Z")]
pub struct ParseTimestampError(String);

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(found) = Self::from_own_text(text) {
            return Ok(found);
        }
        let parsed: Result<jiff::Timestamp, _> = text.parse();
        parsed
            .map(|at| Self(at.as_millisecond()))
            .map_err(|_| ParseTimestampError(text.chars().take(64).collect()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.write_to(&mut [0; TEXT_BYTES]) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse().map_err(E::custom)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The wall-clock time now. May jump either way; state stores absolute times, so a jump moves deadlines
    /// with the wall clock and never fires one twice.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the system's time enters")]
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }
}

/// A clock that follows tokio's: under `tokio::time::pause()` it is virtual time.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    origin: tokio::time::Instant,
    start: Timestamp,
}

#[cfg(any(test, feature = "testing"))]
impl TokioClock {
    /// A clock that shows `start` now and goes on with tokio's time.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { origin: tokio::time::Instant::now(), start }
    }
}

#[cfg(any(test, feature = "testing"))]
impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.start.after(self.origin.elapsed())
    }
}

/// A clock that stands still until it is moved.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

#[cfg(any(test, feature = "testing"))]
impl ManualClock {
    /// A clock that shows `start`.
    pub fn starting_at(start: Timestamp) -> Self {
        Self(start.as_millis().into())
    }

    /// Sets the time, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), std::sync::atomic::Ordering::SeqCst);
    }

    /// Moves the time forwards.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().after(span));
    }
}

#[cfg(any(test, feature = "testing"))]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_timestamp_reads_back() {
        let at = Timestamp::from_millis(1_795_229_674_123);
        assert_eq!(at.to_string(), "2026-11-21T02:54:34.123Z");
        assert_eq!(at.to_string().parse(), Ok(at));
        assert_eq!("2026-11-21T03:54:34.123+01:00".parse(), Ok(at));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    proptest! {
        #[test]
        fn every_time_is_written_as_the_library_writes_it(millis in prop_oneof![
            -10 * DAY_MILLIS..40 * 366 * DAY_MILLIS, i64::MIN..i64::MAX, 0..LAST, LAST - 5..LAST + 5,
        ]) {
            let expected = jiff::Timestamp::from_millisecond(millis)
                .map_or_else(|_| format!("{millis}ms"), |at| format!("{at:.3}"));
            prop_assert_eq!(Timestamp(millis).to_string(), expected.clone());
            prop_assert_eq!(serde_json::to_value(Timestamp(millis)).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_all_else_as_the_library_reads_it(
            millis in 0..LAST, at in 0..TEXT_BYTES, other in "[0-9TZ:.+ -]",
        ) {
            let mut text = Timestamp(millis).to_string();
            prop_assert_eq!(Timestamp::from_own_text(&text), Some(Timestamp(millis)));
            text.replace_range(at..=at, &other);
            let of_library = text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp(at.as_millisecond()));
            prop_assert_eq!(text.parse().ok(), of_library);
        }
    }

    #[test]
    fn the_days_of_four_hundred_years_are_those_of_the_library() {
        for day in 0..146_097 {
            let at = Timestamp(day * DAY_MILLIS);
            assert_eq!(at.to_string(), format!("{:.3}", jiff::Timestamp::from_millisecond(at.0).unwrap()));
        }
    }

    #[test]
    fn the_last_time_that_has_a_text_is_the_librarys() {
        assert!(jiff::Timestamp::from_millisecond(LAST).is_ok());
        assert!(jiff::Timestamp::from_millisecond(LAST + 1).is_err());
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::from_millis(i64::MAX).after(Duration::from_secs(1)).as_millis(), i64::MAX);
        assert_eq!(Timestamp::from_millis(5).since(Timestamp::from_millis(9)), Duration::ZERO);
    }
}
