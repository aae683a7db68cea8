//! Code that runs elsewhere: what workers are given, and what becomes of what they answer, or do not.

use std::time::Duration;

use dogwatch_actors::handle::Handle;
use dogwatch_actors::handle::orchestrations::{Orchestrations, Raise, StartOrder};
use dogwatch_actors::orchestration::executor::Remote;
use dogwatch_actors::orchestration::executor::remote::{
    Connection, Item, Kind, Line, TurnAnswer, Work, WorkerOptions,
};
use dogwatch_actors::orchestration::history::{Action, ActivityCall, Arrival, Outcome};
use dogwatch_actors::orchestration::state::Orchestration;
use dogwatch_actors::orchestration::{
    ActivityContext, Failure, OrchestrationContext, Payload, Registry, Result, Status,
};
use serde_json::json;

use super::{completed, id, is_over, start, until};
use crate::supervisor::bench::Bench;

/// A worker of the default task hub that takes these orchestrations, or everything.
fn worker(remote: &Remote, orchestrations: Option<&[&str]>) -> Connection {
    let names = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Default::default())).collect();
    let takes = [orchestrations.map(names), orchestrations.map(|_| Default::default()), None];
    remote.connect(WorkerOptions { hub: "default".to_owned(), takes, ..WorkerOptions::default() })
}

fn remote(handle: &Handle) -> Remote {
    handle.workers().unwrap().clone()
}

async fn next(worker: &Connection) -> Item {
    tokio::time::timeout(Duration::from_secs(20), worker.next()).await.expect("there is work").unwrap()
}

/// Whether nothing comes, as far as one sees at once.
async fn has_none(worker: &Connection) -> bool {
    tokio::time::timeout(Duration::from_millis(50), worker.next()).await.is_err()
}

/// What an item shows the code: how much it saw before, and what is new.
fn sight(item: &Item) -> (usize, Vec<Arrival>) {
    let Work::Turn { past, fresh, .. } = &item.work else { panic!("no turn: {item:?}") };
    let saw = |line: &Line| match line {
        Line::Saw(_, arrival) => arrival.clone(),
        line => panic!("{line:?}"),
    };
    (past.lines.len(), fresh.iter().map(saw).collect())
}

fn state(item: &Item) -> &Orchestration {
    let Work::Turn { state, .. } = &item.work else { panic!("no turn: {item:?}") };
    state
}

fn call(item: &Item) -> &ActivityCall {
    let Work::Activity { call, .. } = &item.work else { panic!("no activity: {item:?}") };
    call
}

fn activity(task: u64, name: &str) -> Action {
    Action::ScheduleActivity(Box::new(ActivityCall {
        task,
        name: name.to_owned(),
        version: None,
        input: json!(task).into(),
        timeout: None,
        heartbeat: None,
        tags: Default::default(),
        trace: None,
    }))
}

fn text(text: &str) -> Outcome {
    Outcome::Completed(Payload::Text(text.to_owned()))
}

fn failed() -> Outcome {
    Failure::new("Error", "it failed").into()
}

async fn asks(remote: &Remote, item: &Item, actions: Vec<Action>) {
    remote.complete_turn(&item.token, TurnAnswer { actions, ..TurnAnswer::default() }).await;
}

async fn ends(remote: &Remote, item: &Item) {
    asks(remote, item, vec![Action::Complete(text("\"done\""))]).await;
}

/// A running instance, a worker, and what is needed beside.
struct World {
    client: Orchestrations,
    remote: Remote,
    worker: Connection,
}

async fn world(bench: &Bench) -> World {
    let supervisor = bench.start_for_workers(Registry::new()).await;
    let (client, remote) = (supervisor.handle().orchestrations(), remote(&supervisor.handle()));
    start(&client, "order", "o", 1).await;
    // It is ended with the system.
    std::mem::forget(supervisor);
    let worker = worker(&remote, None);
    World { client, remote, worker }
}

