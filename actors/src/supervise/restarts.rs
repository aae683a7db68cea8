//! How many restarts there were, and whether another one is allowed.
//!
//! Not responsible for: doing it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Intensity;

/// The restarts of one child within its window.
#[derive(Debug)]
pub(crate) struct Restarts {
    intensity: Intensity,
    at: VecDeque<Instant>,
}

impl Restarts {
    /// None yet.
    pub(crate) const fn new(intensity: Intensity) -> Self {
        Self { intensity, at: VecDeque::new() }
    }

    /// Counts another one: its number in the window and the pause before it, or `None` when it is one too many.
    pub(crate) fn another(&mut self) -> Option<(u32, Duration)> {
        let now = Instant::now();
        while self.at.front().is_some_and(|at| now.duration_since(*at) >= self.intensity.within) {
            self.at.pop_front();
        }
        let before = u32::try_from(self.at.len()).unwrap_or(u32::MAX);
        if before >= self.intensity.restarts_max {
            return None;
        }
        self.at.push_back(now);
        let pause = self.intensity.pause_first.saturating_mul(2u32.saturating_pow(before));
        Some((before + 1, pause.min(self.intensity.pause_max)))
    }
}
