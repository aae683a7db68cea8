//! The engine in memory passes the common suite, and its faults are what they say.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dogwatch_actors::clock::{Clock, SystemClock, Timestamp, TokioClock};
use dogwatch_actors::id::{AttemptKey, InstallationId};
use dogwatch_actors::runtime::conformance::{self, Harness, Script, fresh_key};
use dogwatch_actors::runtime::fake::{Behaviour, Ending, FakeRuntime, Fate, Fault, Left, Operation};
use dogwatch_actors::runtime::{Error, Hint, LogStream, Observation, Plan, Runtime, StartFault, Unseen};
use futures_util::StreamExt;

struct Fakes(FakeRuntime);

impl Fakes {
    fn new(clock: impl Clock) -> Self {
        let fake = FakeRuntime::new("fake", Arc::new(clock));
        fake.behave_by(|plan| Some(behaviour(plan)));
        Self(fake)
    }
}

#[async_trait]
impl Harness for Fakes {
    fn runtime(&self) -> &dyn Runtime {
        &self.0
    }

    fn installation(&self) -> InstallationId {
        InstallationId::from_bytes([7; 16])
    }

    fn log_path(&self, _: AttemptKey) -> PathBuf {
        PathBuf::new()
    }

    fn script(&self, plan: &mut Plan, script: Script) {
        let words = match script {
            Script::Exit(code) => vec!["exit".into(), code.to_string()],
            Script::Run => vec!["run".into()],
            Script::Ignore => vec!["ignore".into()],
            Script::Tree => vec!["tree".into()],
            Script::Print => vec!["print".into()],
            Script::Burn => vec!["burn".into()],
            Script::Copy => vec!["copy".into()],
            Script::Missing => vec!["missing".into()],
        };
        plan.args = words;
    }

    async fn make_foreign(&self, key: AttemptKey) {
        self.0.add_foreign(key);
    }

    async fn foreign_is_untouched(&self, key: AttemptKey) -> bool {
        self.0.has_foreign(key)
    }
}

/// What the script would do.
fn behaviour(plan: &Plan) -> Behaviour {
    let at_once = Duration::ZERO;
    let out = |behaviour: Behaviour, text: &str| behaviour.printing(LogStream::Stdout, text);
    match plan.args[0].as_str() {
        "exit" => out(Behaviour::exits(plan.args[1].parse().unwrap(), at_once), "run"),
        "run" => out(Behaviour::runs(), "run"),
        "ignore" => out(Behaviour::runs().ignoring_signals(), "run"),
        "tree" => (0..6).fold(out(Behaviour::runs().ignoring_signals(), "run"), |tree, _| out(tree, "alive")),
        "print" => {
            out(out(Behaviour::exits(0, at_once), "run"), "to out").printing(LogStream::Stderr, "to err")
        }
        "burn" => out(Behaviour::exits(0, Duration::from_millis(300)), "run"),
        "copy" => out(Behaviour::exits(0, at_once), "run")
            .leaving("out/copy.txt", Left::Input("in.txt".into()))
            .leaving("out/sub/two.txt", Left::Text("two".into())),
        _ => Behaviour::cannot_start(StartFault::CommandNotFound),
    }
}

mod conforms {
    use super::{Fakes, SystemClock};

    dogwatch_actors::runtime_conformance!(Fakes::new(SystemClock));
}

fn paused() -> (Fakes, AttemptKey) {
    (Fakes::new(TokioClock::starting_at(Timestamp::from_millis(1_000_000))), fresh_key())
}

