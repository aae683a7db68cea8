//! A history in the order in which a worker's code saw it: what a worker is sent so that it can replay. Pure.
//!
//! Every turn begins with what time it was; then comes what had arrived, and then what the code asked for. What was
//! done to the instance from outside and is not told to its code is not in it. Turns that a rewind undid are gone.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::orchestration::history::{Action, ActivityCall, Arrival, Entry, Note};
use crate::orchestration::id::TaskId;

/// One line of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A turn began; what time it was for the code.
    Turn(Timestamp),
    /// The code saw this, which was recorded then.
    Saw(Timestamp, Arrival),
    /// The code asked for this.
    Asked(Timestamp, Action),
}

/// What a worker's code saw and asked for, up to its last turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Chronicle {
    /// All of it.
    pub lines: Vec<Line>,
    /// Turns that it has had.
    pub turns: u32,
    /// Arrivals that it has seen.
    pub seen: u64,
    /// What time it was in the last turn.
    pub now: Timestamp,
}

/// An arrival, and when it was recorded.
pub(crate) type Dated = (Timestamp, Arrival);

impl Default for Chronicle {
    fn default() -> Self {
        Self { lines: vec![], turns: 0, seen: 0, now: Timestamp::from_millis(0) }
    }
}

impl Chronicle {
    /// From the entries of an execution: the chronicle, and what the code has not seen yet.
    pub(crate) fn of<E>(
        entries: impl IntoIterator<Item = Result<Entry, E>>,
    ) -> Result<(Self, Vec<Dated>), E> {
        let (mut chronicle, mut unseen) = (Self::default(), Unseen::default());
        // Where the lines of each turn begin, so that a rewind finds its place.
        let mut marks: Vec<(usize, u64)> = Vec::new();
        for entry in entries {
            let Entry { at, arrivals, turn, note, .. } = entry?;
            if let Some(Note::Rewound(rewind)) = &note {
                let kept = usize::try_from(rewind.from_turn.saturating_sub(1)).unwrap_or(usize::MAX);
                if let Some((lines, seen)) = marks.get(kept).copied() {
                    chronicle.lines.truncate(lines);
                    chronicle.seen = seen;
                    marks.truncate(kept);
                }
                chronicle.turns = rewind.from_turn.saturating_sub(1);
                unseen.rewind(rewind.upto);
            }
            unseen.add(at, arrivals);
            if let Some(turn) = turn {
                marks.push((chronicle.lines.len(), chronicle.seen));
                let saw = unseen.upto(turn.upto);
                let results = turn.results.into_iter().map(|result| (at, Arrival::TaskEnded(result)));
                let saw = saw.into_iter().chain(results).collect();
                chronicle.take_turn(turn.now, turn.upto, saw, at, turn.actions);
            }
        }
        Ok((chronicle, unseen.rest()))
    }

    /// Adds a turn.
    pub(super) fn take_turn(
        &mut self,
        now: Timestamp,
        upto: u64,
        saw: Vec<Dated>,
        at: Timestamp,
        actions: Vec<Action>,
    ) {
        self.lines.push(Line::Turn(now));
        self.lines.extend(saw.into_iter().map(|(at, arrival)| Line::Saw(at, arrival)));
        self.lines.extend(actions.into_iter().map(|action| Line::Asked(at, action)));
        self.turns += 1;
        self.seen = upto;
        self.now = now;
    }

    /// The newest call of each of these activities: a worker may use the number of one that failed again.
    pub(super) fn calls(&self, wanted: impl Fn(TaskId) -> bool) -> Vec<ActivityCall> {
        let mut calls: BTreeMap<TaskId, &ActivityCall> = BTreeMap::new();
        for line in &self.lines {
            if let Line::Asked(_, Action::ScheduleActivity(call)) = line
                && wanted(call.task)
            {
                calls.insert(call.task, call);
            }
        }
        calls.into_values().cloned().collect()
    }
}

/// Arrivals, of which those before `first` were seen.
#[derive(Default)]
struct Unseen {
    arrivals: Vec<Dated>,
    /// How many of them the code has seen.
    seen: usize,
}

