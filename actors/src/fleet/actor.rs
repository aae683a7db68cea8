//! The fleet's actor: turns what it is told into changes of the roster and into tasks. It makes no call to a
//! runtime, a job or a ledger itself, so nothing foreign can delay or panic in it.
//!
//! Not responsible for: any rule. Who gets a slot is the roster's, what to do with one attempt the driver's,
//! what a list means the reconciler's.
//!
//! Invariants:
//! - an entry has at most one task: a driver, or a voice that repeats what its job must hear;
//! - after every input that may have freed a slot, the queue is served before the input counts as handled;
//! - every task ends with the actor; every attempt goes on.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext as _, Context, Handler, Supervised};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::driver::Driver;
use super::lookout::Lookout;
use super::mailbox::{Input, Mailbox};
use super::orders::{Orders, StopOrder};
use super::reconcile::{Action, Listed, reconcile};
use super::removal::Removal;
use super::roster::{Demand, Hold, Roster, Seen};
use super::saver::Saver;
use super::task::Task;
use super::teller::Teller;
use super::{Drive, FleetView, Options, Report, Request, RuntimeView};
use crate::id::AttemptKey;
use crate::job::spec::StopSignal;
use crate::limits;
use crate::runtime::{Plan, Runtime};

/// The actor.
pub(super) struct FleetActor {
    options: Options,
    mailbox: Mailbox,
    view: watch::Sender<FleetView>,
    roster: Roster,
    entries: HashMap<AttemptKey, Entry>,
    removing: HashMap<AttemptKey, Task>,
    bases: BTreeMap<String, Base>,
}

/// What belongs to one runtime.
struct Base {
    runtime: Arc<dyn Runtime>,
    /// Asks its lookout for a list.
    list: Arc<Notify>,
    /// For removals.
    permits: Arc<Semaphore>,
    lookout: Option<Task>,
}

/// What belongs to one attempt beside its line in the roster.
struct Entry {
    orders: watch::Sender<Orders>,
    drive: Option<Driven>,
    /// The driver or the voice.
    task: Option<Task>,
    saver: Option<Saver>,
    /// The terminal report, once there is one.
    end: Option<Report>,
    crashes: u32,
}

/// What a driver was started with.
#[derive(Clone)]
struct Driven {
    plan: Arc<Plan>,
    runtime: String,
    /// What a driver that takes over may assume.
    phase: Drive,
}

impl Default for Entry {
    fn default() -> Self {
        let orders = watch::Sender::new(Orders::default());
        Self { orders, drive: None, task: None, saver: None, end: None, crashes: 0 }
    }
}

impl FleetActor {
    /// A fleet that knows nothing yet.
    pub(super) fn new(options: Options, mailbox: Mailbox, view: watch::Sender<FleetView>) -> Self {
        let base = |runtime: &Arc<dyn Runtime>| Base {
            runtime: Arc::clone(runtime),
            list: Arc::new(Notify::new()),
            permits: Arc::new(Semaphore::new(limits::REMOVALS_AT_ONCE_MAX)),
            lookout: None,
        };
        let bases: BTreeMap<String, Base> =
            options.runtimes.iter().map(|runtime| (runtime.name().to_owned(), base(runtime))).collect();
        let runtimes = bases.keys().map(|name| (name.clone(), RuntimeView::default())).collect();
        view.send_replace(FleetView { runtimes, ..FleetView::default() });
        let roster = Roster::new(options.budget);
        let (entries, removing) = (HashMap::new(), HashMap::new());
        Self { options, mailbox, view, roster, entries, removing, bases }
    }

    fn request(&mut self, request: &Request) {
        if self.removing.contains_key(&request.key) {
            return;
        }
        let demand = Demand::from(&request.resources);
        self.roster.request(request.key, request.since, demand);
        match self.roster.hold(request.key) {
            Some(Hold::Granted) => self.speak(request.key, Report::Granted),
            Some(Hold::Driven { .. } | Hold::Ended) => self.tell_again(request.key),
            _ => {}
        }
    }

