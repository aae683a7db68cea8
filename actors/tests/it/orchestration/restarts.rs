//! What survives the end of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dogwatch_actors::handle::orchestrations::Raise;
use dogwatch_actors::orchestration::{
    ActivityContext, Failure, OrchestrationContext, Registry, Result, try_join_all,
};
use serde_json::json;

use super::{completed, id, is_over, start, until};
use crate::supervisor::bench::{Bench, shell};

/// Waits for everything that there is to wait for.
async fn waiter(ctx: OrchestrationContext, (): ()) -> Result<Vec<u32>> {
    let numbers: Vec<u32> = try_join_all((0..10).map(|number| ctx.activity::<u32>("once", number))).await?;
    ctx.timer(Duration::from_millis(600)).await;
    let job = ctx.job(shell("sleep 1; exit 0")).await?.success()?;
    ctx.event::<()>("go").await?;
    let hung: u32 = ctx.activity("hangs", ()).await?;
    Ok([numbers, vec![job.attempts, hung]].concat())
}

#[test]
fn everything_goes_on_after_a_restart_at_any_time() {
    Bench::run(async |bench| {
        let (calls, hangs) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (counted, hanging) = (Arc::clone(&calls), Arc::clone(&hangs));
        let once = move |_: ActivityContext, number: u32| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<u32, Failure>(number) }
        };
        // The first time it runs until the end of the process.
        let hang = move |_: ActivityContext, (): ()| {
            let call = hanging.fetch_add(1, Ordering::SeqCst);
            async move {
                if call == 0 {
                    std::future::pending::<()>().await;
                }
                Ok::<u32, Failure>(call)
            }
        };
        let registry = || {
            Registry::new()
                .orchestration("waiter", waiter)
                .activity("once", once.clone())
                .activity("hangs", hang.clone())
        };
        let supervisor = bench.start_with(registry()).await;
        let client = supervisor.handle().orchestrations();
        start(&client, "waiter", "w", ()).await;
        let step = |needle: &'static str| {
            move |client: &dogwatch_actors::handle::orchestrations::Orchestrations| {
                client.history(id("w"), 0, 1_000).unwrap().iter().any(|event| event.kind == needle)
            }
        };
        let reached = async |client: &dogwatch_actors::handle::orchestrations::Orchestrations, needle| {
            let step = step(needle);
            until(client, "w", |_| step(client)).await;
        };
        reached(&client, "timer_created").await;
        supervisor.shutdown().await;

        let supervisor = bench.start_with(registry()).await;
        let client = supervisor.handle().orchestrations();
        reached(&client, "job_submitted").await;
        supervisor.shutdown().await;

        let supervisor = bench.start_with(registry()).await;
        let client = supervisor.handle().orchestrations();
        client.raise(id("w"), Raise::new("go", ())).await.unwrap();
        bench.until_true(|| hangs.load(Ordering::SeqCst) == 1).await;
        supervisor.shutdown().await;

        let client = bench.start_with(registry()).await.handle().orchestrations();
        let view = until(&client, "w", is_over).await;
        assert_eq!(completed(&view), &json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1]));
        assert_eq!(calls.load(Ordering::SeqCst), 10, "what is recorded is not done again");
        assert!(super::kinds(&client, "w").contains(&"activities_restarted".to_owned()));
    });
}

#[test]
fn an_activity_that_ends_the_process_every_time_is_parked() {
    async fn poisoned(ctx: OrchestrationContext, (): ()) -> Result<u32> {
        ctx.activity("poison", ()).await
    }
    Bench::run(async |bench| {
        let starts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&starts);
        let poison = move |_: ActivityContext, (): ()| {
            let start = counted.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                if start <= 11 {
                    std::future::pending::<()>().await;
                }
                Ok::<u32, Failure>(start)
            }
        };
        let registry =
            || Registry::new().orchestration("poisoned", poisoned).activity("poison", poison.clone());
        let supervisor = bench.start_with(registry()).await;
        start(&supervisor.handle().orchestrations(), "poisoned", "p", ()).await;
        let mut supervisor = Some(supervisor);
        // Once as it was asked for, and ten times again.
        for expected in 1..=11 {
            let running = match supervisor.take() {
                Some(running) => running,
                None => bench.start_with(registry()).await,
            };
            bench.until_true(|| starts.load(Ordering::SeqCst) == expected).await;
            running.shutdown().await;
        }
        let client = bench.start_with(registry()).await.handle().orchestrations();
        let explained = |client: &dogwatch_actors::handle::orchestrations::Orchestrations| {
            client.explain(id("p")).unwrap().sentence
        };
        bench.until_true(|| explained(&client).contains("parked")).await;
        assert_eq!(starts.load(Ordering::SeqCst), 11);
        client.release(id("p")).await.unwrap();
        assert_eq!(completed(&until(&client, "p", is_over).await), &json!(12));
    });
}
