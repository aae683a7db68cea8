//! The executor that calls Rust functions in this process.
//!
//! Each instance for which something is to be done has a driver: it gives the code its turn and sends what came of it
//! to the machine, one turn after another. Results of activities reach the code and the history in the same commit:
//! until then they are nobody's, and an activity whose result was lost with the process runs again.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Runtime;

use super::super::event::{Event, TurnEnd, TurnRequest};
use super::super::failure::{Failure, kinds};
use super::super::history::{Action, ActivityCall, Arrival, Entry, TaskResult, Turn};
use super::super::id::{InstanceId, TaskId};
use super::super::registry::Registry;
use super::super::rewind::{self, Story};
use super::super::state::{Orchestration, Phase};
use super::super::version::DEFAULT_VERSION;
use super::activities::{self, Activities};
use super::hot::{Hot, Stuck};
use super::jobs::Workshop;
use super::seats::{Seats, Work};
use super::trouble::Trouble;
use super::{Executor, OrchestrationMail, Unknown, stored};
use crate::clock::Clock;
use crate::durable::{published::Published, shell};
use crate::id::Ids;
use crate::job::validate::Policy;
use crate::limits::ACTIVITIES_RUNNING_MAX;
use crate::secret::Keyring;
use crate::store::{self, Store};

/// The pause before what could not be stored is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the executor works with.
pub struct Parts {
    /// The code.
    pub registry: Registry,
    /// What jobs may ask for.
    pub policy: Policy,
    /// What seals their secrets.
    pub keyring: Keyring,
    /// Where their ids come from.
    pub ids: Arc<dyn Ids>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where histories are.
    pub store: Arc<dyn Store>,
    /// The durable states.
    pub published: Arc<Published<Orchestration>>,
    /// The way back.
    pub mail: Arc<OrchestrationMail>,
    /// Whether code that is not registered may be elsewhere.
    pub workers: bool,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// The executor that calls Rust functions in this process.
#[derive(Clone)]
pub struct InProcess(Arc<Inner>);

struct Inner {
    workshop: Workshop,
    store: Arc<dyn Store>,
    published: Arc<Published<Orchestration>>,
    mail: Arc<OrchestrationMail>,
    seats: Seats,
    activities: Activities,
    /// Threads of its own, so that code which blocks holds up no actor; `None` keeps everything on the caller's.
    runtime: Option<Runtime>,
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").field("registry", &self.0.workshop.registry).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropped wherever the last handle is, which may be where nothing may block.
            runtime.shutdown_background();
        }
    }
}

impl InProcess {
    /// An executor with `threads` threads of its own; with 0 everything runs where it is called.
    pub fn new(parts: Parts, threads: usize) -> std::io::Result<Self> {
        let runtime = match threads {
            0 => None,
            threads => Some(
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(threads)
                    .thread_name("dogwatch-code")
                    .enable_all()
                    .build()?,
            ),
        };
        let Parts { registry, policy, keyring, ids, clock, store, published, mail, workers } = parts;
        let workshop = Workshop { registry, policy, keyring, ids, clock, workers };
        let (seats, activities) = (Seats::default(), Activities::default());
        Ok(Self(Arc::new(Inner { workshop, store, published, mail, seats, activities, runtime })))
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        match &self.0.runtime {
            Some(runtime) => drop(runtime.spawn(work)),
            None => drop(tokio::spawn(work)),
        }
    }

    fn add(&self, id: InstanceId, add: impl FnOnce(&mut Work)) {
        if self.0.seats.add(id, add) {
            let this = self.clone();
            self.spawn(async move { this.drive(id).await });
        }
    }

    fn run(&self, due: Vec<activities::Run>) {
        for run in due {
            let this = self.clone();
            self.spawn(async move {
                let key = run.key;
                let result = activities::run(run, &this.0.workshop.registry).await;
                this.run(this.0.activities.ended(key));
                this.add(key.0, |work| work.results.push((key.1, result)));
            });
        }
    }

    /// Works for one instance until nothing is left to do.
    async fn drive(&self, id: InstanceId) {
        let mut hot = self.0.seats.wake(id);
        while let Some(work) = self.0.seats.next(id, &mut hot) {
            if work.forget {
                hot = None;
            }
            let Work { look, fresh, results, .. } = work;
            let step = AssertUnwindSafe(self.step(id, &mut hot, look, fresh, &results)).catch_unwind();
            match step.await.unwrap_or_else(|panic| Err(Trouble::of(&*panic))) {
                Ok(()) => {
                    let keys = results.iter().map(|(execution, result)| (id, *execution, result.task));
                    self.0.activities.settle(keys);
                }
                Err(Trouble::Over) => return,
                Err(trouble) => {
                    trouble.tell(id);
                    hot = None;
                    tokio::time::sleep(RETRY_AFTER).await;
                    self.0.seats.put_back(id, results);
                }
            }
        }
    }

