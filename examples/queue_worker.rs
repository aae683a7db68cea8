//! A worker of a queue: it makes a row of data of each message, ten messages at a time.
//!
//! A pool starts it while the queue holds messages, as a process or in a container, and stops it when there is nothing
//! left to do. Where the queue is, and with which token it may work on it, it finds in its environment:
//!
//! ```text
//! PUT /v1/queues/rows
//! PUT /v1/pools/generating
//! {"queue": "rows", "job": {"args": ["/usr/local/bin/queue_worker"]}, "min": 0, "max": 20, "per_instance": 50}
//! ```
//!
//! Whatever happens to it, no message is lost: one that it does not acknowledge comes back when its lease is over.

use std::env::var;
use std::error::Error;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Received {
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    id: String,
    receipt: String,
    deliveries: u32,
    body: Row,
}

/// What is asked for: a row of this number. Some fail at first, to show what becomes of them.
#[derive(Deserialize)]
struct Row {
    number: u64,
    #[serde(default)]
    fails: u32,
}

/// Makes the row, or says why there is none.
fn generate(row: &Row, deliveries: u32) -> Result<Value, String> {
    if deliveries <= row.fails {
        return Err(format!("row {} cannot be made, try {deliveries}", row.number));
    }
    Ok(json!({ "number": row.number, "square": row.number * row.number }))
}

struct Queue {
    http: Client,
    url: String,
    token: String,
}

impl Queue {
    async fn ask(&self, path: &str, body: &Value) -> Result<Option<String>, reqwest::Error> {
        let request = self.http.post(format!("{}/{path}", self.url)).bearer_auth(&self.token).json(body);
        let answer = request.send().await?;
        // Its lease is over: somebody else has the message by now.
        if answer.status() == StatusCode::GONE {
            return Ok(None);
        }
        answer.error_for_status()?.text().await.map(Some)
    }

    /// Takes what there is, does it, and tells what came of it.
    async fn work(&self) -> Result<(), Box<dyn Error>> {
        let asked = json!({ "max": 10, "lease": "10s", "wait": "20s" });
        let answer = self.ask("receive", &asked).await?.unwrap_or_default();
        let Received { messages } = serde_json::from_str(&answer)?;
        let mut done = Vec::new();
        for Message { id, receipt, deliveries, body } in messages {
            match generate(&body, deliveries) {
                Ok(row) => done.push(json!({ "id": id, "receipt": receipt, "result": row })),
                Err(error) => {
                    let back = json!({ "receipt": receipt, "error": error });
                    self.ask(&format!("messages/{id}/nack"), &back).await?;
                }
            }
        }
        while !done.is_empty() {
            // What is not told is done again by somebody else; so it is told until somebody hears it.
            match self.ask("ack", &json!({ "messages": done })).await {
                Err(error) if error.is_connect() => pause().await,
                told => {
                    told?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    dogwatch::client::install_tls();
    let url = var("DOGWATCH_QUEUE_URL").map_err(|_| "start it as an instance of a pool")?;
    let http = Client::builder().no_proxy().timeout(Duration::from_secs(40)).build()?;
    let queue = Queue { http, url, token: var("DOGWATCH_QUEUE_TOKEN")? };
    loop {
        // A server that is started again is there again in a moment.
        if let Err(error) = queue.work().await {
            eprintln!("{error}; trying again");
            pause().await;
        }
    }
}
