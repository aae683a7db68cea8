//! Watches a long job until it is done or its time is up, and keeps what it saw in a SQLite database.
//!
//! `cargo run --example monitor` watches one job that ends in time and one that does not.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dogwatch_actors::handle::orchestrations::StartOrder;
use dogwatch_actors::orchestration::{
    ActivityContext, Either, OrchestrationContext, Registry, Result, select,
};
use dogwatch_actors::prelude::*;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Watch {
    name: String,
    directory: PathBuf,
    /// How long the job takes, and how long it may.
    takes_tenths: u32,
    limit_millis: u64,
}

/// The monitor. The job is one more durable thing that it awaits; looking at it goes on beside that.
async fn monitor(ctx: OrchestrationContext, watch: Watch) -> Result<String> {
    let progress = watch.directory.join(format!("{}.progress", watch.name));
    let script = format!(
        "i=0; while [ $i -lt {} ]; do i=$((i+1)); echo $i > {}; sleep 0.1; done",
        watch.takes_tenths,
        progress.display()
    );
    let mut job = ctx.job(Spec::process(["sh", "-c", &script])).start();
    let until = ctx.now().after(Duration::from_millis(watch.limit_millis));
    loop {
        let seen: String = ctx.activity("look", &progress).await?;
        ctx.activity::<()>("store", (&watch, &seen)).await?;
        if ctx.now() >= until {
            // The job is dropped, and with that cancelled.
            drop(job);
            ctx.activity::<()>("store", (&watch, "expired")).await?;
            return Ok("expired".to_owned());
        }
        match select(&mut job, ctx.timer(Duration::from_millis(150))).await {
            Either::First(outcome) => {
                let state = outcome?.state.name().to_owned();
                ctx.activity::<()>("store", (&watch, &state)).await?;
                return Ok(state);
            }
            Either::Second(()) => {}
        }
    }
}

/// Activities may do anything: read files, talk to databases.
async fn look(_: ActivityContext, progress: PathBuf) -> Result<String> {
    Ok(std::fs::read_to_string(progress)
        .map_or_else(|_| "not begun".to_owned(), |text| text.trim().to_owned()))
}

async fn store(ctx: ActivityContext, (watch, seen): (Watch, String)) -> Result<()> {
    // What the same activity wrote before a crash is overwritten, not doubled.
    let database = open(&watch.directory)?;
    let task = i64::try_from(ctx.task_id())?;
    let insert = "INSERT OR REPLACE INTO seen (instance, task, status) VALUES (?1, ?2, ?3)";
    database.execute(insert, params![ctx.instance_id().as_str(), task, seen])?;
    Ok(())
}

fn open(directory: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(directory.join("seen.db"))?;
    database.busy_timeout(Duration::from_secs(5))?;
    let table = "CREATE TABLE IF NOT EXISTS seen (instance TEXT, task INTEGER, status TEXT, PRIMARY KEY (instance, task))";
    database.execute(table, [])?;
    Ok(database)
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let shim = Shim::enter();
    let registry =
        Registry::new().orchestration("monitor", monitor).activity("look", look).activity("store", store);
    let directory = tempfile::tempdir()?;
    let home = Home::open(directory.path().join("monitor")).await?;
    let processes = home.processes(shim)?;
    let supervisor = home.builder().await?.runtime(processes).orchestrations(registry).start().await?;
    let client = supervisor.handle().orchestrations();
    for (name, takes_tenths, limit_millis) in [("quick", 5, 30_000_u64), ("slow", 600, 700)] {
        let watch = json!({"name": name, "directory": directory.path(), "takes_tenths": takes_tenths,
            "limit_millis": limit_millis});
        client.start(StartOrder::new("monitor", watch).id(name.parse()?)).await?;
    }
    for name in ["quick", "slow"] {
        let ended = client.wait(name.parse()?, Duration::from_secs(40)).await?;
        let database = open(directory.path())?;
        let (rows, last): (i64, String) = database.query_row(
            "SELECT count(*), (SELECT status FROM seen WHERE instance = ?1 ORDER BY task DESC) FROM seen WHERE instance = ?1",
            [name],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        println!(
            "{name}: {}; in the database the last is {last}, of several: {}",
            ended.output.unwrap_or_default(),
            rows > 2
        );
    }
    let jobs = supervisor.handle().list(&Filter { limit: 10, ..Filter::default() })?.jobs;
    println!("jobs: {}", jobs.iter().rev().map(|job| job.state.name()).collect::<Vec<_>>().join(", "));
    supervisor.shutdown().await;
    Ok(())
}
