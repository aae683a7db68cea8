//! What becomes of a job whose actor keeps panicking: it fails, and its attempt is ended first, with care. When
//! even that panics it is over at once, and the fleet removes whatever is left of it: no job may be `stopping` for
//! ever.
//!
//! Not responsible for: counting panics, and bringing the event (`durable::host`).

use serde_json::json;

use super::{Applied, Outcome, changed, fail_or_stop, unchanged};
use crate::job::cause::Cause;
use crate::job::draft::Draft;
use crate::job::state::{Ending, Phase, Then};

pub(super) fn quarantine(mut draft: Draft, reason: &str) -> Outcome {
    let message = format!(
        "its supervisor panicked again and again and gave it up: {reason}; please report this, and retry the job to \
         run it again"
    );
    let ending = Ending::new(Cause::Quarantined, message);
    match draft.job.phase.clone() {
        Phase::Finished(_) => unchanged(),
        Phase::Stopping { then, .. } => {
            draft.stopped(at_once(then, ending));
            draft.data["reason"] = reason.into();
            changed(draft)
        }
        _ => {
            draft.data = json!({ "reason": reason });
            let mut outcome = fail_or_stop(draft, ending);
            // Its actor does not resume, so whatever the stop needs is asked for here.
            if let Ok(Applied::Changed(draft)) = &mut outcome
                && draft.job.has_attempt()
            {
                draft.effects = draft.job.resume_effects();
            }
            outcome
        }
    }
}

/// What a stop was for is kept where it was promised: the cancel, and the success that the attempt reported.
/// Nothing new is begun.
fn at_once(then: Then, quarantined: Ending) -> Then {
    match then {
        Then::Cancel | Then::GiveWay { .. } | Then::Fail(_) => then,
        Then::Conclude(ref ending) if ending.cause == Cause::Success => then,
        Then::Conclude(_) | Then::Suspend | Then::Restart => Then::Fail(quarantined),
    }
}
