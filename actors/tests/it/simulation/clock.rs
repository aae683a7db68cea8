//! The wall clock is set, by hours and by years, while jobs wait for their time: each starts once, never before the
//! clock shows its time, and soon after it does. Time zones and daylight saving do not come in: everything is in UTC.
//! A suspended machine is one whose wall clock has jumped when it wakes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::Supervisor;
use dogwatch_actors::clock::{Clock as _, Timestamp};
use dogwatch_actors::id::{AttemptKey, JobId};
use dogwatch_actors::job::parse::parse;
use dogwatch_actors::runtime::fake::FakeRuntime;
use dogwatch_actors::store::memory::MemoryStore;
use serde_json::json;

use super::faults::Panics;
use super::random::Random;
use super::time::{Time, WallClock};
use crate::random::setting;

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;
const JOBS: u64 = 40;

/// How often it is looked which times have come.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A set clock is noticed within a second.
const LATE_MAX_MILLIS: i64 = 1_200;

/// Runs one seed; the latest start in milliseconds.
fn run(seed: u64) -> i64 {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().expect("a runtime of one thread")
    };
    actix::System::with_tokio_rt(runtime).block_on(async {
        let (random, time) = (Random::new(seed), Time::default());
        time.begin();
        let clock = WallClock { time: time.clone(), panics: Panics::new(random.clone()) };
        let engine = FakeRuntime::with_time("sim", Arc::new(time.clone()), Arc::new(time.clone()));
        let supervisor = Supervisor::builder()
            .store(Arc::new(MemoryStore::new()))
            .runtime(Arc::new(engine.clone()))
            .clock(Arc::new(clock.clone()))
            .ids(Arc::new(random.clone()))
            .logs_dir(tempfile::tempdir().unwrap().path())
            .threads(0)
            .start()
            .await
            .unwrap();
        let handle = supervisor.handle();
        let mut due: BTreeMap<JobId, Timestamp> = BTreeMap::new();
        for _ in 0..JOBS {
            let at = clock.now().after(random.up_to(Duration::from_secs(3 * 3_600)));
            let spec = json!({"runtime": "sim", "args": ["x"], "start_at": at.to_string(), "ttl_after_finished": "3650d"});
            due.insert(handle.submit(parse(&spec).unwrap()).await.unwrap().job.id, at);
        }
        let (mut came, mut started) = (BTreeMap::new(), BTreeMap::new());
        let mut wrong_by = 0;
        let mut latest = 0;
        while started.len() < due.len() {
            for (id, at) in &due {
                if clock.now() >= *at {
                    came.entry(*id).or_insert_with(|| time.millis());
                }
                let runs = engine.counts(AttemptKey::new(*id, 1)).starts.1;
                assert!(runs <= 1, "seed {seed}: started twice");
                if runs == 1 && !started.contains_key(id) {
                    let came =
                        came.get(id).unwrap_or_else(|| panic!("seed {seed}: {id} started before its time"));
                    latest = latest.max(time.millis() - came);
                    started.insert(*id, time.millis());
                }
            }
            let late = |(id, came): (&JobId, &i64)| {
                !started.contains_key(id) && time.millis() - came > LATE_MAX_MILLIS
            };
            assert!(!came.iter().any(late), "seed {seed}: a job is late");
            if random.chance(20) {
                wrong_by += random.pick(&[HOUR, -HOUR, YEAR, -YEAR, 1_000, -1_000]);
                // So that everything comes in bounded time.
                wrong_by = wrong_by.clamp(-2 * HOUR, YEAR);
                time.set_wrong_by(wrong_by);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        for id in due.keys() {
            assert_eq!(handle.job(*id).unwrap().attempt, 1, "seed {seed}");
        }
        latest
    })
}

#[test]
fn whatever_the_clock_is_set_to_each_job_starts_once_and_in_time() {
    let rounds = setting("DOGWATCH_PROVE_CLOCKS", 5);
    let latest = (0..rounds).map(run).max().unwrap_or(0);
    println!(
        "{rounds} seeds of {JOBS} timers: 0 missed, 0 fired twice, the latest {latest} ms after its time"
    );
}
