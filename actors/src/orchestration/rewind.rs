//! From where a failed instance goes on. Pure.
//!
//! The last failure that the code was told of is forgotten, with everything that the code did since: what it asked
//! for before that and is not over is open again, and what arrived since arrives again.

use std::collections::{BTreeMap, BTreeSet};

use super::event::OpenTasks;
use super::history::{Action, Arrival, Entry, JobOutcome, Note, Outcome, Rewind, TaskResult, Turn};
use super::id::TaskId;
use crate::job::view::JobState;

/// A history as the code saw it: earlier rewinds are accounted for.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) arrivals: Vec<Arrival>,
    pub(super) turns: Vec<Turn>,
    /// From which turn on tasks are numbered behind which.
    pub(super) numbering: BTreeMap<u32, TaskId>,
    /// The greatest number that a task ever had.
    tasks: TaskId,
    /// The tasks that are jobs.
    jobs: BTreeSet<TaskId>,
}

impl Story {
    pub(super) fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut story = Self::default();
        for entry in entries {
            if let Some(Note::Rewound(rewind)) = &entry.note {
                story.turns.retain(|turn| turn.number < rewind.from_turn);
                story.arrivals.truncate(usize::try_from(rewind.upto).unwrap_or(usize::MAX));
                story.numbering.split_off(&rewind.from_turn);
                story.numbering.insert(rewind.from_turn, rewind.tasks);
            }
            let actions = entry.turn.iter().flat_map(|turn| &turn.actions);
            story.jobs.extend(actions.clone().filter_map(|action| match action {
                Action::SubmitJob(call) => Some(call.task),
                _ => None,
            }));
            story.tasks = actions.filter_map(Action::begins).fold(story.tasks, TaskId::max);
            story.arrivals.extend(entry.arrivals);
            story.turns.extend(entry.turn);
        }
        story
    }

    /// The arrivals behind `seen`, up to `upto`.
    pub(super) fn between(&self, seen: u64, upto: u64) -> &[Arrival] {
        let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).min(self.arrivals.len());
        &self.arrivals[place(seen)..place(upto).max(place(seen))]
    }

    /// What the code saw in a turn, in order.
    fn sights(&self, index: usize) -> impl Iterator<Item = Arrival> + '_ {
        let seen = index.checked_sub(1).map_or(0, |before| self.turns[before].upto);
        let turn = &self.turns[index];
        let results = turn.results.iter().cloned().map(Arrival::TaskEnded);
        self.between(seen, turn.upto).iter().cloned().chain(results)
    }
}

/// The tasks that turns asked for and that are not over.
fn open_after(story: &Story, turns: usize) -> BTreeMap<TaskId, Action> {
    let mut open = BTreeMap::new();
    for index in 0..turns {
        for sight in story.sights(index) {
            match sight {
                Arrival::TaskEnded(result) => drop(open.remove(&result.task)),
                Arrival::TimerFired { task }
                | Arrival::EntityAnswered { task, .. }
                | Arrival::LockGranted { task, .. } => drop(open.remove(&task)),
                Arrival::Started(_) | Arrival::EventRaised { .. } => {}
            }
        }
        for action in &story.turns[index].actions {
            match action {
                Action::Cancel { task } => drop(open.remove(task)),
                Action::SendEvent { .. } | Action::Refuse { .. } => {}
                Action::MessageEntity(call) if !call.is_awaited() => {}
                action => drop(action.begins().map(|task| open.insert(task, action.clone()))),
            }
        }
    }
    open
}

/// A job that failed is told as a result.
fn is_failure(story: &Story, result: &TaskResult) -> bool {
    match &result.outcome {
        Outcome::Failed(_) => true,
        Outcome::Completed(output) if story.jobs.contains(&result.task) => {
            serde_json::from_value::<JobOutcome>(output.value())
                .is_ok_and(|outcome| outcome.state != JobState::Succeeded)
        }
        Outcome::Completed(_) => false,
    }
}

