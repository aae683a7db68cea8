//! What a simulated workflow does, and what it must come to.

use serde::{Deserialize, Serialize};

use super::random::Random;

/// What a workflow does, one after another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Step {
    /// Something that gives this number, and may fail now and then.
    Activity(u64),
    /// The same, but where it fails, the whole workflow does, and is rewound.
    Fragile(u64),
    Timer(u64),
    /// So many events, each of which brings a number.
    Events(u64),
    Child(Vec<Step>),
    Job(u64),
    Parallel(Vec<Vec<Step>>),
    /// What follows is for the next execution.
    Anew,
}

impl Step {
    fn random(random: &Random, depth: u64) -> Self {
        match random.below(if depth == 0 { 6 } else { 9 }) {
            0 => Self::Activity(random.below(100)),
            1 => Self::Fragile(random.below(100)),
            2 => Self::Timer(random.below(20_000)),
            3 => Self::Events(1 + random.below(3)),
            4 => Self::Job(random.below(30_000)),
            5 => Self::Activity(1),
            6 => Self::Child(Self::several(random, depth - 1)),
            7 => Self::Parallel((0..2 + random.below(3)).map(|_| Self::several(random, depth - 1)).collect()),
            _ => Self::Anew,
        }
    }

    pub(super) fn several(random: &Random, depth: u64) -> Vec<Self> {
        (0..1 + random.below(4)).map(|_| Self::random(random, depth)).collect()
    }
}

/// What it comes to, without its events.
pub(super) fn worth(steps: &[Step]) -> u64 {
    let one = |step: &Step| match step {
        Step::Activity(number) | Step::Fragile(number) => *number,
        Step::Timer(_) | Step::Events(_) | Step::Anew => 0,
        Step::Job(_) => 1_000,
        Step::Child(steps) => worth(steps),
        Step::Parallel(branches) => branches.iter().map(|branch| worth(branch)).sum(),
    };
    steps.iter().map(one).sum()
}

/// The events that a workflow itself waits for: those of children are raised to them.
pub(super) fn events(steps: &[Step]) -> u64 {
    let one = |step: &Step| match step {
        Step::Events(count) => *count,
        Step::Parallel(branches) => branches.iter().map(|branch| events(branch)).sum(),
        _ => 0,
    };
    steps.iter().map(one).sum()
}

/// Children get their events from nobody, and so wait for none.
pub(super) fn without_events(steps: Vec<Step>, is_child: bool) -> Vec<Step> {
    let one = |step| match step {
        Step::Events(_) if is_child => Step::Timer(1),
        Step::Anew if is_child => Step::Timer(2),
        Step::Child(steps) => Step::Child(without_events(steps, true)),
        Step::Parallel(branches) => {
            // A branch does not begin the whole anew.
            let branch = |steps: Vec<Step>| {
                let steps = without_events(steps, is_child);
                let calm = |step| if matches!(step, Step::Anew) { Step::Timer(3) } else { step };
                steps.into_iter().map(calm).collect()
            };
            Step::Parallel(branches.into_iter().map(branch).collect())
        }
        step => step,
    };
    steps.into_iter().map(one).collect()
}
