//! What every handler is given: the supervisor, and the bound on requests that stay open.

use std::future::Future;
use std::sync::Arc;

use actix_web::HttpRequest;
use dogwatch_actors::handle::{self, Handle};
use dogwatch_actors::id::JobId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::Bodies;
use super::problem::{Code, Problem};
use crate::limits::{ANSWER_MAX, FOLLOWERS_MAX};

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

/// Does `work` to its end, whether or not the client stays to hear of it. One that takes longer than
/// [`ANSWER_MAX`], as on a disk that hangs, goes on behind an answer that says so.
pub(crate) async fn detached<T: 'static, E: Into<Problem> + 'static>(
    work: impl Future<Output = Result<T, E>> + 'static,
) -> Result<T, Problem> {
    let Ok(done) = tokio::time::timeout(ANSWER_MAX, actix_web::rt::spawn(work)).await else {
        return Err(handle::Error::Interrupted.into());
    };
    match done {
        Ok(result) => result.map_err(Into::into),
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[actix_web::test]
    async fn work_is_done_when_nobody_waits_for_it_any_more() {
        let (go, gate) = tokio::sync::oneshot::channel::<()>();
        let (tell, done) = tokio::sync::oneshot::channel::<()>();
        let started = Rc::new(Cell::new(false));
        let work = {
            let started = Rc::clone(&started);
            async move {
                started.set(true);
                gate.await.expect("the test opens the gate");
                tell.send(()).expect("the test listens");
                Ok::<(), handle::Error>(())
            }
        };
        let mut request = Box::pin(detached(work));
        while !started.get() {
            assert!(futures_util::poll!(&mut request).is_pending());
            tokio::task::yield_now().await;
        }
        drop(request);
        go.send(()).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(5), done).await.expect("in time").unwrap();
    }

    #[actix_web::test]
    async fn work_that_dies_is_an_interruption() {
        let problem = detached::<(), handle::Error>(async { panic!("a fault") }).await.unwrap_err();
        assert_eq!(problem.document().code, Code::Interrupted);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_is_answered_and_goes_on() {
        let (go, gate) = tokio::sync::oneshot::channel::<()>();
        let (tell, done) = tokio::sync::oneshot::channel::<()>();
        let work = async move {
            gate.await.expect("the test opens the gate");
            tell.send(()).expect("the test listens");
            Ok::<(), handle::Error>(())
        };
        tokio::task::LocalSet::new()
            .run_until(async {
                let problem = detached(work).await.unwrap_err();
                assert_eq!(problem.document().code, Code::Interrupted);
                go.send(()).unwrap();
                done.await.unwrap();
            })
            .await;
    }

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