#[test]
fn a_worker_has_turns_and_activities_and_sees_what_it_did_before() {
    Bench::run(async |bench| {
        let World { client, remote, worker } = world(bench).await;
        let first = next(&worker).await;
        let (before, fresh) = sight(&first);
        assert!(
            matches!(fresh.as_slice(), [Arrival::Started(started)] if started.name == "order"),
            "{fresh:?}"
        );
        assert_eq!(before, 0);
        asks(&remote, &first, vec![activity(1, "charge")]).await;
        let charge = next(&worker).await;
        assert_eq!((call(&charge).name.as_str(), call(&charge).task), ("charge", 1));
        remote.complete_activity(&charge.token, text("{\"n\": 1}")).await;
        let second = next(&worker).await;
        let (before, fresh) = sight(&second);
        assert_eq!(before, 3, "when it was, that it began, what was asked for");
        assert!(
            matches!(fresh.as_slice(), [Arrival::TaskEnded(result)] if result.outcome == text("{\"n\": 1}"))
        );
        ends(&remote, &second).await;
        assert_eq!(completed(&until(&client, "o", is_over).await), &json!("done"));
        assert!(has_none(&worker).await);
    });
}

#[test]
fn only_the_newest_answer_counts_and_that_of_a_lost_worker_until_somebody_else_has_the_work() {
    Bench::run(async |bench| {
        let World { client, remote, worker: lost } = world(bench).await;
        let first = next(&lost).await;
        drop(lost);
        let other = worker(&remote, None);
        let again = next(&other).await;
        assert_ne!(again.token, first.token);
        ends(&remote, &first).await;
        assert_eq!(client.get(id("o"), Default::default()).unwrap().status, Status::Pending, "it is stale");
        asks(&remote, &again, vec![activity(1, "charge")]).await;
        let charge = next(&other).await;
        drop(other);
        remote.complete_activity(&charge.token, text("1")).await;
        remote.complete_activity(&charge.token, text("2")).await;
        let worker = worker(&remote, None);
        let second = next(&worker).await;
        let (_, fresh) = sight(&second);
        assert!(
            matches!(fresh.as_slice(), [Arrival::TaskEnded(result)] if result.outcome == text("1")),
            "{fresh:?}"
        );
        for token in ["", "nonsense", "0000000000000000-1", &first.token] {
            remote.complete_activity(token, text("3")).await;
            remote.complete_turn(token, TurnAnswer::default()).await;
            remote.give_back(token);
        }
        ends(&remote, &second).await;
        until(&client, "o", is_over).await;
    });
}

#[test]
fn what_nobody_takes_waits_and_says_so() {
    Bench::run(async |bench| {
        let World { client, remote, worker: any } = world(bench).await;
        drop(any);
        let other = worker(&remote, Some(&["ship"]));
        assert!(has_none(&other).await);
        let explained = client.explain(id("o")).unwrap();
        assert!(explained.workers[0].contains("no worker"), "{explained:?}");
        assert!(explained.sentence.contains("`order`"), "{explained:?}");
        assert_eq!(remote.depths()[Kind::Orchestration as usize], 1);
        let right = worker(&remote, Some(&["order"]));
        let turn = next(&right).await;
        let explained = client.explain(id("o")).unwrap();
        assert!(explained.workers[0].contains("is with"), "{explained:?}");
        ends(&remote, &turn).await;
        until(&client, "o", is_over).await;
    });
}

#[test]
fn what_is_given_back_goes_to_somebody_else_and_otherwise_pauses() {
    Bench::run(async |bench| {
        let World { client, remote, worker: first } = world(bench).await;
        let second = worker(&remote, None);
        let item = next(&first).await;
        remote.give_back(&item.token);
        assert!(has_none(&first).await, "it is for the other one");
        let item = next(&second).await;
        remote.give_back(&item.token);
        assert!(has_none(&first).await && has_none(&second).await, "both have given it back");
        // A new one ends the pause.
        let third = worker(&remote, None);
        let item = next(&third).await;
        ends(&remote, &item).await;
        until(&client, "o", is_over).await;
    });
}

