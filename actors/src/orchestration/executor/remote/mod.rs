//! The executor whose code runs elsewhere: workers connect, are given work, and tell what came of it.
//!
//! A turn is sent with all that its code ever saw, because nobody knows what a worker still has in memory. What comes
//! back is recorded before it is answered; what is out when this process dies comes again from the machines.
//!
//! Not responsible for: the protocol that workers speak, and who may connect.

mod book;
mod chronicle;
mod demand;
mod ended;
mod piece;
mod ready;
mod turns;
mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::book::Book;
pub use self::chronicle::{Chronicle, Line};
pub use self::demand::{Bound, Holder};
use self::piece::{ActivityKey, Standing, numbered};
pub use self::ready::{Kind, Names, WorkerOptions};
use self::ready::{Need, WorkerId};
use super::{OrchestrationMail, stored};
use crate::clock::{Clock, Timestamp};
use crate::durable::published::Published;
use crate::durable::shell;
use crate::entity::EntityId;
use crate::entity::batch::Batch;
use crate::entity::executor::{EntityExecutor, EntityParts};
use crate::limits::TURN_WORKERS_LOST_MAX;
use crate::orchestration::Payload;
use crate::orchestration::event::{Event, TurnRequest};
use crate::orchestration::failure::{Failure, kinds};
use crate::orchestration::history::{Action, ActivityCall, TaskResult};
use crate::orchestration::id::{InstanceId, TaskId};
use crate::orchestration::state::{Orchestration, Span};
use crate::store::{self, Patience, Store};

/// The pause before what could not be stored is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Workers number their tasks within 32 bits. Behind a rewind the same numbers are other tasks: the number of the
/// rewind is above these bits.
const TASK_BITS: u32 = 32;

/// The number that a worker knows a task by.
pub fn worker_task(task: TaskId) -> i32 {
    // The lower bits are what the worker said.
    (task & u64::from(u32::MAX)) as u32 as i32
}

/// What the executor works with.
pub struct RemoteParts {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where histories are.
    pub store: Arc<dyn Store>,
    /// The durable states.
    pub published: Arc<Published<Orchestration>>,
    /// The way back.
    pub mail: Arc<OrchestrationMail>,
    /// What is needed for entities.
    pub entities: EntityParts,
}

impl fmt::Debug for RemoteParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteParts").finish_non_exhaustive()
    }
}

/// The executor whose code runs elsewhere. Every clone is the same one.
#[derive(Clone)]
pub struct Remote(Arc<Inner>);

struct Inner {
    parts: RemoteParts,
    book: Mutex<Book>,
    /// What makes tokens of this process different from those of the one before.
    nonce: u64,
    closing: AtomicBool,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("depths", &self.depths()).finish_non_exhaustive()
    }
}

/// A piece of work for a worker.
#[derive(Debug, Clone)]
pub struct Item {
    /// What its end is told with.
    pub token: String,
    /// What is to be done.
    pub work: Work,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Work {
    /// Give the code of an instance a turn.
    Turn {
        /// The instance.
        state: Arc<Orchestration>,
        /// What it saw and asked for before.
        past: Arc<Chronicle>,
        /// What time it is for the code.
        now: Timestamp,
        /// What it has not seen, with when it was recorded.
        fresh: Vec<Line>,
    },
    /// Run an activity.
    Activity {
        /// The instance that asked for it.
        state: Arc<Orchestration>,
        /// What it asked for.
        call: Arc<ActivityCall>,
    },
    /// Run operations of an entity.
    Batch(Arc<Batch>),
}

/// What a worker's code asked for in a turn. Tasks have the numbers that the worker gave them.
#[derive(Debug, Clone, Default)]
pub struct TurnAnswer {
    /// What it asked for, in order; what ends the execution comes last.
    pub actions: Vec<Action>,
    /// What the code says of itself, where it says something.
    pub custom_status: Option<Payload>,
    /// The span under which the worker traces the instance.
    pub span: Option<Span>,
}

/// A worker that is connected; what it had goes to others when this is dropped.
#[derive(Debug)]
pub struct Connection {
    remote: Remote,
    id: WorkerId,
    wakes: Arc<Notify>,
}

/// A worker that is connected, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// Who it is.
    pub peer: String,
    /// Of which task hub.
    pub hub: String,
    /// What it takes, by [`Kind`]; `None` means everything.
    pub takes: [Option<Names>; 3],
}

