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

mod meter;
mod pump;
mod spawn;
mod watch;

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};

use super::control;
use super::proc::{Identity, boot_id};
use super::record::{Durable, End, Hold, Orders, Owner, RecordFile, Spawned, Started};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::limits::PROCESS_FILES_SOFT_MAX;
use crate::runtime::Running;

/// The first argument of a shim. Behind it: the folder of the attempts' records.
pub(super) const MARKER: &str = "--dogwatch-attempt-shim";

/// What is in the environment of a shim so that the allocator which it shares with the server gives it no huge pages: to
/// clear the first of them would take longer than to start most attempts, and a shim needs a part of one.
pub(super) const SMALL_PAGES: (&str, &str) = ("MIMALLOC_ALLOW_THP", "0");

/// How long to wait before the end is recorded again, when the disk did not take it.
const RECORD_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The proof that this executable can be a shim: a process runtime cannot be made without one.
#[derive(Debug, Clone)]
pub struct Shim {
    program: PathBuf,
    /// What was so before this program decided anything for itself.
    huge_pages: bool,
}

impl Shim {
    /// Call this first in `main`, before threads, logging or arguments. When this process was started to be a
    /// shim, it is one until there are no more attempts for it, and does not return. Else it returns at once.
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
        Self::executable("/proc/self/exe")
    }

    /// Another executable whose `main` begins with [`Shim::enter`], such as `dogwatch-shim`: for programs, like
    /// test binaries, whose own `main` cannot.
    pub fn executable(program: impl Into<PathBuf>) -> Self {
        let disabled = rustix::thread::transparent_huge_pages_are_disabled().unwrap_or(true);
        Self { program: program.into(), huge_pages: !disabled }
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Whether attempts may have huge pages: where this program was started with them. What it has switched off since is
    /// for itself alone, though it descends to all that it starts.
    pub(super) fn lets_have_huge_pages(&self) -> bool {
        self.huge_pages
    }
}

/// What a shim tells whoever started it, a line of JSON each, when it has recorded the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// The process of the attempt runs, and has for a moment; as what, if that could be recorded. Not told of one that
    /// is over by then.
    Started(Option<Running>),
    /// The attempt's end is recorded, or its start was somebody else's or not possible, and then there is none. The next
    /// one may come.
    Over(Option<End>),
}

impl Reply {
    /// Reads a reply.
    pub(super) fn decode(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// Whoever started us may be gone; the attempt goes on.
    fn tell(&self) {
        if let Ok(mut line) = serde_json::to_vec(self) {
            line.push(b'\n');
            io::stdout().write_all(&line).ok();
        }
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
    if std::env::var_os(SMALL_PAGES.0).is_some() {
        // Whoever started us, or the allocator, has switched them off for all that descends from it; the attempts may have them.
        note(rustix::thread::disable_transparent_huge_pages(false).map_err(io::Error::from));
    }
    let boot = boot_id()?;
    let pid = rustix::process::getpid().as_raw_pid();
    let me = Identity::of(pid, &boot)?.ok_or(io::ErrorKind::NotFound)?;
    limit_files();
    let path = control::path(root, &me);
    let control = control::listen(&path)?;
    let mut shim = Serving { root, me, control };
    let served = shim.serve_all();
    // With it orders to stop find nobody, and are carried out without us.
    note(std::fs::remove_file(path));
    served
}

/// A shim at work.
struct Serving<'a> {
    root: &'a Path,
    me: Identity,
    control: File,
}

impl Serving<'_> {
    fn serve_all(&mut self) -> io::Result<()> {
        for name in io::stdin().lines() {
            let record = RecordFile::new(self.root.join(name?));
            complain_to(record.complaints());
            let end = match self.serve(&record) {
                Ok((Fit::Yes, end)) => end,
                Ok((Fit::No, _)) => break,
                // Nothing was started.
                Err(error) => {
                    say(&error);
                    None
                }
            };
            Reply::Over(end).tell();
        }
        Ok(())
    }

    /// Serves one attempt, and gives the end that it recorded. An error means that it was not started.
    fn serve(&mut self, record: &RecordFile) -> io::Result<(Fit, Option<End>)> {
        let started = Started { shim: self.me.clone(), at: SystemClock.now() };
        let Some((mut hold, owner, orders)) = record.claim_start(&started)? else {
            return Ok((Fit::Yes, None));
        };
        // From here on the attempt is ours alone, and whatever happens to it must be recorded.
        let (end, fit) = self.attempt(record, &mut hold, &owner, &orders);
        record_end(record, &mut hold, &end);
        Ok((fit, Some(end)))
    }

    fn attempt(
        &mut self,
        record: &RecordFile,
        hold: &mut Hold,
        owner: &Owner,
        orders: &Orders,
    ) -> (End, Fit) {
        let limits = orders.limits.as_ref();
        let mut fit = Fit::Yes;
        if let Some(limits) = limits {
            limits.enter();
        }
        let spawned = spawn::spawn(orders);
        if limits.is_some_and(|limits| limits.leave().is_err()) {
            fit = Fit::No;
        }
        let end = match spawned {
            Err((fault, message)) => End::Faulted { fault, message },
            Ok(child) => {
                let (pid, at) = (child.id(), SystemClock.now());
                let name = record.path().file_name().unwrap_or_default().to_string_lossy();
                let watch = watch::Watch::new(child, &mut self.control, &name, &orders.log_path, at);
                let boot = &self.me.boot;
                let (mut exit, left) =
                    watch.run(|| Reply::Started(record_spawned(pid, at, boot, hold, owner)).tell());
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
}

/// Records the process; what is to be told of it, once that is done.
fn record_spawned(pid: u32, at: Timestamp, boot: &str, hold: &mut Hold, owner: &Owner) -> Option<Running> {
    let recorded = Identity::of(pid.cast_signed(), boot).and_then(|process| {
        let Some(process) = process else { return Ok(None) };
        let spawned = Spawned { process, at };
        hold.record_spawned(&spawned).map(|()| Some(spawned.running(owner)))
    });
    recorded.unwrap_or_else(|error| {
        say(&error);
        None
    })
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
fn record_end(record: &RecordFile, hold: &mut Hold, end: &End) {
    while let Err(error) = hold.record_end(end, durable()) {
        if !record.path().exists() {
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

/// Says what went wrong to the file of the attempt's complaints; there is nobody else to tell.
fn note(result: io::Result<()>) {
    if let Err(error) = result {
        say(&error);
    }
}

thread_local! {
    /// Where complaints go: nowhere until there is an attempt. The file is made by the first one.
    static COMPLAINTS: RefCell<PathBuf> = const { RefCell::new(PathBuf::new()) };
}

fn complain_to(path: PathBuf) {
    COMPLAINTS.replace(path);
}

/// Says it and fails in silence, as on a full disk; the exit code comes after.
fn say(error: &dyn std::fmt::Display) {
    let path = COMPLAINTS.with_borrow(Clone::clone);
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    if let Ok(mut file) = file {
        writeln!(file, "dogwatch shim: {error}").ok();
    }
}
