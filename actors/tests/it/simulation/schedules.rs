//! Schedules through several lives of the server, in virtual time: across a change of the clock and three days down,
//! with crashes at any commit of what is made up for; with a wall clock that is set; with orchestrations. No time fires
//! twice, and none is missed that was to be made up for.
//!
//! `DOGWATCH_PROVE_SCHEDULES` sets how many moments of a crash are tried for each policy (default 1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::Supervisor;
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::examine;
use dogwatch_actors::handle::orchestrations::Reads;
use dogwatch_actors::handle::schedules::Schedules;
use dogwatch_actors::id::{AttemptKey, JobId};
use dogwatch_actors::orchestration::{OrchestrationContext, Registry, Result as Outcome};
use dogwatch_actors::runtime::fake::{Behaviour, FakeRuntime};
use dogwatch_actors::schedule::{FireState, Spec};
use dogwatch_actors::store::memory::{Fault, MemoryStore};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::faults::Panics;
use super::lives::{every_seed, live};
use super::random::Random;
use super::time::{Time, WallClock};
use crate::random::setting;

/// What became of times that were missed: how many are made up for, and from how long ago.
const POLICIES: [(u32, Option<&str>); 5] =
    [(0, None), (1, None), (3, None), (100, None), (100, Some("150m"))];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

struct World {
    time: Time,
    random: Random,
    panics: Panics,
    engine: FakeRuntime,
    /// Which job an attempt found itself to be: of which schedule, for which time.
    fired: Arc<Mutex<BTreeMap<JobId, (String, String)>>>,
}

impl World {
    fn new(seed: u64, takes: Duration) -> Self {
        let (random, time) = (Random::new(seed ^ 0x7363_6865), Time::default());
        let engine = FakeRuntime::with_time("sim", Arc::new(time.clone()), Arc::new(time.clone()));
        let fired: Arc<Mutex<BTreeMap<JobId, (String, String)>>> = Arc::default();
        let seen = Arc::clone(&fired);
        engine.behave_by(move |plan| {
            let of =
                |name: &str| plan.env.get(name).map(|value| value.expose().to_owned()).unwrap_or_default();
            seen.lock().insert(plan.key.job, (of("DOGWATCH_SCHEDULE"), of("DOGWATCH_SCHEDULED_AT")));
            Some(Behaviour::exits(0, takes))
        });
        Self { panics: Panics::new(random.clone()), time, random, engine, fired }
    }

    async fn start(&self, memory: &Arc<MemoryStore>, registry: Registry) -> Supervisor {
        let store: Arc<MemoryStore> = Arc::clone(memory);
        let starting = Supervisor::builder()
            .store(store)
            .runtime(Arc::new(self.engine.clone()))
            .clock(Arc::new(WallClock { time: self.time.clone(), panics: self.panics.clone() }))
            .ids(Arc::new(self.random.clone()))
            .orchestrations(registry)
            .logs_dir("/nonexistent/dogwatch-simulation")
            .threads(0)
            .start();
        starting.await.expect("the server starts")
    }

    /// The times for which a schedule fired; each once.
    fn times(&self, schedule: &str) -> Result<BTreeSet<String>, String> {
        let mut times = BTreeSet::new();
        for (job, (of, at)) in self.fired.lock().iter() {
            let runs = self.engine.counts(AttemptKey::new(*job, 1)).starts.1;
            if runs != 1 {
                return Err(format!("{job} of {of} for {at} ran {runs} times"));
            }
            if of == schedule && !times.insert(at.clone()) {
                return Err(format!("{of} fired twice for {at}"));
            }
        }
        Ok(times)
    }
}

