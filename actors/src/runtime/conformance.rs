//! One suite that every runtime passes: the invariants of [`Runtime`] as tests.
//!
//! A runtime's tests implement [`Harness`] and call [`runtime_conformance!`](crate::runtime_conformance) once,
//! which makes a test of each case. What an attempt does is given as a [`Script`], which a harness either runs as
//! the shell text that it stands for, or, when it has no shell, imitates.
//!
//! Every case has attempts of its own and ends with them removed; none waits without a deadline.

mod files;
mod groups;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use tokio::time::Instant;

pub use self::files::files_go_in_and_come_out;
use super::{Error, Exit, Group, LogLine, LogStream, Observation, Plan, Runtime, StartFault};
use crate::clock::{Clock, SystemClock};
use crate::id::{AttemptKey, Ids, InstallationId, RandomIds};
use crate::job::spec::{Network, Resources, SecurityProfile, StopSignal};
use crate::logs::LogReader;
use crate::usage::Usage;
pub use groups::*;

/// What an attempt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Prints `run` and exits with this code.
    Exit(i32),
    /// Prints `run`, then runs until it is stopped; the stop signal ends it.
    Run,
    /// Prints `run`, then runs and ignores the stop signal.
    Ignore,
    /// Prints `run` and runs, together with children and a child of another session that all ignore the stop
    /// signal. Each line `alive` on standard output is a sign of life of one of them.
    Tree,
    /// Prints `run` and `to out` on standard output, `to err` on standard error, and exits with 0.
    Print,
    /// Prints `run`, takes some CPU time, then waits a second and exits with 0.
    Burn,
    /// Prints `run`, copies the input `in.txt` to `out/copy.txt`, writes `two` into `out/sub/two.txt`, makes a link
    /// `out/link` to the input, and exits with 0.
    Copy,
    /// Its command does not exist.
    Missing,
}

impl Script {
    /// The script as the text for `sh -c`. `None`: there is no command to run.
    pub fn shell(self) -> Option<String> {
        let text = match self {
            Self::Exit(code) => return Some(format!("echo run; exit {code}")),
            Self::Run => "echo run; exec sleep 300",
            Self::Ignore => "trap '' TERM; echo run; while :; do sleep 0.2; done",
            Self::Tree => {
                "trap '' TERM; echo run; beat='while :; do echo alive; sleep 0.05; done'; \
                 sh -c \"$beat\" & setsid sh -c \"$beat\" & (sh -c \"$beat\" & ) ; while :; do sleep 0.2; done"
            }
            Self::Print => "echo run; echo to out; echo to err >&2",
            Self::Burn => "echo run; i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; sleep 1",
            Self::Copy => {
                "echo run; mkdir -p out/sub && cat in.txt > out/copy.txt && printf two > out/sub/two.txt \
                 && ln -s ../in.txt out/link"
            }
            Self::Missing => return None,
        };
        Some(text.to_owned())
    }
}

