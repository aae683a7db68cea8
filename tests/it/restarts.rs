//! Restarts of the binary while jobs run, written once for every runtime.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bench::{Bench, On, docker, with};
use crate::ledger::Ledger;
use crate::random::setting;

/// How soon all attempts must be watched again once the new server answers.
const ATTACHED_WITHIN: Duration = Duration::from_secs(5);

/// As many containers as a machine of two cores carries beside the tests.
const CONTAINERS_MAX: u64 = 50;

/// How many attempts run while the binary is restarted: `DOGWATCH_PROVE_ATTACH`, by default twenty.
fn running(on: On) -> usize {
    let wanted = setting("DOGWATCH_PROVE_ATTACH", 20);
    usize::try_from(if on == On::Docker { wanted.min(CONTAINERS_MAX) } else { wanted }).unwrap()
}

pub(crate) async fn twenty_survive_a_graceful_stop(on: On) {
    let mut crowd = Crowd::start(on).await;
    crowd.bench.restart(Signal::TERM).await;
    crowd.is_attached("a graceful stop").await;
    crowd.bench.restart(Signal::TERM).await;
    crowd.is_attached("another").await;
    crowd.end().await;
}

pub(crate) async fn twenty_survive_a_kill(on: On) {
    let mut crowd = Crowd::start(on).await;
    crowd.bench.restart(Signal::KILL).await;
    crowd.is_attached("a kill").await;
    crowd.bench.restart(Signal::KILL).await;
    crowd.is_attached("another").await;
    crowd.end().await;
}

pub(crate) async fn twenty_survive_an_upgrade(on: On) {
    let mut crowd = Crowd::start_from(on, Some("dogwatch-1")).await;
    // The file is replaced while the program runs, which then still starts attempts.
    crowd.bench.install("dogwatch-1");
    crowd.join().await;
    crowd.bench.restart(Signal::TERM).await;
    crowd.is_attached("an upgrade in place").await;
    crowd.bench.end(Signal::TERM);
    crowd.bench.install("dogwatch-2");
    std::fs::remove_file(crowd.bench.path().join("dogwatch-1")).unwrap();
    crowd.bench.boot().await;
    crowd.is_attached("an upgrade to another file").await;
    crowd.end().await;
}

/// Attempts that run, each until it is told to end.
struct Crowd {
    bench: Bench,
    ledger: Ledger,
    /// The jobs, with what was known of their attempts before anything happened to the server.
    before: BTreeMap<String, Value>,
    containers: Vec<String>,
}

impl Crowd {
    async fn start(on: On) -> Self {
        Self::start_from(on, None).await
    }

    async fn start_from(on: On, file: Option<&str>) -> Self {
        // The defaults would let fewer run on a small machine.
        let mut bench = Bench::start_with(
            on,
            &[("DOGWATCH_FLEET__CPUS", "100"), ("DOGWATCH_FLEET__ATTEMPTS_MAX", "1000")],
        )
        .await;
        if let Some(file) = file {
            bench.install(file);
            bench.restart(Signal::TERM).await;
        }
        let ledger = Ledger::open(&bench);
        let mut crowd = Self { bench, ledger, before: BTreeMap::new(), containers: vec![] };
        crowd.add(running(on)).await;
        crowd
    }

    /// One more comes.
    async fn join(&mut self) {
        self.add(1).await;
    }

    async fn add(&mut self, number: usize) {
        let bench = &self.bench;
        // Each waits for a signal of its own: ended by the test, not by the clock.
        let script = format!(
            "trap 'echo ended; exit 0' USR1; {}; echo started; while :; do sleep 1 & wait $!; done",
            self.ledger.mark()
        );
        let spec = with(
            bench.on.script(&script),
            json!({"stop_signal": "SIGUSR1", "stop_grace": "20s", "max_attempts": 1}),
        );
        let mut ids = Vec::new();
        for _ in 0..number {
            ids.push(bench.submit(&spec).await);
        }
        for id in ids {
            let job = bench.in_state(&id, "running").await;
            bench
                .eventually("its trap is set", async || {
                    (bench.logs(&id, "").await == "started\n").then_some(())
                })
                .await;
            self.before.insert(id, job["attempts"][0].clone());
        }
        self.containers = sorted(bench.containers("ps"));
    }

    /// Waits until the new server watches every attempt, and holds each against what it was.
    async fn is_attached(&self, after: &str) {
        let (bench, began) = (&self.bench, Instant::now());
        let all = format!("dogwatch_attempts{{state=\"running\"}} {}\n", self.before.len());
        bench
            .eventually("all are watched again", async || {
                let answer = bench.request(reqwest::Method::GET, "/metrics").send().await.unwrap();
                answer.text().await.unwrap().contains(&all).then_some(())
            })
            .await;
        let took = began.elapsed();
        println!("{:?}: {} attached within {took:.2?} after {after}", bench.on, self.before.len());
        assert!(took < ATTACHED_WITHIN, "{took:?} to attach to all after {after}");
        for (id, then) in &self.before {
            let job = bench.job(id).await;
            let now = &job["attempts"][0];
            assert_eq!((&job["state"], &job["attempt"]), (&json!("running"), &json!(1)), "{job}");
            assert_eq!((&now["runtime_id"], &now["started_at"]), (&then["runtime_id"], &then["started_at"]));
        }
        assert_eq!(sorted(bench.containers("ps --all")), self.containers, "containers were added or lost");
    }

