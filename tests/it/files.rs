//! Files in and out of jobs, through the real binary.

mod azurite;
mod docker_files;
mod process_files;
mod source;

use std::collections::BTreeMap;
#[cfg(feature = "fault-points")]
use std::time::Duration;

#[cfg(feature = "fault-points")]
use dogwatch_actors::clock::{Clock as _, SystemClock};
use reqwest::{Method, StatusCode};
#[cfg(feature = "fault-points")]
use rustix::process::Signal;
use serde_json::{Value, json};

use self::source::Source;
use crate::bench::{Bench, On, with};
use crate::cli_binary::program;

/// What a server of these tests is started with: the files come from this very machine.
const NEAR: (&str, &str) = ("DOGWATCH_WEBHOOKS__ALLOW_PRIVATE_NETWORKS", "true");

/// The SHA-256 of `hello`.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

async fn start(on: On) -> Bench {
    Bench::start_with(on, &[NEAR]).await
}

/// A job with this script, which begins where its files are.
fn spec(on: On, script: &str, more: Value) -> Value {
    let spec = with(on.script(script), more);
    if on == On::Docker { with(spec, json!({"working_dir": "/work", "network": "none"})) } else { spec }
}

async fn artifacts(bench: &Bench, id: &str) -> BTreeMap<String, Value> {
    let list = bench.get(&format!("/v1/jobs/{id}/artifacts")).await;
    let list = list["artifacts"].as_array().unwrap_or_else(|| panic!("{list}")).clone();
    list.into_iter().map(|artifact| (artifact["name"].as_str().unwrap().to_owned(), artifact)).collect()
}

async fn content(bench: &Bench, id: &str, name: &str) -> String {
    let answer = bench.request(Method::GET, &format!("/v1/jobs/{id}/artifacts/{name}")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{name}");
    answer.text().await.unwrap()
}

/// All kinds of inputs arrive; files, directories and patterns come out, each whole, with its length and digest.
async fn inputs_arrive_and_outputs_come_out(on: On) {
    let bench = start(on).await;
    let source = Source::start(vec![(200, "from a server")]).await;
    let script = "cat a.txt sub/b.txt c.txt > out.txt; cp tool.sh x.csv; mkdir -p dir/deep; ./tool.sh > dir/deep/d; \
                  ln -s /etc/passwd dir/link; echo y > y.csv";
    let job = spec(
        on,
        script,
        json!({
            "inputs": [
                {"path": "a.txt", "content": "hello", "sha256": HELLO},
                {"path": "sub/b.txt", "content_base64": "IHdvcmxkIA=="},
                {"path": "c.txt", "url": source.url("/c")},
                {"path": "tool.sh", "content": "#!/bin/sh\necho ran", "mode": "0755"},
            ],
            "outputs": ["out.txt", {"path": "dir"}, {"path": "*.csv", "name": "tables"},
                        {"path": "nothing/*", "optional": true}],
        }),
    );
    let id = bench.submit(&job).await;
    let over = bench.over(&id).await;
    assert_eq!(over["state"], "succeeded", "{over}");
    let found = artifacts(&bench, &id).await;
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["dir/deep/d", "out.txt", "tables/x.csv", "tables/y.csv"], "and no link");
    assert_eq!(content(&bench, &id, "out.txt").await, "hello world from a server");
    assert_eq!(content(&bench, &id, "dir/deep/d").await, "ran\n");
    assert_eq!(content(&bench, &id, "tables/y.csv").await, "y\n");
    assert_eq!((&found["out.txt"]["bytes"], &found["out.txt"]["attempt"]), (&json!(25), &json!(1)));

    // What one job left is the input of another.
    let more = json!({"inputs": [{"path": "in", "artifact": format!("{id}/out.txt")}], "outputs": ["copy"]});
    let next = bench.submit(&spec(on, "cp in copy", more)).await;
    assert_eq!(bench.over(&next).await["state"], "succeeded");
    assert_eq!(content(&bench, &next, "copy").await, "hello world from a server");
    let twin = artifacts(&bench, &next).await;
    assert_eq!(twin["copy"]["sha256"], found["out.txt"]["sha256"]);

    the_command_line_downloads(&bench, &id);
    let (status, _) = delete(&bench, &id).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let folder = bench.path().join("artifacts").join(&id);
    bench.eventually("nothing is left of a purged job", async || (!folder.exists()).then_some(())).await;
    bench.cleared().await;
    for folder in ["staging", "processes"] {
        let left = files_below(&bench.path().join(folder));
        assert!(left.iter().all(|path| !path.contains("/files/") && folder == "processes"), "{left:?}");
    }
}

fn files_below(dir: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path.display().to_string()) }
    }
    found
}

fn the_command_line_downloads(bench: &Bench, id: &str) {
    let dir = tempfile::tempdir().unwrap();
    let listed = program(bench.path()).args(["artifacts", id]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.starts_with("NAME") && listed.contains("tables/x.csv"), "{listed}");
    let output =
        program(bench.path()).args(["artifacts", id, "--download"]).arg(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_to_string(dir.path().join("dir/deep/d")).unwrap(), "ran\n");
    assert_eq!(std::fs::read_to_string(dir.path().join("out.txt")).unwrap(), "hello world from a server");
    assert_eq!(files_below(dir.path()).len(), 4);
}