/// The first turn that did not happen: the last one that was told of a failure, and those before it that were told of
/// one and asked for nothing since, because what failed beside it is to be tried again as well. A failure that the
/// code answered by asking for something, a pause before another attempt or a compensation, stays.
fn first_void(story: &Story) -> usize {
    let tells_failure = |index: usize| {
        let refused = |action: &Action| matches!(action, Action::Refuse { .. });
        let failed = |sight: Arrival| match &sight {
            Arrival::TaskEnded(result) => is_failure(story, result),
            Arrival::EntityAnswered { outcome, .. } => matches!(outcome, Outcome::Failed(_)),
            _ => false,
        };
        story.turns[index].actions.iter().any(refused) || story.sights(index).any(failed)
    };
    let ends = |turn: &Turn| matches!(turn.actions.last(), Some(Action::Complete(_)));
    let count = story.turns.len();
    let Some(mut first) = (0..count).rev().find(|index| tells_failure(*index)) else {
        // Without a failure that it was told of the code failed by itself: its last turn is taken again.
        return if story.turns.last().is_some_and(ends) { count - 1 } else { count };
    };
    for index in (0..first).rev() {
        if story.turns[index].actions.iter().any(|action| action.begins().is_some()) {
            break;
        }
        if tells_failure(index) {
            first = index;
        }
    }
    first
}

/// From where to go on, what is open there, and what arrives again.
pub(super) fn plan(story: &Story, reason: Option<String>) -> (Rewind, OpenTasks, Vec<Arrival>) {
    let (count, from) = (story.turns.len(), first_void(story));
    let mut open = open_after(story, from);
    let upto = from.checked_sub(1).map_or(0, |before| story.turns[before].upto);
    let unseen = story.turns.last().map_or(0, |turn| turn.upto);
    let again = (from..count).flat_map(|index| story.sights(index).collect::<Vec<_>>());
    let rest = story.between(unseen, u64::MAX).iter().cloned();
    let (mut reopened, mut arrivals) = (BTreeSet::new(), Vec::new());
    for sight in again.chain(rest) {
        match &sight {
            Arrival::TaskEnded(result) if !open.contains_key(&result.task) => continue,
            Arrival::TaskEnded(result) if is_failure(story, result) => {
                reopened.insert(result.task);
                continue;
            }
            Arrival::EntityAnswered { task, outcome: Outcome::Failed(_), .. } if open.contains_key(task) => {
                reopened.insert(*task);
                continue;
            }
            Arrival::TaskEnded(TaskResult { task, .. })
            | Arrival::TimerFired { task }
            | Arrival::EntityAnswered { task, .. } => {
                if open.remove(task).is_none() {
                    continue;
                }
            }
            // It was given back with the failure, and is asked for again.
            Arrival::LockGranted { .. } => continue,
            Arrival::Started(_) | Arrival::EventRaised { .. } => {}
        }
        arrivals.push(sight);
    }
    let from_turn = u32::try_from(from).unwrap_or(u32::MAX).saturating_add(1);
    let reopened = reopened.into_iter().collect();
    let rewind = Rewind { reason, from_turn, reopened, upto, tasks: story.tasks };
    (rewind, sorted(open), arrivals)
}

fn sorted(open: BTreeMap<TaskId, Action>) -> OpenTasks {
    let mut tasks = OpenTasks::default();
    for (task, action) in open {
        match action {
            Action::ScheduleActivity(_) => tasks.activities.push(task),
            Action::CreateTimer { fire_at, .. } => tasks.timers.push((task, fire_at)),
            Action::StartChild(call) => tasks.children.push(*call),
            Action::SubmitJob(call) => tasks.jobs.push((task, call.job)),
            Action::MessageEntity(call) => tasks.entities.push(*call),
            _ => {}
        }
    }
    tasks
}
