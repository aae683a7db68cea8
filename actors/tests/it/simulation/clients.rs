//! The users of a simulated world: they submit, repeat, cancel, suspend, resume, restart, retry and read, and write
//! down what they are told. An answer that never came may go either way, but not both.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::Handle;
use dogwatch_actors::handle::{Command, Error, Submission};
use dogwatch_actors::id::JobId;
use dogwatch_actors::job::parse::parse;
use dogwatch_actors::job::view::JobState;
use futures_util::FutureExt as _;
use serde_json::json;

use super::record::{Done, Job};
use super::script::Script;
use super::trace::note;
use super::world::World;

#[derive(Clone)]
pub(super) struct Client {
    pub(super) world: Arc<World>,
    pub(super) handle: Handle,
    pub(super) impatience: u64,
}

impl Client {
    /// Asks for this and that.
    pub(super) async fn work(self, requests: u64, pause: Duration) {
        for _ in 0..requests {
            tokio::time::sleep(self.world.random.up_to(pause)).await;
            let known = self.world.record.lock().jobs.len() as u64;
            let index = self.world.random.below(known.max(1)) as usize;
            match self.world.random.below(12) {
                0..=3 => self.submit(self.world.invent()).await,
                _ if known == 0 => {}
                4 => self.submit(index).await,
                5 => self.submit_another(index).await,
                6 => self.cancel(index).await,
                7 => self.command(index, Command::Suspend).await,
                8 => self.command(index, Command::Resume).await,
                9 => self.command(index, Command::Restart).await,
                10 => self.retry(index).await,
                _ => self.read(index),
            }
        }
    }

    /// `None` when there was no answer: the server panicked over it, or the client did not wait.
    async fn ask<T>(&self, question: impl Future<Output = T>) -> Option<T> {
        let question = AssertUnwindSafe(question).catch_unwind();
        if self.world.random.chance(self.impatience) {
            let patience = self.world.random.up_to(Duration::from_millis(40));
            tokio::time::timeout(patience, question).await.ok()?.ok()
        } else {
            question.await.ok()
        }
    }

    pub(super) async fn submit(&self, index: usize) {
        let Job { key, body, .. } = self.world.record.lock().jobs[index].clone();
        let spec = parse(&body).expect("the specs of the simulation are valid");
        let answer =
            self.ask(self.handle.submit(Submission { spec, idempotency: Some((key.clone(), body)) })).await;
        note!(self.world.trace, "submit {key}: {:?}", answer.as_ref().map(|a| a.as_ref().map(|s| s.job.id)));
        let mut record = self.world.record.lock();
        match answer {
            Some(Ok(submitted)) => record.acknowledge(index, submitted.job.id),
            None | Some(Err(error!(unknown))) => {}
            Some(Err(other)) => record.breaks(format!("the submission {key} was refused: {other}")),
        }
    }

    /// Uses the key of another submission, which must not work once that one was acknowledged.
    async fn submit_another(&self, index: usize) {
        let Job { key, ids, mut body, .. } = self.world.record.lock().jobs[index].clone();
        if ids.is_empty() {
            return;
        }
        body["name"] = json!("another");
        let spec = parse(&body).expect("the specs of the simulation are valid");
        let answer =
            self.ask(self.handle.submit(Submission { spec, idempotency: Some((key.clone(), body)) })).await;
        if let Some(Ok(submitted)) = answer {
            let what = format!("the key {key} of {ids:?} was taken for {}", submitted.job.id);
            self.world.record.lock().breaks(what);
        }
    }

    fn id(&self, index: usize) -> Option<JobId> {
        self.world.record.lock().jobs[index].ids.first().copied()
    }

    pub(super) async fn cancel(&self, index: usize) {
        let Some(id) = self.id(index) else { return };
        {
            let mut record = self.world.record.lock();
            let job = &mut record.jobs[index];
            job.cancelled = job.cancelled.max(Done::Perhaps);
        }
        let answer = self.ask(self.handle.command(id, Command::Cancel)).await;
        note!(
            self.world.trace,
            "cancel {id}: {:?}",
            answer.as_ref().map(|a| a.as_ref().map(|job| job.state))
        );
        let mut record = self.world.record.lock();
        match answer {
            Some(Ok(_)) => record.jobs[index].cancelled = Done::Yes,
            Some(Err(Error::Conflict { .. })) | None | Some(Err(error!(unknown))) => {}
            Some(Err(other)) => record.breaks(format!("cancelling {id}: {other}")),
        }
    }

    pub(super) async fn command(&self, index: usize, command: Command) {
        let Some(id) = self.id(index) else { return };
        let answer = self.ask(self.handle.command(id, command)).await;
        note!(
            self.world.trace,
            "{command:?} {id}: {:?}",
            answer.as_ref().map(|a| a.as_ref().map(|job| job.state))
        );
        match answer {
            Some(Ok(_) | Err(Error::Conflict { .. })) | None | Some(Err(error!(unknown))) => {}
            Some(Err(other)) => self.world.record.lock().breaks(format!("{command:?} {id}: {other}")),
        }
    }

    /// Lets a job that has failed run again: its end is no longer one.
    async fn retry(&self, index: usize) {
        let may = {
            let mut record = self.world.record.lock();
            let job = &mut record.jobs[index];
            let failed = job.end == Some(JobState::Failed);
            if failed {
                (job.end, job.retried) = (None, true);
            }
            failed
        };
        if may {
            self.command(index, Command::Retry).await;
            // Whoever read it meanwhile may have seen the old end.
            self.world.record.lock().jobs[index].end = None;
        }
    }

    /// Reads a job, and compares with what was seen of it before.
    pub(super) fn read(&self, index: usize) {
        let Some(id) = self.id(index) else { return };
        let read = || Ok((self.handle.job(id)?, self.handle.history(id, 0, 10_000)?));
        let answer = std::panic::catch_unwind(AssertUnwindSafe(read));
        let mut record = self.world.record.lock();
        match answer {
            Ok(Ok((view, history))) => record.see(index, &view, history),
            Err(_) | Ok(Err(error!(unknown))) => {}
            Ok(Err(other)) => record.breaks(format!("reading {id}, which was acknowledged: {other}")),
        }
    }
}

/// The errors that say nothing of whether it was done, or that nothing was for now.
macro_rules! error {
    (unknown) => {
        Error::Interrupted
            | Error::Store(_)
            | Error::ShuttingDown
            | Error::Overloaded { .. }
            | Error::Parked(..)
    };
}
use error;

impl World {
    /// A new job, not submitted yet; its number.
    fn invent(&self) -> usize {
        let script = Script::pick(&self.random);
        let body = script.spec(&self.random, self.time.wall().as_millis());
        let mut record = self.record.lock();
        let key = format!("key-{}", record.jobs.len());
        record.jobs.push(Job {
            key,
            script,
            body,
            ids: Default::default(),
            cancelled: Done::No,
            retried: false,
            end: None,
            history: vec![],
        });
        record.jobs.len() - 1
    }
}
