//! The real binary on a disk whose calls fail (`tests/shared/faultfs.c`): a failed write or sync ends it, a full
//! disk does not, and nothing acknowledged is lost by either.
//!
//! `DOGWATCH_PROVE_DISK_FAULTS` sets how many places in the work are struck, per kind of store and of fault
//! (default 2).

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On};
use crate::cli_run::data_dir;
use crate::faultfs;

/// Jobs submitted in one life at most: every fault strikes long before.
const JOBS_MAX: usize = 400;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Which call fails, from which one on, how often and how.
#[derive(Debug, Clone, Copy)]
struct Fault {
    call: &'static str,
    at: u64,
    times: u64,
    errno: i32,
}

struct Rig {
    bench: Bench,
    arm: std::path::PathBuf,
}

impl Rig {
    /// A server whose store meets the fault once [`Rig::arm`] was called.
    async fn start(engine: &str, fault: Fault) -> Self {
        let dir = data_dir();
        let library = faultfs::compile(dir.path());
        let arm = dir.path().join("armed");
        let (at, times, errno) = (fault.at.to_string(), fault.times.to_string(), fault.errno.to_string());
        let env = [
            ("DOGWATCH_STORE__ENGINE", engine),
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("FAULTFS_UNDER", "/store/"),
            ("FAULTFS_CALL", fault.call),
            ("FAULTFS_AT", &at),
            ("FAULTFS_TIMES", &times),
            ("FAULTFS_ERRNO", &errno),
            ("FAULTFS_ARM", arm.to_str().unwrap()),
        ];
        let bench = Bench::start_in(dir, On::Process, &env).await;
        Self { bench, arm }
    }

    fn arm(&self) {
        std::fs::write(&self.arm, "").unwrap();
    }

    fn disarm(&self) {
        std::fs::remove_file(&self.arm).unwrap();
    }

    /// Every job that was acknowledged is there, and comes to its end.
    async fn nothing_is_lost(&self, acknowledged: &[String], fault: Fault) {
        for id in acknowledged {
            assert_eq!(self.bench.over(id).await["state"], "succeeded", "{fault:?}");
        }
    }
}

/// How many places are struck.
fn places() -> u64 {
    std::env::var("DOGWATCH_PROVE_DISK_FAULTS").map_or(2, |text| text.parse().expect("a number"))
}

async fn is_fatal(engine: &str, fault: Fault) {
    let mut rig = Rig::start(engine, fault).await;
    let mut acknowledged = vec![rig.bench.submit(&On::Process.script("true")).await];
    // Made before: the job that runs may meet the fault first, and a server that ended takes its address with it.
    let submit = rig.bench.request(reqwest::Method::POST, "/v1/jobs").json(&On::Process.script("true"));
    rig.arm();
    let mut refused = false;
    for _ in 0..JOBS_MAX {
        let request = submit.try_clone().unwrap();
        // The server may be gone already.
        let Ok(answer) = request.send().await else { break };
        let status = answer.status();
        let Ok(body) = answer.bytes().await else { break };
        let answer: Value = serde_json::from_slice(&body).unwrap();
        if status == 202 {
            assert!(!refused, "{fault:?}: acknowledged after the store failed");
            acknowledged.push(answer["id"].as_str().unwrap().to_owned());
        } else {
            let code = answer["code"].as_str().unwrap();
            assert!(matches!(code, "store_unavailable" | "shutting_down"), "{fault:?}: {answer}");
            refused = true;
        }
    }
    assert_eq!(rig.bench.ended().await, Some(74), "{engine} {fault:?}");
    let log = rig.bench.log();
    assert!(log.contains("start dogwatch again"), "{log}");
    rig.disarm();
    rig.bench.boot().await;
    rig.nothing_is_lost(&acknowledged, fault).await;
}

