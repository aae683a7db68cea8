//! Data directories that earlier releases left behind: they open, nothing in them is lost, and their jobs go on.
//!
//! `tests/fixtures/README.md` says what is in them and how the next one is made.

use std::path::{Path, PathBuf};
use std::process::Command;

use dogwatch_actors::store;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On, with};
use crate::cli_run::data_dir;

/// What a fixture keeps of a data directory: what the processes of its attempts left is gone with their host.
const KEPT: [&str; 5] = ["store", "installation", "root.key", "secrets.key", "jobs.json"];

fn archive(format: u32, engine: &str) -> PathBuf {
    let name = format!("tests/fixtures/store-format-{format}-{engine}.tar.gz");
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn tar(args: &[&str], archive: &Path, dir: &Path, names: &[&str]) {
    let mut command = Command::new("tar");
    command.args(args).arg("--file").arg(archive).arg("--directory").arg(dir).args(names);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// What the scripts of the fixtures begin with. Never changed: a fixture holds the digest of what was submitted.
const PREAMBLE: &str = r#"call() {
  rest=${DOGWATCH_CALLBACK_URL#http://}; host=${rest%%/*}
  exec 3<>"/dev/tcp/${host%:*}/${host##*:}" || return 1
  printf 'POST /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' \
    "${rest#*/}" "$host" "$DOGWATCH_CALLBACK_TOKEN" "${#1}" "$1" >&3
  IFS= read -r status <&3; exec 3>&-
  case $status in *' 2'*) ;; *) return 1 ;; esac
}"#;

