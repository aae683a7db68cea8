//! A container engine of the test's own, which it may stop and start.
//!
//! Not responsible for: callbacks; the engine has a network of its own, apart from the host's, so that it cannot
//! change that. Invariant: dropped, it is gone with its containers. Needs root, like the engine of this host.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::bench::{IMAGE, PATIENCE, docker, docker_at};

/// The engine.
pub(crate) struct OwnEngine {
    dir: TempDir,
    child: Option<Child>,
    /// Whether containers go on while it is stopped.
    live_restore: bool,
}

impl OwnEngine {
    /// Starts one that has the image of the tests.
    pub(crate) fn start(live_restore: bool) -> Self {
        let mut engine = Self { dir: tempfile::tempdir().unwrap(), child: None, live_restore };
        engine.boot();
        let image = engine.file("image.tar");
        docker(&["save", "--output", &image, IMAGE]).expect("this host's engine has the image of the tests");
        docker_at(&engine.host(), &["load", "--input", &image]).expect("the image can be loaded");
        engine
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// What `docker.host` has to be.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.file("sock"))
    }

    /// Starts it again.
    pub(crate) fn boot(&mut self) {
        let log_path = self.file("log");
        self.launch();
        let deadline = Instant::now() + PATIENCE;
        while docker_at(&self.host(), &["version"]).is_none() {
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            assert!(Instant::now() < deadline, "the engine does not start:\n{log}");
        }
    }

    fn launch(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.file("log")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", "dockerd", "--iptables=false", "--ip-masq=false", "--ip-forward=false"]);
        command.args(["--shutdown-timeout", "5", "--host", &self.host(), "--pidfile", &self.file("pid")]);
        command.args(["--data-root", &self.file("data"), "--exec-root", &self.file("exec")]);
        if self.live_restore {
            command.arg("--live-restore");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child =
            Some(command.spawn().expect("an engine of our own can be started: root, unshare, dockerd"));
        let deadline = Instant::now() + PATIENCE;
        while docker_at(&self.host(), &["version"]).is_none() {
            let log = std::fs::read_to_string(self.file("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the engine does not start:\n{log}");
        }
    }

    /// Ends it by this signal.
    pub(crate) fn end(&mut self, signal: Signal) {
        let mut child = self.child.take().expect("it runs");
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
        self.forget_containerd();
    }

    /// Waits for the end of the process under the engine that dies with it, and removes its note: as long as its
    /// id can be found, be it as a zombie, the next engine takes it for alive.
    fn forget_containerd(&self) {
        let note = self.dir.path().join("exec/containerd/containerd.pid");
        let Ok(pid) = std::fs::read_to_string(&note) else { return };
        let status = format!("/proc/{}/status", pid.trim());
        let lives = || std::fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ"));
        let deadline = Instant::now() + PATIENCE;
        while lives() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        drop(std::fs::remove_file(note));
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if self.child.is_none() {
            self.boot();
        }
        let all = docker_at(&self.host(), &["ps", "--all", "--quiet"]).unwrap_or_default();
        for container in all.lines() {
            docker_at(&self.host(), &["rm", "--force", container]);
        }
        self.end(Signal::TERM);
        unmount(self.dir.path());
    }
}

/// What an engine leaves mounted below its directories.
fn unmount(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(dir)) {
        drop(Command::new("umount").args(["--lazy", point]).status());
    }
}
