//! Process jobs of `/bin/true`: submit, run, exit recorded, logs kept; against bare spawn and wait at the same
//! parallelism.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::figure::{Figure, Reach, Unit};
use crate::floor_spawn;
use crate::plan::Plan;
use crate::server::Server;
use crate::workload::submit_all;

const NAME: &str = "process";
const PROGRAM: &str = "/bin/true";

/// How long all jobs may take.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let jobs = plan.pick(400, 2_000, 2_000);
    let mut figures = Vec::new();
    for parallelism in [2, 8, 64] {
        let (mut ours, mut bare, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..plan.runs {
            bare.push(floor_spawn::rate(PROGRAM, &[], jobs, parallelism)?);
            let (rate, micros) = run(plan, jobs, parallelism).await?;
            ours.push(rate);
            cpu.push(micros);
        }
        figures.push(
            Figure::new(NAME, format!("jobs of {PROGRAM}, {parallelism} at a time"), Unit::PerSecond, ours)
                .over("bare spawn + wait", bare)
                .reach(Reach::RatioAtLeast(0.5)),
        );
        let what = format!("CPU of the server per job, {parallelism} at a time");
        figures.push(Figure::new(NAME, what, Unit::Micros, cpu));
    }
    Ok(figures)
}

/// Jobs per second, and microseconds of CPU that each took of the server.
async fn run(plan: &Plan, jobs: u64, parallelism: usize) -> Result<(f64, f64)> {
    let place = plan.place(NAME)?;
    let program = plan.serve("process").with("DOGWATCH_FLEET__ATTEMPTS_MAX", parallelism);
    let mut server = Server::start(&program, place.path()).await?;
    server.ready(PATIENCE).await?;
    let before = server.usage();
    let started = Instant::now();
    let (tally, _) = submit_all(&server, &json!({"args": [PROGRAM]}).to_string(), jobs).await?;
    server.all_over(PATIENCE).await?;
    let took = started.elapsed();
    let cpu = server.usage().cpu_seconds - before.cpu_seconds;
    let failed = server.get("/v1/jobs?state=failed,cancelled&limit=1").await?;
    if tally.done != jobs || failed["jobs"].as_array().is_none_or(|jobs| !jobs.is_empty()) {
        return Err(Error::Void(format!("not all jobs succeeded: {failed}")));
    }
    server.end().await?;
    Ok((jobs as f64 / took.as_secs_f64(), cpu * 1e6 / jobs as f64))
}
