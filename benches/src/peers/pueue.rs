//! pueue: a daemon that runs shell commands from a queue. Its interface is a program, so an enqueue is a process.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use super::{INSTALL_PATIENCE, run};
use crate::child::{Child, until};
use crate::error::{Error, Result, file};
use crate::figure::{Figure, Unit};
use crate::floor_spawn;
use crate::plan::Plan;

/// How long it may take to answer, and to run all tasks.
const PATIENCE: Duration = Duration::from_secs(300);

/// Clients, and tasks at a time.
const CLIENTS: usize = 64;
const PARALLELISM: usize = 8;

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let root = plan.peers.join("pueue");
    std::fs::create_dir_all(&root).map_err(file(&root))?;
    if !root.join("bin/pueued").is_file() {
        let mut install = Command::new("cargo");
        install.args(["install", "pueue", "--locked", "--root"]).arg(&root);
        run(&mut install, &root.join("install.log"), INSTALL_PATIENCE).await?;
    }
    let tasks = plan.pick(100, 400, 1_000);
    let (mut enqueued, mut done) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let place = plan.place("pueue")?;
        let (adding, whole) = one(&root, place.path(), tasks).await?;
        enqueued.push(tasks as f64 / adding.as_secs_f64());
        done.push(tasks as f64 / whole.as_secs_f64());
    }
    Ok(vec![
        Figure::new(super::NAME, "pueue: enqueues of 64 clients", Unit::PerSecond, enqueued),
        Figure::new(
            super::NAME,
            format!("pueue: tasks of /bin/true, {PARALLELISM} at a time"),
            Unit::PerSecond,
            done,
        ),
    ])
}

/// How long adding took, and all of it.
async fn one(root: &Path, dir: &Path, tasks: u64) -> Result<(Duration, Duration)> {
    let config = dir.join("pueue.yml");
    let text = format!(
        "shared:\n  pueue_directory: {dir}\n  runtime_directory: {dir}\n  use_unix_socket: true\n\
         client: {{}}\ndaemon: {{}}\n",
        dir = dir.display()
    );
    std::fs::write(&config, text).map_err(file(&config))?;
    let config = config.display().to_string();
    let client = root.join("bin/pueue").display().to_string();
    let ask = |words: &[&str]| {
        let output = Command::new(&client).args(["--config", &config]).args(words).output();
        output.map_err(|source| Error::Program { program: client.clone(), source })
    };
    let mut daemon = Command::new(root.join("bin/pueued"));
    let mut daemon = Child::start(daemon.args(["--config", &config]), &dir.join("pueued.log"))?;
    until("pueued answers", PATIENCE, async || {
        daemon.check()?;
        Ok(ask(&["status"])?.status.success().then_some(()))
    })
    .await?;
    ask(&["parallel", &PARALLELISM.to_string()])?;
    let started = Instant::now();
    let words = ["--config", &config, "add", "--", "/bin/true"];
    floor_spawn::rate(&client, &words, tasks, CLIENTS)?;
    let added = started.elapsed();
    until("all tasks are over", PATIENCE, async || {
        let status = ask(&["status", "--json"])?;
        let text = String::from_utf8_lossy(&status.stdout);
        Ok((!text.contains("\"Queued\"") && !text.contains("\"Running\"")).then_some(()))
    })
    .await?;
    Ok((added, started.elapsed()))
}
