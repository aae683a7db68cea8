//! Backups of a server under load, what is restored from them, and what `doctor --store` says of each.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use dogwatch_actors::store::{self, Batch, KeyRange, Kind, Order};
use futures_util::future::join_all;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On, with};
use crate::cli_run::data_dir;

/// The program on this directory with this kind of store.
fn dogwatch(dir: &Path, engine: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dogwatch"));
    command.args(args).env_clear().env("PATH", "/usr/bin:/bin").env("DOGWATCH_DATA_DIR", dir);
    command.env("DOGWATCH_STORE__ENGINE", engine).env("DOGWATCH_RUNTIME", "process").output().unwrap()
}

/// The same in the background, so that the test goes on meanwhile.
async fn running(dir: &Path, engine: &'static str, args: &[&str]) -> Output {
    let (dir, args) = (dir.to_owned(), args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
    let run = move || dogwatch(&dir, engine, &args.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// What `doctor --store --json` says, and its exit code.
fn doctor(dir: &Path, engine: &str) -> (Value, Option<i32>) {
    let output = dogwatch(dir, engine, &["doctor", "--store", "--json"]);
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|_| panic!("{output:?}")), output.status.code())
}

/// One client: submits until it is told to stop; half of its jobs wait for nothing, half are held.
async fn load(bench: &Bench, client: usize, stop: &Cell<bool>, acknowledged: &RefCell<Vec<String>>) {
    for number in 0.. {
        if stop.get() {
            return;
        }
        let spec = match number % 6 {
            0 => On::Process.script("true"),
            1 | 3 | 5 => json!({"args": ["true"], "suspended": true, "secrets": {"TOKEN": "s3cret"}}),
            _ => {
                json!({"args": ["true"], "start_at": "2099-01-01T00:00:00Z", "env": {"PAD": "x".repeat(3_000)}})
            }
        };
        let request = bench.request(Method::POST, "/v1/jobs").json(&with(spec, json!({"name": "load"})));
        let answer = request.header("idempotency-key", format!("{client}-{number}")).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        let job: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        acknowledged.borrow_mut().push(job["id"].as_str().unwrap().to_owned());
    }
}

async fn restored_under_load(engine: &'static str, other: &'static str) {
    let bench = Bench::start_with(On::Process, &[("DOGWATCH_STORE__ENGINE", engine)]).await;
    let base = data_dir();
    let gate = base.path().join("gate");
    let script =
        format!("test $DOGWATCH_ATTEMPT -ge 2 || until [ -e {} ]; do sleep 0.05; done", gate.display());
    let long = bench.submit(&On::Process.script(&script)).await;
    bench.in_state(&long, "running").await;

    let (stop, acknowledged) = (Cell::new(false), RefCell::new(vec![long.clone()]));
    let file = base.path().join("backup");
    let (mut before, mut after) = (Vec::new(), 0);
    let work = async {
        bench
            .eventually("there is something", async || (acknowledged.borrow().len() > 200).then_some(()))
            .await;
        before = acknowledged.borrow().clone();
        succeeded(&running(bench.path(), engine, &["backup", file.to_str().unwrap()]).await);
        after = acknowledged.borrow().len();
        // While it works it is examined, too, and nothing that is only changing is called broken.
        succeeded(&running(bench.path(), engine, &["doctor", "--store"]).await);
        stop.set(true);
    };
    tokio::join!(work, join_all((0..4).map(|client| load(&bench, client, &stop, &acknowledged))));
    assert!(after > before.len(), "nothing was written during the backup, so this proves little");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let dir = tempfile::tempdir_in(base.path()).unwrap();
    succeeded(&dogwatch(dir.path(), other, &["restore", file.to_str().unwrap()]));
    let (report, code) = doctor(dir.path(), other);
    assert_eq!((code, &report["ok"], &report["kind"]), (Some(0), &json!(true), &json!(other)), "{report}");
    let copy = Bench::start_in(dir, On::Process, &[("DOGWATCH_STORE__ENGINE", other)]).await;
    assert_ne!(copy.installation(), bench.installation(), "two servers would fight");
    for id in &before {
        copy.job(id).await;
    }
    let there = copy.count_jobs().await;
    assert!((before.len()..=acknowledged.borrow().len()).contains(&there), "{there}");
    // Its attempt is the original's; the copy makes one of its own, and the original goes on with its.
    let job = copy.over(&long).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(2)), "{job}");
    assert_eq!(bench.job(&long).await["state"], "running");
    fs::write(gate, "").unwrap();
    assert_eq!(bench.over(&long).await["attempt"], 1);
    goes_on(&copy, &before).await;
    println!("{engine} to {other}: {} before, {there} restored, {after} at its end; 0 lost", before.len());
}

/// What was acknowledged is what it was: due jobs end, held ones can be resumed and have their secrets.
async fn goes_on(copy: &Bench, jobs: &[String]) {
    let mut resumed = 0;
    for id in jobs {
        match copy.job(id).await["state"].as_str().unwrap() {
            "suspended" if resumed < 3 => {
                resumed += 1;
                copy.ask(id, "resume").await;
                assert_eq!(copy.over(id).await["state"], "succeeded");
            }
            "suspended" | "queued" if copy.job(id).await["spec"]["start_at"].is_string() => {}
            "suspended" => {}
            _ => assert_eq!(copy.over(id).await["state"], "succeeded"),
        }
    }
    assert_eq!(resumed, 3);
    let again = copy.request(Method::POST, "/v1/jobs").header("idempotency-key", "0-0");
    let spec = with(On::Process.script("true"), json!({"name": "load"}));
    let answer = again.json(&spec).send().await.unwrap();
    let job: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert!(jobs.contains(&job["id"].as_str().unwrap().to_owned()), "a key of the original means its job");
    let id = copy.submit(&On::Process.script("true")).await;
    assert_eq!(copy.over(&id).await["state"], "succeeded");
}