    fn withdraw(&mut self, key: AttemptKey) {
        if matches!(self.roster.hold(key), Some(Hold::Driven { .. })) {
            tracing::debug!(attempt = %key, "an attempt that is driven cannot be withdrawn; stop it");
        } else {
            self.discard(key);
        }
    }

    fn drive(&mut self, plan: Arc<Plan>, runtime: String, phase: Drive) {
        let key = plan.key;
        if self.removing.contains_key(&key) {
            // It was discarded, and must not come to life again.
            self.say_once(key, Report::Vanished);
            return;
        }
        if matches!(self.roster.hold(key), Some(Hold::Driven { .. } | Hold::Ended)) {
            self.tell_again(key);
            return;
        }
        self.roster.drive(key, &runtime, Demand::from(&plan.resources));
        self.entries.entry(key).or_default().drive = Some(Driven { plan, runtime, phase });
        self.launch(key, Duration::ZERO);
    }

    fn stop(&mut self, key: AttemptKey, signal: StopSignal, grace: Duration) {
        if self.removing.contains_key(&key) {
            return;
        }
        let by = Instant::now() + grace;
        // For an attempt that is not known yet the order waits in its entry until it is driven.
        let entry = self.entries.entry(key).or_default();
        entry.orders.send_modify(|orders| orders.stop(StopOrder { signal, by }));
        if matches!(self.roster.hold(key), Some(Hold::Waiting { .. } | Hold::Granted)) {
            self.ended(key, Report::NeverStarted);
            self.speak(key, Report::NeverStarted);
        }
    }

    fn discard(&mut self, key: AttemptKey) {
        let hold = self.roster.forget(key);
        if let Some(Entry { drive: Some(drive), saver, .. }) = self.entries.remove(&key) {
            self.remove(key, &drive.runtime, saver);
        } else if hold.is_none() && !self.removing.contains_key(&key) {
            // From an earlier life: only a list can tell whether and where something is left of it.
            for base in self.bases.values() {
                base.list.notify_one();
            }
        }
    }

    fn remove(&mut self, key: AttemptKey, runtime: &str, saver: Option<Saver>) {
        // On a runtime that is no longer configured nothing can be removed; its next list finds it.
        let Some(base) = self.bases.get(runtime) else { return };
        let removal = Removal {
            key,
            runtime: Arc::clone(&base.runtime),
            sinks: Arc::clone(&self.options.logs),
            saver,
            permits: Arc::clone(&base.permits),
        };
        let (done, failed) = (self.mailbox.clone(), self.mailbox.clone());
        let work = async move {
            removal.run().await;
            done.post(Input::Removed(key));
        };
        let task = Task::spawn(work, move |panic| {
            tracing::error!(attempt = %key, panic, "removing an attempt panicked; a later list finds it again");
            failed.post(Input::Removed(key));
        });
        self.removing.insert(key, task);
    }

    fn seen(&mut self, key: AttemptKey, seen: Seen) {
        self.roster.see(key, seen);
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let (Seen::Running, Some(drive)) = (seen, &mut entry.drive) {
            drive.phase = Drive::Attach;
            self.save_log(key);
        }
    }

    fn ended(&mut self, key: AttemptKey, report: Report) {
        self.roster.end(key);
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let ran = matches!(report, Report::Exited(_));
        entry.end = Some(report);
        if ran {
            self.save_log(key);
        }
        if let Some(saver) = self.entries.get(&key).and_then(|entry| entry.saver.as_ref()) {
            saver.attempt_is_over();
        }
    }

