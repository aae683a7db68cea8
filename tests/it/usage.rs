//! Usage, end to end: the real binary, processes, kill -9.

use dogwatch_actors::clock::{Clock as _, SystemClock, Timestamp};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On, with};
use crate::cli_binary::{program, text};

/// Takes some CPU time, says how much by its own account, and then a tenth of a second and some memory.
const BURNS: &str = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; sleep 0.1; times";

fn burns(more: Value) -> Value {
    with(json!({"args": ["sh", "-c", BURNS]}), more)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// The line of a report with this key.
fn line<'a>(report: &'a Value, key: &str) -> &'a Value {
    let lines = report["items"].as_array().unwrap();
    lines.iter().find(|line| line["key"] == key).unwrap_or_else(|| panic!("no line {key}: {report}"))
}

/// The CPU seconds that a shell says it took: the first line of `times`, such as `0m0.05s 0m0.01s`.
fn own_account(log: &str) -> f64 {
    let line = log.lines().next().unwrap_or_else(|| panic!("it printed nothing: {log:?}"));
    let of = |word: &str| {
        let (minutes, seconds) = word.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    };
    line.split_whitespace().map(of).sum()
}

#[actix_web::test]
async fn what_a_job_used_is_what_it_took_and_outlives_it() {
    let mut bench = Bench::start(On::Process).await;
    let red = bench.submit(&burns(json!({"tenant": "acme", "labels": {"team": "red"}}))).await;
    let job = bench.over(&red).await;
    let (usage, attempt) = (&job["usage"], &job["attempts"][0]);
    assert_eq!(usage, &attempt["usage"], "{job}");
    let (own, cpu) = (own_account(&bench.logs(&red, "").await), number(&usage["cpu_seconds"]));
    // Its own account ends before its end, and does not know its beginning.
    assert!(own > 0.0 && cpu >= own - 0.02 && cpu <= own + 1.0, "own account {own}: {job}");
    assert!(number(&usage["container_seconds"]) >= 0.1, "{job}");
    assert!(number(&usage["memory_gib_seconds"]) > 0.0, "{job}");
    assert_eq!(number(&usage["unmeasured_seconds"]), 0.0, "{job}");

    // Every attempt counts, also of what fails.
    let failing = json!({"args": ["sh", "-c", "exit 3"], "max_attempts": 3, "restart_policy": "OnFailure",
        "backoff": {"initial": "1ms", "max": "1ms"}, "tenant": "acme", "labels": {"team": "blue"}});
    let blue = bench.submit(&failing).await;
    bench.over(&blue).await;
    let report = bench.get("/v1/usage?by=label:team").await;
    assert_eq!(
        (line(&report, "red")["attempts"].as_u64(), line(&report, "blue")["attempts"].as_u64()),
        (Some(1), Some(3))
    );
    assert_eq!(line(&report, "red")["cpu_seconds"], usage["cpu_seconds"]);
    let by_job = bench.get("/v1/usage?by=job&label=team:red").await;
    assert_eq!(line(&by_job, &red)["cpu_seconds"], usage["cpu_seconds"]);
    assert_eq!(by_job["items"].as_array().map(Vec::len), Some(1), "{by_job}");

    // Neither a crash nor the end of the job changes the bill.
    let bill = bench.get("/v1/usage").await["total"].clone();
    assert_eq!(bill["attempts"], 4, "{bill}");
    bench.restart(Signal::KILL).await;
    assert_eq!(bench.get("/v1/usage").await["total"], bill);
    for id in [&red, &blue] {
        let answer = bench.request(Method::DELETE, &format!("/v1/jobs/{id}")).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }
    let report = bench.get("/v1/usage?tenant=acme").await;
    assert_eq!((&report["total"], &line(&report, "acme")["attempts"]), (&bill, &json!(4)));
    assert_eq!(bench.get("/v1/usage?tenant=other").await["total"]["attempts"], 0);
    assert_eq!(bench.get("/v1/usage?by=job").await["items"], json!([]));
}

