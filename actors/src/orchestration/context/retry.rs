//! When a failed activity or child is tried again. Pure.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::super::failure::Failure;
use crate::clock::Timestamp;

type Predicate = Arc<dyn Fn(&Failure) -> bool + Send + Sync>;

/// When a failed activity or child is tried again, in the terms of the Durable Task family. The pauses are durable
/// timers. A failure that is [`non_retriable`](Failure::non_retriable) is never tried again.
#[derive(Clone)]
pub struct RetryPolicy {
    max_attempts: u32,
    first_interval: Duration,
    coefficient: f64,
    max_interval: Duration,
    timeout: Option<Duration>,
    not: Vec<String>,
    predicate: Option<Predicate>,
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max_attempts, first_interval, .. } = self;
        write!(f, "RetryPolicy({max_attempts} attempts, first after {first_interval:?})")
    }
}

impl RetryPolicy {
    /// At most `max_attempts` in all, at least 1, with `first_interval` before the second. Without more, every pause
    /// is as long, and at most a day.
    pub fn new(max_attempts: u32, first_interval: Duration) -> Self {
        Self {
            max_attempts: max_attempts.max(1),
            first_interval,
            coefficient: 1.0,
            max_interval: Duration::from_secs(86_400),
            timeout: None,
            not: vec![],
            predicate: None,
        }
    }

    /// Every pause is so many times as long as the one before; at least 1.
    #[must_use]
    pub fn coefficient(mut self, coefficient: f64) -> Self {
        self.coefficient = coefficient.max(1.0);
        self
    }

    /// No pause is longer.
    #[must_use]
    pub fn max_interval(mut self, max_interval: Duration) -> Self {
        self.max_interval = max_interval;
        self
    }

    /// No attempt begins later than this after the first one did.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Failures of this [`kind`](Failure::kind) are not tried again.
    #[must_use]
    pub fn except(mut self, kind: impl Into<String>) -> Self {
        self.not.push(kind.into());
        self
    }

    /// Only failures for which `predicate` holds are tried again. It must be a function of the failure alone.
    #[must_use]
    pub fn only_if(mut self, predicate: impl Fn(&Failure) -> bool + Send + Sync + 'static) -> Self {
        self.predicate = Some(Arc::new(predicate));
        self
    }

    /// When the next attempt begins, after `attempts` failed ones of which the first began at `since`.
    pub(super) fn next(
        &self,
        failure: &Failure,
        attempts: u32,
        since: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let is_wanted = attempts < self.max_attempts
            && !failure.non_retriable
            && !self.not.contains(&failure.kind)
            && self.predicate.as_ref().is_none_or(|predicate| predicate(failure));
        let exponent = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
        let longest = self.max_interval.as_secs_f64();
        let pause = (self.first_interval.as_secs_f64() * self.coefficient.powi(exponent)).min(longest);
        let at = now.after(Duration::from_secs_f64(pause));
        (is_wanted && self.timeout.is_none_or(|timeout| at <= since.after(timeout))).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_millis(0);

    #[test]
    fn pauses_grow_up_to_the_longest_and_attempts_are_counted() {
        let policy =
            RetryPolicy::new(5, Duration::from_secs(1)).coefficient(3.0).max_interval(Duration::from_secs(5));
        let failure = Failure::new("io", "x");
        let pauses: Vec<_> = (1..=5)
            .map(|attempts| policy.next(&failure, attempts, T0, T0).map(Timestamp::as_millis))
            .collect();
        assert_eq!(pauses, [Some(1_000), Some(3_000), Some(5_000), Some(5_000), None]);
    }

    #[test]
    fn what_is_of_no_use_is_not_tried() {
        let policy = RetryPolicy::new(9, Duration::from_secs(1))
            .except("bad_card")
            .only_if(|failure| failure.message != "never")
            .timeout(Duration::from_secs(10));
        let tried =
            |failure: Failure, now| policy.next(&failure, 1, T0, Timestamp::from_millis(now)).is_some();
        assert!(tried(Failure::new("io", "x"), 0));
        assert!(!tried(Failure::new("io", "x").non_retriable(), 0));
        assert!(!tried(Failure::new("bad_card", "x"), 0));
        assert!(!tried(Failure::new("io", "never"), 0));
        assert!(tried(Failure::new("io", "x"), 9_000));
        assert!(!tried(Failure::new("io", "x"), 9_001));
    }
}
