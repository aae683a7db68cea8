//! One call to a runtime under a deadline of the fleet's own: a runtime that hangs is one that cannot be
//! asked, and what it was asked about is unknown.

use std::time::Duration;

use crate::runtime::{Error, Result, Runtime};

/// Waits at most `limit` for the answer to the call named `what`.
pub(super) async fn within<T>(
    runtime: &dyn Runtime,
    what: &str,
    limit: Duration,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
        Err(Error::Unavailable {
            runtime: runtime.name().to_owned(),
            message: format!("no answer to `{what}` within {} s", limit.as_secs()),
        })
    })
}
