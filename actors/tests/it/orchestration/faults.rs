//! Code that is wrong harms its own instance and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dogwatch_actors::handle::orchestrations::{Error, Raise, StartOrder};
use dogwatch_actors::limits::ORCHESTRATION_PAYLOAD_BYTES_MAX;
use dogwatch_actors::orchestration::{
    ActivityContext, Failure, OrchestrationContext, Registry, Result, Status, VersionPolicy,
};
use serde_json::json;

use super::{completed, id, is_over, run, start, until};
use crate::supervisor::bench::Bench;

async fn fine(ctx: OrchestrationContext, (): ()) -> Result<u32> {
    ctx.activity("fine", ()).await
}

async fn fine_activity(_: ActivityContext, (): ()) -> Result<u32> {
    Ok(1)
}

fn sound() -> Registry {
    Registry::new().orchestration("fine", fine).activity("fine", fine_activity)
}

#[test]
fn a_panic_is_a_failure_of_its_own_instance() {
    async fn wild(ctx: OrchestrationContext, how: String) -> Result<u32> {
        if how == "orchestrator" {
            panic!("on purpose");
        }
        ctx.activity("wild", ()).await
    }
    async fn wild_activity(_: ActivityContext, (): ()) -> Result<u32> {
        panic!("in an activity")
    }
    Bench::run(async |bench| {
        let registry = sound().orchestration("wild", wild).activity("wild", wild_activity);
        let client = bench.start_with(registry).await.handle().orchestrations();
        for (how, message) in [("orchestrator", "on purpose"), ("activity", "in an activity")] {
            let view = run(&client, "wild", how).await;
            let failure = view.failure.unwrap();
            assert_eq!((view.status, failure.kind.as_str()), (Status::Failed, "panic"));
            assert!(failure.message.contains(message), "{failure}");
        }
        assert_eq!(completed(&run(&client, "fine", ()).await), &json!(1));
    });
}

#[test]
fn a_timeout_and_a_missed_heartbeat_end_an_activity() {
    async fn limited(ctx: OrchestrationContext, beats: bool) -> Result<String> {
        let call = ctx.activity::<()>("slow", beats).timeout(Duration::from_millis(400));
        let failure = call.heartbeat(Duration::from_millis(150)).await.unwrap_err();
        Ok(failure.kind)
    }
    async fn slow(ctx: ActivityContext, beats: bool) -> Result<()> {
        loop {
            if beats {
                ctx.heartbeat();
            }
            tokio::task::yield_now().await;
        }
    }
    Bench::run(async |bench| {
        let registry = sound().orchestration("limited", limited).activity("slow", slow);
        let client = bench.start_with(registry).await.handle().orchestrations();
        assert_eq!(completed(&run(&client, "limited", true).await), &json!("timeout"));
        assert_eq!(completed(&run(&client, "limited", false).await), &json!("heartbeat_missed"));
    });
}

#[test]
fn bad_requests_say_what_is_wrong() {
    Bench::run(async |bench| {
        let client = bench.start_with(sound()).await.handle().orchestrations();
        let unknown = client.start(StartOrder::new("fien", ())).await.unwrap_err();
        assert!(unknown.to_string().contains("registered are: fine"), "{unknown}");
        let version = StartOrder { version: Some("9.0.0".to_owned()), ..StartOrder::new("fine", ()) };
        let unknown = client.start(version).await.unwrap_err();
        assert!(unknown.to_string().contains("version 9.0.0"), "{unknown}");
        let large = "x".repeat(ORCHESTRATION_PAYLOAD_BYTES_MAX);
        let refused = client.start(StartOrder::new("fine", large)).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        let refused = client.raise(id("nobody"), Raise::new("x", ())).await;
        assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
        let mut order = StartOrder::new("fine", ());
        order.tags.insert("a=b".to_owned(), "c".to_owned());
        assert!(matches!(client.start(order).await, Err(Error::Invalid(_))));
        // An input that the code cannot read is its failure.
        let view = run(&client, "fine", "text").await;
        assert_eq!(view.failure.unwrap().kind, "payload");
    });
}

#[test]
fn what_is_asked_for_and_cannot_be_is_refused_at_once() {
    async fn asks(ctx: OrchestrationContext, what: String) -> Result<(String, u32)> {
        let failure = match what.as_str() {
            "activity" => ctx.activity::<()>("nobody", ()).await,
            "child" => ctx.child::<()>("nobody", ()).await,
            _ => ctx.activity::<()>("fine", "x".repeat(ORCHESTRATION_PAYLOAD_BYTES_MAX)).await,
        };
        let after = ctx.activity("fine", ()).await?;
        Ok((failure.unwrap_err().kind, after))
    }
    Bench::run(async |bench| {
        let client = bench.start_with(sound().orchestration("asks", asks)).await.handle().orchestrations();
        for (what, kind) in [("activity", "unknown_name"), ("child", "unknown_name"), ("large", "payload")] {
            assert_eq!(completed(&run(&client, "asks", what).await), &json!([kind, 1]));
        }
    });
}

