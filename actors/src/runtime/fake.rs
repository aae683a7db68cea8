//! An engine in memory, for tests: scripted attempts, injected faults, exact counts.
//!
//! It keeps the promises of every runtime (the conformance suite runs on it too) in tokio's time, so that a test with
//! paused time runs days in milliseconds. Clones share one engine: give a clone to a second supervisor and it finds
//! what the first one left.

mod attempt;
mod behaviour;
mod files;
mod operations;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};

use self::attempt::{Attempt, Ends};
use super::{Error, Hint, Observation, Plan, Result};
use crate::clock::{Clock, Timestamp, TokioClock};
use crate::id::AttemptKey;

pub use behaviour::{Behaviour, Ending, Left};

/// Hints that a slow listener may be behind; then it is told that everything may have changed.
const HINTS_QUEUED_MAX: usize = 256;

/// The operations that a fault can be injected into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named like the methods of the trait")]
pub enum Operation {
    Create,
    PutFiles,
    TakeFiles,
    Start,
    Observe,
    Stop,
    Remove,
    List,
    Hints,
    Logs,
    Health,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and the engine does not answer.
    Unavailable,
    /// Nothing is done, for a reason that passes.
    Transient,
    /// Nothing is done, and no answer ever comes.
    Hang,
    /// It is done, and the answer is lost.
    LoseReply,
}

/// What becomes of running attempts when the engine restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They run on.
    Survive,
    /// They are killed, and the engine knows it.
    Killed,
    /// The host restarted; nobody saw their end.
    HostRestart,
}

/// What happened to an attempt: calls, and what they did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls of `create`, and how many of them made something.
    pub creates: (u32, u32),
    /// Calls of `put_files` that placed them.
    pub puts: u32,
    /// Calls of `start`, and how many of them set it going.
    pub starts: (u32, u32),
    /// Calls of `stop`, and how many found it running.
    pub stops: (u32, u32),
    /// Calls of `remove`, and how many of them removed something.
    pub removes: (u32, u32),
}

/// The engine in memory.
#[derive(Clone)]
pub struct FakeRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    /// What it writes down as the time.
    clock: Arc<dyn Clock>,
    /// What its attempts live by; goes on as tokio's time does, and never jumps.
    time: Arc<dyn Clock>,
    engine: Mutex<Engine>,
    /// Rung on every change. Whoever waits is woken in the order of waiting, which a `watch` does not promise.
    changed: Notify,
}

type Chooser = Box<dyn Fn(&Plan) -> Option<Behaviour> + Send>;

struct Engine {
    usual: Behaviour,
    chosen: HashMap<AttemptKey, Behaviour>,
    chooser: Option<Chooser>,
    attempts: BTreeMap<AttemptKey, Attempt>,
    /// How attempts that were removed stood last.
    removed: BTreeMap<AttemptKey, Observation>,
    foreign: BTreeSet<AttemptKey>,
    counts: BTreeMap<AttemptKey, Counts>,
    faults: Vec<(Operation, Fault, u32)>,
    down: bool,
    hints: broadcast::Sender<Hint>,
}

