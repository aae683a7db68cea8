//! `demo`: shows on any machine what the promises mean, and fails when one of them does not hold.
//!
//! A supervisor is started as a child on a directory of its own, killed with SIGKILL in the middle of a job
//! and started again. The job (a container where an engine answers, else a process) must go on meanwhile, be
//! re-attached and not restarted, and complete by its callback. Everything is removed at the end.

mod bar;
mod image;
mod place;
mod server;
pub(super) mod worker;

use std::path::PathBuf;

use dogwatch_actors::data_dir::DataDir;
use dogwatch_actors::id::{AttemptKey, Ids as _, JobId, RandomIds};
use dogwatch_actors::job::view::{HistoryEntry, JobState, JobView};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::bar::Bar;
use self::place::Place;
use self::server::Server;
use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, Paint};
use super::{Error, events, output};
use crate::client::{Client, LogsQuery};
use crate::limits::{CLIENT_ATTEMPT_POLL, DEMO_MAX, DEMO_SERVER_MAX, DEMO_STEPS};
use crate::serve;
use crate::serve::signals::StopSignals;

/// The share of its work that the job has done when the supervisor is killed.
const KILL_AT_PERCENT: u64 = 40;

/// The steps that the job must do while there is no supervisor.
const STEPS_ALONE: u32 = 3;

pub(super) async fn run(context: &Context) -> Result<Exit, Error> {
    let mut signals = StopSignals::listen().map_err(serve::Error::Signals)?;
    let started = Instant::now();
    let mut stage = Stage::set(context).await?;
    let played = tokio::select! {
        played = timeout(DEMO_MAX, stage.play()) => {
            played.unwrap_or_else(|_| failed("it took too long")).map(|()| Exit::OK)
        }
        _ = signals.next() => Ok(Exit::INTERRUPTED),
    };
    let cleared = stage.clear().await;
    let exit = played?;
    cleared?;
    if exit == Exit::OK {
        stage.say(&format!("\nAll as promised, in {:.1} s. Try next:", started.elapsed().as_secs_f64()))?;
        output::data(NEXT)?;
    }
    Ok(exit)
}

const NEXT: &str = "  dogwatch run -- sh -c 'echo hello; exit 3'      a process: its output, its exit code
  dogwatch run busybox -- echo hello              the same in a container, where an engine runs
  dogwatch doctor                                 what works on this machine
  dogwatch serve                                  the server with its API; see also --help";

fn failed<T>(what: impl Into<String>) -> Result<T, Error> {
    Err(Error::Demo(what.into()))
}

