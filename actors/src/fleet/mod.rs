//! The fleet: the actor that owns every attempt this installation has on its runtimes.
//!
//! Responsible for: admission of attempts to slots, creating, starting, watching, stopping and removing them,
//! saving their logs, and comparing what the runtimes know with what should be. It decides nothing about
//! jobs: what an end means, and whether another attempt follows, is the job machine's.
//!
//! ```text
//!   job ── FleetHandle ──▶ FleetActor ── orders ──▶ Driver (one per attempt) ──▶ Runtime
//!    ▲                      ▲  roster, entries        │ observe → decide → act
//!    └────── Reports ───────┼─────────────────────────┤
//!                           └── seen, ended ──────────┘        Lookout (one per runtime): hints, list
//! ```
//!
//! Invariants:
//! - what is not known is never an end: an attempt ends by an observation, or because it can never start;
//! - the moment an end is observed its slot is free; saving logs, recording the end and removing what is left
//!   stand in nobody's way;
//! - terminal reports are repeated until they are acted on, so that a lost one delays a job and never wedges
//!   it;
//! - nothing is removed but what a job discarded, or what the [`Ledger`] calls over and nobody holds;
//! - the fleet stores nothing: after a restart the jobs say again what they want, and the runtimes what is.
//!
//! Every method of [`FleetHandle`] is idempotent. After a restart of the process a supervisor has all active
//! attempts driven before it lets new ones ask for slots; inputs are handled in the order they came.

mod actor;
mod backoff;
mod call;
mod driver;
mod entry;
mod files;
mod lookout;
mod mailbox;
mod orders;
mod prober;
mod reconcile;
mod removal;
mod roster;
mod saver;
mod sinks;
mod task;
mod teller;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch as watched};

pub use self::files::FileKeeper;
#[cfg(any(test, feature = "testing"))]
pub use self::files::NoFiles;
pub use self::roster::{Ahead, Budget};
pub use self::saver::{LogSink, LogSinks};

use self::actor::FleetActor;
use self::mailbox::{Answer, Input, Mailbox};
use crate::admission::{AdmissionView, Rules, Stand, Ticket};
use crate::clock::{Clock, Timestamp};
use crate::id::{AttemptKey, JobId};
use crate::job::spec::{Resources, StopSignal};
use crate::limits;
use crate::outbound::Network;
use crate::runtime::{Exit, Plan, Running, Runtime, StartFault};
use crate::store;
use crate::supervise::{Alarm, ChildEvent, Intensity, supervise_in};

/// A request for a slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// For which attempt.
    pub key: AttemptKey,
    /// On which runtime it will be driven.
    pub runtime: String,
    /// What it will use.
    pub resources: Resources,
    /// Since when it waits: its place in the queue, which a repetition or a restart does not lose.
    pub since: Timestamp,
    /// Whether it may be granted, and so created, before there is a slot.
    pub ahead: Ahead,
    /// For whom it counts, how urgent it is, and the place its job needs.
    pub ticket: Ticket,
}

/// How far an attempt had come when it is given to the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Drive {
    /// Its intent is committed, and its start was never asked for: create it unless it is there.
    Start,
    /// Its start may have been asked for: start it unless it ever was. That it is absent means that it vanished,
    /// perhaps after it ran.
    MayHaveStarted,
    /// It was seen running: watch it. That it is absent means that it vanished.
    Attach,
}

/// What a job is told of its attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// It has a slot.
    Granted,
    /// It is to be prepared, and gets its slot later: it is started only then.
    GrantedAhead,
    /// It may wait for a place under its key, although it would rather be skipped.
    Accepted,
    /// There is no place under its key, and it does not want to wait.
    Skipped {
        /// Why there is none.
        message: String,
    },
    /// Its job is to end: another one wants its place. The number of the attempt means nothing.
    Displaced {
        /// Which.
        by: JobId,
    },
    /// It is created, and is started once [`FleetHandle::start`] says so and it has a slot: first it must be durable that a start was
    /// asked for, or after a crash an attempt that ran and was removed by somebody would be taken for a new one.
    Prepared,
    /// It runs.
    Started(Running),
    /// It ran and is over.
    Exited(Exit),
    /// It ran and is over, and its outputs were collected.
    Collected {
        /// How it ended.
        exit: Exit,
        /// What came of its outputs.
        outputs: Box<crate::files::Collected>,
    },
    /// It can never start.
    StartFailed {
        /// Which kind of fault.
        fault: StartFault,
        /// What happened, and what to do.
        message: String,
    },
    /// It was stopped before it was started.
    NeverStarted,
    /// It is known to be gone after it was created or started.
    Vanished,
    /// A probe of one of its containers failed.
    ProbeFailed {
        /// Which container.
        container: String,
        /// How often in a row by now.
        failures: u32,
        /// What the probe saw.
        message: String,
    },
    /// A probe passed: the first one, or the first after one that failed.
    ProbePassed {
        /// Which container.
        container: String,
    },
    /// The infrastructure cannot say: unknown, and being retried. Not a fact about the attempt.
    Trouble {
        /// What happened.
        message: String,
    },
}

