//! A container engine in memory, with faults to order: the double that the fleet's tests drive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::id::AttemptKey;
use dogwatch_actors::job::spec::StopSignal;
use dogwatch_actors::runtime::{
    Error, Exit, Health, Hint, LogLine, LogStream, Observation, Plan, Result, Running, Runtime,
};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

/// What goes wrong, until it is set otherwise.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Nothing is answered.
    pub(crate) down: bool,
    /// The engine does what it is told and the answer is lost; one per name of a call.
    pub(crate) lost_replies: Vec<&'static str>,
    /// Calls that never answer: the name of the call and the attempt.
    pub(crate) hangs: BTreeSet<(&'static str, AttemptKey)>,
    /// Calls that are answered well and do nothing.
    pub(crate) idle: BTreeSet<&'static str>,
    /// Waits return at once, whatever the attempt does.
    pub(crate) jumpy: bool,
    /// It neither lists nor hints.
    pub(crate) blind: bool,
    /// What `create` answers.
    pub(crate) create: Option<Error>,
    /// Neither waits nor hints tell of any change.
    pub(crate) silent: bool,
    /// Attempts that ignore every signal but the kill.
    pub(crate) stubborn: bool,
    /// How many removals fail.
    pub(crate) removals: u32,
}

#[derive(Debug, Default)]
struct State {
    attempts: BTreeMap<AttemptKey, Observation>,
    logs: BTreeMap<AttemptKey, Vec<LogLine>>,
    calls: BTreeMap<(&'static str, AttemptKey), u32>,
    runs: BTreeMap<AttemptKey, u32>,
}

#[derive(Debug)]
pub(crate) struct Engine {
    state: Mutex<State>,
    faults: Mutex<Faults>,
    hints: Mutex<broadcast::Sender<Hint>>,
    changes: watch::Sender<u64>,
}

impl Engine {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            faults: Mutex::default(),
            hints: Mutex::new(broadcast::Sender::new(64)),
            changes: watch::Sender::new(0),
        })
    }

    pub(crate) fn fault(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock());
    }

    pub(crate) fn observation(&self, key: AttemptKey) -> Observation {
        self.state.lock().attempts.get(&key).cloned().unwrap_or(Observation::Absent)
    }

    /// How often the attempt's program was begun.
    pub(crate) fn runs(&self, key: AttemptKey) -> u32 {
        self.state.lock().runs.get(&key).copied().unwrap_or(0)
    }

    /// How often a call was made, answered or not.
    pub(crate) fn calls(&self, call: &'static str, key: AttemptKey) -> u32 {
        self.state.lock().calls.get(&(call, key)).copied().unwrap_or(0)
    }

    pub(crate) fn set(&self, key: AttemptKey, observation: Observation) {
        self.state.lock().attempts.insert(key, observation);
        self.change(key);
    }

    pub(crate) fn exit(&self, key: AttemptKey, code: i32) {
        self.set(key, exited(code));
    }

    pub(crate) fn vanish(&self, key: AttemptKey) {
        self.state.lock().attempts.remove(&key);
        self.change(key);
    }

    pub(crate) fn print(&self, key: AttemptKey, text: &str) {
        let mut state = self.state.lock();
        let lines = state.logs.entry(key).or_default();
        let at_nanos = lines.last().map_or(0, |last: &LogLine| last.at_nanos) + 1;
        let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
        lines.push(LogLine { at_nanos, stream: LogStream::Stdout, bytes });
        drop(state);
        self.changes.send_modify(|version| *version += 1);
    }

    /// Ends every stream of hints.
    pub(crate) fn cut_hints(&self) {
        *self.hints.lock() = broadcast::Sender::new(64);
    }

    fn change(&self, key: AttemptKey) {
        if !self.faults.lock().silent {
            // Nobody may be listening, which is what a hint is.
            self.hints.lock().send(Hint::Attempt(key)).ok();
            self.changes.send_modify(|version| *version += 1);
        }
    }

    /// Counts the call, hangs or fails as ordered, does the work and loses the reply as ordered.
    async fn call<T>(
        &self,
        call: &'static str,
        key: AttemptKey,
        work: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        *self.state.lock().calls.entry((call, key)).or_default() += 1;
        let hangs = self.faults.lock().hangs.contains(&(call, key));
        if hangs {
            std::future::pending::<()>().await;
        }
        self.answering()?;
        let work_on: &mut State = if self.faults.lock().idle.contains(call) {
            &mut State::default()
        } else {
            &mut self.state.lock()
        };
        let answer = work(work_on);
        let mut faults = self.faults.lock();
        if let Some(lost) = faults.lost_replies.iter().position(|lost| *lost == call) {
            faults.lost_replies.remove(lost);
            return Err(unavailable("the connection was reset"));
        }
        answer
    }

    fn answering(&self) -> Result<()> {
        if self.faults.lock().down { Err(unavailable("connection refused")) } else { Ok(()) }
    }

    fn seeing(&self) -> Result<()> {
        if self.faults.lock().blind { Err(unavailable("no permission")) } else { self.answering() }
    }

    async fn until_not_running(&self, key: AttemptKey) {
        let mut changes = self.changes.subscribe();
        while matches!(self.observation(key), Observation::Running(_)) {
            changes.changed().await.expect("the sender is here");
        }
    }
}

