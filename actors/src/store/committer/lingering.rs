//! When the committer waits for more before it writes a group: all that is in it has patience, and waiting has brought
//! others lately.
//!
//! Not responsible for: who has patience (`patience.rs`).
//!
//! Invariants:
//! - a batch without patience is never kept waiting, neither its own group nor the one that it comes upon;
//! - where nobody comes, waiting is given up, and tried again ever more seldom.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};

use tokio::time::Instant;

use super::Request;
use crate::limits;
use crate::store::Patience;

/// What those who queue know of a committer that waits.
#[derive(Debug, Default)]
pub(super) struct Bell {
    /// For how many more it waits; 0 when it does not.
    missing: AtomicUsize,
    has_rung: AtomicBool,
}

impl Bell {
    /// The committer is about to wait for so many more. What is queued from now on rings; it looks at the queue once
    /// more.
    pub(super) fn hang(&self, missing: usize) {
        self.has_rung.store(false, Ordering::SeqCst);
        self.missing.store(missing, Ordering::SeqCst);
    }

    /// Waits until somebody rings, or until then.
    pub(super) fn wait(&self, until: Instant) {
        while !self.has_rung.load(Ordering::SeqCst) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }

    /// The committer waits no more.
    pub(super) fn take_down(&self) {
        self.missing.store(0, Ordering::SeqCst);
    }

    /// So many are in the queue, the last of them patient or not.
    pub(super) fn ring(&self, committer: &Thread, queued: usize, is_patient: bool) {
        let missing = self.missing.load(Ordering::SeqCst);
        if missing > 0 && (!is_patient || queued >= missing) {
            self.has_rung.store(true, Ordering::SeqCst);
            committer.unpark();
        }
    }
}

/// Whether it has been worth it lately.
#[derive(Debug, Default)]
pub(super) struct Experience {
    fruitless: u32,
    rests: u32,
}

impl Experience {
    /// Whether to wait this time.
    pub(super) fn is_worth_it(&mut self) -> bool {
        let tries = self.rests == 0;
        self.rests = self.rests.saturating_sub(1);
        tries
    }

    /// It waited, and so many came.
    pub(super) fn learn(&mut self, came: usize) {
        if came > 0 {
            *self = Self::default();
            return;
        }
        self.fruitless += 1;
        if self.fruitless >= limits::COMMIT_WAITS_IN_VAIN {
            let doublings = self.fruitless - limits::COMMIT_WAITS_IN_VAIN;
            self.rests = (1 << doublings.min(31)).min(limits::COMMIT_WAIT_RESTS_MAX);
        }
    }
}

/// How long a group has patience: `None` when one of it has none, or when all are there that it would wait for.
pub(super) fn patience(group: &[Request]) -> Option<Patience> {
    let all = group.iter().map(|request| request.batch.patience);
    let shared = all.reduce(|one, other| {
        let (one, other) = (one?, other?);
        Some(Patience { span: one.span.min(other.span), company: one.company.min(other.company) })
    })??;
    (group.len() < shared.company).then_some(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_comes_it_waits_ever_more_seldom_and_again_as_soon_as_somebody_does() {
        let mut experience = Experience::default();
        let mut waits = Vec::new();
        for commit in 0..2_000_u32 {
            if experience.is_worth_it() {
                waits.push(commit);
                experience.learn(0);
            }
        }
        let first: Vec<u32> = (0..limits::COMMIT_WAITS_IN_VAIN).collect();
        assert_eq!(waits[..first.len()], first);
        assert!(waits.len() < 40, "{waits:?}");
        let pauses: Vec<u32> = waits.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            pauses.is_sorted() && pauses.last() == Some(&(limits::COMMIT_WAIT_RESTS_MAX + 1)),
            "{pauses:?}"
        );
        experience.learn(1);
        assert!(experience.is_worth_it() && experience.is_worth_it());
    }
}
