//! The code of one instance in memory: it is given what arrives, and asked what it wants.
//!
//! While it is in memory nothing is replayed. What was lost is rebuilt by giving it all of its history again, in
//! exactly the order in which it saw it; where it then asks for something else than it did, it is not the code that
//! made this history.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::super::context::{Ask, Core, OrchestrationContext};
use super::super::failure::{Result as CodeResult, kinds};
use super::super::history::{Action, Arrival, Outcome, Started, TaskResult, Turn};
use super::super::id::{InstanceId, TaskId};
use super::super::payload::Payload;
use super::super::registry::{OrchestrationCode, is_small};
use crate::clock::Timestamp;
use crate::limits::TURN_ACTIONS_MAX;
use crate::supervise::panic_text;

/// Polls of the code within one delivery before it counts as one that never comes to rest.
const POLLS_MAX: usize = 100_000;

/// Why the code did not have its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stuck {
    /// It cannot go on; why, and what to do.
    Blocked(String),
    /// It panicked.
    Panicked(String),
}

/// What a turn came to.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) actions: Vec<Action>,
    pub(super) custom_status: Option<Payload>,
}

/// Turns what was asked for into actions, where it was never asked for before.
pub(super) trait Maker {
    /// The action, or the refusal.
    fn make(&self, instance: InstanceId, execution: u32, ask: Ask) -> Action;
}

