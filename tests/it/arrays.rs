//! Array jobs, end to end: the real binary, killed while its children run.
//!
//! `DOGWATCH_PROVE_ARRAY` sets how many children there are (default 200).

use std::collections::BTreeMap;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On};
use crate::cli_binary::{program, text};
use crate::random::setting;

async fn ask(bench: &Bench, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
    let mut request = bench.request(method, path);
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

async fn submit(bench: &Bench, spec: &Value) -> (String, Value) {
    let (status, array) = ask(bench, Method::POST, "/v1/jobs", Some(spec)).await;
    assert_eq!(status, 202, "{array}");
    (array["id"].as_str().unwrap().to_owned(), array)
}

async fn until(bench: &Bench, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/v1/arrays/{id}");
    bench.eventually(what, async || Some(bench.get(&path).await).filter(&holds)).await
}

/// What children wrote: how often, by the index.
fn written(bench: &Bench) -> BTreeMap<u64, u32> {
    let mut found = BTreeMap::new();
    for line in std::fs::read_to_string(bench.path().join("indexes")).unwrap_or_default().lines() {
        let (index, count) = line.split_once('/').unwrap();
        assert!(count.parse::<u64>().unwrap() > 0);
        *found.entry(index.parse().unwrap()).or_default() += 1;
    }
    found
}

#[actix_web::test]
async fn each_child_runs_once_through_kills_at_any_moment() {
    let size = setting("DOGWATCH_PROVE_ARRAY", 200);
    let mut bench = Bench::start(On::Process).await;
    let file = bench.path().join("indexes");
    let script = format!("echo \"$DOGWATCH_INDEX/$DOGWATCH_COUNT\" >> {}", file.display());
    let spec = json!({
        "name": "many", "args": ["sh", "-c", script], "secrets": {"TOKEN": "s3cret"},
        "array": {"size": size, "parallelism": 8},
    });
    let request = || bench.request(Method::POST, "/v1/jobs").header("Idempotency-Key", "once").json(&spec);
    let first: Value = request().send().await.unwrap().json().await.unwrap();
    let again = request().send().await.unwrap();
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    let again: Value = again.json().await.unwrap();
    assert_eq!(first["id"], again["id"]);
    assert_eq!(first["spec"]["secrets"], json!({"TOKEN": null}), "{first}");
    let id = first["id"].as_str().unwrap().to_owned();
    for part in 1..=3 {
        let far = size * part / 5;
        until(&bench, &id, "it goes on", |array| array["progress"]["finished"].as_u64().unwrap() >= far)
            .await;
        bench.restart(Signal::KILL).await;
    }
    let done = loop {
        // However many there are: it goes on, and each look has its own patience.
        let array = bench.get(&format!("/v1/arrays/{id}?wait=30s")).await;
        if array["state"] != "running" {
            break array;
        }
    };
    assert_eq!((&done["state"], &done["counts"]["succeeded"]), (&json!("succeeded"), &json!(size)), "{done}");
    let written = written(&bench);
    let wrong: Vec<_> = written.iter().filter(|(_, count)| **count != 1).collect();
    assert!(wrong.is_empty(), "ran more than once: {wrong:?}");
    assert_eq!(written.keys().copied().collect::<Vec<_>>(), (0..size).collect::<Vec<_>>());
    assert_eq!(bench.count_jobs().await as u64, size, "each is one job");
    let children = bench.get(&format!("/v1/jobs?label=dogwatch.array:{id}&label=dogwatch.index:7")).await;
    assert_eq!((children["jobs"].as_array().unwrap().len(), &children["jobs"][0]["attempt"]), (1, &json!(1)));

    assert_eq!(ask(&bench, Method::DELETE, &format!("/v1/arrays/{id}"), None).await.0, 204);
    assert_eq!(bench.count_jobs().await, 0, "its children go with it");
    assert_eq!(ask(&bench, Method::GET, &format!("/v1/arrays/{id}"), None).await.0, 404);
    let report = bench.get("/v1/store").await;
    assert_eq!(report["faults"], json!([]), "{report}");
}

#[actix_web::test]
async fn a_rule_that_cannot_be_met_ends_it_and_what_did_not_succeed_runs_again() {
    let bench = Bench::start(On::Process).await;
    let good = bench.path().join("good");
    let script = format!(
        "test -e {} || test \"$DOGWATCH_INDEX\" != 1 || exit 3; test \"$DOGWATCH_INDEX\" != 0 || test -e {0} || sleep 600",
        good.display()
    );
    let spec = json!({
        "args": ["sh", "-c", script], "restart_policy": "Never", "stop_grace": "1s",
        "array": {"size": 5, "parallelism": 2},
    });
    let (id, _) = submit(&bench, &spec).await;
    let failed = until(&bench, &id, "it has failed", |array| array["state"] == "failed").await;
    let counts = json!({"pending": 3, "active": 0, "succeeded": 0, "failed": 1, "cancelled": 1});
    assert_eq!((&failed["counts"], &failed["failed"]), (&counts, &json!("1")), "{failed}");
    let waits = program(bench.path()).args(["wait", &id]).output().unwrap();
    assert_eq!(waits.status.code(), Some(1), "{}", text(&waits.stderr));
    assert!(text(&waits.stderr).contains("failed were 1"), "{}", text(&waits.stderr));

    std::fs::write(&good, "").unwrap();
    assert_eq!(ask(&bench, Method::POST, &format!("/v1/arrays/{id}/retry"), None).await.0, 202);
    let waits = program(bench.path()).args(["wait", &id]).output().unwrap();
    assert_eq!(waits.status.code(), Some(0), "{}", text(&waits.stderr));
    let (status, problem) = ask(&bench, Method::POST, &format!("/v1/arrays/{id}/retry"), None).await;
    assert_eq!((status, &problem["code"]), (409, &json!("array_conflict")), "{problem}");
    let listed = bench.get("/v1/arrays").await;
    assert_eq!((&listed["arrays"][0]["id"], &listed["next_cursor"]), (&json!(id), &Value::Null), "{listed}");
}

#[actix_web::test]
async fn a_suspended_array_goes_on_and_a_cancelled_one_ends() {
    let bench = Bench::start(On::Process).await;
    let spec = bench.path().join("array.json");
    let body = json!({"args": ["sleep", "600"], "stop_grace": "1s", "array": {"size": 4, "parallelism": 2}});
    std::fs::write(&spec, body.to_string()).unwrap();
    let submitted = program(bench.path()).arg("submit").arg(&spec).output().unwrap();
    let id = text(&submitted.stdout).trim().to_owned();
    let jobs = format!("/v1/jobs?label=dogwatch.array:{id}");
    let all_are = async |state: &str| {
        bench
            .eventually(state, async || {
                let page = bench.get(&jobs).await;
                page["jobs"].as_array().unwrap().iter().all(|job| job["state"] == state).then_some(())
            })
            .await;
    };
    all_are("running").await;
    for (verb, state) in [("suspend", "suspended"), ("resume", "running"), ("cancel", "cancelled")] {
        let told = program(bench.path()).args([verb, &id]).output().unwrap();
        assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
        all_are(state).await;
    }
    let over = until(&bench, &id, "it is over", |array| array["state"] == "cancelled").await;
    assert_eq!((&over["counts"]["cancelled"], &over["counts"]["pending"]), (&json!(2), &json!(2)), "{over}");
    let shown = program(bench.path()).args(["show", &id]).output().unwrap();
    assert!(text(&shown.stdout).contains("state      cancelled"), "{}", text(&shown.stdout));
    let restarted = program(bench.path()).args(["restart", &id]).output().unwrap();
    assert!(text(&restarted.stderr).contains("no job"), "{}", text(&restarted.stderr));
    for (spec, pointer) in [
        (json!({"args": ["x"], "array": {"size": 0}}), "/array/size"),
        (
            json!({"args": ["x"], "array": {"size": 3, "success": {"min_succeeded": 4}}}),
            "/array/success/min_succeeded",
        ),
        (json!({"args": ["x"], "array": {}}), "/array/size"),
        (json!({"args": ["x"], "array": {"size": 3, "parallel": 3}}), "/array/parallel"),
    ] {
        let (status, problem) = ask(&bench, Method::POST, "/v1/jobs", Some(&spec)).await;
        assert_eq!(status, 422, "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}