async fn delete(bench: &Bench, id: &str) -> (StatusCode, String) {
    let answer = bench.request(Method::DELETE, &format!("/v1/jobs/{id}")).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// What is missing fails an attempt that did well, and what a failed one left is there all the same.
async fn a_missing_output_is_a_failure_and_failures_leave_theirs(on: On) {
    let bench = start(on).await;
    let missing = spec(on, "echo x > there", json!({"outputs": ["there", "gone"], "max_attempts": 1}));
    let missing = bench.submit(&missing).await;
    let failing = spec(
        on,
        "echo $DOGWATCH_ATTEMPT > why.txt; exit 3",
        json!({"outputs": ["why.txt", "gone"], "max_attempts": 2, "backoff": {"initial": "10ms"}}),
    );
    let failing = bench.submit(&failing).await;
    let job = bench.over(&missing).await;
    assert_eq!((&job["state"], &job["cause"]), (&json!("failed"), &json!("output_failed")), "{job}");
    assert!(job["message"].as_str().unwrap().contains("`gone` is missing"), "{job}");
    assert_eq!(content(&bench, &missing, "there").await, "x\n");
    let job = bench.over(&failing).await;
    assert_eq!((&job["state"], &job["cause"]), (&json!("failed"), &json!("exit_code")), "{job}");
    assert_eq!(content(&bench, &failing, "why.txt").await, "2\n", "the newest");
    assert_eq!(content(&bench, &failing, "why.txt?attempt=1").await, "1\n");
}

/// What is not there is no start at all; what may come is waited for.
async fn an_input_that_is_not_to_be_had(on: On) {
    let bench = start(on).await;
    let source = Source::start(vec![(503, ""), (500, ""), (200, "at last")]).await;
    let gone = Source::start(vec![(404, "")]).await;
    let job = |url: String, more: Value| {
        let more = with(json!({"inputs": [{"path": "in", "url": url}], "outputs": ["in"]}), more);
        spec(on, "exit 0", more)
    };
    let late = bench.submit(&job(source.url("/late"), json!({}))).await;
    let never = bench.submit(&job(gone.url("/secret-token"), json!({}))).await;
    let other = json!({"inputs": [{"path": "in", "content": "other", "sha256": HELLO}]});
    let other = bench.submit(&spec(on, "exit 0", other)).await;
    for (id, says) in [(&never, "404"), (&other, "sha256")] {
        let job = bench.over(id).await;
        assert_eq!((&job["state"], &job["cause"]), (&json!("failed"), &json!("input_failed")), "{job}");
        let message = job["message"].as_str().unwrap();
        assert!(message.contains("input `in`") && message.contains(says), "{job}");
        assert!(!message.contains("secret-token"), "{job}");
        let attempts = job["attempts"].as_array().unwrap();
        assert!(attempts.len() == 1 && attempts[0]["started_at"].is_null(), "it never ran: {job}");
    }
    assert_eq!(bench.over(&late).await["state"], "succeeded");
    assert_eq!(content(&bench, &late, "in").await, "at last");
    assert_eq!(source.served(), 3);
}

/// A server that dies at any of these moments starts the attempt once, and collects what it left without doubles.
#[cfg(feature = "fault-points")]
async fn killed_amid_placing_and_collecting(on: On) {
    let mut bench = start(on).await;
    for fault in ["inputs:placing", "inputs:placed", "outputs:collecting", "outputs:collected"] {
        bench.end(Signal::TERM);
        bench.boot_with(&format!("{fault}=crash")).await;
        // Later, so that the submission is answered before the end.
        let later = SystemClock.now().after(Duration::from_millis(500));
        let more =
            json!({"inputs": [{"path": "in", "content": "hello"}], "outputs": ["out"], "start_at": later});
        let id = bench.submit(&spec(on, "echo run; cat in > out", more)).await;
        bench.ended().await;
        bench.boot().await;
        let job = bench.over(&id).await;
        assert_eq!(job["state"], "succeeded", "{fault}: {job}");
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{fault}: {job}");
        let found = artifacts(&bench, &id).await;
        assert_eq!(found.len(), 1, "{fault}: {found:?}");
        assert_eq!(found["out"]["sha256"], HELLO, "{fault}");
        assert_eq!(bench.logs(&id, "").await, "run\n", "{fault}: it ran once");
        let kept = files_below(&bench.path().join("artifacts").join(&id));
        assert_eq!(kept.len(), 1, "{fault}: {kept:?}");
    }
    bench.cleared().await;
}

/// A purge that is answered is done to its end, whatever happens to the server.
#[cfg(feature = "fault-points")]
async fn a_purge_goes_on_after_a_death(on: On) {
    let mut bench = start(on).await;
    let id = bench.submit(&spec(on, "echo x > out", json!({"outputs": ["out"]}))).await;
    bench.over(&id).await;
    bench.end(Signal::TERM);
    bench.boot_with("outbox:read=crash").await;
    drop(bench.request(Method::DELETE, &format!("/v1/jobs/{id}")).send().await);
    bench.ended().await;
    let folder = bench.path().join("artifacts").join(&id);
    assert!(folder.exists(), "it died before the removal");
    bench.boot().await;
    bench.eventually("what a purged job left is removed", async || (!folder.exists()).then_some(())).await;
}

/// One `#[tokio::test]` for each of these.
macro_rules! every_case {
    ($on:expr; $($(#[$attribute:meta])* $case:ident),* $(,)?) => {
        $($(#[$attribute])* #[tokio::test]
        async fn $case() {
            super::$case($on).await;
        })*
    };
    ($on:expr) => {
        crate::files::every_case!($on;
            inputs_arrive_and_outputs_come_out, a_missing_output_is_a_failure_and_failures_leave_theirs,
            an_input_that_is_not_to_be_had,
            #[cfg(feature = "fault-points")] killed_amid_placing_and_collecting,
            #[cfg(feature = "fault-points")] a_purge_goes_on_after_a_death);
    };
}
use every_case;
