//! Bytes on disk: what a finished job takes while it is kept, and what is left when jobs come and go by their
//! time to live.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::error::Result;
use crate::figure::{Figure, Reach, Unit};
use crate::plan::Plan;
use crate::server::Server;
use crate::workload::{ghost, sized, submit_all};

const NAME: &str = "disk";

/// Attempts at once.
const SLOTS: usize = 256;

/// How long the jobs of one round may take to be over, or gone.
const PATIENCE: Duration = Duration::from_secs(600);

/// Rounds of jobs that come and go in the same directory.
const ROUNDS: u64 = 4;

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let jobs = plan.pick(4_000, 20_000, 100_000);
    let (mut kept, mut rate, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let place = plan.place(NAME)?;
        let mut server = Server::start(&plan.host(SLOTS), place.path()).await?;
        let started = Instant::now();
        submit_all(&server, &sized(ghost(Some(0))), jobs).await?;
        server.all_over(PATIENCE).await?;
        rate.push(jobs as f64 / started.elapsed().as_secs_f64());
        server.end().await?;
        kept.push(place.bytes() as f64 / jobs as f64);
        left.push(churn(plan, jobs / ROUNDS).await? / jobs as f64);
    }
    Ok(vec![
        Figure::new(NAME, "jobs that cost nothing, submit to exit", Unit::PerSecond, rate),
        Figure::new(NAME, "disk per finished job kept", Unit::Bytes, kept.clone())
            .reach(Reach::AtMost(2048.0)),
        Figure::new(
            NAME,
            format!("disk left after as many came and went in {ROUNDS} rounds, per job"),
            Unit::Bytes,
            left,
        )
        .over("kept", kept),
    ])
}

/// Bytes on disk after rounds of jobs that are purged a second after they finish, in one life of a server.
async fn churn(plan: &Plan, jobs: u64) -> Result<f64> {
    let place = plan.place(NAME)?;
    let mut server = Server::start(&plan.host(SLOTS), place.path()).await?;
    let mut spec = ghost(Some(0));
    spec["ttl_after_finished"] = json!("1s");
    let spec = sized(spec);
    for _ in 0..ROUNDS {
        submit_all(&server, &spec, jobs).await?;
        server.all_over(PATIENCE).await?;
        server.none_in("succeeded,failed,cancelled", PATIENCE).await?;
    }
    let bytes = place.bytes() as f64;
    server.end().await?;
    Ok(bytes)
}
