//! Why an instance is not finished: in a sentence, and as data. Pure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::entity::EntityRequest;
use super::failure::Failure;
use super::history::{Action, Arrival, Entry, Note, Outcome, TaskResult};
use super::state::{Orchestration, Phase, Status};
use crate::clock::Timestamp;
use crate::limits::EXPLAIN_TASKS_MAX;

/// Why something is not finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The whole of it for people.
    pub sentence: String,
    /// Where it stands.
    pub status: String,
    /// What it waits for, oldest first; the first of it, when there is much.
    pub waits_for: Vec<Wait>,
    /// How many things it waits for in all.
    pub waits_for_count: u64,
    /// What the workers that it needs do, and which there are none of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<String>,
    /// When something is next due by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// The last thing that went wrong.
    pub last_error: Option<Failure>,
}

/// One thing that is waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Wait {
    /// `activity`, `timer`, `child`, `job`, `entity`, `lock`, `event`, `start`, `attempt`, `slot`, `code`.
    pub kind: String,
    /// Which, in words.
    pub what: String,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// When it is over by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due: Option<Timestamp>,
}

impl Wait {
    /// Something that is waited for.
    pub fn new(kind: &str, what: impl Into<String>, since: Option<Timestamp>) -> Self {
        Self { kind: kind.to_owned(), what: what.into(), since, due: None }
    }
}

/// Explains an instance by its state and the history of its execution.
pub fn explain(
    state: &Orchestration,
    status: Status,
    entries: &[Entry],
    workers: Vec<String>,
) -> Explanation {
    let mut waits = waits(state, entries);
    let count = waits.len() as u64;
    waits.truncate(EXPLAIN_TASKS_MAX);
    let next_at = crate::durable::Machine::deadline(state);
    let mut sentence = sentence(state, status, &waits, count);
    if let Some(first) = workers.first() {
        sentence = format!("{sentence} ({first})");
    }
    Explanation {
        sentence,
        status: status.name().to_owned(),
        waits_for: waits,
        waits_for_count: count,
        workers,
        next_at,
        last_error: last_error(state, entries),
    }
}

fn waits(state: &Orchestration, entries: &[Entry]) -> Vec<Wait> {
    if status_is_over(state) {
        return vec![];
    }
    let mut waits = Vec::new();
    if let Phase::Scheduled { start_at } = &state.phase {
        waits.push(Wait {
            due: Some(*start_at),
            ..Wait::new("start", "its time to start", Some(state.created_at))
        });
    }
    if let Some(blocked) = &state.blocked {
        waits.push(Wait::new("code", blocked.reason.clone(), Some(blocked.since)));
    } else if state.arrived > state.seen && state.phase == Phase::Running {
        waits.push(Wait::new("turn", "a turn of its code", Some(state.updated_at)));
    }
    for entry in entries {
        for action in entry.turn.iter().flat_map(|turn| &turn.actions) {
            waits.extend(open(state, action).map(|wait| Wait { since: Some(entry.at), ..wait }));
        }
    }
    let since = Some(state.updated_at);
    waits.extend(state.awaited.iter().map(|name| Wait::new("event", format!("the event `{name}`"), since)));
    waits
}

fn status_is_over(state: &Orchestration) -> bool {
    state.status().is_none_or(Status::is_terminal)
}

