//! The command line: one verb, one file.
//!
//! Responsible for: reading arguments, calling the client or the server, and showing what came. Not
//! responsible for: any rule about jobs.
//!
//! Invariants: data goes to standard output and everything else to standard error; `--json` prints exactly
//! what the API sent; the exit code is one of [`exit`]'s; nothing that a job or a user named reaches a
//! terminal unescaped, but for logs, which pass as they are.

mod admission;
mod array;
mod artifacts;
mod context;
mod error;
pub mod exit;
mod follow;
mod human;
mod output;
pub mod spec_args;
mod table;

mod backup;
mod command;
mod completions;
mod config;
mod demo;
mod doctor;
mod events;
mod logs;
mod pool;
mod ps;
mod purge;
mod queue;
mod raise;
mod restore;
mod run;
mod schedule;
mod serve;
mod show;
mod store_check;
mod submit;
mod trigger;
mod usage;
mod wait;
mod webhooks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use dogwatch_actors::handle::Command as JobCommand;

use crate::serve::assemble::Shim;
use context::Context;
pub use error::Error;
use exit::Exit;

/// A durable job supervisor: containers and processes, watched, restarted, called back, never lost.
#[derive(Debug, Parser)]
#[command(name = "dogwatch", version, about, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Exit codes of run and wait: the job's own; 124 timeout, 125 dogwatch's own fault, \
    130 interrupted, 2 usage, 3 not found, 4 not allowed.")]
pub struct Cli {
    /// What all commands have in common.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What all commands have in common.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// The server's address [env: DOGWATCH_URL; default: the one that runs on the data directory]
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// Where everything durable is kept [env: DOGWATCH_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// A configuration file
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the API's own JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    #[command(
        after_help = "Exit codes: 0 after SIGTERM or SIGINT, which leave every attempt running; 70 a part that \
        everything needs panicked too often (start again, and report it); 74 the disk failed under the store, \
        nothing was acknowledged since (start again: what is there is checked then); 125 any other fault of \
        dogwatch; 2 usage. A full disk ends nothing: work is refused until there is space."
    )]
    Serve(serve::ServeArgs),
    /// Run a job, follow its output and exit with its code
    Run(Box<run::RunArgs>),
    /// Submit a job and print its id
    Submit(Box<submit::SubmitArgs>),
    /// List jobs, newest first
    Ps(ps::PsArgs),
    /// Show one job
    Show(JobArg),
    /// Print the output of a job
    Logs(logs::LogsArgs),
    /// List the files that a job left, or download them
    Artifacts(artifacts::ArtifactsArgs),
    /// Print what happened, to one job or to all
    Events(events::EventsArgs),
    /// Wait until a job is over and exit with its code
    Wait(wait::WaitArgs),
    /// Stop a job for good
    Cancel(JobsArg),
    /// Run a failed or cancelled job again
    Retry(JobsArg),
    /// Stop a job and keep it
    Suspend(JobsArg),
    /// Let a suspended job go on
    Resume(JobsArg),
    /// Stop the attempt of a job and start a new one
    Restart(JobsArg),
    /// Raise an event to a job
    Raise(raise::RaiseArgs),
    /// Show how the telling of a job's end is going, or try again
    Webhooks(webhooks::WebhooksArgs),
    /// Delete jobs that are over, with all that was kept of them
    #[command(visible_alias = "rm")]
    Purge(JobsArg),
    /// Declare queues, send messages to them, and look at their dead letters
    #[command(subcommand)]
    Queue(Box<queue::QueueCommand>),
    /// Declare pools of workers, and look at them
    #[command(subcommand)]
    Pool(pool::PoolCommand),
    /// Declare and look at schedules: times at which something is started
    Schedule(schedule::ScheduleArgs),
    /// Declare and look at triggers: files, requests and messages, for each of which something is started
    Trigger(trigger::TriggerArgs),
    /// Show who waits and who runs, by tenant and by concurrency key
    Admission,
    /// Show what was used: running time, CPU time and memory, by tenant, label or job
    Usage(usage::UsageArgs),
    /// Find out what works here and what does not
    Doctor(doctor::DoctorArgs),
    /// Write everything durable to one file, while the server works or when none runs
    Backup(backup::BackupArgs),
    /// Make a data directory of a backup
    Restore(restore::RestoreArgs),
    /// Print the configuration and where each value came from
    Config,
    /// Print the completions for a shell
    Completions(completions::CompletionsArgs),
    /// Show in twenty seconds what dogwatch promises
    Demo,
    /// The job of the demonstration
    #[command(hide = true)]
    DemoWorker,
}

