//! Which versions have been seen unchanged for long enough. A file that changes is another version each time it is seen,
//! and so begins anew.
//!
//! Not durable: after a restart it begins anew as well, which costs no more than the time that it takes.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::object::Key;

/// Since when versions are seen that are not known yet.
#[derive(Debug, Default)]
pub(super) struct Settling(HashMap<Key, Instant>);

impl Settling {
    /// These are seen now, and no others; how long until the next of them has settled that has not yet.
    pub(super) fn see(
        &mut self,
        keys: impl Iterator<Item = Key>,
        now: Instant,
        settle: Duration,
    ) -> Option<Duration> {
        let old = std::mem::take(&mut self.0);
        self.0 = keys.map(|key| (key, old.get(&key).copied().unwrap_or(now))).collect();
        let left = self.0.values().map(|since| settle.saturating_sub(now - *since));
        left.filter(|left| !left.is_zero()).min()
    }

    /// Whether a version has been seen for so long.
    pub(super) fn has_settled(&self, key: &Key, now: Instant, settle: Duration) -> bool {
        self.0.get(key).is_some_and(|since| now - *since >= settle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_or_goes_begins_anew() {
        let (start, settle) = (Instant::now(), Duration::from_secs(2));
        let after = |secs| start + Duration::from_secs(secs);
        let mut settling = Settling::default();
        let (one, two) = ([1; 16], [2; 16]);
        assert_eq!(settling.see([one].into_iter(), start, settle), Some(settle));
        assert!(!settling.has_settled(&one, start, settle));
        assert_eq!(settling.see([one, two].into_iter(), after(1), settle), Some(Duration::from_secs(1)));
        assert_eq!(settling.see([one, two].into_iter(), after(2), settle), Some(Duration::from_secs(1)));
        assert!(
            settling.has_settled(&one, after(2), settle) && !settling.has_settled(&two, after(2), settle)
        );
        settling.see([two].into_iter(), after(3), settle);
        assert_eq!(settling.see([one, two].into_iter(), after(4), settle), Some(settle), "it was gone");
        assert!(settling.has_settled(&two, after(4), settle));
        assert_eq!(settling.see([one].into_iter(), after(4), Duration::ZERO), None);
    }
}