fn spec(more: Value) -> Spec {
    let job = json!({"runtime": "sim", "args": ["x"], "ttl_after_finished": "3650d"});
    let mut spec = json!({"cron": "0 * * * *", "overlap": "allow", "job": job});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

async fn declare(schedules: &Schedules, name: &str, more: Value) {
    schedules.declare(name, spec(more)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// The hours from the first to the last one.
fn hours(first: &str, last: &str) -> Vec<String> {
    let step = Duration::from_secs(3_600);
    let all = std::iter::successors(Some(at(first)), |at| Some(at.after(step)));
    all.take_while(|hour| *hour <= at(last)).map(|hour| hour.to_string()).collect()
}

/// Those that came in time, and of the missed ones those that are made up for.
fn expected(in_time: Vec<String>, missed: Vec<String>, seed: u64) -> BTreeSet<String> {
    let (max, within) = POLICIES[(seed % 5) as usize];
    // A quarter to one is two and a half hours before three o'clock and a quarter.
    let in_reach = |time: &&String| within.is_none() || at(time) > at("2027-03-31T00:45:00Z");
    let latest = missed.iter().rev().filter(in_reach).take(max as usize).cloned();
    in_time.into_iter().chain(latest).collect()
}

/// Berlin's clocks go from two to three o'clock on 2027-03-28, which is one o'clock in UTC.
fn run(seed: u64) -> Result<usize, String> {
    let world = World::new(seed, Duration::from_secs(2));
    let (max, within) = POLICIES[(seed % 5) as usize];
    let catch_up = json!({"max": max, "within": within});
    let start = at("2027-03-27T12:10:00Z");
    world.time.pass(start.since(world.time.wall()));
    let memory = live(&world.time, &world.panics, MemoryStore::new(), async |memory| {
        let schedules = world.start(&memory, Registry::new()).await.handle().schedules();
        let zone = "Europe/Berlin";
        declare(&schedules, "hourly", json!({"time_zone": zone, "catch_up": catch_up})).await;
        declare(
            &schedules,
            "nightly",
            json!({"cron": "30 2 * * *", "time_zone": zone, "catch_up": catch_up}),
        )
        .await;
        tokio::time::sleep(Duration::from_secs(15 * 3_600)).await;
    });
    world.time.pass(Duration::from_secs(72 * 3_600));
    // It dies while it makes up for what was missed.
    let fault = if (seed / 5).is_multiple_of(2) { Fault::Freeze } else { Fault::KeepThenFreeze };
    let nth = 1 + seed / 10 * 9 + world.random.below(9);
    let memory = live(&world.time, &world.panics, memory, async |memory| {
        memory.inject(nth, fault);
        let _running = world.start(&memory, Registry::new()).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    });
    let checked = Mutex::new(Ok(0));
    live(&world.time, &world.panics, memory, async |memory| {
        let handle = world.start(&memory, Registry::new()).await.handle();
        tokio::time::sleep(Duration::from_secs(120)).await;
        *checked.lock() = check(&world, &handle.schedules(), seed);
        let report = examine::online(memory.as_ref());
        if !report.faults.is_empty() {
            *checked.lock() = Err(format!("the store: {:?}", report.faults));
        }
    });
    checked.into_inner().map_err(|what| format!("{what} (commit {nth})"))
}

fn check(world: &World, schedules: &Schedules, seed: u64) -> Result<usize, String> {
    let nights = |times: &[&str]| times.iter().map(|time| at(time).to_string()).collect::<Vec<_>>();
    let all = [
        (
            "hourly",
            hours("2027-03-27T13:00:00Z", "2027-03-28T03:00:00Z"),
            hours("2027-03-28T04:00:00Z", "2027-03-31T03:00:00Z"),
        ),
        (
            "nightly",
            nights(&["2027-03-28T01:00:00Z"]),
            nights(&["2027-03-29T00:30:00Z", "2027-03-30T00:30:00Z", "2027-03-31T00:30:00Z"]),
        ),
    ];
    let mut count = 0;
    for (name, in_time, missed) in all {
        let possible = (in_time.len() + missed.len()) as u64;
        let (expected, found) = (expected(in_time, missed, seed), world.times(name)?);
        if found != expected {
            return Err(format!("{name} fired for {found:?}\n  and not for {expected:?}"));
        }
        let view = schedules.get(name).map_err(|error| error.to_string())?;
        let told = (view.started, view.started + view.missed, view.skipped, view.running);
        if told != (found.len() as u64, possible, 0, 0) {
            return Err(format!("{name} says {told:?}: {view:?}"));
        }
        count += found.len();
    }
    Ok(count)
}

#[test]
fn over_a_change_of_the_clock_and_three_days_down_every_time_is_accounted_for_once() {
    let rounds = setting("DOGWATCH_PROVE_SCHEDULES", 1);
    let fired = every_seed(0..rounds * 10, run);
    println!("{} worlds: {} fires, none twice, none lost", fired.len(), fired.iter().sum::<usize>());
}

#[test]
fn whatever_the_clock_is_set_to_no_time_fires_twice() {
    every_seed(0..4, |seed| {
        let world = World::new(seed, Duration::from_secs(1));
        let found = Mutex::new(BTreeSet::new());
        live(&world.time, &world.panics, MemoryStore::new(), async |memory| {
            let schedules = world.start(&memory, Registry::new()).await.handle().schedules();
            declare(&schedules, "often", json!({"cron": "* * * * *"})).await;
            for _ in 0..30 {
                tokio::time::sleep(world.random.up_to(Duration::from_secs(400))).await;
                world.time.set_wrong_by(world.random.pick(&[0, 600_000, -600_000, 3_600_000, -3_600_000]));
            }
            world.time.set_wrong_by(3_600_000);
            tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
            let last = world.time.wall();
            let view = schedules.get("often").unwrap();
            assert!(last.since(view.fires[0].scheduled_at) < Duration::from_secs(62), "it goes on: {view:?}");
            *found.lock() = world.times("often").unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        });
        let found = found.into_inner().len();
        if found > 120 { Ok(found) } else { Err(format!("only {found} fires")) }
    });
}

/// Takes as long as it is told, and gives what it was told.
async fn report(ctx: OrchestrationContext, input: Value) -> Outcome<Value> {
    let secs = input["input"]["secs"].as_u64().unwrap_or(1);
    ctx.timer(Duration::from_secs(secs)).await;
    Ok(input)
}

#[test]
fn an_orchestration_is_started_with_its_time_and_its_end_comes_back() {
    let world = World::new(1, Duration::from_secs(1));
    let registry = || Registry::new().orchestration("report", report);
    let of = |secs: u64| {
        json!({"cron": "* * * * *", "job": null, "overlap": "replace", "orchestration": {
            "name": "report", "envelope": true, "input": {"secs": secs}, "tags": {"team": "data"},
        }})
    };
    let memory = live(&world.time, &world.panics, MemoryStore::new(), async |memory| {
        let handle = world.start(&memory, registry()).await.handle();
        let schedules = handle.schedules();
        let mut unknown = spec(of(1));
        unknown.orchestration.as_mut().unwrap().name = "reprot".to_owned();
        let refused = schedules.declare("reports", unknown).await.unwrap_err().to_string();
        assert!(refused.contains("reprot"), "{refused}");
        declare(&schedules, "reports", of(10)).await;
        declare(&schedules, "slow", of(90)).await;
        tokio::time::sleep(Duration::from_secs(70)).await;
        let fire = schedules.get("reports").unwrap().fires[0].clone();
        assert_eq!(fire.state, FireState::Running);
    });
    live(&world.time, &world.panics, memory, async |memory| {
        let handle = world.start(&memory, registry()).await.handle();
        let schedules = handle.schedules();
        tokio::time::sleep(Duration::from_secs(125)).await;
        let ended = schedules.get("reports").unwrap();
        let fires: Vec<FireState> = ended.fires.iter().map(|fire| fire.state).collect();
        assert_eq!(fires, [FireState::Succeeded; 3], "{ended:?}");
        let instance = handle.orchestrations().get(ended.fires[0].instance.unwrap(), Reads::ALL).unwrap();
        let scheduled_at = ended.fires[0].scheduled_at.to_string();
        assert_eq!(
            instance.output.unwrap(),
            json!({
                "schedule": "reports", "scheduled_at": scheduled_at, "past_due": false, "input": {"secs": 10},
            })
        );
        assert_eq!(instance.tags["dogwatch.scheduled_at"], scheduled_at);
        // The next one comes before it is over: it gives way.
        let replaced = schedules.get("slow").unwrap();
        let fires: Vec<FireState> = replaced.fires.iter().map(|fire| fire.state).collect();
        assert_eq!(fires, [FireState::Running, FireState::Cancelled, FireState::Cancelled], "{replaced:?}");
    });
}