#[test]
fn code_that_awaits_what_is_not_durable_is_found_out() {
    async fn sleeps(_: OrchestrationContext, (): ()) -> Result<()> {
        std::future::pending::<()>().await;
        Ok(())
    }
    Bench::run(async |bench| {
        let client =
            bench.start_with(sound().orchestration("sleeps", sleeps)).await.handle().orchestrations();
        start(&client, "sleeps", "s", ()).await;
        let view = until(&client, "s", |view| view.blocked.is_some()).await;
        assert!(view.blocked.unwrap().contains("not durable"));
        let explained = client.explain(id("s")).unwrap();
        assert!(explained.sentence.contains("blocked"), "{explained:?}");
        client.terminate(id("s"), None, true).await.unwrap();
        assert_eq!(until(&client, "s", is_over).await.status, Status::Terminated);
    });
}

/// Waits for `go`, with an activity before it that is called so.
macro_rules! waits_after {
    ($activity:literal) => {
        |ctx: OrchestrationContext, (): ()| async move {
            let number: u32 = ctx.activity($activity, ()).await?;
            ctx.event::<()>("go").await?;
            Ok::<u32, Failure>(number + ctx.activity::<u32>("fine", ()).await?)
        }
    };
}

#[test]
fn other_code_than_that_of_the_history_blocks_until_the_right_one_is_back() {
    Bench::run(async |bench| {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let old = move |_: ActivityContext, (): ()| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<u32, Failure>(10) }
        };
        let right = || sound().activity("old", old.clone()).orchestration("waits", waits_after!("old"));
        let supervisor = bench.start_with(right()).await;
        let client = supervisor.handle().orchestrations();
        start(&client, "waits", "w", ()).await;
        until(&client, "w", |view| view.events >= 3).await;
        supervisor.shutdown().await;

        let wrong = sound().orchestration("waits", waits_after!("fine"));
        let supervisor = bench.start_with(wrong).await;
        let client = supervisor.handle().orchestrations();
        client.raise(id("w"), Raise::new("go", ())).await.unwrap();
        let view = until(&client, "w", |view| view.blocked.is_some()).await;
        let reason = view.blocked.unwrap();
        assert!(
            reason.contains("`old`") && reason.contains("`fine`") && reason.contains("turn 1"),
            "{reason}"
        );
        assert_eq!(view.status, Status::Running);
        supervisor.shutdown().await;

        let client = bench.start_with(right()).await.handle().orchestrations();
        assert_eq!(completed(&until(&client, "w", is_over).await), &json!(11));
        assert_eq!(calls.load(Ordering::SeqCst), 1, "nothing is done twice");
    });
}

#[test]
fn old_and_new_versions_run_side_by_side() {
    Bench::run(async |bench| {
        let first = || {
            Registry::new().version("v", "1.0.0", |ctx: OrchestrationContext, (): ()| async move {
                ctx.event::<()>("go").await?;
                Ok::<&str, Failure>("old")
            })
        };
        let supervisor = bench.start_with(first()).await;
        start(&supervisor.handle().orchestrations(), "v", "a", ()).await;
        until(&supervisor.handle().orchestrations(), "a", |view| view.status == Status::Running).await;
        supervisor.shutdown().await;

        let newer = |registry: Registry, version: &str, text: &'static str| {
            registry.version("v", version, move |ctx: OrchestrationContext, (): ()| async move {
                ctx.event::<()>("go").await?;
                Ok::<&str, Failure>(text)
            })
        };
        let both = newer(newer(first(), "1.1.0", "compatible"), "2.0.0", "new");
        let supervisor = bench.start_with(both).await;
        let client = supervisor.handle().orchestrations();
        start(&client, "v", "b", ()).await;
        client.raise(id("b"), Raise::new("go", ())).await.unwrap();
        assert_eq!(completed(&until(&client, "b", is_over).await), &json!("new"));
        supervisor.shutdown().await;

        let both = newer(newer(first(), "1.1.0", "compatible"), "2.0.0", "new")
            .version_policy("v", VersionPolicy::NewestCompatible);
        let client = bench.start_with(both).await.handle().orchestrations();
        client.raise(id("a"), Raise::new("go", ())).await.unwrap();
        let view = until(&client, "a", is_over).await;
        assert_eq!((completed(&view), view.version.as_deref()), (&json!("compatible"), Some("1.1.0")));
    });
}
