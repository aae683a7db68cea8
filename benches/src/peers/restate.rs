//! Restate: one-way sends to a handler of one durable step, through its HTTP ingress.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{INSTALL_PATIENCE, free_port, run, sources};
use crate::child::{Child, until};
use crate::client::Client;
use crate::error::{Error, Result, file};
use crate::figure::{Figure, Unit};
use crate::http::Target;
use crate::load::{self, Load, Tally, Until};
use crate::plan::Plan;
use crate::workload::{CONNECTIONS, PROCESS, far_ahead};

/// How long it may take to answer, and to run what was sent.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is installed.
const PACKAGES: [&str; 2] = ["@restatedev/restate-server", "@restatedev/restate-sdk"];

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let root = plan.peers.join("restate");
    std::fs::create_dir_all(&root).map_err(file(&root))?;
    if native_server(&root).is_none() {
        let mut install = Command::new("npm");
        // Without their scripts, which count downloads.
        install
            .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
            .arg(&root)
            .args(PACKAGES);
        run(&mut install, &root.join("install.log"), INSTALL_PATIENCE).await?;
    }
    let (script, ours) = (root.join("restate_service.mjs"), sources().join("restate_service.mjs"));
    std::fs::copy(&ours, &script).map_err(file(ours))?;
    let sends = plan.pick(2_000, 10_000, 50_000);
    let (mut rates, mut p99, mut done) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let place = plan.place("restate")?;
        let (sent, whole) = one(&root, place.path(), sends).await?;
        rates.push(sent.rate());
        p99.push(sent.quantile(0.99));
        done.push(sends as f64 / whole.as_secs_f64());
    }
    Ok(vec![
        Figure::new(super::NAME, "Restate: one-way sends of 64 connections", Unit::PerSecond, rates),
        Figure::new(super::NAME, "Restate: one-way sends, p99", Unit::Millis, p99),
        Figure::new(super::NAME, "Restate: sends until all have run", Unit::PerSecond, done),
    ])
}

/// The server itself, in the package of this platform: the script around it would outlive us with it.
fn native_server(root: &Path) -> Option<PathBuf> {
    let packages = std::fs::read_dir(root.join("node_modules/@restatedev")).ok()?.flatten();
    packages.map(|package| package.path().join("bin/restate-server")).find(|path| path.is_file())
}

/// The sends, and how long it took until all had run.
async fn one(root: &Path, dir: &Path, sends: u64) -> Result<(Tally, Duration)> {
    let service_port = free_port()?;
    let (ingress, admin, node) = (free_port()?, free_port()?, free_port()?);
    let mut service = Command::new("node");
    service.arg(root.join("restate_service.mjs")).arg(service_port.to_string());
    let _service = Child::start(&mut service, &dir.join("service.log"))?;
    let missing =
        || Error::Missing { what: "restate-server", remedy: format!("see {}/install.log", root.display()) };
    let mut server = Command::new(native_server(root).ok_or_else(missing)?);
    server.arg("--base-dir").arg(dir.join("data")).current_dir(dir);
    server.env("RESTATE_INGRESS__BIND_ADDRESS", format!("127.0.0.1:{ingress}"));
    server.env("RESTATE_ADMIN__BIND_ADDRESS", format!("127.0.0.1:{admin}"));
    server.env("RESTATE_BIND_ADDRESS", format!("127.0.0.1:{node}"));
    server.env("RESTATE_ADVERTISED_ADDRESS", format!("http://127.0.0.1:{node}"));
    server.env("RESTATE_LOG_FILTER", "warn").env("DO_NOT_TRACK", "1");
    let mut server = Child::start(&mut server, &dir.join("restate.log"))?;
    let admin = Target::new(&format!("http://127.0.0.1:{admin}"), "none")?;
    let register = json!({"uri": format!("http://127.0.0.1:{service_port}")}).to_string();
    until("Restate takes the service", PATIENCE, async || {
        server.check()?;
        Ok(admin.ask(&admin.post("/deployments", &register), 201).await.ok())
    })
    .await?;
    let target = Target::new(&format!("http://127.0.0.1:{ingress}"), "none")?;
    let request = target.post("/bench/one/send", &far_ahead(PROCESS));
    let started = Instant::now();
    let sent = load::run(&Load {
        address: target.address,
        client: Client::Lean,
        connections: CONNECTIONS,
        until: Until::Requests(sends),
        expected: 202,
        request: &|_, bytes| bytes.extend_from_slice(&request),
        answer: &load::ignore,
    })
    .await?;
    let query = json!({"query": "SELECT count(*) AS open FROM sys_invocation WHERE status <> 'completed'"})
        .to_string();
    // Answered as JSON only when it is asked for.
    let ask = String::from_utf8_lossy(&admin.post("/query", &query)).replacen(
        "\r\n",
        "\r\naccept: application/json\r\n",
        1,
    );
    until("all have run", PATIENCE, async || {
        server.check()?;
        let found = admin.ask(ask.as_bytes(), 200).await?;
        Ok((found["rows"][0]["open"] == 0).then_some(()))
    })
    .await?;
    Ok((sent, started.elapsed()))
}