#[test]
fn an_activity_that_ends_its_worker_every_time_is_parked_until_somebody_releases_it() {
    Bench::run(async |bench| {
        let World { client, remote, worker: first } = world(bench).await;
        asks(&remote, &next(&first).await, vec![activity(1, "poison")]).await;
        drop(first);
        let is_parked = |client: &Orchestrations| {
            client.history(id("o"), 0, 1_000).unwrap().iter().any(|event| event.kind == "activity_parked")
        };
        for round in 0.. {
            let worker = worker(&remote, None);
            assert_eq!(call(&next(&worker).await).name, "poison");
            drop(worker);
            until(&client, "o", |view| view.events >= 3 + round).await;
            if is_parked(&client) {
                break;
            }
        }
        let worker = worker(&remote, None);
        assert!(has_none(&worker).await);
        client.release(id("o")).await.unwrap();
        let poison = next(&worker).await;
        remote.complete_activity(&poison.token, text("1")).await;
        ends(&remote, &next(&worker).await).await;
        until(&client, "o", is_over).await;
    });
}

#[test]
fn what_arrives_while_it_begins_anew_is_carried_over() {
    Bench::run(async |bench| {
        let World { client, remote, worker } = world(bench).await;
        let first = next(&worker).await;
        client.raise(id("o"), Raise::new("late", 7)).await.unwrap();
        let carried = vec![("early".to_owned(), json!(6).into())];
        asks(&remote, &first, vec![Action::ContinueAsNew { input: json!(2).into(), version: None, carried }])
            .await;
        let anew = next(&worker).await;
        let (before, fresh) = sight(&anew);
        assert_eq!((before, state(&anew).execution), (0, 2));
        let names: Vec<&str> = fresh
            .iter()
            .map(|arrival| match arrival {
                Arrival::Started(_) => "started",
                Arrival::EventRaised { name, .. } => name,
                arrival => panic!("{arrival:?}"),
            })
            .collect();
        assert_eq!(names, ["started", "early", "late"]);
        ends(&remote, &anew).await;
        until(&client, "o", is_over).await;
    });
}

#[test]
fn a_number_may_be_used_again_for_another_attempt_and_after_a_rewind() {
    Bench::run(async |bench| {
        let World { client, remote, worker } = world(bench).await;
        asks(&remote, &next(&worker).await, vec![activity(1, "charge")]).await;
        remote.complete_activity(&next(&worker).await.token, failed()).await;
        asks(&remote, &next(&worker).await, vec![activity(1, "charge"), activity(2, "ship")]).await;
        let (first, second) = (next(&worker).await, next(&worker).await);
        remote.complete_activity(&first.token, text("1")).await;
        let turn = next(&worker).await;
        remote.complete_activity(&second.token, failed()).await;
        asks(&remote, &turn, vec![]).await;
        asks(&remote, &next(&worker).await, vec![Action::Complete(failed())]).await;
        assert_eq!(until(&client, "o", is_over).await.status, Status::Failed);
        client.rewind(id("o"), None).await.unwrap();
        let again = next(&worker).await;
        assert_eq!((call(&again).name.as_str(), call(&again).task), ("ship", 2), "only what failed");
        remote.complete_activity(&again.token, text("2")).await;
        let turn = next(&worker).await;
        asks(&remote, &turn, vec![activity(3, "thank")]).await;
        let thank = next(&worker).await;
        assert_eq!(call(&thank).name, "thank");
        remote.complete_activity(&thank.token, text("3")).await;
        ends(&remote, &next(&worker).await).await;
        assert_eq!(completed(&until(&client, "o", is_over).await), &json!("done"));
    });
}

#[test]
fn code_here_and_elsewhere_work_together() {
    async fn here(ctx: OrchestrationContext, (): ()) -> Result<u64> {
        let number: u64 = ctx.activity("elsewhere", 20).await?;
        let child: u64 = ctx.child("order", number).await?;
        Ok(child + 1)
    }
    async fn add(_: ActivityContext, number: u64) -> Result<u64> {
        Ok(number + 1)
    }
    Bench::run(async |bench| {
        let registry = Registry::new().orchestration("here", here).activity("add", add);
        let supervisor = bench.start_for_workers(registry).await;
        let (client, remote) = (supervisor.handle().orchestrations(), remote(&supervisor.handle()));
        let worker = worker(&remote, None);
        start(&client, "here", "h", ()).await;
        let elsewhere = next(&worker).await;
        assert_eq!(call(&elsewhere).input, json!(20));
        remote.complete_activity(&elsewhere.token, text("21")).await;
        let order = next(&worker).await;
        // An activity of this process, asked for elsewhere.
        asks(&remote, &order, vec![activity(40, "add")]).await;
        let (_, fresh) = sight(&next(&worker).await);
        let Some(Arrival::TaskEnded(result)) = fresh.first() else { panic!("{fresh:?}") };
        assert_eq!(result.outcome, Outcome::Completed(json!(41).into()));
        drop(worker);
        let worker = self::worker(&remote, None);
        let turn = next(&worker).await;
        asks(&remote, &turn, vec![Action::Complete(text("41"))]).await;
        assert_eq!(completed(&until(&client, "h", is_over).await), &json!(42));
    });
}

