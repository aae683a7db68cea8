//! A container engine for the tests: the one that answers, else one that we install and start.
//!
//! Not responsible for: stopping it. An engine that was started here is left running, because the next run
//! needs it again; the message says how to stop it.

use std::fs::{File, create_dir_all};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::command::{Fault, Outcome, find, output, run, target};
use crate::packages;

/// How often an engine that was just started is asked whether it answers, and how often that may fail: a
/// first start on a slow disk takes some ten seconds.
const ANSWER_POLL: Duration = Duration::from_millis(500);
const ANSWER_POLLS_MAX: u32 = 120;
/// An installed package may start the engine by itself (systemd): it gets this many polls before we do.
const PACKAGE_START_POLLS_MAX: u32 = 10;

/// The bridge of the engine, and how the kernel says that its address was set by somebody (`NET_ADDR_SET`).
const BRIDGE: &str = "/sys/class/net/docker0";
const ADDRESS_SET: &str = "3";
/// Administered locally, for one host; the form in which engines choose it.
const BRIDGE_ADDRESS: &str = "02:42:64:77:00:01";

/// Returns when an engine answers, and containers reach the host through a bridge that keeps its address.
pub(crate) fn ensure() -> Outcome {
    answering()?;
    keep_address()
}

/// Debian's engine (20.10) leaves the address of its bridge to the kernel, which takes the lowest of the members'. When
/// that container ends, the others send to an address that nobody has any more until their entry is stale, up to a
/// minute later: callbacks are not heard.
fn keep_address() -> Outcome {
    let Ok(kind) = std::fs::read_to_string(format!("{BRIDGE}/addr_assign_type")) else { return Ok(()) };
    if kind.trim() == ADDRESS_SET || !packages::is_root() {
        return Ok(());
    }
    if find("ip").is_none() {
        packages::install(&["iproute2"])?;
    }
    run(Command::new("ip").args(["link", "set", "dev", "docker0", "address", BRIDGE_ADDRESS]))
}

fn answering() -> Outcome {
    let mut tried = Vec::new();
    if let Some(version) = version() {
        eprintln!("xtask: using the container engine that answers (version {version})");
        return Ok(());
    }
    tried.push("no engine answers `docker version`".to_owned());
    if let Ok(host) = std::env::var("DOCKER_HOST") {
        return Err(unavailable(&tried, &format!("DOCKER_HOST is {host}: start that engine or unset it")));
    }
    if find("dockerd").is_none() || find("docker").is_none() || find("iptables").is_none() {
        packages::install(&["docker.io", "iptables", "ca-certificates"])
            .map_err(|fault| unavailable(&tried, &fault.to_string()))?;
        if find("docker").is_none() && packages::exists("docker-cli") {
            // Newer releases ship the client apart.
            packages::install(&["docker-cli"])?;
        }
        tried.push("installed docker.io".to_owned());
        if answers_within(PACKAGE_START_POLLS_MAX) {
            return Ok(());
        }
    }
    if !packages::is_root() {
        return Err(unavailable(&tried, "start it (`sudo systemctl start docker`), or run this as root"));
    }
    start(&mut tried)
}

fn start(tried: &mut Vec<String>) -> Outcome {
    let directory = target();
    let log_path = directory.join("dockerd.log");
    let io = |error: std::io::Error| Fault::new(format!("{}: {error}", log_path.display()));
    create_dir_all(&directory).map_err(io)?;
    let log = File::create(&log_path).map_err(io)?;
    let errors = log.try_clone().map_err(io)?;
    // A session of its own: it outlives this terminal, as a daemon should.
    let mut daemon = Command::new("setsid")
        .arg(find("dockerd").unwrap_or_else(|| "dockerd".into()))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(|error| unavailable(tried, &format!("dockerd cannot be run: {error}")))?;
    eprintln!("xtask: started dockerd (process {}), log in {}", daemon.id(), log_path.display());
    for _ in 0..ANSWER_POLLS_MAX {
        if let Some(version) = version() {
            eprintln!("xtask: the engine answers (version {version}); it is left running");
            eprintln!("xtask: to stop it: kill $(cat /var/run/docker.pid)");
            return Ok(());
        }
        if let Ok(Some(status)) = daemon.try_wait() {
            tried.push(format!("dockerd ended at once: {status}; {}", last_line(&log_path)));
            return Err(unavailable(tried, &format!("read {}", log_path.display())));
        }
        sleep(ANSWER_POLL);
    }
    tried.push("started dockerd, which does not answer".to_owned());
    Err(unavailable(tried, &format!("read {}", log_path.display())))
}

fn last_line(path: &std::path::Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().last().unwrap_or("its log is empty").to_owned()
}

fn answers_within(polls: u32) -> bool {
    (0..polls).any(|_| {
        sleep(ANSWER_POLL);
        version().is_some()
    })
}

fn version() -> Option<String> {
    let mut command = Command::new("docker");
    let text = output(command.args(["version", "--format", "{{.Server.Version}}"]))?;
    Some(text.trim().to_owned()).filter(|version| !version.is_empty())
}

fn unavailable(tried: &[String], advice: &str) -> Fault {
    Fault::new(format!(
        "THE TESTS NEED A CONTAINER ENGINE AND NONE CAN BE HAD HERE\n  tried: {}\n  do: {advice}\n  \
         or leave out what needs one: cargo xtask test --without-docker",
        tried.join("; ")
    ))
}
