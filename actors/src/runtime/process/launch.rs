//! Starting a shim, and waiting for the end of one.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::process::Command;

use super::attempt::Attempt;
use super::proc::Identity;
use super::shim::{MARKER, Shim};
use crate::limits::PROCESS_START_MAX;
use crate::runtime::{Error, Result};

/// How often is looked where the kernel gives no descriptor of a process.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How much of a shim's complaint is shown.
const COMPLAINT_BYTES_MAX: u64 = 1024;

/// Starts a shim and returns when it has reported: the process runs, or it cannot, or somebody else was first.
/// The shim goes on when this is dropped.
pub(super) async fn launch(shim: &Shim, attempt: &Attempt) -> Result<()> {
    let transient = |error: io::Error| Error::Transient {
        message: format!("the shim {} cannot be started: {error}", shim.program().display()),
    };
    let complaints = OpenOptions::new().create(true).append(true).mode(0o600).open(attempt.dir.shim_output());
    let mut child = Command::new(shim.program())
        .arg0("dogwatch")
        .arg(MARKER)
        .arg(attempt.dir.path())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(complaints.map_err(|error| attempt.unavailable(&error))?)
        .spawn()
        .map_err(transient)?;
    let mut report = child.stdout.take().expect("standard output is a pipe");
    // Somebody must take the shim's exit status, or it stays in the table of processes while we live.
    tokio::spawn(async move { child.wait().await });
    let reported = tokio::time::timeout(PROCESS_START_MAX, report.read_to_end(&mut Vec::new())).await;
    reported.map(drop).map_err(|_| attempt.unavailable(&"its start takes too long"))
}

/// What a shim said that ended before it had claimed the start.
pub(super) fn complaint(attempt: &Attempt) -> String {
    let mut said = Vec::new();
    if let Ok(file) = fs::File::open(attempt.dir.shim_output()) {
        drop(file.take(COMPLAINT_BYTES_MAX).read_to_end(&mut said));
    }
    format!("the shim of attempt {} ended before its start: {}", attempt.key, String::from_utf8_lossy(&said))
}

/// Returns when the shim has ended: by the kernel's word where it gives one.
pub(super) async fn ended(shim: &Identity) {
    if let Some(pidfd) = pidfd(shim) {
        // An error says no more than that it may have changed, which is all that a hint says.
        drop(pidfd.readable().await);
        return;
    }
    while shim.is_alive().unwrap_or(true) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe; an owned descriptor is what it asks for: the same for life"
)]
fn pidfd(shim: &Identity) -> Option<AsyncFd<OwnedFd>> {
    let pid = Pid::from_raw(shim.pid)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)
        .or_else(|_| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
        .ok()?;
    // Asked after the descriptor was opened: if it still lives, the descriptor is of it and no other.
    shim.is_alive().ok().filter(|alive| *alive)?;
    AsyncFd::with_interest(pidfd, Interest::READABLE).ok()
}