impl fmt::Debug for FakeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeRuntime").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl FakeRuntime {
    /// An empty engine. Attempts exit with 0 at once, unless told otherwise.
    pub fn new(name: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        let time = TokioClock::starting_at(Timestamp::from_millis(0));
        Self::with_time(name, clock, Arc::new(time))
    }

    /// An engine that outlives a tokio runtime: its attempts live by `time`, which must go on as tokio's does.
    pub fn with_time(name: impl Into<String>, clock: Arc<dyn Clock>, time: Arc<dyn Clock>) -> Self {
        let engine = Engine {
            usual: Behaviour::exits(0, Duration::ZERO),
            chosen: HashMap::new(),
            chooser: None,
            attempts: BTreeMap::new(),
            removed: BTreeMap::new(),
            foreign: BTreeSet::new(),
            counts: BTreeMap::new(),
            faults: Vec::new(),
            down: false,
            hints: broadcast::channel(HINTS_QUEUED_MAX).0,
        };
        let changed = Notify::new();
        Self {
            inner: Arc::new(Inner { name: name.into(), clock, time, engine: Mutex::new(engine), changed }),
        }
    }

    /// What attempts created from now on do.
    pub fn behave(&self, usual: Behaviour) {
        self.inner.engine.lock().usual = usual;
    }

    /// What one attempt does when it is created.
    pub fn behave_for(&self, key: AttemptKey, behaviour: Behaviour) {
        self.inner.engine.lock().chosen.insert(key, behaviour);
    }

    /// Chooses what an attempt does by its plan; `None` means the usual.
    pub fn behave_by(&self, chooser: impl Fn(&Plan) -> Option<Behaviour> + Send + 'static) {
        self.inner.engine.lock().chooser = Some(Box::new(chooser));
    }

    /// Lets the next `times` calls of an operation go wrong.
    pub fn inject(&self, operation: Operation, fault: Fault, times: u32) {
        self.inner.engine.lock().faults.push((operation, fault, times));
    }

    /// Stops answering anything. Attempts run on.
    pub fn go_down(&self) {
        self.change(|engine| {
            engine.down = true;
            engine.hints = broadcast::channel(HINTS_QUEUED_MAX).0;
        });
    }

    /// Answers again.
    pub fn come_up(&self) {
        self.change(|engine| engine.down = false);
    }

    /// Restarts the engine: streams of hints end.
    pub fn restart(&self, fate: Fate) {
        let now = self.inner.time.now();
        self.change(|engine| {
            engine.down = false;
            engine.hints = broadcast::channel(HINTS_QUEUED_MAX).0;
            for attempt in engine.attempts.values_mut() {
                match fate {
                    Fate::Survive => {}
                    Fate::Killed => attempt.end(Ending::Signal(9), now),
                    Fate::HostRestart => attempt.lose(now),
                }
            }
        });
    }

    /// Ends a running attempt now.
    pub fn end(&self, key: AttemptKey, ending: Ending) {
        let now = self.inner.time.now();
        self.change(|engine| {
            if let Some(attempt) = engine.attempts.get_mut(&key) {
                attempt.end(ending, now);
            }
        });
        self.hint(key);
    }

    /// Takes an attempt away, as somebody else may do.
    pub fn vanish(&self, key: AttemptKey) {
        let now = self.inner.time.now();
        self.change(|engine| engine.remove(key, now));
        self.hint(key);
    }

    /// Puts something foreign where this attempt would be.
    pub fn add_foreign(&self, key: AttemptKey) {
        self.change(|engine| engine.foreign.insert(key));
    }

    /// Whether that is still there.
    pub fn has_foreign(&self, key: AttemptKey) -> bool {
        self.inner.engine.lock().foreign.contains(&key)
    }

    /// What happened to an attempt, also after it was removed.
    pub fn counts(&self, key: AttemptKey) -> Counts {
        self.inner.engine.lock().counts.get(&key).copied().unwrap_or_default()
    }

    /// The most often that any attempt was set going: more than 1 breaks the promise.
    pub fn starts_max(&self) -> u32 {
        self.inner.engine.lock().counts.values().map(|counts| counts.starts.1).max().unwrap_or(0)
    }

    /// Every attempt that was ever created, by whoever.
    pub fn ever_created(&self) -> Vec<AttemptKey> {
        let engine = self.inner.engine.lock();
        engine.counts.iter().filter(|(_, counts)| counts.creates.1 > 0).map(|(key, _)| *key).collect()
    }

    /// Every attempt that is there.
    pub fn present(&self) -> Vec<AttemptKey> {
        self.inner.engine.lock().attempts.keys().copied().collect()
    }

    /// Every attempt that runs.
    pub fn running(&self) -> Vec<AttemptKey> {
        let now = self.inner.time.now();
        let mut engine = self.inner.engine.lock();
        let attempts = engine.attempts.iter_mut();
        attempts.filter_map(|(key, attempt)| attempt.is_running(now).then_some(*key)).collect()
    }

    /// How an attempt stands, or how it stood when it was removed: the truth, whatever was told.
    pub fn truth(&self, key: AttemptKey) -> Observation {
        let now = self.inner.time.now();
        let mut engine = self.inner.engine.lock();
        match engine.attempts.get_mut(&key) {
            Some(attempt) => attempt.observe(now),
            None => engine.removed.get(&key).cloned().unwrap_or(Observation::Absent),
        }
    }

    /// The plan that an attempt was created from.
    pub fn plan(&self, key: AttemptKey) -> Option<Plan> {
        self.inner.engine.lock().attempts.get(&key).map(|attempt| attempt.plan.clone())
    }

    /// Resolves when `holds` does.
    pub async fn until(&self, mut holds: impl FnMut(&Self) -> bool) {
        loop {
            let changed = self.inner.changed.notified();
            if holds(self) {
                return;
            }
            changed.await;
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Engine) -> T) -> T {
        let changed = change(&mut self.inner.engine.lock());
        self.inner.changed.notify_waiters();
        changed
    }

    fn hint(&self, key: AttemptKey) {
        // Nobody listening is fine.
        drop(self.inner.engine.lock().hints.send(Hint::Attempt(key)));
    }

    /// One operation: the next fault injected into it, or its effect, or both.
    async fn operate<T>(
        &self,
        operation: Operation,
        effect: impl FnOnce(&mut Engine) -> Result<T> + Send,
    ) -> Result<T> {
        // Like any engine's answer it takes a turn of the scheduler.
        tokio::task::yield_now().await;
        let fault = {
            let mut engine = self.inner.engine.lock();
            let fault = engine.next_fault(operation);
            if engine.down { Some(Fault::Unavailable) } else { fault }
        };
        match fault {
            None => self.change(effect),
            Some(Fault::LoseReply) => self.change(effect).and_then(|_| Err(self.unavailable())),
            Some(Fault::Unavailable) => Err(self.unavailable()),
            Some(Fault::Transient) => Err(Error::Transient { message: "the fake has hiccups".into() }),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }

    fn unavailable(&self) -> Error {
        Error::Unavailable { runtime: self.inner.name.clone(), message: "the fake is out".into() }
    }

    /// Resolves when the attempt is neither created nor running, or something is due to it.
    async fn ended(&self, key: AttemptKey) {
        self.at_end(key, Attempt::due).await;
    }

    /// Resolves when nothing runs of it that was signalled.
    async fn all_ended(&self, key: AttemptKey) {
        self.at_end(key, Attempt::all_due).await;
    }

    async fn at_end(&self, key: AttemptKey, ends: fn(&mut Attempt, Timestamp) -> Ends) {
        loop {
            let changed = self.inner.changed.notified();
            let now = self.inner.time.now();
            let attempt_due = |attempt: &mut Attempt| ends(attempt, now);
            let due = self.inner.engine.lock().attempts.get_mut(&key).map_or(Ends::Over, attempt_due);
            let end = async {
                match due {
                    Ends::At(at) => tokio::time::sleep(at.since(now)).await,
                    Ends::Never | Ends::Over => std::future::pending::<()>().await,
                }
            };
            if due == Ends::Over {
                return;
            }
            tokio::select! {
                biased;
                () = end => {}
                () = changed => {}
            }
        }
    }

    /// Hints at the end of an attempt that ends by itself, as an engine's events do.
    fn announce_end(&self, key: AttemptKey) {
        let fake = self.clone();
        tokio::spawn(async move {
            fake.hint(key);
            fake.ended(key).await;
            fake.hint(key);
            fake.inner.changed.notify_waiters();
        });
    }
}

impl Engine {
    fn next_fault(&mut self, operation: Operation) -> Option<Fault> {
        let index = self.faults.iter().position(|(wanted, _, left)| *wanted == operation && *left > 0)?;
        let (_, fault, left) = &mut self.faults[index];
        *left -= 1;
        Some(*fault)
    }

    fn remove(&mut self, key: AttemptKey, now: Timestamp) {
        if let Some(mut attempt) = self.attempts.remove(&key) {
            self.removed.insert(key, attempt.observe(now));
        }
    }

    /// What a container beside the main one does: never what was chosen for the attempt.
    fn behaviour_of(&self, plan: &Plan) -> Behaviour {
        self.chooser.as_ref().and_then(|choose| choose(plan)).unwrap_or_else(|| self.usual.clone())
    }

    fn behaviour(&self, plan: &Plan) -> Behaviour {
        let chosen = self.chosen.get(&plan.key).cloned();
        chosen.or_else(|| self.chooser.as_ref()?(plan)).unwrap_or_else(|| self.usual.clone())
    }

    fn counts(&mut self, key: AttemptKey) -> &mut Counts {
        self.counts.entry(key).or_default()
    }
}
