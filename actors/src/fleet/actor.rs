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

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext as _, Context, Handler, Supervised};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::entry::Entry;
use super::lookout::Lookout;
use super::mailbox::{Input, Mailbox};
use super::orders::StopOrder;
use super::reconcile::{Action, Listed, reconcile};
use super::removal::Removal;
use super::roster::{Demand, Grant, Hold, Roster, Seen};
use super::saver::Saver;
use super::task::Task;
use super::{Drive, FleetView, Options, Report, Request, RuntimeView};
use crate::admission::{Ticket, Verdict};
use crate::clock::Timestamp;
use crate::fault::{self, Point};
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
    entries: BTreeMap<AttemptKey, Entry>,
    removing: BTreeMap<AttemptKey, Task>,
    bases: BTreeMap<String, Base>,
    /// When a token comes for which something may wait, and who rings then.
    alarm: Option<(Timestamp, Task)>,
    /// What is being handled.
    current: Option<Rc<Input>>,
    /// What was being handled at a panic. It gets a second chance: nobody may ever say it again.
    interrupted: Option<Rc<Input>>,
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
        let roster = Roster::new(options.budget, options.rules.clone());
        let (entries, removing) = (BTreeMap::new(), BTreeMap::new());
        let (alarm, current, interrupted) = (None, None, None);
        Self { options, mailbox, view, roster, entries, removing, bases, alarm, current, interrupted }
    }

    fn take(&mut self, input: &Input, ctx: &mut Context<Self>) {
        fault::reach(Point::FleetInput);
        match input {
            Input::Request(request) => self.request(request),
            Input::Withdraw(key) => self.withdraw(*key),
            Input::Drive { plan, runtime, phase, ticket } => {
                self.drive(Arc::clone(plan), runtime.clone(), *phase, ticket)
            }
            Input::Hold { job, ticket } => self.roster.hold_place(*job, ticket),
            Input::Leave { job, key } => self.roster.leave_place(*job, key),
            Input::Open => {
                let verdicts = self.roster.open();
                self.judge(verdicts);
            }
            Input::Due => self.alarm = None,
            Input::Stand { key, answer } => answer.give(self.roster.stand(*key)),
            Input::Admission { answer } => answer.give(self.roster.admission()),
            Input::Start(key) => self.allow_start(*key),
            Input::Stop { key, signal, grace } => self.stop(*key, *signal, *grace),
            Input::Discard(key) => self.discard(*key),
            Input::Close => self.roster.close(),
            Input::Halt => ctx.stop(),
            Input::Ready(key) => self.ready(*key),
            Input::Seen { key, seen } => self.seen(*key, *seen),
            Input::Exited(key) => self.exited(*key),
            Input::Ended { key, report } => self.ended(*key, report.clone()),
            Input::Crashed { key, cause } => self.crashed(*key, cause),
            Input::Hinted(key) => self.look(*key),
            Input::Listed { runtime, listed } => self.listed(runtime, listed),
            Input::Unreachable { runtime, message } => self.unreachable(runtime.clone(), message.clone()),
            Input::Blind { runtime } => self.look_out(runtime, limits::RETRY_PAUSE_MAX),
            Input::Removed(key) => {
                self.removing.remove(key);
            }
        }
    }

    /// What a panic may have left half done: who has a slot hears of it, what is driven or over has its task.
    fn mend(&mut self) {
        let holds: Vec<_> = self.roster.holds().map(|(key, hold)| (key, hold.clone())).collect();
        for (key, hold) in holds {
            if matches!(hold, Hold::Driven { ready: true, .. }) {
                self.use_slot(key);
            }
            if self.entries.get(&key).is_some_and(Entry::has_task) {
                continue;
            }
            match hold {
                Hold::Waiting => {}
                Hold::Granted => self.speak_granted(key, Duration::ZERO),
                Hold::Driven { .. } | Hold::Ended => self.launch(key, Duration::ZERO),
            }
        }
    }

    fn request(&mut self, request: &Request) {
        if self.removing.contains_key(&request.key) {
            return;
        }
        let demand = Demand::from(&request.resources);
        let Request { key, since, ahead, ref ticket, .. } = *request;
        let verdicts = self.roster.request(key, since, demand, ahead, ticket.clone());
        self.judge(verdicts);
        match self.roster.hold(request.key) {
            Some(Hold::Granted) => self.speak_granted(request.key, Duration::ZERO),
            Some(Hold::Driven { .. } | Hold::Ended) => self.tell_again(request.key),
            _ => {}
        }
    }

    /// Tells the jobs what was decided about them.
    fn judge(&mut self, verdicts: Vec<Verdict>) {
        for verdict in verdicts {
            match verdict {
                Verdict::Accepted(key) => self.say_once(key, Report::Accepted),
                Verdict::Skipped { key, message } => {
                    self.ended_with(key, Report::Skipped { message });
                }
                Verdict::Displaced { victim, by } => {
                    self.say_once(AttemptKey::new(victim, 0), Report::Displaced { by });
                }
            }
        }
    }

    /// The attempt will never be: its job hears of it until it has acted on that.
    fn ended_with(&mut self, key: AttemptKey, report: Report) {
        self.entry(key);
        self.ended(key, report);
        self.launch(key, Duration::ZERO);
    }

    fn withdraw(&mut self, key: AttemptKey) {
        if matches!(self.roster.hold(key), Some(Hold::Driven { .. })) {
            tracing::debug!(attempt = %key, "an attempt that is driven cannot be withdrawn; stop it");
        } else {
            self.discard(key);
        }
    }

    fn drive(&mut self, plan: Arc<Plan>, runtime: String, phase: Drive, ticket: &Ticket) {
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
        let (may_run, was_granted) = (phase != Drive::Start, self.roster.hold(key) == Some(&Hold::Granted));
        self.roster.drive(key, &runtime, Demand::from(plan.demand()), may_run, ticket.clone());
        self.entry(key).drive(plan, runtime, phase, was_granted);
        if !may_run {
            self.use_slot(key);
        }
        fault::reach_of(Point::AttemptDriven, key);
        self.launch(key, Duration::ZERO);
    }

    fn allow_start(&mut self, key: AttemptKey) {
        fault::reach_of(Point::AttemptAllowed, key);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.allow_start();
        }
    }

    fn ready(&mut self, key: AttemptKey) {
        self.roster.ready(key);
        self.use_slot(key);
    }

    /// Tells its driver of the slot that an attempt has, if it has one.
    fn use_slot(&self, key: AttemptKey) {
        if let Some(entry) = self.entries.get(&key).filter(|_| self.roster.has_slot(key)) {
            entry.has_slot();
        }
    }

    fn stop(&mut self, key: AttemptKey, signal: StopSignal, grace: Duration) {
        fault::reach_of(Point::StopOrdered, key);
        if self.removing.contains_key(&key) {
            return;
        }
        let by = Instant::now() + grace.min(limits::STOP_ORDER_GRACE_MAX);
        // For an attempt that is not known yet the order waits in its entry until it is driven.
        self.entry(key).stop(StopOrder { signal, by });
        if matches!(self.roster.hold(key), Some(Hold::Waiting | Hold::Granted)) {
            self.ended_with(key, Report::NeverStarted);
        }
    }

    fn discard(&mut self, key: AttemptKey) {
        fault::reach_of(Point::ExitDiscarded, key);
        let hold = self.roster.forget(key);
        let entry = self.entries.remove(&key);
        if let Some(runtime) = entry.as_ref().and_then(Entry::runtime).map(str::to_owned) {
            self.remove(key, &runtime, entry.and_then(Entry::into_saver));
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
        self.removing.insert(key, removal.spawn(self.mailbox.clone()));
    }

    fn seen(&mut self, key: AttemptKey, seen: Seen) {
        self.roster.see(key, seen);
        if let (Seen::Running, Some(entry)) = (seen, self.entries.get_mut(&key)) {
            entry.runs();
            if let Some(base) = entry.runtime().and_then(|runtime| self.bases.get(runtime)) {
                entry.probe(&base.runtime, self.options.network.as_ref(), &self.options.reports);
            }
            self.save_log(key);
        }
    }

    /// Its end was observed: its slot is free, and its log is being completed.
    fn exited(&mut self, key: AttemptKey) {
        self.roster.end(key);
        self.save_log(key);
    }

    fn ended(&mut self, key: AttemptKey, report: Report) {
        match report {
            Report::Exited(_) | Report::Collected { .. } => self.exited(key),
            _ => self.roster.end(key),
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.ended(report);
        }
    }

    fn save_log(&mut self, key: AttemptKey) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let Some(base) = entry.runtime().and_then(|runtime| self.bases.get(runtime)) {
            entry.save_log(&base.runtime, &self.options.logs);
        }
    }

    fn crashed(&mut self, key: AttemptKey, cause: &str) {
        tracing::error!(attempt = %key, cause, "the task of an attempt panicked and is started again");
        let Some(pause) = self.entries.get_mut(&key).map(Entry::crashed) else { return };
        match self.roster.hold(key) {
            Some(Hold::Granted) => self.speak_granted(key, pause),
            _ => self.launch(key, pause),
        }
    }

    fn listed(&mut self, runtime: &str, listed: &[Listed]) {
        fault::reach(Point::RecoveryListed);
        let now = self.options.clock.now();
        self.view.send_modify(|view| {
            let shown = view.runtimes.entry(runtime.to_owned()).or_default();
            if !shown.reachable && shown.last_error.is_some() {
                tracing::info!(runtime, "the runtime answers again");
            }
            (shown.reachable, shown.checked_at) = (true, Some(now));
        });
        for action in reconcile(runtime, listed, &self.roster) {
            match action {
                Action::Kick(key) => self.look(key),
                Action::Discard(key) if self.removing.contains_key(&key) => {}
                Action::Discard(key) if self.roster.hold(key).is_some() => self.discard(key),
                Action::Discard(key) => {
                    tracing::info!(attempt = %key, runtime, "removing what is left of an attempt that is over");
                    self.entries.remove(&key);
                    self.remove(key, runtime, None);
                }
            }
        }
        let displaced = self.roster.still_displaced();
        self.judge(displaced);
        let (roster, now) = (&self.roster, Instant::now());
        self.entries.retain(|key, entry| {
            roster.hold(*key).is_some() || entry.stop_kept_to().is_some_and(|kept_to| now < kept_to)
        });
    }

    fn unreachable(&mut self, runtime: String, message: String) {
        self.view.send_modify(|view| {
            let shown = view.runtimes.entry(runtime.clone()).or_default();
            // Said once, not with every try.
            if shown.reachable || shown.last_error.as_ref() != Some(&message) {
                tracing::warn!(runtime, message, "the runtime does not answer; what runs on it is unknown");
            }
            (shown.reachable, shown.last_error) = (false, Some(message));
        });
    }

    fn look_out(&mut self, runtime: &str, pause: Duration) {
        if let Some(base) = self.bases.get_mut(runtime) {
            let lookout = Lookout {
                runtime: Arc::clone(&base.runtime),
                ledger: Arc::clone(&self.options.ledger),
                mailbox: self.mailbox.clone(),
                wanted: Arc::clone(&base.list),
            };
            base.lookout = Some(lookout.spawn(pause));
        }
    }

    fn entry(&mut self, key: AttemptKey) -> &mut Entry {
        self.entries.entry(key).or_insert_with(|| Entry::new(key))
    }

    fn launch(&mut self, key: AttemptKey, pause: Duration) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let base = entry.runtime().and_then(|runtime| self.bases.get(runtime));
        let runtime = base.map(|base| (&base.runtime, &self.options.files));
        entry.launch(pause, runtime, &self.options.reports, &self.mailbox);
    }

    fn speak(&mut self, key: AttemptKey, report: Report, pause: Duration) {
        let (reports, mailbox) = (Arc::clone(&self.options.reports), self.mailbox.clone());
        self.entry(key).speak(report, pause, &reports, &mailbox);
    }

    fn speak_granted(&mut self, key: AttemptKey, pause: Duration) {
        let slot = self.roster.has_slot(key);
        self.speak(key, if slot { Report::Granted } else { Report::GrantedAhead }, pause);
    }

    fn say_once(&self, key: AttemptKey, report: Report) {
        let reports = Arc::clone(&self.options.reports);
        tokio::spawn(async move { reports.report(key, report) });
    }

    fn tell_again(&self, key: AttemptKey) {
        if let Some(entry) = self.entries.get(&key) {
            entry.tell_again();
        }
    }

    fn look(&self, key: AttemptKey) {
        if let Some(entry) = self.entries.get(&key) {
            entry.look();
        }
    }

    /// Serves the queue and shows the result.
    fn settle(&mut self) {
        let now = self.options.clock.now();
        for grant in self.roster.grant(now) {
            let (Grant::Turn(key) | Grant::Slot(key)) = grant;
            fault::reach_of(Point::AttemptGranted, key);
            match grant {
                Grant::Turn(key) => self.speak_granted(key, Duration::ZERO),
                Grant::Slot(key) => self.use_slot(key),
            }
        }
        self.set_alarm(now);
        let (tally, slots, removing) = (self.roster.tally(), self.roster.slots(), self.removing.len());
        self.view.send_if_modified(|view| {
            let shown = FleetView {
                waiting: tally.waiting + tally.ahead,
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
                runtimes: BTreeMap::new(),
            };
            let runtimes = std::mem::take(&mut view.runtimes);
            let changed = shown != *view;
            *view = FleetView { runtimes, ..shown };
            changed
        });
    }
}

