//! How long a commit may wait for others, so that they share its sync.
//!
//! When a machine has more to do than it can, a sync for every commit is what it can spare most easily: two commits in
//! one group cost little more than one. Databases know this as a commit delay with a number of siblings. It is given
//! only where others are known to be on their way, and taken only while they do come (`committer/lingering.rs`).

use std::time::Duration;

use crate::limits;

/// How long a batch may wait, and for how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// At most so long.
    pub span: Duration,
    /// No longer than until so many batches are there.
    pub company: usize,
}

impl Patience {
    /// Of one of many who are at work and will commit what they did: `None` as long as they are few.
    pub fn among(others: usize) -> Option<Self> {
        (others >= limits::COMMIT_SIBLINGS_MIN).then(|| Self {
            span: limits::COMMIT_WAIT_PER_SIBLING
                .saturating_mul(u32::try_from(others).unwrap_or(u32::MAX))
                .min(limits::COMMIT_PATIENCE_MAX),
            company: (others / limits::COMMIT_SIBLINGS_PER_COMPANION).min(limits::COMMIT_COMPANY_MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_wait_for_nobody_and_many_for_a_part_of_them() {
        assert_eq!(Patience::among(0), None);
        assert_eq!(Patience::among(limits::COMMIT_SIBLINGS_MIN - 1), None);
        let company = |others| Patience::among(others).unwrap().company;
        assert!(company(limits::COMMIT_SIBLINGS_MIN) >= 2, "else it would be there at once");
        assert_eq!(company(1_000_000), limits::COMMIT_COMPANY_MAX);
        let span = |others| Patience::among(others).unwrap().span;
        assert!(span(limits::COMMIT_SIBLINGS_MIN) < span(limits::COMMIT_SIBLINGS_MIN + 1));
        assert_eq!(span(usize::MAX), limits::COMMIT_PATIENCE_MAX);
    }
}
