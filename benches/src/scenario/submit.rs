//! Durable submissions over REST: what one server takes from 64 clients at once.

use std::cell::Cell;

use crate::client::Client;
use crate::error::Result;
use crate::figure::{Figure, Reach, Unit};
use crate::floor_http::BareServer;
use crate::http::Target;
use crate::load::{self, Load, Tally, Until};
use crate::plan::Plan;
use crate::server::Server;
use crate::workload::{CONNECTIONS, PROCESS, far_ahead};

const NAME: &str = "submit";

#[derive(Debug, Default)]
struct Runs {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    cpu: Vec<f64>,
    resident: Vec<f64>,
    disk: Vec<f64>,
    refused: Vec<f64>,
    bare_rate: Vec<f64>,
    bare_p50: Vec<f64>,
    bare_p99: Vec<f64>,
    bare_cpu: Vec<f64>,
}

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let jobs = plan.pick(20_000, 100_000, 100_000);
    let answer_bytes = answer_bytes(plan).await?;
    let mut runs = Client::BOTH.map(|client| (client, Runs::default()));
    for _ in 0..plan.runs {
        for (client, runs) in &mut runs {
            floor(plan, *client, jobs, answer_bytes, runs).await?;
            ours(plan, *client, jobs, runs).await?;
        }
    }
    Ok(runs.into_iter().flat_map(|(client, runs)| figures(client, runs)).collect())
}

/// Sends so many submissions.
async fn load(target: &Target, client: Client, count: u64, answer: &dyn Fn(u64, &[u8])) -> Result<Tally> {
    let request = target.post("/v1/jobs", &far_ahead(PROCESS));
    load::run(&Load {
        address: target.address,
        client,
        connections: CONNECTIONS,
        until: Until::Requests(count),
        expected: 202,
        request: &|_, bytes| bytes.extend_from_slice(&request),
        answer,
    })
    .await
}

/// How long our answer is.
pub(super) async fn answer_bytes(plan: &Plan) -> Result<usize> {
    let place = plan.place(NAME)?;
    let server = Server::start(&plan.serve("process"), place.path()).await?;
    let length = Cell::new(0);
    load(&server.api, Client::Lean, 1, &|_, body| length.set(body.len())).await?;
    server.end().await?;
    Ok(length.get())
}

async fn floor(plan: &Plan, client: Client, count: u64, answer_bytes: usize, runs: &mut Runs) -> Result<()> {
    let place = plan.place("floor-http")?;
    let bare = BareServer::start(&plan.bench, place.path(), answer_bytes).await?;
    let before = bare.usage();
    let tally = load(&bare.target, client, count, &load::ignore).await?;
    runs.bare_rate.push(tally.rate());
    runs.bare_p50.push(tally.quantile(0.5));
    runs.bare_p99.push(tally.quantile(0.99));
    runs.bare_cpu.push((bare.usage().cpu_seconds - before.cpu_seconds) * 1e6 / tally.done as f64);
    Ok(())
}

async fn ours(plan: &Plan, client: Client, count: u64, runs: &mut Runs) -> Result<()> {
    let place = plan.place(NAME)?;
    let server = Server::start(&plan.serve("process"), place.path()).await?;
    let before = server.usage();
    let tally = load(&server.api, client, count, &load::ignore).await?;
    let after = server.usage();
    runs.rate.push(tally.rate());
    runs.p50.push(tally.quantile(0.5));
    runs.p99.push(tally.quantile(0.99));
    runs.refused.push(tally.refused as f64);
    runs.cpu.push((after.cpu_seconds - before.cpu_seconds) * 1e6 / tally.done as f64);
    runs.resident.push(after.resident_mebibytes);
    server.end().await?;
    runs.disk.push(place.bytes() as f64 / tally.done as f64);
    Ok(())
}

fn figures(client: Client, runs: Runs) -> Vec<Figure> {
    let bare = "bare handler";
    let what = |text: &str| client.figure(text);
    vec![
        Figure::new(NAME, what("durable submissions"), Unit::PerSecond, runs.rate)
            .over(bare, runs.bare_rate)
            .reach(Reach::RatioAtLeast(0.4))
            .reach(Reach::AtLeast(10_000.0)),
        Figure::new(NAME, what("latency p50"), Unit::Millis, runs.p50).over(bare, runs.bare_p50),
        Figure::new(NAME, what("latency p99"), Unit::Millis, runs.p99)
            .over(bare, runs.bare_p99)
            .reach(Reach::AtMost(15.0)),
        Figure::new(NAME, what("CPU per request"), Unit::Micros, runs.cpu).over(bare, runs.bare_cpu),
        Figure::new(NAME, what("refused"), Unit::Count, runs.refused),
        Figure::new(NAME, what("resident after it"), Unit::Mebibytes, runs.resident),
        Figure::new(NAME, what("disk per job"), Unit::Bytes, runs.disk),
    ]
}