#[actix_web::test]
async fn a_kill_in_the_middle_of_an_attempt_loses_none_of_its_usage() {
    let mut bench = Bench::start(On::Process).await;
    let gate = bench.path().join("gate");
    let script = format!("{}; while ! [ -e {} ]; do sleep 0.05; done", BURNS, gate.display());
    let id = bench.submit(&json!({"args": ["sh", "-c", script]})).await;
    bench.until(&id, "it has burnt", |_| bench_log(&bench, &id).contains("0m")).await;
    bench.end(Signal::KILL);
    std::fs::write(&gate, "").unwrap();
    bench.boot().await;
    let job = bench.over(&id).await;
    let own = own_account(&bench.logs(&id, "").await);
    assert!(number(&job["usage"]["cpu_seconds"]) >= own - 0.02, "own account {own}: {job}");
    assert_eq!(number(&job["usage"]["unmeasured_seconds"]), 0.0, "{job}");
    assert_eq!(bench.get("/v1/usage").await["total"]["attempts"], 1);
}

/// What is in the log of the first attempt of a job, so far.
fn bench_log(bench: &Bench, id: &str) -> String {
    let output = program(bench.path()).args(["logs", id]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[actix_web::test]
async fn what_started_a_job_is_billed_for_it() {
    let bench = Bench::start(On::Process).await;
    let array = json!({"args": ["true"], "name": "nightly", "array": {"size": 5, "parallelism": 5}});
    let array = bench.submit(&array).await;
    bench.over(&bench.submit(&json!({"args": ["true"], "name": "alone"})).await).await;
    let source = format!("array:{array}");
    let report = bench
        .eventually("all five are charged", async || {
            let report = bench.get("/v1/usage?by=source").await;
            (report["total"]["attempts"] == 6).then_some(report)
        })
        .await;
    assert_eq!(line(&report, &source)["attempts"], 5);
    // What is different for every child is ours, and does not lengthen the books.
    let report = bench.get("/v1/usage?by=label:dogwatch.index").await;
    assert_eq!((&report["items"][0]["key"], &report["items"][0]["attempts"]), (&json!(null), &json!(6)));
    let report = bench.get("/v1/usage?by=name&name=nightly").await;
    assert_eq!((&report["items"][0]["key"], &report["total"]["attempts"]), (&json!("nightly"), &json!(5)));

    let output = program(bench.path()).args(["usage", "--by", "name", "--since", "1d"]).output().unwrap();
    let shown = text(&output.stdout);
    assert!(
        shown.contains("NAME") && shown.contains("nightly  5") && shown.contains("TOTAL    6"),
        "{shown}"
    );
    let output = program(bench.path()).args(["--json", "usage", "--name", "alone"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["total"]["attempts"], 1);
}

#[actix_web::test]
async fn what_cannot_be_asked_for_is_said() {
    let bench = Bench::start(On::Process).await;
    for (query, message) in [
        ("by=team", "label:KEY"),
        ("by=label:", "label:KEY"),
        ("by=tenant&by=name", "more than once"),
        ("since=yesterday", "RFC 3339"),
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "before `since`"),
        ("label=red", "key:value"),
        ("untill=2026-01-01T00:00:00Z", "did you mean `until`"),
    ] {
        let answer = bench.request(Method::GET, &format!("/v1/usage?{query}")).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{query}");
        let problem: Value = answer.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(message), "{query}: {problem}");
    }
    // Reports that meet share nothing, and leave nothing out.
    bench.over(&bench.submit(&json!({"args": ["true"]})).await).await;
    let now = Timestamp::from_millis(SystemClock.now().as_millis() + 1_800_000).to_string();
    let ago = "2020-01-01T00:30:00Z";
    let count = async |query: String| {
        bench.get(&format!("/v1/usage?{query}")).await["total"]["attempts"].as_u64().unwrap()
    };
    let (before, after) =
        (count(format!("since={ago}&until={now}")).await, count(format!("since={now}")).await);
    assert_eq!((before + after, count(String::new()).await), (1, 1));
    // A time that has not come is one in which nothing was used.
    let report = bench.get("/v1/usage?since=2999-01-01T00:00:00Z").await;
    assert_eq!((&report["items"], &report["total"]["attempts"]), (&json!([]), &json!(0)));
    let answer = bench.http().get(format!("{}/v1/usage", bench.url())).send().await.unwrap();
    assert_eq!(answer.status(), 401);
}
