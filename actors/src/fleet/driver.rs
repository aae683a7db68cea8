//! The life of one attempt on its runtime: observe, decide (`watch.rs`), act, and again, until its end was
//! observed. One code path for an attempt that is fresh, re-attached after a restart, or troubled.
//!
//! Not responsible for: slots, logs, removal, and what an end means.
//!
//! Invariants:
//! - every step is preceded by an observation, but for the creation of what was granted a moment ago, which adopts
//!   what there is; and every call has a deadline;
//! - no start is asked for before it is durable that it may have been, nor without a slot;
//! - a failed call is followed by a pause and another look, for as long as it takes: unknown is not an end;
//! - a stop interrupts whatever is only being waited for: the creation, a pause, a longer grace.

mod files;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::call::within;
use super::mailbox::{Input, Mailbox};
use super::orders::{Orders, StopOrder, changed, until};
use super::roster::Seen;
use super::teller::Teller;
use super::watch::{Belief, Next, Step, decide, judge};
use super::{Drive, FileKeeper, Report};
use crate::fault::{self, Point};
use crate::id::AttemptKey;
use crate::limits;
use crate::runtime::{Due, Error, Observation, Plan, Result, Running, Runtime};

/// Drives one attempt.
pub(super) struct Driver {
    key: AttemptKey,
    plan: Arc<Plan>,
    runtime: Arc<dyn Runtime>,
    files: Arc<dyn FileKeeper>,
    /// Its files are where it finds them.
    placed: bool,
    /// Since when they are tried to be placed.
    placing_since: Option<Instant>,
    orders: watch::Receiver<Orders>,
    mailbox: Mailbox,
    teller: Teller,
    belief: Belief,
    /// Nobody can have created it yet.
    is_new: bool,
    /// What the fleet's books say of it.
    seen: Seen,
    /// Failures since something last went well.
    failures: u32,
    /// Waits in a row that ended at once.
    quick: u32,
    /// The step that the runtime last said was done.
    done: Option<Step>,
    /// What was seen right after the start, and its job was not told yet: it may be over in a moment.
    untold: Option<Running>,
    /// What a group last waited for.
    due: Option<Due>,
    /// The number of the last request to say again what is known.
    tells: u64,
}

impl Driver {
    /// A driver that has not looked yet.
    pub(super) fn new(
        plan: Arc<Plan>,
        (runtime, files): (Arc<dyn Runtime>, Arc<dyn FileKeeper>),
        phase: Drive,
        orders: watch::Receiver<Orders>,
        mailbox: Mailbox,
        teller: Teller,
    ) -> Self {
        let belief = match phase {
            Drive::Start => Belief::Fresh,
            Drive::MayHaveStarted => Belief::Asked,
            Drive::Attach => Belief::Ran,
        };
        let tells = orders.borrow().tells;
        Self {
            key: plan.key,
            plan,
            runtime,
            files,
            placed: false,
            placing_since: None,
            orders,
            mailbox,
            teller,
            belief,
            is_new: false,
            seen: Seen::Starting,
            failures: 0,
            quick: 0,
            done: None,
            untold: None,
            due: None,
            tells,
        }
    }

    /// The attempt was granted a moment ago, and nobody can have created it yet.
    pub(super) fn of_new(self, is_new: bool) -> Self {
        Self { is_new, ..self }
    }

    /// Drives the attempt to its end and reports that until the task is cancelled.
    pub(super) async fn run(mut self) {
        let report = loop {
            if let Some(end) = self.turn().await {
                break end;
            }
        };
        fault::reach_of(Point::ExitObserved, self.key);
        let report = self.with_outputs(report).await;
        // First the slot, then the news: whoever is next in the queue waits for nobody.
        // Heard by the fleet first: its slot is free, and its log being saved, before the job knows.
        self.mailbox.deliver(Input::Ended { key: self.key, report: report.clone() }).await;
        fault::reach_of(Point::ExitTold, self.key);
        self.teller.repeat(report, &mut self.orders).await;
    }

