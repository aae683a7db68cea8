//! A runtime of one's own: attempts that are tasks of this process, where a real one starts something that
//! outlives us. The rules are in the documentation of [`Runtime`]; its conformance suite checks them.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dogwatch_actors::clock::{Clock as _, SystemClock};
use dogwatch_actors::job::spec::StopSignal;
use dogwatch_actors::prelude::*;
use dogwatch_actors::runtime::{self, Exit, Health, Observation, Plan, Running, Runtime, async_trait};
use serde_json::json;

/// Runs the program `nap <milliseconds> <exit code>`, and no other.
#[derive(Debug, Clone, Default)]
struct Naps(Arc<Mutex<Known>>);

/// What each attempt was created with, and what is known of it.
type Known = HashMap<AttemptKey, (Vec<String>, Observation)>;

impl Naps {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: AttemptKey) -> Option<(Vec<String>, Observation)> {
        self.known().get(&key).cloned()
    }

    fn set(&self, key: AttemptKey, args: Vec<String>, observation: Observation) {
        self.known().insert(key, (args, observation));
    }

    fn end(&self, key: AttemptKey, code: i32) {
        // Whoever ends it first has the last word: a nap that was stopped does not end a second time.
        let Some((args, Observation::Running(running))) = self.get(key) else { return };
        let exit = Exit { code: Some(code), ..Exit::of(&running, SystemClock.now()) };
        self.set(key, args, Observation::Exited(exit));
    }
}

#[async_trait]
impl Runtime for Naps {
    fn name(&self) -> &str {
        "naps"
    }

    async fn create(&self, plan: &Plan) -> runtime::Result<()> {
        if self.get(plan.key).is_none() {
            self.set(plan.key, plan.args.clone(), Observation::Created);
        }
        Ok(())
    }

    async fn start(&self, key: AttemptKey) -> runtime::Result<()> {
        // Started before, or never created: an attempt runs at most once.
        let Some((args, Observation::Created)) = self.get(key) else { return Ok(()) };
        let number = |index: usize| args.get(index).and_then(|text| text.parse().ok()).unwrap_or_default();
        let (length, code) = (Duration::from_millis(number(0)), number(1) as i32);
        let running = Running { runtime_id: key.to_string(), started_at: SystemClock.now(), address: None };
        self.set(key, args, Observation::Running(running));
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            this.end(key, code);
        });
        Ok(())
    }

    async fn observe(&self, key: AttemptKey) -> runtime::Result<Observation> {
        Ok(self.get(key).map_or(Observation::Absent, |(_, observation)| observation))
    }

    async fn wait(&self, key: AttemptKey, patience: Duration) {
        // Coming back early is allowed: whoever waits looks afterwards.
        if matches!(self.get(key), Some((_, Observation::Running(_)))) {
            tokio::time::sleep(patience.min(Duration::from_millis(10))).await;
        }
    }

    async fn stop(&self, key: AttemptKey, _: StopSignal, _: Duration) -> runtime::Result<()> {
        self.end(key, 143);
        Ok(())
    }

    async fn remove(&self, key: AttemptKey) -> runtime::Result<()> {
        self.known().remove(&key);
        Ok(())
    }

    async fn list(&self) -> runtime::Result<Vec<(AttemptKey, Observation)>> {
        Ok(self.known().iter().map(|(key, (_, observation))| (*key, observation.clone())).collect())
    }

    fn keeps_logs(&self) -> bool {
        true // There is no output to keep.
    }

    async fn health(&self) -> runtime::Result<Health> {
        Ok(Health { version: "naps 1".to_owned(), cpus: 1.0, memory_bytes: 1 << 30 })
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let home = Home::open(directory.path().join("jobs")).await?;
    let supervisor = home.builder().await?.runtime(Arc::new(Naps::default())).start().await?;
    let jobs = supervisor.handle();
    for code in [0, 3] {
        let spec = json!({"args": ["50", code.to_string()], "runtime": "naps", "restart_policy": "Never"});
        let spec = parse(&spec).map_err(|found| format!("{found:?}"))?;
        let job = jobs.submit(spec).await?.job;
        let job = jobs.wait(job.id, Duration::from_secs(10)).await?;
        println!("{}: {}", job.state.name(), job.message.unwrap_or_default());
    }
    supervisor.shutdown().await;
    Ok(())
}