    async fn end(self) {
        let bench = &self.bench;
        for id in self.before.keys() {
            bench.ask(id, "cancel").await;
        }
        for id in self.before.keys() {
            let job = bench.over(id).await;
            assert_eq!(
                (&job["state"], &job["attempts"][0]["exit_code"]),
                (&json!("cancelled"), &json!(0)),
                "{job}"
            );
            let log = bench.logs(id, "").await;
            assert_eq!(
                log, "started\nended\n",
                "the log of a re-attached attempt is whole, and nothing is twice in it"
            );
        }
        self.ledger.nothing_is_left(bench).await;
        let starts = self.ledger.starts();
        assert_eq!(starts.len(), self.before.len(), "others ran: {starts:?}");
        assert!(starts.values().all(|starts| *starts == 1), "some ran twice: {starts:?}");
    }
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

pub(crate) async fn what_ends_while_nobody_watches_is_found_out(on: On) {
    let mut bench = Bench::start(on).await;
    // Both wait until the server is away, however long a start takes: nothing ends while it watches.
    let away = r#"while call '{"event": "progress"}' 2> /dev/null; do sleep 0.1; done"#;
    let leave = |mark: &str| format!("touch {} 2> /dev/null", bench.path().join(mark).display());
    let exits = format!("echo hello; {away}; {}; exit 5", leave("exits"));
    let spec = with(on.script(&exits), json!({"max_attempts": 1}));
    let completed =
        r#"until call '{"event": "completed", "id": "x", "data": 7}'; do sleep 0.2; done; exit 0"#;
    let called = format!("{away}; echo away; {}; {completed}", leave("calls"));
    let (exits, calls) = (bench.submit(&spec).await, bench.submit(&on.script(&called)).await);
    for id in [&exits, &calls] {
        bench.in_state(id, "running").await;
    }
    bench.end(Signal::KILL);
    tokio::time::timeout(Duration::from_secs(20), gone(&bench)).await.expect("it ends by itself");
    bench.boot().await;
    let job = bench.over(&exits).await;
    assert_eq!((&job["state"], &job["cause"]), (&json!("failed"), &json!("exit_code")), "{job}");
    assert_eq!((&job["attempts"][0]["exit_code"], &job["attempt"]), (&json!(5), &json!(1)), "{job}");
    assert_eq!(bench.logs(&exits, "").await, "hello\n");
    let job = bench.over(&calls).await;
    assert_eq!(
        (&job["state"], &job["output"], &job["attempt"]),
        (&json!("succeeded"), &json!(7), &json!(1)),
        "{job}"
    );
    bench.cleared().await;
}

/// Until both know that the server is away, and the one that waits for nobody has ended.
async fn gone(bench: &Bench) {
    bench
        .eventually("one is over, one calls", async || {
            let over = match bench.on {
                On::Docker => match &bench.containers("ps")[..] {
                    [calls] => docker(&["logs", calls]).is_some_and(|said| said.contains("away")),
                    _ => false,
                },
                // A process tells nobody but its shim, so both leave a mark.
                On::Process => ["exits", "calls"].iter().all(|mark| bench.path().join(mark).exists()),
            };
            over.then_some(())
        })
        .await;
}

pub(crate) async fn a_kill_amid_submissions_loses_nothing_that_was_answered(on: On) {
    let mut bench = Bench::start(on).await;
    let mut acknowledged: Vec<(String, String)> = Vec::new();
    for round in 0..3 {
        let spec = on.script("exit 0");
        let submit = async |number: usize| {
            let key = format!("{round}-{number}");
            let request = bench.request(reqwest::Method::POST, "/v1/jobs").json(&spec);
            let answer = request.header("idempotency-key", &key).send().await.ok()?;
            let job: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
            Some((key, job["id"].as_str()?.to_owned()))
        };
        let (killed, answers) = tokio::join!(
            async {
                bench
                    .eventually("some are in", async || {
                        (bench.get("/v1/jobs?limit=100").await["jobs"].as_array()?.len() > round * 10 + 2)
                            .then_some(())
                    })
                    .await;
            },
            futures_util::future::join_all((0..12).map(submit)),
        );
        let () = killed;
        acknowledged.extend(answers.into_iter().flatten());
        bench.restart(Signal::KILL).await;
    }
    assert!(acknowledged.len() >= 20, "{}", acknowledged.len());
    for (key, id) in &acknowledged {
        let request = bench.request(reqwest::Method::POST, "/v1/jobs").json(&on.script("exit 0"));
        let again = request.header("idempotency-key", key).send().await.unwrap();
        assert_eq!(again.headers()["idempotency-replayed"], "true", "{key}");
        let again: Value = serde_json::from_slice(&again.bytes().await.unwrap()).unwrap();
        assert_eq!(again["id"], id.as_str(), "the key {key} made a second job");
        assert_eq!(bench.over(id).await["state"], "succeeded", "{id}");
    }
    bench.cleared().await;
}