pub(crate) fn running() -> Observation {
    let started_at = Timestamp::from_millis(1_000);
    Observation::Running(Running { runtime_id: "c0ffee".to_owned(), started_at, address: None })
}

pub(crate) fn exited(code: i32) -> Observation {
    Observation::Exited(Exit {
        runtime_id: "c0ffee".to_owned(),
        code: Some(code),
        signal: None,
        oom_killed: false,
        container: None,
        unseen: None,
        started_at: Some(Timestamp::from_millis(1_000)),
        finished_at: Some(Timestamp::from_millis(2_000)),
        usage: None,
    })
}

fn unavailable(message: &str) -> Error {
    Error::Unavailable { runtime: "fake".to_owned(), message: message.to_owned() }
}

#[async_trait]
impl Runtime for Engine {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn create(&self, plan: &Plan) -> Result<()> {
        let refused = self.faults.lock().create.clone();
        self.call("create", plan.key, |state| {
            if let Some(error) = refused {
                return Err(error);
            }
            state.attempts.entry(plan.key).or_insert(Observation::Created);
            Ok(())
        })
        .await?;
        // A creation that goes on after the container is there: an image being unpacked, a network attached.
        let hangs = self.faults.lock().hangs.contains(&("created", plan.key));
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn start(&self, key: AttemptKey) -> Result<()> {
        let started = self
            .call("start", key, |state| {
                if state.attempts.get(&key) == Some(&Observation::Created) {
                    state.attempts.insert(key, running());
                    *state.runs.entry(key).or_default() += 1;
                }
                Ok(())
            })
            .await;
        self.change(key);
        started
    }

    async fn observe(&self, key: AttemptKey) -> Result<Observation> {
        self.call("observe", key, |state| {
            Ok(state.attempts.get(&key).cloned().unwrap_or(Observation::Absent))
        })
        .await
    }

    async fn wait(&self, key: AttemptKey, patience: Duration) {
        let (hangs, jumpy) = {
            let faults = self.faults.lock();
            (faults.hangs.contains(&("wait", key)), faults.jumpy)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        if jumpy {
            return;
        }
        tokio::time::timeout(patience, self.until_not_running(key)).await.ok();
    }

    async fn stop(&self, key: AttemptKey, signal: StopSignal, grace: Duration) -> Result<()> {
        self.call("stop", key, |_| Ok(())).await?;
        let stubborn = self.faults.lock().stubborn;
        if stubborn && signal != StopSignal::Sigkill {
            tokio::time::timeout(grace, self.until_not_running(key)).await.ok();
        }
        if matches!(self.observation(key), Observation::Running(_)) {
            self.exit(key, if stubborn || signal == StopSignal::Sigkill { 137 } else { 143 });
        }
        Ok(())
    }

    async fn remove(&self, key: AttemptKey) -> Result<()> {
        let fails = std::mem::take(&mut self.faults.lock().removals);
        self.faults.lock().removals = fails.saturating_sub(1);
        self.call("remove", key, |state| match state.attempts.get(&key) {
            Some(Observation::Running(_)) => Err(Error::Transient { message: "it runs".to_owned() }),
            _ if fails > 0 => Err(Error::Transient { message: "device busy".to_owned() }),
            _ => {
                state.attempts.remove(&key);
                Ok(())
            }
        })
        .await
    }

    async fn list(&self) -> Result<Vec<(AttemptKey, Observation)>> {
        self.seeing()?;
        Ok(self.state.lock().attempts.iter().map(|(key, it)| (*key, it.clone())).collect())
    }

    async fn hints(&self) -> Result<BoxStream<'static, Hint>> {
        self.seeing()?;
        let hints = self.hints.lock().subscribe();
        let stream = tokio_stream::wrappers::BroadcastStream::new(hints);
        Ok(stream.map(|hint| hint.unwrap_or(Hint::Everything)).boxed())
    }

    fn keeps_logs(&self) -> bool {
        false
    }

    async fn logs(
        &self,
        key: AttemptKey,
        after_nanos: Option<i128>,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        self.answering()?;
        if self.observation(key) == Observation::Absent {
            return Err(Error::Transient { message: "no such container".to_owned() });
        }
        // What there is now; the saver comes back for the rest, as after any interruption.
        let lines = self.state.lock().logs.get(&key).cloned().unwrap_or_default();
        let rest =
            lines.into_iter().filter(move |line| after_nanos.is_none_or(|after| line.at_nanos > after));
        Ok(futures_util::stream::iter(rest.map(Ok).collect::<Vec<_>>()).boxed())
    }

    async fn health(&self) -> Result<Health> {
        self.answering()?;
        Ok(Health { version: "fake".to_owned(), cpus: 2.0, memory_bytes: 1 << 32 })
    }
}
