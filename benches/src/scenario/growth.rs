//! What grows with the number of stored jobs: the latencies of submissions, reads and lists with few and with many.

use crate::error::Result;
use crate::figure::{Figure, Reach, Unit};
use crate::load::{self, Load, Tally, Until};
use crate::plan::Plan;
use crate::server::Server;
use crate::workload::{CONNECTIONS, PROCESS, far_ahead, submit_all};

const NAME: &str = "growth";

/// The few.
const FEW: u64 = 10_000;

/// Lists of each kind in one measurement.
const LISTS: u64 = 200;

/// The lists that are measured: each through another index.
const LIST_PATHS: [(&str, &str); 4] = [
    ("list all", "/v1/jobs"),
    ("list by state", "/v1/jobs?state=queued"),
    ("list by label", "/v1/jobs?label=team:data"),
    ("list by name", "/v1/jobs?name=nightly-import"),
];

/// The latencies at one size: what, median and 99th percentile, one of each for every run.
type Latencies = Vec<(&'static str, Vec<f64>, Vec<f64>)>;

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let many = plan.pick(100_000, 1_000_000, 5_000_000);
    let requests = plan.pick(5_000, 20_000, 20_000);
    let place = plan.place(NAME)?;
    let server = Server::start(&plan.serve("process"), place.path()).await?;
    let (_, ids) = submit_all(&server, &far_ahead(PROCESS), FEW).await?;
    let few = at_this_size(plan, &server, &ids, requests).await?;
    let so_far = FEW + requests * plan.runs as u64;
    let (_, more) = submit_all(&server, &far_ahead(PROCESS), many - so_far.min(many)).await?;
    // Read all over the store, not only what came last.
    let spread: Vec<String> = ids.into_iter().chain(more).step_by(many as usize / 50_000 + 1).collect();
    let lots = at_this_size(plan, &server, &spread, requests).await?;
    server.end().await?;
    let pairs = few.into_iter().zip(lots);
    Ok(pairs
        .flat_map(|((what, p50, p99), (_, many_p50, many_p99))| {
            let figure = |part: &str, ours: Vec<f64>, floor: Vec<f64>| {
                Figure::new(NAME, format!("{what} {part} with {many} stored"), Unit::Millis, ours)
                    .over(format!("with {FEW}"), floor)
                    .reach(Reach::RatioAtMost(1.5))
            };
            [figure("p50", many_p50, p50), figure("p99", many_p99, p99)]
        })
        .collect())
}

async fn at_this_size(plan: &Plan, server: &Server, ids: &[String], requests: u64) -> Result<Latencies> {
    let mut found: Latencies = Vec::new();
    for _ in 0..plan.runs {
        let (submitted, _) = submit_all(server, &far_ahead(PROCESS), requests).await?;
        let mut round = vec![("submit", submitted), ("read", read(server, ids, requests).await?)];
        for (what, path) in LIST_PATHS {
            round.push((what, list(server, path).await?));
        }
        for (index, (what, tally)) in round.into_iter().enumerate() {
            if found.len() <= index {
                found.push((what, Vec::new(), Vec::new()));
            }
            found[index].1.push(tally.quantile(0.5));
            found[index].2.push(tally.quantile(0.99));
        }
    }
    Ok(found)
}

async fn read(server: &Server, ids: &[String], count: u64) -> Result<Tally> {
    load::run(&Load {
        address: server.api.address,
        connections: CONNECTIONS,
        until: Until::Requests(count),
        expected: 200,
        request: &|number, bytes| {
            let id = &ids[(number * 7_919) as usize % ids.len()];
            bytes.extend_from_slice(&server.api.get(&format!("/v1/jobs/{id}")));
        },
        answer: &load::ignore,
    })
    .await
}

/// One client: the latency of a list itself.
async fn list(server: &Server, path: &str) -> Result<Tally> {
    let request = server.api.get(path);
    load::run(&Load {
        address: server.api.address,
        connections: 1,
        until: Until::Requests(LISTS),
        expected: 200,
        request: &|_, bytes| bytes.extend_from_slice(&request),
        answer: &load::ignore,
    })
    .await
}
