//! `demo`: shows on any machine what the promises mean, and fails when one of them does not hold.
//!
//! A supervisor is started as a child on a directory of its own, killed with SIGKILL in the middle of a job
//! and started again. The job must go on meanwhile, be re-attached and not restarted, and complete by its
//! callback. Everything is removed at the end.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dogwatch_actors::id::{Ids as _, JobId, RandomIds};
use dogwatch_actors::job::view::{HistoryEntry, JobState, JobView};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, Paint};
use super::{Error, events, output};
use crate::client::Client;
use crate::client::discover::Locator;
use crate::config::Environment;
use crate::limits::{CLIENT_ATTEMPT_POLL, DEMO_MAX, DEMO_SERVER_MAX, DEMO_STEPS};
use crate::serve;
use crate::serve::addresses::Addresses;
use crate::serve::signals::StopSignals;

/// The share of its work that the job has done when the supervisor is killed.
const KILL_AT_PERCENT: u64 = 40;

pub(super) async fn run(context: &Context) -> Result<Exit, Error> {
    let mut signals = StopSignals::listen().map_err(serve::Error::Signals)?;
    let started = Instant::now();
    let mut stage = Stage::set(context.paint)?;
    tokio::select! {
        played = timeout(DEMO_MAX, stage.play()) => {
            played.unwrap_or_else(|_| failed("it took too long"))?;
        }
        _ = signals.next() => return Ok(Exit::INTERRUPTED),
    }
    stage.say(&format!("\nAll as promised, in {:.1} s. Try next:", started.elapsed().as_secs_f64()))?;
    output::data("  dogwatch run -- sh -c 'echo hello; exit 3'      a process: its output, its exit code")?;
    output::data(
        "  dogwatch run alpine -- echo hello               the same in a container, where an engine runs",
    )?;
    output::data(
        "  dogwatch serve                                  the server with its API; see also --help",
    )?;
    Ok(Exit::OK)
}

fn failed<T>(what: impl Into<String>) -> Result<T, Error> {
    Err(Error::Demo(what.into()))
}

