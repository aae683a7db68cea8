//! A migration in 10,000 batches, killed in the middle: it goes on where it was, and reports at the end.
//!
//! `cargo run --example migration_fan_out` starts itself twice on one directory, and kills the first.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dogwatch_actors::handle::orchestrations::{Error as OrchestrationError, StartOrder};
use dogwatch_actors::orchestration::{
    ActivityContext, Failure, OrchestrationContext, Registry, Result, join_all,
};
use dogwatch_actors::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

const BATCHES: u64 = 10_000;
/// The first process is killed when so many batches are done.
const KILLED_AT: u64 = 3_000;

#[derive(Debug, Serialize, Deserialize)]
struct Report {
    batches: usize,
    rows: u64,
    refused: Vec<u64>,
}

/// Every batch at once; a batch that fails for good is named in the report, and stops none of the others.
async fn migration(ctx: OrchestrationContext, batches: u64) -> Result<Report> {
    let all = join_all((0..batches).map(|batch| ctx.activity::<u64>("migrate", batch))).await;
    let refused = (0..).zip(&all).filter(|(_, rows)| rows.is_err()).map(|(batch, _)| batch).collect();
    let rows = all.iter().flatten().sum();
    Ok(Report { batches: all.len(), rows, refused })
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let shim = Shim::enter();
    match std::env::args().nth(1) {
        Some(directory) => migrate(shim, Path::new(&directory)).await,
        None => kill_and_go_on(),
    }
}

/// One process of the migration.
async fn migrate(shim: Shim, directory: &Path) -> std::result::Result<(), Box<dyn Error>> {
    let done = Arc::new(AtomicU64::new(0));
    let migrate = move |_: ActivityContext, batch: u64| {
        let done = Arc::clone(&done);
        async move {
            if batch == 4_711 {
                return Err(Failure::new("bad_row", "the row cannot be read"));
            }
            // The work itself: so that there is a middle to be killed in.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let count = done.fetch_add(1, Ordering::SeqCst) + 1;
            if count.is_multiple_of(500) {
                println!("{count}");
                std::io::stdout().flush()?;
            }
            Ok(100_u64)
        }
    };
    let registry = Registry::new().orchestration("migration", migration).activity("migrate", migrate);
    let home = Home::open(directory).await?;
    let processes = home.processes(shim)?;
    let supervisor = home.builder().await?.runtime(processes).orchestrations(registry).start().await?;
    let client = supervisor.handle().orchestrations();
    match client.start(StartOrder::new("migration", BATCHES).id("migration".parse()?)).await {
        // It is there already, and goes on by itself.
        Ok(_) | Err(OrchestrationError::Exists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let ended = client.wait("migration".parse()?, Duration::from_secs(60)).await?;
    println!("report {}", ended.output.unwrap_or_else(|| json!(ended.failure)));
    supervisor.shutdown().await;
    Ok(())
}

/// Starts a process of the migration, kills it, and starts another one.
fn kill_and_go_on() -> std::result::Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let directory: PathBuf = temporary.path().join("migration");
    let start = || {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(&directory).stdout(Stdio::piped()).spawn()
    };
    let mut first = start()?;
    for line in BufReader::new(first.stdout.take().ok_or("it was piped")?).lines() {
        if line?.parse().is_ok_and(|count: u64| count >= KILLED_AT) {
            break;
        }
    }
    first.kill()?;
    first.wait()?;
    println!("killed when {KILLED_AT} of {BATCHES} batches were done");
    let second = start()?.wait_with_output()?;
    let said = String::from_utf8(second.stdout)?;
    let again = said.lines().filter_map(|line| line.parse::<u64>().ok()).max().unwrap_or(0);
    // A few that were done but not recorded yet are done again: at least once, never not at all.
    println!(
        "the second process did at most {} more, not all again: {}",
        again + 500,
        again < BATCHES - 1_000
    );
    let report = said.lines().find_map(|line| line.strip_prefix("report ")).unwrap_or("nothing");
    println!("{report}");
    Ok(())
}