    async fn step(
        &self,
        id: InstanceId,
        hot: &mut Option<Box<Hot>>,
        look: bool,
        fresh: Vec<(u32, u64, Arrival)>,
        results: &[(u32, TaskResult)],
    ) -> Result<(), Trouble> {
        let Some(state) = self.0.published.read(id)? else { return Ok(()) };
        let is_wanted = |(execution, result): &&(u32, TaskResult)| {
            *execution == state.execution && state.activities.contains(result.task)
        };
        let results: Vec<TaskResult> =
            results.iter().filter(is_wanted).map(|(_, result)| result.clone()).collect();
        let is_elsewhere = self.0.workshop.workers && !self.has_code(&state.name);
        let may_turn = state.phase == Phase::Running && (look || state.blocked.is_none()) && !is_elsewhere;
        if !may_turn {
            return self.tell_results(id, &state, results).await;
        }
        if hot.as_ref().is_some_and(|hot| hot.execution() != state.execution || hot.turns != state.turns) {
            *hot = None;
        }
        let (mut code, arrivals) = match self.prepare(&state, hot.take(), look, fresh)? {
            Ok(prepared) => prepared,
            Err(stuck) => return self.tell_stuck(id, &state, results, stuck).await,
        };
        if arrivals.is_empty() && results.is_empty() {
            *hot = Some(code);
            return Ok(());
        }
        // For the code time goes forward only, whatever the clock is set to.
        let now = self.0.workshop.clock.now().max(code.now());
        let decision = match code.take_turn(now, arrivals, &results, &self.0.workshop) {
            Ok(decision) => decision,
            Err(stuck) => return self.tell_stuck(id, &state, results, stuck).await,
        };
        let (number, upto) = (code.turns, code.seen);
        let end = TurnEnd {
            execution: state.execution,
            turn: Turn { number, upto, now, results, actions: decision.actions },
            custom_status: decision.custom_status,
            awaited: code.awaited(),
            version: Some(code.version.clone()),
            detached: false,
            span: None,
        };
        let is_over =
            matches!(end.turn.actions.last(), Some(Action::Complete(_) | Action::ContinueAsNew { .. }));
        let after = self.ask(id, Event::TurnEnded(Box::new(end))).await?;
        // The machine may have seen it otherwise: then the code knows too much.
        let accepted = after.is_some_and(|after| after.execution == state.execution && after.turns == number);
        if accepted && !is_over {
            *hot = Some(code);
        }
        Ok(())
    }

    /// The code, and what it has not seen.
    #[expect(clippy::type_complexity, reason = "a pair, or why there is none")]
    fn prepare(
        &self,
        state: &Orchestration,
        hot: Option<Box<Hot>>,
        look: bool,
        fresh: Vec<(u32, u64, Arrival)>,
    ) -> Result<Result<(Box<Hot>, Vec<Arrival>), Stuck>, Trouble> {
        let fresh = fresh.into_iter().filter(|(execution, _, _)| *execution == state.execution);
        let seen = hot.as_ref().map_or(0, |hot| hot.seen);
        let fresh: Vec<(u64, Arrival)> = fresh
            .map(|(_, number, arrival)| (number, arrival))
            .filter(|(number, _)| *number > seen)
            .collect();
        let follows = (seen + 1..).zip(&fresh).all(|(expected, (number, _))| expected == *number);
        let is_all = follows && (!look || state.arrived <= seen + fresh.len() as u64);
        let arrivals = fresh.into_iter().map(|(_, arrival)| arrival);
        match hot {
            Some(hot) if is_all => Ok(Ok((hot, arrivals.collect()))),
            None if is_all && state.turns == 0 && state.rewinds == 0 && arrivals.len() > 0 => {
                let arrivals: Vec<Arrival> = arrivals.collect();
                Ok(self.begin(state, &arrivals).map(|hot| (hot, arrivals)))
            }
            _ => self.rebuild(state),
        }
    }

