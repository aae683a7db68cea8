//! The promises of runtimes that have groups; of one that has none, that it says so.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::time::Instant;

use super::{Harness, Script, count, fresh_key, lines, plan, within};
use crate::id::AttemptKey;
use crate::job::spec::{Resources, StopSignal};
use crate::runtime::group::Member;
use crate::runtime::{Due, Error, Exit, Observation, Plan};

const GRACE: Duration = Duration::from_secs(10);

fn member(harness: &dyn Harness, name: &str, script: Script) -> Member {
    let as_main = plan(harness, fresh_key(), script);
    Member {
        name: name.to_owned(),
        image: as_main.image.unwrap_or_default(),
        entrypoint: as_main.entrypoint,
        args: as_main.args,
        env: as_main.env,
        working_dir: None,
        resources: Resources::default(),
        user: None,
        mounts: Vec::new(),
    }
}

/// A group of these init containers, these sidecars and this main container; `None` when the runtime has none, which it
/// must say.
async fn group(
    harness: &dyn Harness,
    init: &[(&str, Script)],
    sidecars: &[(&str, Script)],
    main: Script,
) -> Option<Plan> {
    let runtime = harness.runtime();
    let mut whole = plan(harness, fresh_key(), main);
    let members = |list: &[(&str, Script)]| -> Vec<Member> {
        list.iter().map(|(name, script)| member(harness, name, *script)).collect()
    };
    (whole.group.init, whole.group.sidecars) = (members(init), members(sidecars));
    let created = runtime.create(&whole).await;
    if runtime.runs_groups() {
        created.expect("created");
        assert_eq!(runtime.observe(whole.key).await.expect("an observation"), Observation::Created);
        return Some(whole);
    }
    assert!(matches!(created, Err(Error::Start { .. })), "it is refused, and not cut down: {created:?}");
    assert_eq!(runtime.observe(whole.key).await.expect("an observation"), Observation::Absent);
    None
}

/// Does what is due until it is over, or until it runs and `holds`.
async fn drive(harness: &dyn Harness, key: AttemptKey, holds: Option<&str>) -> Option<Exit> {
    let runtime = harness.runtime();
    let until = Instant::now() + harness.deadline();
    loop {
        assert!(Instant::now() < until, "it gets on");
        match runtime.observe(key).await.expect("an observation") {
            Observation::Exited(exit) => return Some(exit),
            Observation::Created | Observation::Due(_, Due::Start(_)) => {
                runtime.start(key).await.expect("a start");
            }
            Observation::Due(_, Due::Stop) => stop(harness, key).await,
            Observation::Running(_) if holds.is_some() && runs(harness, key, holds).await => return None,
            Observation::Running(_) => runtime.wait(key, Duration::from_millis(200)).await,
            odd => panic!("it is {odd:?}"),
        }
    }
}

async fn runs(harness: &dyn Harness, key: AttemptKey, member: Option<&str>) -> bool {
    let member = member.filter(|name| *name != "main");
    harness.runtime().runs(key, member).await.expect("an answer")
}

async fn stop(harness: &dyn Harness, key: AttemptKey) {
    let stopped = harness.runtime().stop(key, StopSignal::Sigterm, GRACE);
    within(harness, stopped).await.expect("stopped");
}

/// How often a container beside the main one has run.
async fn runs_of(harness: &dyn Harness, key: AttemptKey, member: &str) -> usize {
    let stream = harness.runtime().member_logs(key, member, None).await.expect("the logs can be read");
    let lines: Vec<_> = within(harness, stream.try_collect()).await.expect("the log can be read");
    count(&lines, "run")
}

async fn removed(harness: &dyn Harness, key: AttemptKey) {
    let runtime = harness.runtime();
    runtime.remove(key).await.expect("removed");
    assert_eq!(runtime.observe(key).await.expect("an observation"), Observation::Absent);
    let listed = runtime.list().await.expect("a list");
    assert!(listed.iter().all(|(listed, _)| *listed != key), "nothing is left: {listed:?}");
}

/// Init containers one after the other, then the rest; the main one's end is the end, and nothing ran twice.
pub async fn a_group_runs_in_its_order_and_once(harness: &dyn Harness) {
    let init = [("one", Script::Exit(0)), ("two", Script::Exit(0))];
    let Some(plan) = group(harness, &init, &[("side", Script::Run)], Script::Exit(4)).await else { return };
    let (runtime, key) = (harness.runtime(), plan.key);
    let exit = drive(harness, key, None).await.expect("it ends");
    assert_eq!((exit.code, exit.container), (Some(4), None));
    for _ in 0..2 {
        runtime.start(key).await.expect("a start after the end is none");
    }
    assert!(matches!(runtime.observe(key).await, Ok(Observation::Exited(_))));
    assert_eq!(count(&lines(harness, key).await, "run"), 1);
    for member in ["one", "two", "side"] {
        assert_eq!(runs_of(harness, key, member).await, 1, "{member}");
    }
    assert_eq!(runtime.members(key).await.expect("its members"), ["one", "two", "side"]);
    removed(harness, key).await;
}

/// The end of an init container that fails is the end of all, and is called its.
pub async fn a_failed_init_container_ends_its_group(harness: &dyn Harness) {
    let init = [("one", Script::Exit(0)), ("two", Script::Exit(3))];
    let Some(plan) = group(harness, &init, &[("side", Script::Run)], Script::Exit(0)).await else { return };
    let exit = drive(harness, plan.key, None).await.expect("it ends");
    assert_eq!((exit.code, exit.container.as_deref()), (Some(3), Some("two")));
    assert_eq!(count(&lines(harness, plan.key).await, "run"), 0, "the main one never ran");
    removed(harness, plan.key).await;
}

/// A stop ends everything of a group, however far it is.
pub async fn a_stop_ends_a_whole_group(harness: &dyn Harness) {
    for (init, far) in [(Script::Run, "one"), (Script::Exit(0), "main")] {
        let sides = [("side", Script::Run)];
        let Some(plan) = group(harness, &[("one", init)], &sides, Script::Run).await else { return };
        let (runtime, key) = (harness.runtime(), plan.key);
        assert_eq!(drive(harness, key, Some(far)).await, None);
        assert!(runtime.remove(key).await.is_err(), "what runs is not removed");
        stop(harness, key).await;
        let over = runtime.observe(key).await.expect("an observation");
        assert!(matches!(over, Observation::Exited(_)), "{far}: {over:?}");
        for member in [None, Some("one"), Some("side")] {
            assert!(!runtime.runs(key, member).await.expect("an answer"), "{member:?}");
        }
        removed(harness, key).await;
    }
}
