//! How long to pause before something is tried again. Pure: the jitter comes from a hash, so that a
//! simulation repeats itself.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::limits;

/// A pause that doubles from `first` up to `max`, shortened by up to a quarter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// Between failed calls to a runtime.
    pub(super) const RETRY: Self = Self { first: limits::RETRY_PAUSE_FIRST, max: limits::RETRY_PAUSE_MAX };
    /// Between tries to reach a runtime as a whole.
    pub(super) const REACH: Self = Self { first: limits::RETRY_PAUSE_FIRST, max: limits::REACH_PAUSE_MAX };
    /// Between looks at an attempt that does not change.
    pub(super) const LOOK: Self = Self { first: limits::OBSERVE_PAUSE_FIRST, max: limits::OBSERVE_PAUSE_MAX };
    /// Between repetitions of a report.
    pub(super) const REPORT: Self = Self { first: limits::REPORT_PAUSE_FIRST, max: limits::REPORT_PAUSE_MAX };

    /// The pause after failure number `failures` (from 0) of whatever `salt` names.
    pub(super) fn pause(self, failures: u32, salt: impl Hash) -> Duration {
        let full = self.first.saturating_mul(1 << failures.min(20)).min(self.max);
        let mut hasher = DefaultHasher::new();
        (salt, failures).hash(&mut hasher);
        let share = u32::try_from(hasher.finish() % 256).expect("less than 256");
        full - full.saturating_mul(share) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_differ_by_salt() {
        let mut last = Duration::ZERO;
        for failures in 0..40 {
            let full = Backoff::RETRY.first.saturating_mul(1 << failures.min(20)).min(Backoff::RETRY.max);
            let pause = Backoff::RETRY.pause(failures, "a");
            assert!(pause <= full && pause * 4 >= full * 3, "{failures}: {pause:?} of {full:?}");
            assert!(pause >= last || full == Backoff::RETRY.max);
            last = pause;
        }
        let spread: std::collections::BTreeSet<_> =
            (0..100).map(|salt| Backoff::RETRY.pause(3, salt)).collect();
        assert!(spread.len() > 50);
        assert_eq!(Backoff::RETRY.pause(3, 7), Backoff::RETRY.pause(3, 7));
    }
}
