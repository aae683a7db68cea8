//! The program with a real supervisor in it, on the runtime of processes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use dogwatch::serve::addresses::{Addresses, last_callback_port};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli_binary::{Guarded, PATIENCE, program, reader, signal, text};

pub(crate) fn data_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

fn dogwatch(dir: &Path, args: &[&str]) -> Command {
    let mut command = program(dir);
    command.args(args).env("DOGWATCH_RUNTIME", "process").env("PATH", "/usr/bin:/bin");
    command
}

fn output(dir: &Path, args: &[&str]) -> Output {
    dogwatch(dir, args).output().unwrap()
}

/// A server on free ports, once it answers.
fn serve(dir: &Path) -> Guarded {
    let args = ["serve", "--listen", "127.0.0.1:0", "--callback-listen", "127.0.0.1:0"];
    let child = Guarded(dogwatch(dir, &args).stderr(Stdio::piped()).spawn().unwrap());
    wait_until("the server tells its addresses", || {
        Addresses::read(dir).is_some_and(|addresses| addresses.pid == child.0.id())
    });
    child
}

/// Looks again and again; the deadline is only for what never comes.
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("not within {PATIENCE:?}: {what}");
}

fn state(dir: &Path, job: &str) -> Value {
    let shown = output(dir, &["show", "--json", job]);
    serde_json::from_slice(&shown.stdout).unwrap_or_default()
}

#[test]
fn the_first_command_a_newcomer_types_works() {
    let dir = data_dir();
    let script = "echo out; echo err >&2; exit 3";
    let ran = output(dir.path(), &["run", "-q", "--max-attempts", "1", "--", "sh", "-c", script]);
    assert_eq!((ran.status.code(), text(&ran.stdout)), (Some(3), "out\n"), "{}", text(&ran.stderr));
    assert!(text(&ran.stderr).starts_with("err\n"), "{}", text(&ran.stderr));
    // The server was there only for the job, and says so.
    assert_eq!(Addresses::read(dir.path()), None);
    assert_eq!(output(dir.path(), &["ps"]).status.code(), Some(125));
}

#[test]
fn what_spares_the_shims_memory_is_not_handed_down_to_the_jobs() {
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let Some(own) = own.lines().find(|line| line.starts_with("THP_enabled")) else { return };
    let dir = data_dir();
    let script = "grep THP_enabled /proc/self/status; env";
    let ran = output(dir.path(), &["run", "-q", "--", "sh", "-c", script]);
    assert!(text(&ran.stdout).starts_with(own), "{}", text(&ran.stdout));
    assert!(!text(&ran.stdout).contains("MIMALLOC"), "{}", text(&ran.stdout));
}

#[test]
fn of_many_runs_at_once_one_is_the_server_and_all_get_their_code() {
    let dir = data_dir();
    let children: Vec<_> = (0..5)
        .map(|code| {
            let script = format!("echo {code}; exit {code}");
            let args = ["run", "-q", "--max-attempts", "1", "--", "sh", "-c", &script];
            let mut command = dogwatch(dir.path(), &args);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (code, child) in children.into_iter().enumerate() {
        let ran = child.wait_with_output().unwrap();
        let code = i32::try_from(code).unwrap();
        assert_eq!(
            (ran.status.code(), text(&ran.stdout)),
            (Some(code), &*format!("{code}\n")),
            "{}",
            text(&ran.stderr)
        );
    }
}

#[test]
fn when_the_run_that_is_the_server_is_killed_the_other_one_becomes_it() {
    let dir = data_dir();
    let start = |name: &str, script: &str| {
        let args = ["run", "-q", "--name", name, "--max-attempts", "1", "--", "sh", "-c", script];
        Guarded(dogwatch(dir.path(), &args).stdout(Stdio::piped()).spawn().unwrap())
    };
    let gate = dir.path().join("gate");
    let mut first = start("first", "echo started; sleep 1000");
    let first_lines = reader(first.0.stdout.take().unwrap());
    assert_eq!(first_lines.recv_timeout(PATIENCE).unwrap(), "started");
    let port = last_callback_port(dir.path());

    let script = format!("echo one; until [ -e {} ]; do sleep 0.05; done; echo two; exit 7", gate.display());
    let mut second = start("second", &script);
    let second_lines = reader(second.0.stdout.take().unwrap());
    assert_eq!(second_lines.recv_timeout(PATIENCE).unwrap(), "one");
    drop(first);
    wait_until("the second run is the server", || {
        Addresses::read(dir.path()).is_some_and(|addresses| addresses.pid == second.0.id())
    });
    // What runs holds the address for callbacks: it is still the same.
    assert_eq!(last_callback_port(dir.path()), port);
    wait_until("the first job is attached again", || state(dir.path(), "first")["state"] == "running");
    assert_eq!(state(dir.path(), "first")["attempt"], 1);
    assert_eq!(output(dir.path(), &["cancel", "first"]).status.code(), Some(0));
    wait_until("the first job is cancelled", || state(dir.path(), "first")["state"] == "cancelled");

    std::fs::write(&gate, b"").unwrap();
    assert_eq!(second_lines.recv_timeout(PATIENCE).unwrap(), "two");
    assert_eq!(second.0.wait().unwrap().code(), Some(7));
    assert!(second_lines.recv_timeout(PATIENCE).is_err(), "a line came twice");
}

#[test]
fn a_run_that_is_done_does_not_wait_for_those_who_used_its_server() {
    let dir = data_dir();
    let gate = |name: &str| dir.path().join(name);
    let start = |name: &str, code: u8| {
        let script =
            format!("echo {name}; until [ -e {} ]; do sleep 0.05; done; exit {code}", gate(name).display());
        let args = ["run", "-q", "--max-attempts", "1", "--", "sh", "-c", &script];
        let mut run = Guarded(dogwatch(dir.path(), &args).stdout(Stdio::piped()).spawn().unwrap());
        let lines = reader(run.0.stdout.take().unwrap());
        assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), name);
        run
    };
    let (mut first, mut second) = (start("first", 3), start("second", 4));
    let before = tokio::time::Instant::now();
    std::fs::write(gate("first"), b"").unwrap();
    assert_eq!(first.0.wait().unwrap().code(), Some(3));
    assert!(before.elapsed() < std::time::Duration::from_secs(4), "it took {:?}", before.elapsed());
    wait_until("the second run is the server", || {
        Addresses::read(dir.path()).is_some_and(|addresses| addresses.pid == second.0.id())
    });
    std::fs::write(gate("second"), b"").unwrap();
    assert_eq!(second.0.wait().unwrap().code(), Some(4));
}

