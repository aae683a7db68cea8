//! What operations cost in instructions of the server, counted by valgrind's callgrind: the same on every machine and at
//! every hour, so that a change of some per cent is seen where rates swing by half.
//!
//! Only what runs in user space is counted, on one emulated processor at a time: neither the kernel's part, which is about
//! half, nor what waits for memory. Hashes are computed without the processor's own instructions for them.

use std::path::Path;
use std::process::Command;

use crate::client::Client;
use crate::error::{Error, Result, file};
use crate::figure::{Figure, Unit};
use crate::ghost;
use crate::load::{self, Load, Until};
use crate::place::Place;
use crate::plan::Plan;
use crate::scenario::callbacks::{Callbacks, running_jobs};
use crate::server::{Program, Server};
use crate::workload::{CONNECTIONS, far_ahead, submit_all};

const NAME: &str = "instructions";

/// Jobs that run while they are called back.
const RUNNING: u64 = 200;

/// What is counted.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Submission,
    Callback,
    Event,
    Read,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Submission, Self::Callback, Self::Event, Self::Read];

    const fn name(self) -> &'static str {
        match self {
            Self::Submission => "of a durable submission",
            Self::Callback => "of a durable callback",
            Self::Event => "of an event raised over the API",
            Self::Read => "of a read of a job that is not in memory",
        }
    }
}

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let operations = plan.pick(2_000, 6_000, 20_000);
    let mut figures = Vec::new();
    for operation in Operation::ALL {
        let mut runs = Vec::new();
        for _ in 0..plan.runs {
            runs.push(of_requests(plan, operation, operations).await?);
        }
        figures.push(Figure::new(NAME, operation.name(), Unit::Count, runs));
    }
    let mut runs = Vec::new();
    for _ in 0..plan.runs {
        runs.push(of_transitions(plan, operations * 4)?);
    }
    figures.push(Figure::new(NAME, "of a transition with the in-memory store", Unit::Count, runs));
    Ok(figures)
}

/// The instructions of one of so many requests to a server.
async fn of_requests(plan: &Plan, operation: Operation, count: u64) -> Result<f64> {
    let (place, counts) = (plan.place(NAME)?, plan.place(NAME)?);
    let host = plan.host(RUNNING as usize);
    let program = Program {
        path: "valgrind".into(),
        arguments: callgrind(&plan.bench, &counts, true).into_iter().chain(host.arguments).collect(),
        environment: host.environment,
    };
    let mut server = Server::start(&program, place.path()).await.map_err(missing)?;
    let made = match operation {
        Operation::Submission => 1,
        Operation::Callback | Operation::Event => 0,
        Operation::Read => count,
    };
    let (_, stored) = submit_all(&server, &far_ahead(ghost::NAME), made).await?;
    let running = match operation {
        Operation::Callback | Operation::Event => running_jobs(&mut server, RUNNING).await?,
        Operation::Submission | Operation::Read => Vec::new(),
    };
    let callbacks = Callbacks::of(&server, &running)?;
    let submission = server.api.post("/v1/jobs", &far_ahead(ghost::NAME));
    let (address, expected) = match operation {
        Operation::Callback => (server.callback_address(), 200),
        Operation::Read => (server.api.address, 200),
        Operation::Submission | Operation::Event => (server.api.address, 202),
    };
    let request = |number: u64, bytes: &mut Vec<u8>| match operation {
        Operation::Submission => bytes.extend_from_slice(&submission),
        Operation::Callback => callbacks.write(number, bytes),
        Operation::Event => {
            let path = format!("/v1/jobs/{}/events/progress", running[number as usize % running.len()]);
            bytes.extend(server.api.post(&path, &format!(r#"{{"step":"{number:010}","unit":"rows"}}"#)));
        }
        Operation::Read => {
            bytes.extend(server.api.get(&format!("/v1/jobs/{}", stored[number as usize % stored.len()])));
        }
    };
    let until = Until::Requests(count);
    count_it(server.pid(), "on")?;
    load::run(&Load {
        address,
        client: Client::Lean,
        connections: CONNECTIONS,
        until,
        expected,
        request: &request,
        answer: &load::ignore,
    })
    .await?;
    count_it(server.pid(), "off")?;
    server.end().await?;
    Ok(counted(&counts)? / count as f64)
}

/// The instructions of one of so many transitions: what more of them cost, so that the start is not counted.
fn of_transitions(plan: &Plan, count: u64) -> Result<f64> {
    let run = |events: u64| {
        let counts = plan.place(NAME)?;
        let mut command = Command::new("valgrind");
        command.args(callgrind(&plan.bench, &counts, false));
        command.args(["inside-mailbox", "--jobs", "500", "--events", &events.to_string(), "--tell"]);
        command.arg(counts.path().join("found.json"));
        let done = command.output().map_err(program("valgrind")).map_err(missing)?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            return Err(Error::Ended {
                program: "valgrind".to_owned(),
                status: done.status.to_string(),
                said,
            });
        }
        counted(&counts)
    };
    Ok((run(3 * count)? - run(count)?) / (2 * count) as f64)
}

/// The arguments of valgrind that count what `bench` does, from its start or when it is told to.
fn callgrind(bench: &Path, counts: &Place, is_told: bool) -> Vec<String> {
    let file = format!("--callgrind-out-file={}", counts.path().join("counts").display());
    let at_start = if is_told { "--instr-atstart=no" } else { "--instr-atstart=yes" };
    vec!["--tool=callgrind".to_owned(), at_start.to_owned(), file, bench.display().to_string()]
}

fn count_it(pid: u32, how: &str) -> Result<()> {
    let mut command = Command::new("callgrind_control");
    let done = command.args(["-i", how, &pid.to_string()]).output().map_err(program("callgrind_control"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(Error::Ended { program: "callgrind_control".to_owned(), status: done.status.to_string(), said })
}

/// What was counted in all.
fn counted(counts: &Place) -> Result<f64> {
    let path = counts.path().join("counts");
    let text = std::fs::read_to_string(&path).map_err(file(&path))?;
    let total = text.lines().filter_map(|line| line.strip_prefix("totals: ")).next_back();
    let total = total.and_then(|total| total.trim().parse::<f64>().ok()).filter(|total| *total > 0.0);
    total.ok_or_else(|| Error::Void(format!("{} tells of no instructions", path.display())))
}

fn program(name: &str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Program { program: name.to_owned(), source }
}

fn missing(error: Error) -> Error {
    match error {
        Error::Program { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Error::Missing { what: "valgrind", remedy: "`apt-get install valgrind`".to_owned() }
        }
        error => error,
    }
}
