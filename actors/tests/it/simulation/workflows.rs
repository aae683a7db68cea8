//! Orchestrations through several lives of the server: random workflows over the real shell, executor, jobs and timers
//! in virtual time, with crashes at any moment, losses of power, suspensions, failures and terminations; then without,
//! until everything has come to its end; then each must have come to what it was written to come to.
//!
//! `DOGWATCH_PROVE_WORKFLOWS` sets how many seeds are run (default 40), `DOGWATCH_SIM_SEED` runs one alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dogwatch_actors::Supervisor;
use dogwatch_actors::examine;
use dogwatch_actors::handle::orchestrations::{Error, Orchestrations, Raise, Reads, StartOrder};
use dogwatch_actors::id::{Ids as _, InstallationId};
use dogwatch_actors::job::parse::parse;
use dogwatch_actors::orchestration::view::InstanceView;
use dogwatch_actors::orchestration::{
    ActivityContext, Failure, InstanceId, OrchestrationContext, Registry, Result, RetryPolicy, Status,
    join_all,
};
use dogwatch_actors::runtime::fake::{Behaviour, FakeRuntime};
use dogwatch_actors::secret::Keyring;
use dogwatch_actors::store::memory::{Fault, MemoryStore};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{json, to_value};

use super::lives::{every_seed, live};
use super::random::Random;
use super::steps::{Step, events, without_events, worth};
use super::time::{Time, WallClock};
use super::{Panics, one_seed};
use crate::random::setting;

/// How long everything may take to come to its end once the faults are over, in virtual time.
const QUIET_WITHIN: Duration = Duration::from_secs(3_600);

async fn workflow(ctx: OrchestrationContext, (steps, mut sum): (Vec<Step>, u64)) -> Result<u64> {
    for (index, step) in steps.iter().enumerate() {
        if matches!(step, Step::Anew) {
            return ctx.continue_as_new((&steps[index + 1..], sum));
        }
        sum += take(ctx.clone(), step.clone()).await?;
    }
    Ok(sum)
}

fn take(ctx: OrchestrationContext, step: Step) -> BoxFuture<'static, Result<u64>> {
    Box::pin(async move {
        match step {
            Step::Activity(number) => {
                let policy = RetryPolicy::new(1_000, Duration::from_millis(100)).coefficient(1.5);
                ctx.activity("work", (number, false)).timeout(Duration::from_secs(60)).retry(policy).await
            }
            Step::Fragile(number) => ctx.activity("work", (number, true)).await,
            Step::Timer(millis) => {
                ctx.timer(Duration::from_millis(millis)).await;
                Ok(0)
            }
            Step::Events(count) => {
                let mut sum = 0;
                for _ in 0..count {
                    sum += ctx.event::<u64>("number").await?;
                }
                Ok(sum)
            }
            Step::Child(steps) => ctx.child("workflow", (steps, 0)).await,
            Step::Job(lasts) => {
                let spec = json!({"runtime": "sim", "args": ["work"], "env": {"LASTS": lasts.to_string()}, "max_attempts": 3});
                let outcome = ctx
                    .job(parse(&spec).map_err(|faults| Failure::new("spec", format!("{faults:?}")))?)
                    .await?;
                outcome.success()?;
                Ok(1_000)
            }
            Step::Parallel(branches) => {
                let branch = |steps: Vec<Step>| {
                    let ctx = ctx.clone();
                    async move {
                        let mut sum = 0;
                        for step in steps {
                            sum += take(ctx.clone(), step).await?;
                        }
                        Ok::<u64, Failure>(sum)
                    }
                };
                let sums = join_all(branches.into_iter().map(branch)).await;
                sums.into_iter().sum()
            }
            Step::Anew => Ok(0),
        }
    })
}

/// Everything at once, for ever: for those that are terminated.
async fn endless(ctx: OrchestrationContext, depth: u64) -> Result<u64> {
    let mut children = Vec::new();
    if depth > 0 {
        children.push(ctx.child::<u64>("endless", depth - 1).start());
    }
    let spec = parse(&json!({"runtime": "sim", "args": ["work"], "env": {"LASTS": "999999999"}}));
    let job = ctx.job(spec.map_err(|faults| Failure::new("spec", format!("{faults:?}")))?).start();
    let _never: Vec<Result<u64>> = join_all((0..2).map(|_| ctx.activity("endless", ()))).await;
    drop((children, job));
    Ok(0)
}

/// One instance as its client knows it.
#[derive(Debug, Clone)]
struct Known {
    id: InstanceId,
    steps: Option<Vec<Step>>,
    started: bool,
    /// The events that were acknowledged.
    raised: u64,
    terminated: bool,
}

struct World {
    random: Random,
    time: Time,
    panics: Panics,
    engine: FakeRuntime,
    installation: InstallationId,
    known: Mutex<Vec<Known>>,
    stormy: AtomicBool,
    /// Activities that run, in this life and in those before.
    running: Mutex<BTreeMap<u64, u64>>,
    life: AtomicU64,
}

struct Running(Arc<World>, u64);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.running.lock().entry(self.1).or_default() -= 1;
    }
}

