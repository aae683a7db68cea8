//! One source of numbers, shared by everything in one simulated world: what happens is decided in the order in which
//! it is asked, and that order is the same for the same seed.

use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::id::Ids;
use parking_lot::Mutex;

use crate::random;

#[derive(Clone)]
pub(super) struct Random(Arc<Mutex<random::Random>>);

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Random").finish_non_exhaustive()
    }
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // Seeds that lie close together must not begin alike (the finaliser of splitmix64; Steele 2014).
        let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(Arc::new(Mutex::new(random::Random::new(state ^ (state >> 31)))))
    }

    /// From 0 to `bound`, which is not one of them.
    pub(super) fn below(&self, bound: u64) -> u64 {
        self.0.lock().below(bound)
    }

    /// True so often in ten thousand.
    pub(super) fn chance(&self, of_10_000: u64) -> bool {
        of_10_000 > 0 && self.below(10_000) < of_10_000
    }

    /// A span of whole milliseconds, up to `most`.
    pub(super) fn up_to(&self, most: Duration) -> Duration {
        Duration::from_millis(self.below(most.as_millis() as u64 + 1))
    }

    pub(super) fn pick<T: Clone>(&self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }
}

impl Ids for Random {
    fn random(&self, out: &mut [u8]) {
        out.fill_with(|| self.below(256) as u8);
    }
}
