//! RQ on Redis, which syncs its log before it answers (`appendfsync always`).

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{INSTALL_PATIENCE, free_port, last_json, number, run, sources};
use crate::child::{Child, until};
use crate::error::{Error, Result, file};
use crate::figure::{Figure, Unit};
use crate::plan::Plan;

/// How long it may take to answer, and to run all jobs.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let count = plan.pick(1_000, 5_000, 20_000);
    let (enqueued, done) = rates(plan, count, &[]).await?;
    Ok(vec![
        Figure::new(super::NAME, "RQ on Redis, synced: enqueues of 64 clients", Unit::PerSecond, enqueued),
        Figure::new(super::NAME, "RQ on Redis, synced: jobs of /bin/true", Unit::PerSecond, done),
    ])
}

/// As a queue of messages, for the scenario of that name: enqueued 100 at a time, and done by functions without a body.
pub(crate) async fn messages(plan: &Plan, scenario: &'static str) -> Result<Vec<Figure>> {
    let count = plan.pick(12_800, 25_600, 64_000);
    let (enqueued, done) = rates(plan, count, &["messages"]).await?;
    let enqueues = "RQ on Redis, synced: messages, 100 in a call";
    Ok(vec![
        Figure::new(scenario, enqueues, Unit::PerSecond, enqueued),
        Figure::new(scenario, "RQ on Redis, synced: messages done", Unit::PerSecond, done),
    ])
}

/// Of each run, what was enqueued in a second and what was done in one.
async fn rates(plan: &Plan, count: u64, mode: &[&str]) -> Result<(Vec<f64>, Vec<f64>)> {
    let redis = redis()?;
    let root = plan.peers.join("rq");
    std::fs::create_dir_all(&root).map_err(file(&root))?;
    let python = root.join("bin/python");
    if !root.join("bin/rq").is_file() {
        let log = root.join("install.log");
        run(Command::new("python3").args(["-m", "venv"]).arg(&root), &log, INSTALL_PATIENCE).await?;
        let mut pip = Command::new(&python);
        run(pip.args(["-m", "pip", "install", "--quiet", "rq"]), &log, INSTALL_PATIENCE).await?;
    }
    let (mut enqueued, mut done) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let place = plan.place("rq")?;
        let found = one(redis, &python, place.path(), count, mode).await?;
        enqueued.push(number(&found, "enqueue_rate")?);
        done.push(number(&found, "job_rate")?);
    }
    Ok((enqueued, done))
}

/// The program of the server. Debian has it in the package of the tools under another name, which is one daemon
/// less to be started by an installation.
fn redis() -> Result<&'static str> {
    let found = ["/usr/local/bin/redis-server", "/usr/bin/redis-server", "/usr/bin/redis-check-rdb"];
    let found = found.into_iter().find(|path| Path::new(path).is_file());
    let remedy = || "`apt-get install redis-tools`, as `cargo xtask bench peers` does as root".to_owned();
    found.ok_or_else(|| Error::Missing { what: "redis-server", remedy: remedy() })
}

async fn one(redis: &str, python: &Path, dir: &Path, count: u64, mode: &[&str]) -> Result<serde_json::Value> {
    let port = free_port()?.to_string();
    let mut redis = Command::new(redis);
    redis.arg0("redis-server");
    redis.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
    redis.args(["--appendfsync", "always", "--dir"]).arg(dir);
    let mut redis = Child::start(&mut redis, &dir.join("redis.log"))?;
    let address = format!("127.0.0.1:{port}");
    until("redis answers", PATIENCE, async || {
        redis.check()?;
        Ok(tokio::net::TcpStream::connect(&address).await.ok())
    })
    .await?;
    let processes = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).to_string();
    let log = dir.join("rq.log");
    let mut script = Command::new(python);
    // The workers import the job by its name.
    script.arg(sources().join("rq_bench.py")).args([&port, &count.to_string(), &processes]).args(mode);
    run(script.env("PYTHONPATH", sources()), &log, PATIENCE).await?;
    last_json(&log)
}
