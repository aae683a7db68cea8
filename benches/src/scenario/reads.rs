//! Status reads: alone, and while submissions and callbacks run at the same time.

use std::cell::Cell;

use crate::client::Client;
use crate::error::Result;
use crate::figure::{Figure, Reach, Unit};
use crate::floor_http::BareServer;
use crate::ghost;
use crate::http::Target;
use crate::load::{self, Load, Tally, Until};
use crate::plan::Plan;
use crate::scenario::callbacks::{Callbacks, running_jobs};
use crate::server::Server;
use crate::workload::{CONNECTIONS, far_ahead, submit_all};

const NAME: &str = "reads";

/// Writes of each kind at most while reads run, so that a load that is never told to stop ends.
const WRITES_MAX: u64 = 1_000_000;

#[derive(Debug, Default)]
struct Runs {
    alone: Vec<f64>,
    alone_p99: Vec<f64>,
    bare_alone: Vec<f64>,
    bare_alone_p99: Vec<f64>,
    busy: Vec<f64>,
    busy_p99: Vec<f64>,
    bare_busy: Vec<f64>,
    bare_busy_p99: Vec<f64>,
    submissions: Vec<f64>,
    callbacks: Vec<f64>,
}

/// What is read and written in one round.
struct Site {
    server: Server,
    ids: Vec<String>,
    callbacks: Callbacks,
    answer_bytes: usize,
}

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let jobs = plan.pick(1_000, 10_000, 10_000);
    let reads = plan.pick(20_000, 100_000, 100_000);
    let place = plan.place(NAME)?;
    let mut server = Server::start(&plan.host(jobs), place.path()).await?;
    let running = running_jobs(&mut server, jobs as u64).await?;
    let callbacks = Callbacks::of(&server, &running)?;
    let (_, ids) = submit_all(&server, &far_ahead(ghost::NAME), jobs as u64).await?;
    let answer_bytes = super::submit::answer_bytes(plan).await?;
    let site = Site { server, ids, callbacks, answer_bytes };
    let mut runs = Runs::default();
    let mut called = 0;
    for _ in 0..plan.runs {
        alone(plan, &site, reads, &mut runs).await?;
        called += busy(plan, &site, reads, called, &mut runs).await?;
    }
    Ok(figures(runs))
}

async fn read(target: &Target, ids: &[String], count: u64) -> Result<Tally> {
    let requests: Vec<Vec<u8>> = ids.iter().map(|id| target.get(&format!("/v1/jobs/{id}"))).collect();
    load::run(&Load {
        address: target.address,
        client: Client::Lean,
        connections: CONNECTIONS,
        until: Until::Requests(count),
        expected: 200,
        // Not one after the other: a cache of the last ones shall not help.
        request: &|number, bytes| {
            bytes.extend_from_slice(&requests[(number * 7_919) as usize % requests.len()])
        },
        answer: &load::ignore,
    })
    .await
}

async fn alone(plan: &Plan, site: &Site, reads: u64, runs: &mut Runs) -> Result<()> {
    let place = plan.place("floor-http")?;
    let bare = BareServer::start(&plan.bench, place.path(), site.answer_bytes).await?;
    let floor = read(&bare.target, &site.ids, reads).await?;
    runs.bare_alone.push(floor.rate());
    runs.bare_alone_p99.push(floor.quantile(0.99));
    let ours = read(&site.server.api, &site.ids, reads).await?;
    runs.alone.push(ours.rate());
    runs.alone_p99.push(ours.quantile(0.99));
    Ok(())
}

/// Reads of the bare server, then of ours, each while ours is written to; how many callbacks that took.
async fn busy(plan: &Plan, site: &Site, reads: u64, called: u64, runs: &mut Runs) -> Result<u64> {
    let place = plan.place("floor-http")?;
    let bare = BareServer::start(&plan.bench, place.path(), site.answer_bytes).await?;
    let (floor, first, _) = written_to(site, called, read(&bare.target, &site.ids, reads)).await?;
    runs.bare_busy.push(floor.rate());
    runs.bare_busy_p99.push(floor.quantile(0.99));
    let (ours, second, submissions) =
        written_to(site, called + first.done + first.refused, read(&site.server.api, &site.ids, reads))
            .await?;
    runs.busy.push(ours.rate());
    runs.busy_p99.push(ours.quantile(0.99));
    runs.submissions.push(submissions.rate());
    runs.callbacks.push(second.rate());
    Ok(first.done + first.refused + second.done + second.refused)
}

/// Does `reading` while clients submit and attempts call back; also what was written: callbacks, submissions.
async fn written_to(
    site: &Site,
    called: u64,
    reading: impl Future<Output = Result<Tally>>,
) -> Result<(Tally, Tally, Tally)> {
    let over = Cell::new(false);
    let until = Until::Told(&over, WRITES_MAX);
    let submission = site.server.api.post("/v1/jobs", &far_ahead(ghost::NAME));
    let submitting = Load {
        address: site.server.api.address,
        client: Client::Lean,
        connections: CONNECTIONS,
        until,
        expected: 202,
        request: &|_, bytes| bytes.extend_from_slice(&submission),
        answer: &load::ignore,
    };
    let calling = Load {
        address: site.server.callback_address(),
        client: Client::Lean,
        connections: CONNECTIONS,
        until,
        expected: 200,
        request: &|number, bytes| site.callbacks.write(called + number, bytes),
        answer: &load::ignore,
    };
    let reading = async {
        let read = reading.await;
        over.set(true);
        read
    };
    let (submitted, called, read) = futures_util::join!(load::run(&submitting), load::run(&calling), reading);
    Ok((read?, called?, submitted?))
}

fn figures(runs: Runs) -> Vec<Figure> {
    let (bare, beside) = ("bare handler", "bare handler beside the same writes");
    vec![
        Figure::new(NAME, "status reads alone", Unit::PerSecond, runs.alone).over(bare, runs.bare_alone),
        Figure::new(NAME, "latency p99 alone", Unit::Millis, runs.alone_p99).over(bare, runs.bare_alone_p99),
        Figure::new(NAME, "status reads while both writes run", Unit::PerSecond, runs.busy)
            .over(beside, runs.bare_busy)
            .reach(Reach::RatioAtLeast(0.6)),
        Figure::new(NAME, "latency p99 while both writes run", Unit::Millis, runs.busy_p99)
            .over(beside, runs.bare_busy_p99),
        Figure::new(NAME, "submissions beside the reads", Unit::PerSecond, runs.submissions),
        Figure::new(NAME, "callbacks beside the reads", Unit::PerSecond, runs.callbacks),
    ]
}
