//! What workers tell of what they did: what came of it is recorded, and only then answered.
//!
//! Not responsible for: which answers count (`book.rs`), what a turn's record is (`turns.rs`).
//!
//! Invariant: what was begun goes on, whoever still listens. The call of a worker that goes while its answer is being
//! recorded is dropped, and its work must not stay between two stools.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::piece::{Key, Load};
use super::ready::Kind;
use super::{Remote, TurnAnswer};
use crate::entity;
use crate::entity::batch::BatchOutcome;
use crate::orchestration::event::Event;
use crate::orchestration::history::{Outcome, TaskResult};

impl Remote {
    /// A worker tells what came of an activity. Resolves when that is durable; a stale token, or one of other work,
    /// changes nothing.
    pub async fn complete_activity(&self, token: &str, outcome: Outcome) {
        let Some(out) = self.begin_end(token, Kind::Activity) else { return };
        let Key::Activity(key @ (id, execution, task)) = out.key else { return };
        let this = self.clone();
        to_the_end(async move {
            let results = vec![TaskResult { task, outcome }];
            this.insist(id, Event::TasksEnded { execution, results }).await;
            this.0.book.lock().activity_rests(&key);
        })
        .await;
    }

    /// A worker tells what the code asked for in a turn. Resolves when that is durable; a stale token, or one of other
    /// work, changes nothing.
    pub async fn complete_turn(&self, token: &str, answer: TurnAnswer) {
        let Some(out) = self.begin_end(token, Kind::Orchestration) else { return };
        let (Key::Turn(id), Load::Turn(turn)) = (out.key, out.load) else { return };
        let this = self.clone();
        to_the_end(async move {
            let kept = this.record(id, *turn, answer).await;
            this.0.book.lock().turn_rests(id, kept);
        })
        .await;
    }

    /// A worker tells what came of operations of an entity. Resolves when that is durable; a stale token, or one of
    /// other work, changes nothing, and where none was run they are run again later.
    pub async fn complete_batch(&self, token: &str, outcome: BatchOutcome) {
        if outcome.results.is_empty() {
            return self.give_back(token);
        }
        let Some(out) = self.begin_end(token, Kind::Entity) else { return };
        let Load::Batch(batch) = out.load else { return };
        let this = self.clone();
        to_the_end(async move {
            if let Some(end) = batch.ended(outcome) {
                let event = entity::event::Event::BatchEnded(Box::new(end));
                this.0.parts.entities.mail.insist(batch.entity, event).await;
            }
            this.0.book.lock().batch_rests(batch.entity, batch.number);
        })
        .await;
    }

    /// A worker gives a piece of work back: it cannot do it, or does not want to.
    pub fn give_back(&self, token: &str) {
        if let Some(number) = self.number(token) {
            self.0.book.lock().give_back(number);
        }
    }

    fn begin_end(&self, token: &str, kind: Kind) -> Option<super::piece::Out> {
        self.0.book.lock().begin_end_of(self.number(token)?, kind)
    }
}

/// Runs `work` to its end, also when nobody waits for that any more. Hardly anybody goes meanwhile, so that it has a task of
/// its own only from then on.
fn to_the_end(work: impl Future<Output = ()> + Send + 'static) -> ToTheEnd {
    let work = AssertUnwindSafe(work).catch_unwind().map(|ended| {
        if ended.is_err() {
            tracing::error!("what a worker told could not be recorded: please report this");
        }
    });
    ToTheEnd(Some(work.boxed()))
}

/// See [`to_the_end`].
struct ToTheEnd(Option<BoxFuture<'static, ()>>);

impl Future for ToTheEnd {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(work) = &mut self.0 else { return Poll::Ready(()) };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl Drop for ToTheEnd {
    fn drop(&mut self) {
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn what_was_begun_goes_on_when_whoever_waited_has_gone() {
        let (go, gone) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let waiting = tokio::spawn(to_the_end(async move {
            gone.await.unwrap();
            yield_now().await;
            tell.send("recorded").unwrap();
        }));
        yield_now().await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        assert_eq!(told.await, Ok("recorded"));
    }

    #[tokio::test]
    async fn what_ends_or_panics_is_polled_no_more_and_harms_nobody() {
        for panics in [false, true] {
            let polls = Arc::new(AtomicUsize::new(0));
            let seen = Arc::clone(&polls);
            to_the_end(poll_fn(move |_| {
                seen.fetch_add(1, Ordering::SeqCst);
                assert!(!panics, "as ordered");
                Poll::Ready(())
            }))
            .await;
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "nothing is left to do");
            assert_eq!(polls.load(Ordering::SeqCst), 1);
        }
    }
}
