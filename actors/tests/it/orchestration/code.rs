//! What an orchestration's code can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dogwatch_actors::handle::orchestrations::Raise;
use dogwatch_actors::job::view::JobState;
use dogwatch_actors::orchestration::{
    ActivityContext, Either, Failure, OrchestrationContext, Registry, Result, RetryPolicy, Status, join_all,
    select, try_join_all,
};
use serde_json::json;

use super::{completed, id, is_over, kinds, run, start, until};
use crate::supervisor::bench::{Bench, shell};

async fn double(_: ActivityContext, number: u64) -> Result<u64> {
    Ok(number * 2)
}

#[test]
fn activities_follow_each_other_and_everything_is_recorded() {
    async fn chain(ctx: OrchestrationContext, input: u64) -> Result<u64> {
        let mut number = input;
        for _ in 0..3 {
            number = ctx.activity("double", number).await?;
        }
        ctx.set_custom_status(json!({"number": number}))?;
        Ok(number)
    }
    Bench::run(async |bench| {
        let registry = Registry::new().orchestration("chain", chain).activity("double", double);
        let client = bench.start_with(registry).await.handle().orchestrations();
        start(&client, "chain", "one", 5).await;
        let view = until(&client, "one", is_over).await;
        assert_eq!(completed(&view), &json!(40));
        assert_eq!((view.input, view.custom_status), (Some(json!(5)), Some(json!({"number": 40}))));
        assert_eq!(
            kinds(&client, "one"),
            [
                "execution_started",
                "activity_scheduled",
                "task_completed",
                "activity_scheduled",
                "task_completed",
                "activity_scheduled",
                "task_completed",
                "execution_completed"
            ]
        );
        let events = client.history(id("one"), 0, 100).unwrap();
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "{events:#?}");
        assert_eq!(client.history(id("one"), 6, 1).unwrap(), events[6..7]);
    });
}

#[test]
fn a_thousand_activities_at_once_come_back_in_order() {
    async fn fan(ctx: OrchestrationContext, count: u64) -> Result<u64> {
        let calls = (0..count).map(|number| ctx.activity::<u64>("double", number));
        let results = try_join_all(calls).await?;
        assert!(results.iter().zip(0..).all(|(result, number)| *result == number * 2));
        Ok(results.iter().sum())
    }
    Bench::run(async |bench| {
        let registry = Registry::new().orchestration("fan", fan).activity("double", double);
        let client = bench.start_with(registry).await.handle().orchestrations();
        let view = run(&client, "fan", 1_000).await;
        assert_eq!(completed(&view), &json!(999_000));
    });
}

#[test]
fn events_are_kept_until_they_are_taken_in_their_order() {
    async fn listener(ctx: OrchestrationContext, (): ()) -> Result<Vec<u32>> {
        ctx.event::<()>("go").await?;
        let first = ctx.event::<u32>("number").await?;
        let second = ctx.event::<u32>("number").await?;
        // Nobody takes it while both wait for it: the first who began to does.
        let (third, fourth) = match select(ctx.event::<u32>("number"), ctx.event::<u32>("other")).await {
            Either::First(number) => (number?, ctx.event::<u32>("other").await?),
            Either::Second(number) => (number?, ctx.event::<u32>("number").await?),
        };
        Ok(vec![first, second, third, fourth])
    }
    Bench::run(async |bench| {
        let registry = Registry::new().orchestration("listener", listener);
        let client = bench.start_with(registry).await.handle().orchestrations();
        start(&client, "listener", "ear", ()).await;
        for number in [1, 2] {
            client.raise(id("ear"), Raise::new("number", number)).await.unwrap();
        }
        // The same one again.
        for _ in 0..2 {
            let once = Raise { id: Some("only".to_owned()), ..Raise::new("go", ()) };
            client.raise(id("ear"), once).await.unwrap();
        }
        client.raise(id("ear"), Raise::new("other", 3)).await.unwrap();
        client.raise(id("ear"), Raise::new("number", 4)).await.unwrap();
        let view = until(&client, "ear", is_over).await;
        assert_eq!(completed(&view), &json!([1, 2, 3, 4]));
        let late = client.raise(id("ear"), Raise::new("number", 5)).await;
        assert!(late.is_err(), "an event to one that is over is refused");
    });
}

#[test]
fn whoever_waits_too_long_for_an_event_is_told_so() {
    async fn patient(ctx: OrchestrationContext, millis: u64) -> Result<Option<String>> {
        ctx.event::<String>("never").within(Duration::from_millis(millis)).await
    }
    Bench::run(async |bench| {
        let registry = Registry::new().orchestration("patient", patient);
        let client = bench.start_with(registry).await.handle().orchestrations();
        assert_eq!(completed(&run(&client, "patient", 50).await), &json!(null));
        start(&client, "patient", "two", 60_000).await;
        client.raise(id("two"), Raise::new("never", "now")).await.unwrap();
        let view = until(&client, "two", is_over).await;
        assert_eq!(completed(&view), &json!("now"));
        assert!(kinds(&client, "two").contains(&"task_cancelled".to_owned()), "its timer is disarmed");
    });
}

