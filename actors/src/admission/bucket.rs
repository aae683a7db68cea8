//! A token bucket as one number: the moment at which it will be full again (the generic cell rate algorithm).
//!
//! Pure. Invariant: in any time `t` it gives at most `burst + limit · t / per`. A clock that jumps back costs at most
//! one filling of the bucket, and never a wait that is longer than that.

use super::spec::Rate;
use crate::clock::Timestamp;

/// How full a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bucket {
    /// When it is full, in microseconds since the epoch.
    full_at: i64,
}

impl Bucket {
    /// The time in which one token comes, rounded up so that never more come than may.
    fn interval(rate: Rate) -> i64 {
        let per = i64::try_from(rate.per.as_millis()).unwrap_or(i64::MAX).saturating_mul(1_000);
        let limit = i64::from(rate.limit.max(1));
        per.saturating_add(limit - 1) / limit
    }

    fn slack(rate: Rate) -> i64 {
        let burst = i64::from(rate.burst.unwrap_or(rate.limit).max(1));
        Self::interval(rate).saturating_mul(burst - 1)
    }

    const fn micros(now: Timestamp) -> i64 {
        now.as_millis().saturating_mul(1_000)
    }

    /// When there is a token.
    pub(super) fn ready_at(self, rate: Rate) -> Timestamp {
        let micros = self.full_at.saturating_sub(Self::slack(rate));
        Timestamp::from_millis(micros.div_euclid(1_000) + i64::from(micros.rem_euclid(1_000) > 0))
    }

    /// Takes a token, there or not: what was granted in spite of it is made up for by a longer wait.
    pub(super) fn take(&mut self, rate: Rate, now: Timestamp) {
        self.full_at = self.full_at.max(Self::micros(now)).saturating_add(Self::interval(rate));
    }

    /// It cannot lack more than all of it: anything else is from before the clock jumped back.
    pub(super) fn forgive(&mut self, rate: Rate, now: Timestamp) {
        let most = Self::slack(rate).saturating_add(Self::interval(rate));
        self.full_at = self.full_at.min(Self::micros(now).saturating_add(most));
    }

    /// When it is full.
    pub(super) const fn full_at(self) -> Timestamp {
        Timestamp::from_millis(self.full_at.div_euclid(1_000).saturating_add(1))
    }

    /// Whether it is full, so that a new one is the same.
    pub(super) const fn is_full(self, now: Timestamp) -> bool {
        self.full_at <= Self::micros(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Span;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn it_gives_the_burst_at_once_and_then_at_its_rate() {
        let rate = Rate { limit: 3, per: Span::from_secs(1), burst: Some(2) };
        let (mut bucket, mut taken) = (Bucket::default(), vec![]);
        let mut now = at(1_000_000);
        for _ in 0..5 {
            now = now.max(bucket.ready_at(rate));
            bucket.take(rate, now);
            taken.push(now.as_millis() - 1_000_000);
        }
        assert_eq!(taken, [0, 0, 334, 667, 1_001]);
        assert!(!bucket.is_full(now) && bucket.is_full(at(1_002_000)));
    }

    #[test]
    fn a_clock_that_jumps_back_costs_no_more_than_a_filling() {
        let rate = Rate { limit: 1, per: Span::from_secs(60), burst: None };
        let mut bucket = Bucket::default();
        bucket.take(rate, at(1_000_000_000));
        bucket.forgive(rate, at(0));
        assert_eq!(bucket.ready_at(rate), at(60_000));
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_what_came_in_between(
            limit in 1u32..20, per in 100u64..5_000, burst in 1u32..20,
            pauses in prop::collection::vec(0i64..700, 1..120),
        ) {
            let rate = Rate { limit, per: Span::from_millis(per), burst: Some(burst) };
            let (mut bucket, mut now, mut taken) = (Bucket::default(), at(1_000_000), vec![]);
            for pause in pauses {
                now = at(now.as_millis() + pause);
                while bucket.ready_at(rate) <= now {
                    bucket.take(rate, now);
                    taken.push(now.as_millis());
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + u64::from(limit) * (to - from).unsigned_abs() / per;
                    prop_assert!((last - first + 1) as u64 <= most, "{} from {from} to {to}", last - first + 1);
                }
            }
        }
    }
}