#[test]
fn an_answer_whose_call_is_dropped_counts_and_the_instance_goes_on() {
    Bench::run(async |bench| {
        let World { client, remote, worker } = world(bench).await;
        let first = next(&worker).await;
        let mut call = Box::pin(asks(&remote, &first, vec![activity(1, "charge")]));
        assert!(futures_util::poll!(&mut call).is_pending(), "it is being recorded");
        drop(call);
        let charge = next(&worker).await;
        let mut call = Box::pin(remote.complete_activity(&charge.token, text("1")));
        assert!(futures_util::poll!(&mut call).is_pending(), "it is being recorded");
        drop(call);
        let second = next(&worker).await;
        client.raise(id("o"), Raise::new("one_more", 1)).await.unwrap();
        asks(&remote, &second, vec![]).await;
        ends(&remote, &next(&worker).await).await;
        until(&client, "o", is_over).await;
    });
}

#[test]
fn the_token_of_other_work_changes_nothing() {
    Bench::run(async |bench| {
        let World { client, remote, worker } = world(bench).await;
        let first = next(&worker).await;
        remote.complete_activity(&first.token, text("1")).await;
        asks(&remote, &first, vec![activity(1, "charge")]).await;
        let charge = next(&worker).await;
        asks(&remote, &charge, vec![Action::Complete(text("1"))]).await;
        remote.complete_activity(&charge.token, text("1")).await;
        ends(&remote, &next(&worker).await).await;
        assert_eq!(completed(&until(&client, "o", is_over).await), &json!("done"));
    });
}

#[test]
fn everything_goes_on_after_a_restart_and_what_nobody_awaits_too() {
    Bench::run(async |bench| {
        let supervisor = bench.start_for_workers(Registry::new()).await;
        let (client, remote) = (supervisor.handle().orchestrations(), remote(&supervisor.handle()));
        start(&client, "order", "o", 1).await;
        client.start(StartOrder::new("order", 2).id(id("p"))).await.unwrap();
        let early = worker(&remote, None);
        let (first, second) = (next(&early).await, next(&early).await);
        asks(&remote, &first, vec![activity(1, "charge")]).await;
        // It ends without waiting for what it asked for.
        asks(&remote, &second, vec![activity(2, "thank"), Action::Complete(text("1"))]).await;
        let (charge, thank) = (next(&early).await, next(&early).await);
        supervisor.shutdown().await;
        drop((early, remote, client));

        let supervisor = bench.start_for_workers(Registry::new()).await;
        let (client, remote) = (supervisor.handle().orchestrations(), self::remote(&supervisor.handle()));
        remote.complete_activity(&charge.token, text("of another time")).await;
        remote.complete_activity(&thank.token, text("of another time")).await;
        let other = worker(&remote, None);
        let items = [next(&other).await, next(&other).await];
        let mut names: Vec<&str> = items.iter().map(|item| call(item).name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["charge", "thank"]);
        for item in &items {
            remote.complete_activity(&item.token, text("2")).await;
        }
        ends(&remote, &next(&other).await).await;
        let first = state(&first).id.as_str().to_owned();
        until(&client, &first, is_over).await;
        supervisor.shutdown().await;

        let supervisor = bench.start_for_workers(Registry::new()).await;
        let late = worker(&self::remote(&supervisor.handle()), None);
        supervisor.handle().recovered().await;
        assert!(has_none(&late).await, "nothing is left");
    });
}
