//! The files of an attempt: placed between its creation and its start, collected between its exit and the news of it.
//!
//! An attempt without files knows nothing of this.
//!
//! Invariants:
//! - what fails is tried again, for a bounded time: then the attempt cannot start, or ends without its outputs;
//! - an attempt whose outputs are being collected holds no slot;
//! - a new order to stop ends the collecting with its grace.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Driver, within};
use crate::files::Collected;
use crate::fleet::Report;
use crate::fleet::backoff::Backoff;
use crate::fleet::mailbox::Input;
use crate::fleet::orders::until;
use crate::fleet::watch::Step;
use crate::limits;
use crate::runtime::{Error, Exit, Result, StartFault};

impl Driver {
    /// The step to take when `step` is the next: first the files, then the start.
    pub(super) fn files_first(&self, step: Step) -> Step {
        let due = step == Step::Start && !self.placed && !self.plan.files.is_empty();
        if due { Step::Place } else { step }
    }

    /// Places the inputs. One that is not to be had for too long is never to be had.
    pub(super) async fn place(&mut self) -> Result<()> {
        let since = *self.placing_since.get_or_insert_with(Instant::now);
        let (files, runtime, plan) = (&self.files, &self.runtime, &self.plan);
        let placed = files.place(&**runtime, plan);
        match within(&**runtime, "place its files", limits::PLACE_DEADLINE, placed).await {
            Ok(()) => {
                self.placed = true;
                Ok(())
            }
            Err(error) if error.is_retryable() && since.elapsed() >= limits::PLACE_PATIENCE => {
                let minutes = limits::PLACE_PATIENCE.as_secs() / 60;
                let message = format!("its files could not be placed within {minutes} min: {error}");
                Err(Error::Start { fault: StartFault::Input, message })
            }
            Err(error) => Err(error),
        }
    }

    /// The end with the outputs, where the attempt has such.
    pub(super) async fn with_outputs(&mut self, report: Report) -> Report {
        let Report::Exited(exit) = report else { return report };
        if self.plan.files.outputs.is_empty() {
            return Report::Exited(exit);
        }
        // What is being copied needs no slot.
        self.mailbox.deliver(Input::Exited(self.key)).await;
        let outputs = Box::new(self.collect(&exit).await);
        Report::Collected { exit, outputs }
    }

    async fn collect(&mut self, exit: &Exit) -> Collected {
        let mut orders = self.orders.clone();
        let stop = orders.borrow_and_update().stop;
        let told_to_stop = async {
            until(&mut orders, |orders| orders.stop != stop).await;
            let by = orders.borrow().stop.map_or_else(Instant::now, |stop| stop.by);
            tokio::time::sleep_until(by).await;
        };
        tokio::select! {
            biased;
            collected = self.collect_patiently(exit) => collected,
            () = told_to_stop => Collected::failed("it was stopped while its outputs were collected"),
        }
    }

    async fn collect_patiently(&mut self, exit: &Exit) -> Collected {
        let began = Instant::now();
        let (files, runtime, plan) =
            (Arc::clone(&self.files), Arc::clone(&self.runtime), Arc::clone(&self.plan));
        let mut failures = 0;
        loop {
            let collected = files.collect(&*runtime, &plan);
            let collected =
                within(&*runtime, "collect its outputs", limits::COLLECT_DEADLINE, collected).await;
            let error = match collected {
                Ok(collected) => return collected,
                Err(error) => error,
            };
            tracing::debug!(attempt = %self.key, runtime_id = exit.runtime_id, %error, "outputs were not collected");
            if began.elapsed() >= limits::COLLECT_PATIENCE {
                let minutes = limits::COLLECT_PATIENCE.as_secs() / 60;
                return Collected::failed(format!(
                    "its outputs could not be collected within {minutes} min: {error}"
                ));
            }
            self.teller.trouble(error.to_string());
            tokio::time::sleep(Backoff::RETRY.pause(failures, self.key)).await;
            failures = failures.saturating_add(1);
        }
    }
}
