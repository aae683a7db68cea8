//! Arrays on the command line: the verbs of jobs, where there is no job of an id.

use std::io::IsTerminal as _;

use dogwatch_actors::array::{ArrayId, ArrayState, ArrayView};

use super::context::Context;
use super::exit::Exit;
use super::{Error, output};
use crate::client::{self, Answer, Client};
use crate::limits::{CLIENT_ARRAY_LOOK, CLIENT_WAIT_STEP};

/// The width of the bar in characters.
const BAR: u32 = 30;

/// What is asked of a job that there is not may be meant for an array: the answer of that, or `error` where there is none
/// of that id either.
pub(super) async fn or_else<T>(
    error: client::Error,
    asked: impl Future<Output = client::Result<T>>,
) -> client::Result<T> {
    if error.status() != Some(404) {
        return Err(error);
    }
    match asked.await {
        // That there is no such job is true whatever became of the second question.
        Err(other) if other.status().is_none_or(|status| status == 404) => Err(error),
        answer => answer,
    }
}

/// An array that is over; the code is 0 when it succeeded.
pub(super) fn finish(context: &Context, answer: &Answer<ArrayView>) -> Result<Exit, Error> {
    let array = &answer.value;
    if context.json {
        output::data(&answer.raw)?;
    }
    if array.state == ArrayState::Succeeded {
        return Ok(Exit::OK);
    }
    output::note(&format!("dogwatch: array {} {}: {}", array.id, array.state.name(), array.message));
    if !array.failed.is_empty() {
        output::note(&format!("dogwatch: failed were {}", array.failed));
    }
    Ok(Exit::NOT_WELL)
}

/// One array, for people.
pub(super) fn show(context: &Context, answer: &Answer<ArrayView>) -> Result<Exit, Error> {
    output::data(&if context.json { answer.raw.clone() } else { describe(&answer.value) })?;
    Ok(Exit::OK)
}

fn describe(array: &ArrayView) -> String {
    let mut lines = vec![("array", array.id.to_string())];
    lines.extend(array.name.as_ref().map(|name| ("name", output::escape(name).into_owned())));
    lines.push(("state", array.state.name().to_owned()));
    lines.push(("why", output::escape(&array.message).into_owned()));
    lines.push(("progress", bar(array)));
    lines.extend((!array.failed.is_empty()).then(|| ("failed", array.failed.clone())));
    lines.push(("created", array.created_at.to_string()));
    lines.extend(array.finished_at.map(|at| ("finished", at.to_string())));
    let lines: Vec<String> = lines.iter().map(|(label, value)| format!("{label:<9}  {value}")).collect();
    lines.join("\n")
}

/// Waits until an array is over, with a bar where a person looks on.
pub(super) async fn until_over(client: &Client, id: ArrayId) -> client::Result<Answer<ArrayView>> {
    let is_watched = std::io::stderr().is_terminal();
    let step = if is_watched { CLIENT_ARRAY_LOOK } else { CLIENT_WAIT_STEP };
    loop {
        let array = client.array(id, Some(step)).await?;
        if is_watched {
            // Over the line before.
            drop(output::raw_error(format!("\r{}\x1b[K", bar(&array.value)).as_bytes()));
        }
        if array.value.state.is_terminal() {
            if is_watched {
                output::note("");
            }
            return Ok(array);
        }
    }
}

fn bar(array: &ArrayView) -> String {
    let (finished, total) = (array.progress.finished, array.progress.total);
    let full = u64::from(BAR) * u64::from(finished) / u64::from(total.max(1));
    let full = usize::try_from(full).unwrap_or(0);
    let rest = usize::try_from(BAR).unwrap_or(0) - full;
    let failed = array.counts.failed;
    let (full, rest) = ("#".repeat(full), "-".repeat(rest));
    format!("[{full}{rest}] {finished}/{total}, {} under way, {failed} failed", array.counts.active)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_bar_is_as_full_as_the_array_is_far() {
        for (finished, total, bar_of) in [(0, 7, 0), (7, 7, 30), (5_000, 10_000, 15), (1, 10_000, 0)] {
            let array = serde_json::from_value(json!({
                "id": "01939f6e-2d5c-7a00-8000-0123456789ab", "name": null, "state": "running", "message": "",
                "array": {"size": total}, "progress": {"finished": finished, "total": total},
                "counts": {"pending": 0, "active": 3, "succeeded": finished, "failed": 2, "cancelled": 0},
                "failed": "", "spec": {}, "created_at": "2026-11-22T00:00:00Z", "finished_at": null,
            }));
            let text = bar(&array.unwrap());
            assert_eq!(text.matches('#').count(), bar_of, "{text}");
            assert!(text.ends_with(&format!("] {finished}/{total}, 3 under way, 2 failed")), "{text}");
        }
    }
}
