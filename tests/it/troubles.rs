//! What the machine does to a server: a second one on its directory, a full disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On};

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
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs"]).arg(at).status();
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

#[tokio::test]
async fn on_a_full_disk_nothing_is_acknowledged_that_is_not_kept() {
    for engine in ["sled", "redb"] {
        let dir = crate::cli_run::data_dir();
        let disk = SmallDisk::mount(dir.path());
        let mut bench = Bench::start_in(dir, On::Process, &[("DOGWATCH_STORE__ENGINE", engine)]).await;
        // Without attempts, so that nothing but the submissions writes.
        let spec =
            |number: usize| json!({"args": ["true"], "suspended": true, "labels": {"n": number.to_string()}});
        let mut acknowledged = Vec::new();
        for number in 0..20 {
            acknowledged.push((number, bench.submit(&spec(number)).await));
        }
        disk.fill(256 * 1024);
        let mut refused = None;
        for number in 20..4000 {
            let (status, answer) = bench.post("/v1/jobs", &spec(number)).await;
            if status != 202 {
                refused = Some((status, answer));
                break;
            }
            acknowledged.push((number, answer["id"].as_str().unwrap().to_owned()));
        }
        let (status, problem) = refused.expect("a full disk refuses");
        assert_eq!((status, &problem["code"]), (503, &json!("store_unavailable")), "{engine}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("space") || detail.contains("disk") || detail.contains("restart"),
            "{engine}: {detail}"
        );
        let ready: Value = bench
            .eventually("it says so", async || {
                let answer = bench.request(reqwest::Method::GET, "/readyz").send().await.ok()?;
                (answer.status() == 503).then_some(())?;
                serde_json::from_slice(&answer.bytes().await.ok()?).ok()
            })
            .await;
        assert!(ready["reasons"].to_string().contains("space"), "{engine}: {ready}");

        bench.end(Signal::KILL);
        disk.free();
        bench.boot().await;
        for (number, id) in &acknowledged {
            let job = bench.job(id).await;
            assert_eq!(
                (&job["state"], &job["labels"]["n"]),
                (&json!("suspended"), &json!(number.to_string())),
                "{engine}"
            );
        }
        // Of those that were refused the last may have been recorded: it was not known.
        let listed = bench.count_jobs().await;
        assert!((acknowledged.len()..=acknowledged.len() + 1).contains(&listed), "{engine}: {listed}");
        let id = bench.submit(&On::Process.script("exit 0")).await;
        assert_eq!(bench.over(&id).await["state"], "succeeded", "{engine}: it goes on");
    }
}