impl Report {
    /// Whether nothing more can happen to the attempt.
    pub const fn is_terminal(&self) -> bool {
        match self {
            Self::Exited(_)
            | Self::Collected { .. }
            | Self::StartFailed { .. }
            | Self::NeverStarted
            | Self::Vanished
            | Self::Skipped { .. } => true,
            Self::Granted
            | Self::GrantedAhead
            | Self::Accepted
            | Self::Displaced { .. }
            | Self::Prepared
            | Self::Started(_)
            | Self::ProbeFailed { .. }
            | Self::ProbePassed { .. }
            | Self::Trouble { .. } => false,
        }
    }
}

/// Where reports go: into the job's mailbox, fire and forget. Must not block; may be called from any task.
pub trait Reports: Send + Sync + 'static {
    /// Delivers one report about this attempt.
    fn report(&self, key: AttemptKey, report: Report);
}

/// What the jobs say of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It is its job's current attempt and not finished.
    Active,
    /// It is finished, older than the current one, or its job is unknown. Final.
    Over,
}

/// Where the fleet asks whether something that it found is still wanted.
pub trait Ledger: Send + Sync + 'static {
    /// The standing of this attempt. Quick: a read of the store.
    fn standing(&self, key: AttemptKey) -> store::Result<Standing>;
}

/// What a fleet is made of.
#[derive(Clone)]
pub struct Options {
    /// What attempts run on, each under its own name.
    pub runtimes: Vec<Arc<dyn Runtime>>,
    /// What all attempts together may use.
    pub budget: Budget,
    /// Who of those that wait is next.
    pub rules: Rules,
    /// Where reports go.
    pub reports: Arc<dyn Reports>,
    /// Who knows which attempts are over.
    pub ledger: Arc<dyn Ledger>,
    /// Where the output of attempts goes whose runtime does not keep it.
    pub logs: Arc<dyn LogSinks>,
    /// Who carries the files of attempts.
    pub files: Arc<dyn FileKeeper>,
    /// What makes requests of probes; without one a probe over http never passes.
    pub network: Option<Arc<dyn Network>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("runtimes", &self.runtimes)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// The fleet as metrics and readiness show it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FleetView {
    /// Attempts waiting for a slot, those that were prepared ahead included.
    pub waiting: usize,
    /// Attempts that have a slot and do not use it yet.
    pub granted: usize,
    /// Attempts being created and started.
    pub starting: usize,
    /// Attempts that run.
    pub running: usize,
    /// Attempts of which the runtime cannot say at the moment whether they run.
    pub unknown: usize,
    /// Attempts whose end is reported and not yet recorded.
    pub ended: usize,
    /// Attempts whose remains are being removed.
    pub removing: usize,
    /// How many attempts may hold a slot.
    pub slots: usize,
    /// How many do.
    pub slots_held: usize,
    /// The CPU counted for them, in thousandths of a core.
    pub cpu_millis_held: u64,
    /// The memory counted for them, in bytes.
    pub memory_bytes_held: u64,
    /// Each runtime by its name.
    pub runtimes: BTreeMap<String, RuntimeView>,
}

/// One runtime as the fleet last found it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuntimeView {
    /// Whether it answered when it was last asked for everything it knows.
    pub reachable: bool,
    /// When that was; `None` before the first answer.
    pub checked_at: Option<Timestamp>,
    /// What the last failure said; kept after it has passed.
    pub last_error: Option<String>,
}

/// Starts fleets.
#[derive(Debug, Clone, Copy)]
pub struct Fleet;

impl Fleet {
    /// Starts a fleet on the given arbiter, or on the current one (the two differ in nothing else).
    ///
    /// # Panics
    /// Without an arbiter given, outside of an actix system.
    pub fn start(options: Options, arbiter: Option<&actix::ArbiterHandle>) -> FleetHandle {
        let current = arbiter.is_none().then(actix::Arbiter::current);
        let arbiter = arbiter.or(current.as_ref()).expect("one of the two is there");
        let (view, seen) = watched::channel(FleetView::default());
        let (shown, alarm) = (view.clone(), Alarm::default());
        let raised = alarm.clone();
        let addr = supervise_in(
            arbiter,
            Intensity::default(),
            move |ctx| FleetActor::new(options, Mailbox::new(actix::AsyncContext::address(ctx)), view),
            move |event| report_panic(&shown, &raised, event),
        );
        FleetHandle { mailbox: Mailbox::new(addr), view: seen, alarm }
    }
}

fn report_panic(view: &watched::Sender<FleetView>, alarm: &Alarm, event: ChildEvent) {
    match event {
        ChildEvent::Stopped => {}
        ChildEvent::Restarting { count, cause } => {
            tracing::error!(count, cause, "the fleet panicked and goes on: please report this");
        }
        ChildEvent::GaveUp { cause } => {
            alarm.raise("the fleet", cause);
            view.send_modify(|view| {
                for runtime in view.runtimes.values_mut() {
                    runtime.reachable = false;
                    runtime.last_error = Some("the fleet panicked too often and is gone; restart".to_owned());
                }
            });
        }
    }
}

