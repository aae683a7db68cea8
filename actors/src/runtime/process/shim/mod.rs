//! The small process that stands between dogwatch and each attempt, and outlives it.
//!
//! Responsible for: starting the attempt's process once, writing its output to the log, recording its end,
//! stopping it when told. Decides nothing else. Single-threaded and blocking throughout: every process job that runs
//! pays for its memory.
//!
//! It serves one attempt after the other, as whoever started it tells on its standard input; when that closes it
//! finishes what it has and goes.
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

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::process::{Resource, Rlimit};

use super::proc::{Identity, boot_id};
use super::record::{AttemptDir, Claim, Durable, End, Spawned, Started};
use crate::clock::{Clock, SystemClock};
use crate::limits::PROCESS_FILES_SOFT_MAX;
use crate::runtime::StartFault;

/// The first argument of a shim. Behind it: the folder of the attempts' directories.
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
            match run(&PathBuf::from(dir)) {
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

/// What a shim tells whoever started it, a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// The process of the attempt runs.
    Started,
    /// The attempt's end is recorded, or its start was somebody else's or not possible. The next one may come.
    Over,
}

impl Reply {
    const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Over => "over",
        }
    }

    /// Reads a reply.
    pub(super) fn decode(line: &str) -> Option<Self> {
        [Self::Started, Self::Over].into_iter().find(|reply| reply.name() == line)
    }

    /// Whoever started us may be gone; the attempt goes on.
    fn tell(self) {
        writeln!(io::stdout(), "{}", self.name()).ok();
    }
}

/// Whether a shim can serve another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// Nothing is left of the last one.
    Yes,
    /// Something could not be ended or undone; it must not be taken for the next one's.
    No,
}

/// The life of a shim: serves the attempts whose names come on standard input, one after the other, until that is
/// closed. An error means that it could not begin.
fn run(root: &Path) -> io::Result<()> {
    // Away from the terminal and the group of whoever started us: their signals are not for the attempts. It fails
    // only when this process leads a group already, which is as good.
    rustix::process::setsid().ok();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let boot = boot_id()?;
    let pid = rustix::process::getpid().as_raw_pid();
    let me = Identity::of(pid, &boot)?.ok_or(io::ErrorKind::NotFound)?;
    limit_files();
    for name in io::stdin().lines() {
        match serve(&AttemptDir::new(root.join(name?)), &me) {
            Ok(Fit::Yes) => {}
            Ok(Fit::No) => break,
            // Nothing was started.
            Err(error) => say(&error),
        }
        Reply::Over.tell();
    }
    Ok(())
}

/// Serves one attempt. An error means that it was not started.
fn serve(dir: &AttemptDir, me: &Identity) -> io::Result<Fit> {
    let complaints = OpenOptions::new().create(true).append(true).mode(0o600).open(dir.shim_output())?;
    rustix::stdio::dup2_stderr(complaints)?;
    // Readable and writable, so that it never reads as closed between two writers.
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of open is an int"))
        .open(dir.control())?;
    if dir.claim_start(&Started { shim: me.clone(), at: SystemClock.now() })? == Claim::Taken {
        return Ok(Fit::Yes);
    }
    // From here on the attempt is ours alone, and whatever happens to it must be recorded.
    let (end, fit) = attempt(dir, control, &me.boot);
    record_end(dir, &end);
    Ok(fit)
}

fn attempt(dir: &AttemptDir, control: std::fs::File, boot: &str) -> (End, Fit) {
    let orders = match dir.take_orders() {
        Ok(orders) => orders,
        Err(error) => {
            let message =
                format!("the attempt's orders cannot be read: {error}; check the data directory's disk");
            return (End::Faulted { fault: StartFault::Rejected, message }, Fit::Yes);
        }
    };
    let limits = orders.limits.as_ref();
    let mut fit = Fit::Yes;
    if let Some(limits) = limits {
        limits.enter();
    }
    let spawned = spawn::spawn(&orders);
    if limits.is_some_and(|limits| limits.leave().is_err()) {
        fit = Fit::No;
    }
    let end = match spawned {
        Err((fault, message)) => End::Faulted { fault, message },
        Ok(child) => {
            let at = SystemClock.now();
            match Identity::of(child.id().cast_signed(), boot) {
                Ok(Some(process)) => note(dir.record_spawned(&Spawned { process, at })),
                Ok(None) => {}
                Err(error) => note(Err(error)),
            }
            Reply::Started.tell();
            let (mut exit, left) = watch::Watch::new(child, control, &orders.log_path, at).run();
            exit.oom_killed = limits.is_some_and(super::cgroup::Orders::oom_killed);
            if left == watch::Left::Something {
                fit = Fit::No;
            }
            End::Exited(exit)
        }
    };
    if let Some(limits) = limits {
        limits.remove();
    }
    (end, fit)
}

/// While whoever started us lives, it takes the end over at once. Else nobody may come for it for long.
fn durable() -> Durable {
    let stdin = io::stdin();
    let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut polled, Some(&now)) {
        Ok(0) => Durable::No,
        _ => Durable::Yes,
    }
}

/// Records the end, however long the disk takes to accept it: until then the attempt counts as running.
fn record_end(dir: &AttemptDir, end: &End) {
    while let Err(error) = dir.record_end(end, durable()) {
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
