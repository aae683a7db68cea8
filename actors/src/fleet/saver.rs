//! Saves the output of an attempt whose runtime does not keep it: follows the log into a file from where the
//! file ends, for as long as the attempt runs and until the last line is in.
//!
//! Not responsible for: the file, its format, its size and its rotation ([`LogSink`]).
//!
//! Invariants: a line is written in the order it came and never twice, also across restarts (the sink knows
//! the time of its last line); nothing of it stands in the way of the attempt's end.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::call::within;
use super::task::Task;
use crate::id::AttemptKey;
use crate::limits;
use crate::runtime::{LogLine, Runtime};

/// Where the lines of one attempt go. Calls are quick: a write into the page cache.
pub trait LogSink: Send {
    /// The time of the last line that it holds.
    fn last_nanos(&self) -> Option<i128>;

    /// Adds a line.
    fn append(&mut self, line: &LogLine) -> io::Result<()>;

    /// Hands what is buffered to the operating system.
    fn flush(&mut self) -> io::Result<()>;
}

/// Where the sinks come from.
pub trait LogSinks: Send + Sync + 'static {
    /// A saver begins; until it drops what it gets, the log is not complete. Default: nobody wants to know.
    fn begin(&self, _: AttemptKey) -> Box<dyn Any + Send> {
        Box::new(())
    }

    /// The sink of this attempt; `None` when nobody wants its log any more.
    fn open(&self, key: AttemptKey) -> io::Result<Option<Box<dyn LogSink>>>;

    /// The sink of a container beside the main one. Default: nobody wants such logs.
    fn open_member(&self, _: AttemptKey, _: &str) -> io::Result<Option<Box<dyn LogSink>>> {
        Ok(None)
    }
}

/// Saves the log of one attempt; cancelled when it is dropped.
#[derive(Debug)]
pub(super) struct Saver {
    over: watch::Sender<bool>,
    /// One for each of its containers.
    tasks: Vec<Task>,
}

impl Saver {
    /// Begins or goes on to save, also what these containers beside the main one write.
    pub(super) fn spawn(
        runtime: &Arc<dyn Runtime>,
        key: AttemptKey,
        sinks: &Arc<dyn LogSinks>,
        members: &[String],
    ) -> Self {
        let over = watch::Sender::new(false);
        let sources = std::iter::once(None).chain(members.iter().cloned().map(Some));
        let save = |member| {
            let source = Source { runtime: Arc::clone(runtime), key, member, sinks: Arc::clone(sinks) };
            source.spawn(over.subscribe())
        };
        let tasks = sources.map(save).collect();
        Self { over, tasks }
    }

    /// The attempt is over: once the log ends, it is complete.
    pub(super) fn attempt_is_over(&self) {
        self.over.send_replace(true);
    }

    /// Waits until the log is complete, at most `limit`.
    pub(super) async fn drain(mut self, key: AttemptKey, limit: Duration) {
        self.attempt_is_over();
        let all = async {
            for task in &mut self.tasks {
                task.done().await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!(attempt = %key, "the end of a log did not come in time and is given up");
        }
    }
}

/// Whose log is saved, and where.
struct Source {
    runtime: Arc<dyn Runtime>,
    key: AttemptKey,
    /// A container beside the main one.
    member: Option<String>,
    sinks: Arc<dyn LogSinks>,
}

impl Source {
    fn spawn(self, observed: watch::Receiver<bool>) -> Task {
        let key = self.key;
        // Before anybody can hear of the attempt's end, so that whoever does finds that its log is coming.
        let saving = self.sinks.begin(key);
        let work = async move {
            self.follow(observed).await;
            drop(saving);
        };
        Task::spawn(work, move |panic| {
            tracing::error!(attempt = %key, panic, "saving a log panicked; the rest of it may be missing");
        })
    }

    async fn follow(&self, mut over: watch::Receiver<bool>) {
        let mut failures: u32 = 0;
        loop {
            let began = Instant::now();
            // Read before the copy: what was over before has ended its log when the copy comes to the end.
            let was_over = *over.borrow_and_update();
            match self.copy().await {
                Ok(()) if was_over => return,
                Ok(()) => {}
                Err(error) => {
                    tracing::debug!(attempt = %self.key, error, "the log of an attempt was interrupted");
                }
            }
            failures = if began.elapsed() < limits::WATCH_PATIENCE { failures.saturating_add(1) } else { 0 };
            tokio::select! {
                biased;
                Ok(()) = over.changed() => {}
                () = tokio::time::sleep(Backoff::RETRY.pause(failures, self.key)) => {}
            }
        }
    }

    /// Copies to the end of the stream; an error says what interrupted it.
    async fn copy(&self) -> Result<(), String> {
        let Self { runtime, key, member, sinks } = self;
        let opened = match member {
            None => sinks.open(*key),
            Some(member) => sinks.open_member(*key, member),
        };
        let Some(mut sink) = opened.map_err(|error| error.to_string())? else {
            return Ok(());
        };
        let after = sink.last_nanos();
        let logs = match member {
            None => runtime.logs(*key, after),
            Some(member) => runtime.member_logs(*key, member, after),
        };
        let opened = within(&**runtime, "logs", limits::SUBSCRIBE_DEADLINE, logs).await;
        let mut lines = opened.map_err(|error| error.to_string())?;
        while let Some(line) = lines.next().await {
            let line = line.map_err(|error| error.to_string())?;
            sink.append(&line).map_err(|error| error.to_string())?;
        }
        sink.flush().map_err(|error| error.to_string())
    }
}
