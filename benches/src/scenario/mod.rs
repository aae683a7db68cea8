//! What is measured, by name.

mod callbacks;
mod containers;
mod disk;
mod durable_task;
mod growth;
mod instructions;
mod mailbox;
mod memory;
mod orchestrations;
mod process;
mod queues;
mod reads;
mod recovery;
mod stores;
mod submit;
mod timers;

use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::peers;
use crate::plan::Plan;

/// All that run when none is named.
const ALL: &[&str] = &[
    "submit",
    "callbacks",
    "reads",
    "process",
    "queues",
    "mailbox",
    "orchestrations",
    "durable-task",
    "memory",
    "timers",
    "recovery",
    "growth",
    "disk",
    "containers",
    "stores",
];

/// Those that run only when they are named.
const NAMED: &[&str] = &["instructions", "peers", "restate", "rq", "docker-run", "duroxide", "pueue"];

/// The scenarios of these names; of none, all.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static str>> {
    let known = || ALL.iter().chain(NAMED).copied();
    let find = |name: &String| {
        let unknown = || {
            Error::Void(format!("there is no `{name}`; there are {}", known().collect::<Vec<_>>().join(", ")))
        };
        known().find(|known| known == name).ok_or_else(unknown)
    };
    if names.is_empty() { Ok(ALL.to_vec()) } else { names.iter().map(find).collect() }
}

/// Measures one.
pub(crate) async fn run(name: &str, plan: &Plan) -> Result<Vec<Figure>> {
    match name {
        "submit" => submit::measure(plan).await,
        "callbacks" => callbacks::measure(plan).await,
        "reads" => reads::measure(plan).await,
        "process" => process::measure(plan).await,
        "queues" => queues::measure(plan).await,
        "mailbox" => mailbox::measure(plan).await,
        "orchestrations" => orchestrations::measure(plan).await,
        "durable-task" => durable_task::measure(plan).await,
        "memory" => memory::measure(plan).await,
        "timers" => timers::measure(plan).await,
        "recovery" => recovery::measure(plan).await,
        "growth" => growth::measure(plan).await,
        "disk" => disk::measure(plan).await,
        "containers" => containers::measure(plan).await,
        "stores" => stores::measure(plan).await,
        "instructions" => instructions::measure(plan).await,
        "peers" => peers::measure(plan).await,
        "restate" | "rq" | "docker-run" | "duroxide" | "pueue" => peers::measure_one(name, plan).await,
        _ => Err(Error::Void(format!("there is no `{name}`"))),
    }
}