impl World {
    fn registry(self: &Arc<Self>) -> Registry {
        let life = self.life.fetch_add(1, Ordering::SeqCst) + 1;
        let (worker, looper) = (Arc::clone(self), Arc::clone(self));
        let work = move |_: ActivityContext, (number, fragile): (u64, bool)| {
            let world = Arc::clone(&worker);
            async move {
                tokio::time::sleep(world.random.up_to(Duration::from_millis(3_000))).await;
                let stormy = world.stormy.load(Ordering::SeqCst);
                match world.random.below(if fragile { 4 } else { 12 }) {
                    0 if stormy && fragile => Err(Failure::new("fragile", "broken").non_retriable()),
                    0 | 1 if stormy && !fragile => Err(Failure::new("busy", "not now")),
                    2 if stormy && !fragile => {
                        std::panic::resume_unwind(Box::new("a panic that the simulation ordered"))
                    }
                    3 if stormy && !fragile => std::future::pending().await,
                    _ => Ok(number),
                }
            }
        };
        let endless_work = move |ctx: ActivityContext, (): ()| {
            *looper.running.lock().entry(life).or_default() += 1;
            let running = Running(Arc::clone(&looper), life);
            async move {
                ctx.cancelled().await;
                tokio::time::sleep(Duration::from_millis(700)).await;
                drop(running);
                Ok::<u64, Failure>(0)
            }
        };
        Registry::new()
            .orchestration("workflow", workflow)
            .orchestration("endless", endless)
            .activity("work", work)
            .activity("endless", endless_work)
    }

    async fn start(self: &Arc<Self>, memory: &Arc<MemoryStore>) -> Supervisor {
        Supervisor::builder()
            .store(Arc::clone(memory) as Arc<dyn dogwatch_actors::store::Store>)
            .runtime(Arc::new(self.engine.clone()))
            .clock(Arc::new(WallClock { time: self.time.clone(), panics: self.panics.clone() }))
            .ids(Arc::new(self.random.clone()))
            .keyring(Keyring::new([7; 32]))
            .installation(self.installation)
            .logs_dir("/nonexistent/dogwatch-simulation")
            .orchestrations(self.registry())
            .threads(0)
            .start()
            .await
            .expect("the server starts")
    }

    /// A client that does something to some instance, whatever comes of it.
    async fn meddle(&self, client: &Orchestrations) {
        let count = self.known.lock().len() as u64;
        let index = self.random.below(count) as usize;
        let known = self.known.lock()[index].clone();
        if !known.started {
            let _heard = self.begin(client, index).await;
            return;
        }
        match (self.random.below(8), &known.steps) {
            (0, Some(_)) => drop(client.suspend(known.id, None).await),
            (1 | 2, Some(_)) => drop(client.resume(known.id, None).await),
            (3, Some(_)) => drop(client.rewind(known.id, None).await),
            (4..=6, Some(steps)) => self.raise(client, index, &known, steps).await,
            (7, None) => {
                let told = client.terminate(known.id, Some("enough".to_owned()), true).await;
                self.known.lock()[index].terminated |= told.is_ok();
            }
            _ => drop(client.explain(known.id)),
        }
    }

    async fn begin(&self, client: &Orchestrations, index: usize) -> bool {
        let known = self.known.lock()[index].clone();
        let order = match &known.steps {
            Some(steps) => StartOrder::new("workflow", to_value((steps, 0)).unwrap()),
            None => StartOrder::new("endless", 2),
        };
        let started = match client.start(order.id(known.id)).await {
            // An answer that was lost is given by the refusal of the second request.
            Ok(_) | Err(Error::Exists { .. }) => true,
            Err(_) => false,
        };
        self.known.lock()[index].started |= started;
        started
    }

    /// The next event, with a key of its own: it may be sent again until it is heard.
    async fn raise(&self, client: &Orchestrations, index: usize, known: &Known, steps: &[Step]) {
        if known.raised < events(steps) {
            let number = known.raised + 1;
            let raise = Raise { id: Some(format!("event-{number}")), ..Raise::new("number", number) };
            if client.raise(known.id, raise).await.is_ok() {
                let known = &mut self.known.lock()[index];
                known.raised = known.raised.max(number);
            }
        }
    }
}

