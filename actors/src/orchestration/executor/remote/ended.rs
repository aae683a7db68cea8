//! What workers tell of what they did: what came of it is recorded, and only then answered.
//!
//! Not responsible for: which answers count (`book.rs`), what a turn's record is (`turns.rs`).
//!
//! Invariant: what was begun goes on, whoever still listens. The call of a worker that goes while its answer is being
//! recorded is dropped, and its work must not stay between two stools.

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

/// Runs `work` to its end, also when nobody waits for that any more.
async fn to_the_end(work: impl Future<Output = ()> + Send + 'static) {
    if tokio::spawn(work).await.is_err() {
        tracing::error!("what a worker told could not be recorded: please report this");
    }
}
