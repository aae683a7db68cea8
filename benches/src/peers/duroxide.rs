//! duroxide on a file of SQLite: chains of five activities, in one process.

use std::process::Command;
use std::time::Duration;

use super::{INSTALL_PATIENCE, last_json, number, run, sources};
use crate::error::Result;
use crate::figure::{Figure, Unit};
use crate::plan::Plan;

/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(900);

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let target = plan.peers.join("duroxide");
    std::fs::create_dir_all(&target).map_err(crate::error::file(&target))?;
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--locked", "--target-dir"]).arg(&target);
    run(build.current_dir(sources().join("duroxide")), &target.join("build.log"), INSTALL_PATIENCE).await?;
    let count = plan.pick(200, 1_000, 5_000).to_string();
    let (mut enqueued, mut done) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let place = plan.place("duroxide")?;
        let log = place.path().join("duroxide.log");
        let mut program = Command::new(target.join("release").join("dogwatch-bench-duroxide"));
        run(program.arg(place.path().join("store.db")).arg(&count), &log, PATIENCE).await?;
        let found = last_json(&log)?;
        enqueued.push(number(&found, "enqueue_rate")?);
        done.push(number(&found, "job_rate")?);
    }
    Ok(vec![
        Figure::new(super::NAME, "duroxide: enqueues of 64 tasks", Unit::PerSecond, enqueued),
        Figure::new(super::NAME, "duroxide: chains of five activities", Unit::PerSecond, done),
    ])
}