/// Where actions come from: they are made, or they are in the history.
enum Source<'a> {
    Made(&'a dyn Maker),
    Recorded { turn: u32, actions: &'a [Action] },
}

/// The code of one execution.
pub(super) struct Hot {
    core: Arc<Core>,
    future: Option<BoxFuture<'static, CodeResult<Payload>>>,
    root: Arc<Root>,
    code: OrchestrationCode,
    /// The version of the code.
    pub(super) version: String,
    /// Arrivals that it has seen.
    pub(super) seen: u64,
    /// Turns that it has had.
    pub(super) turns: u32,
    /// From which turn on its tasks are numbered behind which.
    pub(super) numbering: BTreeMap<u32, TaskId>,
    /// What the code returned in this turn.
    outcome: Option<CodeResult<Payload>>,
    is_over: bool,
}

/// Tells that the code wants to be polled.
#[derive(Debug, Default)]
struct Root(AtomicBool);

impl Wake for Root {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Drop for Hot {
    fn drop(&mut self) {
        // What its futures do when they go is nothing that the code asked for.
        self.core.close();
        let future = self.future.take();
        // A destructor of the code's may panic; that harms nobody else.
        drop(std::panic::catch_unwind(AssertUnwindSafe(|| drop(future))));
    }
}

impl Hot {
    pub(super) fn new(
        instance: InstanceId,
        execution: u32,
        name: &str,
        version: &str,
        code: &OrchestrationCode,
    ) -> Self {
        let core = Core::new(instance, execution, name.to_owned(), Timestamp::from_millis(0));
        Self {
            core: Arc::new(core),
            future: None,
            root: Arc::default(),
            code: Arc::clone(code),
            version: version.to_owned(),
            seen: 0,
            turns: 0,
            numbering: BTreeMap::new(),
            outcome: None,
            is_over: false,
        }
    }

    /// The execution that it is the code of.
    pub(super) fn execution(&self) -> u32 {
        self.core.execution
    }

    /// What time it was in its last turn.
    pub(super) fn now(&self) -> Timestamp {
        self.core.now()
    }

    /// A turn that never was before.
    pub(super) fn take_turn(
        &mut self,
        now: Timestamp,
        arrivals: Vec<Arrival>,
        results: &[TaskResult],
        maker: &dyn Maker,
    ) -> Result<Decision, Stuck> {
        self.core.begin_turn(now, false);
        let actions = self.run(arrivals, results, &Source::Made(maker))?;
        if !self.is_over && !self.core.awaits_something() {
            let reason = "the code awaits something that is not durable, such as a tokio timer, a channel or I/O; \
                          let it await ctx.timer, ctx.event or an activity, and register it again";
            return Err(Stuck::Blocked(reason.to_owned()));
        }
        if actions.len() > TURN_ACTIONS_MAX {
            let reason = format!(
                "the code asked for more than {TURN_ACTIONS_MAX} things at once; let it ask in parts"
            );
            return Err(Stuck::Blocked(reason));
        }
        Ok(Decision { actions, custom_status: self.core.take_custom_status() })
    }

    /// The names of the events that it waits for.
    pub(super) fn awaited(&self) -> Vec<String> {
        self.core.awaited()
    }

    /// A turn as it was before.
    pub(super) fn replay_turn(&mut self, turn: &Turn, arrivals: Vec<Arrival>) -> Result<(), Stuck> {
        self.core.begin_turn(turn.now, true);
        let source = Source::Recorded { turn: turn.number, actions: &turn.actions };
        let actions = self.run(arrivals, &turn.results, &source)?;
        drop(self.core.take_custom_status());
        if let Some(missing) = turn.actions.get(actions.len()) {
            return Err(diverges(turn.number, Some(missing), None));
        }
        Ok(())
    }

    fn run(
        &mut self,
        arrivals: Vec<Arrival>,
        results: &[TaskResult],
        source: &Source<'_>,
    ) -> Result<Vec<Action>, Stuck> {
        if let Some(tasks) = self.numbering.get(&(self.turns + 1)) {
            self.core.number_from(*tasks);
        }
        let mut actions = Vec::new();
        for arrival in arrivals {
            self.seen += 1;
            match arrival {
                Arrival::Started(started) => self.start(*started)?,
                arrival => self.core.deliver(arrival),
            }
            self.settle(source, &mut actions)?;
        }
        for result in results {
            self.core.deliver(Arrival::TaskEnded(result.clone()));
            self.settle(source, &mut actions)?;
        }
        // Only now: what arrived after the code returned is for the next execution.
        if let Some(outcome) = self.outcome.take() {
            let last = self.last_action(outcome);
            check(source, actions.len(), &last)?;
            actions.push(last);
            self.is_over = true;
        }
        self.turns += 1;
        Ok(actions)
    }

    fn start(&mut self, started: Started) -> Result<(), Stuck> {
        let ctx = OrchestrationContext::new(Arc::clone(&self.core));
        let code = Arc::clone(&self.code);
        let future = std::panic::catch_unwind(AssertUnwindSafe(move || code(ctx, started.input)));
        self.future = Some(future.map_err(|panic| Stuck::Panicked(panic_text(&*panic)))?);
        self.root.0.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Polls the code until it rests, and collects what it asks for.
    fn settle(&mut self, source: &Source<'_>, actions: &mut Vec<Action>) -> Result<(), Stuck> {
        for _ in 0..POLLS_MAX {
            if self.outcome.is_some() || !self.root.0.swap(false, Ordering::SeqCst) {
                return Ok(());
            }
            self.poll()?;
            for ask in self.core.take_asked() {
                self.record(ask, source, actions)?;
            }
        }
        Err(Stuck::Blocked("the code does not come to rest: it wakes itself again and again".to_owned()))
    }

    fn poll(&mut self) -> Result<(), Stuck> {
        let Some(future) = &mut self.future else { return Ok(()) };
        let waker = Waker::from(Arc::clone(&self.root));
        let mut cx = Context::from_waker(&waker);
        let polled = AssertUnwindSafe(|| future.poll_unpin(&mut cx));
        match std::panic::catch_unwind(polled) {
            Ok(Poll::Ready(outcome)) => self.outcome = Some(outcome),
            Ok(Poll::Pending) => {}
            Err(panic) => return Err(Stuck::Panicked(panic_text(&*panic))),
        }
        if self.outcome.is_some() {
            // Its locals go now, while what they ask for still counts.
            self.future = None;
        }
        Ok(())
    }

    fn record(&mut self, ask: Ask, source: &Source<'_>, actions: &mut Vec<Action>) -> Result<(), Stuck> {
        let action = match source {
            Source::Made(maker) => maker.make(self.core.instance, self.core.execution, ask),
            Source::Recorded { turn, actions: recorded } => {
                let recorded = recorded.get(actions.len());
                match recorded.filter(|recorded| agrees(&ask, recorded)) {
                    Some(recorded) => recorded.clone(),
                    None => return Err(diverges(*turn, recorded, Some(&describe(&ask)))),
                }
            }
        };
        if let Action::Refuse { task, failure } = &action {
            self.core.resolve(*task, Outcome::Failed(failure.clone()));
        }
        actions.push(action);
        Ok(())
    }

    fn last_action(&self, outcome: CodeResult<Payload>) -> Action {
        if let Some(renewal) = self.core.take_renewal() {
            return match is_small(&renewal.input) {
                Ok(()) => Action::ContinueAsNew {
                    input: renewal.input,
                    version: renewal.version,
                    carried: renewal.carried,
                },
                Err(failure) => Action::Complete(Outcome::Failed(failure)),
            };
        }
        Action::Complete(match outcome {
            Ok(output) => Outcome::Completed(output),
            Err(failure) => Outcome::Failed(failure),
        })
    }
}

/// Whether what is asked for is what was asked for: its kind, its number and its name. Inputs may have changed.
fn agrees(ask: &Ask, recorded: &Action) -> bool {
    match (ask, recorded) {
        (Ask::Activity(call), Action::ScheduleActivity(old)) => {
            call.task == old.task && call.name == old.name
        }
        (Ask::Timer { task, .. }, Action::CreateTimer { task: old, .. }) => task == old,
        (Ask::Child { call, named }, Action::StartChild(old)) => {
            call.task == old.task && call.name == old.name && (!named || call.instance == old.instance)
        }
        (Ask::Job { task, .. }, Action::SubmitJob(old)) => *task == old.task,
        (
            Ask::Event { task, instance, name, .. },
            Action::SendEvent { task: old, instance: to, name: what, .. },
        ) => task == old && instance == to && name == what,
        (Ask::Cancel { task }, Action::Cancel { task: old }) => task == old,
        (Ask::Refused { task, .. }, Action::Refuse { task: old, .. }) => task == old,
        // What was refused once is not asked for again: the code was told so.
        (Ask::Activity(call), Action::Refuse { task, .. }) => call.task == *task,
        (Ask::Child { call, .. }, Action::Refuse { task, .. }) => call.task == *task,
        (Ask::Job { task, .. }, Action::Refuse { task: old, .. }) => task == old,
        _ => false,
    }
}

fn describe(ask: &Ask) -> String {
    match ask {
        Ask::Activity(call) => format!("activity `{}` as task {}", call.name, call.task),
        Ask::Timer { task, .. } => format!("a timer as task {task}"),
        Ask::Child { call, .. } => format!("child `{}` as task {}", call.name, call.task),
        Ask::Job { task, .. } => format!("a job as task {task}"),
        Ask::Event { task, instance, name, .. } => format!("event `{name}` to {instance} as task {task}"),
        Ask::Refused { task, .. } => format!("task {task}"),
        Ask::Cancel { task } => format!("the cancellation of task {task}"),
    }
}

fn check(source: &Source<'_>, at: usize, last: &Action) -> Result<(), Stuck> {
    let Source::Recorded { turn, actions } = source else { return Ok(()) };
    let recorded = actions.get(at);
    match (recorded, last) {
        (Some(Action::Complete(_)), Action::Complete(_)) => Ok(()),
        (Some(Action::ContinueAsNew { .. }), Action::ContinueAsNew { .. }) => Ok(()),
        _ => Err(diverges(*turn, recorded, Some(&last.to_string()))),
    }
}

fn diverges(turn: u32, recorded: Option<&Action>, asked: Option<&str>) -> Stuck {
    let recorded = recorded.map_or_else(|| "nothing more".to_owned(), ToString::to_string);
    let asked = asked.unwrap_or("nothing more");
    Stuck::Blocked(format!(
        "the code is not the one that made this history: in turn {turn} it asked for {recorded}, now for {asked}; \
         register the version with which it began, or one that takes the same way ({})",
        kinds::NON_DETERMINISM
    ))
}
