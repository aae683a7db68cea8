//! What every handler is given: the supervisor, and the bound on requests that stay open.

use std::future::Future;
use std::sync::Arc;

use actix_web::HttpRequest;
use dogwatch_actors::handle::{self, Handle};
use dogwatch_actors::id::JobId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Problem};
use crate::limits::FOLLOWERS_MAX;

/// One mounting of the API.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) handle: Handle,
    followers: Arc<Semaphore>,
}

/// The right to stay open; given back when it is dropped.
pub(crate) type Seat = OwnedSemaphorePermit;

impl Api {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle, followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)) }
    }

    /// A seat among the requests that stay open, which are at most [`FOLLOWERS_MAX`].
    pub(crate) fn seat(&self) -> Result<Seat, Problem> {
        Arc::clone(&self.followers).try_acquire_owned().map_err(|_| {
            Problem::from(handle::Error::Overloaded {
                message: format!("{FOLLOWERS_MAX} requests already wait or follow; try again later"),
                retry_after: std::time::Duration::from_secs(5),
            })
        })
    }
}

/// Does `work` to its end, whether or not the client stays to hear of it.
pub(crate) async fn detached<T: 'static>(
    work: impl Future<Output = handle::Result<T>> + 'static,
) -> Result<T, Problem> {
    match actix_web::rt::spawn(work).await {
        Ok(result) => result.map_err(Problem::from),
        Err(fault) => {
            tracing::error!(error = %fault, "a request died");
            Err(handle::Error::Interrupted.into())
        }
    }
}

/// The job that the path names.
pub(crate) fn job_id(req: &HttpRequest) -> Result<JobId, Problem> {
    let text = req.match_info().get("id").unwrap_or_default();
    text.parse().map_err(|error: dogwatch_actors::id::ParseIdError| {
        Problem::new(Code::JobNotFound, error.to_string())
    })
}