    /// Code that has seen nothing yet.
    fn begin(&self, state: &Orchestration, arrivals: &[Arrival]) -> Result<Box<Hot>, Stuck> {
        let registry = &self.0.workshop.registry;
        let Some(Arrival::Started(started)) = arrivals.first() else {
            return Err(Stuck::Blocked(
                "its history does not begin with a start; run `dogwatch doctor --store`".to_owned(),
            ));
        };
        let name = &started.name;
        let found = match state.turns {
            0 => registry.to_begin(name, started.version.as_deref()),
            _ => registry.to_go_on(name, state.version.as_deref().unwrap_or(DEFAULT_VERSION)),
        };
        let Some((version, code)) = found else {
            let version = state.version.as_deref().or(started.version.as_deref()).unwrap_or("any");
            return Err(Stuck::Blocked(format!(
                "no code is registered for the orchestration `{name}` in version {version}; register it and start again"
            )));
        };
        Ok(Box::new(Hot::new(state.id, state.execution, name, version, code)))
    }

    /// The code, brought back to where it was by its history.
    #[expect(clippy::type_complexity, reason = "a pair, or why there is none")]
    fn rebuild(&self, state: &Orchestration) -> Result<Result<(Box<Hot>, Vec<Arrival>), Stuck>, Trouble> {
        let story = Story::of(self.history(state)?);
        let replayed = self.begin(state, &story.arrivals).and_then(|mut hot| {
            hot.numbering.clone_from(&story.numbering);
            for turn in &story.turns {
                let arrivals = story.between(hot.seen, turn.upto).to_vec();
                hot.replay_turn(turn, arrivals)?;
            }
            let rest = story.between(hot.seen, u64::MAX).to_vec();
            Ok((hot, rest))
        });
        Ok(replayed)
    }

    /// The history of the current execution, up to this state.
    fn history(&self, state: &Orchestration) -> store::Result<Vec<Entry>> {
        stored::entries(&self.0.store, state, state.began).collect()
    }

    /// Results that the code must not see now.
    async fn tell_results(
        &self,
        id: InstanceId,
        state: &Orchestration,
        results: Vec<TaskResult>,
    ) -> Result<(), Trouble> {
        if results.is_empty() {
            return Ok(());
        }
        let execution = state.execution;
        self.ask(id, Event::TasksEnded { execution, results }).await.map(drop)
    }

    async fn tell_stuck(
        &self,
        id: InstanceId,
        state: &Orchestration,
        results: Vec<TaskResult>,
        stuck: Stuck,
    ) -> Result<(), Trouble> {
        self.tell_results(id, state, results).await?;
        let (execution, turn) = (state.execution, state.turns + 1);
        let event = match stuck {
            Stuck::Blocked(reason) => {
                tracing::error!(instance = %id, orchestration = state.name, reason, "an orchestration is blocked");
                Event::TurnBlocked { execution, turn, reason }
            }
            Stuck::Panicked(message) => {
                let kind = kinds::PANIC;
                tracing::error!(instance = %id, orchestration = state.name, kind, message, "an orchestration panicked");
                Event::TurnPanicked { execution, turn, message }
            }
        };
        self.ask(id, event).await.map(drop)
    }

    /// Tells the machine; its state afterwards.
    async fn ask(&self, id: InstanceId, event: Event) -> Result<Option<Arc<Orchestration>>, Trouble> {
        match self.0.mail.ask(id, event, None).await.ok_or(Trouble::Over)? {
            Ok(receipt) => Ok(receipt.state),
            Err(shell::Error::Missing | shell::Error::Rejected(_) | shell::Error::Parked(_)) => Ok(None),
            Err(shell::Error::Store(error)) => Err(Trouble::Store(error)),
            Err(shell::Error::Lost | shell::Error::Overloaded | shell::Error::Claimed(_)) => {
                Err(Trouble::Silence)
            }
        }
    }

    /// Whether it has the code of an instance.
    pub(super) fn has_code_of(&self, id: InstanceId) -> bool {
        self.0.published.read(id).ok().flatten().is_some_and(|state| self.has_code(&state.name))
    }

    fn has_code(&self, orchestration: &str) -> bool {
        self.0.workshop.registry.to_begin(orchestration, None).is_some()
    }

    /// Whether it has the code of an activity.
    pub(super) fn has_activity(&self, name: &str) -> bool {
        self.0.workshop.registry.find_activity(name).is_some()
    }

    /// Starts the activities of an execution that are not over and not known to run; with `own` only those that it
    /// has the code of.
    pub(super) fn recover(&self, id: InstanceId, execution: u32, own: bool) {
        self.insist(id, move |this| async move { this.recover_once(id, execution, own).await });
    }