impl Unseen {
    fn add(&mut self, at: Timestamp, arrivals: Vec<Arrival>) {
        self.arrivals.extend(arrivals.into_iter().map(|arrival| (at, arrival)));
    }

    fn upto(&mut self, number: u64) -> Vec<Dated> {
        let end = usize::try_from(number).unwrap_or(usize::MAX).min(self.arrivals.len());
        let saw = self.arrivals.get(self.seen..end).unwrap_or_default().to_vec();
        self.seen = end.max(self.seen);
        saw
    }

    /// What arrived behind `upto` is void: what is to be seen again arrives again.
    fn rewind(&mut self, upto: u64) {
        let kept = usize::try_from(upto).unwrap_or(usize::MAX);
        self.arrivals.truncate(kept);
        self.seen = self.arrivals.len();
    }

    fn rest(self) -> Vec<Dated> {
        self.arrivals.into_iter().skip(self.seen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestration::Payload;
    use crate::orchestration::history::{Outcome, Rewind, TaskResult, Turn};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn raised(name: &str) -> Arrival {
        Arrival::EventRaised { name: name.to_owned(), data: Payload::NONE }
    }

    fn entry(
        millis: i64,
        arrivals: Vec<Arrival>,
        turn: Option<Turn>,
        note: Option<Note>,
    ) -> Result<Entry, ()> {
        Ok(Entry { first: 1, at: at(millis), execution: 1, arrivals, turn, note })
    }

    fn turn(number: u32, upto: u64, now: i64, results: Vec<TaskResult>) -> Turn {
        Turn {
            number,
            upto,
            now: at(now),
            results,
            actions: vec![Action::Cancel { task: u64::from(number) }],
        }
    }

    fn done(task: TaskId) -> TaskResult {
        TaskResult { task, outcome: Outcome::Completed(Payload::NONE) }
    }

    #[test]
    fn it_tells_what_the_code_saw_in_the_order_in_which_it_did() {
        let (chronicle, rest) = Chronicle::of([
            entry(1, vec![raised("a")], None, None),
            entry(2, vec![raised("b")], None, None),
            entry(4, vec![], Some(turn(1, 1, 3, vec![])), None),
            entry(5, vec![raised("c"), raised("d")], None, None),
            entry(7, vec![], Some(turn(2, 3, 6, vec![done(9)])), None),
        ])
        .unwrap();
        let expected = [
            Line::Turn(at(3)),
            Line::Saw(at(1), raised("a")),
            Line::Asked(at(4), Action::Cancel { task: 1 }),
            Line::Turn(at(6)),
            Line::Saw(at(2), raised("b")),
            Line::Saw(at(5), raised("c")),
            Line::Saw(at(7), Arrival::TaskEnded(done(9))),
            Line::Asked(at(7), Action::Cancel { task: 2 }),
        ];
        assert_eq!(chronicle.lines, expected);
        assert_eq!((chronicle.turns, chronicle.seen, chronicle.now), (2, 3, at(6)));
        assert_eq!(rest, [(at(5), raised("d"))]);
    }

    #[test]
    fn what_a_rewind_undid_is_not_told() {
        let reopened = vec![7];
        let rewind = Rewind { reason: None, from_turn: 2, reopened, upto: 1, tasks: 7 };
        let (chronicle, rest) = Chronicle::of([
            entry(1, vec![raised("a")], Some(turn(1, 1, 1, vec![])), None),
            entry(2, vec![raised("b"), raised("c")], None, None),
            entry(3, vec![], Some(turn(2, 2, 3, vec![])), None),
            entry(4, vec![], Some(turn(3, 3, 4, vec![])), None),
            entry(5, vec![raised("b")], None, Some(Note::Rewound(rewind))),
            entry(6, vec![raised("d")], None, None),
        ])
        .unwrap();
        assert_eq!((chronicle.lines.len(), chronicle.turns, chronicle.seen), (3, 1, 1));
        assert_eq!(rest, [(at(5), raised("b")), (at(6), raised("d"))]);
    }
}
