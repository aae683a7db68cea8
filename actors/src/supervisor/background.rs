//! What runs besides actors, and on which threads; ends with the supervisor.
//!
//! Not responsible for: what the work is.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use actix::{Arbiter, ArbiterHandle};
use futures_util::FutureExt as _;
use futures_util::future::{AbortHandle, Abortable};

use crate::supervise::{Alarm, Intensity, Restarts, panic_text};

/// The threads on which actors live.
pub(crate) type Threads = Vec<ArbiterHandle>;

/// The threads of a supervisor and the work they do besides hosting actors. Both end when it is dropped.
#[derive(Debug)]
pub(crate) struct Background {
    tasks: Tasks,
    arbiters: Vec<Arbiter>,
}

impl Background {
    pub(super) fn new(tasks: Tasks, arbiters: Vec<Arbiter>) -> Self {
        Self { tasks, arbiters }
    }

    /// Whether it has threads of its own.
    pub(super) fn has_threads(&self) -> bool {
        !self.arbiters.is_empty()
    }

    /// Ends it and waits for the threads.
    pub(super) async fn end(mut self) {
        self.tasks.abort();
        for arbiter in std::mem::take(&mut self.arbiters) {
            arbiter.stop();
            // A panic of the thread itself was reported by whoever panicked.
            drop(tokio::task::spawn_blocking(move || arbiter.join()).await);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.tasks.abort();
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

/// The background work.
#[derive(Debug)]
pub(super) struct Tasks {
    home: ArbiterHandle,
    alarm: Alarm,
    aborts: Vec<AbortHandle>,
}

impl Tasks {
    /// None yet; all of it will run on `home`. The alarm is raised when some of it cannot go on.
    pub(super) fn new(home: ArbiterHandle, alarm: Alarm) -> Self {
        Self { home, alarm, aborts: vec![] }
    }

    /// Runs `work` to its end, if it has one. After a panic it is begun anew, but not for ever: everything needs it.
    pub(super) fn run<F>(&mut self, name: &'static str, work: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let alarm = self.alarm.clone();
        let work = async move {
            let mut restarts = Restarts::new(Intensity::default());
            while let Err(panic) = AssertUnwindSafe(work()).catch_unwind().await {
                let cause = panic_text(panic.as_ref());
                let Some((count, pause)) = restarts.another() else { return alarm.raise(name, cause) };
                tracing::error!(name, count, cause, "background work panicked and is begun anew");
                tokio::time::sleep(pause).await;
            }
        };
        let (abort, registration) = AbortHandle::new_pair();
        self.aborts.push(abort);
        let work = Abortable::new(work, registration).map(drop);
        assert!(self.home.spawn(work), "the arbiter outlives the start");
    }

    fn abort(&self) {
        for abort in &self.aborts {
            abort.abort();
        }
    }
}
