//! The small process that stands between dogwatch and each attempt, and outlives it.
//!
//! Responsible for: starting the attempt's process once, writing its output to the log, recording its end,
//! stopping it when told. Decides nothing else. Single-threaded and blocking throughout: every process job pays
//! for its start and its memory.
//!
//! It is the same executable, started again with a marker as its first argument, so that both always agree on the
//! records between them.

mod pump;
mod spawn;
mod watch;

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::{Resource, Rlimit};

use super::proc::Identity;
use super::record::{AttemptDir, Claim, End, Spawned, Started};
use crate::clock::{Clock, SystemClock};
use crate::limits::PROCESS_FILES_SOFT_MAX;
use crate::runtime::StartFault;

/// The first argument of a shim. Behind it: the attempt's directory.
pub(super) const MARKER: &str = "--dogwatch-attempt-shim";

/// How long to wait before the end is recorded again, when the disk did not take it.
const RECORD_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The proof that this executable can be a shim: a process runtime cannot be made without one.
#[derive(Debug, Clone)]
pub struct Shim {
    program: PathBuf,
}

impl Shim {
    /// Call this first in `main`, before threads, logging or arguments. When this process was started to be a
    /// shim, it is one until its attempt is over, and does not return. Else it returns at once.
    #[expect(
        clippy::disallowed_methods,
        reason = "a shim is not the program whose main this is; it ends here"
    )]
    pub fn enter() -> Self {
        let mut args = std::env::args_os().skip(1);
        if args.next().as_deref() == Some(OsStr::new(MARKER)) {
            let dir = args.next().unwrap_or_default();
            match run(&AttemptDir::new(PathBuf::from(dir))) {
                Ok(()) => std::process::exit(0),
                Err(error) => {
                    say(&error);
                    std::process::exit(1);
                }
            }
        }
        // Not the path of the file: after an upgrade in place that is another program.
        Self { program: PathBuf::from("/proc/self/exe") }
    }

    /// Another executable whose `main` begins with [`Shim::enter`], such as `dogwatch-shim`: for programs, like
    /// test binaries, whose own `main` cannot.
    pub fn executable(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }
}

/// The life of a shim. An error means that nothing was started.
fn run(dir: &AttemptDir) -> io::Result<()> {
    // Away from the terminal and the group of whoever started us: their signals are not for the attempt. It fails
    // only when this process leads a group already, which is as good.
    rustix::process::setsid().ok();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // Readable and writable, so that it never reads as closed between two writers.
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of open is an int"))
        .open(dir.control())?;
    let me = Identity::of(rustix::process::getpid().as_raw_pid())?.ok_or(io::ErrorKind::NotFound)?;
    if dir.claim_start(&Started { shim: me, at: SystemClock.now() })? == Claim::Taken {
        return Ok(());
    }
    // From here on the attempt is ours alone, and whatever happens to it must be recorded.
    let end = attempt(dir, control);
    record_end(dir, &end);
    Ok(())
}

fn attempt(dir: &AttemptDir, control: std::fs::File) -> End {
    let orders = match dir.take_orders() {
        Ok(orders) => orders,
        Err(error) => {
            let message =
                format!("the attempt's orders cannot be read: {error}; check the data directory's disk");
            return End::Faulted { fault: StartFault::Rejected, message };
        }
    };
    limit_files();
    if let Some(limits) = &orders.limits {
        limits.enter();
    }
    let spawned = spawn::spawn(&orders);
    if let Some(limits) = &orders.limits {
        limits.leave();
    }
    let end = match spawned {
        Err((fault, message)) => End::Faulted { fault, message },
        Ok(child) => {
            let at = SystemClock.now();
            let pid = child.id().cast_signed();
            match Identity::of(pid) {
                Ok(Some(process)) => note(dir.record_spawned(&Spawned { process, at })),
                Ok(None) => {}
                Err(error) => note(Err(error)),
            }
            report();
            let mut exit = watch::Watch::new(child, control, &orders.log_path, at).run();
            exit.oom_killed = orders.limits.as_ref().is_some_and(super::cgroup::Orders::oom_killed);
            End::Exited(exit)
        }
    };
    if let Some(limits) = &orders.limits {
        limits.remove();
    }
    end
}

/// Closes standard output: whoever started us waits for that.
fn report() {
    let nowhere = OpenOptions::new().write(true).open("/dev/null");
    note(nowhere.and_then(|nowhere| rustix::stdio::dup2_stdout(nowhere).map_err(io::Error::from)));
}

/// Records the end, however long the disk takes to accept it: until then the attempt counts as running.
fn record_end(dir: &AttemptDir, end: &End) {
    while let Err(error) = dir.record_end(end) {
        if !dir.path().exists() {
            return;
        }
        note(Err(error));
        std::thread::sleep(RECORD_AGAIN_AFTER);
    }
}

/// No core files of jobs, and the usual number of files whatever the server allows itself.
fn limit_files() {
    let files = rustix::process::getrlimit(Resource::Nofile);
    let soft = files.maximum.map_or(PROCESS_FILES_SOFT_MAX, |hard| hard.min(PROCESS_FILES_SOFT_MAX));
    let files = Rlimit { current: Some(soft), maximum: files.maximum };
    note(rustix::process::setrlimit(Resource::Nofile, files).map_err(io::Error::from));
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    note(rustix::process::setrlimit(Resource::Core, none).map_err(io::Error::from));
}

/// Says what went wrong to the file that is our standard error; there is nobody else to tell.
fn note(result: io::Result<()>) {
    if let Err(error) = result {
        say(&error);
    }
}

/// Says it without `eprintln!`, which panics when the disk of that file is full; the exit code comes after.
fn say(error: &dyn std::fmt::Display) {
    writeln!(io::stderr(), "dogwatch shim: {error}").ok();
}
