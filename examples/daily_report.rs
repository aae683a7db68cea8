//! A report every day, for ever: an orchestration that begins anew each day, so that its history stays short.
//!
//! `cargo run --example daily_report` lets days of a quarter of a second pass, and stops it after the third.

use std::error::Error;
use std::time::Duration;

use dogwatch_actors::handle::orchestrations::{Raise, Reads, StartOrder};
use dogwatch_actors::orchestration::{ActivityContext, OrchestrationContext, Registry, Result};
use dogwatch_actors::prelude::*;

/// A day, here.
const DAY: Duration = Duration::from_millis(250);

async fn daily_report(ctx: OrchestrationContext, day: u32) -> Result<String> {
    ctx.activity::<()>("report", day).await?;
    ctx.set_custom_status(format!("day {day} is reported"))?;
    // Until the next day, or until somebody stops it: both are durable.
    if let Some(reason) = ctx.event::<String>("stop").within(DAY).await? {
        return Ok(format!("stopped after day {day}: {reason}"));
    }
    ctx.continue_as_new(day + 1)
}

async fn report(_: ActivityContext, day: u32) -> Result<()> {
    println!("report of day {day}");
    Ok(())
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let shim = Shim::enter();
    let registry = Registry::new().orchestration("daily_report", daily_report).activity("report", report);
    let directory = tempfile::tempdir()?;
    let home = Home::open(directory.path().join("reports")).await?;
    let processes = home.processes(shim)?;
    let supervisor = home.builder().await?.runtime(processes).orchestrations(registry).start().await?;
    let client = supervisor.handle().orchestrations();
    let id = "daily-report".parse()?;
    client.start(StartOrder::new("daily_report", 1).id(id)).await?;
    // Each day is an execution of its own, under the same id.
    client.wait_for(id, Duration::from_secs(30), |it| it.execution == 3).await?;
    client.raise(id, Raise::new("stop", "the example is over")).await?;
    let ended = client.wait(id, Duration::from_secs(30)).await?;
    println!("{}", ended.output.unwrap_or_default());
    let view = client.get(id, Reads::ALL)?;
    let events = client.history(id, 0, 100)?.len();
    println!("execution {} with a short history: {}", view.execution, events < 12);
    supervisor.shutdown().await;
    Ok(())
}
