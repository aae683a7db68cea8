//! What clients do to instances.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use dogwatch_actors::handle::Filter;
use dogwatch_actors::handle::orchestrations::{Error, Raise, StartOrder};
use dogwatch_actors::job::view::JobState;
use dogwatch_actors::orchestration::{
    ActivityContext, Failure, OrchestrationContext, Registry, Result, Status, join_all,
};
use serde_json::json;

use super::{PATIENCE, completed, id, is_over, kinds, start, until};
use crate::supervisor::bench::{Bench, shell};

async fn echo(ctx: OrchestrationContext, (): ()) -> Result<String> {
    ctx.event::<String>("say").await
}

#[test]
fn what_is_suspended_keeps_what_arrives() {
    Bench::run(async |bench| {
        let client =
            bench.start_with(Registry::new().orchestration("echo", echo)).await.handle().orchestrations();
        start(&client, "echo", "e", ()).await;
        until(&client, "e", |view| view.status == Status::Running).await;
        let view = client.suspend(id("e"), Some("lunch".to_owned())).await.unwrap();
        assert_eq!((view.status, view.reason.as_deref()), (Status::Suspended, Some("lunch")));
        client.raise(id("e"), Raise::new("say", "hello")).await.unwrap();
        let waited = client.wait(id("e"), Duration::from_millis(100)).await.unwrap();
        assert_eq!(waited.status, Status::Suspended);
        client.resume(id("e"), None).await.unwrap();
        assert_eq!(completed(&until(&client, "e", is_over).await), &json!("hello"));
        let refused = client.suspend(id("e"), None).await;
        assert!(matches!(refused, Err(Error::Conflict { status: Status::Completed, .. })), "{refused:?}");
    });
}

