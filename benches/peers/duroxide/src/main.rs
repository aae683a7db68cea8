//! Enqueues orchestrations, each a chain of five activities, from 64 tasks, then lets them run; prints the two rates as JSON.
//!
//! `dogwatch-bench-duroxide DATABASE COUNT`

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use duroxide::providers::sqlite::SqliteProvider;
use duroxide::runtime::Runtime;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::{ActivityContext, Client, OrchestrationContext, OrchestrationRegistry};

const CLIENTS: u64 = 64;
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name the database")?;
    let count: u64 = arguments.next().ok_or("say how many")?.parse()?;
    std::fs::File::create(&path)?;
    let store = Arc::new(SqliteProvider::new(&format!("sqlite:{path}"), None).await?);
    let client = Arc::new(Client::new(store.clone()));

    // Nothing runs yet: this is the rate of enqueues alone.
    let enqueued = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (client, next) = (client.clone(), next.clone());
            tokio::spawn(async move {
                let input = "n".repeat(400);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<(), String>(());
                    }
                    let started = client.start_orchestration(format!("i-{number}"), "Chain", input.clone());
                    started.await.map_err(|error| format!("{error:?}"))?;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let enqueue_rate = count as f64 / enqueued.elapsed().as_secs_f64();

    let activities = ActivityRegistry::builder()
        .register("Step", |_: ActivityContext, input: String| async move { Ok(input.len().to_string()) })
        .build();
    let orchestrations = OrchestrationRegistry::builder()
        .register("Chain", |ctx: OrchestrationContext, input: String| async move {
            let mut last = input;
            for _ in 0..5 {
                last = ctx.schedule_activity("Step", last).await?;
            }
            Ok(last)
        })
        .build();
    let ran = Instant::now();
    let runtime = Runtime::start_with_store(store, activities, orchestrations).await;
    for number in 0..count {
        let ended = client.wait_for_orchestration(&format!("i-{number}"), PATIENCE).await;
        ended.map_err(|error| format!("{error:?}"))?;
    }
    let job_rate = count as f64 / ran.elapsed().as_secs_f64();
    runtime.shutdown(None).await;
    println!("{{\"enqueue_rate\": {enqueue_rate}, \"job_rate\": {job_rate}}}");
    Ok(())
}
