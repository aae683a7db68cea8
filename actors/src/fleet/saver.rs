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
}

/// Saves the log of one attempt; cancelled when it is dropped.
#[derive(Debug)]
pub(super) struct Saver {
    over: watch::Sender<bool>,
    task: Task,
}

impl Saver {
    /// Begins or goes on to save.
    pub(super) fn spawn(runtime: Arc<dyn Runtime>, key: AttemptKey, sinks: Arc<dyn LogSinks>) -> Self {
        let (over, observed) = watch::channel(false);
        // Before anybody can hear of the attempt's end, so that whoever does finds that its log is coming.
        let saving = sinks.begin(key);
        let work = async move {
            follow(runtime, key, sinks, observed).await;
            drop(saving);
        };
        let task = Task::spawn(work, move |panic| {
            tracing::error!(attempt = %key, panic, "saving a log panicked; the rest of it may be missing");
        });
        Self { over, task }
    }

    /// The attempt is over: once the log ends, it is complete.
    pub(super) fn attempt_is_over(&self) {
        self.over.send_replace(true);
    }

    /// Waits until the log is complete, at most `limit`.
    pub(super) async fn drain(mut self, key: AttemptKey, limit: Duration) {
        self.attempt_is_over();
        if tokio::time::timeout(limit, self.task.done()).await.is_err() {
            tracing::warn!(attempt = %key, "the end of a log did not come in time and is given up");
        }
    }
}

async fn follow(
    runtime: Arc<dyn Runtime>,
    key: AttemptKey,
    sinks: Arc<dyn LogSinks>,
    mut over: watch::Receiver<bool>,
) {
    let mut failures: u32 = 0;
    loop {
        let began = Instant::now();
        // Read before the copy: what was over before has ended its log when the copy comes to the end.
        let was_over = *over.borrow_and_update();
        match copy(&*runtime, key, &*sinks).await {
            Ok(()) if was_over => return,
            Ok(()) => {}
            Err(error) => tracing::debug!(attempt = %key, error, "the log of an attempt was interrupted"),
        }
        failures = if began.elapsed() < limits::WATCH_PATIENCE { failures.saturating_add(1) } else { 0 };
        tokio::select! {
            biased;
            Ok(()) = over.changed() => {}
            () = tokio::time::sleep(Backoff::RETRY.pause(failures, key)) => {}
        }
    }
}

/// Copies to the end of the stream; an error says what interrupted it.
async fn copy(runtime: &dyn Runtime, key: AttemptKey, sinks: &dyn LogSinks) -> Result<(), String> {
    let Some(mut sink) = sinks.open(key).map_err(|error| error.to_string())? else {
        return Ok(());
    };
    let logs = runtime.logs(key, sink.last_nanos());
    let opened = within(runtime, "logs", limits::SUBSCRIBE_DEADLINE, logs).await;
    let mut lines = opened.map_err(|error| error.to_string())?;
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| error.to_string())?;
        sink.append(&line).map_err(|error| error.to_string())?;
    }
    sink.flush().map_err(|error| error.to_string())
}