/// A running fleet. Cheap to clone; no method waits or fails, and all can be repeated.
#[derive(Debug, Clone)]
pub struct FleetHandle {
    mailbox: Mailbox,
    view: watched::Receiver<FleetView>,
    alarm: Alarm,
}

impl FleetHandle {
    /// Asks for a slot. The answer is [`Report::Granted`] or [`Report::GrantedAhead`], at once or when it is the attempt's turn; a
    /// repetition of a request that was granted is answered again.
    pub fn request(&self, request: Request) {
        self.mailbox.post(Input::Request(request));
    }

    /// Gives up a request, or a slot that was granted and not driven. After a terminal report the same as
    /// [`FleetHandle::discard`]; while the attempt is driven it does nothing.
    pub fn withdraw(&self, key: AttemptKey) {
        self.mailbox.post(Input::Withdraw(key));
    }

    /// Starts or attaches to an attempt and watches it to its end. One that may run holds a slot from now on, over the
    /// budget if it must; another is started when it has one. Repeated for one already driven, what is known now is reported again.
    pub fn drive(&self, plan: Arc<Plan>, runtime: String, phase: Drive) {
        self.drive_with(Ticket::default(), plan, runtime, phase);
    }

    /// The same for an attempt that counts for somebody.
    pub fn drive_with(&self, ticket: Ticket, plan: Arc<Plan>, runtime: String, phase: Drive) {
        self.mailbox.post(Input::Drive { plan, runtime, phase, ticket });
    }

    /// A job holds its place under its key, although no attempt of it runs or waits.
    pub fn hold(&self, key: AttemptKey, ticket: Ticket) {
        self.mailbox.post(Input::Hold { job: key.job, ticket });
    }

    /// A job lives no more under this key.
    pub fn leave(&self, job: JobId, key: &str) {
        self.mailbox.post(Input::Leave { job, key: key.to_owned() });
    }

    /// Everybody of an earlier life has said what they want: see [`Rules::recovering`].
    pub fn open(&self) {
        self.mailbox.post(Input::Open);
    }

    /// Where an attempt stands that waits; `None` when it does not, or nobody answers in time.
    pub async fn stand(&self, key: AttemptKey) -> Option<Stand> {
        let (answer, asked) = oneshot::channel();
        self.mailbox.post(Input::Stand { key, answer: Answer::new(answer) });
        tokio::time::timeout(limits::FLEET_ANSWER_MAX, asked).await.ok()?.ok()?
    }

    /// Who waits and who runs, by tenant and by key; `None` when nobody answers in time.
    pub async fn admission(&self) -> Option<AdmissionView> {
        let (answer, asked) = oneshot::channel();
        self.mailbox.post(Input::Admission { answer: Answer::new(answer) });
        tokio::time::timeout(limits::FLEET_ANSWER_MAX, asked).await.ok()?.ok()
    }

    /// Lets an attempt that is driven be started: that this was asked for is durable. See [`Report::Prepared`].
    pub fn start(&self, key: AttemptKey) {
        self.mailbox.post(Input::Start(key));
    }

    /// Ends an attempt: `signal`, then a kill after `grace`. The end is reported as any end; before the start
    /// it is [`Report::NeverStarted`]. A repetition may shorten the grace and never prolongs it. After a
    /// restart of the fleet it takes effect once the attempt is driven again.
    pub fn stop(&self, key: AttemptKey, signal: StopSignal, grace: Duration) {
        self.mailbox.post(Input::Stop { key, signal, grace });
    }

    /// The attempt's end is recorded, or its job is gone: forgets it, frees what it holds, completes its log
    /// and removes what is left of it. What still runs of it is killed.
    pub fn discard(&self, key: AttemptKey) {
        self.mailbox.post(Input::Discard(key));
    }

    /// Raised when the fleet is gone.
    pub(crate) fn alarm(&self) -> Alarm {
        self.alarm.clone()
    }

    /// Attempts that wait for a slot.
    pub fn waiting(&self) -> usize {
        self.view.borrow().waiting
    }

    /// The fleet as it is now.
    pub fn snapshot(&self) -> FleetView {
        self.view.borrow().clone()
    }

    /// The fleet as it changes.
    pub fn watch(&self) -> watched::Receiver<FleetView> {
        self.view.clone()
    }

    /// Gives nothing new a slot from now on.
    pub fn close(&self) {
        self.mailbox.post(Input::Close);
    }

    /// Waits, no longer than `limit`, until of every attempt that is over the end is recorded and the remains are gone.
    /// What is left then is found after the next start.
    pub async fn cleared(&self, limit: Duration) {
        let mut view = self.view.clone();
        let cleared = view.wait_for(|view| view.ended == 0 && view.removing == 0);
        if tokio::time::timeout(limit, cleared).await.is_err() {
            tracing::info!(
                "attempts that are over still leave something; it is removed after the next start"
            );
        }
    }

    /// Ends the fleet and leaves every attempt running, for the next one to attach to.
    pub fn shutdown(&self) {
        self.mailbox.post(Input::Halt);
    }
}
