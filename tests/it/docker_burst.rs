//! Many ends at once while nobody hears of them: more than an engine remembers as events.
//!
//! `DOGWATCH_PROVE_BURST` sets the number of containers (default 7; an engine remembers 256 events).

use rustix::process::Signal;
use serde_json::json;

use crate::bench::{Bench, On, docker, with};
use crate::engine_proxy::{Behind, EngineProxy, Fault};
use crate::engine_request::Kind;
use crate::ledger::Ledger;
use crate::random::setting;

/// Ends codes 1 to 7 by turns.
async fn crowd(bench: &Bench) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..setting("DOGWATCH_PROVE_BURST", 7) {
        let code = 1 + number % 7;
        let script = format!("trap 'exit {code}' USR1; echo hello; while :; do sleep 1 & wait $!; done");
        let once = json!({"network": "none", "max_attempts": 1, "labels": {"code": code.to_string()}});
        ids.push(bench.submit(&with(On::Docker.script(&script), once)).await);
    }
    for id in &ids {
        bench.in_state(id, "running").await;
        bench
            .eventually("its trap is set", async || (bench.logs(id, "").await == "hello\n").then_some(()))
            .await;
    }
    ids
}

/// Has all end, and waits until the engine knows.
async fn strike(bench: &Bench) {
    let all = bench.containers("ps");
    let mut args = vec!["kill", "--signal", "USR1"];
    args.extend(all.iter().map(String::as_str));
    docker(&args).unwrap();
    bench.eventually("all are over", async || bench.containers("ps").is_empty().then_some(())).await;
}

/// Every end is recorded once, as it was.
async fn check(bench: &Bench, ledger: &Ledger, ids: &[String]) {
    let mut jobs = Vec::new();
    for id in ids {
        let job = bench.over(id).await;
        let code: i64 = job["labels"]["code"].as_str().unwrap().parse().unwrap();
        assert_eq!(
            (&job["cause"], &job["attempts"][0]["exit_code"]),
            (&json!("exit_code"), &json!(code)),
            "{job}"
        );
        let history = bench.history(id).await;
        assert_eq!(history.iter().filter(|kind| *kind == "attempt_exited").count(), 1, "{history:?}");
        jobs.push(job);
    }
    assert_eq!(ledger.agrees_with(bench, &jobs).await, ids.len());
    println!("{} ends at once, each recorded once and as it was", ids.len());
}

#[tokio::test]
async fn a_burst_of_ends_while_the_engine_cannot_be_heard_is_recorded_once_each() {
    let proxy = EngineProxy::open();
    let many = [("DOGWATCH_DOCKER__HOST", &*proxy.host()), ("DOGWATCH_FLEET__ATTEMPTS_MAX", "1000")];
    let bench = Bench::start_with(On::Docker, &many).await;
    let ledger = Ledger::open(&bench);
    let ids = crowd(&bench).await;
    proxy.put(Behind::Nothing);
    strike(&bench).await;
    // Back, but never again with events or waits: looking must be enough.
    proxy.fault(|request| match request.kind {
        Kind::Events | Kind::Wait => Fault::Lost,
        _ => Fault::None,
    });
    proxy.put(Behind::Engine);
    check(&bench, &ledger, &ids).await;
}

#[tokio::test]
async fn a_burst_of_ends_while_the_server_is_down_is_recorded_once_each() {
    let mut bench = Bench::start_with(On::Docker, &[("DOGWATCH_FLEET__ATTEMPTS_MAX", "1000")]).await;
    let ledger = Ledger::open(&bench);
    let ids = crowd(&bench).await;
    bench.end(Signal::KILL);
    strike(&bench).await;
    bench.boot().await;
    check(&bench, &ledger, &ids).await;
}