/// One job.
#[derive(Debug, Args)]
pub struct JobArg {
    /// The job: its id, its name (then the newest of that name), or a part of its id
    #[arg(value_name = "JOB")]
    pub job: String,
}

/// Some jobs.
#[derive(Debug, Args)]
pub struct JobsArg {
    /// The jobs: ids, names or parts of ids
    #[arg(value_name = "JOB", required = true)]
    pub jobs: Vec<String>,
}

/// Runs the program on the arguments of the process.
pub fn main(shim: Shim) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors too; a pipe that is closed early is none of our faults.
            drop(error.print());
            return Exit::from_clap(&error).into();
        }
    };
    crate::client::install_tls();
    let outcome = actix_web::rt::System::new().block_on(Box::pin(dispatch(cli, shim)));
    outcome.unwrap_or_else(|error| error.report()).into()
}

async fn dispatch(cli: Cli, shim: Shim) -> Result<Exit, Error> {
    let Cli { global, command } = cli;
    // These two must work whatever the configuration says.
    match command {
        Command::Completions(args) => return completions::run(&args),
        Command::DemoWorker => return demo::worker::run().await,
        _ => {}
    }
    let flags = if let Command::Serve(args) = &command { args.flags() } else { Vec::new() };
    let context = Context::new(global, flags, shim)?;
    match command {
        Command::Serve(_) => serve::run(context).await,
        Command::Run(args) => run::run(context, *args).await,
        Command::Submit(args) => submit::run(&context, *args).await,
        Command::Ps(args) => ps::run(&context, args).await,
        Command::Show(args) => show::run(&context, &args.job).await,
        Command::Logs(args) => logs::run(&context, args).await,
        Command::Artifacts(args) => artifacts::run(&context, args).await,
        Command::Events(args) => events::run(&context, args).await,
        Command::Wait(args) => wait::run(&context, args).await,
        Command::Cancel(args) => command::run(&context, JobCommand::Cancel, &args.jobs).await,
        Command::Retry(args) => command::run(&context, JobCommand::Retry, &args.jobs).await,
        Command::Suspend(args) => command::run(&context, JobCommand::Suspend, &args.jobs).await,
        Command::Resume(args) => command::run(&context, JobCommand::Resume, &args.jobs).await,
        Command::Restart(args) => command::run(&context, JobCommand::Restart, &args.jobs).await,
        Command::Raise(args) => raise::run(&context, args).await,
        Command::Webhooks(args) => webhooks::run(&context, args).await,
        Command::Purge(args) => purge::run(&context, &args.jobs).await,
        Command::Queue(command) => queue::run(&context, *command).await,
        Command::Pool(command) => pool::run(&context, command).await,
        Command::Schedule(args) => schedule::run(&context, args).await,
        Command::Trigger(args) => trigger::run(&context, args).await,
        Command::Admission => admission::run(&context).await,
        Command::Usage(args) => usage::run(&context, args).await,
        Command::Doctor(args) if args.store => store_check::run(&context).await,
        Command::Doctor(_) => doctor::run(&context).await,
        Command::Backup(args) => backup::run(&context, &args).await,
        Command::Restore(args) => restore::run(&context, args).await,
        Command::Config => config::run(&context),
        Command::Demo => demo::run(&context).await,
        Command::Completions(_) | Command::DemoWorker => unreachable!("handled above"),
    }
}
