//! `run`: submit a job, follow its output, exit with its code.
//!
//! Uses the server that runs; where there is none, this process becomes it for as long as its job runs, and
//! when the server it uses goes away before that, it becomes the server too. The lock on the data directory
//! decides between several who want to; the submission has an idempotency key, so that none of this can make
//! a second job.

use std::path::PathBuf;

use clap::Args;
use dogwatch_actors::id::{Ids as _, JobId, RandomIds};
use dogwatch_actors::job::view::{JobState, JobView};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::context::Context;
use super::exit::Exit;
use super::follow::{Follower, Sink};
use super::spec_args::{self, JobFlags, ProcessSurroundings, What};
use super::{Error, output};
use crate::client::{self, Answer, Client};
use crate::limits::{CLIENT_RECONNECT_EVERY, CLIENT_RECONNECT_MAX, SERVER_START_MAX};
use crate::serve::embedded::{self, Outcome};
use crate::serve::signals::StopSignals;
use crate::serve::{self, Server};

/// The arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The container image; without one the job is a process: `run -- CMD ARGS`
    #[arg(value_name = "IMAGE")]
    pub image: Option<String>,
    /// What the job is
    #[command(flatten)]
    pub flags: JobFlags,
    /// A file with the rest of the spec, JSON, TOML or YAML; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    /// Submit, print the id and do not wait
    #[arg(short, long)]
    pub detach: bool,
    /// Say nothing of our own on standard error while all is well
    #[arg(short, long)]
    pub quiet: bool,
    /// The arguments of the container, or the process and its arguments
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

pub(super) async fn run(context: Context, args: RunArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let spec = spec(&context, &args)?;
    if args.detach {
        let answer = context.client()?.submit(&spec, args.flags.idempotency_key.as_deref()).await?;
        output::data(&if context.json { answer.raw } else { answer.value.id.to_string() })?;
        return Ok(Exit::OK);
    }
    let mut signals = StopSignals::listen().map_err(serve::Error::Signals)?;
    let mut run = Run::new(&context, spec, &args);
    let outcome = tokio::select! {
        outcome = run.drive() => outcome.map(Some),
        _ = signals.next() => Ok(None),
    };
    let (job, server) = (run.job, run.server.take());
    let was_embedded = server.is_some();
    if let Some(server) = server {
        server.shutdown().await;
    }
    match outcome? {
        Some(answer) => finish(&context, &answer, args.quiet),
        None => {
            interrupted(job, was_embedded);
            Ok(Exit::INTERRUPTED)
        }
    }
}

fn spec(context: &Context, args: &RunArgs) -> Result<Value, Error> {
    if args.image.is_none() && args.args.is_empty() && args.spec.is_none() {
        let usage = "what should run? `dogwatch run IMAGE [-- ARGS]` for a container, `dogwatch run -- CMD ARGS` for a process";
        return Err(Error::Usage(usage.to_owned()));
    }
    let base = args.spec.as_deref().map_or_else(|| Ok(Map::new()), spec_args::read)?;
    let here = std::env::current_dir().ok().and_then(|dir| dir.to_str().map(str::to_owned));
    // A server that was named may be on another machine, where this directory means nothing.
    let here = here.as_deref().filter(|_| !context.locator.is_named());
    let what = What { image: args.image.as_deref(), args: &args.args, here };
    spec_args::build(base, what, &args.flags, &ProcessSurroundings)
}

struct Run<'a> {
    context: &'a Context,
    spec: Value,
    key: String,
    quiet: bool,
    job: Option<JobId>,
    follower: Follower,
    server: Option<Box<Server>>,
}

impl<'a> Run<'a> {
    fn new(context: &'a Context, spec: Value, args: &RunArgs) -> Self {
        let key =
            args.flags.idempotency_key.clone().unwrap_or_else(|| RandomIds.installation_id().to_string());
        // With --json standard output is the API's object alone.
        let sink = if context.json { Sink::Error } else { Sink::Out };
        let follower = Follower::new(sink, !context.locator.is_named());
        Self { context, spec, key, quiet: args.quiet, job: None, follower, server: None }
    }

