//! Durable callbacks: 10,000 running jobs that tell their progress over 64 connections.

use std::ops::Range;
use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::figure::{Figure, Reach, Unit};
use crate::floor_http::BareServer;
use crate::load::{self, Load, Tally, Until};
use crate::plan::Plan;
use crate::server::Server;
use crate::workload::{CONNECTIONS, ghost, sized, submit_all};

const NAME: &str = "callbacks";

/// How long the jobs may take to run.
const RUNNING_PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, Default)]
struct Runs {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    cpu: Vec<f64>,
    resident: Vec<f64>,
    bare_rate: Vec<f64>,
    bare_p50: Vec<f64>,
    bare_p99: Vec<f64>,
}

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let jobs = plan.pick(1_000, 10_000, 10_000);
    let calls = plan.pick(20_000, 100_000, 100_000);
    let place = plan.place(NAME)?;
    let mut server = Server::start(&plan.host(jobs), place.path()).await?;
    let running = running_jobs(&mut server, jobs as u64).await?;
    let callbacks = Callbacks::of(&server, &running)?;
    let mut runs = Client::BOTH.map(|client| (client, Runs::default()));
    let mut called = 0;
    for _ in 0..plan.runs {
        for (client, runs) in &mut runs {
            floor(plan, *client, calls, runs).await?;
            ours(&server, *client, &callbacks, called..called + calls, runs).await?;
            called += calls;
        }
    }
    Ok(runs.into_iter().flat_map(|(client, runs)| figures(client, runs, jobs)).collect())
}

async fn ours(
    server: &Server,
    client: Client,
    callbacks: &Callbacks,
    calls: Range<u64>,
    runs: &mut Runs,
) -> Result<()> {
    let before = server.usage();
    let tally = load(server, client, callbacks, calls).await?;
    let after = server.usage();
    runs.rate.push(tally.rate());
    runs.p50.push(tally.quantile(0.5));
    runs.p99.push(tally.quantile(0.99));
    runs.cpu.push((after.cpu_seconds - before.cpu_seconds) * 1e6 / tally.done as f64);
    runs.resident.push(after.resident_mebibytes);
    Ok(())
}

async fn load(server: &Server, client: Client, callbacks: &Callbacks, calls: Range<u64>) -> Result<Tally> {
    load::run(&Load {
        address: server.callback_address(),
        client,
        connections: CONNECTIONS,
        until: Until::Requests(calls.end - calls.start),
        expected: 200,
        request: &|number, bytes| callbacks.write(calls.start + number, bytes),
        answer: &load::ignore,
    })
    .await
}

async fn floor(plan: &Plan, client: Client, count: u64, runs: &mut Runs) -> Result<()> {
    let place = plan.place("floor-http")?;
    let bare = BareServer::start(&plan.bench, place.path(), 0).await?;
    let tally = load::run(&Load {
        address: bare.target.address,
        client,
        connections: CONNECTIONS,
        until: Until::Requests(count),
        expected: 200,
        request: &|number, bytes| {
            let path = "/v1/callbacks/01939f6e-2d5c-7a00-8000-0123456789ab/1";
            bytes.extend_from_slice(&bare.target.post(path, &body(number)));
        },
        answer: &load::ignore,
    })
    .await?;
    runs.bare_rate.push(tally.rate());
    runs.bare_p50.push(tally.quantile(0.5));
    runs.bare_p99.push(tally.quantile(0.99));
    Ok(())
}

fn figures(client: Client, runs: Runs, jobs: usize) -> Vec<Figure> {
    let bare = "bare handler";
    let what = |text: &str| client.figure(text);
    let rate = what(&format!("durable callbacks of {jobs} running jobs"));
    vec![
        Figure::new(NAME, rate, Unit::PerSecond, runs.rate)
            .over(bare, runs.bare_rate)
            .reach(Reach::RatioAtLeast(0.4))
            .reach(Reach::AtLeast(10_000.0)),
        Figure::new(NAME, what("latency p50"), Unit::Millis, runs.p50).over(bare, runs.bare_p50),
        Figure::new(NAME, what("latency p99"), Unit::Millis, runs.p99)
            .over(bare, runs.bare_p99)
            .reach(Reach::AtMost(15.0)),
        Figure::new(NAME, what("CPU per callback"), Unit::Micros, runs.cpu),
        Figure::new(NAME, what("resident after it"), Unit::Mebibytes, runs.resident),
    ]
}

/// Starts so many jobs that run until they are stopped; their ids.
pub(super) async fn running_jobs(server: &mut Server, count: u64) -> Result<Vec<String>> {
    let mut spec = ghost(None);
    spec["completion"] = json!("callback");
    let (_, ids) = submit_all(server, &sized(spec), count).await?;
    server.none_in("queued,starting", RUNNING_PATIENCE).await?;
    if ids.len() as u64 == count {
        Ok(ids)
    } else {
        Err(Error::Void(format!("{} of {count} run", ids.len())))
    }
}

/// The body of a callback, an event of its own for each number and always of the same length.
fn body(number: u64) -> String {
    format!(
        r#"{{"event":"progress","id":"step-{number:010}","data":{{"step":"{number:010}","unit":"rows"}}}}"#
    )
}

/// The callbacks of these jobs in turn, made ahead but for the number.
pub(super) struct Callbacks(Vec<Vec<u8>>);

impl Callbacks {
    pub(super) fn of(server: &Server, ids: &[String]) -> Result<Self> {
        let length = body(0).len();
        let head = |id: &String| {
            let mut request = server.callback(id, &body(0))?;
            request.truncate(request.len() - length);
            Ok(request)
        };
        ids.iter().map(head).collect::<Result<_>>().map(Self)
    }

    /// Writes the callback of this number.
    pub(super) fn write(&self, number: u64, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.0[number as usize % self.0.len()]);
        bytes.extend_from_slice(body(number).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_callback_is_another_one_of_the_same_length() {
        assert_eq!(body(0).len(), body(123_456_789).len());
        assert_ne!(body(1), body(2));
        assert!(serde_json::from_str::<dogwatch_actors::handle::Callback>(&body(7)).is_ok());
    }
}
