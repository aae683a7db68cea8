//! An order: validate, reserve, pay, notify. When a later step fails, what was done before is undone.
//!
//! `cargo run --example order_workflow` places three orders and prints what became of each.

use std::error::Error;
use std::time::Duration;

use dogwatch_actors::handle::orchestrations::StartOrder;
use dogwatch_actors::orchestration::{
    ActivityContext, Failure, OrchestrationContext, Registry, Result, RetryPolicy,
};
use dogwatch_actors::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    item: String,
    quantity: u32,
    cents: u64,
}

/// The workflow. Everything that it awaits is durable: it goes on from there after a crash.
async fn order(ctx: OrchestrationContext, order: Order) -> Result<String> {
    ctx.activity::<()>("validate", &order).await?;
    ctx.set_custom_status("reserving")?;
    let retry = RetryPolicy::new(3, Duration::from_millis(50)).coefficient(2.0).except("sold_out");
    let reservation: String = ctx.activity("reserve", &order).retry(retry.clone()).await?;
    ctx.set_custom_status("paying")?;
    let payment = ctx.activity::<String>("pay", &order).retry(retry.except("card_declined")).await;
    let payment = match payment {
        Ok(payment) => payment,
        Err(failure) => {
            // Compensation: what was reserved is given back, however long that takes.
            let patiently = RetryPolicy::new(100, Duration::from_secs(1)).coefficient(2.0);
            ctx.activity::<()>("release", &reservation).retry(patiently).await?;
            ctx.set_custom_status("given back")?;
            return Err(Failure::new("order_failed", "nothing was charged").caused_by(failure));
        }
    };
    ctx.set_custom_status("paid")?;
    ctx.activity::<()>("notify", json!({"order": order, "payment": payment})).await?;
    Ok(payment)
}

async fn validate(_: ActivityContext, order: Order) -> Result<()> {
    if order.quantity == 0 {
        return Err(Failure::new("invalid_order", "an order has at least one item").non_retriable());
    }
    Ok(())
}

async fn reserve(ctx: ActivityContext, order: Order) -> Result<String> {
    println!("  reserved {} {}", order.quantity, order.item);
    // The same if it is done again after a crash: the warehouse recognises it by this.
    Ok(format!("{}/{}", ctx.instance_id(), ctx.task_id()))
}

async fn pay(ctx: ActivityContext, order: Order) -> Result<String> {
    if order.cents > 100_000 {
        return Err(Failure::new("card_declined", "the card's limit is 1,000.00"));
    }
    println!("  charged {}.{:02}", order.cents / 100, order.cents % 100);
    Ok(format!("payment-{}", ctx.instance_id()))
}

async fn release(_: ActivityContext, reservation: String) -> Result<()> {
    println!("  released {reservation}");
    Ok(())
}

async fn notify(_: ActivityContext, _: serde_json::Value) -> Result<()> {
    println!("  told the customer");
    Ok(())
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let shim = Shim::enter();
    let registry = Registry::new()
        .orchestration("order", order)
        .activity("validate", validate)
        .activity("reserve", reserve)
        .activity("pay", pay)
        .activity("release", release)
        .activity("notify", notify);
    let directory = tempfile::tempdir()?;
    let home = Home::open(directory.path().join("orders")).await?;
    let processes = home.processes(shim)?;
    let supervisor = home.builder().await?.runtime(processes).orchestrations(registry).start().await?;
    let orders = supervisor.handle().orchestrations();
    for (id, quantity, cents) in [("small", 1, 1_999), ("large", 9, 250_000), ("empty", 0, 0)] {
        println!("{id}:");
        let input = json!({"item": "lamp", "quantity": quantity, "cents": cents});
        orders.start(StartOrder::new("order", input).id(id.parse()?)).await?;
        let order = orders.wait(id.parse()?, Duration::from_secs(30)).await?;
        let status = order.custom_status.unwrap_or_default();
        match order.failure {
            None => println!("  {} ({status}): {}", order.status.name(), order.output.unwrap_or_default()),
            Some(failure) => println!("  {} ({status}): {failure}", order.status.name()),
        }
    }
    supervisor.shutdown().await;
    Ok(())
}
