//! Jobs that wait: the memory they take, and what an idle server costs.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::Result;
use crate::figure::{Figure, Reach, Unit};
use crate::plan::Plan;
use crate::server::Server;
use crate::workload::{PROCESS, far_ahead, submit_all};

const NAME: &str = "memory";

/// How long the server rests before it is looked at: longer than an idle actor stays in memory.
const REST: Duration = Duration::from_secs(30);

/// How long its idleness is watched.
const WATCH: Duration = Duration::from_secs(20);

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    // Memory differs little from run to run, and a run is long.
    let steps: [(u64, f64); 2] = plan.pick(
        [(20_000, 150.0), (100_000, 150.0)],
        [(100_000, 150.0), (1_000_000, 1024.0)],
        [(100_000, 150.0), (1_000_000, 1024.0)],
    );
    let place = plan.place(NAME)?;
    let server = Server::start(&plan.serve("process"), place.path()).await?;
    let mut figures =
        vec![single("resident with no job", Unit::Mebibytes, server.usage().resident_mebibytes)];
    let mut stored = 0;
    for (jobs, most) in steps {
        submit_all(&server, &far_ahead(PROCESS), jobs - stored).await?;
        stored = jobs;
        let loaded = server.usage().resident_mebibytes;
        sleep(REST).await;
        let before = server.usage();
        let watched = Instant::now();
        sleep(WATCH).await;
        let after = server.usage();
        let cpu = (after.cpu_seconds - before.cpu_seconds) * 100.0 / watched.elapsed().as_secs_f64();
        figures.extend([
            single(format!("resident right after {jobs} submissions"), Unit::Mebibytes, loaded),
            single(format!("resident with {jobs} waiting jobs"), Unit::Mebibytes, after.resident_mebibytes)
                .reach(Reach::AtMost(most)),
            single(format!("CPU of one core, idle with {jobs}"), Unit::Percent, cpu)
                .reach(Reach::AtMost(1.0)),
            single(
                format!("bytes written in {} s, idle with {jobs}", WATCH.as_secs()),
                Unit::Bytes,
                after.written_bytes - before.written_bytes,
            )
            .reach(Reach::AtMost(0.0)),
        ]);
    }
    server.end().await?;
    Ok(figures)
}

fn single(what: impl Into<String>, unit: Unit, value: f64) -> Figure {
    Figure::new(NAME, what, unit, vec![value])
}
