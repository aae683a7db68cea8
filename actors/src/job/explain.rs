//! Why a job is not finished: in a sentence, and as data. Pure.

use super::state::{Job, Phase, Then};
use crate::admission::Stand;
use crate::durable::Machine as _;
use crate::orchestration::Failure;
use crate::orchestration::explain::{Explanation, Wait};

/// Explains a job by its state, and by where it stands among those that wait, where that is known.
pub fn explain(job: &Job, stand: Option<&Stand>) -> Explanation {
    let next_at = job.deadline().into_iter().chain(stand.and_then(Stand::due)).min();
    let wait = wait(job, stand).map(|wait| Wait { due: wait.due.or(next_at), ..wait });
    let name =
        job.given.spec.name.as_deref().map_or_else(|| "the job".to_owned(), |name| format!("`{name}`"));
    let state = job.state().name();
    let trouble = job.trouble.as_ref().map(|trouble| trouble.message.clone()).or_else(|| job.probe_failure());
    let sentence = match (&job.phase, &wait) {
        (Phase::Finished(outcome), _) => format!("{name} has {state}: {}.", outcome.ending.message),
        (_, Some(wait)) => {
            let since = wait.since.map_or_else(String::new, |since| format!(" since {since}"));
            let due = wait.due.map_or_else(String::new, |due| format!("; next at {due}"));
            let trouble =
                trouble.as_ref().map_or_else(String::new, |trouble| format!(" (trouble: {trouble})"));
            format!("{name} is {state}: it waits for {}{since}{due}{trouble}.", wait.what)
        }
        (_, None) => format!("{name} is {state}; resume it to let it go on."),
    };
    let newest = job.attempts.last().and_then(|attempt| attempt.ending.as_ref());
    let ended = newest.filter(|ending| ending.cause != super::cause::Cause::Success);
    let last_error = match &trouble {
        Some(message) => Some(Failure::new("trouble", message.clone())),
        None => ended.map(|ending| Failure::new(ending.cause.name(), ending.message.clone())),
    };
    Explanation {
        sentence,
        status: state.to_owned(),
        waits_for_count: u64::from(wait.is_some()),
        waits_for: wait.into_iter().collect(),
        workers: vec![],
        next_at,
        last_error,
    }
}

fn wait(job: &Job, stand: Option<&Stand>) -> Option<Wait> {
    let attempt = job.attempt;
    let newest = job.attempts.last();
    Some(match &job.phase {
        Phase::Delayed { until } => {
            Wait { due: Some(*until), ..Wait::new("start", "its time to start", Some(job.created_at)) }
        }
        Phase::Queued { since } => match stand {
            Some(stand) => Wait { due: stand.due(), ..Wait::new(stand.kind(), stand.what(), Some(*since)) },
            None => Wait::new("slot", "a free slot to run in", Some(*since)),
        },
        Phase::Starting => {
            let since = newest.map(|attempt| attempt.granted_at);
            Wait::new("start", format!("attempt {attempt} to be created and started"), since)
        }
        Phase::Running { .. } => {
            let since = newest.and_then(|attempt| attempt.started_at);
            Wait::new("attempt", format!("attempt {attempt}, which runs, to end"), since)
        }
        Phase::AwaitingCallback { until, .. } => {
            let what = format!("a callback of attempt {attempt}, which has ended without one");
            Wait { due: Some(*until), ..Wait::new("callback", what, None) }
        }
        Phase::BackingOff { until } => {
            let what = format!("its pause after attempt {attempt} failed");
            Wait { due: Some(*until), ..Wait::new("timer", what, None) }
        }
        Phase::Stopping { then, .. } => {
            let why = match then {
                Then::Cancel => "to be cancelled",
                Then::GiveWay { .. } => "to make room for another job",
                Then::Suspend => "to be suspended",
                Then::Restart => "to be restarted",
                _ => "and then to end",
            };
            Wait::new("attempt", format!("attempt {attempt} to stop, {why}"), None)
        }
        Phase::Suspended | Phase::Finished(_) => return None,
    })
}