    /// The job when it is over, with whatever server it takes.
    async fn drive(&mut self) -> Result<Answer<JobView>, Error> {
        loop {
            let client = self.connect().await?;
            match self.with(&client).await {
                Ok(job) => return Ok(job),
                Err(error) if error.is_passing() => {
                    tracing::info!(%error, "the server went away; looking for another one");
                    if let Some(server) = self.server.take() {
                        server.shutdown().await;
                    }
                    sleep(CLIENT_RECONNECT_EVERY).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn with(&mut self, client: &Client) -> client::Result<Answer<JobView>> {
        let id = match self.job {
            Some(id) => id,
            None => {
                let id = client.submit(&self.spec, Some(&self.key)).await?.value.id;
                if !self.quiet {
                    output::note(&format!("dogwatch: job {id}"));
                }
                *self.job.insert(id)
            }
        };
        self.follower.follow(client, id).await
    }

    /// A client of a server that answers; when there is none, this process becomes it.
    async fn connect(&mut self) -> Result<Client, Error> {
        let locator = &self.context.locator;
        // A job that was submitted is worth some patience; before that a wrong address is said at once.
        let patience = match (locator.is_named(), self.job) {
            (true, Some(_)) => CLIENT_RECONNECT_MAX,
            (true, None) => return Ok(locator.client()?),
            (false, _) => SERVER_START_MAX,
        };
        let deadline = Instant::now() + patience;
        loop {
            match locator.client() {
                Ok(client) if client.is_alive().await => return Ok(client),
                Ok(client) if locator.is_named() && Instant::now() >= deadline => return Ok(client),
                Err(error) if !error.is_gone() => return Err(error.into()),
                _ => {}
            }
            if !locator.is_named() && self.server.is_none() {
                match embedded::start(&self.context.loaded, self.context.shim.clone()).await? {
                    Outcome::Started(server) => {
                        tracing::info!(api = %server.addresses().api, "this process is the server now");
                        self.server = Some(server);
                        continue;
                    }
                    Outcome::Taken if Instant::now() >= deadline => {
                        return Err(Error::SilentServer(self.context.loaded.data_dir().to_owned()));
                    }
                    Outcome::Taken => {}
                }
            }
            sleep(CLIENT_RECONNECT_EVERY).await;
        }
    }
}

/// Prints the end of a job and turns it into our own.
pub(super) fn finish(context: &Context, answer: &Answer<JobView>, quiet: bool) -> Result<Exit, Error> {
    let job = &answer.value;
    if context.json {
        output::data(&answer.raw)?;
    }
    if job.state != JobState::Succeeded {
        let cause = job.cause.map_or("unknown", |cause| cause.name());
        let message = job.message.as_deref().unwrap_or("no more is known");
        output::note(&format!("dogwatch: job {} {}: {cause}: {message}", job.id, job.state.name()));
        if !quiet {
            output::note(&format!(
                "dogwatch: see `dogwatch show {}`; run it again with `dogwatch retry {0}`",
                job.id
            ));
        }
    }
    Ok(Exit::from_job(job))
}

fn interrupted(job: Option<JobId>, was_embedded: bool) {
    match job {
        None => output::note("dogwatch: interrupted before the job was submitted"),
        Some(id) if was_embedded => output::note(&format!(
            "dogwatch: interrupted; what runs of job {id} goes on. Nobody supervises it until `dogwatch serve` (or another `dogwatch run`) does; then `dogwatch wait {id}` follows it and `dogwatch cancel {id}` stops it"
        )),
        Some(id) => output::note(&format!(
            "dogwatch: interrupted; job {id} goes on. `dogwatch wait {id}` waits for it, `dogwatch logs -f {id}` follows it, `dogwatch cancel {id}` stops it"
        )),
    }
}
