//! Work that a request asks for and that is done whether or not its client stays to hear of it.
//!
//! Nobody leaves as a rule, so it is done where it is waited for; only what is left alone becomes a task of its own.
//!
//! Not responsible for what the work is.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use dogwatch_actors::handle;
use dogwatch_actors::supervise::panic_text;
use futures_util::FutureExt as _;

use super::problem::Problem;
use crate::limits::ANSWER_MAX;

/// Does `work` to its end, whether or not the client stays to hear of it. One that takes longer than
/// [`ANSWER_MAX`], as on a disk that hangs, goes on behind an answer that says so.
pub(crate) async fn detached<T: 'static, E: Into<Problem> + 'static>(
    work: impl Future<Output = Result<T, E>> + 'static,
) -> Result<T, Problem> {
    let work = AssertUnwindSafe(work).catch_unwind().map(|done| done.map_err(died));
    match tokio::time::timeout(ANSWER_MAX, GoesOn::new(work)).await {
        Ok(Ok(result)) => result.map_err(Into::into),
        Ok(Err(Died)) | Err(_) => Err(handle::Error::Interrupted.into()),
    }
}

/// The work panicked; it is said where that happened.
struct Died;

fn died(panic: Box<dyn Any + Send>) -> Died {
    tracing::error!(error = panic_text(panic.as_ref()), "a request died");
    Died
}

/// Goes on by itself when it is dropped before its end.
struct GoesOn<F: Future + 'static>(Option<Pin<Box<F>>>);

impl<F: Future + 'static> GoesOn<F> {
    fn new(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F: Future + 'static> Future for GoesOn<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let work = self.0.as_mut().expect("nobody polls what has ended");
        let output = ready!(work.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<F: Future + 'static> Drop for GoesOn<F> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            actix_web::rt::spawn(work.map(drop));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::api::problem::Code;

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
}