#[test]
fn a_server_stops_gracefully_and_its_attempts_go_on() {
    let dir = data_dir();
    let mut server = serve(dir.path());
    let refused =
        output(dir.path(), &["serve", "--listen", "127.0.0.1:0", "--callback-listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(125));
    let message = format!("in use by another dogwatch (process {})", server.0.id());
    assert!(text(&refused.stderr).contains(&message), "{}", text(&refused.stderr));

    let gate = dir.path().join("gate");
    let script = format!("until [ -e {} ]; do sleep 0.05; done; exit 9", gate.display());
    let submitted = output(dir.path(), &["submit", "--max-attempts", "1", "--", "sh", "-c", &script]);
    let id = text(&submitted.stdout).trim();
    wait_until("the job runs", || state(dir.path(), id)["state"] == "running");
    let runtime_id = state(dir.path(), id)["attempts"][0]["runtime_id"].clone();
    signal(&server.0, Signal::TERM);
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
    assert_eq!(Addresses::read(dir.path()), None);
    let told = {
        let mut log = String::new();
        std::io::Read::read_to_string(&mut server.0.stderr.take().unwrap(), &mut log).unwrap();
        log
    };
    let key = std::fs::read_to_string(dir.path().join("root.key")).unwrap();
    assert!(told.contains("root.key") && !told.contains(key.trim()), "{told}");

    let again = serve(dir.path());
    wait_until("the job is attached again", || state(dir.path(), id)["state"] == "running");
    assert_eq!(state(dir.path(), id)["attempts"][0]["runtime_id"], runtime_id);
    let report = output(dir.path(), &["doctor"]);
    assert_eq!(report.status.code(), Some(0), "{}", text(&report.stdout));
    assert!(text(&report.stdout).contains(&format!("held by the server with process id {}", again.0.id())));
    std::fs::write(&gate, b"").unwrap();
    let waited = output(dir.path(), &["wait", id]);
    assert_eq!(waited.status.code(), Some(9), "{}", text(&waited.stderr));
}

#[test]
fn an_interrupted_run_leaves_its_job_for_the_next_server() {
    let dir = data_dir();
    let gate = dir.path().join("gate");
    let script = format!("echo started; until [ -e {} ]; do sleep 0.05; done; exit 4", gate.display());
    let mut command =
        dogwatch(dir.path(), &["run", "--name", "left", "--max-attempts", "1", "--", "sh", "-c", &script]);
    let mut child = Guarded(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let lines = reader(child.0.stdout.take().unwrap());
    assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "started");
    signal(&child.0, Signal::INT);
    assert_eq!(child.0.wait().unwrap().code(), Some(130));
    let _server = serve(dir.path());
    std::fs::write(&gate, b"").unwrap();
    assert_eq!(output(dir.path(), &["wait", "left"]).status.code(), Some(4));
    assert_eq!(text(&output(dir.path(), &["logs", "left"]).stdout), "started\n");
}

#[test]
fn the_demonstration_holds() {
    let dir = data_dir();
    let shown = dogwatch(dir.path(), &["demo"]).env("TMPDIR", dir.path()).output().unwrap();
    assert_eq!(shown.status.code(), Some(0), "{}{}", text(&shown.stdout), text(&shown.stderr));
    assert!(text(&shown.stdout).contains("All as promised"));
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "the demonstration left {left:?}");
}
