//! What every handler is given: the supervisor, and the bound on requests that stay open.

use std::sync::Arc;

use actix_web::HttpRequest;
use dogwatch_actors::handle::{self, Handle};
use dogwatch_actors::id::JobId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::Bodies;
use super::problem::{Code, Problem};
use crate::limits::FOLLOWERS_MAX;

/// One mounting of the API.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) handle: Handle,
    pub(crate) seats: Seats,
    pub(crate) bodies: Bodies,
}

impl Api {
    pub(crate) fn new(handle: Handle) -> Self {
        let seats = Seats(Arc::new(Semaphore::new(FOLLOWERS_MAX)));
        Self { handle, seats, bodies: Bodies::default() }
    }
}

/// The right to stay open; given back when it is dropped.
pub(crate) type Seat = OwnedSemaphorePermit;

/// The seats of the requests that stay open, [`FOLLOWERS_MAX`] in all.
#[derive(Debug)]
pub(crate) struct Seats(Arc<Semaphore>);

impl Seats {
    /// Takes a free seat.
    pub(crate) fn take(&self) -> Result<Seat, Problem> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            Problem::from(handle::Error::Overloaded {
                message: format!("{FOLLOWERS_MAX} requests already wait or follow; try again later"),
                retry_after: std::time::Duration::from_secs(5),
            })
        })
    }
}

/// The job that the path names.
pub(crate) fn job_id(req: &HttpRequest) -> Result<JobId, Problem> {
    let text = req.match_info().get("id").unwrap_or_default();
    text.parse().map_err(|error: dogwatch_actors::id::ParseIdError| {
        Problem::new(Code::JobNotFound, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_and_given_back() {
        let seats = Seats(Arc::new(Semaphore::new(1)));
        let seat = seats.take().unwrap();
        let problem = seats.take().unwrap_err();
        assert_eq!((problem.document().code, problem.document().retry_after), (Code::Overloaded, Some(5)));
        drop(seat);
        assert!(seats.take().is_ok());
    }
}
