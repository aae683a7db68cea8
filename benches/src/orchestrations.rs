//! Orchestrations in this process, on a store on the disk: what is acknowledged is durable.
//!
//! It runs as a process of its own, so that it can be looked at with a profiler and its memory is its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use dogwatch_actors::handle::orchestrations::{Error as ClientError, Orchestrations, Raise, StartOrder};
use dogwatch_actors::orchestration::{
    ActivityContext, InstanceId, OrchestrationContext, Registry, Result as CodeResult, Status, try_join_all,
};
use dogwatch_actors::store::{self, Kind};
use dogwatch_actors::supervisor::Supervisor;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::error::{Error, Result, file};
use crate::ghost::Ghosts;

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// Many at once, each a chain of five trivial activities; then some one after another.
    Chain,
    /// One that waits for many activities at once.
    Fan,
    /// Many that wait for an event or a timer.
    Waiting,
    /// What is there is opened again.
    Reopen,
    /// One that takes many events.
    History,
}

/// Starts under way at once.
const STARTS: usize = 1_024;

/// Chains that are run one after another, for their latency.
const SERIAL: usize = 200;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long what waits rests before the memory is looked at.
const REST: Duration = Duration::from_secs(30);

async fn chain(ctx: OrchestrationContext, mut number: u64) -> CodeResult<u64> {
    for _ in 0..5 {
        number = ctx.activity("add", number).await?;
    }
    Ok(number)
}

async fn fan(ctx: OrchestrationContext, count: u64) -> CodeResult<u64> {
    let all = try_join_all((0..count).map(|number| ctx.activity::<u64>("add", number))).await?;
    Ok(all.into_iter().sum())
}

async fn waits(ctx: OrchestrationContext, number: u64) -> CodeResult<()> {
    if number.is_multiple_of(2) {
        ctx.timer(Duration::from_secs(30 * 86_400)).await;
        return Ok(());
    }
    ctx.event("go").await
}

async fn takes(ctx: OrchestrationContext, count: u64) -> CodeResult<u64> {
    let mut sum = 0;
    for _ in 0..count {
        sum += ctx.event::<u64>("number").await?;
    }
    Ok(sum)
}

async fn add(_: ActivityContext, number: u64) -> CodeResult<u64> {
    Ok(number + 1)
}

/// Runs it, and writes what came of it to `tell`.
pub(crate) fn run(shape: Shape, count: u64, dir: &Path, tell: &Path) -> Result<()> {
    let found = actix::System::new().block_on(async {
        let opened = Instant::now();
        let registry = Registry::new()
            .orchestration("chain", chain)
            .orchestration("fan", fan)
            .orchestration("waits", waits)
            .orchestration("takes", takes)
            .activity("add", add);
        let supervisor = Supervisor::builder()
            .store(store::open(&dir.join("store"), Kind::Lsm)?)
            .logs_dir(dir.join("logs"))
            .runtime(Arc::new(Ghosts::default()))
            .orchestrations(registry)
            .start()
            .await?;
        supervisor.handle().recovered().await;
        let ready = opened.elapsed();
        let client = supervisor.handle().orchestrations();
        let found = match shape {
            Shape::Chain => chains(&client, count).await?,
            Shape::Fan => fanned(&client, count).await?,
            Shape::Waiting => waiting(&client, count).await?,
            Shape::Reopen => reopened(&client, ready).await?,
            Shape::History => history(&client, count).await?,
        };
        supervisor.shutdown().await;
        Ok::<Value, Error>(found)
    })?;
    std::fs::write(tell, found.to_string()).map_err(file(tell))
}

fn id(name: &str, number: u64) -> Result<InstanceId> {
    format!("{name}-{number}").parse().map_err(|error| Error::Void(format!("{error}")))
}

async fn start_all(client: &Orchestrations, name: &'static str, count: u64) -> Result<()> {
    let starts = stream::iter(0..count).map(|number| async move {
        client.start(StartOrder::new(name, number).id(id(name, number)?)).await.map_err(refused)
    });
    starts.buffer_unordered(STARTS).try_for_each(async |_| Ok(())).await
}

