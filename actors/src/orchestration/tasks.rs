//! A set of task numbers that costs what its gaps cost.
//!
//! Ten thousand activities that were scheduled at once and end roughly in order are a handful of ranges; the
//! snapshot that holds them is written with every turn.

use serde::{Deserialize, Serialize};

use super::id::TaskId;

/// A set of task numbers, as sorted, disjoint, non-adjacent inclusive ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskSet(Vec<(TaskId, TaskId)>);

impl TaskSet {
    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether `task` is in it.
    pub fn contains(&self, task: TaskId) -> bool {
        self.find(task).is_ok()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Adds `task`.
    pub fn insert(&mut self, task: TaskId) {
        let Err(at) = self.find(task) else { return };
        let joins_left = at > 0 && self.0[at - 1].1 + 1 == task;
        let joins_right = self.0.get(at).is_some_and(|(first, _)| task + 1 == *first);
        match (joins_left, joins_right) {
            (true, true) => {
                self.0[at - 1].1 = self.0[at].1;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].1 = task,
            (false, true) => self.0[at].0 = task,
            (false, false) => self.0.insert(at, (task, task)),
        }
    }

    /// Takes `task` out; tells whether it was in.
    pub fn remove(&mut self, task: TaskId) -> bool {
        let Ok(at) = self.find(task) else { return false };
        let (first, last) = self.0[at];
        match (first == task, last == task) {
            (true, true) => drop(self.0.remove(at)),
            (true, false) => self.0[at].0 = task + 1,
            (false, true) => self.0[at].1 = task - 1,
            (false, false) => {
                self.0[at].1 = task - 1;
                self.0.insert(at + 1, (task + 1, last));
            }
        }
        true
    }

    /// The range that holds `task`, or where one would be put.
    fn find(&self, task: TaskId) -> Result<usize, usize> {
        self.0.binary_search_by(|(first, last)| {
            if *last < task {
                std::cmp::Ordering::Less
            } else if *first > task {
                std::cmp::Ordering::Greater
            } else {
                std::cmp::Ordering::Equal
            }
        })
    }
}

impl Extend<TaskId> for TaskSet {
    fn extend<T: IntoIterator<Item = TaskId>>(&mut self, tasks: T) {
        tasks.into_iter().for_each(|task| self.insert(task));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(changes in proptest::collection::vec((any::<bool>(), 1_u64..40), 0..200)) {
            let (mut set, mut model) = (TaskSet::default(), BTreeSet::new());
            for (adds, task) in changes {
                if adds {
                    set.insert(task);
                    model.insert(task);
                } else {
                    prop_assert_eq!(set.remove(task), model.remove(&task));
                }
                prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(set.len(), model.len() as u64);
                prop_assert_eq!(set.contains(task), model.contains(&task));
                // Sorted, apart from each other.
                prop_assert!(set.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            }
        }
    }

    #[test]
    fn ten_thousand_at_once_are_one_range() {
        let mut set = TaskSet::default();
        set.extend(1..=10_000);
        assert_eq!(serde_json::to_string(&set).unwrap(), "[[1,10000]]");
    }
}