#[tokio::test]
async fn a_backup_under_load_holds_everything_acknowledged_and_its_jobs_go_on_sled_to_lsm() {
    restored_under_load("sled", "lsm").await;
}

#[tokio::test]
async fn a_backup_under_load_holds_everything_acknowledged_and_its_jobs_go_on_lsm_to_redb() {
    restored_under_load("lsm", "redb").await;
}

#[tokio::test]
async fn a_backup_without_a_server_and_what_a_restore_refuses() {
    let mut bench = Bench::start(On::Process).await;
    let id = bench.submit(&json!({"args": ["true"], "suspended": true})).await;
    bench.end(Signal::TERM);
    let base = data_dir();
    let file = base.path().join("backup");
    let name = file.to_str().unwrap();
    succeeded(&dogwatch(bench.path(), "auto", &["backup", name]));
    let twice = dogwatch(bench.path(), "auto", &["backup", name]);
    assert_eq!(twice.status.code(), Some(2), "{twice:?}");

    let target = base.path().join("target");
    let whole = fs::read(&file).unwrap();
    for step in 0..16 {
        let at = whole.len() * step / 16;
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        for content in [damaged, whole[..at].to_vec()] {
            let broken = base.path().join("broken");
            fs::write(&broken, content).unwrap();
            let refused = dogwatch(&target, "auto", &["restore", broken.to_str().unwrap()]);
            assert_eq!(refused.status.code(), Some(125), "at {at}: {refused:?}");
        }
    }
    let left: Vec<_> = fs::read_dir(base.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "a refused restore left something: {left:?}");

    let taken = dogwatch(&target, "redb", &["restore", name, "--take-over"]);
    succeeded(&taken);
    let installation = fs::read_to_string(target.join("installation")).unwrap();
    assert_eq!(installation.trim(), bench.installation());
    let again = dogwatch(&target, "redb", &["restore", name]);
    assert_eq!(again.status.code(), Some(2), "it is not empty: {again:?}");
    let (report, _) = doctor(&target, "redb");
    assert_eq!((&report["records"]["jobs"], &report["faults"]), (&json!(1), &json!([])), "{id} {report}");
    let none =
        dogwatch(&base.path().join("none"), "auto", &["backup", base.path().join("x").to_str().unwrap()]);
    assert_eq!(none.status.code(), Some(3), "{none:?}");
}

/// Takes the rows whose keys `lost` picks away, behind the back of whoever wrote them.
async fn lose(dir: &Path, kind: Kind, lost: impl Fn(&[u8]) -> bool) -> usize {
    let store = store::open(&dir.join("store"), kind).unwrap();
    let rows = store.scan(KeyRange::prefix(""), Order::Ascending, usize::MAX).unwrap();
    let mut batch = Batch::new();
    for (key, _) in rows.iter().filter(|(key, _)| lost(key)) {
        batch.delete(key.clone());
    }
    store.commit(batch.clone()).await.unwrap();
    store.close();
    batch.ops.len()
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_job() {
    for kind in Kind::ALL {
        let engine = kind.name();
        let mut bench = Bench::start_with(On::Process, &[("DOGWATCH_STORE__ENGINE", engine)]).await;
        let mut ids = Vec::new();
        for number in 0..4 {
            let spec = json!({"labels": {"n": number.to_string()}, "start_at": "2099-01-01T00:00:00Z"});
            ids.push(bench.submit(&with(On::Process.script("true"), spec)).await);
            bench.ask(&ids[number], "suspend").await;
            bench.ask(&ids[number], "resume").await;
        }
        bench.end(Signal::KILL);
        let (report, code) = doctor(bench.path(), engine);
        assert_eq!((code, &report["ok"]), (Some(0), &json!(true)), "{report}");
        assert_eq!(
            (&report["records"]["jobs"], &report["format"]),
            (&json!(4), &json!(store::FORMAT)),
            "{report}"
        );

        let bytes = |id: &String| id.parse::<dogwatch_actors::id::JobId>().unwrap().as_bytes().to_vec();
        let has = |key: &[u8], id: &String| key.windows(16).any(|part| part == bytes(id));
        // Of each job something else is lost.
        let lost = lose(bench.path(), kind, |key| {
            (key.starts_with(b"m/") && has(key, &ids[0]))
                || (key.starts_with(b"h/") && has(key, &ids[1]) && key.ends_with(&2u64.to_be_bytes()))
                || (key.starts_with(b"x/job/label") && has(key, &ids[2]))
                || (key.starts_with(b"t/") && has(key, &ids[3]))
        })
        .await;
        assert_eq!(lost, 4);
        let (report, code) = doctor(bench.path(), engine);
        assert_eq!((code, &report["ok"]), (Some(1), &json!(false)), "{report}");
        for (id, words) in ids.iter().zip(["the job", "entry 2 of the history", "label/n=2", "the row t/"]) {
            let faults = report["faults"].as_array().unwrap();
            let named = faults.iter().find(|fault| fault["job"] == json!(id)).unwrap_or(&Value::Null);
            let message = named["message"].as_str().unwrap_or_default();
            assert!(message.contains(words) && message.contains("missing"), "{engine} {words}: {report}");
        }
        let shown = dogwatch(bench.path(), engine, &["doctor", "--store"]);
        assert!(String::from_utf8_lossy(&shown.stdout).contains(&ids[0]), "{shown:?}");
    }
}