#[test]
fn a_failed_activity_is_tried_again_by_its_policy() {
    async fn stubborn(ctx: OrchestrationContext, kind: String) -> Result<u32> {
        let policy = RetryPolicy::new(4, Duration::from_millis(20)).coefficient(2.0).except("hopeless");
        ctx.activity("flaky", kind).retry(policy).await
    }
    Bench::run(async |bench| {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let flaky = move |_: ActivityContext, kind: String| {
            let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
            async move { if call < 4 { Err(Failure::new(kind, format!("call {call}"))) } else { Ok(call) } }
        };
        let registry = Registry::new().orchestration("stubborn", stubborn).activity("flaky", flaky);
        let client = bench.start_with(registry).await.handle().orchestrations();
        assert_eq!(completed(&run(&client, "stubborn", "io").await), &json!(4));
        calls.store(0, Ordering::SeqCst);
        let view = run(&client, "stubborn", "hopeless").await;
        assert_eq!((view.status, view.failure.unwrap().message.as_str()), (Status::Failed, "call 1"));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn children_give_their_results_and_their_failures() {
    async fn parent(ctx: OrchestrationContext, (): ()) -> Result<(Vec<u64>, String)> {
        let children = (0..20_u64).map(|number| ctx.child::<u64>("child", number));
        let results = join_all(children).await.into_iter().collect::<Result<Vec<u64>>>()?;
        let failure = ctx.child::<u64>("child", 1_000).await.unwrap_err();
        Ok((results, failure.message))
    }
    async fn child(ctx: OrchestrationContext, number: u64) -> Result<u64> {
        if number > 100 {
            return Err(Failure::new("too_large", format!("{number} is too large")));
        }
        ctx.activity("double", number).await
    }
    Bench::run(async |bench| {
        let registry = Registry::new()
            .orchestration("parent", parent)
            .orchestration("child", child)
            .activity("double", double);
        let client = bench.start_with(registry).await.handle().orchestrations();
        start(&client, "parent", "family", ()).await;
        let view = until(&client, "family", is_over).await;
        let doubled: Vec<u64> = (0..20).map(|number| number * 2).collect();
        assert_eq!(completed(&view), &json!([doubled, "1000 is too large"]));
        let child = until(&client, "family:0001", is_over).await;
        assert_eq!(child.parent, Some(id("family")));
        assert_eq!(client.purge(id("family")).await.unwrap(), 22);
        assert!(client.get(id("family:0001"), Default::default()).is_err(), "the children go with it");
    });
}

#[test]
fn a_job_is_run_and_its_outcome_given() {
    async fn runs(ctx: OrchestrationContext, script: String) -> Result<(JobState, Option<i32>)> {
        let mut spec = shell(&script);
        spec.max_attempts = Some(1);
        let outcome = ctx.job(spec).await?;
        Ok((outcome.state, outcome.exit_code))
    }
    async fn invalid(ctx: OrchestrationContext, (): ()) -> Result<String> {
        let mut spec = shell("true");
        spec.max_attempts = Some(0);
        let failure = ctx.job(spec).await.unwrap_err();
        Ok(failure.kind)
    }
    Bench::run(async |bench| {
        let registry = Registry::new().orchestration("runs", runs).orchestration("invalid", invalid);
        let client = bench.start_with(registry).await.handle().orchestrations();
        assert_eq!(completed(&run(&client, "runs", "exit 0").await), &json!(["succeeded", 0]));
        assert_eq!(completed(&run(&client, "runs", "exit 7").await), &json!(["failed", 7]));
        assert_eq!(completed(&run(&client, "invalid", ()).await), &json!("invalid_spec"));
    });
}

#[test]
fn it_continues_as_new_and_takes_what_was_not_taken_along() {
    async fn eternal(ctx: OrchestrationContext, sum: u64) -> Result<u64> {
        let number = ctx.event::<u64>("number").await?;
        if number == 0 {
            return Ok(sum);
        }
        ctx.continue_as_new(sum + number)
    }
    Bench::run(async |bench| {
        let registry = Registry::new().orchestration("eternal", eternal);
        let client = bench.start_with(registry).await.handle().orchestrations();
        start(&client, "eternal", "sum", 0).await;
        for number in (0..=50).rev() {
            client.raise(id("sum"), Raise::new("number", number)).await.unwrap();
        }
        let view = until(&client, "sum", is_over).await;
        assert_eq!(completed(&view), &json!(1_275));
        assert_eq!(view.execution, 51);
        assert!(kinds(&client, "sum").len() < 60, "the history is that of the last execution");
    });
}

#[test]
fn time_and_ids_are_the_same_when_it_is_replayed() {
    async fn keeper(ctx: OrchestrationContext, (): ()) -> Result<bool> {
        let (uuid, now) = (ctx.new_uuid(), ctx.now());
        let seen: (uuid::Uuid, i64) = ctx.activity("note", (uuid, now.as_millis())).await?;
        ctx.event::<()>("go").await?;
        Ok(seen == (uuid, now.as_millis()) && ctx.new_uuid() != uuid)
    }
    async fn note(_: ActivityContext, seen: (uuid::Uuid, i64)) -> Result<(uuid::Uuid, i64)> {
        Ok(seen)
    }
    let registry = || Registry::new().orchestration("keeper", keeper).activity("note", note);
    Bench::run(async |bench| {
        let supervisor = bench.start_with(registry()).await;
        let client = supervisor.handle().orchestrations();
        start(&client, "keeper", "time", ()).await;
        until(&client, "time", |view| view.events >= 3).await;
        supervisor.shutdown().await;
        let supervisor = bench.start_with(registry()).await;
        let client = supervisor.handle().orchestrations();
        client.raise(id("time"), Raise::new("go", ())).await.unwrap();
        let view = until(&client, "time", is_over).await;
        assert_eq!(completed(&view), &json!(true));
    });
}
