//! What the probes of an attempt come to. Pure.
//!
//! A failure is noted, so that whoever asks sees it; enough of them in a row end the attempt, and with
//! `on_unhealthy: fail` the job. How often in a row is counted by whoever probes.

use super::{Outcome, changed, unchanged};
use crate::job::cause::Cause;
use crate::job::draft::Draft;
use crate::job::group::OnUnhealthy;
use crate::job::state::{Ending, Then};

/// A probe of this container failed.
pub(super) fn failed(mut draft: Draft, container: &str, failures: u32, message: &str) -> Outcome {
    let Some(probe) = draft.job.given.spec.probe_of(container).cloned() else { return unchanged() };
    let known = draft.job.failing_probes.insert(container.to_owned(), message.to_owned());
    if failures >= probe.failures {
        let text = format!("the container `{container}` is unhealthy: {message} ({failures} times in a row)");
        draft.say(text.clone());
        let ending = Ending::new(Cause::Unhealthy, text);
        draft.stop(match probe.on_unhealthy {
            OnUnhealthy::Restart => Then::Conclude(ending),
            OnUnhealthy::Fail => Then::Fail(ending),
        });
        return changed(draft);
    }
    if known.as_deref() == Some(message) {
        return unchanged();
    }
    draft.say(format!("the probe of `{container}` failed: {message}"));
    changed(draft)
}

/// A probe of this container passed.
pub(super) fn passed(mut draft: Draft, container: &str) -> Outcome {
    if draft.job.failing_probes.remove(container).is_none() {
        return unchanged();
    }
    draft.say(format!("the probe of `{container}` passes again"));
    changed(draft)
}
