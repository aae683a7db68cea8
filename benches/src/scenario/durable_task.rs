//! The Durable Task protocol, with the real server and a worker that costs next to nothing, on the same cores: chains
//! of five activities, at once and one after another; workers that wait; and a stock worker of the Python SDK.

use std::process::Command;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use crate::child::Child;
use crate::error::{Error, Result};
use crate::figure::{Figure, Reach, Unit};
use crate::plan::Plan;
use crate::server::Server;
use crate::worker::Workers;

const NAME: &str = "durable-task";

/// Connections of the load: what a handful of worker processes have.
const CONNECTIONS: usize = 8;

/// Workers that wait.
const IDLE: usize = 500;

/// Before the memory is looked at.
const REST: Duration = Duration::from_secs(5);

/// How long idleness is watched.
const WATCH: Duration = Duration::from_secs(20);

/// How long the Python worker may take.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let (chains, serial) = plan.pick((1_000, 100), (5_000, 500), (5_000, 500));
    let (mut rates, mut p50, mut p99) = (vec![], vec![], vec![]);
    for _ in 0..plan.runs {
        let place = plan.place(NAME)?;
        let server = Server::start(&plan.serve("process"), place.path()).await?;
        let (address, key) = (server.grpc()?, server.key().to_owned());
        let (rate, times) = apart(async move {
            let workers = Workers::start(&address, &key, CONNECTIONS, true).await?;
            Ok((workers.at_once(chains).await?, workers.one_by_one(serial).await?))
        })
        .await?;
        rates.push(rate);
        p50.push(times[times.len() / 2]);
        p99.push(times[times.len() * 99 / 100]);
        server.end().await?;
    }
    let mut figures = vec![
        Figure::new(NAME, format!("chains of 5 activities, {chains} at once"), Unit::PerSecond, rates)
            .reach(Reach::AtLeast(1_000.0)),
        Figure::new(NAME, "one chain of 5 at a time, p50", Unit::Millis, p50).reach(Reach::AtMost(10.0)),
        Figure::new(NAME, "one chain of 5 at a time, p99", Unit::Millis, p99).reach(Reach::AtMost(30.0)),
    ];
    figures.extend(idle(plan).await?);
    figures.extend(python(plan).await?);
    Ok(figures)
}

/// On threads of its own, as a program of its own would be.
async fn apart<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let runtime = Runtime::new().map_err(|error| Error::Void(error.to_string()))?;
    let done = runtime.spawn(work).await.map_err(|error| Error::Void(error.to_string()))?;
    runtime.shutdown_background();
    done
}

/// What workers cost that wait.
async fn idle(plan: &Plan) -> Result<Vec<Figure>> {
    let place = plan.place(NAME)?;
    let server = Server::start(&plan.serve("process"), place.path()).await?;
    sleep(REST).await;
    let alone = server.usage();
    let workers = Workers::start(&server.grpc()?, server.key(), IDLE, false).await?;
    sleep(REST).await;
    let (before, watched) = (server.usage(), Instant::now());
    sleep(WATCH).await;
    let after = server.usage();
    if workers.len() != IDLE {
        return Err(Error::Void(format!("of {IDLE} workers {} are left", workers.len())));
    }
    let cpu = (after.cpu_seconds - before.cpu_seconds) * 100.0 / watched.elapsed().as_secs_f64();
    drop(workers);
    server.end().await?;
    Ok(vec![
        Figure::new(
            NAME,
            format!("memory of {IDLE} workers that wait"),
            Unit::Mebibytes,
            vec![after.resident_mebibytes - alone.resident_mebibytes],
        )
        .reach(Reach::AtMost(50.0)),
        Figure::new(NAME, format!("CPU of one core, {IDLE} workers that wait"), Unit::Percent, vec![cpu])
            .reach(Reach::AtMost(1.0)),
    ])
}

/// A stock worker of the Python SDK: how much of the CPU time is the server's.
async fn python(plan: &Plan) -> Result<Vec<Figure>> {
    let python = plan.peers.parent().unwrap_or(&plan.peers).join("sdks/bin/python");
    if !python.is_file() {
        eprintln!(
            "{NAME}: the Python SDK is not installed (`cargo xtask prepare`): its figures are left out"
        );
        return Ok(vec![]);
    }
    let chains = plan.pick(100, 500, 500);
    let place = plan.place(NAME)?;
    let server = Server::start(&plan.serve("process"), place.path()).await?;
    let before = server.usage();
    let mut command = Command::new(python);
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("durable_task_worker.py");
    command.arg(script).args([
        server.grpc()?.trim_start_matches("http://"),
        server.key(),
        &chains.to_string(),
    ]);
    let mut worker = Child::start(&mut command, &place.path().join("python.log"))?;
    let (began, mut used) = (Instant::now(), worker.usage());
    while worker.check().is_ok() && began.elapsed() < PATIENCE {
        used = worker.usage();
        sleep(Duration::from_millis(20)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    worker.finish(PATIENCE).await?;
    let served = server.usage().cpu_seconds - before.cpu_seconds;
    server.end().await?;
    Ok(vec![
        Figure::new(
            NAME,
            "chains of 5 with a stock Python worker",
            Unit::PerSecond,
            vec![f64::from(chains) / seconds],
        ),
        Figure::new(
            NAME,
            "of the CPU time with it, the server's",
            Unit::Percent,
            vec![served * 100.0 / (served + used.cpu_seconds)],
        )
        .reach(Reach::AtMost(20.0)),
    ])
}
