//! `doctor`: what works here, what does not, and what to do about it.

use std::io;
use std::path::Path;

use clap::Args;
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::data_dir::lock::{self, DirLock};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, escape};
use super::{Error, human, output};
use crate::limits::{DISK_FREE_WARN_BYTES, FILES_OPEN_WARN};
use crate::serve::addresses::Addresses;
use crate::serve::runtimes::{self, RuntimeHealth};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It works.
    Ok,
    /// It works, or may, with less than one would wish.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Check {
    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, message: message.into(), hint: None }
    }

    fn warn(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, message: message.into(), hint: Some(hint.into()) }
    }

    fn fail(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(name, message, hint) }
    }
}

/// The arguments of `doctor`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct DoctorArgs {
    /// Look at what is stored instead: read all of it, and name the jobs of which something is missing or broken
    #[arg(long)]
    pub store: bool,
}

pub(super) async fn run(context: &Context) -> Result<Exit, Error> {
    context.start_log(true)?;
    let dir = context.loaded.data_dir();
    let mut checks = vec![data_directory(dir)];
    if dir.is_dir() {
        checks.extend([disk(dir), lock(dir)]);
    }
    checks.extend([clock(context.now(), newest(dir)), server(context).await, open_files()]);
    let found = runtimes::healths(&context.loaded.config, context.shim.clone()).await;
    // One runtime that works is enough to work.
    let any_works = found.iter().any(|runtime| runtime.health.is_ok());
    checks.extend(found.into_iter().map(|found| runtime(found, any_works)));
    checks.extend(callback(context).await);
    checks.extend(bridge(Path::new(BRIDGE)));
    let is_well = checks.iter().all(|check| check.verdict != Verdict::Fail);
    if context.json {
        let report = serde_json::json!({ "ok": is_well, "checks": checks });
        output::data(&serde_json::to_string_pretty(&report).expect("a JSON value is JSON"))?;
    } else {
        for check in &checks {
            print(context, check)?;
        }
    }
    Ok(if is_well { Exit::OK } else { Exit::NOT_WELL })
}

fn print(context: &Context, check: &Check) -> Result<(), Error> {
    let (word, colour) = match check.verdict {
        Verdict::Ok => ("ok  ", Colour::Green),
        Verdict::Warn => ("warn", Colour::Yellow),
        Verdict::Fail => ("fail", Colour::Red),
    };
    let word = context.paint.paint(colour, word);
    output::data(&format!("{word}  {:<16} {}", check.name, escape(&check.message)))?;
    match &check.hint {
        Some(hint) => output::data(&format!("      {:<16} {}", "", escape(hint))),
        None => Ok(()),
    }
}

fn data_directory(dir: &Path) -> Check {
    const NAME: &str = "data directory";
    let shown = dir.display();
    match std::fs::metadata(dir) {
        Ok(found) if !found.is_dir() => {
            Check::fail(NAME, format!("{shown} is not a directory"), "choose another --data-dir")
        }
        Ok(_) => match rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
            Ok(()) => Check::ok(NAME, format!("{shown} can be written")),
            Err(errno) => Check::fail(
                NAME,
                format!("{shown} cannot be written: {errno}"),
                "run dogwatch as its owner, or choose another --data-dir",
            ),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Check::ok(NAME, format!("{shown} does not exist yet; the first start makes it"))
        }
        Err(error) => {
            Check::fail(NAME, format!("{shown} cannot be used: {error}"), "choose another --data-dir")
        }
    }
}

fn disk(dir: &Path) -> Check {
    const NAME: &str = "disk";
    match rustix::fs::statvfs(dir) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let message = format!("{} MiB free", free >> 20);
            if free < DISK_FREE_WARN_BYTES {
                Check::warn(NAME, message, "free some space: on a full disk no work is taken")
            } else {
                Check::ok(NAME, message)
            }
        }
        Err(errno) => {
            Check::warn(NAME, format!("the free space is not known: {errno}"), "check the disk by hand")
        }
    }
}

