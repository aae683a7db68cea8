//! Measures dogwatch beside what the machine allows (floors) and what people would pick instead (peers), in one
//! run on one machine. `docs/performance.md` says what each figure is; `cargo xtask bench` builds and runs it.
//!
//! Not responsible for: correctness, which the tests prove; a figure of something wrong is refused as void
//! where that can be seen.
//!
//! Invariants: all load goes to the loopback interface and ends by itself; every directory is removed; every
//! process that was started is ended.

mod child;
mod client;
mod error;
mod figure;
mod floor_append;
mod floor_engine;
mod floor_http;
mod floor_spawn;
mod ghost;
mod host;
mod http;
mod inside;
mod load;
mod machine;
mod orchestrations;
mod peers;
mod place;
mod plan;
mod scenario;
mod server;
mod worker;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use dogwatch::serve::own_process;
use dogwatch_actors::limits::JOBS_QUEUED_MAX;
use dogwatch_actors::store::Kind;
use serde_json::json;

use crate::error::{Error, Result, file};
use crate::figure::Figure;
use crate::plan::{Plan, Size};

/// As in the program itself, for the parts of it that run in this one; also in the bare handler.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "dogwatch-bench", about = "Measures dogwatch beside floors and peers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure
    Run(RunArgs),
    /// The bare HTTP server that others are held against
    #[command(hide = true)]
    FloorHttp {
        #[arg(long)]
        answer_bytes: usize,
        #[arg(long)]
        tell: PathBuf,
    },
    /// The API over attempts that cost nothing
    #[command(hide = true)]
    Host {
        #[arg(long, env = "DOGWATCH_DATA_DIR")]
        dir: PathBuf,
        #[arg(long)]
        attempts_max: usize,
        #[arg(long, default_value = "lsm")]
        store: String,
        #[arg(long, default_value_t = JOBS_QUEUED_MAX)]
        queued_max: usize,
    },
    /// A supervisor without HTTP and without a disk
    #[command(hide = true)]
    InsideMailbox {
        #[arg(long)]
        jobs: usize,
        #[arg(long)]
        events: u64,
        #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, std::num::NonZero::get))]
        threads: usize,
        #[arg(long)]
        tell: PathBuf,
    },
    /// Orchestrations without HTTP
    #[command(hide = true)]
    InsideOrchestrations {
        #[arg(long)]
        shape: orchestrations::Shape,
        #[arg(long)]
        count: u64,
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        tell: PathBuf,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Which scenarios; none: all but the peers
    names: Vec<String>,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Little of everything
    #[arg(long, conflicts_with = "long")]
    quick: bool,
    /// With as many stored jobs as fit
    #[arg(long)]
    long: bool,
    /// Where to write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// The program to measure; default: the one beside this one
    #[arg(long)]
    dogwatch: Option<PathBuf>,
    /// Where the directories of the measurements are made; must be on a real disk
    #[arg(long, default_value = "target/bench-data")]
    dir: PathBuf,
    /// Where programs to compare with are installed
    #[arg(long, default_value = "target/bench-peers")]
    peers: PathBuf,
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if !matches!(command, Command::Run(_) | Command::FloorHttp { .. }) {
        // As the real one does.
        own_process::prepare();
    }
    let outcome = match command {
        Command::Run(args) => measure(&args),
        Command::FloorHttp { answer_bytes, tell } => floor_http::serve(answer_bytes, &tell),
        Command::Host { dir, attempts_max, store, queued_max } => {
            kind(&store).and_then(|store| host::serve(&dir, attempts_max, store, queued_max))
        }
        Command::InsideMailbox { jobs, events, threads, tell } => {
            inside::mailbox(jobs, events, threads, &tell)
        }
        Command::InsideOrchestrations { shape, count, dir, tell } => {
            orchestrations::run(shape, count, &dir, &tell)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn kind(name: &str) -> Result<Kind> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| Error::Void(format!("there is no store called {name}")))
}

fn measure(args: &RunArgs) -> Result<()> {
    let plan = plan(args)?;
    let machine = machine::describe(&plan.base)?;
    eprintln!("bench: {}", machine::line(&machine));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::Program { program: "tokio".to_owned(), source })?;
    let names = scenario::chosen(&args.names)?;
    let measuring = async {
        let mut figures = Vec::new();
        let mut failed = Vec::new();
        for name in names {
            eprintln!("bench: {name}");
            match scenario::run(name, &plan).await {
                Ok(more) => {
                    eprintln!("{}", figure::table(&more));
                    figures.extend(more);
                }
                Err(error) => {
                    eprintln!("bench: {name}: {error}");
                    failed.push(format!("{name}: {error}"));
                }
            }
        }
        (figures, failed)
    };
    let measured = runtime.block_on(async {
        tokio::select! {
            measured = measuring => Some(measured),
            () = interrupted() => None,
        }
    });
    let Some((figures, failed)) = measured else { return Err(Error::Void("interrupted".to_owned())) };
    println!("{}\n\n{}", machine::line(&machine), figure::table(&figures));
    if let Some(path) = &args.json {
        write_json(path, &machine, &figures)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::Void(failed.join("; "))) }
}

fn plan(args: &RunArgs) -> Result<Plan> {
    let bench = std::env::current_exe().map_err(file("the bench itself"))?;
    let dogwatch = args.dogwatch.clone().unwrap_or_else(|| bench.with_file_name("dogwatch"));
    let dogwatch = std::fs::canonicalize(&dogwatch).map_err(file(dogwatch))?;
    let made = |path: &Path| {
        std::fs::create_dir_all(path).map_err(file(path))?;
        std::fs::canonicalize(path).map_err(file(path))
    };
    let size = match (args.quick, args.long) {
        (true, _) => Size::Quick,
        (_, true) => Size::Long,
        _ => Size::Usual,
    };
    let (base, peers) = (made(&args.dir)?, made(&args.peers)?);
    Ok(Plan { dogwatch, bench, base, peers, runs: args.runs.max(1), size })
}

fn write_json(path: &Path, machine: &serde_json::Value, figures: &[Figure]) -> Result<()> {
    let figures: Vec<_> = figures.iter().map(Figure::to_json).collect();
    let text = format!("{:#}\n", json!({"machine": machine, "figures": figures}));
    std::fs::write(path, text).map_err(file(path))
}

/// Resolves when this process is asked to end: then everything that was started is dropped, and so ended.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
