//! The program as a user meets it, against a server that a test plays.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use dogwatch::serve::addresses::Addresses;
use dogwatch_actors::data_dir::DirLock;
use dogwatch_actors::job::cause::Cause;
use dogwatch_actors::job::view::JobState;
use serde_json::{Value, json};

use crate::cli_client::entry;
use crate::cli_fake::{FakeApi, ID, KEY, Play, attempt, job};

/// The program on an empty data directory, with nothing of this machine's in its environment.
pub(crate) fn program(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dogwatch"));
    command.env_clear().env("DOGWATCH_DATA_DIR", dir).env("HOME", dir);
    command
}

fn against(server: &FakeApi, dir: &Path, args: &[&str]) -> Output {
    program(dir).args(args).env("DOGWATCH_URL", server.url()).env("DOGWATCH_API_KEY", KEY).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn over(code: i32, logs: Vec<(Vec<String>, Vec<String>)>) -> Play {
    let mut over = job(if code == 0 { JobState::Succeeded } else { JobState::Failed });
    over.cause = Some(if code == 0 { Cause::Success } else { Cause::ExitCode });
    over.message = Some(format!("it exited with code {code}"));
    over.attempt = u32::try_from(logs.len()).unwrap();
    over.attempts = vec![attempt(over.attempt, Some(code))];
    Play { logs, ..Play::new(over) }
}

fn lines(text: &[&str]) -> Vec<String> {
    text.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn run_prints_the_jobs_output_and_exits_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let logs =
        vec![(lines(&["first try"]), lines(&["oops"])), (lines(&["second try", "\x1b[1mbold"]), vec![])];
    let server = FakeApi::start(over(3, logs));
    let output = against(&server, dir.path(), &["run", "--name", "n", "--", "sh", "-c", "exit 3"]);
    assert_eq!(text(&output.stdout), "first try\nsecond try\n\x1b[1mbold\n");
    let error = text(&output.stderr);
    assert!(error.contains("oops\n") && error.contains("exit_code: it exited with code 3"), "{error}");
    assert_eq!(output.status.code(), Some(3));
    let submission = &server.submissions()[0];
    // The server was named, so this directory may mean nothing there.
    assert_eq!(submission.spec, json!({"name": "n", "args": ["sh", "-c", "exit 3"]}));
    assert!(submission.key.is_some());
}

#[test]
fn json_is_what_the_server_wrote_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeApi::start(over(0, vec![(lines(&["output"]), vec![])]));
    let expected = serde_json::to_string(&over(0, vec![(vec![], vec![])]).job).unwrap() + "\n";
    for args in [
        &["--json", "run", "--", "true"][..],
        &["--json", "wait", &ID.to_string()],
        &["show", "--json", "fake"],
        &["show", "--json", "01010101-"],
        &["submit", "--json", "--", "true"],
    ] {
        let output = against(&server, dir.path(), args);
        assert_eq!(text(&output.stdout), expected, "{args:?}: {}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn each_kind_of_failure_has_its_code_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeApi::start(Play::new(job(JobState::Running)));
    let id = ID.to_string();
    for (args, code, expected) in [
        (&["wait", &id, "--timeout", "50ms"][..], 124, "it goes on"),
        (&["show", "nobody"], 3, "`dogwatch ps` lists the jobs"),
        (&["cancel", "09090909-0909-0909-0909-090909090909"], 3, "no such job"),
        (&["raise", &id, "approved", "{by"], 2, "not JSON"),
        (&["run"], 2, "what should run?"),
        (&["run", "--secret", "T=hunter2", "--", "x"], 2, "every user of this machine"),
        (&["submit", "/nowhere.toml"], 2, "cannot read the spec /nowhere.toml"),
        (&["ps", "--config", "/nowhere.toml"], 2, "check the path of --config"),
        (&["--url", "gopher://x", "ps"], 2, "must begin with http"),
    ] {
        let output = against(&server, dir.path(), args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(expected) && !error.contains("hunter2"), "{args:?}: {error}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let output = program(dir.path()).args(["ps", "--url", server.url()]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let output = program(dir.path()).arg("ps").output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("dogwatch serve"));

    let errors = json!([{"pointer": "/env", "message": "expected an object"}]);
    let refusal =
        json!({"status": 422, "code": "invalid_spec", "detail": "the spec is not valid", "errors": errors});
    server.play(|play| play.refusal = Some((422, refusal)));
    let output = against(&server, dir.path(), &["submit", "--", "true"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/env: expected an object"), "{}", text(&output.stderr));

    server.play(|play| play.job = over(0, vec![(vec![], vec![])]).job);
    let output = against(&server, dir.path(), &["cancel", "fake"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(4), "dogwatch: the job is over\n"));
}

#[test]
fn a_stale_address_means_that_there_is_no_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeApi::start(Play::new(job(JobState::Running)));
    let addresses = Addresses { api: server.url().to_owned(), callback: String::new(), grpc: None, pid: 1 };
    addresses.write(dir.path()).unwrap();
    std::fs::write(dir.path().join("root.key"), KEY).unwrap();
    let output = program(dir.path()).arg("ps").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    drop(server);
    let output = program(dir.path()).arg("ps").output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("no dogwatch server answers"), "{}", text(&output.stderr));
}

#[test]
fn what_a_user_named_reaches_no_terminal_unescaped() {
    let dir = tempfile::tempdir().unwrap();
    let mut evil = job(JobState::Failed);
    evil.name = Some("\x1b[2Jevil".to_owned());
    evil.message = Some("line\nbreak \u{202e}".to_owned());
    evil.labels.insert("k".to_owned(), "\x07".to_owned());
    let server = FakeApi::start(Play::new(evil));
    for args in [&["ps"][..], &["show", &ID.to_string()], &["wait", &ID.to_string()]] {
        let output = against(&server, dir.path(), args);
        let all = [output.stdout, output.stderr].concat();
        let shown = text(&all);
        assert!(!shown.contains(['\x1b', '\x07', '\u{202e}']), "{args:?}: {shown:?}");
        assert!(shown.contains("\\u{1b}[2Jevil") || shown.contains("break \\u{202e}"), "{args:?}: {shown:?}");
    }
}

#[test]
fn the_verbs_print_what_came() {
    let dir = tempfile::tempdir().unwrap();
    let mut play = Play::new(job(JobState::Running));
    play.history = vec![entry(1, "submitted"), entry(2, "attempt_started"), entry(3, "progressed")];
    play.job.attempt = 1;
    play.logs = vec![(lines(&["one", "two"]), vec![])];
    let server = FakeApi::start(play);
    let id = ID.to_string();
    for (args, expected) in [
        (&["ps"][..], vec!["ID ", &id, "fake", "running"]),
        (&["show", "fake"], vec!["state", "running", "runs", "true (on process)"]),
        (&["logs", "fake"], vec!["one\ntwo\n"]),
        (&["events", "fake"], vec!["submitted", "attempt_started", "progressed"]),
        (&["events"], vec!["submitted", "attempt_started", "progressed"]),
        (&["events", "--after", "2"], vec!["progressed"]),
        (&["suspend", "fake", &id], vec!["01010101-0101-0101-0101-010101010101 running\n01010101"]),
        (&["raise", "fake", "approved", "{\"by\": \"me\"}"], vec!["running"]),
        (&["purge", "fake"], vec![&id]),
        (&["submit", "--", "true"], vec![&id]),
        (&["config"], vec!["[server]", "data_dir = ", "from the environment variable DOGWATCH_DATA_DIR"]),
        (&["completions", "bash"], vec!["complete -F _dogwatch"]),
    ] {
        let output = against(&server, dir.path(), args);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        for part in expected {
            assert!(shown.contains(part), "{args:?}: {shown}");
        }
        assert!(!shown.contains('\x1b'), "colours on a pipe: {args:?}: {shown:?}");
    }
    let shown = against(&server, dir.path(), &["events", "--after", "2"]);
    assert!(!text(&shown.stdout).contains("submitted"));
}

#[test]
fn a_spec_comes_from_a_file_or_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeApi::start(Play::new(job(JobState::Queued)));
    let file = dir.path().join("job.toml");
    std::fs::write(&file, "image = \"busybox\"\nargs = [\"ls\"]\n").unwrap();
    let mut command = program(dir.path());
    command.env("DOGWATCH_URL", server.url()).env("DOGWATCH_API_KEY", KEY);
    let status = command
        .arg("submit")
        .arg("-")
        .arg("--name")
        .arg("n")
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert_eq!(status.status.code(), Some(0), "{}", text(&status.stderr));
    let status = against(&server, dir.path(), &["run", "-d", "--spec", file.to_str().unwrap(), "--", "echo"]);
    assert_eq!(text(&status.stdout), format!("{ID}\n"));
    let specs: Vec<Value> = server.submissions().into_iter().map(|submission| submission.spec).collect();
    let expected = [
        json!({"image": "busybox", "args": ["ls"], "name": "n"}),
        json!({"image": "busybox", "args": ["echo"]}),
    ];
    assert_eq!(specs, expected);
}

#[test]
fn doctor_says_what_to_do_and_fails_when_nothing_works() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeApi::start(Play::new(job(JobState::Running)));
    let output = against(&server, dir.path(), &["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["ok"]), (Some(1), &Value::Bool(false)));
    let checks = report["checks"].as_array().unwrap();
    let find = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
    assert_eq!(find("data directory")["verdict"], "ok");
    assert_eq!(find("lock")["verdict"], "ok");
    assert_eq!(find("server")["verdict"], "fail");
    assert!(find("server")["message"].as_str().unwrap().contains("the store is full"));
    let output = against(&server, dir.path(), &["doctor"]);
    assert!(text(&output.stdout).contains("fail  server"), "{}", text(&output.stdout));
}

#[test]
fn serve_refuses_what_would_be_dangerous_or_double() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let _held = DirLock::try_take(dir.path()).unwrap();
    for (args, code, expected) in [
        (&["serve", "--listen", "0.0.0.0:0"][..], 125, "give --allow-remote"),
        (&["serve", "--listen", "127.0.0.1:0"], 125, "in use by another dogwatch (process "),
        (&["serve", "--listen", "somewhere"], 2, "`server.listen` (from the flag --listen)"),
        (&["serve", "--data-dir", "/dev/null"], 125, "/dev/null is not a directory"),
    ] {
        let output = program(dir.path()).args(args).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(expected), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "one message: {error}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = program(dir.path()).arg("config").stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A child that does not outlive its test.
pub(crate) struct Guarded(pub(crate) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The lines that a child prints, as they come.
pub(crate) fn reader(source: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines() {
            if send.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    receive
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

#[test]
fn an_interrupted_run_says_how_to_find_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let mut play = Play::new(job(JobState::Running));
    play.job.attempt = 1;
    play.logs = vec![(lines(&["started"]), vec![])];
    let server = FakeApi::start(play);
    let child = program(dir.path())
        .args(["run", "--", "sleep", "1000"])
        .env("DOGWATCH_URL", server.url())
        .env("DOGWATCH_API_KEY", KEY)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Guarded(child) = &mut Guarded(child.unwrap());
    let shown = reader(child.stdout.take().unwrap());
    assert_eq!(shown.recv_timeout(PATIENCE).unwrap(), "started");
    signal(child, rustix::process::Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(error.contains(&format!("dogwatch wait {ID}")), "{error}");
}

#[test]
fn run_goes_on_at_the_next_server_and_prints_no_line_twice() {
    let dir = tempfile::tempdir().unwrap();
    // Somebody else is the server all the time, so that this run cannot become it.
    let _held = DirLock::try_take(dir.path()).unwrap();
    std::fs::write(dir.path().join("root.key"), KEY).unwrap();
    let mut play = Play::new(job(JobState::Running));
    play.job.attempt = 1;
    play.logs = vec![(lines(&["one", "two"]), vec![])];
    let announce = |server: &FakeApi| {
        let api = server.url().to_owned();
        Addresses { api, callback: String::new(), grpc: None, pid: 1 }.write(dir.path()).unwrap();
    };
    let first = FakeApi::start(play.clone());
    announce(&first);
    let child = program(dir.path()).args(["run", "-q", "--", "x"]).stdout(Stdio::piped()).spawn();
    let Guarded(child) = &mut Guarded(child.unwrap());
    let shown = reader(child.stdout.take().unwrap());
    let next = || shown.recv_timeout(PATIENCE).unwrap();
    assert_eq!([next(), next()], ["one", "two"]);
    let submitted = first.submissions();
    assert_eq!((submitted.len(), submitted[0].spec["working_dir"].is_string()), (1, true));
    drop(first);

    play.logs[0].0.push("three".to_owned());
    let second = FakeApi::start(play);
    announce(&second);
    assert_eq!(next(), "three");
    second.play(|play| {
        play.logs.push((lines(&["four"]), vec![]));
        play.job.attempt = 2;
    });
    assert_eq!(next(), "four");
    second.play(|play| {
        play.job.state = JobState::Failed;
        play.job.cause = Some(Cause::ExitCode);
        play.job.attempts = vec![attempt(2, Some(7))];
    });
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(shown.recv_timeout(PATIENCE).is_err(), "a line came twice");
    assert!(second.submissions().is_empty(), "the job was submitted twice");
}
