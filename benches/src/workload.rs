//! The requests of the measurements.

use serde_json::json;

use crate::client::Client;
use crate::error::Result;
use crate::load::{self, Load, Tally, Until};
use crate::server::{Server, id_in};

/// Connections of a load, each a client that waits for its answer.
pub(crate) const CONNECTIONS: usize = 64;

/// The length of a spec in bytes.
const SPEC_BYTES: usize = 500;

/// The runtime of the real server that specs name.
pub(crate) const PROCESS: &str = "process";

/// A spec of 500 bytes as users write them, whose first attempt is a year away or more.
pub(crate) fn far_ahead(runtime: &str) -> String {
    sized(json!({
        "name": "nightly-import", "runtime": runtime,
        "args": ["/usr/bin/etl", "--day", "2026-11-20", "--target", "postgres://reports.internal/warehouse"],
        "env": {"REGION": "eu-north-1", "BATCH_ROWS": "5000", "LOG_FORMAT": "json"},
        "labels": {"team": "data", "tier": "batch"},
        "start_at": "2099-01-01T00:00:00Z", "timeout": "6h", "max_attempts": 5,
    }))
}

/// A job whose attempts cost nothing and live so long; without a time until they are stopped.
pub(crate) fn ghost(life_millis: Option<u64>) -> serde_json::Value {
    let life = life_millis.map_or_else(|| "for ever".to_owned(), |millis| millis.to_string());
    json!({"args": [life], "runtime": crate::ghost::NAME, "labels": {"team": "data", "tier": "batch"}})
}

/// The spec with so much in its environment that it has the length of all.
pub(crate) fn sized(mut spec: serde_json::Value) -> String {
    spec["env"]["NOTE"] = json!("");
    let missing = SPEC_BYTES.saturating_sub(spec.to_string().len());
    spec["env"]["NOTE"] = json!("n".repeat(missing));
    spec.to_string()
}

/// Submits so many jobs of this spec and gives their ids.
pub(crate) async fn submit_all(server: &Server, spec: &str, count: u64) -> Result<(Tally, Vec<String>)> {
    let request = server.api.post("/v1/jobs", spec);
    let (tally, ids) = submit(server, count, &|_, bytes| bytes.extend_from_slice(&request)).await?;
    Ok((tally, ids.into_iter().map(|(_, id)| id).collect()))
}

/// Submits so many jobs, each with the spec of its number, and gives their numbers and ids.
pub(crate) async fn submit_each(
    server: &Server,
    count: u64,
    spec: &dyn Fn(u64) -> String,
) -> Result<(Tally, Vec<(u64, String)>)> {
    let request = |number, bytes: &mut Vec<u8>| bytes.extend(server.api.post("/v1/jobs", &spec(number)));
    submit(server, count, &request).await
}

async fn submit(
    server: &Server,
    count: u64,
    request: &dyn Fn(u64, &mut Vec<u8>),
) -> Result<(Tally, Vec<(u64, String)>)> {
    let ids = std::cell::RefCell::new(Vec::with_capacity(count as usize));
    let tally = load::run(&Load {
        address: server.api.address,
        client: Client::Lean,
        connections: CONNECTIONS,
        until: Until::Requests(count),
        expected: 202,
        request,
        answer: &|number, body| ids.borrow_mut().extend(id_in(body).map(|id| (number, id))),
    })
    .await?;
    Ok((tally, ids.into_inner()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_have_their_length() {
        for spec in [far_ahead(PROCESS), far_ahead(crate::ghost::NAME), sized(ghost(None))] {
            assert_eq!(spec.len(), SPEC_BYTES);
            let json = serde_json::from_str(&spec).unwrap();
            assert!(dogwatch_actors::job::parse::parse(&json).is_ok());
        }
    }
}