fn lock(dir: &Path) -> Check {
    const NAME: &str = "lock";
    match DirLock::try_take(dir) {
        Ok(_) => Check::ok(NAME, "free: no server runs on this data directory"),
        Err(lock::Error::Held { pid: Some(pid), .. }) => {
            Check::ok(NAME, format!("held by the server with process id {pid}"))
        }
        Err(lock::Error::Held { pid: None, .. }) => Check::ok(NAME, "held by a server"),
        Err(error) => Check::fail(NAME, error.to_string(), "run dogwatch as the owner of the data directory"),
    }
}

/// The year 2024: nothing of this program is older.
const OLDEST_SANE: Timestamp = Timestamp::from_millis(1_704_067_200_000);

/// The year 2100: a clock that says more was never set.
const NEWEST_SANE: Timestamp = Timestamp::from_millis(4_102_444_800_000);

/// `newest` is when something was last written in the data directory.
fn clock(now: Timestamp, newest: Option<Timestamp>) -> Check {
    const NAME: &str = "clock";
    if now < OLDEST_SANE || now > NEWEST_SANE {
        return Check::fail(NAME, format!("it says {now}"), "set it: timeouts and schedules follow it");
    }
    match newest.filter(|newest| *newest > now) {
        Some(newest) => Check::warn(
            NAME,
            format!("it is {} behind what was written last", human::span(newest.since(now))),
            "it was turned back: deadlines are that much later; check the time synchronisation",
        ),
        None => Check::ok(NAME, now.to_string()),
    }
}

fn newest(dir: &Path) -> Option<Timestamp> {
    let modified = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.metadata().ok()?.modified().ok();
    let newest = std::fs::read_dir(dir).ok()?.filter_map(modified).max()?;
    let since_epoch = newest.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).ok()?))
}

async fn server(context: &Context) -> Check {
    const NAME: &str = "server";
    let client = match context.locator.client() {
        Ok(client) => client,
        Err(error) if error.is_gone() => {
            return Check::warn(
                NAME,
                "none runs",
                "`dogwatch serve` starts one; `dogwatch run` works without",
            );
        }
        Err(error) => return Check::fail(NAME, error.to_string(), "check --url and DOGWATCH_API_KEY"),
    };
    if !client.is_alive().await {
        let message = format!("nobody answers at {}", client.url());
        let hint = "`dogwatch serve` starts one; what was left by the last one does no harm";
        // An address that somebody named is one that should answer.
        return if context.locator.is_named() {
            Check::fail(NAME, message, hint)
        } else {
            Check::warn(NAME, message, hint)
        };
    }
    let version = match client.version().await {
        Ok(version) => version,
        Err(error) => return Check::fail(NAME, error.to_string(), "check --url and DOGWATCH_API_KEY"),
    };
    match client.readiness().await {
        Ok(found) if found.ready => Check::ok(NAME, format!("version {version} answers at {}", client.url())),
        Ok(found) => {
            let reasons = found.reasons.join("; ");
            Check::fail(NAME, format!("it takes no work: {reasons}"), "see the server's log")
        }
        Err(error) => Check::fail(NAME, error.to_string(), "see the server's log"),
    }
}

fn open_files() -> Check {
    const NAME: &str = "open files";
    // The server takes what it is allowed, whatever it is given at first.
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < FILES_OPEN_WARN => {
            let hint = format!("raise it to {FILES_OPEN_WARN} or more (`ulimit -Hn`, LimitNOFILE=)");
            Check::warn(NAME, format!("at most {limit}"), hint)
        }
        Some(limit) => Check::ok(NAME, format!("at most {limit}")),
        None => Check::ok(NAME, "no limit"),
    }
}

fn runtime(found: RuntimeHealth, any_works: bool) -> Check {
    match found.health {
        Ok(version) => Check::ok(found.name, version),
        Err(message) if any_works => {
            Check::warn(found.name, message, "jobs on this runtime wait until it answers")
        }
        Err(message) => Check::fail(found.name, message, "no runtime works: jobs wait until one does"),
    }
}

