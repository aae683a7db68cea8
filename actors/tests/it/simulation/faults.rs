//! Which faults a seed allows, and the panics among them.
//!
//! Each seed allows only some classes of faults, each with a frequency of its own ("swarm testing", Groce et al.
//! 2012): a world with everything at once hides what happens when little goes wrong.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::random::Random;

/// Frequencies in ten thousandths of the occasions; 0: never.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    /// Lives of the server that end badly before the last one.
    pub(super) crashes: u64,
    /// A crash at a call to the engine, before or after its effect.
    pub(super) crash_at_call: u64,
    /// A call to the engine fails without an effect.
    pub(super) call_fails: u64,
    /// A call to the engine has its effect, and the answer is lost.
    pub(super) answer_lost: u64,
    /// A call to the engine never answers.
    pub(super) call_hangs: u64,
    /// A call to the engine is slow.
    pub(super) call_slow: u64,
    /// A hint is lost, doubled or late.
    pub(super) hints: u64,
    /// The engine goes away, comes back, restarts.
    pub(super) engine: u64,
    /// Somebody removes an attempt.
    pub(super) vanish: u64,
    /// The longest time a sync takes.
    pub(super) sync_takes: Duration,
    /// The disk is full for a while.
    pub(super) full: u64,
    /// The wall clock is set.
    pub(super) clock: u64,
    /// Looking at the clock or the store panics.
    pub(super) panics: u64,
    /// A receiver of webhooks refuses, is silent, or its answer is lost.
    pub(super) receiver: u64,
    /// A client gives up waiting, and repeats.
    pub(super) impatience: u64,
}

impl Faults {
    pub(super) fn of(random: &Random) -> Self {
        let some = |most: u64| if random.chance(5_000) { 0 } else { 1 + random.below(most) };
        Self {
            crashes: if random.chance(2_500) { 0 } else { 1 + random.below(4) },
            crash_at_call: some(150),
            call_fails: some(1_500),
            answer_lost: some(1_500),
            call_hangs: some(400),
            call_slow: some(1_500),
            hints: some(5_000),
            engine: some(3_000),
            vanish: some(500),
            sync_takes: random.pick(&[Duration::ZERO, Duration::from_millis(3), Duration::from_millis(400)]),
            full: some(1_500),
            clock: some(2_000),
            panics: some(12),
            receiver: some(4_000),
            impatience: some(3_000),
        }
    }
}

/// So many panics per life at most: more in a minute end an actor for good, which is another test's subject.
const PANICS_MAX: u32 = 5;

/// Panics that were ordered, told from bugs by never reaching the panic hook.
#[derive(Debug, Clone)]
pub(super) struct Panics(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    random: Random,
    of_10_000: AtomicU64,
    left: AtomicU32,
}

impl Panics {
    pub(super) fn new(random: Random) -> Self {
        Self(Arc::new(Counted { random, of_10_000: AtomicU64::new(0), left: AtomicU32::new(0) }))
    }

    /// Allows panics for one life.
    pub(super) fn allow(&self, of_10_000: u64) {
        self.0.of_10_000.store(of_10_000, Ordering::SeqCst);
        self.0.left.store(PANICS_MAX, Ordering::SeqCst);
    }

    pub(super) fn forbid(&self) {
        self.0.left.store(0, Ordering::SeqCst);
    }

    pub(super) fn perhaps(&self) {
        let Counted { random, of_10_000, left } = &*self.0;
        if left.load(Ordering::SeqCst) > 0 && random.chance(of_10_000.load(Ordering::SeqCst)) {
            left.fetch_sub(1, Ordering::SeqCst);
            resume_unwind(Box::new("a panic that the simulation ordered"));
        }
    }
}