async fn is_ridden_out(engine: &str, fault: Fault) {
    let mut rig = Rig::start(engine, fault).await;
    let pid = rig.bench.pid();
    rig.arm();
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for _ in 0..40 + fault.at {
        let (status, answer) = rig.bench.post("/v1/jobs", &On::Process.script("true")).await;
        if status == 202 {
            acknowledged.push(answer["id"].as_str().unwrap().to_owned());
        } else {
            assert_eq!(answer["code"], "store_full", "{fault:?}: {answer}");
            refused += 1;
        }
    }
    assert!(rig.bench.log().contains("the disk ran full amid a write"), "{engine} {fault:?}: it was not met");
    rig.nothing_is_lost(&acknowledged, fault).await;
    assert_eq!(
        rig.bench.count_jobs().await,
        acknowledged.len(),
        "{engine} {fault:?}: refused is not recorded"
    );
    assert_eq!(rig.bench.pid(), pid);
    println!("{engine} {fault:?}: {} acknowledged, {refused} refused, 0 lost", acknowledged.len());
    rig.disarm();
    rig.bench.restart(Signal::KILL).await;
    rig.nothing_is_lost(&acknowledged, fault).await;
    assert_eq!(rig.bench.count_jobs().await, acknowledged.len());
}

async fn failed_calls_are_fatal(engine: &str) {
    for place in 0..places() {
        let at = 1 + place * 7;
        for (call, errno) in [("sync", EIO), ("fdatasync", ENOSPC), ("write", EIO)] {
            // Once is enough: nothing is tried again, so that a second call that works must not happen. Of a sync
            // the system tells each descriptor of the file, and the store has a second one.
            let times = match place % 2 {
                0 if errno == ENOSPC => 2,
                0 => 1,
                _ => u64::from(u32::MAX),
            };
            is_fatal(engine, Fault { call, at, times, errno }).await;
        }
    }
}

#[tokio::test]
async fn a_failed_write_or_sync_ends_the_server_with_74_sled() {
    failed_calls_are_fatal("sled").await;
}

#[tokio::test]
async fn a_failed_write_or_sync_ends_the_server_with_74_redb() {
    failed_calls_are_fatal("redb").await;
}

#[tokio::test]
async fn a_failed_write_or_sync_ends_the_server_with_74_lsm() {
    failed_calls_are_fatal("lsm").await;
}

async fn full_amid_writes(engine: &str) {
    for place in 0..places() {
        let at = 1 + place * 5;
        is_ridden_out(engine, Fault { call: "write", at, times: 1 + place % 3, errno: ENOSPC }).await;
    }
}

#[tokio::test]
async fn a_disk_that_runs_full_amid_a_write_is_ridden_out_sled() {
    full_amid_writes("sled").await;
}

#[tokio::test]
async fn a_disk_that_runs_full_amid_a_write_is_ridden_out_redb() {
    full_amid_writes("redb").await;
}

#[tokio::test]
async fn a_disk_that_runs_full_amid_a_write_is_ridden_out_lsm() {
    full_amid_writes("lsm").await;
}

/// As with a quota: the system says that there is space, and every write fails until there is.
#[tokio::test]
async fn while_every_write_fails_for_want_of_space_reads_go_on() {
    for engine in ["lsm", "sled", "redb"] {
        let fault = Fault { call: "write", at: 1, times: u64::from(u32::MAX), errno: ENOSPC };
        let rig = Rig::start(engine, fault).await;
        let id = rig.bench.submit(&json!({"args": ["true"], "suspended": true})).await;
        rig.arm();
        let job = On::Process.script("true");
        let (first, later) = tokio::join!(rig.bench.post("/v1/jobs", &job), async {
            rig.bench
                .eventually("it says so", async || {
                    let answer = rig.bench.request(reqwest::Method::GET, "/readyz").send().await.ok()?;
                    (answer.status() == 503).then_some(())
                })
                .await;
            let later = rig.bench.post("/v1/jobs", &On::Process.script("true")).await;
            if engine != "redb" {
                // redb refuses to read after a failed write, until it is open again.
                assert_eq!(rig.bench.job(&id).await["state"], "suspended", "{engine}");
                assert_eq!(rig.bench.count_jobs().await, 1, "{engine}");
            }
            rig.disarm();
            later
        });
        assert_eq!((later.0, &later.1["code"]), (503, &json!("store_full")), "{engine}");
        // It was under way, and is answered as soon as its outcome is known.
        assert!(first.0 == 202 || first.1["code"] == "store_full", "{engine}: {first:?}");
        rig.bench.ask(&id, "resume").await;
        assert_eq!(rig.bench.over(&id).await["state"], "succeeded", "{engine}");
        assert_eq!(rig.bench.count_jobs().await, 1 + usize::from(first.0 == 202), "{engine}");
    }
}
