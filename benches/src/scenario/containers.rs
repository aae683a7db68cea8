//! Container jobs: submit, create, start, exit, logs, remove; against the same calls to the engine made by hand.

use std::time::Duration;

use dogwatch_actors::clock::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use crate::child::until;
use crate::error::{Error, Result, file};
use crate::figure::{Figure, Reach, Unit, median};
use crate::floor_engine::{BareEngine, IMAGE};
use crate::place::Place;
use crate::plan::Plan;
use crate::server::Server;
use crate::workload::submit_all;

const NAME: &str = "containers";

/// Containers that are started one after the other, to see how long one start takes.
const STARTS: u64 = 8;

/// How long all jobs may take: the engine starts some few containers in a second.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let engine = BareEngine::connect().await?;
    let measured = measure_on(&engine, plan).await;
    engine.clear().await?;
    measured
}

async fn measure_on(engine: &BareEngine, plan: &Plan) -> Result<Vec<Figure>> {
    let jobs = plan.pick(8, 24, 48);
    let mut figures = Vec::new();
    for parallelism in [1, 4, 8] {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..plan.runs {
            bare.push(engine.rate(jobs, parallelism).await?);
            ours.push(on_a_server(engine, plan, parallelism, async |server| rate(server, jobs).await).await?);
        }
        let what = format!("container jobs, {parallelism} at a time");
        figures.push(
            Figure::new(NAME, what, Unit::PerSecond, ours)
                .over("bare engine calls", bare)
                .reach(Reach::RatioAtLeast(0.95)),
        );
    }
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            starts.push(engine.start_millis().await?);
        }
        bare.push(median(&starts));
        ours.push(on_a_server(engine, plan, 1, start_millis).await?);
    }
    figures.push(
        Figure::new(NAME, "from the submission to the start, one alone", Unit::Millis, ours)
            .over("bare create + start", bare)
            .reach(Reach::RatioAtMost(1.05)),
    );
    Ok(figures)
}

/// Does this on a server of its own, whose containers are removed whatever comes of it.
async fn on_a_server(
    engine: &BareEngine,
    plan: &Plan,
    parallelism: usize,
    work: impl AsyncFnOnce(&mut Server) -> Result<f64>,
) -> Result<f64> {
    let place = plan.place(NAME)?;
    let program = plan.serve("docker").with("DOGWATCH_FLEET__ATTEMPTS_MAX", parallelism);
    let mut server = Server::start(&program, place.path()).await?;
    server.ready(PATIENCE).await?;
    let found = work(&mut server).await;
    server.end().await?;
    engine.remove_labelled(&label(&place)?).await?;
    found
}

/// The label of the containers of the server in this place.
fn label(place: &Place) -> Result<String> {
    let path = place.path().join("installation");
    let installation = std::fs::read_to_string(&path).map_err(file(&path))?;
    Ok(format!("dev.dogwatch.installation={}", installation.trim()))
}

fn spec() -> String {
    json!({"image": IMAGE, "args": ["true"]}).to_string()
}

/// Jobs per second, until the last container is removed.
async fn rate(server: &mut Server, jobs: u64) -> Result<f64> {
    let started = Instant::now();
    let (_, ids) = submit_all(server, &spec(), jobs).await?;
    server.all_over(PATIENCE).await?;
    nothing_left(server).await?;
    let took = started.elapsed();
    let failed = server.get("/v1/jobs?state=failed,cancelled&limit=1").await?;
    if failed["jobs"].as_array().is_none_or(|jobs| !jobs.is_empty()) {
        return Err(Error::Void(format!("not all jobs succeeded: {failed}")));
    }
    Ok(ids.len() as f64 / took.as_secs_f64())
}

/// Returns when the fleet has removed what is left of every attempt.
async fn nothing_left(server: &Server) -> Result<()> {
    until("every container is removed", PATIENCE, async || {
        for state in ["ended", "removing"] {
            if server.metric(&format!("dogwatch_attempts{{state=\"{state}\"}}")).await? > 0.0 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

/// The median time from a submission to the start of its container, by the engine's clock.
async fn start_millis(server: &mut Server) -> Result<f64> {
    let mut found = Vec::new();
    for _ in 0..STARTS {
        let id = server.submit(&spec()).await?;
        server.all_over(PATIENCE).await?;
        nothing_left(server).await?;
        let job = server.get(&format!("/v1/jobs/{id}")).await?;
        let time = |value: &serde_json::Value| serde_json::from_value::<Timestamp>(value.clone());
        let missing = |member| Error::Answer { member, answer: job.to_string() };
        let submitted = time(&job["created_at"]).map_err(|_| missing("created_at"))?;
        let started = time(&job["attempts"][0]["started_at"]).map_err(|_| missing("started_at"))?;
        found.push(started.since(submitted).as_secs_f64() * 1e3);
    }
    Ok(median(&found))
}