    async fn recover_once(&self, id: InstanceId, execution: u32, own: bool) -> Result<(), Trouble> {
        let Some(state) = self.0.published.read(id)? else { return Ok(()) };
        let is_lost = |task: &TaskId| !self.0.activities.knows(&(id, execution, *task));
        let lost: std::collections::BTreeSet<TaskId> = state.runnable().filter(is_lost).collect();
        if state.execution != execution || lost.is_empty() {
            return Ok(());
        }
        let actions = Story::of(self.history(&state)?).turns.into_iter().flat_map(|turn| turn.actions);
        let mut rest: Vec<ActivityCall> = actions
            .filter_map(|action| match action {
                Action::ScheduleActivity(call) if lost.contains(&call.task) => Some(*call),
                _ => None,
            })
            .filter(|call| !own || self.has_activity(&call.name))
            .collect();
        while !rest.is_empty() {
            let batch: Vec<ActivityCall> = rest.drain(..rest.len().min(ACTIVITIES_RUNNING_MAX)).collect();
            let tasks = batch.iter().map(|call| call.task).collect();
            let after = self.ask(id, Event::ActivitiesRestarting { execution, tasks }).await?;
            let Some(after) = after.filter(|after| after.execution == execution) else { return Ok(()) };
            let may_run =
                |call: &ActivityCall| after.activities.contains(call.task) && !after.is_parked(call.task);
            let batch = batch.into_iter().filter(may_run).collect();
            self.run(self.0.activities.add(id, execution, batch));
            if !rest.is_empty() {
                self.0.activities.room().await;
            }
        }
        Ok(())
    }

    /// Does `work` again and again until it can be done.
    pub(super) fn insist<F>(&self, id: InstanceId, work: impl Fn(Self) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), Trouble>> + Send,
    {
        let this = self.clone();
        self.spawn(async move {
            loop {
                let done = AssertUnwindSafe(work(this.clone())).catch_unwind().await;
                match done.unwrap_or_else(|panic| Err(Trouble::of(&*panic))) {
                    Ok(()) | Err(Trouble::Over) => return,
                    Err(trouble) => trouble.tell(id),
                }
                tokio::time::sleep(RETRY_AFTER).await;
            }
        });
    }
}

impl Executor for InProcess {
    fn knows(&self, name: &str, version: Option<&str>) -> Result<(), Unknown> {
        let registry = &self.0.workshop.registry;
        if registry.to_begin(name, version).is_some() {
            return Ok(());
        }
        match version.filter(|_| registry.to_begin(name, None).is_some()) {
            Some(version) => Err(Unknown::Version { name: name.to_owned(), version: version.to_owned() }),
            None => {
                let known: Vec<&str> = registry.orchestrations().collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(Unknown::Name { name: name.to_owned(), known })
            }
        }
    }

    fn run_turn(&self, id: InstanceId, request: TurnRequest) {
        let TurnRequest { execution, before, fresh } = request;
        self.add(id, |work| {
            work.look |= fresh.is_empty();
            let numbered = (before + 1..).zip(fresh).map(|(number, arrival)| (execution, number, arrival));
            work.fresh.extend(numbered);
        });
    }

    fn start_activities(&self, id: InstanceId, execution: u32, calls: Vec<ActivityCall>) {
        self.run(self.0.activities.add(id, execution, calls));
    }

    fn recover_activities(&self, id: InstanceId, execution: u32) {
        self.recover(id, execution, false);
    }

    fn cancel_activities(&self, id: InstanceId, execution: u32, tasks: Vec<TaskId>) {
        for task in tasks {
            if self.0.activities.cancel((id, execution, task)) {
                let failure = Failure::new(kinds::CANCELLED, "the activity was cancelled");
                let result = TaskResult { task, outcome: failure.non_retriable().into() };
                self.add(id, |work| work.results.push((execution, result)));
            }
        }
    }

    fn plan_rewind(&self, id: InstanceId, reason: Option<String>) {
        self.insist(id, move |this| {
            let reason = reason.clone();
            async move {
                let Some(state) = this.0.published.read(id)? else { return Ok(()) };
                let (rewind, open, arrivals) = rewind::plan(&Story::of(this.history(&state)?), reason);
                let revision = state.revision;
                this.ask(id, Event::RewindPlanned { revision, rewind, open, arrivals }).await.map(drop)
            }
        });
    }

    fn forget(&self, id: InstanceId) {
        self.0.seats.forget(id);
    }
}
