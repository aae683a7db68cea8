//! The scenario that people build from Azure's Durable Functions, Container Instances and a storage queue, as one
//! orchestration: start a container for a customer's data, let it work, hear from it when it is finished, and have it
//! removed or kept by how it ended. What that one gets wrong is right here: a container that dies without a word is
//! noticed, two customers do not collide, and nothing is left behind.
//!
//! `cargo run --example container_batch` runs the batches as processes, with `--docker` as containers.

use std::error::Error;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpServer};
use dogwatch::api::Mount as _;
use dogwatch_actors::handle::orchestrations::StartOrder;
use dogwatch_actors::orchestration::{
    ActivityContext, Either, Failure, OrchestrationContext, Registry, Result, select,
};
use dogwatch_actors::prelude::*;
use dogwatch_actors::runtime::Runtime;
use serde_json::{Value, json};

/// What runs in the container: it does its work and says so by an event with its own name, which reaches the
/// orchestration that waits for it. The address and the token are in its environment.
const WORK: &str = r#"echo "extracting for $CUSTOMER"
call() { wget -q -O - --header "Authorization: Bearer $DOGWATCH_CALLBACK_TOKEN" \
    --header "Content-Type: application/json" --post-data "$1" "$DOGWATCH_CALLBACK_URL" > /dev/null; }
case "$CUSTOMER" in
    bankrupt) exit 3 ;;
    *) call '{"event": "Job_Finished", "id": "1", "data": {"rows": 42}}'; sleep 600 ;;
esac"#;

async fn batch(ctx: OrchestrationContext, (customer, image): (String, Option<String>)) -> Result<Value> {
    ctx.set_custom_status("creating the container")?;
    let mut spec = json!({"args": ["sh", "-c", WORK], "env": {"CUSTOMER": customer}, "timeout": "6h",
        "max_attempts": 1, "completion": "exit", "labels": {"customer": customer}});
    if let Some(image) = image {
        spec["image"] = image.into();
    }
    let spec = parse(&spec).map_err(|faults| Failure::new("spec", format!("{faults:?}")))?;
    let mut job = ctx.job(spec).start();
    ctx.set_custom_status("waiting for the container")?;
    // Whichever comes first: its word, its end without one, or the deadline.
    let finished = ctx.event::<Value>("Job_Finished").within(Duration::from_secs(6 * 3_600));
    match select(finished, &mut job).await {
        Either::First(Ok(Some(result))) => {
            // Finished: the container is stopped and removed, whatever it is still doing.
            drop(job);
            ctx.activity("archive", (customer, result)).await
        }
        Either::First(other) => Err(other.err().unwrap_or_else(|| Failure::new("late", "it took too long"))),
        Either::Second(outcome) => {
            let outcome = outcome?;
            let message = format!("the container ended without a word, with code {:?}", outcome.exit_code);
            Err(Failure::new("died", message))
        }
    }
}

async fn archive(_: ActivityContext, (customer, result): (String, Value)) -> Result<Value> {
    println!("archived {} rows of {customer}", result["rows"]);
    Ok(result)
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let shim = Shim::enter();
    let directory = tempfile::tempdir()?;
    let home = Home::open(directory.path().join("batches")).await?;
    let in_containers = std::env::args().any(|argument| argument == "--docker");
    let (runtime, ip): (Arc<dyn Runtime>, IpAddr) = if in_containers {
        let containers = home.containers()?;
        let gateway = containers.gateway().await?;
        (containers, gateway)
    } else {
        (home.processes(shim)?, [127, 0, 0, 1].into())
    };
    let image = in_containers.then_some("busybox:latest");
    // Where attempts call back, and nothing else.
    let listener = TcpListener::bind(SocketAddr::new(ip, 0))?;
    let callbacks = format!("http://{}", listener.local_addr()?);
    let name = runtime.name().to_owned();
    let registry = Registry::new().orchestration("batch", batch).activity("archive", archive);
    let builder = home.builder().await?.runtime(runtime).callback_url(name, callbacks);
    let supervisor = builder.orchestrations(registry).start().await?;
    let routes = supervisor.handle().configure_callbacks();
    let server =
        HttpServer::new(move || App::new().configure(routes.clone())).workers(1).listen(listener)?.run();
    let stop = server.handle();
    actix_web::rt::spawn(server);

    let client = supervisor.handle().orchestrations();
    let customers = ["customer1", "customer2", "bankrupt"];
    for customer in customers {
        client.start(StartOrder::new("batch", json!([customer, image])).id(customer.parse()?)).await?;
    }
    for customer in customers {
        let ended = client.wait(customer.parse()?, Duration::from_secs(60)).await?;
        let came =
            ended.failure.map_or_else(|| ended.output.unwrap_or_default().to_string(), |it| it.to_string());
        println!("{customer}: {}: {came}", ended.status.name());
    }
    let all = Filter { limit: 10, ..Filter::default() };
    for job in supervisor.handle().list(&all)?.jobs {
        let job = supervisor.handle().wait(job.id, Duration::from_secs(30)).await?;
        println!("the job of {}: {}", job.labels["customer"], job.state.name());
    }
    stop.stop(true).await;
    supervisor.shutdown().await;
    Ok(())
}