    fn save_log(&mut self, key: AttemptKey) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let base = entry.drive.as_ref().and_then(|drive| self.bases.get(&drive.runtime));
        if let (Some(base), None) = (base, &entry.saver)
            && !base.runtime.keeps_logs()
        {
            let (runtime, sinks) = (Arc::clone(&base.runtime), Arc::clone(&self.options.logs));
            entry.saver = Some(Saver::spawn(runtime, key, sinks));
        }
    }

    fn crashed(&mut self, key: AttemptKey, cause: &str) {
        tracing::error!(attempt = %key, cause, "the driver of an attempt panicked and is started again");
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let pause = Backoff::RETRY.pause(entry.crashes, key);
        entry.crashes = entry.crashes.saturating_add(1);
        self.launch(key, pause);
    }

    fn listed(&mut self, runtime: &str, listed: &[Listed]) {
        let now = self.options.clock.now();
        self.view.send_modify(|view| {
            let shown = view.runtimes.entry(runtime.to_owned()).or_default();
            (shown.reachable, shown.checked_at) = (true, Some(now));
        });
        for action in reconcile(runtime, listed, &self.roster) {
            match action {
                Action::Kick(key) => self.look(key),
                Action::Discard(key) if self.removing.contains_key(&key) => {}
                Action::Discard(key) => {
                    tracing::info!(attempt = %key, runtime, "removing what is left of an attempt that is over");
                    self.entries.remove(&key);
                    self.remove(key, runtime, None);
                }
            }
        }
        let (roster, now) = (&self.roster, Instant::now());
        self.entries.retain(|key, entry| {
            let early = entry.orders.borrow().stop.map(|stop| stop.by + limits::EARLY_STOP_KEPT);
            roster.hold(*key).is_some() || early.is_some_and(|kept_to| now < kept_to)
        });
    }

    fn unreachable(&mut self, runtime: String, message: String) {
        self.view.send_modify(|view| {
            let shown = view.runtimes.entry(runtime).or_default();
            (shown.reachable, shown.last_error) = (false, Some(message));
        });
    }

    /// Starts the lookout of a runtime.
    fn look_out(&mut self, runtime: &str, pause: Duration) {
        let Some(base) = self.bases.get_mut(runtime) else { return };
        let lookout = Lookout {
            runtime: Arc::clone(&base.runtime),
            ledger: Arc::clone(&self.options.ledger),
            mailbox: self.mailbox.clone(),
            wanted: Arc::clone(&base.list),
        };
        let work = async move {
            tokio::time::sleep(pause).await;
            lookout.run().await;
        };
        let (mailbox, runtime) = (self.mailbox.clone(), runtime.to_owned());
        base.lookout = Some(Task::spawn(work, move |panic| {
            tracing::error!(runtime, panic, "the lookout of a runtime panicked and is started again");
            mailbox.post(Input::Blind { runtime });
        }));
    }

    /// Starts the task of an attempt that is driven: its driver, or the voice that repeats its end.
    fn launch(&mut self, key: AttemptKey, pause: Duration) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let mut orders = entry.orders.subscribe();
        let teller = Teller::new(key, Arc::clone(&self.options.reports));
        let driven = entry.drive.clone().filter(|_| entry.end.is_none());
        let report = entry.end.clone().or_else(|| driven.as_ref().and_then(|drive| self.unconfigured(drive)));
        let work = match (report, driven) {
            (Some(report), _) => {
                let voice = async move {
                    tokio::time::sleep(pause).await;
                    teller.repeat(report, &mut orders).await;
                };
                futures_util::future::Either::Left(voice)
            }
            (None, Some(Driven { plan, runtime, phase })) => {
                let runtime = Arc::clone(&self.bases[&runtime].runtime);
                let driver = Driver::new(plan, runtime, phase, orders, self.mailbox.clone(), teller);
                futures_util::future::Either::Right(async move {
                    tokio::time::sleep(pause).await;
                    driver.run().await;
                })
            }
            (None, None) => return,
        };
        let mailbox = self.mailbox.clone();
        let task = Task::spawn(work, move |cause| mailbox.post(Input::Crashed { key, cause }));
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.task = Some(task);
        }
    }

    /// What can be said of an attempt on a runtime that this process does not have: it may well run there.
    fn unconfigured(&self, drive: &Driven) -> Option<Report> {
        let name = &drive.runtime;
        let message =
            format!("the runtime `{name}` is not configured here; configure it and restart dogwatch");
        (!self.bases.contains_key(name)).then_some(Report::Trouble { message })
    }

    /// Replaces the task of an entry by one that repeats `report`.
    fn speak(&mut self, key: AttemptKey, report: Report) {
        let entry = self.entries.entry(key).or_default();
        let mut orders = entry.orders.subscribe();
        let teller = Teller::new(key, Arc::clone(&self.options.reports));
        let work = async move { teller.repeat(report, &mut orders).await };
        entry.task = Some(Task::spawn(work, move |panic| {
            tracing::error!(attempt = %key, panic, "reporting to a job panicked");
        }));
    }

    fn say_once(&self, key: AttemptKey, report: Report) {
        let reports = Arc::clone(&self.options.reports);
        tokio::spawn(async move { reports.report(key, report) });
    }

    fn tell_again(&self, key: AttemptKey) {
        if let Some(entry) = self.entries.get(&key) {
            entry.orders.send_modify(|orders| orders.tells += 1);
        }
    }

    fn look(&self, key: AttemptKey) {
        if let Some(entry) = self.entries.get(&key) {
            entry.orders.send_modify(|orders| orders.looks += 1);
        }
    }

    /// Serves the queue and shows the result.
    fn settle(&mut self) {
        for key in self.roster.grant() {
            self.speak(key, Report::Granted);
        }
        let (tally, slots, removing) = (self.roster.tally(), self.roster.slots(), self.removing.len());
        self.view.send_if_modified(|view| {
            let shown = FleetView {
                waiting: tally.waiting,
                granted: tally.granted,
                starting: tally.starting,
                running: tally.running,
                unknown: tally.unknown,
                ended: tally.ended,
                removing,
                slots,
                slots_held: tally.held(),
                cpu_millis_held: tally.cpu_millis,
                memory_bytes_held: tally.memory_bytes,
                runtimes: std::mem::take(&mut view.runtimes),
            };
            let changed = FleetView { runtimes: BTreeMap::new(), ..shown.clone() } != *view;
            *view = shown;
            changed
        });
    }
}