/// A directory, a place for a job, and the supervisor that runs there. Dropped, all but the place are gone.
struct Stage {
    paint: Paint,
    dir: PathBuf,
    program: PathBuf,
    engine: Option<String>,
    place: Place,
    server: Option<Server>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server = None;
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Stage {
    async fn set(context: &Context) -> Result<Self, Error> {
        let dir = std::env::temp_dir().join(format!("dogwatch-demo-{}", RandomIds.installation_id()));
        let program = std::env::current_exe().map_err(|error| Error::Demo(error.to_string()))?;
        // The supervisor will find the id that is written here, and its containers will carry it.
        let installation = DataDir::prepare(&dir).and_then(|data| data.installation(&RandomIds));
        let installation = installation.map_err(|error| Error::Demo(error.to_string()))?;
        let place = Place::find(&program, installation, &context.loaded.config).await;
        let engine = context.loaded.config.docker.host.clone();
        Ok(Self { paint: context.paint, dir, program, engine, place, server: None })
    }

    async fn clear(&mut self) -> Result<(), Error> {
        self.server = None;
        self.place.clear().await
    }

    async fn play(&mut self) -> Result<(), Error> {
        let (id, before) = match self.begin().await? {
            Some(begun) => begun,
            None => {
                self.say(
                    "   Its callbacks do not arrive (see `dogwatch doctor`): once more, with a process.",
                )?;
                self.clear().await?;
                self.place = Place::Process { program: self.program.clone() };
                let Some(begun) = self.begin().await? else { return failed("the job reported nothing") };
                begun
            }
        };
        self.say("2. The supervisor is killed with SIGKILL.")?;
        let Some(server) = self.server.take() else { return failed("the supervisor is not there") };
        server.kill()?;
        self.say("3. The job goes on without it:")?;
        self.watch_alone(AttemptKey { job: id, number: before.attempt }).await?;

        self.say("4. The supervisor is started again and finds the job.")?;
        let client = self.start_server().await?;
        let after = self.watch(&client, id, |job| job.state.is_terminal()).await?;
        check(&before, &after, &written(&client, id).await?)?;
        self.say("5. Attached again, not restarted, and completed by its callback. Its history:")?;
        self.tell(&client.history(id, 0).await?.value.entries)?;
        let Some(server) = self.server.take() else { return failed("the supervisor is not there") };
        let status = server.stop().await?;
        if status.success() { Ok(()) } else { failed(format!("the supervisor ended with {status}")) }
    }

    /// Starts the supervisor and the job, and lets it work for a while; `None` when it never reported.
    async fn begin(&mut self) -> Result<Option<(JobId, JobView)>, Error> {
        let place = self.place.describe();
        self.say(&format!("1. A supervisor is started, and a job submitted to it: {place}."))?;
        let client = self.start_server().await?;
        let id = client.submit(&self.place.spec(), None).await?.value.id;
        let first = self.watch(&client, id, |job| percent(job) > 0 || job.state.is_terminal());
        let Ok(first) = timeout(DEMO_SERVER_MAX, first).await else { return Ok(None) };
        first?;
        let before =
            self.watch(&client, id, |job| percent(job) >= KILL_AT_PERCENT || job.state.is_terminal()).await?;
        if before.state != JobState::Running {
            let (state, log) = (before.state.name(), written(&client, id).await?.join("\n"));
            let message = before.message.as_deref().unwrap_or_default();
            return failed(format!("the job is {state} where it should run: {message}\n{log}"));
        }
        Ok(Some((id, before)))
    }

    async fn start_server(&mut self) -> Result<Client, Error> {
        let (runtime, engine) = (self.place.runtime(), self.engine.as_deref());
        let (server, client) = Server::start(&self.program, &self.dir, runtime, engine).await?;
        self.server = Some(server);
        Ok(client)
    }

    /// Shows the progress of the job until `until` says that it is enough.
    async fn watch(
        &self,
        client: &Client,
        id: JobId,
        until: impl Fn(&JobView) -> bool,
    ) -> Result<JobView, Error> {
        let mut bar = Bar::new();
        loop {
            let job = client.job(id, None).await?.value;
            bar.show(percent(&job), "reported")?;
            if until(&job) {
                bar.end()?;
                return Ok(job);
            }
            sleep(CLIENT_ATTEMPT_POLL / 2).await;
        }
    }

    /// Shows what the job itself writes until it has done some steps more.
    async fn watch_alone(&self, key: AttemptKey) -> Result<(), Error> {
        let mut bar = Bar::new();
        let deadline = Instant::now() + DEMO_SERVER_MAX;
        // What was written before this moment shows how far it is; what comes later is done alone.
        let mut lines = self.place.output(&self.dir, key).await?;
        let (mut done, mut alone) = (0, 0);
        while alone < STEPS_ALONE {
            let next = timeout_at(deadline, lines.next()).await;
            let Ok(Some(line)) = next else {
                return failed("the job stopped when its supervisor was killed");
            };
            let line = String::from_utf8_lossy(&line?.bytes).into_owned();
            if line == worker::ALONE {
                alone += 1;
            }
            if worker::is_step(&line) {
                done += 1;
                bar.show(u64::from(done * 100 / DEMO_STEPS), "written by the job itself")?;
            }
        }
        bar.end()
    }

    /// Shows a history; of the many reports of progress only how many there were.
    fn tell(&self, entries: &[HistoryEntry]) -> Result<(), Error> {
        let is_progress = |entry: &HistoryEntry| entry.data["event"] == "progress";
        for entry in entries.iter().filter(|entry| !is_progress(entry)) {
            output::data(&format!("   {}", events::line(entry, None)))?;
        }
        let reports = entries.iter().filter(|entry| is_progress(entry)).count();
        output::data(
            &self.paint.paint(Colour::Dim, &format!("   ({reports} reports of progress are left out)")),
        )
    }

    fn say(&self, text: &str) -> Result<(), Error> {
        output::data(&self.paint.paint(Colour::Bold, text))
    }
}

/// The lines that the attempt wrote.
async fn written(client: &Client, id: JobId) -> Result<Vec<String>, Error> {
    let chunks: Vec<_> =
        client.logs(id, LogsQuery { follow: true, ..LogsQuery::default() }).await?.try_collect().await?;
    Ok(String::from_utf8_lossy(&chunks.concat()).lines().map(str::to_owned).collect())
}

/// What must hold at the end.
fn check(before: &JobView, after: &JobView, lines: &[String]) -> Result<(), Error> {
    let starts = lines.iter().filter(|line| *line == worker::BEGUN).count();
    let steps = lines.iter().filter(|line| worker::is_step(line)).count();
    let runtime_id = |job: &JobView| job.attempts.last().and_then(|attempt| attempt.runtime_id.clone());
    if after.state != JobState::Succeeded {
        let message = after.message.as_deref().unwrap_or("no reason given");
        return failed(format!("the job is {}: {message}", after.state.name()));
    }
    if starts != 1 || after.attempt != 1 || runtime_id(before) != runtime_id(after) {
        return failed(format!("the job was started {starts} times, in {} attempts", after.attempt));
    }
    if u32::try_from(steps) != Ok(DEMO_STEPS) {
        return failed(format!("the job did {steps} steps of {DEMO_STEPS}"));
    }
    if after.output != Some(json!({"steps": DEMO_STEPS})) {
        return failed(format!("the output of its callback is {:?}", after.output));
    }
    Ok(())
}

fn percent(job: &JobView) -> u64 {
    job.progress.as_ref().and_then(|progress| progress["percent"].as_u64()).unwrap_or(0)
}