#[tokio::test(start_paused = true)]
async fn a_day_takes_no_time() {
    let (fakes, key) = paused();
    let day = Duration::from_secs(86_400);
    fakes.0.behave_for(key, Behaviour::exits(9, day));
    fakes.0.create(&conformance::plan(&fakes, key, Script::Run)).await.unwrap();
    let mut hints = fakes.0.hints().await.unwrap();
    fakes.0.start(key).await.unwrap();
    assert_eq!(hints.next().await, Some(Hint::Attempt(key)));
    assert_eq!(hints.next().await, Some(Hint::Attempt(key)));
    let Observation::Exited(exit) = fakes.0.observe(key).await.unwrap() else { panic!("it is over") };
    assert_eq!(exit.finished_at.unwrap().since(exit.started_at.unwrap()), day);
    assert_eq!((exit.code, fakes.0.counts(key).starts), (Some(9), (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn faults_are_what_they_say_and_pass() {
    let (fakes, key) = paused();
    let (fake, plan) = (&fakes.0, conformance::plan(&fakes, key, Script::Run));
    fake.inject(Operation::Create, Fault::Unavailable, 1);
    fake.inject(Operation::Create, Fault::LoseReply, 1);
    assert!(matches!(fake.create(&plan).await, Err(Error::Unavailable { .. })));
    assert_eq!(fake.counts(key).creates, (0, 0));
    assert!(matches!(fake.create(&plan).await, Err(Error::Unavailable { .. })));
    assert_eq!(fake.counts(key).creates, (1, 1));
    fake.create(&plan).await.unwrap();
    assert_eq!(fake.counts(key).creates, (2, 1));

    fake.inject(Operation::Start, Fault::Hang, 1);
    assert!(tokio::time::timeout(Duration::from_secs(3_600), fake.start(key)).await.is_err());
    assert_eq!(fake.observe(key).await.unwrap(), Observation::Created);
    fake.inject(Operation::Start, Fault::LoseReply, 1);
    assert!(fake.start(key).await.is_err());
    fake.start(key).await.unwrap();
    assert_eq!((fake.counts(key).starts, fake.starts_max()), ((2, 1), 1));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_down_answers_nothing_and_its_attempts_run_on() {
    let (fakes, key) = paused();
    let (fake, plan) = (&fakes.0, conformance::plan(&fakes, key, Script::Run));
    fake.create(&plan).await.unwrap();
    fake.start(key).await.unwrap();
    let mut hints = fake.hints().await.unwrap();
    fake.go_down();
    assert!(fake.observe(key).await.is_err() && fake.list().await.is_err() && fake.hints().await.is_err());
    while hints.next().await.is_some() {}
    fake.come_up();
    assert!(matches!(fake.observe(key).await.unwrap(), Observation::Running(_)));
}

#[tokio::test(start_paused = true)]
async fn a_restart_has_the_fate_it_says() {
    for (fate, expected) in
        [(Fate::Killed, (Some(9), None)), (Fate::HostRestart, (None, Some(Unseen::HostRestart)))]
    {
        let (fakes, key) = paused();
        fakes.0.create(&conformance::plan(&fakes, key, Script::Run)).await.unwrap();
        fakes.0.start(key).await.unwrap();
        fakes.0.restart(Fate::Survive);
        assert!(matches!(fakes.0.observe(key).await.unwrap(), Observation::Running(_)));
        fakes.0.restart(fate);
        let Observation::Exited(exit) = fakes.0.observe(key).await.unwrap() else { panic!("it is over") };
        assert_eq!((exit.signal, exit.unseen), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_ended_or_vanishes_wakes_those_who_wait() {
    let (fakes, key) = paused();
    let fake = &fakes.0;
    for vanish in [false, true] {
        fake.create(&conformance::plan(&fakes, key, Script::Run)).await.unwrap();
        fake.start(key).await.unwrap();
        let since = tokio::time::Instant::now();
        let wait = fake.wait(key, Duration::from_secs(86_400));
        let end = async {
            if vanish {
                fake.vanish(key);
            } else {
                fake.end(key, Ending::Oom);
            }
        };
        tokio::join!(wait, end);
        assert!(since.elapsed() < Duration::from_secs(1));
        match fake.observe(key).await.unwrap() {
            Observation::Exited(exit) => assert!(exit.oom_killed && !vanish),
            observation => assert!(observation == Observation::Absent && vanish, "{observation:?}"),
        }
        fake.remove(key).await.unwrap();
    }
    assert!(fake.present().is_empty());
    assert_eq!(fake.ever_created(), [key]);
}
