//! One container per attempt, started at most once, ended as told, and nothing of others touched.

use std::collections::BTreeMap;
use std::time::Duration;

use dogwatch_actors::id::{AttemptKey, Ids as _, RandomIds};
use dogwatch_actors::job::spec::{Resources, SecurityProfile, StopSignal};
use dogwatch_actors::runtime::{Error, Hint, Observation, Runtime as _};
use dogwatch_actors::units::Size;
use futures_util::{StreamExt as _, future};
use tokio::time::{Instant, timeout};

use super::logs::output;
use super::{IMAGE, PATIENCE, Rig, connect, docker, name_of};

#[tokio::test]
async fn an_attempt_lives_from_absent_to_absent() {
    let rig = Rig::new().await;
    let plan = rig.plan("exit 7");
    let key = plan.key;
    assert_eq!(rig.docker.observe(key).await.unwrap(), Observation::Absent);
    rig.docker.create(&plan).await.unwrap();
    assert_eq!(rig.docker.observe(key).await.unwrap(), Observation::Created);
    rig.docker.start(key).await.unwrap();
    let exit = rig.exit(key).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed, exit.unseen), (Some(7), None, false, None));
    assert!(exit.started_at.unwrap() <= exit.finished_at.unwrap());
    rig.docker.start(key).await.unwrap();
    rig.docker.create(&plan).await.unwrap();
    rig.docker.stop(key, StopSignal::Sigterm, PATIENCE).await.unwrap();
    assert_eq!(rig.docker.observe(key).await.unwrap(), Observation::Exited(exit), "nothing ran again");
    rig.docker.remove(key).await.unwrap();
    assert_eq!(rig.docker.observe(key).await.unwrap(), Observation::Absent);
    rig.docker.remove(key).await.unwrap();
    rig.docker.stop(key, StopSignal::Sigterm, PATIENCE).await.unwrap();
    assert!(rig.docker.start(key).await.is_err_and(|error| error.is_retryable()));
}