/// A directory, and the supervisor that runs on it. Dropped, both are gone.
struct Stage {
    paint: Paint,
    dir: PathBuf,
    program: PathBuf,
    server: Option<Child>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            // It may have ended by itself; there is nobody to tell any more.
            drop(server.kill());
            drop(server.wait());
        }
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Stage {
    fn set(paint: Paint) -> Result<Self, Error> {
        let dir = std::env::temp_dir().join(format!("dogwatch-demo-{}", RandomIds.installation_id()));
        let program = std::env::current_exe().map_err(|error| Error::Demo(error.to_string()))?;
        Ok(Self { paint, dir, program, server: None })
    }

    async fn play(&mut self) -> Result<(), Error> {
        self.say("1. A supervisor is started, and a job submitted to it.")?;
        let client = self.start_server().await?;
        let ledger = self.dir.join("ledger");
        let argv = [&self.program, &PathBuf::from("demo-worker"), &ledger];
        let spec = json!({"name": "demo", "args": argv, "completion": "callback", "max_attempts": 1});
        let id = client.submit(&spec, None).await?.value.id;
        let before =
            self.watch(&client, id, |job| percent(job) >= KILL_AT_PERCENT || job.state.is_terminal()).await?;
        if before.state != JobState::Running {
            return failed(format!("the job is {} where it should run", before.state.name()));
        }

        self.say("2. The supervisor is killed with SIGKILL.")?;
        self.kill_server()?;
        let done = steps(&ledger);
        self.say("3. The job goes on without it:")?;
        self.watch_ledger(&ledger, done + 3).await?;

        self.say("4. The supervisor is started again and finds the job.")?;
        let client = self.start_server().await?;
        let after = self.watch(&client, id, |job| job.state.is_terminal()).await?;
        check(&before, &after, &ledger)?;
        self.say("5. Attached again, not restarted, and completed by its callback. Its history:")?;
        self.tell(&client.history(id, 0).await?.value.entries)?;
        self.stop_server().await
    }

    async fn start_server(&mut self) -> Result<Client, Error> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.join("server.log"))?;
        let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOGWATCH_"));
        let mut command = Command::new(&self.program);
        for (name, _) in ours {
            command.env_remove(name);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--callback-listen", "127.0.0.1:0"]);
        command.args(["--runtime", "process", "--data-dir"]).arg(&self.dir);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let pid = child.id();
        let child = self.server.insert(child);
        let locator = Locator::new(None, &Environment::new(), self.dir.clone());
        let deadline = Instant::now() + DEMO_SERVER_MAX;
        loop {
            // The addresses of the one that was killed are still there; only those of this one count.
            if Addresses::read(&self.dir).is_some_and(|addresses| addresses.pid == pid) {
                let client = locator.client()?;
                if client.is_alive().await {
                    return Ok(client);
                }
            }
            let has_ended = child.try_wait()?.is_some();
            if has_ended || Instant::now() >= deadline {
                let log = std::fs::read_to_string(self.dir.join("server.log")).unwrap_or_default();
                return failed(format!("the supervisor did not start; its log:\n{log}"));
            }
            sleep(CLIENT_ATTEMPT_POLL / 4).await;
        }
    }

    fn kill_server(&mut self) -> Result<(), Error> {
        let Some(mut server) = self.server.take() else { return failed("the supervisor is not there") };
        server.kill()?;
        server.wait()?;
        Ok(())
    }

    async fn stop_server(&mut self) -> Result<(), Error> {
        let Some(server) = &mut self.server else { return Ok(()) };
        let pid = rustix::process::Pid::from_child(server);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|errno| Error::Demo(format!("the supervisor cannot be stopped: {errno}")))?;
        let deadline = Instant::now() + DEMO_SERVER_MAX;
        loop {
            if let Some(status) = server.try_wait()? {
                self.server = None;
                return if status.success() {
                    Ok(())
                } else {
                    failed(format!("the supervisor ended with {status}"))
                };
            }
            if Instant::now() >= deadline {
                return failed("the supervisor did not stop when it was asked to");
            }
            sleep(CLIENT_ATTEMPT_POLL / 4).await;
        }
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

    /// Shows the steps that the job writes down by itself until there are `wanted`.
    async fn watch_ledger(&self, ledger: &Path, wanted: u32) -> Result<(), Error> {
        let mut bar = Bar::new();
        let deadline = Instant::now() + DEMO_SERVER_MAX;
        while steps(ledger) < wanted {
            if Instant::now() >= deadline {
                return failed("the job stopped when its supervisor was killed");
            }
            bar.show(u64::from(steps(ledger) * 100 / DEMO_STEPS), "written down by the job itself")?;
            sleep(CLIENT_ATTEMPT_POLL / 2).await;
        }
        bar.show(u64::from(steps(ledger) * 100 / DEMO_STEPS), "written down by the job itself")?;
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

/// What must hold at the end.
fn check(before: &JobView, after: &JobView, ledger: &Path) -> Result<(), Error> {
    let text = std::fs::read_to_string(ledger)?;
    let starts = text.lines().filter(|line| line.starts_with("start")).count();
    let runtime_id = |job: &JobView| job.attempts.last().and_then(|attempt| attempt.runtime_id.clone());
    if after.state != JobState::Succeeded {
        let message = after.message.as_deref().unwrap_or("no reason given");
        return failed(format!("the job is {}: {message}", after.state.name()));
    }
    if starts != 1 || after.attempt != 1 || runtime_id(before) != runtime_id(after) {
        return failed(format!("the job was started {starts} times, in {} attempts", after.attempt));
    }
    if steps(ledger) != DEMO_STEPS {
        return failed(format!("the job did {} steps of {DEMO_STEPS}", steps(ledger)));
    }
    if after.output != Some(json!({"steps": DEMO_STEPS})) {
        return failed(format!("the output of its callback is {:?}", after.output));
    }
    Ok(())
}

fn percent(job: &JobView) -> u64 {
    job.progress.as_ref().and_then(|progress| progress["percent"].as_u64()).unwrap_or(0)
}

fn steps(ledger: &Path) -> u32 {
    let text = std::fs::read_to_string(ledger).unwrap_or_default();
    u32::try_from(text.lines().filter(|line| line.starts_with("step")).count()).unwrap_or(u32::MAX)
}

/// Progress: one line that is written over on a terminal, a line per tenth elsewhere.
struct Bar {
    is_terminal: bool,
    shown: Option<u64>,
}

impl Bar {
    fn new() -> Self {
        Self { is_terminal: std::io::stdout().is_terminal(), shown: None }
    }

    fn show(&mut self, percent: u64, what: &str) -> Result<(), Error> {
        let step = if self.is_terminal { percent } else { percent / 10 };
        if self.shown.replace(step) == Some(step) {
            return Ok(());
        }
        let full = usize::try_from(percent.min(100) / 5).unwrap_or(0);
        let line = format!("   [{}{}] {percent:>3} %  {what}", "#".repeat(full), ".".repeat(20 - full));
        if !self.is_terminal {
            return output::data(&line);
        }
        let mut out = std::io::stdout().lock();
        write!(out, "\r{line}")?;
        out.flush().map_err(Error::from)
    }

    fn end(&self) -> Result<(), Error> {
        if self.is_terminal { output::data("") } else { Ok(()) }
    }
}
