//! What people would pick instead, installed from its own registry and measured on the same machine in the same run.
//!
//! Not responsible for: making them look good or bad. Each is used as its documentation says, with the settings
//! that make an acknowledgement durable where there are any; what is not comparable is said in
//! `docs/performance.md`.

mod docker_run;
mod duroxide;
mod pueue;
mod restate;
pub(crate) mod rq;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::child::Child;
use crate::error::{Error, Result, file};
use crate::figure::Figure;
use crate::plan::Plan;

/// The name of all of them together.
const NAME: &str = "peers";

/// How long an installation may take: some are compiled.
const INSTALL_PATIENCE: Duration = Duration::from_secs(1_800);

/// Measures all of them. One that cannot be had here is said and left out.
pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for peer in ["restate", "rq", "docker-run", "duroxide", "pueue"] {
        eprintln!("bench: peers: {peer}");
        match measure_one(peer, plan).await {
            Ok(more) => figures.extend(more),
            Err(error) => eprintln!("bench: peers: {peer} is left out: {error}"),
        }
    }
    Ok(figures)
}

/// Measures one.
pub(crate) async fn measure_one(peer: &str, plan: &Plan) -> Result<Vec<Figure>> {
    match peer {
        "restate" => restate::measure(plan).await,
        "rq" => rq::measure(plan).await,
        "docker-run" => docker_run::measure(plan).await,
        "duroxide" => duroxide::measure(plan).await,
        "pueue" => pueue::measure(plan).await,
        _ => Err(Error::Void(format!("there is no peer called {peer}"))),
    }
}

/// Where the sources of the peers' programs are.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// Runs a program to its end; everything that it prints goes to `log`.
async fn run(command: &mut Command, log: &Path, patience: Duration) -> Result<()> {
    Child::start(command, log)?.finish(patience).await
}

/// The JSON object on the last line of a program's output that is one.
fn last_json(log: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(log).map_err(file(log))?;
    let found = text.lines().rev().find_map(|line| serde_json::from_str(line).ok().filter(Value::is_object));
    found.ok_or_else(|| Error::Answer { member: "JSON", answer: text.chars().take(300).collect() })
}

/// This member as a number.
fn number(found: &Value, member: &'static str) -> Result<f64> {
    found[member].as_f64().ok_or_else(|| Error::Answer { member, answer: found.to_string() })
}

/// A port that is free at the moment.
fn free_port() -> Result<u16> {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = socket.map_err(|source| Error::Connection { what: "a free port".to_owned(), source })?;
    Ok(address.port())
}
