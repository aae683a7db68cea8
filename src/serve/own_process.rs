//! What a process that is a server and nothing else asks of the system for itself.
//!
//! Not responsible for attempts, which have what they would have without, nor for programs that embed a supervisor: theirs is
//! to decide for themselves, and may be the same.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;

/// Asks. What is not given costs speed or room, and is no reason not to start.
pub fn prepare() {
    raise_files_limit();
    forgo_huge_pages();
}

/// As many open files as are allowed: what a process gets without asking (1,024 as a rule) is kept low only for
/// programs that use `select`.
fn raise_files_limit() {
    let files = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }) {
        tracing::warn!(%error, "the number of open files cannot be raised to what is allowed");
    }
}

/// Memory in small pages. Whoever touches a huge one first waits until all of it is cleared: on a virtual machine that was
/// measured as 5 ms, in which an actor or the committing thread does nothing else, and of 100,000 timers due within one
/// second the last were over a second late for it (0.2 s without).
fn forgo_huge_pages() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the system has no huge pages to forgo");
    }
}
