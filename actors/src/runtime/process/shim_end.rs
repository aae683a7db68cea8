//! What a shim leaves to be found: what it said, and its own end.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::attempt::Attempt;
use super::proc::Identity;

/// How often is looked where the kernel gives no descriptor of a process.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How much of a shim's complaint is shown.
const COMPLAINT_BYTES_MAX: u64 = 1024;

/// What a shim said that ended before it had claimed the start.
pub(super) fn complaint(attempt: &Attempt) -> String {
    let mut said = Vec::new();
    if let Ok(file) = fs::File::open(attempt.record.complaints()) {
        drop(file.take(COMPLAINT_BYTES_MAX).read_to_end(&mut said));
    }
    format!("the shim of attempt {} ended before its start: {}", attempt.key, String::from_utf8_lossy(&said))
}

/// Returns when the shim has ended, by the kernel's word where it gives one. For shims that another process
/// started: those go with their attempt.
pub(super) async fn ended(shim: &Identity, boot: &str) {
    if let Some(pidfd) = pidfd(shim, boot) {
        // An error says no more than that it may have changed, which is all that a hint says.
        drop(pidfd.readable().await);
        return;
    }
    while shim.is_alive(boot).unwrap_or(true) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe; an owned descriptor is what it asks for: the same for life"
)]
fn pidfd(shim: &Identity, boot: &str) -> Option<AsyncFd<OwnedFd>> {
    let pid = Pid::from_raw(shim.pid)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)
        .or_else(|_| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
        .ok()?;
    // Asked after the descriptor was opened: if it still lives, the descriptor is of it and no other.
    shim.is_alive(boot).ok().filter(|alive| *alive)?;
    AsyncFd::with_interest(pidfd, Interest::READABLE).ok()
}