impl Remote {
    /// An executor that nobody has connected to.
    pub fn new(parts: RemoteParts, nonce: u64) -> Self {
        let (book, closing) = (Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Inner { parts, book, nonce, closing }))
    }

    /// A worker connects.
    pub fn connect(&self, options: WorkerOptions) -> Connection {
        let mut book = self.0.book.lock();
        let options = book.pools.admit(options);
        let (id, wakes) = book.connect(options);
        Connection { remote: self.clone(), id, wakes }
    }

    /// Nobody is given work any more.
    pub fn close(&self) {
        self.0.closing.store(true, Ordering::SeqCst);
        let mut book = self.0.book.lock();
        for worker in book.workers.values_mut() {
            worker.wake_up();
        }
    }

    fn is_closing(&self) -> bool {
        self.0.closing.load(Ordering::SeqCst)
    }

    /// The workers that are connected.
    pub fn workers(&self) -> Vec<WorkerView> {
        let book = self.0.book.lock();
        let view = |options: &WorkerOptions| WorkerView {
            peer: options.peer.clone(),
            hub: options.hub.clone(),
            takes: options.takes.clone(),
        };
        book.workers.values().map(|worker| view(&worker.options)).collect()
    }

    /// How much waits for a worker, by [`Kind`].
    pub fn depths(&self) -> [usize; 3] {
        self.0.book.lock().depths()
    }

    /// How much workers have, by [`Kind`].
    pub fn out(&self) -> [usize; 3] {
        let mut out = [0; 3];
        for piece in self.0.book.lock().outs.values() {
            out[piece.key.kind() as usize] += 1;
        }
        out
    }

    /// What an instance waits for of workers, in sentences.
    pub fn explain(&self, state: &Orchestration) -> Vec<String> {
        let book = self.0.book.lock();
        let mut told = Vec::new();
        if let Some(seat) = book.seats.get(&state.id) {
            told.extend(sentence(&book, &seat.need, seat.standing));
        }
        let tasks = state.activities.iter().take(crate::limits::EXPLAIN_TASKS_MAX);
        let tasks = tasks.filter_map(|task| book.tasks.get(&(state.id, state.execution, task)));
        told.extend(tasks.filter_map(|task| sentence(&book, &task.need, task.standing)));
        told
    }

    fn token(&self, number: u64) -> String {
        format!("{:016x}-{number:x}", self.0.nonce)
    }

    /// The number of a token of this process.
    fn number(&self, token: &str) -> Option<u64> {
        let (nonce, number) = token.split_once('-')?;
        (u64::from_str_radix(nonce, 16).ok()? == self.0.nonce).then_some(())?;
        u64::from_str_radix(number, 16).ok()
    }

    /// Tells a machine until it could be recorded; its state afterwards.
    async fn insist(&self, id: InstanceId, event: Event) -> Option<Arc<Orchestration>> {
        loop {
            // What other workers have is committed soon.
            let patience = Patience::among(self.0.book.lock().outs.len());
            match self.0.parts.mail.ask(id, event.clone(), patience).await? {
                Ok(receipt) => return receipt.state,
                Err(shell::Error::Missing | shell::Error::Rejected(_) | shell::Error::Parked(_)) => {
                    return None;
                }
                Err(shell::Error::Store(error)) => {
                    tracing::error!(instance = %id, %error, "the store refuses; trying again");
                }
                Err(shell::Error::Lost | shell::Error::Overloaded | shell::Error::Claimed(_)) => {}
            }
            if self.is_closing() {
                return None;
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    fn need(&self, id: InstanceId) -> Option<Need> {
        let state = self.0.parts.published.read(id).ok().flatten()?;
        Some(Need {
            hub: id.hub().to_owned(),
            kind: Kind::Orchestration,
            name: state.name.clone(),
            version: state.version.clone().unwrap_or_default(),
        })
    }

    /// Lets activities wait for workers.
    pub(super) fn add(&self, id: InstanceId, execution: u32, calls: Vec<ActivityCall>) {
        let mut book = self.0.book.lock();
        for call in calls {
            let need = activity_need(id, &call);
            book.wants_activity((id, execution, call.task), need, call);
        }
    }

    /// An instance has something to see.
    pub(super) fn run_turn(&self, id: InstanceId, request: TurnRequest) {
        let TurnRequest { execution, before, fresh } = request;
        let look = fresh.is_empty();
        let fresh = numbered(execution, before, self.0.parts.clock.now(), fresh);
        self.0.book.lock().wants_turn(id, || self.need(id), look, fresh);
    }

    /// Lets go of what is in memory of an instance, and of a turn that is out.
    pub(super) fn forget(&self, id: InstanceId) {
        self.0.book.lock().forget(id);
    }

    /// Those of the tasks that are known here are no longer to be done. What a worker makes of them is of no interest:
    /// nobody can stop it. Gives the others.
    pub(super) fn cancel(&self, id: InstanceId, execution: u32, tasks: Vec<TaskId>) -> Vec<TaskId> {
        let (mut known, mut others) = (Vec::new(), Vec::new());
        {
            let mut book = self.0.book.lock();
            for task in tasks {
                let key = (id, execution, task);
                match book.tasks.get(&key).map(|task| task.standing) {
                    None => others.push(task),
                    // Its end is on the way.
                    Some(Standing::Ending) => {}
                    Some(_) => {
                        book.activity_rests(&key);
                        known.push(task);
                    }
                }
            }
        }
        if !known.is_empty() {
            let failure = || Failure::new(kinds::CANCELLED, "the activity was cancelled").non_retriable();
            let result = |task| TaskResult { task, outcome: failure().into() };
            let results = known.into_iter().map(result).collect();
            let this = self.clone();
            tokio::spawn(async move { this.insist(id, Event::TasksEnded { execution, results }).await });
        }
        others
    }

    /// Lets the activities of an execution that are not over, and that `is_ours`, wait for workers again.
    pub(super) fn recover(
        &self,
        id: InstanceId,
        execution: u32,
        is_ours: impl Fn(&str) -> bool,
    ) -> store::Result<()> {
        let Some(state) = self.0.parts.published.read(id)? else { return Ok(()) };
        if state.execution != execution {
            return Ok(());
        }
        let entries = stored::entries(&self.0.parts.store, &state, state.began);
        let (chronicle, _) = Chronicle::of(entries)?;
        let mut calls = chronicle.calls(|task| state.activities.contains(task) && !state.is_parked(task));
        calls.retain(|call| is_ours(&call.name));
        let mut book = self.0.book.lock();
        // One that ended while the history was read is not in the book any more, and is not to be run again.
        let Some(state) = self.0.parts.published.read(id)?.filter(|state| state.execution == execution)
        else {
            return Ok(());
        };
        for call in calls.into_iter().filter(|call| state.activities.contains(call.task)) {
            let need = activity_need(id, &call);
            book.wants_activity((id, execution, call.task), need, call);
        }
        Ok(())
    }

    fn left(&self, worker: WorkerId) {
        let (activities, deadly) = self.0.book.lock().disconnect(worker);
        let mut executions: BTreeMap<(InstanceId, u32), Vec<ActivityKey>> = BTreeMap::new();
        for key in activities {
            executions.entry((key.0, key.1)).or_default().push(key);
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        for id in deadly {
            let this = self.clone();
            runtime.spawn(async move { this.block(id).await });
        }
        for ((id, execution), keys) in executions {
            let this = self.clone();
            runtime.spawn(async move { this.run_again(id, execution, keys).await });
        }
    }

    /// A turn that ends the stream of every worker is given to nobody until somebody says so.
    async fn block(&self, id: InstanceId) {
        if let Some(state) = self.0.parts.published.read(id).ok().flatten() {
            let reason = format!(
                "{TURN_WORKERS_LOST_MAX} workers in a row were gone before they had answered; its history may be \
                 larger than the messages that they take (4 MiB by default): raise that limit, or let its code continue \
                 as new more often, and release it"
            );
            tracing::error!(instance = %id, orchestration = state.name, reason, "an orchestration is blocked");
            let (execution, turn) = (state.execution, state.turns + 1);
            self.insist(id, Event::TurnBlocked { execution, turn, reason }).await;
        }
        self.0.book.lock().turn_is_blocked(id);
    }

    /// What ends every worker that it is given to must not go on for ever: it is counted.
    async fn run_again(&self, id: InstanceId, execution: u32, keys: Vec<ActivityKey>) {
        let tasks = keys.iter().map(|(_, _, task)| *task).collect();
        let after = self.insist(id, Event::ActivitiesRestarting { execution, tasks }).await;
        let mut book = self.0.book.lock();
        for key in keys {
            let task = key.2;
            let may_run = after.as_ref().is_some_and(|after| {
                after.execution == execution && after.activities.contains(task) && !after.is_parked(task)
            });
            match may_run {
                true => book.activity_waits_again(key),
                false => book.activity_rests(&key),
            }
        }
    }
}

fn activity_need(id: InstanceId, call: &ActivityCall) -> Need {
    Need {
        hub: id.hub().to_owned(),
        kind: Kind::Activity,
        name: call.name.clone(),
        version: call.version.clone().unwrap_or_default(),
    }
}

/// What a piece of work waits for.
fn sentence(book: &Book, need: &Need, standing: Standing) -> Option<String> {
    let Need { kind, name, version, hub } = need;
    let version = if version.is_empty() { String::new() } else { format!(" in version {version}") };
    let what = format!("the {} `{name}`{version}", kind.name());
    match standing {
        Standing::Ready(_) if book.workers.values().any(|worker| worker.takes(need)) => {
            Some(format!("{what} waits for a worker that has room"))
        }
        Standing::Ready(_) => Some(match book.pools.of(need) {
            Some(pool) => format!("{what} waits for an instance of the pool `{pool}`"),
            None => format!(
                "no worker that is connected to the task hub `{hub}` takes {what}; start one, or look at its filters"
            ),
        }),
        Standing::Out(token) => {
            let out = book.outs.get(&token)?;
            let peer = book.workers.get(&out.worker).map_or("a worker", |worker| &worker.options.peer);
            Some(format!("{what} is with {peer} since {} s", out.since.elapsed().as_secs()))
        }
        Standing::Idle | Standing::Preparing | Standing::Ending => None,
    }
}

impl EntityExecutor for Remote {
    fn run_batch(&self, id: EntityId, number: u64) {
        let (hub, name) = (id.hub().to_owned(), id.name().to_owned());
        let need = Need { hub, kind: Kind::Entity, name, version: String::new() };
        self.0.book.lock().wants_batch(id, need, number);
    }

    fn forget(&self, id: EntityId) {
        self.0.book.lock().forget_batch(id);
    }
}

impl Connection {
    /// The next piece of work; `None` when there will be none any more.
    pub async fn next(&self) -> Option<Item> {
        loop {
            if self.remote.is_closing() {
                return None;
            }
            let (taken, pause) = {
                let mut book = self.remote.0.book.lock();
                let taken = book.take(self.id);
                (taken, book.next_pause(Instant::now()))
            };
            if let Some(taken) = taken {
                if let Some(item) = self.remote.put_together(self.id, taken) {
                    return Some(item);
                }
                continue;
            }
            match pause {
                None => self.wakes.notified().await,
                Some(pause) => drop(tokio::time::timeout(pause, self.wakes.notified()).await),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.remote.left(self.id);
    }
}