#[tokio::test]
async fn however_often_it_is_created_and_started_it_runs_once() {
    let rig = Rig::new().await;
    let plan = rig.plan("echo ran");
    // A second process of the same installation, as after a restart, and many calls of each.
    let other = connect(rig.installation);
    let creates = (0..6).map(|n| if n % 2 == 0 { &rig.docker } else { &other }.create(&plan));
    future::try_join_all(creates).await.unwrap();
    let starts = (0..6).map(|_| rig.docker.start(plan.key));
    future::try_join_all(starts).await.unwrap();
    rig.exit(plan.key).await;
    let starts = (0..6).map(|_| rig.docker.start(plan.key));
    future::try_join_all(starts).await.unwrap();
    rig.exit(plan.key).await;
    assert_eq!(output(&rig, plan.key).await, ["ran"]);
    assert_eq!(rig.docker.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_start_whose_caller_gave_up_is_not_made_twice() {
    let rig = Rig::new().await;
    let plan = rig.plan("echo ran");
    rig.docker.create(&plan).await.unwrap();
    for millis in [1, 5, 20, 50, 100] {
        drop(timeout(Duration::from_millis(millis), rig.docker.start(plan.key)).await);
    }
    rig.docker.start(plan.key).await.unwrap();
    rig.exit(plan.key).await;
    assert_eq!(output(&rig, plan.key).await, ["ran"]);
}

#[tokio::test]
async fn what_is_not_ours_is_not_touched() {
    let rig = Rig::new().await;
    // One of nobody, with the name of an attempt; and one of another installation, under that very name.
    let (nobody, other) = (rig.plan("true"), Rig::new().await);
    let id = docker(&["create", "--name", &name_of(nobody.key), IMAGE, "true"]);
    let theirs = other.plan("sleep 100");
    other.start(&theirs).await.unwrap();
    for key in [nobody.key, theirs.key] {
        let plan = super::Plan { key, ..nobody.clone() };
        let foreign = |result: Result<(), Error>| matches!(result, Err(Error::Foreign { .. }));
        assert!(foreign(rig.docker.create(&plan).await));
        assert!(foreign(rig.docker.start(key).await));
        assert!(foreign(rig.docker.stop(key, StopSignal::Sigkill, Duration::ZERO).await));
        assert!(foreign(rig.docker.remove(key).await));
        assert!(foreign(rig.docker.observe(key).await.map(drop)));
    }
    assert_eq!(rig.docker.list().await.unwrap(), []);
    assert!(matches!(other.docker.observe(theirs.key).await, Ok(Observation::Running(_))));
    assert_eq!(docker(&["inspect", "--format", "{{.State.Status}}", &id]), "created");
    docker(&["rm", &id]);
}

#[tokio::test]
async fn a_container_that_runs_out_of_memory_says_so() {
    let rig = Rig::new().await;
    let resources = Resources { memory: Some(Size::from_bytes(16 << 20)), ..Resources::default() };
    let script = "x=0123456789abcdef; while true; do x=$x$x; done";
    let exit = rig.run(&super::Plan { resources, ..rig.plan(script) }).await;
    assert!(exit.oom_killed, "{exit:?}");
    assert_ne!(exit.code, Some(0));
}

#[tokio::test]
async fn a_stop_asks_then_kills() {
    let rig = Rig::new().await;
    let polite = rig.plan("trap 'exit 3' TERM; echo ready; while true; do sleep 0.1; done");
    let stubborn = rig.plan("trap '' TERM; echo ready; while true; do sleep 0.1; done");
    for plan in [&polite, &stubborn] {
        rig.start(plan).await.unwrap();
        let mut lines = rig.docker.logs(plan.key, None).await.unwrap();
        timeout(PATIENCE, lines.next()).await.expect("it says that it is ready");
    }
    let begun = Instant::now();
    rig.docker.stop(polite.key, StopSignal::Sigterm, PATIENCE).await.unwrap();
    assert!(begun.elapsed() < PATIENCE / 2, "the end is not waited out");
    assert_eq!(rig.exit(polite.key).await.code, Some(3));
    let grace = Duration::from_secs(1);
    let begun = Instant::now();
    rig.docker.stop(stubborn.key, StopSignal::Sigterm, grace).await.unwrap();
    assert!(begun.elapsed() >= grace);
    assert_eq!(rig.exit(stubborn.key).await.code, Some(137));
}

#[tokio::test]
async fn what_runs_is_not_removed() {
    let rig = Rig::new().await;
    let plan = rig.plan("sleep 100");
    rig.start(&plan).await.unwrap();
    assert!(rig.docker.remove(plan.key).await.is_err_and(|error| error.is_retryable()));
    assert!(matches!(rig.docker.observe(plan.key).await, Ok(Observation::Running(_))));
}

#[tokio::test]
async fn the_list_has_every_attempt_in_its_state() {
    let rig = Rig::new().await;
    let (created, running, exited) = (rig.plan("true"), rig.plan("sleep 100"), rig.plan("exit 4"));
    rig.docker.create(&created).await.unwrap();
    rig.start(&running).await.unwrap();
    rig.run(&exited).await;
    // One with our labels and another name is no attempt.
    let label = format!("dev.dogwatch.installation={}", rig.installation);
    docker(&["create", "--label", &label, IMAGE, "true"]);
    let list: BTreeMap<AttemptKey, Observation> = rig.docker.list().await.unwrap().into_iter().collect();
    assert_eq!(list.len(), 3);
    assert_eq!(list[&created.key], Observation::Created);
    assert!(matches!(list[&running.key], Observation::Running(_)));
    assert!(matches!(&list[&exited.key], Observation::Exited(exit) if exit.code == Some(4)));
}

#[tokio::test]
async fn a_wait_for_what_has_not_begun_is_no_end() {
    let rig = Rig::new().await;
    let plan = rig.plan("true");
    rig.docker.create(&plan).await.unwrap();
    let patience = Duration::from_millis(300);
    let begun = Instant::now();
    rig.docker.wait(plan.key, patience).await;
    assert!(begun.elapsed() >= patience);
    assert_eq!(rig.docker.observe(plan.key).await.unwrap(), Observation::Created);
}

#[tokio::test]
async fn hints_begin_with_everything_and_name_what_changed() {
    let rig = Rig::new().await;
    let plan = rig.plan("true");
    let mut hints = rig.docker.hints().await.unwrap();
    assert_eq!(hints.next().await, Some(Hint::Everything));
    rig.run(&plan).await;
    let named = timeout(PATIENCE, hints.next()).await.expect("the engine tells it");
    assert_eq!(named, Some(Hint::Attempt(plan.key)));
}

#[tokio::test]
async fn a_restricted_container_can_do_nothing_but_compute() {
    let rig = Rig::new().await;
    let script = "grep -E '^(Uid|Gid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; \
                  touch /x 2>/dev/null || echo root is read-only; touch /tmp/x && echo tmp is not; \
                  ls /proc/1/exe >/dev/null 2>&1; cat /proc/1/comm";
    let plan = super::Plan { security_profile: SecurityProfile::Restricted, ..rig.plan(script) };
    assert_eq!(rig.run(&plan).await.code, Some(0));
    let expected = [
        "Uid:\t65532\t65532\t65532\t65532",
        "Gid:\t65532\t65532\t65532\t65532",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "root is read-only",
        "tmp is not",
        "docker-init",
    ];
    assert_eq!(output(&rig, plan.key).await, expected);
}

#[tokio::test]
async fn a_baseline_container_gains_nothing_and_lacks_net_raw() {
    let rig = Rig::new().await;
    let plan =
        rig.plan("grep -E '^(CapEff|NoNewPrivs):' /proc/self/status; touch /x && echo root is writable");
    rig.run(&plan).await;
    let lines = output(&rig, plan.key).await;
    // The engine's default set of capabilities (a80425fb) without bit 13.
    assert_eq!(lines, ["CapEff:\t00000000a80405fb", "NoNewPrivs:\t1", "root is writable"]);
}

#[tokio::test]
async fn environment_directory_user_and_limits_arrive() {
    let rig = Rig::new().await;
    let plan = rig.plan("echo $A; pwd; id -u; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null");
    let env = BTreeMap::from([("A".to_owned(), dogwatch_actors::secret::Secret::new("with = and 'quotes'"))]);
    let resources = Resources { memory: Some(Size::from_bytes(32 << 20)), ..Resources::default() };
    let working_dir = Some("/etc".to_owned());
    let plan = super::Plan { env, resources, working_dir, user: Some("1234".into()), ..plan };
    rig.run(&plan).await;
    assert_eq!(output(&rig, plan.key).await, ["with = and 'quotes'", "/etc", "1234", "33554432"]);
}

#[tokio::test]
async fn two_installations_share_an_engine() {
    let (one, two) = (Rig::new().await, Rig::new().await);
    let (a, b) = (one.plan("true"), two.plan("true"));
    one.docker.create(&a).await.unwrap();
    two.docker.create(&b).await.unwrap();
    assert_eq!(one.docker.list().await.unwrap(), [(a.key, Observation::Created)]);
    assert_eq!(two.docker.list().await.unwrap(), [(b.key, Observation::Created)]);
    let stranger = super::Plan { installation: RandomIds.installation_id(), ..one.plan("true") };
    assert!(matches!(one.docker.create(&stranger).await, Err(Error::Start { .. })));
}
