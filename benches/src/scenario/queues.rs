//! Queues over REST: durable messages in batches, and messages that 64 workers receive and acknowledge one by one.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::time::Instant;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::figure::{Figure, Reach, Unit};
use crate::http::{Connection, Target, unexpected};
use crate::load::{self, Load, Tally, Until, quantile};
use crate::peers::rq;
use crate::plan::Plan;
use crate::server::Server;
use crate::workload::CONNECTIONS;

const NAME: &str = "queues";

/// Messages in one request.
const BATCH: u64 = 100;

#[derive(Debug, Default)]
struct Runs {
    enqueued: Vec<f64>,
    enqueue_p99: Vec<f64>,
    enqueue_cpu: Vec<f64>,
    pairs: Vec<f64>,
    pair_p50: Vec<f64>,
    pair_p99: Vec<f64>,
    pair_cpu: Vec<f64>,
    resident: Vec<f64>,
    until_read: Vec<f64>,
}

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let messages = plan.pick(50_000, 300_000, 900_000);
    let pairs = plan.pick(10_000, 60_000, 200_000);
    let mut runs = Runs::default();
    for _ in 0..plan.runs {
        let place = plan.place(NAME)?;
        let server = Server::start(&plan.serve("process"), place.path()).await?;
        declare(&server.api).await?;
        enqueue(&server, messages, &mut runs).await?;
        work(&server, pairs, &mut runs).await?;
        runs.resident.push(server.usage().resident_mebibytes);
        server.end().await?;
        // All that is left is read back before the first of it is given.
        let server = Server::start(&plan.serve("process"), place.path()).await?;
        let started = Instant::now();
        server.api.ask(&server.api.post("/v1/queues/bench/receive", "{}"), 200).await?;
        runs.until_read.push(started.elapsed().as_secs_f64());
        server.end().await?;
    }
    let mut figures = figures(runs);
    // Beside it, in the same run, what people would take instead.
    match rq::messages(plan, NAME).await {
        Ok(peer) => figures.extend(peer),
        Err(error) => eprintln!("bench: {NAME}: RQ is left out: {error}"),
    }
    Ok(figures)
}

async fn declare(api: &Target) -> Result<()> {
    let post = api.post("/v1/queues/bench", r#"{"lease": "10m"}"#);
    let request = [b"PUT".as_slice(), post.strip_prefix(b"POST".as_slice()).unwrap_or(&post)].concat();
    api.ask(&request, 201).await.map(drop)
}

/// A message of the usual size.
fn message(number: u64) -> String {
    format!(r#"{{"body":{{"order":"{number:010}","customer":"c-{:06}","amount":1250}}}}"#, number % 1_000_000)
}

fn batch(first: u64) -> String {
    let all: Vec<String> = (first..first + BATCH).map(message).collect();
    format!(r#"{{"messages":[{}]}}"#, all.join(","))
}

async fn enqueue(server: &Server, messages: u64, runs: &mut Runs) -> Result<()> {
    let before = server.usage();
    let tally: Tally = load::run(&Load {
        address: server.api.address,
        client: Client::Lean,
        connections: CONNECTIONS,
        until: Until::Requests(messages / BATCH),
        expected: 201,
        request: &|number, bytes| {
            let request = server.api.post("/v1/queues/bench/messages", &batch(number * BATCH));
            bytes.extend_from_slice(&request);
        },
        answer: &load::ignore,
    })
    .await?;
    let cpu = server.usage().cpu_seconds - before.cpu_seconds;
    runs.enqueued.push(tally.rate() * BATCH as f64);
    runs.enqueue_p99.push(tally.quantile(0.99));
    runs.enqueue_cpu.push(cpu * 1e6 / (tally.done * BATCH).max(1) as f64);
    Ok(())
}

async fn work(server: &Server, pairs: u64, runs: &mut Runs) -> Result<()> {
    let before = server.usage();
    let latencies = RefCell::new(Vec::new());
    let started = Instant::now();
    let each = pairs / CONNECTIONS as u64;
    try_join_all((0..CONNECTIONS).map(|_| worker(&server.api, each, &latencies))).await?;
    let took = started.elapsed();
    let mut latencies = latencies.into_inner();
    latencies.sort_unstable();
    let cpu = server.usage().cpu_seconds - before.cpu_seconds;
    runs.pairs.push(latencies.len() as f64 / took.as_secs_f64().max(1e-9));
    runs.pair_p50.push(quantile(&latencies, 0.5) / 1e3);
    runs.pair_p99.push(quantile(&latencies, 0.99) / 1e3);
    runs.pair_cpu.push(cpu * 1e6 / latencies.len().max(1) as f64);
    Ok(())
}

async fn worker(api: &Target, pairs: u64, latencies: &RefCell<Vec<u32>>) -> Result<()> {
    let mut connection = Connection::open(api.address).await?;
    let receive = api.post("/v1/queues/bench/receive", "{}");
    for _ in 0..pairs {
        let started = Instant::now();
        let answer = connection.exchange(&receive).await?;
        if answer.status != 200 {
            return Err(unexpected(200, &answer));
        }
        let received: Value = serde_json::from_slice(answer.body).unwrap_or_default();
        let message = &received["messages"][0];
        let (Some(id), Some(receipt)) = (message["id"].as_str(), message["receipt"].as_str()) else {
            return Err(Error::Answer { member: "messages", answer: received.to_string() });
        };
        let path = format!("/v1/queues/bench/messages/{id}/ack");
        let ack = api.post(&path, &format!(r#"{{"receipt":"{receipt}"}}"#));
        let answer = connection.exchange(&ack).await?;
        if answer.status != 200 {
            return Err(unexpected(200, &answer));
        }
        latencies.borrow_mut().push(micros(started.elapsed()));
    }
    Ok(())
}

fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
}

fn figures(runs: Runs) -> Vec<Figure> {
    vec![
        Figure::new(NAME, format!("durable messages, {BATCH} in a request"), Unit::PerSecond, runs.enqueued)
            .reach(Reach::AtLeast(20_000.0)),
        Figure::new(NAME, "latency p99 of such a request", Unit::Millis, runs.enqueue_p99),
        Figure::new(NAME, "CPU per message sent", Unit::Micros, runs.enqueue_cpu),
        Figure::new(NAME, "messages received and acknowledged", Unit::PerSecond, runs.pairs)
            .reach(Reach::AtLeast(5_000.0)),
        Figure::new(NAME, "latency p50 of both", Unit::Millis, runs.pair_p50),
        Figure::new(NAME, "latency p99 of both", Unit::Millis, runs.pair_p99),
        Figure::new(NAME, "CPU per message done", Unit::Micros, runs.pair_cpu),
        Figure::new(NAME, "resident after it", Unit::Mebibytes, runs.resident),
        Figure::new(NAME, "until the first message after a start", Unit::Seconds, runs.until_read),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_what_the_server_takes() {
        let batch: dogwatch::api::NewMessages = serde_json::from_str(&batch(7)).unwrap();
        assert_eq!(batch.messages.len() as u64, BATCH);
        assert_eq!(batch.messages[0].body["order"], "0000000007");
    }
}