/// What the suite needs of a runtime under test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The runtime.
    fn runtime(&self) -> &dyn Runtime;

    /// Whose attempts they are.
    fn installation(&self) -> InstallationId;

    /// Where the log of an attempt goes, for runtimes that keep logs.
    fn log_path(&self, key: AttemptKey) -> PathBuf;

    /// Makes the plan, complete but for image and command, one that does what the script says.
    fn script(&self, plan: &mut Plan, script: Script);

    /// Puts something that is not ours where this attempt would be.
    async fn make_foreign(&self, key: AttemptKey);

    /// Whether that is still there, untouched.
    async fn foreign_is_untouched(&self, key: AttemptKey) -> bool;

    /// How long a hint may take to come after an end.
    fn promptness(&self) -> Duration {
        Duration::from_millis(500)
    }

    /// Far more than any step takes.
    fn deadline(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// Makes a `#[tokio::test]` of each case of the suite. The expression makes a fresh [`Harness`]; it may await.
#[macro_export]
macro_rules! runtime_conformance {
    ($harness:expr) => {
        $crate::runtime_conformance!(@cases $harness;
            creating_twice_adopts, a_foreign_name_is_left_alone, it_starts_at_most_once,
            codes_of_exits_are_exact, a_command_that_does_not_exist_is_a_start_fault,
            observations_follow_its_life, waiting_is_prompt_and_only_a_hint, a_stop_is_graceful,
            who_ignores_the_signal_is_killed, the_whole_tree_is_killed, stop_and_remove_are_idempotent,
            a_running_attempt_is_not_removed, the_list_is_ours, output_arrives, the_end_tells_what_was_used, files_go_in_and_come_out,
            it_is_healthy, a_group_runs_in_its_order_and_once, a_failed_init_container_ends_its_group,
            a_stop_ends_a_whole_group);
    };
    (@cases $harness:expr; $($case:ident),*) => {
        $(#[tokio::test]
        async fn $case() {
            let harness = $harness;
            $crate::runtime::conformance::$case(&harness).await;
        })*
    };
}

/// The bare plan of an attempt that does what the script says.
pub fn plan(harness: &dyn Harness, key: AttemptKey, script: Script) -> Plan {
    let mut plan = Plan {
        key,
        installation: harness.installation(),
        image: None,
        entrypoint: Vec::new(),
        args: Vec::new(),
        env: BTreeMap::new(),
        working_dir: None,
        labels: BTreeMap::new(),
        resources: Resources::default(),
        registry_credentials: Vec::new(),
        network: Network::None,
        security_profile: SecurityProfile::Baseline,
        user: None,
        read_only_root: false,
        stop_signal: StopSignal::Sigterm,
        service_port: None,
        log_path: harness.log_path(key),
        files: Default::default(),
        group: Group::default(),
    };
    harness.script(&mut plan, script);
    plan
}

/// A key that nobody else uses.
pub fn fresh_key() -> AttemptKey {
    AttemptKey::new(RandomIds.job_id(SystemClock.now()), 1)
}

/// Creating an attempt again, also while it runs and after its end, changes nothing.
pub async fn creating_twice_adopts(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    let plan = plan(harness, key, Script::Run);
    assert_eq!(runtime.observe(key).await.expect("an observation"), Observation::Absent);
    for _ in 0..2 {
        runtime.create(&plan).await.expect("created or adopted");
        assert_eq!(runtime.observe(key).await.expect("an observation"), Observation::Created);
    }
    runtime.start(key).await.expect("a start");
    let running = runtime.observe(key).await.expect("an observation");
    runtime.create(&plan).await.expect("adopted");
    assert_eq!(runtime.observe(key).await.expect("an observation"), running);
    stop(harness, key).await;
    let exited = runtime.observe(key).await.expect("an observation");
    runtime.create(&plan).await.expect("adopted");
    assert_eq!(runtime.observe(key).await.expect("an observation"), exited);
    runtime.remove(key).await.expect("removed");
}

/// Whatever has the name and is not ours is neither adopted nor touched by any operation.
pub async fn a_foreign_name_is_left_alone(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    harness.make_foreign(key).await;
    let created = runtime.create(&plan(harness, key, Script::Exit(0))).await;
    assert!(matches!(created, Err(Error::Foreign { .. })), "{created:?}");
    runtime.start(key).await.expect_err("a foreign thing is not started");
    // Whether these say that it is absent or complain is theirs; they may not act.
    drop(runtime.stop(key, StopSignal::Sigkill, Duration::ZERO).await);
    drop(runtime.remove(key).await);
    assert_ne!(runtime.observe(key).await.ok(), Some(Observation::Created));
    let listed = runtime.list().await.expect("a list");
    assert!(listed.iter().all(|(listed, _)| *listed != key), "{listed:?}");
    assert!(harness.foreign_is_untouched(key).await);
}

/// However often and however much at once it is started, while it runs and after its end: one run.
pub async fn it_starts_at_most_once(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    assert!(runtime.start(key).await.is_err(), "what was not created cannot start");
    runtime.create(&plan(harness, key, Script::Exit(3))).await.expect("created");
    let (one, two, three) = tokio::join!(runtime.start(key), runtime.start(key), runtime.start(key));
    assert!(one.is_ok() && two.is_ok() && three.is_ok(), "{one:?} {two:?} {three:?}");
    let exit = exit_of(harness, key).await;
    runtime.start(key).await.expect("a start after the end is none");
    assert_eq!(exit_of(harness, key).await, exit);
    assert_eq!(count(&lines(harness, key).await, "run"), 1);
    runtime.remove(key).await.expect("removed");
}

/// Exit codes arrive as they are.
pub async fn codes_of_exits_are_exact(harness: &dyn Harness) {
    for code in [0, 3, 127] {
        let exit = run(harness, Script::Exit(code)).await;
        assert_eq!((exit.code, exit.unseen), (Some(code), None), "{exit:?}");
        assert!(!exit.oom_killed);
        let (started, finished) = (exit.started_at.expect("a start"), exit.finished_at.expect("an end"));
        assert!(started <= finished, "{started} {finished}");
        assert!(finished.since(started) < harness.deadline());
    }
}

/// The end of an attempt tells what it used, as often as it is asked for.
pub async fn the_end_tells_what_was_used(harness: &dyn Harness) {
    let key = fresh_key();
    started(harness, key, Script::Burn).await;
    let exit = exit_of(harness, key).await;
    let (started, finished) = (exit.started_at.expect("a start"), exit.finished_at.expect("an end"));
    let usage = exit.usage.expect("it was measured");
    let ran = Usage::unmeasured(finished.since(started)).running_ms;
    assert_eq!(usage.running_ms, ran);
    // A starved machine may miss the last reading of a container; then what came after the one before is not known.
    assert!(usage.unmeasured_ms < ran, "{usage:?}");
    // No more than every core for all the time, and no less than the loop takes on any machine.
    let cores = u64::try_from(std::thread::available_parallelism().expect("cores").get()).expect("few");
    assert!((5_000..=(ran + 1_000) * 1_000 * cores).contains(&usage.cpu_us), "{usage:?}");
    assert!(usage.memory_kib_s > 0, "{usage:?}");
    assert_eq!(exit_of(harness, key).await.usage, Some(usage));
    harness.runtime().remove(key).await.expect("removed");
}

/// A command that is not there fails the start for good, and says what to do; it is no exit.
pub async fn a_command_that_does_not_exist_is_a_start_fault(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    runtime.create(&plan(harness, key, Script::Missing)).await.expect("created");
    for _ in 0..2 {
        let error = runtime.start(key).await.expect_err("no start");
        let missing = matches!(&error, Error::Start { fault: StartFault::CommandNotFound, .. });
        assert!(missing && !error.is_retryable(), "{error:?}");
        assert!(error.to_string().contains("; "), "says what to do: {error}");
    }
    let observed = runtime.observe(key).await;
    let told = matches!(observed, Ok(Observation::Created) | Err(Error::Start { .. }));
    assert!(told, "{observed:?}");
    runtime.remove(key).await.expect("removed");
    assert_eq!(runtime.observe(key).await.expect("an observation"), Observation::Absent);
}

/// Absent, created, running, exited, absent.
pub async fn observations_follow_its_life(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    assert_eq!(runtime.observe(key).await.expect("an observation"), Observation::Absent);
    runtime.create(&plan(harness, key, Script::Run)).await.expect("created");
    assert_eq!(runtime.observe(key).await.expect("an observation"), Observation::Created);
    runtime.start(key).await.expect("a start");
    let Observation::Running(running) = runtime.observe(key).await.expect("an observation") else {
        panic!("it runs");
    };
    assert!(!running.runtime_id.is_empty());
    stop(harness, key).await;
    let exit = exit_of(harness, key).await;
    assert_eq!((exit.runtime_id, exit.started_at), (running.runtime_id, Some(running.started_at)));
    runtime.remove(key).await.expect("removed");
    assert_eq!(runtime.observe(key).await.expect("an observation"), Observation::Absent);
}

/// Waiting ends soon after the end, and after its patience without one; waiting for nothing ends.
pub async fn waiting_is_prompt_and_only_a_hint(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    within(harness, runtime.wait(key, Duration::from_millis(50))).await;
    runtime.create(&plan(harness, key, Script::Run)).await.expect("created");
    runtime.start(key).await.expect("a start");
    let patience = Duration::from_millis(50);
    within(harness, runtime.wait(key, patience)).await;
    assert!(matches!(runtime.observe(key).await.expect("an observation"), Observation::Running(_)));

    let ended = async {
        stop(harness, key).await;
        Instant::now()
    };
    let waited = async {
        within(harness, runtime.wait(key, harness.deadline())).await;
        Instant::now()
    };
    let (ended, waited) = tokio::join!(ended, waited);
    let late = waited.saturating_duration_since(ended);
    assert!(late < harness.promptness(), "{late:?} after the end");
    within(harness, runtime.wait(key, harness.deadline())).await;
    assert!(matches!(runtime.observe(key).await.expect("an observation"), Observation::Exited(_)));
    runtime.remove(key).await.expect("removed");
}

/// A stop sends the signal asked for and does not wait for the grace to pass.
pub async fn a_stop_is_graceful(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    started(harness, key, Script::Run).await;
    let since = Instant::now();
    runtime.stop(key, StopSignal::Sigterm, harness.deadline()).await.expect("stopped");
    assert!(since.elapsed() < harness.deadline() / 2, "{:?}", since.elapsed());
    let exit = exit_of(harness, key).await;
    assert!(exit.signal == Some(15) || exit.code == Some(143), "{exit:?}");
    runtime.remove(key).await.expect("removed");
}

/// Who does not go is killed: after the grace, and soon.
pub async fn who_ignores_the_signal_is_killed(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    started(harness, key, Script::Ignore).await;
    let (since, grace) = (Instant::now(), Duration::from_secs(1));
    runtime.stop(key, StopSignal::Sigterm, grace).await.expect("stopped");
    let took = since.elapsed();
    assert!(took >= grace && took < grace + harness.deadline(), "{took:?}");
    let exit = exit_of(harness, key).await;
    assert!(exit.signal == Some(9) || exit.code == Some(137), "{exit:?}");
    runtime.remove(key).await.expect("removed");
}

/// Children, orphans and children of other sessions die with it.
pub async fn the_whole_tree_is_killed(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    started(harness, key, Script::Tree).await;
    let until = Instant::now() + harness.deadline();
    while count(&lines(harness, key).await, "alive") < 6 {
        assert!(Instant::now() < until, "the tree shows signs of life");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    runtime.stop(key, StopSignal::Sigterm, Duration::from_millis(100)).await.expect("stopped");
    exit_of(harness, key).await;
    // The log ends where the last of them did: it does not grow for many times the pause between two signs.
    let before = lines(harness, key).await.len();
    let quiet = Instant::now() + Duration::from_millis(400);
    while Instant::now() < quiet {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(lines(harness, key).await.len(), before);
    }
    runtime.remove(key).await.expect("removed");
}

/// Stopping and removing twice, or what is not there, is no error.
pub async fn stop_and_remove_are_idempotent(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    stop(harness, key).await;
    runtime.remove(key).await.expect("nothing to remove");
    started(harness, key, Script::Run).await;
    for _ in 0..2 {
        stop(harness, key).await;
    }
    exit_of(harness, key).await;
    for _ in 0..2 {
        runtime.remove(key).await.expect("removed");
    }
    assert_eq!(runtime.observe(key).await.expect("an observation"), Observation::Absent);
    // What was created and never started can be removed too.
    runtime.create(&plan(harness, key, Script::Run)).await.expect("created");
    runtime.remove(key).await.expect("removed");
    assert_eq!(runtime.observe(key).await.expect("an observation"), Observation::Absent);
}

/// Removing is not a way to stop.
pub async fn a_running_attempt_is_not_removed(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    started(harness, key, Script::Run).await;
    runtime.remove(key).await.expect_err("it runs");
    assert!(matches!(runtime.observe(key).await.expect("an observation"), Observation::Running(_)));
    stop(harness, key).await;
    runtime.remove(key).await.expect("removed");
}

/// The list has every attempt of ours, as it is observed.
pub async fn the_list_is_ours(harness: &dyn Harness) {
    let (runtime, keys) = (harness.runtime(), [fresh_key(), fresh_key(), fresh_key()]);
    runtime.create(&plan(harness, keys[0], Script::Run)).await.expect("created");
    started(harness, keys[1], Script::Run).await;
    started(harness, keys[2], Script::Exit(3)).await;
    exit_of(harness, keys[2]).await;
    let mut listed = runtime.list().await.expect("a list");
    listed.retain(|(key, _)| keys.contains(key));
    listed.sort_by_key(|(key, _)| keys.iter().position(|known| known == key));
    let found: Vec<AttemptKey> = listed.iter().map(|(key, _)| *key).collect();
    assert_eq!(found, keys);
    for (key, observation) in listed {
        assert_eq!(runtime.observe(key).await.expect("an observation"), observation);
        stop(harness, key).await;
        runtime.remove(key).await.expect("removed");
    }
}

/// Both streams arrive, whole, in their order, and are kept when the attempt is removed by those who keep logs.
pub async fn output_arrives(harness: &dyn Harness) {
    let (runtime, key) = (harness.runtime(), fresh_key());
    started(harness, key, Script::Print).await;
    exit_of(harness, key).await;
    let lines = if runtime.keeps_logs() {
        runtime.remove(key).await.expect("removed");
        lines(harness, key).await
    } else {
        let lines = lines(harness, key).await;
        runtime.remove(key).await.expect("removed");
        lines
    };
    let on = |stream| -> Vec<String> {
        let lines = lines.iter().filter(|line| line.stream == stream);
        lines.map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
    };
    assert_eq!(on(LogStream::Stdout), ["run", "to out"]);
    assert_eq!(on(LogStream::Stderr), ["to err"]);
    assert!(lines.is_sorted_by_key(|line| line.at_nanos));
}

/// It says what it is.
pub async fn it_is_healthy(harness: &dyn Harness) {
    let health = harness.runtime().health().await.expect("health");
    assert!(!health.version.is_empty() && health.cpus > 0.0 && health.memory_bytes > 0, "{health:?}");
    assert!(!harness.runtime().name().is_empty());
    drop(harness.runtime().hints().await.expect("hints"));
}

/// Creates and starts an attempt; when it runs on, it has set up its traps by the time this returns.
async fn started(harness: &dyn Harness, key: AttemptKey, script: Script) {
    let runtime = harness.runtime();
    runtime.create(&plan(harness, key, script)).await.expect("created");
    runtime.start(key).await.expect("a start");
    let until = Instant::now() + harness.deadline();
    while count(&lines(harness, key).await, "run") == 0 {
        assert!(Instant::now() < until, "the script begins");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn run(harness: &dyn Harness, script: Script) -> Exit {
    let key = fresh_key();
    started(harness, key, script).await;
    let exit = exit_of(harness, key).await;
    harness.runtime().remove(key).await.expect("removed");
    exit
}

async fn stop(harness: &dyn Harness, key: AttemptKey) {
    let stopped = harness.runtime().stop(key, StopSignal::Sigterm, Duration::from_secs(10));
    within(harness, stopped).await.expect("stopped");
}

/// The end of an attempt, once it has come.
pub async fn exit_of(harness: &dyn Harness, key: AttemptKey) -> Exit {
    let runtime = harness.runtime();
    let until = Instant::now() + harness.deadline();
    loop {
        match runtime.observe(key).await.expect("an observation") {
            Observation::Exited(exit) => return exit,
            observation => assert!(Instant::now() < until, "it ends: {observation:?}"),
        }
        runtime.wait(key, Duration::from_secs(1)).await;
    }
}

/// The output so far of a runtime that keeps logs; of another one only what it gives within a moment, since it
/// follows a running attempt.
pub async fn lines(harness: &dyn Harness, key: AttemptKey) -> Vec<LogLine> {
    let runtime = harness.runtime();
    if runtime.keeps_logs() {
        let reader = LogReader::new(harness.log_path(key));
        return within(harness, reader.lines().try_collect()).await.expect("the log can be read");
    }
    let mut lines = Vec::new();
    let mut stream = runtime.logs(key, None).await.expect("the logs can be read");
    // Bounded in all, too: of one that never falls silent the rest is of no interest.
    let until = Instant::now() + Duration::from_secs(2);
    let moment = Duration::from_millis(300);
    while let Ok(Ok(Some(line))) = tokio::time::timeout(moment, stream.try_next()).await
        && Instant::now() < until
    {
        lines.push(line);
    }
    lines
}

fn count(lines: &[LogLine], text: &str) -> usize {
    lines.iter().filter(|line| line.bytes == text).count()
}

async fn within<T>(harness: &dyn Harness, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(harness.deadline(), future).await.expect("in time")
}
