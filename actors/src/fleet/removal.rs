//! The end of an attempt's remains: its log is completed, then what is left on the runtime is removed, again
//! and again until it is gone. Off every critical path; nobody waits for it.
//!
//! Not responsible for: whether it may go. Whoever calls has the job's word for that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::backoff::Backoff;
use super::call::within;
use super::mailbox::{Input, Mailbox};
use super::saver::{LogSinks, Saver};
use super::task::Task;
use crate::fault::{self, Point};
use crate::id::AttemptKey;
use crate::job::spec::StopSignal;
use crate::limits;
use crate::runtime::{Error, Observation, Result, Runtime};

/// One attempt to be removed.
pub(super) struct Removal {
    pub(super) key: AttemptKey,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) sinks: Arc<dyn LogSinks>,
    /// The one that saved its log so far, if any did.
    pub(super) saver: Option<Saver>,
    /// Shared by all removals on the runtime.
    pub(super) permits: Arc<Semaphore>,
}

impl Removal {
    /// Goes to work, and tells when nothing is left.
    pub(super) fn spawn(self, mailbox: Mailbox) -> Task {
        let (key, done) = (self.key, mailbox.clone());
        let work = async move {
            self.run().await;
            done.post(Input::Removed(key));
        };
        Task::spawn(work, move |panic| {
            tracing::error!(attempt = %key, panic, "removing an attempt panicked; a later list finds it again");
            mailbox.post(Input::Removed(key));
        })
    }

    async fn run(mut self) {
        let mut drained = self.runtime.keeps_logs();
        for failures in 0.. {
            match self.turn(&mut drained).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(attempt = %self.key, %error, "an attempt could not be removed yet");
                    tokio::time::sleep(Backoff::RETRY.pause(failures, self.key)).await;
                }
            }
        }
    }

    /// One look and one step; `true` when nothing of ours is left.
    async fn turn(&mut self, drained: &mut bool) -> Result<bool> {
        let (runtime, key) = (Arc::clone(&self.runtime), self.key);
        let observed = within(&*runtime, "observe", limits::OBSERVE_DEADLINE, runtime.observe(key)).await;
        match observed {
            Ok(Observation::Absent) | Err(Error::Foreign { .. }) => Ok(true),
            Ok(Observation::Running(_) | Observation::Due(..)) => {
                let stop = runtime.stop(key, StopSignal::Sigkill, Duration::ZERO);
                within(&*runtime, "stop", limits::STOP_SLACK, stop).await?;
                Ok(false)
            }
            Ok(Observation::Exited(_)) if !*drained => {
                let saver = match self.saver.take() {
                    Some(saver) => saver,
                    None => {
                        let members = runtime.members(key).await.unwrap_or_default();
                        Saver::spawn(&runtime, key, &self.sinks, &members)
                    }
                };
                saver.drain(key, limits::LOG_DRAIN_MAX).await;
                *drained = true;
                Ok(false)
            }
            Ok(Observation::Incomplete | Observation::Created | Observation::Exited(_)) => {
                let permit = self.permits.acquire().await.expect("the permits are never closed");
                fault::check(Point::ExitRemoving, injected)?;
                within(&*runtime, "remove", limits::REMOVE_DEADLINE, runtime.remove(key)).await?;
                fault::check(Point::ExitRemoved, injected)?;
                drop(permit);
                if runtime.removes_at_once() {
                    return Ok(true);
                }
                // Another look makes sure, after a pause for engines that remove behind their answer.
                tokio::time::sleep(limits::OBSERVE_PAUSE_FIRST).await;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// The error of a fault point.
fn injected() -> Error {
    Error::Transient { message: "a fault point".to_owned() }
}
