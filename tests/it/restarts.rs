//! Restarts of the binary while jobs run, written once for every runtime.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On, with};

/// Attempts that run while the binary is restarted.
const RUNNING: usize = 20;

pub(crate) async fn twenty_survive_a_graceful_stop(on: On) {
    twenty_survive(on, Signal::TERM).await;
}

pub(crate) async fn twenty_survive_a_kill(on: On) {
    twenty_survive(on, Signal::KILL).await;
}

async fn twenty_survive(on: On, signal: Signal) {
    let mut bench = Bench::start(on).await;
    // Each waits for a file or a signal of its own: ended by the test, not by the clock.
    let script = "trap 'echo ended; exit 0' USR1; echo started; while :; do sleep 0.2 & wait $!; done";
    let spec =
        with(on.script(script), json!({"stop_signal": "SIGUSR1", "stop_grace": "20s", "max_attempts": 1}));
    let mut ids = Vec::new();
    for _ in 0..RUNNING {
        ids.push(bench.submit(&spec).await);
    }
    let mut before = BTreeMap::new();
    for id in &ids {
        let job = bench.in_state(id, "running").await;
        bench
            .eventually("its trap is set", async || (bench.logs(id, "").await == "started\n").then_some(()))
            .await;
        before.insert(id.clone(), job["attempts"][0].clone());
    }
    let containers = sorted(bench.containers("ps"));
    bench.restart(signal).await;
    bench.restart(signal).await;

    for id in &ids {
        let job = bench.until(id, "it is attached again", |job| job["state"] == "running").await;
        let (now, then) = (&job["attempts"][0], &before[id]);
        assert_eq!(job["attempt"], 1, "it was restarted: {job}");
        assert_eq!((&now["runtime_id"], &now["started_at"]), (&then["runtime_id"], &then["started_at"]));
    }
    assert_eq!(sorted(bench.containers("ps --all")), containers, "containers were added or lost");
    for id in &ids {
        bench.ask(id, "cancel").await;
    }
    for id in &ids {
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
    bench.cleared().await;
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

pub(crate) async fn what_ends_while_nobody_watches_is_found_out(on: On) {
    let mut bench = Bench::start(on).await;
    let spec = with(on.script("echo hello; sleep 1; exit 5"), json!({"max_attempts": 1}));
    let called =
        r#"sleep 1; until call '{"event": "completed", "id": "x", "data": 7}'; do sleep 0.2; done; exit 0"#;
    let (exits, calls) = (bench.submit(&spec).await, bench.submit(&on.script(called)).await);
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

/// Until one of the two has ended: the one that waits for nobody.
async fn gone(bench: &Bench) {
    let started = tokio::time::Instant::now();
    bench
        .eventually("one is over", async || {
            let over = match bench.on {
                On::Docker => bench.containers("ps").len() == 1,
                // A process tells nobody but its shim; it sleeps for one second.
                On::Process => started.elapsed() > Duration::from_millis(1500),
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
