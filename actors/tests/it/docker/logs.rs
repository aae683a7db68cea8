//! The output of an attempt: whole, in order, and taken up again where it was left.

use dogwatch_actors::id::AttemptKey;
use dogwatch_actors::runtime::{LogLine, LogStream, Runtime as _};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::timeout;

use super::{PATIENCE, Rig, docker, name_of};

async fn lines(rig: &Rig, key: AttemptKey, after: Option<i128>) -> Vec<LogLine> {
    let stream = rig.docker.logs(key, after).await.expect("there is a log");
    timeout(PATIENCE, stream.try_collect()).await.expect("it ends in time").expect("it can be read")
}

fn text(line: &LogLine) -> String {
    String::from_utf8_lossy(&line.bytes).into_owned()
}

/// Both streams of an attempt that has ended, line by line.
pub(super) async fn output(rig: &Rig, key: AttemptKey) -> Vec<String> {
    lines(rig, key, None).await.iter().map(text).collect()
}

#[tokio::test]
async fn a_log_is_followed_to_the_end() {
    let rig = Rig::new().await;
    let plan = rig.plan("for n in 1 2 3; do echo out $n; echo err $n >&2; sleep 0.2; done; printf last");
    rig.start(&plan).await.unwrap();
    let all = lines(&rig, plan.key, None).await;
    let of = |stream| all.iter().filter(|line| line.stream == stream).map(text).collect::<Vec<_>>();
    assert_eq!(of(LogStream::Stdout), ["out 1", "out 2", "out 3", "last"]);
    assert_eq!(of(LogStream::Stderr), ["err 1", "err 2", "err 3"]);
}

#[tokio::test]
async fn a_log_is_taken_up_where_it_was_left() {
    let rig = Rig::new().await;
    let plan = rig.plan("for n in $(seq 50); do echo $n; done");
    rig.run(&plan).await;
    let all = lines(&rig, plan.key, None).await;
    assert_eq!(all.len(), 50);
    for kept in [1, 20, 49, 50] {
        let rest = lines(&rig, plan.key, Some(all[kept - 1].at_nanos)).await;
        assert_eq!(rest, all[kept..], "after {kept} lines");
    }
}

#[tokio::test]
async fn a_line_longer_than_the_engines_entries_is_one_line() {
    let rig = Rig::new().await;
    let plan = rig.plan("head -c 50000 /dev/zero | tr '\\0' x; echo; echo after");
    rig.run(&plan).await;
    let lines = output(&rig, plan.key).await;
    assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [50_000, 5]);
}

#[tokio::test]
async fn a_log_ends_when_its_container_is_killed_by_others() {
    let rig = Rig::new().await;
    let plan = rig.plan("echo ready; sleep 1000");
    rig.start(&plan).await.unwrap();
    let mut stream = rig.docker.logs(plan.key, None).await.unwrap();
    let first = timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(text(&first), "ready");
    docker(&["kill", &name_of(plan.key)]);
    assert!(timeout(PATIENCE, stream.next()).await.expect("it ends").is_none());
    assert_eq!(rig.exit(plan.key).await.code, Some(137));
}