async fn callback(context: &Context) -> Option<Check> {
    const NAME: &str = "callback";
    // The addresses of a server that is gone are still there; then another listener takes its place.
    let runs = matches!(DirLock::try_take(context.loaded.data_dir()), Err(lock::Error::Held { .. }));
    let addresses = Addresses::read(context.loaded.data_dir()).filter(|_| runs);
    let port = addresses.and_then(|addresses| addresses.callback.rsplit(':').next()?.parse().ok());
    match runtimes::probe_container_callback(&context.loaded.config, port).await? {
        Ok(message) => Some(Check::ok(NAME, message)),
        Err(message) => Some(Check::warn(
            NAME,
            message,
            "let the firewall pass the bridge network, or set callback.docker_url",
        )),
    }
}

/// The default bridge of the engine, on Linux.
const BRIDGE: &str = "/sys/class/net/docker0";

/// How the kernel says that an interface's address was set by somebody (`NET_ADDR_SET`, sysfs-class-net).
const ADDRESS_SET: &str = "3";

/// A bridge whose address nobody set takes the lowest of its members', a different one when that container ends. The
/// other containers then send to an address that is gone until they ask anew, up to a minute later. Measured on Debian's
/// engine 20.10, which does not set it.
fn bridge(interface: &Path) -> Option<Check> {
    const NAME: &str = "bridge";
    let kind = std::fs::read_to_string(interface.join("addr_assign_type")).ok()?;
    Some(if kind.trim() == ADDRESS_SET {
        Check::ok(NAME, "docker0 keeps its address")
    } else {
        Check::warn(
            NAME,
            "the address of docker0 changes as containers end; the others' callbacks can then hang for a minute",
            "after each start of the engine: `ip link set dev docker0 address 02:42:64:77:00:01`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_sane_or_said_not_to_be() {
        let now = Timestamp::from_millis(1_795_229_674_123);
        let at = |millis: i64| Timestamp::from_millis(now.as_millis() + millis);
        for (now, newest, verdict) in [
            (now, None, Verdict::Ok),
            (now, Some(at(-5)), Verdict::Ok),
            (now, Some(at(3_600_000)), Verdict::Warn),
            (Timestamp::from_millis(0), None, Verdict::Fail),
            (Timestamp::from_millis(5_000_000_000_000), None, Verdict::Fail),
        ] {
            assert_eq!(clock(now, newest).verdict, verdict);
        }
    }

    #[test]
    fn one_broken_runtime_is_a_warning_and_none_that_works_a_failure() {
        let broken = RuntimeHealth { name: "docker", health: Err("no socket".to_owned()) };
        assert_eq!(runtime(broken.clone(), true).verdict, Verdict::Warn);
        assert_eq!(runtime(broken, false).verdict, Verdict::Fail);
    }

    #[test]
    fn a_bridge_whose_address_changes_is_a_warning() {
        let base = tempfile::tempdir().unwrap();
        assert_eq!(bridge(base.path()), None);
        for (kind, verdict) in [("1\n", Verdict::Warn), ("3\n", Verdict::Ok)] {
            std::fs::write(base.path().join("addr_assign_type"), kind).unwrap();
            assert_eq!(bridge(base.path()).unwrap().verdict, verdict);
        }
    }

    #[test]
    fn the_data_directory_is_looked_at_and_not_made() {
        let base = tempfile::tempdir().unwrap();
        assert_eq!(data_directory(base.path()).verdict, Verdict::Ok);
        let missing = base.path().join("missing");
        assert_eq!(data_directory(&missing).verdict, Verdict::Ok);
        assert!(!missing.exists());
        let file = base.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert_eq!(data_directory(&file).verdict, Verdict::Fail);
        assert_eq!(lock(base.path()).verdict, Verdict::Ok);
        let _held = DirLock::try_take(base.path()).unwrap();
        assert!(lock(base.path()).message.contains(&std::process::id().to_string()));
    }
}
