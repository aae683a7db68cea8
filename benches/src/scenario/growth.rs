//! What grows with the number of stored jobs: the latencies of submissions, reads and lists with few and with many.

use std::time::Duration;

use crate::client::Client;
use crate::error::Result;
use crate::figure::{Figure, Reach, Unit};
use crate::load::{self, Load, Tally, Until};
use crate::place::Place;
use crate::plan::Plan;
use crate::server::Server;
use crate::workload::{CONNECTIONS, PROCESS, far_ahead, submit_all};

const NAME: &str = "growth";

/// The few.
const FEW: u64 = 10_000;

/// How long the store may merge what was loaded into it.
const REST_PATIENCE: Duration = Duration::from_secs(300);

/// Jobs that are read, at most.
const IDS_READ: usize = 50_000;

/// Lists of each kind in one measurement.
const LISTS: u64 = 200;

/// The lists that are measured: each through another index.
const LIST_PATHS: [(&str, &str); 4] = [
    ("list all", "/v1/jobs"),
    ("list by state", "/v1/jobs?state=queued"),
    ("list by label", "/v1/jobs?label=team:data"),
    ("list by name", "/v1/jobs?name=nightly-import"),
];

/// A server and what is read of it.
struct Site {
    server: Server,
    /// Of jobs all over the store, not only of those that came last.
    ids: Vec<String>,
}

/// One latency: what, and median and 99th percentile of each run with few and with many.
struct Row {
    what: &'static str,
    few: [Vec<f64>; 2],
    many: [Vec<f64>; 2],
}

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let stored = plan.pick(100_000, 1_000_000, 5_000_000);
    let places = [plan.place(NAME)?, plan.place(NAME)?];
    // Both at once, so that they are measured in turn: one that rests costs nothing.
    let few = site(plan, &places[0], FEW).await?;
    let many = site(plan, &places[1], stored).await?;
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..plan.runs {
        let (of_few, of_many) = (round(plan, &few).await?, round(plan, &many).await?);
        for (index, ((what, few), (_, many))) in of_few.into_iter().zip(of_many).enumerate() {
            if rows.len() <= index {
                rows.push(Row { what, few: Default::default(), many: Default::default() });
            }
            for (part, quantile) in [0.5, 0.99].into_iter().enumerate() {
                rows[index].few[part].push(few.quantile(quantile));
                rows[index].many[part].push(many.quantile(quantile));
            }
        }
    }
    few.server.end().await?;
    many.server.end().await?;
    let figures = |Row { what, few, many }: Row| {
        let one = |(part, (few, many)): (&str, (Vec<f64>, Vec<f64>))| {
            Figure::new(NAME, format!("{what} {part} with {stored} stored"), Unit::Millis, many)
                .over(format!("with {FEW}"), few)
                .reach(Reach::RatioAtMost(1.5))
        };
        ["p50", "p99"].into_iter().zip(few.into_iter().zip(many)).map(one).collect::<Vec<_>>()
    };
    Ok(rows.into_iter().flat_map(figures).collect())
}

async fn site(plan: &Plan, place: &Place, stored: u64) -> Result<Site> {
    let server = Server::start(&plan.serve("process"), place.path()).await?;
    let (_, ids) = submit_all(&server, &far_ahead(PROCESS), stored).await?;
    // What is asked is what a store of this size costs, and not what it costs to have filled it a moment ago.
    server.rests(REST_PATIENCE).await?;
    Ok(Site { server, ids: ids.into_iter().step_by(stored as usize / IDS_READ + 1).collect() })
}

/// Every load once.
async fn round(plan: &Plan, Site { server, ids }: &Site) -> Result<Vec<(&'static str, Tally)>> {
    let (submissions, reads) = plan.pick((1_000, 5_000), (2_000, 20_000), (2_000, 20_000));
    let (submitted, _) = submit_all(server, &far_ahead(PROCESS), submissions).await?;
    let mut round = vec![("submit", submitted), ("read", read(server, ids, reads).await?)];
    for (what, path) in LIST_PATHS {
        round.push((what, list(server, path).await?));
    }
    Ok(round)
}

async fn read(server: &Server, ids: &[String], count: u64) -> Result<Tally> {
    load::run(&Load {
        address: server.api.address,
        client: Client::Lean,
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
        client: Client::Lean,
        connections: 1,
        until: Until::Requests(LISTS),
        expected: 200,
        request: &|_, bytes| bytes.extend_from_slice(&request),
        answer: &load::ignore,
    })
    .await
}
