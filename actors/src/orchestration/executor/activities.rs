//! Runs activities: at most so many at a time, each once at a time, each with its timeout and its heartbeat.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::super::activity::ActivityContext;
use super::super::failure::{Failure, kinds};
use super::super::history::{ActivityCall, Outcome, TaskResult};
use super::super::id::{InstanceId, TaskId};
use super::super::registry::{ActivityCode, Registry};
use crate::limits::{ACTIVITIES_RUNNING_MAX, ACTIVITY_STOP_GRACE};
use crate::supervise::panic_text;
use crate::units::Span;

/// One activity of one execution.
pub(super) type Key = (InstanceId, u32, TaskId);

enum Standing {
    Queued,
    /// It runs, and is told here to stop.
    Running(watch::Sender<bool>),
    /// Its result is on the way to the history.
    Ended,
}

/// The activities of all instances that are known here.
#[derive(Default)]
pub(super) struct Activities {
    book: Mutex<Book>,
    /// Told when the queue is empty again.
    room: Notify,
}

#[derive(Default)]
struct Book {
    known: HashMap<Key, Standing>,
    queue: VecDeque<(Key, ActivityCall)>,
    running: usize,
}

/// An activity that is to be run now.
pub(super) struct Run {
    pub(super) key: Key,
    call: ActivityCall,
    cancelled: watch::Receiver<bool>,
}

impl Activities {
    /// Queues those that are not known; gives those that may run at once.
    pub(super) fn add(&self, id: InstanceId, execution: u32, calls: Vec<ActivityCall>) -> Vec<Run> {
        let mut book = self.book.lock();
        for call in calls {
            let key = (id, execution, call.task);
            if let std::collections::hash_map::Entry::Vacant(entry) = book.known.entry(key) {
                entry.insert(Standing::Queued);
                book.queue.push_back((key, call));
            }
        }
        book.due()
    }

    /// Whether an activity is known here: it waits, runs, or has a result on the way.
    pub(super) fn knows(&self, key: &Key) -> bool {
        self.book.lock().known.contains_key(key)
    }

    /// An activity is over: gives those that may run instead.
    pub(super) fn ended(&self, key: Key) -> Vec<Run> {
        let mut book = self.book.lock();
        book.running -= 1;
        book.known.insert(key, Standing::Ended);
        let due = book.due();
        if book.queue.is_empty() {
            self.room.notify_waiters();
        }
        due
    }

    /// The results of these are in the history, or of no interest.
    pub(super) fn settle(&self, keys: impl IntoIterator<Item = Key>) {
        let mut book = self.book.lock();
        for key in keys {
            if matches!(book.known.get(&key), Some(Standing::Ended)) {
                book.known.remove(&key);
            }
        }
    }

    /// Tells an activity to stop; whether it does not run and so has stopped.
    pub(super) fn cancel(&self, key: Key) -> bool {
        let mut book = self.book.lock();
        match book.known.get(&key) {
            Some(Standing::Running(stop)) => {
                stop.send_replace(true);
                false
            }
            Some(Standing::Ended) => false,
            Some(Standing::Queued) | None => {
                book.known.insert(key, Standing::Ended);
                true
            }
        }
    }

    /// Resolves when nothing is queued.
    pub(super) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            if self.book.lock().queue.is_empty() {
                return;
            }
            notified.await;
        }
    }
}

impl Book {
    fn due(&mut self) -> Vec<Run> {
        let mut due = Vec::new();
        while self.running < ACTIVITIES_RUNNING_MAX {
            let Some((key, call)) = self.queue.pop_front() else { break };
            // Cancelled while it waited.
            let Some(standing @ Standing::Queued) = self.known.get_mut(&key) else { continue };
            let (stop, cancelled) = watch::channel(false);
            *standing = Standing::Running(stop);
            self.running += 1;
            due.push(Run { key, call, cancelled });
        }
        due
    }
}

/// Runs an activity to its end.
pub(super) async fn run(run: Run, registry: &Registry) -> TaskResult {
    let Run { key: (id, _, task), call, mut cancelled } = run;
    let Some(code) = registry.find_activity(&call.name) else {
        let message = format!("no activity called `{}` is registered any more", call.name);
        return TaskResult { task, outcome: Failure::new(kinds::UNKNOWN, message).non_retriable().into() };
    };
    let beats = Arc::new(Notify::new());
    let ctx = ActivityContext::new(id, task, call.name.clone(), cancelled.clone(), Arc::clone(&beats));
    let (timeout, heartbeat) = (call.timeout, call.heartbeat);
    let stopped = async {
        if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(ACTIVITY_STOP_GRACE).await;
    };
    let outcome = tokio::select! {
        biased;
        outcome = work(Arc::clone(code), ctx, call) => outcome,
        limit = passed(timeout) => {
            Failure::new(kinds::TIMEOUT, format!("the activity took longer than {limit}")).into()
        }
        every = silent(heartbeat, &beats) => {
            Failure::new(kinds::HEARTBEAT, format!("the activity sent no heartbeat for {every}")).into()
        }
        () = stopped => Failure::new(kinds::CANCELLED, "the activity was cancelled").non_retriable().into(),
    };
    TaskResult { task, outcome }
}

async fn work(code: ActivityCode, ctx: ActivityContext, call: ActivityCall) -> Outcome {
    let work = AssertUnwindSafe(async move { code(ctx, call.input).await }).catch_unwind();
    match work.await {
        Ok(Ok(output)) => Outcome::Completed(output),
        Ok(Err(failure)) => Outcome::Failed(failure),
        Err(panic) => Failure::new(kinds::PANIC, panic_text(&*panic)).into(),
    }
}

async fn passed(limit: Option<Span>) -> Span {
    let Some(limit) = limit else { return std::future::pending().await };
    tokio::time::sleep(limit.as_duration()).await;
    limit
}

async fn silent(every: Option<Span>, beats: &Notify) -> Span {
    let Some(every) = every else { return std::future::pending().await };
    let patience = every.as_duration().max(Duration::from_millis(1));
    while tokio::time::timeout(patience, beats.notified()).await.is_ok() {}
    every
}
