//! What belongs to one attempt beside its line in the roster: the orders for its driver, the task that drives
//! it or speaks for it, and the saver of its log.
//!
//! Invariant: one task at a time. Before the end it is the driver; before that and after it, a voice that
//! repeats what the job must hear. Starting another replaces it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::driver::Driver;
use super::mailbox::{Input, Mailbox};
use super::orders::{Orders, StopOrder};
use super::prober::Prober;
use super::saver::{LogSinks, Saver};
use super::task::Task;
use super::teller::Teller;
use super::{Drive, FileKeeper, Report, Reports};
use crate::id::AttemptKey;
use crate::limits;
use crate::outbound::Network;
use crate::runtime::{Plan, Runtime};

/// One attempt.
pub(super) struct Entry {
    key: AttemptKey,
    orders: watch::Sender<Orders>,
    drive: Option<Driven>,
    task: Option<Task>,
    saver: Option<Saver>,
    /// Those who probe its containers while it runs.
    probers: Vec<Task>,
    /// The terminal report, once there is one.
    end: Option<Report>,
    crashes: u32,
}

/// What a driver is started with.
#[derive(Clone)]
struct Driven {
    plan: Arc<Plan>,
    runtime: String,
    /// What a driver that takes over may assume.
    phase: Drive,
    /// No driver has been started for it, and it was granted here.
    is_new: bool,
}

/// What works on an attempt: its runtime, and who carries its files.
type Hands<'a> = (&'a Arc<dyn Runtime>, &'a Arc<dyn FileKeeper>);

impl Entry {
    /// An attempt of which nothing is known.
    pub(super) fn new(key: AttemptKey) -> Self {
        let orders = watch::Sender::new(Orders::default());
        Self { key, orders, drive: None, task: None, saver: None, probers: vec![], end: None, crashes: 0 }
    }

    /// The runtime that it is driven on.
    pub(super) fn runtime(&self) -> Option<&str> {
        self.drive.as_ref().map(|drive| drive.runtime.as_str())
    }

    /// Until when an order to stop is kept for an attempt that nobody drives.
    pub(super) fn stop_kept_to(&self) -> Option<Instant> {
        self.orders.borrow().stop.map(|stop| stop.by + limits::EARLY_STOP_KEPT)
    }

    /// Has its driver end it.
    pub(super) fn stop(&self, order: StopOrder) {
        self.orders.send_modify(|orders| orders.stop(order));
    }

    /// Whether somebody drives it or speaks for it.
    pub(super) const fn has_task(&self) -> bool {
        self.task.is_some()
    }

    /// Has its driver look at once.
    pub(super) fn look(&self) {
        self.orders.send_modify(|orders| orders.looks += 1);
    }

    /// Has its task say again what it knows.
    pub(super) fn tell_again(&self) {
        self.orders.send_modify(|orders| orders.tells += 1);
    }

    /// It was given to the fleet.
    pub(super) fn drive(&mut self, plan: Arc<Plan>, runtime: String, phase: Drive, was_granted: bool) {
        let is_new = was_granted && phase == Drive::Start;
        self.drive = Some(Driven { plan, runtime, phase, is_new });
        // Its job has heard of the slot.
        self.task = None;
        if phase != Drive::Start {
            self.orders.send_modify(|orders| orders.may_start = true);
        }
    }

    /// It may be started: from now on its absence may mean that it ran.
    pub(super) fn allow_start(&mut self) {
        if let Some(drive) = self.drive.as_mut().filter(|drive| drive.phase == Drive::Start) {
            drive.phase = Drive::MayHaveStarted;
            self.orders.send_modify(|orders| orders.may_start = true);
        }
    }

    /// It has a slot, and may use it.
    pub(super) fn has_slot(&self) {
        self.orders.send_if_modified(|orders| !std::mem::replace(&mut orders.slot, true));
    }

    /// It was seen running: from now on its absence means that it vanished.
    pub(super) const fn runs(&mut self) {
        if let Some(drive) = &mut self.drive {
            drive.phase = Drive::Attach;
        }
    }

