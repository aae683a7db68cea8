//! The demonstration on a real engine.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use dogwatch_actors::handle::orchestrations::StartOrder;
use dogwatch_actors::orchestration::{self, OrchestrationContext, Registry, Status};
use dogwatch_actors::prelude::*;
use futures_util::StreamExt as _;

use crate::cli_binary::{program, text};
use crate::cli_run::data_dir;
use crate::examples::{check_batches, run_with};

/// What the engine has, of which a line says `what`.
fn in_engine(list: &[&str], what: &str) -> BTreeSet<String> {
    let listed = Command::new("docker").args(list).output().unwrap();
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    text(&listed.stdout).lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
}

const CONTAINERS: [&str; 5] = ["ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Image}} {{.Command}}"];
const IMAGES: [&str; 3] = ["images", "--format", "{{.Repository}}:{{.Tag}}"];

#[test]
fn the_demonstration_holds_in_a_container_and_leaves_nothing() {
    let dir = data_dir();
    // One that somebody killed may have left what is not this one's.
    let there = || [&CONTAINERS[..], &IMAGES[..]].map(|list| in_engine(list, "dogwatch-demo"));
    let before = there();
    let shown = program(dir.path()).arg("demo").env("TMPDIR", dir.path()).output().unwrap();
    assert_eq!(shown.status.code(), Some(0), "{}{}", text(&shown.stdout), text(&shown.stderr));
    let said = text(&shown.stdout);
    assert!(said.contains("a container (docker") && said.contains("All as promised"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the demonstration left files");
    assert_eq!(there(), before, "the demonstration left something in the engine");
}

#[test]
fn the_reference_scenario_runs_in_containers_and_leaves_none() {
    let there = || in_engine(&CONTAINERS, "extracting for");
    let before = there();
    check_batches(&run_with("container_batch", &["--docker"]));
    assert_eq!(there(), before, "the scenario left containers");
}

/// A container of its own, and a child with one of its own.
async fn nested(ctx: OrchestrationContext, depth: u32) -> orchestration::Result<()> {
    let job = ctx.job(Spec::container("busybox:latest", ["sleep", "600"])).start();
    if depth > 0 {
        ctx.child::<()>("nested", depth - 1).await?;
    }
    job.await.map(drop)
}

#[actix_web::test]
async fn a_terminated_orchestration_leaves_no_container_nor_its_childrens() {
    let dir = data_dir();
    let home = Home::open(dir.path().join("data")).await.unwrap();
    let containers = home.containers().unwrap();
    let registry = Registry::new().orchestration("nested", nested);
    let builder = home.builder().await.unwrap().runtime(containers).orchestrations(registry);
    let supervisor = builder.start().await.unwrap();
    let (jobs, client) = (supervisor.handle(), supervisor.handle().orchestrations());
    let (id, patience) = ("root".parse().unwrap(), Duration::from_secs(60));
    let in_state = |state| {
        let filter = Filter { states: vec![state], limit: 10, ..Filter::default() };
        jobs.list(&filter).unwrap().jobs
    };
    let mut events = jobs.events(None);
    client.start(StartOrder::new("nested", 2).id(id)).await.unwrap();
    while in_state(JobState::Running).len() < 3 {
        tokio::time::timeout(patience, events.next()).await.expect("three containers run").unwrap().unwrap();
    }
    let running: Vec<String> = in_state(JobState::Running)
        .iter()
        .map(|job| job.attempts[0].runtime_id.clone().expect("it runs as something"))
        .collect();
    client.terminate(id, None, true).await.unwrap();
    assert_eq!(client.wait(id, patience).await.unwrap().status, Status::Terminated);
    assert_eq!(in_state(JobState::Cancelled).len(), 3);
    // At this very moment, and not some time later.
    let listed = Command::new("docker").args(["ps", "--quiet", "--no-trunc"]).output().unwrap();
    for container in running {
        assert!(!text(&listed.stdout).contains(&container), "{container} still runs");
    }
    supervisor.shutdown().await;
}