    /// One look and what follows from it. Answers the end when there is one.
    async fn turn(&mut self) -> Option<Report> {
        let orders = *self.orders.borrow_and_update();
        if orders.tells != self.tells {
            self.tells = orders.tells;
            self.teller.again();
        }
        let stopping = orders.stop.is_some();
        if std::mem::take(&mut self.is_new) && !stopping {
            return self.take(Step::Create, None).await;
        }
        let observed =
            within(&*self.runtime, "observe", limits::OBSERVE_DEADLINE, self.runtime.observe(self.key)).await;
        let next = match observed {
            Ok(observation) => {
                self.note(&observation);
                let next = decide(self.belief, stopping, observation.clone());
                self.belief = self.belief.with(&observation);
                next
            }
            Err(error) => self.failed(Step::Observe, stopping, &error),
        };
        match next {
            Next::End(report) => return Some(report),
            Next::Retry => self.pause().await,
            Next::Watch => self.watch().await,
            Next::Take(step) => return self.take(self.files_first(step), orders.stop).await,
        }
        None
    }

    /// Takes a step. Answers the end when the step's failure is one.
    async fn take(&mut self, step: Step, stop: Option<StopOrder>) -> Option<Report> {
        if self.done == Some(step) {
            self.lost(format!("`{}` was done, but the attempt does not show it; trying again", step.name()));
            self.pause().await;
            if self.orders.borrow().stop != stop {
                return None;
            }
        }
        if step == Step::Start && !self.may_start(stop).await {
            return None;
        }
        match self.perform(step, stop).await {
            None => None,
            Some(Ok(())) => {
                if step == Step::Create {
                    self.belief = self.belief.max(Belief::Created);
                }
                if self.done != Some(step) {
                    self.failures = 0;
                }
                self.done = Some(step);
                None
            }
            Some(Err(error)) => {
                self.done = None;
                match self.failed(step, stop.is_some(), &error) {
                    Next::End(report) => Some(report),
                    _ => {
                        self.pause().await;
                        None
                    }
                }
            }
        }
    }

    /// Waits until the attempt may be started and has a slot, asking for both; `false` when a stop came first, or a
    /// reason to look again.
    async fn may_start(&mut self, stop: Option<StopOrder>) -> bool {
        fault::reach_of(Point::AttemptPrepared, self.key);
        let mut orders = self.orders.clone();
        tokio::select! {
            biased;
            () = until(&mut orders, |orders| orders.may_start || orders.stop != stop) => {}
            () = self.teller.repeat(Report::Prepared, &mut self.orders) => {}
        }
        let Orders { may_start, slot, looks, stop: ordered, .. } = *self.orders.borrow();
        if !may_start || ordered != stop {
            return false;
        }
        if !slot {
            self.mailbox.post(Input::Ready(self.key));
            let waited = |orders: &Orders| orders.slot || orders.stop != stop || orders.looks != looks;
            until(&mut self.orders, waited).await;
        }
        let orders = self.orders.borrow();
        orders.slot && orders.stop == stop
    }

    /// Makes the call of a step; `None` when a stop made it pointless.
    async fn perform(&mut self, step: Step, stop: Option<StopOrder>) -> Option<Result<()>> {
        let (runtime, key) = (Arc::clone(&self.runtime), self.key);
        match step {
            Step::Observe => Some(Ok(())),
            Step::Create => {
                let create = within(&*runtime, "create", limits::CREATE_DEADLINE, runtime.create(&self.plan));
                let create = between(Point::AttemptCreating, create, Point::AttemptCreated);
                tokio::select! {
                    biased;
                    () = until(&mut self.orders, |orders| orders.stop.is_some()) => None,
                    created = create => Some(created),
                }
            }
            Step::Place => {
                let mut orders = self.orders.clone();
                tokio::select! {
                    biased;
                    () = until(&mut orders, |orders| orders.stop.is_some()) => None,
                    placed = self.place() => Some(placed),
                }
            }
            Step::Start => {
                self.belief = self.belief.max(Belief::Asked);
                let start = within(&*runtime, "start", limits::START_DEADLINE, runtime.start(key));
                Some(between(Point::AttemptStarting, start, Point::AttemptStarted).await)
            }
            Step::Stop => {
                let order = stop.unwrap_or_else(|| self.own_stop());
                let grace = order.by.saturating_duration_since(Instant::now());
                let call = runtime.stop(key, order.signal, grace);
                let ended = within(&*runtime, "stop", grace + limits::STOP_SLACK, call);
                let ended = between(Point::StopSending, ended, Point::StopSent);
                tokio::select! {
                    biased;
                    () = until(&mut self.orders, |orders| orders.stop != stop) => None,
                    ended = ended => Some(ended),
                }
            }
            Step::Undo => {
                Some(within(&*runtime, "remove", limits::REMOVE_DEADLINE, runtime.remove(key)).await)
            }
        }
    }