impl fmt::Debug for FleetActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetActor").field("roster", &self.roster).finish_non_exhaustive()
    }
}

impl Actor for FleetActor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        let names: Vec<String> = self.bases.keys().cloned().collect();
        for name in names {
            self.look_out(&name, Duration::ZERO);
        }
        self.settle();
    }
}

/// Nothing is thrown away: the books are all there is, every change of them is total, and the drivers go on
/// by themselves. Only the input that panicked is lost, and whoever sent it repeats it.
impl Supervised for FleetActor {}

impl Handler<Input> for FleetActor {
    type Result = ();

    fn handle(&mut self, input: Input, ctx: &mut Self::Context) {
        match input {
            Input::Request(request) => self.request(&request),
            Input::Withdraw(key) => self.withdraw(key),
            Input::Drive { plan, runtime, phase } => self.drive(plan, runtime, phase),
            Input::Stop { key, signal, grace } => self.stop(key, signal, grace),
            Input::Discard(key) => self.discard(key),
            Input::Halt => ctx.stop(),
            Input::Seen { key, seen } => self.seen(key, seen),
            Input::Ended { key, report } => self.ended(key, report),
            Input::Crashed { key, cause } => self.crashed(key, &cause),
            Input::Hinted(key) => self.look(key),
            Input::Listed { runtime, listed } => self.listed(&runtime, &listed),
            Input::Unreachable { runtime, message } => self.unreachable(runtime, message),
            Input::Blind { runtime } => self.look_out(&runtime, limits::RETRY_PAUSE_MAX),
            Input::Removed(key) => {
                self.removing.remove(&key);
            }
        }
        self.settle();
    }
}