/// The jobs of a fixture: one in every state that can last, and what becomes of it.
fn jobs() -> Vec<(&'static str, Value)> {
    let script = |text: &str| json!({"args": ["bash", "-c", format!("{PREAMBLE}\n{text}")]});
    let later = jiff::Timestamp::from_second(jiff_now() + 8).unwrap().to_string();
    vec![
        ("succeeded", with(script("echo done"), json!({"labels": {"team": "data"}}))),
        ("failed", with(script("exit 3"), json!({"restart_policy": "Never"}))),
        ("cancelled", with(script("true"), json!({"suspended": true}))),
        (
            "secret",
            with(
                script("test \"$TOKEN\" = s3cret"),
                json!({"suspended": true, "secrets": {"TOKEN": "s3cret"}, "max_attempts": 1}),
            ),
        ),
        ("delayed", with(script("true"), json!({"start_at": later}))),
        (
            "again",
            with(
                script("test $DOGWATCH_ATTEMPT -ge 2"),
                json!({"backoff": {"initial": "10s", "jitter": 0.0}}),
            ),
        ),
        ("running", script("test $DOGWATCH_ATTEMPT -ge 2 || exec sleep 15")),
        (
            "told",
            with(
                script("true"),
                json!({"on_complete": [{"url": "https://dogwatch.invalid/hook", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLwSw"}]}),
            ),
        ),
    ]
}

fn jiff_now() -> i64 {
    let now = std::fs::metadata("/proc/self").unwrap().modified().unwrap();
    i64::try_from(now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

async fn make(engine: &str) {
    let mut bench = Bench::start_with(On::Process, &[("DOGWATCH_STORE__ENGINE", engine)]).await;
    let mut made = serde_json::Map::new();
    for (name, spec) in jobs() {
        let request = bench.request(Method::POST, "/v1/jobs").json(&with(spec, json!({"name": name})));
        let answer = request.header("idempotency-key", name).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{name}");
        let job: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        made.insert(name.to_owned(), job["id"].clone());
    }
    let id = |name: &str| made[name].as_str().unwrap().to_owned();
    bench.ask(&id("cancelled"), "cancel").await;
    for (name, state) in [
        ("succeeded", "succeeded"),
        ("failed", "failed"),
        ("cancelled", "cancelled"),
        ("secret", "suspended"),
        ("delayed", "queued"),
        ("again", "backing_off"),
        ("running", "running"),
        ("told", "succeeded"),
    ] {
        bench.in_state(&id(name), state).await;
    }
    bench.post(&format!("/v1/jobs/{}/events/noted", id("secret")), &json!({"event": 1})).await;
    fill_queue(&bench).await;
    bench.end(Signal::KILL);
    std::fs::write(bench.path().join("jobs.json"), Value::Object(made.clone()).to_string()).unwrap();
    tar(&["--create", "--gzip", "--sort=name"], &archive(FORMAT, engine), bench.path(), &KEPT);
}

/// A message that waits, one that failed once and one that is done, with bodies of every kind.
async fn fill_queue(bench: &Bench) {
    // For as long as anybody may open the fixture.
    let settings = json!({"max_deliveries": 3, "retention": "87000h", "keep_results": "87000h"});
    let declared = bench.request(Method::PUT, "/v1/queues/kept").json(&settings);
    assert_eq!(declared.send().await.unwrap().status(), 201);
    let messages = json!({"messages": [
        {"body": {"first": [1, 2.5, null]}, "headers": {"team": "data"}, "id": "one"},
        {"body": "a text"},
        {"body": [true]},
    ]});
    assert_eq!(bench.post("/v1/queues/kept/messages", &messages).await.0, 201);
    let (_, answer) = bench.post("/v1/queues/kept/receive", &json!({"max": 2})).await;
    let receipts: Vec<&Value> =
        answer["messages"].as_array().unwrap().iter().map(|it| &it["receipt"]).collect();
    let done = json!({"receipt": receipts[0], "result": {"rows": 7}});
    assert_eq!(bench.post("/v1/queues/kept/messages/1/ack", &done).await.0, 200);
    let failed = json!({"receipt": receipts[1], "error": "not today"});
    assert_eq!(bench.post("/v1/queues/kept/messages/2/nack", &failed).await.0, 200);
}

/// What [`fill_queue`] left is there, and is worked on.
async fn drain_queue(bench: &Bench) {
    let first = bench.get("/v1/queues/kept/messages/1").await;
    assert_eq!((&first["state"], &first["result"]), (&json!("done"), &json!({"rows": 7})), "{first}");
    assert_eq!(bench.get("/v1/queues/kept/messages/2").await["last_error"], "not today");
    let (_, answer) = bench.post("/v1/queues/kept/receive", &json!({"max": 5, "wait": "20s"})).await;
    let got = answer["messages"].as_array().unwrap();
    let mut bodies: Vec<String> = got.iter().map(|message| message["body"].to_string()).collect();
    bodies.sort();
    assert!(bodies == [r#""a text""#, "[true]"] || bodies == ["[true]"], "{answer}");
}

/// The format that this version writes.
const FORMAT: u32 = 4;

/// Not a test by itself: makes the fixtures of the present format when `DOGWATCH_BLESS_FIXTURES` asks for it.
#[tokio::test]
async fn make_the_fixtures_of_this_format() {
    if std::env::var_os("DOGWATCH_BLESS_FIXTURES").is_some() {
        for engine in ["lsm", "sled", "redb"] {
            make(engine).await;
        }
    }
}

async fn opens(format: u32, engine: &str) {
    let dir = data_dir();
    tar(&["--extract", "--gzip"], &archive(format, engine), dir.path(), &[]);
    let bench = Bench::start_in(dir, On::Process, &[("DOGWATCH_STORE__ENGINE", engine)]).await;
    let made: Value =
        serde_json::from_slice(&std::fs::read(bench.path().join("jobs.json")).unwrap()).unwrap();
    let id = |name: &str| made[name].as_str().unwrap().to_owned();
    assert_eq!(bench.count_jobs().await, made.as_object().unwrap().len());
    for (name, state) in [("succeeded", "succeeded"), ("failed", "failed"), ("cancelled", "cancelled")] {
        let job = bench.job(&id(name)).await;
        assert_eq!((&job["state"], &job["name"]), (&json!(state), &json!(name)), "{job}");
        bench.history(&id(name)).await;
    }
    let labelled = bench.get("/v1/jobs?label=team:data").await;
    assert_eq!(labelled["jobs"][0]["id"], made["succeeded"]);
    assert_eq!(
        bench.get(&format!("/v1/jobs/{}/webhooks", id("told"))).await["webhooks"].as_array().unwrap().len(),
        1
    );
    // A key of then still means the job of then.
    let again = bench.request(Method::POST, "/v1/jobs").header("idempotency-key", "failed");
    let spec = with(jobs().remove(1).1, json!({"name": "failed"}));
    let answer = again.json(&spec).send().await.unwrap();
    let job: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(job["id"], made["failed"], "{job}");
    assert!(bench.history(&id("secret")).await.iter().any(|kind| kind.contains("event")));
    if format > 1 {
        drain_queue(&bench).await;
    }
    bench.ask(&id("secret"), "resume").await;
    bench.ask(&id("failed"), "retry").await;
    for (name, state) in [
        ("secret", "succeeded"),
        ("delayed", "succeeded"),
        ("again", "succeeded"),
        ("running", "succeeded"),
        ("failed", "failed"),
    ] {
        let job = bench.over(&id(name)).await;
        assert_eq!(job["state"], state, "{engine}: {job}");
    }
    assert_eq!(bench.job(&id("failed")).await["attempt"], 2);
}

#[tokio::test]
async fn a_sled_directory_of_format_1_opens_and_its_jobs_go_on() {
    opens(1, "sled").await;
}

#[tokio::test]
async fn a_redb_directory_of_format_1_opens_and_its_jobs_go_on() {
    opens(1, "redb").await;
}

#[tokio::test]
async fn a_directory_of_format_2_opens_and_its_jobs_and_messages_go_on() {
    for engine in ["lsm", "sled", "redb"] {
        opens(2, engine).await;
    }
}

#[tokio::test]
async fn a_directory_of_format_3_opens_and_its_jobs_and_messages_go_on() {
    for engine in ["lsm", "sled", "redb"] {
        opens(3, engine).await;
    }
}

/// Every file of a directory and what is in it.
fn everything(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            found.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_directory_of_a_newer_format_is_refused_and_stays_as_it_is() {
    let newer = store::FORMAT + 1;
    for engine in ["sled", "redb"] {
        let dir = data_dir();
        tar(&["--extract", "--gzip"], &archive(1, engine), dir.path(), &[]);
        let checksum = crc32c::crc32c(&newer.to_le_bytes());
        std::fs::write(dir.path().join("store/format"), format!("{newer} {checksum:08x}\n")).unwrap();
        let before = everything(dir.path());
        for args in [&["serve"][..], &["doctor", "--store"], &["backup", "/tmp/never-written"]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_dogwatch"));
            command.args(args).env_clear().env("DOGWATCH_DATA_DIR", dir.path());
            command.env("DOGWATCH_STORE__ENGINE", engine).env("DOGWATCH_RUNTIME", "process");
            let refused = command.output().unwrap();
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(125), "{args:?}: {said}");
            assert!(
                said.contains(&format!("has format {newer}")) && said.contains("use the version"),
                "{said}"
            );
            assert!(everything(dir.path()) == before, "{engine} {args:?}: the directory was changed");
        }
    }
}
