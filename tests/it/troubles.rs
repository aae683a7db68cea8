//! What the machine does to a server: a second one on its directory, a full disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bench::{Bench, On, with};

#[tokio::test]
async fn a_second_server_on_the_directory_is_told_who_has_it() {
    let bench = Bench::start(On::Process).await;
    let second = bench.command().output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(125), "{said}");
    assert!(
        said.contains("is in use by another dogwatch (process ") && said.contains("--data-dir"),
        "{said}"
    );
    assert_eq!(said.trim().lines().count(), 1, "one message: {said}");
    let id = bench.submit(&On::Process.script("exit 0")).await;
    assert_eq!(bench.over(&id).await["state"], "succeeded", "the first one does not mind");
}

/// A file system of its own that is small enough to be filled.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs"]).arg(at).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "a tmpfs cannot be mounted; run the tests as root"
        );
        Self(at.to_owned())
    }

    /// Leaves so many bytes free.
    fn fill(&self, leave: u64) {
        let free = rustix::fs::statvfs(&self.0).unwrap();
        let bytes = (free.f_bavail * free.f_frsize).saturating_sub(leave);
        std::fs::write(self.0.join("ballast"), vec![0; usize::try_from(bytes).unwrap()]).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// The reasons that `/readyz` gives, `None` when it is ready.
async fn reasons(bench: &Bench) -> Option<String> {
    let answer = bench.request(reqwest::Method::GET, "/readyz").send().await.unwrap();
    let ready: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    (ready["ready"] == json!(false)).then(|| ready["reasons"].to_string())
}

/// `/readyz` must say within a second that the disk is full, or that it is not any more.
async fn is_told(bench: &Bench, full: bool) {
    let since = Instant::now();
    bench
        .eventually("it says so", async || {
            let reasons = reasons(bench).await;
            (reasons.is_some_and(|reasons| reasons.contains("no space left")) == full).then_some(())
        })
        .await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

async fn a_full_disk_refuses_and_recovers(engine: &str) {
    let dir = crate::cli_run::data_dir();
    let disk = SmallDisk::mount(dir.path());
    let bench = Bench::start_in(dir, On::Process, &[("DOGWATCH_STORE__ENGINE", engine)]).await;
    let pid = bench.pid();
    let gate = bench.path().join("gate");
    let waits =
        On::Process.script(&format!("until [ -e {} ]; do sleep 0.05; done; echo over", gate.display()));
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(bench.submit(&waits).await);
    }
    for id in &running {
        bench.in_state(id, "running").await;
    }
    let soon = On::Process.script("test $DOGWATCH_ATTEMPT -ge 2");
    let retried = bench.submit(&with(soon, json!({"backoff": {"initial": "2s", "jitter": 0.0}}))).await;
    bench.in_state(&retried, "backing_off").await;
    let held = bench.submit(&json!({"args": ["true"], "suspended": true})).await;

    // The reserve of the store is an eighth of a small disk.
    disk.fill(3 * 1024 * 1024);
    is_told(&bench, true).await;
    for _ in 0..20 {
        let (status, problem) = bench.post("/v1/jobs", &On::Process.script("true")).await;
        assert_eq!((status, &problem["code"]), (503, &json!("store_full")), "{problem}");
        assert_eq!(problem["retry_after"], 5);
    }
    let (status, problem) = bench.post(&format!("/v1/jobs/{held}/resume"), &Value::Null).await;
    assert_eq!((status, &problem["code"]), (503, &json!("store_full")), "{problem}");
    // Three attempts end and a timer comes due while nothing can be recorded; reads go on.
    std::fs::write(&gate, "").unwrap();
    let attempts = bench.path().join("processes").join(bench.installation());
    bench
        .eventually("the attempts are over", async || {
            let records = std::fs::read_dir(&attempts).unwrap().map(|entry| entry.unwrap());
            // Beside them are the pipes of the shims.
            let records = records.filter(|entry| entry.file_type().unwrap().is_file());
            let over = records.filter(|record| {
                // It may have been removed since it was listed.
                let said = std::fs::read_to_string(record.path()).unwrap_or_default();
                said.lines().any(|line| line.starts_with("{\"end\":"))
            });
            (over.count() == running.len()).then_some(())
        })
        .await;
    for id in &running {
        assert_eq!(bench.job(id).await["state"], "running", "shown before it was recorded");
    }
    assert_eq!(bench.count_jobs().await, 5, "{engine}: what was refused is not there");

    disk.free();
    is_told(&bench, false).await;
    bench.ask(&held, "resume").await;
    for id in running.iter().chain([&retried, &held]) {
        assert_eq!(bench.over(id).await["state"], "succeeded", "{engine}");
    }
    let id = bench.submit(&On::Process.script("exit 0")).await;
    assert_eq!(bench.over(&id).await["state"], "succeeded", "{engine}");
    assert_eq!(bench.count_jobs().await, 6);
    assert_eq!(bench.pid(), pid, "it was not started again");
}

#[tokio::test]
async fn a_full_disk_refuses_work_and_recovers_by_itself_sled() {
    a_full_disk_refuses_and_recovers("sled").await;
}

#[tokio::test]
async fn a_full_disk_refuses_work_and_recovers_by_itself_redb() {
    a_full_disk_refuses_and_recovers("redb").await;
}

#[tokio::test]
async fn a_full_disk_refuses_work_and_recovers_by_itself_lsm() {
    a_full_disk_refuses_and_recovers("lsm").await;
}

/// Others fill the disk to the last byte, again and again, while work is submitted.
async fn a_disk_filled_to_the_last_byte_loses_nothing(engine: &str) {
    let dir = crate::cli_run::data_dir();
    let disk = SmallDisk::mount(dir.path());
    let mut bench = Bench::start_in(dir, On::Process, &[("DOGWATCH_STORE__ENGINE", engine)]).await;
    let pid = bench.pid();
    let spec =
        |number: usize| json!({"args": ["true"], "suspended": true, "labels": {"n": number.to_string()}});
    let gates = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    let mut number = 0;
    for round in 0..2 {
        let (gate, over) =
            (gates.path().join(format!("{round}")), gates.path().join(format!("{round}.over")));
        let script = format!(
            "until [ -e {} ]; do sleep 0.05; done; echo some output; touch {}; exit 7",
            gate.display(),
            over.display()
        );
        let running =
            bench.submit(&with(On::Process.script(&script), json!({"restart_policy": "Never"}))).await;
        bench.in_state(&running, "running").await;
        disk.fill([0, 64 * 1024][round]);
        for _ in 0..30 {
            number += 1;
            let (status, answer) = bench.post("/v1/jobs", &spec(number)).await;
            match status {
                202 => acknowledged.push((number, answer["id"].as_str().unwrap().to_owned())),
                _ => assert_eq!(answer["code"], "store_full", "{engine}: {answer}"),
            }
        }
        std::fs::write(&gate, "").unwrap();
        bench.eventually("the attempt is over", async || over.exists().then_some(())).await;
        disk.free();
        is_told(&bench, false).await;
        let job = bench.over(&running).await;
        assert_eq!((&job["state"], &job["attempts"][0]["exit_code"]), (&json!("failed"), &json!(7)), "{job}");
        number += 1;
        acknowledged.push((number, bench.submit(&spec(number)).await));
    }
    assert_eq!(bench.pid(), pid);
    bench.restart(Signal::KILL).await;
    for (number, id) in &acknowledged {
        let job = bench.job(id).await;
        let expected = (&json!("suspended"), &json!(number.to_string()));
        assert_eq!((&job["state"], &job["labels"]["n"]), expected, "{engine}");
    }
    assert_eq!(bench.count_jobs().await, acknowledged.len() + 2, "{engine}: what was refused is not there");
}

#[tokio::test]
async fn a_disk_filled_to_the_last_byte_loses_nothing_sled() {
    a_disk_filled_to_the_last_byte_loses_nothing("sled").await;
}

#[tokio::test]
async fn a_disk_filled_to_the_last_byte_loses_nothing_redb() {
    a_disk_filled_to_the_last_byte_loses_nothing("redb").await;
}

#[tokio::test]
async fn a_disk_filled_to_the_last_byte_loses_nothing_lsm() {
    a_disk_filled_to_the_last_byte_loses_nothing("lsm").await;
}