impl FleetActor {
    /// Has itself woken when a token comes, unless that is arranged already. One that rings early only looks again.
    fn set_alarm(&mut self, now: Timestamp) {
        let Some(due) = self.roster.due() else { return };
        if self.alarm.as_ref().is_some_and(|(at, _)| *at == due) {
            return;
        }
        let (mailbox, crashed, pause) = (self.mailbox.clone(), self.mailbox.clone(), due.since(now));
        let work = async move {
            tokio::time::sleep(pause).await;
            mailbox.post(Input::Due);
        };
        self.alarm = Some((due, Task::spawn(work, move |_| crashed.post(Input::Due))));
    }
}

impl fmt::Debug for FleetActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetActor").field("roster", &self.roster).finish_non_exhaustive()
    }
}

impl Actor for FleetActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let names: Vec<String> = self.bases.keys().cloned().collect();
        for name in names {
            self.look_out(&name, Duration::ZERO);
        }
        if let Some(input) = self.interrupted.take() {
            tracing::warn!("handling again what was being handled at the panic");
            self.take(&input, ctx);
        }
        self.mend();
        self.settle();
    }
}

/// Nothing is thrown away: the books are all there is, every change of them is total, and the drivers go on by
/// themselves. What was being handled is handled again, once: every input can be repeated. One that panics twice
/// is dropped, so that it does not take the others with it.
impl Supervised for FleetActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.interrupted = self.current.take();
    }
}

impl Handler<Input> for FleetActor {
    type Result = ();

    fn handle(&mut self, input: Input, ctx: &mut Self::Context) {
        let input = Rc::new(input);
        self.current = Some(Rc::clone(&input));
        self.take(&input, ctx);
        self.settle();
        self.current = None;
    }
}
