//! The engine is stopped, killed and started under running attempts.
//!
//! With live-restore they go on. Without it the engine ends them: that is a fault of the infrastructure, which
//! costs none of the job's own attempts. `DOGWATCH_PROVE_ENGINE` sets the number of containers (default 2).

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On, docker_at, with};
use crate::own_engine::OwnEngine;
use crate::random::setting;

/// A job that runs until the test lets it end, and then with code 5; the engine's stop ends it.
fn patient() -> Value {
    let script = "trap 'exit 5' USR1; echo hello; while :; do sleep 0.2 & wait $!; done";
    with(
        On::Docker.script(script),
        json!({"max_attempts": 1, "network": "none", "backoff": {"initial": "20ms"}}),
    )
}

async fn server(engine: &OwnEngine) -> Bench {
    let env = [("DOGWATCH_DOCKER__HOST", &*engine.host()), ("DOGWATCH_CALLBACK__CONTAINERS", "false")];
    Bench::start_on(&engine.host(), &env).await
}

/// The jobs, once all run.
async fn running(bench: &Bench, ids: &[String], attempt: u64) -> Vec<Value> {
    let each = ids.iter().map(|id| async move {
        let runs = |job: &Value| job["state"] == "running" && job["attempt"] == attempt;
        let job = bench.until(id, &format!("attempt {attempt} runs"), runs).await;
        // Only then it takes the signal that ends it.
        bench
            .eventually("it says hello", async || (bench.logs(id, "").await == "hello\n").then_some(()))
            .await;
        job
    });
    join_all(each).await
}

/// Lets all end, and checks that this is what is recorded.
async fn end(bench: &Bench, jobs: &[Value]) {
    for job in jobs {
        let number = usize::try_from(job["attempt"].as_u64().unwrap()).unwrap();
        let container = job["attempts"][number - 1]["runtime_id"].as_str().unwrap();
        docker_at(bench.engine(), &["kill", "--signal", "USR1", container]).expect("it runs");
    }
    for job in jobs {
        let over = bench.over(job["id"].as_str().unwrap()).await;
        let newest = over["attempts"].as_array().unwrap().last().unwrap();
        assert_eq!((&over["cause"], &newest["exit_code"]), (&json!("exit_code"), &json!(5)), "{over}");
        assert_eq!(over["attempt"], job["attempt"], "{over}");
    }
    bench.cleared().await;
}

async fn submit(bench: &Bench) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..setting("DOGWATCH_PROVE_ENGINE", 2) {
        ids.push(bench.submit(&patient()).await);
    }
    ids
}

#[tokio::test]
async fn with_live_restore_attempts_go_on() {
    let mut engine = OwnEngine::start(true);
    let mut bench = server(&engine).await;
    let ids = submit(&bench).await;
    let before = running(&bench, &ids, 1).await;
    for signal in [Signal::TERM, Signal::KILL] {
        engine.end(signal);
        // Nobody knows anything while there is no engine, and a restart of ours learns nothing either.
        bench.restart(Signal::KILL).await;
        for id in &ids {
            assert_eq!(bench.job(id).await["state"], "running");
        }
        engine.boot();
        bench
            .eventually("all are watched again", async || {
                let all = format!("dogwatch_attempts{{state=\"running\"}} {}\n", ids.len());
                let answer = bench.request(reqwest::Method::GET, "/metrics").send().await.unwrap();
                answer.text().await.unwrap().contains(&all).then_some(())
            })
            .await;
        let after = running(&bench, &ids, 1).await;
        for (then, now) in before.iter().zip(&after) {
            let facts = |job: &Value| {
                let attempt = &job["attempts"][0];
                (attempt["runtime_id"].clone(), attempt["started_at"].clone(), job["attempt"].clone())
            };
            assert_eq!(facts(now), facts(then), "{signal:?}");
        }
    }
    end(&bench, &before).await;
}

#[tokio::test]
async fn without_live_restore_the_engine_is_to_blame_and_the_job_goes_on() {
    let mut engine = OwnEngine::start(false);
    let mut bench = server(&engine).await;
    let ids = submit(&bench).await;
    running(&bench, &ids, 1).await;
    let mut now = Vec::new();
    for (attempt, signal, ours) in [(2, Signal::TERM, false), (3, Signal::KILL, true)] {
        engine.end(signal);
        if ours {
            bench.restart(Signal::KILL).await;
        }
        engine.boot();
        // They may try once each, and it was not them.
        now = running(&bench, &ids, attempt).await;
        for job in &now {
            let index = usize::try_from(attempt).unwrap() - 2;
            let last = &job["attempts"][index];
            assert_eq!((&last["cause"], &last["state"]), (&json!("host_restart"), &json!("exited")), "{job}");
            assert!(last["message"].as_str().unwrap().contains("engine was stopped"), "{job}");
            assert_eq!(last["exit_code"], 143, "{job}");
        }
    }
    end(&bench, &now).await;
}
