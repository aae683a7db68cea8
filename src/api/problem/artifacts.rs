//! Errors about artifacts on their way out.

use std::time::Duration;

use dogwatch_actors::files::store::Error;

use super::{Code, Problem};

/// What the artifact store said stays in the log: it may name a bucket or an account.
pub(super) fn of_store(error: &Error) -> Problem {
    let detail =
        "the artifact store cannot be used; try again, and see what the log has under this request_id";
    Problem::new(Code::ArtifactsUnavailable, detail).retry_after(Duration::from_secs(10)).logged(error)
}