fn refused(error: ClientError) -> Error {
    Error::Void(error.to_string())
}

async fn ended(client: &Orchestrations, id: InstanceId) -> Result<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let view = client.wait(id, Duration::from_secs(60)).await.map_err(refused)?;
        match view.status {
            Status::Completed => return Ok(view.output.unwrap_or_default()),
            status if status.is_terminal() || Instant::now() > until => {
                return Err(Error::Void(format!("{id} is {}: {:?}", status.name(), view.failure)));
            }
            _ => {}
        }
    }
}

async fn chains(client: &Orchestrations, count: u64) -> Result<Value> {
    let began = Instant::now();
    start_all(client, "chain", count).await?;
    let started = began.elapsed();
    for number in 0..count {
        let output = ended(client, id("chain", number)?).await?;
        if output != json!(number + 5) {
            return Err(Error::Void(format!("chain {number} came to {output}")));
        }
    }
    let took = began.elapsed();
    let mut latencies = Vec::new();
    for number in 0..SERIAL {
        let began = Instant::now();
        let instance = client.start(StartOrder::new("chain", number)).await.map_err(refused)?;
        ended(client, instance.id).await?;
        latencies.push(began.elapsed());
    }
    Ok(json!({
        "rate": count as f64 / took.as_secs_f64(),
        "start_rate": count as f64 / started.as_secs_f64(),
        "p50": latency(&mut latencies, 0.5),
        "p99": latency(&mut latencies, 0.99),
    }))
}

/// Milliseconds within which so much of them is.
fn latency(latencies: &mut [Duration], part: f64) -> f64 {
    latencies.sort_unstable();
    let place = (latencies.len() as f64 * part) as usize;
    latencies.get(place).map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
}

async fn fanned(client: &Orchestrations, count: u64) -> Result<Value> {
    let began = Instant::now();
    let instance = client.start(StartOrder::new("fan", count)).await.map_err(refused)?;
    let output = ended(client, instance.id).await?;
    if output != json!(count * (count + 1) / 2) {
        return Err(Error::Void(format!("the sum is {output}")));
    }
    Ok(json!({ "seconds": began.elapsed().as_secs_f64() }))
}

async fn waiting(client: &Orchestrations, count: u64) -> Result<Value> {
    let began = Instant::now();
    start_all(client, "waits", count).await?;
    let took = began.elapsed();
    tokio::time::sleep(REST).await;
    Ok(json!({ "rate": count as f64 / took.as_secs_f64(), "resident_mebibytes": resident()? }))
}

async fn reopened(client: &Orchestrations, ready: Duration) -> Result<Value> {
    // The last of them goes on.
    let one = id("waits", 1)?;
    client.raise(one, Raise::new("go", ())).await.map_err(refused)?;
    ended(client, one).await?;
    Ok(json!({ "ready_seconds": ready.as_secs_f64() }))
}

/// Rates of the first and of the last tenth.
async fn history(client: &Orchestrations, count: u64) -> Result<Value> {
    let one = id("takes", 0)?;
    client.start(StartOrder::new("takes", count).id(one)).await.map_err(refused)?;
    let part = count / 10;
    let mut rates = Vec::new();
    for tenth in 0..10 {
        let began = Instant::now();
        let raises = stream::iter(0..part).map(|number| async move {
            client.raise(one, Raise::new("number", tenth * part + number)).await
        });
        raises.buffer_unordered(64).try_for_each(async |()| Ok(())).await.map_err(refused)?;
        rates.push(part as f64 / began.elapsed().as_secs_f64());
    }
    ended(client, one).await?;
    Ok(json!({ "first": rates[0], "last": rates[9] }))
}

fn resident() -> Result<f64> {
    let path = Path::new("/proc/self/statm");
    let text = std::fs::read_to_string(path).map_err(file(path))?;
    let pages: f64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    Ok(pages * 4096.0 / 1_048_576.0)
}