fn run(seed: u64) -> std::result::Result<(u64, u64), String> {
    let random = Random::new(seed ^ 0x6f72_6368);
    let time = Time::default();
    let engine = FakeRuntime::with_time("sim", Arc::new(time.clone()), Arc::new(time.clone()));
    engine.behave_by(|plan| {
        let lasts = plan
            .env
            .iter()
            .find(|(name, _)| name.as_str() == "LASTS")
            .and_then(|(_, value)| value.expose().parse().ok());
        Some(Behaviour::exits(0, Duration::from_millis(lasts.unwrap_or(0))))
    });
    let known = (0..3 + random.below(5)).map(|index| Known {
        id: format!("instance-{index}").parse().expect("an id"),
        steps: (!random.chance(2_500)).then(|| without_events(Step::several(&random, 2), false)),
        started: false,
        raised: 0,
        terminated: false,
    });
    let world = Arc::new(World {
        panics: Panics::new(random.clone()),
        known: Mutex::new(known.collect()),
        installation: random.installation_id(),
        stormy: AtomicBool::new(true),
        running: Mutex::default(),
        life: AtomicU64::new(0),
        random,
        time,
        engine,
    });
    let crashes = world.random.below(5);
    let mut memory = MemoryStore::new();
    for _ in 0..crashes {
        memory = live(&world.time, &world.panics, memory, |memory| badly(Arc::clone(&world), memory));
        world.time.pass(world.random.up_to(Duration::from_secs(60)));
    }
    let mut broken = Ok(0);
    live(&world.time, &world.panics, memory, |memory| {
        let (world, broken) = (Arc::clone(&world), &mut broken);
        async move { *broken = well(world, memory).await }
    });
    broken.map(|instances| (instances, crashes))
}

/// Until it is killed at some moment, or its power is lost at some commit.
async fn badly(world: Arc<World>, memory: Arc<MemoryStore>) {
    let supervisor = world.start(&memory).await;
    let client = supervisor.handle().orchestrations();
    world.panics.allow(world.random.pick(&[0, 0, 20]));
    if world.random.chance(5_000) {
        memory.inject(1 + world.random.below(80), world.random.pick(&[Fault::Freeze, Fault::KeepThenFreeze]));
    }
    let until = tokio::time::Instant::now() + world.random.up_to(Duration::from_secs(40));
    let pause = Duration::from_millis(world.random.pick(&[5, 300, 3_000]));
    while tokio::time::Instant::now() < until {
        // A server without power answers nobody.
        let (meddler, client) = (Arc::clone(&world), client.clone());
        let meddling = actix::spawn(async move { meddler.meddle(&client).await });
        let _heard = tokio::time::timeout_at(until, meddling).await;
        tokio::time::sleep(world.random.up_to(pause)).await;
    }
    if world.random.chance(2_000) {
        let _stopped = tokio::time::timeout(Duration::from_secs(60), supervisor.shutdown()).await;
    }
}

/// Without faults: everything must come to its end, and to the right one.
async fn well(world: Arc<World>, memory: Arc<MemoryStore>) -> std::result::Result<u64, String> {
    world.panics.forbid();
    world.stormy.store(false, Ordering::SeqCst);
    let supervisor = world.start(&memory).await;
    let client = supervisor.handle().orchestrations();
    let count = world.known.lock().len();
    for index in 0..count {
        while !world.begin(&client, index).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let over = async {
        for index in 0..count {
            while !is_over(&world, &client, index).await {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    };
    if tokio::time::timeout(QUIET_WITHIN, over).await.is_err() {
        let explained = |known: &Known| format!("{known:?}: {:?}", client.explain(known.id));
        let stuck: Vec<String> = world.known.lock().iter().map(explained).collect();
        return Err(format!("some never ended: {}", stuck.join("\n")));
    }
    for known in world.known.lock().iter() {
        let view = client.get(known.id, Reads::ALL).map_err(|error| error.to_string())?;
        check(known, &view)?;
    }
    let running = world.running.lock().get(&world.life.load(Ordering::SeqCst)).copied().unwrap_or(0);
    if running > 0 {
        return Err(format!("{running} activities of terminated instances still run"));
    }
    let report = examine::online(memory.as_ref());
    if !report.ok {
        return Err(format!("the store does not fit together: {:?}", report.faults));
    }
    Ok(count as u64)
}

async fn is_over(world: &World, client: &Orchestrations, index: usize) -> bool {
    let known = world.known.lock()[index].clone();
    let view = client.get(known.id, Reads::default()).expect("what was started is there");
    match (&known.steps, view.status) {
        (None, status) if !status.is_terminal() => drop(client.terminate(known.id, None, true).await),
        (Some(_), Status::Suspended) => drop(client.resume(known.id, None).await),
        (Some(_), Status::Failed) => drop(client.rewind(known.id, None).await),
        (Some(steps), Status::Running | Status::Pending) => world.raise(client, index, &known, steps).await,
        _ => return true,
    }
    false
}

fn check(known: &Known, view: &InstanceView) -> std::result::Result<(), String> {
    match &known.steps {
        None if view.status == Status::Terminated => Ok(()),
        Some(steps) => {
            let all = events(steps);
            let expected = worth(steps) + all * (all + 1) / 2;
            if view.status == Status::Completed && view.output == Some(json!(expected)) {
                return Ok(());
            }
            Err(format!("should have come to {expected}: {known:?} {view:?}"))
        }
        None => Err(format!("was to be terminated: {view:?}")),
    }
}

#[test]
fn every_workflow_comes_to_its_end_whatever_the_seed() {
    let count = setting("DOGWATCH_PROVE_WORKFLOWS", 40);
    let seeds = one_seed().map_or(0..count, |seed| seed..seed + 1);
    let done = every_seed(seeds, run);
    let (instances, crashes) = done.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("{count} seeds: {instances} workflows, {crashes} crashes, each came to its end");
}
