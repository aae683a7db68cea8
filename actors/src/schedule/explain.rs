//! What a schedule does now, in a sentence. Pure.

use super::state::{Outcome, Phase, Schedule};

/// The sentence.
pub(super) fn sentence(schedule: &Schedule) -> String {
    let next = match (&schedule.phase, schedule.next) {
        (Phase::Quarantined { reason }, _) => {
            return format!(
                "rests after repeated internal faults: {reason}; declare it again to have it tried"
            );
        }
        (Phase::Paused { since }, _) => format!("paused since {since}"),
        (Phase::Active, Some(next)) => format!("fires next at {}", next.due_at),
        (Phase::Active, None) => "has no more times".to_owned(),
    };
    let (running, queued) = (schedule.running(), schedule.queued());
    let going = match (running, queued) {
        (0, _) => String::new(),
        (1, 0) => "; what it started is not over".to_owned(),
        (running, 0) => format!("; {running} runs are not over"),
        (running, queued) => format!("; {running} running and {queued} waiting"),
    };
    let last = schedule.fires.iter().rev().find(|fire| fire.is_over());
    let told = match last.map(|fire| (&fire.outcome, fire.scheduled_at)) {
        Some((Outcome::Skipped { reason }, at)) => {
            format!("; started nothing for {at}, because {}", reason.sentence())
        }
        Some((Outcome::Ended { end, .. }, at)) => format!("; that of {at} {}", ended(end.state.name())),
        _ => String::new(),
    };
    format!("{next}{going}{told}")
}

fn ended(state: &str) -> String {
    if state == "cancelled" { "was cancelled".to_owned() } else { state.to_owned() }
}
