//! Attempts that cost nothing: entries of a map. What is left to measure is dogwatch itself.
//!
//! The first argument of a job says how long its attempts live, in milliseconds; without one they run until they
//! are stopped.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::clock::{Clock as _, SystemClock};
use dogwatch_actors::id::AttemptKey;
use dogwatch_actors::job::spec::StopSignal;
use dogwatch_actors::runtime::{self, Exit, Health, Observation, Plan, Running, Runtime, async_trait};
use parking_lot::Mutex;
use tokio::sync::watch;

/// The name that specs use.
pub(crate) const NAME: &str = "ghost";

struct Ghost {
    life: Option<Duration>,
    state: watch::Sender<Observation>,
}

/// The runtime of such attempts.
#[derive(Clone, Default)]
pub(crate) struct Ghosts(Arc<Mutex<HashMap<AttemptKey, Ghost>>>);

impl fmt::Debug for Ghosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ghosts").finish_non_exhaustive()
    }
}

impl Ghosts {
    fn end(&self, key: AttemptKey, code: i32) {
        if let Some(ghost) = self.0.lock().get(&key) {
            ghost.state.send_if_modified(|state| {
                let Observation::Running(running) = state else { return false };
                let exit = Exit { code: Some(code), ..Exit::of(running, SystemClock.now()) };
                *state = Observation::Exited(exit);
                true
            });
        }
    }
}

#[async_trait]
impl Runtime for Ghosts {
    fn name(&self) -> &str {
        NAME
    }

    async fn create(&self, plan: &Plan) -> runtime::Result<()> {
        let life = plan.args.first().and_then(|text| text.parse().ok()).map(Duration::from_millis);
        let ghost = || Ghost { life, state: watch::Sender::new(Observation::Created) };
        self.0.lock().entry(plan.key).or_insert_with(ghost);
        Ok(())
    }

    async fn start(&self, key: AttemptKey) -> runtime::Result<()> {
        let running = Running { runtime_id: key.to_string(), started_at: SystemClock.now(), address: None };
        let life = self.0.lock().get(&key).and_then(|ghost| {
            let started = ghost.state.send_if_modified(|state| {
                let is_new = *state == Observation::Created;
                if is_new {
                    *state = Observation::Running(running);
                }
                is_new
            });
            ghost.life.filter(|_| started)
        });
        match life {
            None => {}
            Some(Duration::ZERO) => self.end(key, 0),
            Some(life) => {
                let this = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(life).await;
                    this.end(key, 0);
                });
            }
        }
        Ok(())
    }

    async fn observe(&self, key: AttemptKey) -> runtime::Result<Observation> {
        Ok(self.0.lock().get(&key).map_or(Observation::Absent, |ghost| ghost.state.borrow().clone()))
    }

    async fn wait(&self, key: AttemptKey, patience: Duration) {
        let Some(mut state) = self.0.lock().get(&key).map(|ghost| ghost.state.subscribe()) else { return };
        let ended = state.wait_for(|state| matches!(state, Observation::Exited(_)));
        // Whoever waits looks afterwards.
        drop(tokio::time::timeout(patience, ended).await);
    }

    async fn stop(&self, key: AttemptKey, _: StopSignal, _: Duration) -> runtime::Result<()> {
        self.end(key, 143);
        Ok(())
    }

    async fn remove(&self, key: AttemptKey) -> runtime::Result<()> {
        self.0.lock().remove(&key);
        Ok(())
    }

    async fn list(&self) -> runtime::Result<Vec<(AttemptKey, Observation)>> {
        Ok(self.0.lock().iter().map(|(key, ghost)| (*key, ghost.state.borrow().clone())).collect())
    }

    fn keeps_logs(&self) -> bool {
        true // There is no output to keep.
    }

    async fn health(&self) -> runtime::Result<Health> {
        Ok(Health { version: "ghosts".to_owned(), cpus: 1.0, memory_bytes: 1 << 30 })
    }
}