#[test]
fn terminating_leaves_nothing_running() {
    async fn busy(ctx: OrchestrationContext, depth: u32) -> Result<()> {
        let activities = join_all([ctx.activity::<()>("polite", ()), ctx.activity::<()>("deaf", ())]);
        let job = ctx.job(shell("sleep 600"));
        if depth == 0 {
            let _done = futures_util::future::join(activities, job).await;
            return Ok(());
        }
        let child = ctx.child::<()>("busy", depth - 1);
        let _done = futures_util::future::join3(activities, job, child).await;
        Ok(())
    }
    Bench::run(async |bench| {
        let running = Arc::new(AtomicU32::new(0));
        struct Count(Arc<AtomicU32>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let counted = |running: &Arc<AtomicU32>| {
            running.fetch_add(1, Ordering::SeqCst);
            Count(Arc::clone(running))
        };
        let (one, other) = (Arc::clone(&running), Arc::clone(&running));
        let polite = move |ctx: ActivityContext, (): ()| {
            let count = counted(&one);
            async move {
                ctx.cancelled().await;
                drop(count);
                Ok::<(), Failure>(())
            }
        };
        // It does not listen, and is dropped.
        let deaf = move |_: ActivityContext, (): ()| {
            let count = counted(&other);
            async move {
                std::future::pending::<()>().await;
                drop(count);
                Ok::<(), Failure>(())
            }
        };
        let registry =
            Registry::new().orchestration("busy", busy).activity("polite", polite).activity("deaf", deaf);
        let handle = bench.start_with(registry).await.handle();
        let client = handle.orchestrations();
        start(&client, "busy", "root", 2).await;
        let jobs = |state| {
            handle.list(&Filter { states: vec![state], limit: 100, ..Filter::default() }).unwrap().jobs.len()
        };
        bench.until_true(|| running.load(Ordering::SeqCst) == 6 && jobs(JobState::Running) == 3).await;
        let view = client.terminate(id("root"), Some("enough".to_owned()), true).await.unwrap();
        assert_eq!(view.status, Status::Running, "not before everything has ended");
        let view = until(&client, "root", is_over).await;
        assert_eq!((view.status, view.reason.as_deref()), (Status::Terminated, Some("enough")));
        assert_eq!((running.load(Ordering::SeqCst), jobs(JobState::Cancelled)), (0, 3));
        for child in client.list(&Default::default()).unwrap().instances {
            assert_eq!(child.status, Status::Terminated, "{child:?}");
        }
    });
}

#[test]
fn a_failed_one_goes_on_from_before_its_failure() {
    async fn parent(ctx: OrchestrationContext, (): ()) -> Result<u32> {
        let first: u32 = ctx.activity("count", ()).await?;
        let second: u32 = ctx.child("child", ()).await?;
        Ok(first * 100 + second)
    }
    async fn child(ctx: OrchestrationContext, (): ()) -> Result<u32> {
        let first: u32 = ctx.activity("count", ()).await?;
        let second: u32 = ctx.activity("broken", ()).await?;
        Ok(first * 10 + second)
    }
    Bench::run(async |bench| {
        let (calls, is_mended) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let counted = Arc::clone(&calls);
        let count = move |_: ActivityContext, (): ()| {
            let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
            async move { Ok::<u32, Failure>(call) }
        };
        let mended = Arc::clone(&is_mended);
        let broken = move |_: ActivityContext, (): ()| {
            let is_mended = mended.load(Ordering::SeqCst);
            async move { if is_mended { Ok(5_u32) } else { Err(Failure::new("broken", "not yet")) } }
        };
        let registry = Registry::new()
            .orchestration("parent", parent)
            .orchestration("child", child)
            .activity("count", count)
            .activity("broken", broken);
        let client = bench.start_with(registry).await.handle().orchestrations();
        start(&client, "parent", "p", ()).await;
        let view = until(&client, "p", is_over).await;
        assert_eq!((view.status, view.failure.unwrap().kind.as_str()), (Status::Failed, "broken"));
        client.rewind(id("p"), Some("once more".to_owned())).await.unwrap();
        until(&client, "p", is_over).await;
        is_mended.store(true, Ordering::SeqCst);
        client.rewind(id("p"), Some("mended".to_owned())).await.unwrap();
        let view = until(&client, "p", is_over).await;
        assert_eq!(completed(&view), &json!(125));
        assert_eq!(calls.load(Ordering::SeqCst), 2, "what had succeeded is not done again");
        let refused = client.rewind(id("p"), None).await;
        assert!(matches!(refused, Err(Error::Conflict { status: Status::Completed, .. })), "{refused:?}");
    });
}

#[test]
fn an_id_is_used_again_only_where_the_starter_says_so() {
    Bench::run(async |bench| {
        let client =
            bench.start_with(Registry::new().orchestration("echo", echo)).await.handle().orchestrations();
        start(&client, "echo", "e", ()).await;
        let order = || StartOrder::new("echo", ()).id(id("e"));
        let refused = client.start(order()).await;
        assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
        // The event's own id is known to the one instance, and new to the one that takes its place.
        let said = |text: &str| Raise { id: Some("first".to_owned()), ..Raise::new("say", text) };
        client.raise(id("e"), said("one")).await.unwrap();
        until(&client, "e", is_over).await;
        let refused = client.start(order()).await;
        assert!(matches!(refused, Err(Error::Exists { status: Status::Completed, .. })), "{refused:?}");
        let order = StartOrder { replaces: vec![Status::Completed], ..order() };
        let again = client.start(order).await.unwrap();
        assert_eq!(again.execution, 2);
        client.raise(id("e"), said("two")).await.unwrap();
        assert_eq!(completed(&until(&client, "e", is_over).await), &json!("two"));
        let restarted = client.restart(id("e"), true).await.unwrap();
        assert_ne!(restarted.id, id("e"));
        client.restart(id("e"), false).await.unwrap();
        client.raise(id("e"), Raise::new("say", "three")).await.unwrap();
        assert_eq!(completed(&until(&client, "e", is_over).await), &json!("three"));
    });
}

#[test]
fn an_event_waits_for_its_instance_where_it_is_told_to() {
    Bench::run(async |bench| {
        let client =
            bench.start_with(Registry::new().orchestration("echo", echo)).await.handle().orchestrations();
        let refused = client.raise(id("later"), Raise::new("say", "early")).await;
        assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
        let keep = |millis, text: &str| Raise {
            keep: Some(Duration::from_millis(millis)),
            ..Raise::new("say", text)
        };
        client.raise(id("later"), keep(60_000, "early")).await.unwrap();
        assert!(client.get(id("later"), Default::default()).is_err(), "there is no instance yet");
        let waited = tokio::time::timeout(PATIENCE / 2, client.wait(id("later"), PATIENCE)).await;
        assert!(matches!(waited, Ok(Err(Error::NotFound(_)))), "nor one to wait for: {waited:?}");
        start(&client, "echo", "later", ()).await;
        assert_eq!(completed(&until(&client, "later", is_over).await), &json!("early"));
        // One whose time is up is gone.
        client.raise(id("gone"), keep(1, "early")).await.unwrap();
        tokio::time::timeout(PATIENCE, async {
            while client.raise(id("gone"), Raise::new("say", "late")).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_start_can_wait_for_its_time() {
    async fn now(ctx: OrchestrationContext, (): ()) -> Result<i64> {
        Ok(ctx.now().as_millis())
    }
    Bench::run(async |bench| {
        let client =
            bench.start_with(Registry::new().orchestration("now", now)).await.handle().orchestrations();
        let begun = client.start(StartOrder::new("now", ()).id(id("a"))).await.unwrap();
        let start_at = begun.created_at.after(Duration::from_millis(300));
        let order = StartOrder { start_at: Some(start_at), ..StartOrder::new("now", ()).id(id("b")) };
        let view = client.start(order).await.unwrap();
        assert_eq!(view.status, Status::Pending);
        let view = until(&client, "b", is_over).await;
        assert!(completed(&view).as_i64().unwrap() >= start_at.as_millis());
        assert_eq!(kinds(&client, "b")[..2], ["execution_scheduled", "execution_started"]);
    });
}