    /// What ends the rest of a group whose main container has ended: nobody ordered it.
    fn own_stop(&self) -> StopOrder {
        StopOrder { signal: self.plan.stop_signal, by: Instant::now() + self.plan.group.stop_grace }
    }

    /// Waits until the attempt may have changed. Hints that change nothing are answered ever more slowly.
    async fn watch(&mut self) {
        self.failures = 0;
        self.done = None;
        let began = Instant::now();
        let (teller, untold) = (&mut self.teller, self.untold.take());
        let tell = async {
            if let Some(running) = untold {
                tokio::time::sleep(limits::START_TOLD_AFTER).await;
                teller.started(&running);
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            () = changed(&mut self.orders) => {}
            () = self.runtime.wait(self.key, limits::WATCH_PATIENCE) => {}
            () = tell => {}
            // A wait that ignores its own patience must not blind the watch.
            () = tokio::time::sleep(limits::WATCH_PATIENCE + limits::OBSERVE_DEADLINE) => {}
        }
        self.quick = if began.elapsed() < limits::OBSERVE_PAUSE_FIRST { self.quick + 1 } else { 0 };
        if let Some(extra) = self.quick.checked_sub(2) {
            let stop = self.orders.borrow().stop;
            tokio::select! {
                biased;
                () = until(&mut self.orders, |orders| orders.stop != stop) => {}
                () = tokio::time::sleep(Backoff::LOOK.pause(extra, self.key)) => {}
            }
        }
    }

    /// Pauses after a failure. A new stop ends it; a reason to look shortens it, but not to nothing, as that
    /// may be an echo of the very call that failed.
    async fn pause(&mut self) {
        let length = Backoff::RETRY.pause(self.failures, self.key);
        self.failures = self.failures.saturating_add(1);
        let stop = self.orders.borrow().stop;
        let mut stops = self.orders.clone();
        let kicked = async {
            tokio::time::sleep((length / 8).max(limits::RETRY_PAUSE_FIRST)).await;
            changed(&mut self.orders).await;
        };
        tokio::select! {
            biased;
            () = until(&mut stops, |orders| orders.stop != stop) => {}
            () = kicked => {}
            () = tokio::time::sleep(length) => {}
        }
    }

    /// Tells the books and the job what an observation changed.
    fn note(&mut self, observation: &Observation) {
        match observation {
            Observation::Running(running) => {
                fault::reach_of(Point::AttemptSeen, self.key);
                self.see(Seen::Running);
                if self.done == Some(Step::Start) {
                    self.untold = Some(running.clone());
                } else {
                    self.untold = None;
                    self.teller.started(running);
                }
            }
            Observation::Due(running, due) => {
                self.see(Seen::Running);
                self.untold = None;
                self.teller.started(running);
                // Another thing is due than before: what was done was done.
                if self.due.as_ref() != Some(due) {
                    self.due = Some(due.clone());
                    self.done = None;
                }
            }
            Observation::Absent | Observation::Incomplete | Observation::Created => {
                self.see(Seen::Starting);
            }
            Observation::Exited(_) => {}
        }
    }

    fn failed(&mut self, step: Step, stopping: bool, error: &Error) -> Next {
        let next = judge(self.belief, stopping, step, error);
        if next == Next::Retry {
            self.lost(error.to_string());
        }
        next
    }

    fn lost(&mut self, message: String) {
        self.see(Seen::Unknown);
        self.teller.trouble(message);
    }

    fn see(&mut self, seen: Seen) {
        if self.seen != seen {
            self.seen = seen;
            self.mailbox.post(Input::Seen { key: self.key, seen });
        }
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("key", &self.key).field("belief", &self.belief).finish_non_exhaustive()
    }
}

/// A call with a fault point in front of it and one behind it.
async fn between(before: Point, call: impl Future<Output = Result<()>>, after: Point) -> Result<()> {
    let injected = || Error::Transient { message: "a fault point".to_owned() };
    fault::check(before, injected)?;
    call.await?;
    fault::check(after, injected)
}
