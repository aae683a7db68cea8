//! The runtime of processes: the common suite, and what is special about it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use dogwatch_actors::id::{AttemptKey, Ids, InstallationId, RandomIds};
use dogwatch_actors::job::spec::{Resources, StopSignal};
use dogwatch_actors::logs::LogStore;
use dogwatch_actors::runtime::conformance::{self, Harness, Script, exit_of, fresh_key, lines};
use dogwatch_actors::runtime::process::{ProcessOptions, ProcessRuntime, Shim};
use dogwatch_actors::runtime::{Error, Observation, Plan, Runtime, StartFault, Unseen};
use dogwatch_actors::secret::Secret;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

const DEADLINE: Duration = Duration::from_secs(60);

struct Processes {
    dir: TempDir,
    runtime: ProcessRuntime,
    installation: InstallationId,
}

impl Processes {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let installation = RandomIds.installation_id();
        let runtime = open(dir.path(), installation);
        Self { dir, runtime, installation }
    }

    fn record(&self, key: AttemptKey) -> PathBuf {
        record(self.dir.path(), self.installation, key)
    }

    fn shell(&self, key: AttemptKey, script: &str) -> Plan {
        let mut plan = conformance::plan(self, key, Script::Exit(0));
        plan.args = vec![script.into()];
        plan
    }

    async fn start(&self, plan: &Plan) {
        self.runtime.create(plan).await.unwrap();
        self.runtime.start(plan.key).await.unwrap();
    }

    async fn outputs(&self, key: AttemptKey) -> Vec<String> {
        let lines = lines(self, key).await;
        lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
    }

    /// The first line of output, once it is there.
    async fn first_output(&self, key: AttemptKey) -> String {
        self.outputs_until(key, |lines| !lines.is_empty()).await.remove(0)
    }

    async fn outputs_until(&self, key: AttemptKey, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        loop {
            let lines = self.outputs(key).await;
            if enough(&lines) {
                return lines;
            }
            assert!(Instant::now() < until, "it says more than {lines:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn open(dir: &Path, installation: InstallationId) -> ProcessRuntime {
    let options = ProcessOptions::new(dir.join("attempts"), installation);
    ProcessRuntime::new(options, Shim::executable(env!("CARGO_BIN_EXE_dogwatch-shim"))).unwrap()
}

fn record(dir: &Path, installation: InstallationId, key: AttemptKey) -> PathBuf {
    dir.join("attempts").join(installation.to_string()).join(key.name("dogwatch"))
}

#[async_trait]
impl Harness for Processes {
    fn runtime(&self) -> &dyn Runtime {
        &self.runtime
    }

    fn installation(&self) -> InstallationId {
        self.installation
    }

    fn log_path(&self, key: AttemptKey) -> PathBuf {
        LogStore::new(self.dir.path().join("logs")).path(key)
    }

    fn script(&self, plan: &mut Plan, script: Script) {
        match script.shell() {
            Some(text) => {
                plan.entrypoint = vec!["sh".into(), "-c".into()];
                plan.args = vec![text];
            }
            None => plan.entrypoint = vec!["there-is-no-such-command".into()],
        }
    }

    async fn make_foreign(&self, key: AttemptKey) {
        fs::write(self.record(key), "precious").unwrap();
    }

    async fn foreign_is_untouched(&self, key: AttemptKey) -> bool {
        fs::read(self.record(key)).unwrap() == b"precious"
    }

    fn promptness(&self) -> Duration {
        Duration::from_millis(250)
    }
}

mod conforms {
    use super::Processes;

    dogwatch_actors::runtime_conformance!(Processes::new());
}

/// The lines of a record; blanks are where orders were.
fn record_lines(record: &Path) -> Vec<Value> {
    let text = fs::read_to_string(record).unwrap();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn write_record(record: &Path, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(record, text).unwrap();
}

/// The pids of the shim and of the process of a started attempt.
fn pids(record: &Path) -> (Pid, Pid) {
    let lines = record_lines(record);
    let pid = |line: &str, field: &str| {
        let pid = lines.iter().find_map(|found| found[line][field]["pid"].as_i64()).unwrap();
        Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    };
    (pid("started", "shim"), pid("spawned", "process"))
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_gone(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.starts_with(" Z"))
}

#[tokio::test]
async fn an_end_is_seen_within_milliseconds() {
    let processes = Processes::new();
    let gate = processes.dir.path().join("gate");
    let made = Command::new("mkfifo").arg(&gate).status().unwrap();
    assert!(made.success());
    // The best of some, since the machine has other things to do too.
    let mut best = DEADLINE;
    for _ in 0..5 {
        let key = fresh_key();
        let script = format!("echo up; read line < {}; exit 7", gate.display());
        processes.start(&processes.shell(key, &script)).await;
        processes.first_output(key).await;
        let opened = gate.clone();
        let ended = tokio::task::spawn_blocking(move || {
            fs::write(opened, "go\n").unwrap();
            Instant::now()
        });
        processes.runtime.wait(key, DEADLINE).await;
        let seen = Instant::now();
        let Observation::Exited(exit) = processes.runtime.observe(key).await.unwrap() else {
            panic!("the wait ended with the attempt");
        };
        assert_eq!(exit.code, Some(7));
        best = best.min(seen.saturating_duration_since(ended.await.unwrap()));
    }
    assert!(best < Duration::from_millis(100), "{best:?}");
}

#[tokio::test]
async fn the_environment_is_its_own_and_secrets_leave_the_disk() {
    let processes = Processes::new();
    let key = fresh_key();
    let mut plan =
        processes.shell(key, "echo $TOKEN $PORT; env | cut -d= -f1 | sort; echo that is all; exec sleep 300");
    plan.env = BTreeMap::from([("TOKEN".into(), Secret::new("open sesame"))]);
    plan.service_port = Some(8_123);
    processes.runtime.create(&plan).await.unwrap();
    let grep = |text: &str| {
        let mut command = Command::new("grep");
        command.args(["-r", "-l", "--devices=skip", text]).arg(processes.dir.path());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(grep("open sesame").contains(&key.name("dogwatch")));
    let mode = fs::metadata(processes.record(key)).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o777, 0o600);
    processes.runtime.start(key).await.unwrap();
    assert_eq!(processes.first_output(key).await, "open sesame 8123");
    let Observation::Running(running) = processes.runtime.observe(key).await.unwrap() else {
        panic!("it runs");
    };
    assert_eq!(running.address.unwrap().to_string(), "127.0.0.1:8123");
    // Adopting it again must not put them back.
    processes.runtime.create(&plan).await.unwrap();
    assert_eq!(grep("open sesame").lines().filter(|file| !file.contains("/logs/")).count(), 0);
    let names =
        processes.outputs_until(key, |lines| lines.last().is_some_and(|line| line == "that is all")).await;
    processes.runtime.stop(key, StopSignal::Sigterm, DEADLINE).await.unwrap();
    assert!(names.contains(&"PATH".to_owned()));
    assert!(names.iter().all(|name| !name.starts_with("CARGO") && !name.starts_with("NEXTEST")), "{names:?}");
}

#[tokio::test]
async fn faults_of_a_start_are_told_apart() {
    let processes = Processes::new();
    let script = processes.dir.path().join("not-executable");
    fs::write(&script, "x").unwrap();
    let lost = processes.dir.path().join("no-interpreter");
    fs::write(&lost, "#!/no/such/interpreter\n").unwrap();
    let runnable = Command::new("chmod").arg("+x").arg(&lost).status().unwrap();
    assert!(runnable.success());
    let (script, lost) = (script.display().to_string(), lost.display().to_string());
    let table = [
        ("/no/such/command", None, StartFault::CommandNotFound),
        (script.as_str(), None, StartFault::CommandNotExecutable),
        (lost.as_str(), None, StartFault::CommandNotExecutable),
        ("true", Some("/no/such/directory"), StartFault::WorkingDirectory),
        ("with\0nul", None, StartFault::Rejected),
    ];
    for (command, directory, expected) in table {
        let key = fresh_key();
        let mut plan = processes.shell(key, "");
        plan.entrypoint = vec![command.into()];
        plan.working_dir = directory.map(Into::into);
        processes.runtime.create(&plan).await.unwrap();
        for answer in [
            processes.runtime.start(key).await,
            processes.runtime.start(key).await,
            processes.runtime.observe(key).await.map(drop),
        ] {
            let Err(Error::Start { fault, message }) = answer else { panic!("{command}: {answer:?}") };
            assert_eq!(fault, expected, "{command}: {message}");
        }
        processes.runtime.stop(key, StopSignal::Sigterm, DEADLINE).await.unwrap();
        processes.runtime.remove(key).await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_shim_ends_the_attempt_unseen_and_leaves_nothing_running() {
    let processes = Processes::new();
    let key = fresh_key();
    processes.start(&processes.shell(key, "setsid sleep 300 & echo $!; exec sleep 300")).await;
    let stray: i32 = processes.first_output(key).await.parse().unwrap();
    let (shim, process) = pids(&processes.record(key));
    rustix::process::kill_process(shim, Signal::KILL).unwrap();
    until("the shim is gone", || is_gone(shim)).await;
    let exit = exit_of(&processes, key).await;
    assert_eq!((exit.code, exit.unseen), (None, Some(Unseen::WatcherLost)));
    assert!(is_gone(process) && is_gone(Pid::from_raw(stray).unwrap()));
    assert_eq!(exit_of(&processes, key).await, exit);
    processes.runtime.remove(key).await.unwrap();
}

#[tokio::test]
async fn a_shim_that_does_not_obey_is_overruled() {
    let processes = Processes::new();
    let key = fresh_key();
    processes.start(&processes.shell(key, "echo up; exec sleep 300")).await;
    processes.first_output(key).await;
    let (shim, process) = pids(&processes.record(key));
    rustix::process::kill_process(shim, Signal::STOP).unwrap();
    processes.runtime.stop(key, StopSignal::Sigkill, Duration::ZERO).await.unwrap();
    assert!(is_gone(shim) && is_gone(process));
    assert!(matches!(processes.runtime.observe(key).await.unwrap(), Observation::Exited(_)));
}

const ANOTHER_BOOT: &str = "00000000-0000-0000-0000-000000000000";

#[tokio::test]
async fn another_boot_is_a_restart_of_the_host_and_a_reused_pid_is_not_ours() {
    let mut processes = Processes::new();
    for (field, unseen) in [("boot", Unseen::HostRestart), ("start_ticks", Unseen::WatcherLost)] {
        let key = fresh_key();
        processes.start(&processes.shell(key, "sleep 0.05")).await;
        exit_of(&processes, key).await;
        // As if the end had not been recorded, and this test's own process had the shim's id now.
        let record = processes.record(key);
        let mut lines = record_lines(&record);
        lines.retain(|line| line.get("end").is_none());
        for (line, who) in [("started", "shim"), ("spawned", "process")] {
            let found = lines.iter_mut().find_map(|found| found.get_mut(line)).unwrap();
            found[who]["pid"] = std::process::id().into();
        }
        if field == "boot" {
            lines[0]["owner"]["boot"] = ANOTHER_BOOT.into();
        }
        write_record(&record, &lines);
        // Another life, which knows nothing but what it finds.
        processes.runtime = open(processes.dir.path(), processes.installation);
        assert_eq!(exit_of(&processes, key).await.unseen, Some(unseen));
    }
}

#[tokio::test]
async fn what_a_failure_of_power_leaves_is_never_started_and_a_recorded_end_is_believed() {
    let processes = Processes::new();
    let ran = processes.dir.path().join("ran");
    let left: [fn(&Path); 3] = [
        // The name without its bytes.
        |record| fs::write(record, "").unwrap(),
        |record| fs::write(record, [0; 512]).unwrap(),
        // Whole, and of before.
        |record| {
            let mut lines = record_lines(record);
            lines[0]["owner"]["boot"] = ANOTHER_BOOT.into();
            write_record(record, &lines);
        },
    ];
    for leave in left {
        let key = fresh_key();
        let plan = processes.shell(key, &format!("touch {}", ran.display()));
        processes.runtime.create(&plan).await.unwrap();
        leave(&processes.record(key));
        processes.runtime.create(&plan).await.unwrap();
        processes.runtime.start(key).await.unwrap();
        assert_eq!(exit_of(&processes, key).await.unseen, Some(Unseen::HostRestart));
        processes.runtime.remove(key).await.unwrap();
        assert_eq!(processes.runtime.observe(key).await.unwrap(), Observation::Absent);
    }
    assert!(!ran.exists());
    let key = fresh_key();
    processes.start(&processes.shell(key, "exit 9")).await;
    exit_of(&processes, key).await;
    let record = processes.record(key);
    let mut lines = record_lines(&record);
    lines[0]["owner"]["boot"] = ANOTHER_BOOT.into();
    write_record(&record, &lines);
    let exit = exit_of(&processes, key).await;
    assert_eq!((exit.code, exit.unseen), (Some(9), None));
}

#[tokio::test]
async fn a_line_that_is_not_whole_is_not_there() {
    let processes = Processes::new();
    let key = fresh_key();
    processes.start(&processes.shell(key, "exec sleep 300")).await;
    let record = processes.record(key);
    let half = "{\"end\":{\"faulted\":{\"fault\":\"rejected\",\"message\":\"\"}}}";
    fs::write(&record, fs::read_to_string(&record).unwrap() + half).unwrap();
    assert!(matches!(processes.runtime.observe(key).await.unwrap(), Observation::Running(_)));
    processes.runtime.stop(key, StopSignal::Sigkill, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_shim_serves_one_attempt_at_a_time_and_another_when_that_is_over() {
    let processes = Processes::new();
    let (first, beside, after) = (fresh_key(), fresh_key(), fresh_key());
    processes.start(&processes.shell(first, "echo up; exec sleep 300")).await;
    processes.start(&processes.shell(beside, "exec sleep 300")).await;
    let shim = |key| pids(&processes.record(key)).0;
    assert_ne!(shim(first), shim(beside));
    processes.runtime.stop(first, StopSignal::Sigkill, Duration::ZERO).await.unwrap();
    let plan = processes.shell(after, "setsid sleep 300 & echo $!; exec sleep 300");
    processes.start(&plan).await;
    assert_eq!(shim(after), shim(first));
    let stray: i32 = processes.first_output(after).await.parse().unwrap();
    // What is meant for the one that is over does not reach the one that is not.
    processes.runtime.stop(first, StopSignal::Sigkill, Duration::ZERO).await.unwrap();
    let mut control = fs::OpenOptions::new().write(true).open(control(&processes.record(after))).unwrap();
    control.write_all(format!("{} 9 0\n", first.name("dogwatch")).as_bytes()).unwrap();
    processes.runtime.stop(beside, StopSignal::Sigkill, Duration::ZERO).await.unwrap();
    processes.runtime.wait(after, Duration::from_millis(50)).await;
    assert!(matches!(processes.runtime.observe(after).await.unwrap(), Observation::Running(_)));
    processes.runtime.stop(after, StopSignal::Sigkill, Duration::ZERO).await.unwrap();
    assert!(is_gone(Pid::from_raw(stray).unwrap()));
}

/// The pipe of the shim that serves this attempt.
fn control(record: &Path) -> PathBuf {
    let started = record_lines(record).into_iter().find_map(|line| line.get("started").cloned()).unwrap();
    let shim = &started["shim"];
    record.with_file_name(format!(".control-{}-{}", shim["pid"], shim["start_ticks"]))
}

#[tokio::test]
async fn what_the_first_process_leaves_behind_ends_with_it() {
    let processes = Processes::new();
    let key = fresh_key();
    processes.start(&processes.shell(key, "setsid sleep 300 & echo $!; exit 4")).await;
    let exit = exit_of(&processes, key).await;
    assert_eq!(exit.code, Some(4));
    let stray: i32 = processes.first_output(key).await.parse().unwrap();
    assert!(is_gone(Pid::from_raw(stray).unwrap()));
}

#[tokio::test]
async fn long_and_unfinished_lines_arrive() {
    let processes = Processes::new();
    let key = fresh_key();
    let script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; head -c 200000 /dev/zero | tr '\\0' x; \
                  printf '\\nend'";
    processes.start(&processes.shell(key, script)).await;
    exit_of(&processes, key).await;
    let lines = processes.outputs(key).await;
    assert_eq!(lines[1_999], "line 1999");
    assert_eq!(lines[2_000..lines.len() - 1].iter().map(String::len).sum::<usize>(), 200_000);
    assert_eq!(lines.last().unwrap(), "end");
}

#[tokio::test]
async fn a_memory_limit_holds_where_health_says_so() {
    let processes = Processes::new();
    let key = fresh_key();
    // The kernel may look for a second one before the first that it killed is gone: not for the shell.
    let greedy = "(echo 1000 > /proc/self/oom_score_adj; head -c 200000000 /dev/zero | tail | wc -c)";
    let mut plan = processes.shell(key, &format!("{greedy}; exit 5"));
    plan.resources = Resources { memory: Some("32Mi".parse().unwrap()), ..Resources::default() };
    processes.start(&plan).await;
    let exit = exit_of(&processes, key).await;
    let enforced = processes.runtime.health().await.unwrap().version;
    assert_eq!(exit.oom_killed, enforced.contains("enforced: ") && enforced.contains("memory"), "{enforced}");
    assert_eq!(exit.code, Some(5), "the shell itself was not killed");
}

/// Where the killed owner of the next test lives.
const OWNER_DIR: &str = "DOGWATCH_TEST_OWNER_DIR";

#[tokio::test]
async fn an_attempt_and_its_exit_code_survive_the_death_of_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let me = std::env::current_exe().unwrap();
    let mut owner = Command::new(me)
        .args(["--exact", "process::an_owner_that_is_killed", "--ignored", "--nocapture"])
        .env(OWNER_DIR, dir.path())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(owner.stdout.take().unwrap()).lines().map_while(Result::ok);
    let found = said.find_map(|line| line.split_once("started ").map(|(_, rest)| rest.to_owned())).unwrap();
    let (installation, job) = found.split_once(' ').unwrap();
    let (installation, key) = (installation.parse().unwrap(), AttemptKey::new(job.parse().unwrap(), 1));
    // With its whole group, as a terminal or a service manager does.
    rustix::process::kill_process_group(Pid::from_child(&owner), Signal::KILL).unwrap();
    owner.wait().unwrap();

    let runtime = open(dir.path(), installation);
    let processes = Processes { dir, runtime, installation };
    assert!(matches!(processes.runtime.observe(key).await.unwrap(), Observation::Running(_)));
    // Nobody watches now; then it ends, and the newcomer still knows how.
    fs::write(processes.dir.path().join("go"), "").unwrap();
    processes.runtime.wait(key, DEADLINE).await;
    let exit = exit_of(&processes, key).await;
    assert_eq!((exit.code, exit.unseen), (Some(42), None));
    assert_eq!(processes.outputs(key).await, ["up", "down"]);
    // Nobody has another attempt for its shim.
    let (shim, _) = pids(&processes.record(key));
    until("the shim is gone", || is_gone(shim)).await;
}

/// Not a test: the process that [`an_attempt_and_its_exit_code_survive_the_death_of_its_owner`] kills.
#[tokio::test]
#[ignore = "a part of another test, which runs it"]
async fn an_owner_that_is_killed() {
    let Some(dir) = std::env::var_os(OWNER_DIR) else { return };
    let dir = PathBuf::from(dir);
    let (installation, key) = (RandomIds.installation_id(), fresh_key());
    let runtime = open(&dir, installation);
    let mut plan = Processes { dir: tempfile::tempdir().unwrap(), runtime: runtime.clone(), installation }
        .shell(key, "echo up; while [ ! -e go ]; do sleep 0.02; done; echo down; exit 42");
    plan.working_dir = Some(dir.display().to_string());
    plan.log_path = LogStore::new(dir.join("logs")).path(key);
    runtime.create(&plan).await.unwrap();
    runtime.start(key).await.unwrap();
    println!("started {installation} {}", key.job);
    std::future::pending::<()>().await;
}