fn open(state: &Orchestration, action: &Action) -> Option<Wait> {
    match action {
        Action::ScheduleActivity(call) if state.activities.contains(call.task) => {
            let parked = if state.is_parked(call.task) {
                ", which is parked: the process ended each time it was started; mend it and release the instance"
            } else {
                ""
            };
            Some(Wait::new(
                "activity",
                format!("activity `{}` (task {}){parked}", call.name, call.task),
                None,
            ))
        }
        Action::CreateTimer { task, fire_at } if state.timers.contains_key(task) => {
            Some(Wait { due: Some(*fire_at), ..Wait::new("timer", format!("a timer (task {task})"), None) })
        }
        Action::StartChild(call) if state.children.contains(call.task) => {
            Some(Wait::new("child", format!("child `{}` ({})", call.name, call.instance), None))
        }
        Action::SubmitJob(call) if state.jobs.contains_key(&call.task) => {
            Some(Wait::new("job", format!("job {}", call.job), None))
        }
        Action::MessageEntity(call) => match &call.request {
            EntityRequest::Call { .. } if state.calls.contains(call.task) => {
                Some(Wait::new("entity", format!("the answer to {call}"), None))
            }
            EntityRequest::Lock { section, .. }
                if state.sections.get(section).is_some_and(|section| !section.is_held) =>
            {
                Some(Wait::new("lock", call.to_string(), None))
            }
            _ => None,
        },
        _ => None,
    }
}

fn sentence(state: &Orchestration, status: Status, waits: &[Wait], count: u64) -> String {
    let first = waits.first().map(|wait| {
        let since = wait.since.map_or_else(String::new, |since| format!(" since {since}"));
        let due = wait.due.map_or_else(String::new, |due| format!(", due at {due}"));
        format!("{}{since}{due}", wait.what)
    });
    let more = match count {
        0 | 1 => String::new(),
        count => format!(", and for {} more", count - 1),
    };
    let waiting =
        first.map_or_else(|| "nothing is open".to_owned(), |first| format!("it waits for {first}{more}"));
    let name = &state.name;
    match &state.phase {
        Phase::Completed => format!("`{name}` has completed."),
        Phase::Failed { failure } => {
            format!("`{name}` has failed: {failure}. Rewind it to go on from before that.")
        }
        Phase::Terminated { reason } => {
            format!("`{name}` was terminated: {}.", reason.as_deref().unwrap_or("no reason was given"))
        }
        Phase::Suspended { reason } => {
            let reason = reason.as_deref().unwrap_or("no reason was given");
            format!(
                "`{name}` is suspended ({reason}); resume it to let it go on. Apart from that, {waiting}."
            )
        }
        Phase::Terminating { .. } => format!("`{name}` is being terminated: {waiting} to end."),
        Phase::Rewinding { .. } => format!("`{name}` is being rewound."),
        Phase::Running if state.blocked.is_some() => {
            let reason = state.blocked.as_ref().map_or("", |blocked| blocked.reason.as_str());
            format!("`{name}` is blocked: {reason}.")
        }
        _ => format!("`{name}` is {}: {waiting}.", status.name()),
    }
}

fn last_error(state: &Orchestration, entries: &[Entry]) -> Option<Failure> {
    if let Phase::Failed { failure } | Phase::Rewinding { failure, .. } = &state.phase {
        return Some(failure.clone());
    }
    let failed = |result: &TaskResult| match &result.outcome {
        Outcome::Failed(failure) => Some(failure.clone()),
        Outcome::Completed(_) => None,
    };
    entries.iter().rev().find_map(|entry| {
        let turn = entry.turn.as_ref();
        let results = turn.into_iter().flat_map(|turn| turn.results.iter().rev()).find_map(failed);
        let refused = || {
            turn.into_iter().flat_map(|turn| turn.actions.iter().rev()).find_map(|action| match action {
                Action::Refuse { failure, .. } => Some(failure.clone()),
                _ => None,
            })
        };
        let arrived = || {
            entry.arrivals.iter().rev().find_map(|arrival| match arrival {
                Arrival::TaskEnded(result) => failed(result),
                Arrival::EntityAnswered { outcome: Outcome::Failed(failure), .. } => Some(failure.clone()),
                _ => None,
            })
        };
        let noted = || match &entry.note {
            Some(Note::CodePanicked { message }) => {
                Some(Failure::new(super::failure::kinds::PANIC, message.clone()))
            }
            _ => None,
        };
        results.or_else(refused).or_else(arrived).or_else(noted)
    })
}
