//! The way back after kill -9: with many stored jobs, some of them waiting and some running as real processes.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::child::until;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::figure::{Figure, Reach, Unit};
use crate::load::{self, Load, Until};
use crate::place::Place;
use crate::plan::Plan;
use crate::server::{Program, Server};
use crate::workload::{CONNECTIONS, PROCESS, far_ahead, submit_all};

const NAME: &str = "recovery";

/// How long starting or ending the processes may take.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
struct Runs {
    api: Vec<f64>,
    ready: Vec<f64>,
    attached: Vec<f64>,
    resident: Vec<f64>,
}

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let (stored, waiting, running) =
        plan.pick((50_000, 5_000, 50), (1_000_000, 100_000, 1_000), (1_000_000, 100_000, 1_000));
    let place = plan.place(NAME)?;
    let program = plan.serve("process").with("DOGWATCH_FLEET__ATTEMPTS_MAX", running);
    let mut server = Server::start(&program, place.path()).await?;
    // They end by themselves should nobody be left to end them.
    let sleeping = json!({"args": ["sleep", "1800"], "stop_grace": "1s"}).to_string();
    let (_, sleepers) = submit_all(&server, &sleeping, running).await?;
    let filled = fill(&mut server, stored - waiting - running, waiting).await;
    let measured = match filled {
        Ok(one) => kill_and_start(plan, &program, &place, server, running, &one).await,
        Err(error) => Err(error),
    };
    // The processes outlive every server on purpose, so they are ended whatever came of the measurement.
    end_processes(&program, &place, &sleepers).await?;
    let runs = measured?;
    let what = |text: &str| format!("{text}, {stored} stored, {waiting} waiting, {running} running");
    Ok(vec![
        Figure::new(NAME, what("until the API answers"), Unit::Seconds, runs.api),
        Figure::new(NAME, what("until ready"), Unit::Seconds, runs.ready).reach(Reach::AtMost(3.0)),
        Figure::new(NAME, what("until all are re-attached"), Unit::Seconds, runs.attached)
            .reach(Reach::AtMost(10.0)),
        Figure::new(NAME, what("resident then"), Unit::Mebibytes, runs.resident),
    ])
}

/// Stores so many jobs that are over and so many that wait; the id of one that waits.
async fn fill(server: &mut Server, over: u64, waiting: u64) -> Result<String> {
    let (_, cancelled) = submit_all(server, &far_ahead(PROCESS), over).await?;
    cancel_all(server, &cancelled).await?;
    let (_, ids) = submit_all(server, &far_ahead(PROCESS), waiting).await?;
    server.none_in("starting", PATIENCE).await?;
    ids.into_iter().next().ok_or_else(|| Error::Void("nothing waits".to_owned()))
}

async fn cancel_all(server: &Server, ids: &[String]) -> Result<()> {
    let cancelling = Load {
        address: server.api.address,
        client: Client::Lean,
        connections: CONNECTIONS,
        until: Until::Requests(ids.len() as u64),
        expected: 202,
        request: &|number, bytes| {
            let path = format!("/v1/jobs/{}/cancel", ids[number as usize]);
            bytes.extend_from_slice(&server.api.post(&path, "{}"));
        },
        answer: &load::ignore,
    };
    load::run(&cancelling).await.map(drop)
}

async fn kill_and_start(
    plan: &Plan,
    program: &Program,
    place: &Place,
    mut server: Server,
    running: u64,
    one: &str,
) -> Result<Runs> {
    until("all run", PATIENCE, async || all_run(&server, running).await).await?;
    let mut runs = Runs::default();
    for _ in 0..plan.runs {
        server.kill();
        let started = Instant::now();
        server = Server::start(program, place.path()).await?;
        server.get(&format!("/v1/jobs/{one}")).await?;
        runs.api.push(started.elapsed().as_secs_f64());
        server.ready(PATIENCE).await?;
        runs.ready.push(started.elapsed().as_secs_f64());
        until("all are re-attached", PATIENCE, async || all_run(&server, running).await).await?;
        runs.attached.push(started.elapsed().as_secs_f64());
        runs.resident.push(server.usage().resident_mebibytes);
    }
    server.end().await?;
    Ok(runs)
}

async fn all_run(server: &Server, running: u64) -> Result<Option<()>> {
    let found = server.metric("dogwatch_attempts{state=\"running\"}").await?;
    Ok((found >= running as f64).then_some(()))
}

/// Cancels the jobs that run and waits until their processes are gone.
async fn end_processes(program: &Program, place: &Place, ids: &[String]) -> Result<()> {
    let mut server = Server::start(program, place.path()).await?;
    server.ready(PATIENCE).await?;
    cancel_all(&server, ids).await?;
    server.none_in("running,stopping,starting", PATIENCE).await?;
    server.end().await
}
