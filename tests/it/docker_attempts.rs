//! The server killed exactly between the intent of an attempt, its creation and its start.
//!
//! The proxy in front of the engine sees the request and has the server killed before it passes it on, while
//! the engine is at it, or when it is done. `DOGWATCH_PROVE_ATTEMPTS` sets the number of attempts (default 24),
//! `DOGWATCH_PROVE_KILLS` that of the kills (default one for 20 attempts, but 6), `DOGWATCH_PROVE_SEED` the
//! seed.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bench::{Bench, On, with};
use crate::engine_proxy::{EngineProxy, Fault};
use crate::engine_request::{Kind, Request};
use crate::foreign::Foreign;
use crate::ledger::Ledger;
use crate::random::{Random, setting};

/// Jobs at the same time.
const TOGETHER: u64 = 10;

/// Where a server is struck.
const PLACES: [&str; 6] =
    ["before create", "amid create", "after create", "before start", "amid start", "after start"];

/// Has the server killed at chosen requests.
struct Striker {
    /// The server's process; 0 while it is not to be struck.
    pid: AtomicI32,
    struck: Notify,
    /// Creates and starts until the next strike.
    countdown: AtomicU64,
    left: AtomicU64,
    spacing: u64,
    random: Mutex<Random>,
    /// How often at which place.
    places: Mutex<[usize; PLACES.len()]>,
}

impl Striker {
    fn new(attempts: u64, kills: u64, seed: u64) -> Self {
        // Each attempt has two requests that count, and some of the strikes repeat them.
        let spacing = (2 * attempts / kills).max(2);
        Self {
            pid: AtomicI32::new(0),
            struck: Notify::new(),
            countdown: AtomicU64::new(spacing / 2),
            left: AtomicU64::new(kills),
            spacing,
            random: Mutex::new(Random::new(seed)),
            places: Mutex::default(),
        }
    }

    fn arm(&self, bench: &Bench) {
        self.pid.store(bench.pid().cast_signed(), Ordering::SeqCst);
    }

    fn strike(&self, pid: Pid) {
        kill_process(pid, Signal::KILL).unwrap();
        self.struck.notify_one();
    }

    fn fault(self: &Arc<Self>, request: &Request) -> Fault {
        let first = match request.kind {
            Kind::Create => 0,
            Kind::Start => 3,
            _ => return Fault::None,
        };
        let waits = self.countdown.load(Ordering::SeqCst);
        self.countdown.store(waits.saturating_sub(1), Ordering::SeqCst);
        if waits > 0 || self.left.load(Ordering::SeqCst) == 0 {
            return Fault::None;
        }
        let Some(pid) = Pid::from_raw(self.pid.swap(0, Ordering::SeqCst)) else { return Fault::None };
        self.left.fetch_sub(1, Ordering::SeqCst);
        let when = {
            let mut random = self.random.lock().unwrap();
            self.countdown.store(random.below(self.spacing), Ordering::SeqCst);
            usize::try_from(random.below(3)).unwrap()
        };
        self.places.lock().unwrap()[first + when] += 1;
        let this = Arc::clone(self);
        match when {
            0 => {
                self.strike(pid);
                Fault::Lost
            }
            1 => Fault::Amid(Arc::new(move || this.strike(pid))),
            _ => Fault::After(Arc::new(move || this.strike(pid))),
        }
    }
}

fn spec(number: u64) -> Value {
    let script = if number % 4 == 3 { "[ $DOGWATCH_ATTEMPT = 2 ] || exit 3" } else { "exit 0" };
    with(
        On::Docker.script(script),
        json!({"network": "none", "backoff": {"initial": "20ms", "max": "20ms"}, "labels": {"n": number.to_string()}}),
    )
}

/// Submits these jobs, those that are there already too, and waits for all of them; `None` when the server
/// does not answer.
async fn run(bench: &Bench, numbers: std::ops::Range<u64>) -> Option<Vec<Value>> {
    let mut ids = Vec::new();
    for number in numbers {
        let request = bench.request(Method::POST, "/v1/jobs").json(&spec(number));
        let answer = request.header("idempotency-key", number.to_string()).send().await.ok()?;
        let job: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
        ids.push(job["id"].as_str()?.to_owned());
    }
    let mut jobs = Vec::new();
    for id in ids {
        let answer = bench.request(Method::GET, &format!("/v1/jobs/{id}?wait=30s")).send().await.ok()?;
        let job: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
        assert_eq!(job["state"], "succeeded", "{job}");
        jobs.push(job);
    }
    Some(jobs)
}

#[tokio::test]
async fn killed_between_intent_create_and_start_no_attempt_is_started_twice() {
    let attempts = setting("DOGWATCH_PROVE_ATTEMPTS", 24);
    let kills = setting("DOGWATCH_PROVE_KILLS", (attempts / 20).max(6));
    let seed = setting("DOGWATCH_PROVE_SEED", 20_261_121);
    println!("attempts {attempts}, kills {kills}, seed {seed}");
    let proxy = EngineProxy::open();
    let mut bench = Bench::start_with(On::Docker, &[("DOGWATCH_DOCKER__HOST", &proxy.host())]).await;
    let ledger = Ledger::open(&bench);
    let foreign = Foreign::run(&format!("foreign-{}", bench.installation()), &[]);
    let before = foreign.state();
    let striker = Arc::new(Striker::new(attempts, kills, seed));
    striker.arm(&bench);
    let asked = Arc::clone(&striker);
    proxy.fault(move |request| asked.fault(request));
    let began = Instant::now();
    let (mut next, mut seen, mut jobs) = (0, 0, Vec::new());
    while seen < attempts {
        let done = tokio::select! {
            biased;
            () = striker.struck.notified() => None,
            done = run(&bench, next..next + TOGETHER) => done,
        };
        if let Some(done) = done {
            next += TOGETHER;
            seen += done.iter().map(|job| job["attempt"].as_u64().unwrap()).sum::<u64>();
            jobs.extend(done);
        } else {
            bench.restart(Signal::KILL).await;
            striker.arm(&bench);
        }
    }
    let took = began.elapsed();
    let attempts = ledger.agrees_with(&bench, &jobs).await;
    assert_eq!(foreign.state(), before, "a foreign container was touched");
    let left = striker.left.load(Ordering::SeqCst);
    assert!(left <= kills / 4, "{left} of {kills} kills were not made");
    let places = *striker.places.lock().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a figure to be read")]
    let rate = attempts as f64 / took.as_secs_f64();
    println!("{attempts} attempts, {} kills in {took:.1?} ({rate:.1} attempts/s)", kills - left);
    for (place, times) in PLACES.iter().zip(places) {
        println!("  {place}: {times}");
    }
    println!("0 started twice, 0 left over, 0 foreign touched, 0 stuck");
}
