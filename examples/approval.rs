//! Somebody must approve an expense in time; otherwise it goes to somebody else.
//!
//! `cargo run --example approval` hands in three expenses: one is approved, one refused, one forgotten.

use std::error::Error;
use std::time::Duration;

use dogwatch_actors::handle::orchestrations::{Raise, StartOrder};
use dogwatch_actors::orchestration::{ActivityContext, OrchestrationContext, Registry, Result};
use dogwatch_actors::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Serialize, Deserialize)]
struct Approval {
    by: String,
    approved: bool,
}

/// Waits for people costs nothing: neither memory nor a thread, for a month or for two seconds.
async fn expense(ctx: OrchestrationContext, (amount, patience_millis): (u32, u64)) -> Result<String> {
    ctx.activity::<()>("ask", ("the manager", amount)).await?;
    let patience = Duration::from_millis(patience_millis);
    if let Some(answer) = ctx.event::<Approval>("approval").within(patience).await? {
        return Ok(verdict(&answer));
    }
    ctx.set_custom_status(json!({"escalated": true}))?;
    ctx.activity::<()>("ask", ("the director", amount)).await?;
    let answer = ctx.event::<Approval>("approval").await?;
    Ok(verdict(&answer))
}

fn verdict(answer: &Approval) -> String {
    format!("{} by {}", if answer.approved { "approved" } else { "refused" }, answer.by)
}

async fn ask(ctx: ActivityContext, (who, amount): (String, u32)) -> Result<()> {
    println!("asked {who} about {} ({amount})", ctx.instance_id());
    Ok(())
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let shim = Shim::enter();
    let registry = Registry::new().orchestration("expense", expense).activity("ask", ask);
    let directory = tempfile::tempdir()?;
    let home = Home::open(directory.path().join("expenses")).await?;
    let processes = home.processes(shim)?;
    let supervisor = home.builder().await?.runtime(processes).orchestrations(registry).start().await?;
    let client = supervisor.handle().orchestrations();
    let answer = |by: &str, approved: bool| Raise::new("approval", json!({"by": by, "approved": approved}));

    for (id, patience_millis) in [("train", 60_000), ("piano", 60_000), ("lunch", 300)] {
        client.start(StartOrder::new("expense", json!([120, patience_millis])).id(id.parse()?)).await?;
        client.wait_for_start(id.parse()?, Duration::from_secs(10)).await?;
    }
    client.raise("train".parse()?, answer("ada", true)).await?;
    client.raise("piano".parse()?, answer("ada", false)).await?;
    // Nobody answers in time: the director is asked.
    let lunch =
        client.wait_for("lunch".parse()?, Duration::from_secs(30), |it| it.custom_status.is_some()).await?;
    println!("lunch: {}", client.explain(lunch.id)?.sentence.split(" since").next().unwrap_or_default());
    client.raise(lunch.id, answer("grace", true)).await?;
    for id in ["train", "piano", "lunch"] {
        let ended = client.wait(id.parse()?, Duration::from_secs(30)).await?;
        println!("{id}: {}", ended.output.unwrap_or_default());
    }
    supervisor.shutdown().await;
    Ok(())
}
