//! A queue of numbers that costs what its gaps cost.
//!
//! The numbers are those of history entries, which is where what waits is kept. A hundred thousand operations that
//! came one after another are one run; the snapshot that holds them is written with every event.

use serde::{Deserialize, Serialize};

/// Numbers in the order in which they are taken, as runs of consecutive ones. Each is in it once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Runs(Vec<(u64, u64)>);

impl Runs {
    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The first one.
    pub fn front(&self) -> Option<u64> {
        self.0.first().map(|(first, _)| *first)
    }

    /// The greatest one.
    pub fn newest(&self) -> Option<u64> {
        self.0.iter().map(|(_, last)| *last).max()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// The runs, in order.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Whether `number` is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.find(number).is_some()
    }

    /// Whether one of them is at most `number`.
    pub fn reaches_below(&self, number: u64) -> bool {
        self.0.iter().any(|(first, _)| *first <= number)
    }

    /// Those that are at most `number`, in order.
    #[must_use]
    pub fn upto(&self, number: u64) -> Self {
        let below = self.0.iter().filter(|(first, _)| *first <= number);
        Self(below.map(|(first, last)| (*first, (*last).min(number))).collect())
    }

    /// Puts `number` behind all others.
    pub fn push(&mut self, number: u64) {
        match self.0.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => self.0.push((number, number)),
        }
    }

    /// Takes `number` out; tells whether it was in.
    pub fn remove(&mut self, number: u64) -> bool {
        let Some(at) = self.find(number) else { return false };
        let (first, last) = self.0[at];
        match (first == number, last == number) {
            (true, true) => {
                self.0.remove(at);
                self.join(at);
            }
            (true, false) => self.0[at].0 = number + 1,
            (false, true) => self.0[at].1 = number - 1,
            (false, false) => {
                self.0[at].1 = number - 1;
                self.0.insert(at + 1, (number + 1, last));
            }
        }
        true
    }

    /// Puts each of `others` in front of the first one that is greater.
    pub fn merge(&mut self, others: &Self) {
        for (first, last) in &others.0 {
            let at = self.0.iter().position(|(greater, _)| greater > first).unwrap_or(self.0.len());
            self.0.insert(at, (*first, *last));
            self.join(at + 1);
            self.join(at);
        }
    }

    /// Makes one of the runs before and at `at`, where one continues the other.
    fn join(&mut self, at: usize) {
        if at > 0 && at < self.0.len() && self.0[at - 1].1 + 1 == self.0[at].0 {
            self.0[at - 1].1 = self.0[at].1;
            self.0.remove(at);
        }
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.0.iter().position(|(first, last)| (*first..=*last).contains(&number))
    }
}

impl FromIterator<u64> for Runs {
    fn from_iter<T: IntoIterator<Item = u64>>(numbers: T) -> Self {
        let mut runs = Self::default();
        numbers.into_iter().for_each(|number| runs.push(number));
        runs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Change {
        Push,
        /// Older than those behind which it is put.
        PushOld(u64),
        Remove(usize),
        Merge(Vec<usize>),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            4 => Just(Change::Push),
            1 => (1_u64..1_000).prop_map(Change::PushOld),
            3 => (0_usize..20).prop_map(Change::Remove),
            1 => proptest::collection::vec(0_usize..20, 0..4).prop_map(Change::Merge),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_queue(changes in proptest::collection::vec(change(), 0..120)) {
            let (mut runs, mut model, mut newest) = (Runs::default(), Vec::<u64>::new(), 1_000);
            for change in changes {
                match change {
                    Change::Push => {
                        newest += 1 + newest % 3 / 2;
                        runs.push(newest);
                        model.push(newest);
                    }
                    Change::PushOld(number) if !model.contains(&number) => {
                        runs.push(number);
                        model.push(number);
                    }
                    Change::Remove(at) if at < model.len() => {
                        prop_assert!(runs.remove(model.remove(at)));
                    }
                    Change::Merge(places) => {
                        let mut others: Vec<u64> = places.iter().filter_map(|at| model.get(*at).copied()).collect();
                        others.sort_unstable();
                        others.dedup();
                        for other in &others {
                            prop_assert!(runs.remove(*other));
                            model.retain(|number| number != other);
                        }
                        runs.merge(&others.iter().copied().collect());
                        for other in others {
                            let at = model.iter().position(|number| *number > other).unwrap_or(model.len());
                            model.insert(at, other);
                        }
                    }
                    Change::PushOld(_) | Change::Remove(_) => {}
                }
                prop_assert_eq!(runs.iter().collect::<Vec<_>>(), model.clone());
                prop_assert_eq!(runs.len(), model.len() as u64);
                prop_assert_eq!(runs.front(), model.first().copied());
                prop_assert_eq!(runs.newest(), model.iter().max().copied());
                prop_assert_eq!(runs.reaches_below(1_005), model.iter().any(|number| *number <= 1_005));
                let below: Vec<u64> = model.iter().copied().filter(|number| *number <= 1_005).collect();
                prop_assert_eq!(runs.upto(1_005).iter().collect::<Vec<_>>(), below);
                prop_assert!(runs.0.windows(2).all(|pair| pair[0].1 + 1 != pair[1].0), "{:?}", runs);
            }
        }
    }

    #[test]
    fn a_hundred_thousand_in_a_row_are_one_run() {
        let runs: Runs = (1..=100_000).collect();
        assert_eq!(serde_json::to_string(&runs).unwrap(), "[[1,100000]]");
    }
}