    /// Its end was observed.
    pub(super) fn ended(&mut self, report: Report) {
        self.end = Some(report);
        self.probers.clear();
        if let Some(saver) = &self.saver {
            saver.attempt_is_over();
        }
    }

    /// Begins to save its log, unless its runtime or somebody else does.
    pub(super) fn save_log(&mut self, runtime: &Arc<dyn Runtime>, sinks: &Arc<dyn LogSinks>) {
        if self.saver.is_none() && !runtime.keeps_logs() {
            let plan = self.drive.as_ref().map(|drive| Arc::clone(&drive.plan));
            let members: Vec<String> =
                plan.iter().flat_map(|plan| plan.group.names()).map(str::to_owned).collect();
            self.saver = Some(Saver::spawn(runtime, self.key, sinks, &members));
        }
    }

    /// Begins to probe its containers, unless that was begun.
    pub(super) fn probe(
        &mut self,
        runtime: &Arc<dyn Runtime>,
        network: Option<&Arc<dyn Network>>,
        reports: &Arc<dyn Reports>,
    ) {
        if let Some(drive) = self.drive.as_ref().filter(|_| self.probers.is_empty() && self.end.is_none()) {
            self.probers = Prober::spawn_all(&drive.plan, runtime, network, reports);
        }
    }

    /// What is needed to remove it; cancels its task.
    pub(super) fn into_saver(self) -> Option<Saver> {
        self.saver
    }

    /// The pause before a task that panicked is started again; grows with each time.
    pub(super) fn crashed(&mut self) -> Duration {
        let pause = Backoff::RETRY.pause(self.crashes, self.key);
        self.crashes = self.crashes.saturating_add(1);
        pause
    }

    /// Starts the task after `pause`: the voice after the end, else the driver. Without the `runtime` nothing
    /// can be found out: the attempt may well run there, and its job hears just that.
    pub(super) fn launch(
        &mut self,
        pause: Duration,
        runtime: Option<Hands<'_>>,
        reports: &Arc<dyn Reports>,
        mailbox: &Mailbox,
    ) {
        if let Some(end) = self.end.clone() {
            return self.speak(end, pause, reports, mailbox);
        }
        let Some(Driven { plan, runtime: name, phase, is_new }) = self.drive.clone() else { return };
        let Some((runtime, files)) = runtime else {
            let message =
                format!("the runtime `{name}` is not configured here; configure it and restart dogwatch");
            return self.speak(Report::Trouble { message }, pause, reports, mailbox);
        };
        let (runtime, mailbox) = ((Arc::clone(runtime), Arc::clone(files)), mailbox.clone());
        let teller = Teller::new(self.key, Arc::clone(reports));
        if let Some(drive) = &mut self.drive {
            drive.is_new = false;
        }
        let driver = Driver::new(plan, runtime, phase, self.orders.subscribe(), mailbox.clone(), teller);
        let driver = driver.of_new(is_new);
        let work = async move {
            rest(pause).await;
            driver.run().await;
        };
        self.put(work, mailbox);
    }

    /// Starts a voice that repeats `report`, from after `pause`.
    pub(super) fn speak(
        &mut self,
        report: Report,
        pause: Duration,
        reports: &Arc<dyn Reports>,
        mailbox: &Mailbox,
    ) {
        let mut orders = self.orders.subscribe();
        let teller = Teller::new(self.key, Arc::clone(reports));
        let work = async move {
            rest(pause).await;
            teller.repeat(report, &mut orders).await;
        };
        self.put(work, mailbox.clone());
    }

    fn put(&mut self, work: impl Future<Output = ()> + Send + 'static, mailbox: Mailbox) {
        let key = self.key;
        self.task = Some(Task::spawn(work, move |cause| mailbox.post(Input::Crashed { key, cause })));
    }
}

/// Sleeps; for no time when there is none, which a timer would round up to its next tick.
async fn rest(pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}
