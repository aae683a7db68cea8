//! Data is generated from a queue by a pool of workers, while the server is killed twice.
//!
//! `DOGWATCH_PROVE_MESSAGES` says how many messages; 600 where it does not, all 6,000 among the proofs.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{declare, put, receive, send};
use crate::bench::{Bench, On};
use crate::examples::program;

/// Those that fail whenever they are tried.
const HOPELESS: u64 = 10;

fn message(number: u64) -> Value {
    let fails = match number {
        // Whatever it takes.
        number if number < HOPELESS => 1_000,
        // One of a hundred fails twice.
        number if number % 100 == 50 => 2,
        _ => 0,
    };
    json!({ "body": { "number": number, "fails": fails } })
}

async fn instances(bench: &Bench) -> usize {
    bench.get("/v1/pools/generating").await["instances"].as_array().unwrap().len()
}

async fn done(bench: &Bench) -> u64 {
    bench.get("/v1/queues/rows").await["acknowledged_total"].as_u64().unwrap()
}

/// Waits for so many; more patient than a bench is with anything else.
async fn until_done(bench: &Bench, count: u64) {
    let mut before = 0;
    loop {
        // As long as some more are done each time, it goes on.
        before = bench
            .eventually("more rows are made", async || Some(done(bench).await).filter(|now| *now > before))
            .await;
        if before >= count {
            return;
        }
    }
}

#[actix_web::test]
async fn every_row_is_made_once_and_what_cannot_be_made_is_told() {
    let count: u64 = std::env::var("DOGWATCH_PROVE_MESSAGES").map_or(600, |text| text.parse().unwrap());
    let mut bench = Bench::start(On::Process).await;
    declare(&bench, "rows", json!({ "max_deliveries": 5, "lease": "30s", "keep_results": "1d" })).await;
    let job = json!({ "args": [program("queue_worker")], "stop_grace": "5s" });
    let pool =
        json!({ "queue": "rows", "job": job, "min": 4, "max": 20, "per_instance": 20, "idle": "500ms" });
    let (status, answer) = put(&bench, "/v1/pools/generating", &pool).await;
    assert_eq!(status, 201, "{answer}");
    let numbers: Vec<u64> = (0..count).collect();
    for some in numbers.chunks(100) {
        let batch = some.iter().map(|number| message(*number)).collect::<Vec<_>>();
        send(&bench, "rows", &json!({ "messages": batch })).await;
    }
    bench.eventually("there are more workers", async || (instances(&bench).await > 4).then_some(())).await;
    for part in [1, 2] {
        until_done(&bench, count * part / 4).await;
        bench.restart(Signal::KILL).await;
    }
    until_done(&bench, count - HOPELESS).await;
    let settled = async || {
        let queue = bench.get("/v1/queues/rows").await;
        (queue["depth"] == 0 && queue["dead"] == HOPELESS).then_some(queue)
    };
    let queue = bench.eventually("everything is done or dead", settled).await;
    assert_eq!(queue["sent_total"], count, "{queue}");
    assert_eq!(queue["acknowledged_total"], count - HOPELESS, "none is acknowledged twice: {queue}");

    let page = bench.get("/v1/queues/rows/dead").await;
    assert_eq!(page["messages"].as_array().unwrap().len() as u64, HOPELESS, "{page}");
    for (number, letter) in (0..).zip(page["messages"].as_array().unwrap()) {
        // A delivery that was on its way when the server was killed is one that nobody heard of.
        let told = [format!("row {number} cannot be made, try 5"), "its lease ran out".to_owned()];
        let error = letter["last_error"].as_str().unwrap();
        assert!(told.iter().any(|told| error.starts_with(told)), "{letter}");
        assert_eq!(letter["deliveries"], 5, "{letter}");
    }
    let mut rows = BTreeSet::new();
    for id in 1..=count {
        let message = bench.get(&format!("/v1/queues/rows/messages/{id}")).await;
        if message["state"] == "done" {
            let number = message["result"]["number"].as_u64().unwrap();
            assert_eq!(message["result"]["square"], number * number, "{message}");
            assert!(rows.insert(number), "row {number} is there twice");
        }
    }
    assert_eq!(rows, (HOPELESS..count).collect());

    // Down to the least, and to nothing where nothing is the least.
    let mut none = pool.clone();
    none["min"] = json!(0);
    put(&bench, "/v1/pools/generating", &none).await;
    bench.eventually("zero again", async || (instances(&bench).await == 0).then_some(())).await;
    let report = bench.get("/v1/store").await;
    assert_eq!(report["ok"], json!(true), "{report}");
}

#[actix_web::test]
async fn a_worker_in_shell_does_it_too_and_what_one_that_dies_had_is_there_for_the_next() {
    let bench = Bench::start(On::Process).await;
    declare(&bench, "letters", json!({ "lease": "10m", "max_deliveries": 2 })).await;
    let worker = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/queue_worker.sh");
    let broken =
        json!({ "args": ["sh", "-c", format!("sed 's/^    id=.*/    exit 3/' {} | sh", worker.display())] });
    let pool = |job: Value| json!({ "queue": "letters", "job": job, "max": 1, "idle": "200ms" });
    send(&bench, "letters", &json!({ "body": "hello" })).await;
    put(&bench, "/v1/pools/shouting", &pool(broken)).await;
    bench
        .eventually("the worker died over it and it is there again", async || {
            let queue = bench.get("/v1/queues/letters").await;
            (queue["lease_expired_total"].as_u64() >= Some(1)).then_some(())
        })
        .await;
    // Mended, and the message delivered once more should it have died of its workers meanwhile.
    put(&bench, "/v1/pools/shouting", &pool(json!({ "args": [worker] }))).await;
    bench
        .eventually("the letter is shouted", async || {
            bench.post("/v1/queues/letters/dead/requeue", &Value::Null).await;
            let letter = bench.get("/v1/queues/letters/messages/1").await;
            (letter["result"] == "HELLO").then_some(())
        })
        .await;
    send(&bench, "letters", &json!({ "body": 7 })).await;
    bench
        .eventually("what is no letter is a dead one", async || {
            let page = bench.get("/v1/queues/letters/dead").await;
            (page["messages"][0]["last_error"] == "it is no text").then_some(())
        })
        .await;
    bench
        .eventually("the pool is empty", async || {
            let pool = bench.get("/v1/pools/shouting").await;
            (pool["instances"] == json!([])).then_some(())
        })
        .await;
    assert_eq!(receive(&bench, "letters", json!({ "max": 10 })).await, Vec::<Value>::new());
}
