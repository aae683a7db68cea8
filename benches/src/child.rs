//! A process that a measurement started: what it uses, and that it ends with the measurement.
//!
//! Invariant: only processes that were started here are ended, and all of them are.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::error::{Error, Result, file};

/// How long a server may take to end when it is told to.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// Lines of its log that are told when it failed.
const SAID_LINES: usize = 5;

/// How often a condition is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A process of ours; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    name: String,
    log: PathBuf,
}

impl Child {
    /// Starts it with everything that it prints in the file `log`. Its standard input is a pipe that closes
    /// with this process.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let out = File::options().create(true).append(true).open(log).map_err(file(log))?;
        let errors = out.try_clone().map_err(file(log))?;
        command.stdin(Stdio::piped()).stdout(out).stderr(errors);
        let started = command.spawn();
        let process = started.map_err(|source| Error::Program { program: name.clone(), source })?;
        Ok(Self { process, name, log: log.to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// An error when it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(&status.to_string())),
            Err(source) => Err(Error::Program { program: self.name.clone(), source }),
        }
    }

    fn ended(&self, status: &str) -> Error {
        // The log goes with its directory, so its end is told here.
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(SAID_LINES).collect();
        let said = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
        Error::Ended { program: self.name.clone(), status: status.to_owned(), said }
    }

    /// Waits until it ends by itself, which must be with success.
    pub(crate) async fn finish(mut self, patience: Duration) -> Result<()> {
        let mut ended = None;
        until("a program ends", patience, async || {
            ended = self.process.try_wait().ok().flatten();
            Ok(ended)
        })
        .await?;
        match ended {
            Some(status) if !status.success() => Err(self.ended(&status.to_string())),
            _ => Ok(()),
        }
    }

    /// Ends it in order.
    pub(crate) async fn end(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.process), Signal::TERM).ok();
        until("a server ends", END_PATIENCE, async || Ok(self.process.try_wait().ok().flatten())).await?;
        Ok(())
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // One that has ended by itself is what is wanted.
        self.process.kill().ok();
        self.process.wait().ok();
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.pid())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a process uses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Of all its threads, in user and kernel.
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_mebibytes: f64,
    /// Bytes that it caused to be written to a disk.
    pub(crate) written_bytes: f64,
}

impl Usage {
    /// As far as the kernel tells it.
    pub(crate) fn of(pid: u32) -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let stat = read("stat");
        // The name of the program, in brackets, may hold spaces.
        let fields: Vec<f64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect())
            .unwrap_or_default();
        let ticks = fields.get(11).unwrap_or(&0.0) + fields.get(12).unwrap_or(&0.0);
        Self {
            cpu_seconds: ticks / rustix::param::clock_ticks_per_second() as f64,
            resident_mebibytes: labelled(&read("status"), "VmRSS:") / 1024.0,
            written_bytes: labelled(&read("io"), "write_bytes:"),
        }
    }
}

/// The number behind a label at the start of a line.
pub(crate) fn labelled(text: &str, label: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(
    what: &str,
    patience: Duration,
    ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    until_every(LOOK_EVERY, what, patience, ask).await
}

/// The same, asking so often.
pub(crate) async fn until_every<T>(
    every: Duration,
    what: &str,
    patience: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    let mut pace = interval(every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if let Some(found) = ask().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Error::Late { what: what.to_owned(), patience });
        }
        pace.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of(std::process::id());
        assert!(usage.resident_mebibytes > 1.0 && usage.resident_mebibytes < 4096.0, "{usage:?}");
        assert_eq!(labelled("a: 1\nwrite_bytes: 77 kB\n", "write_bytes:"), 77.0);
    }
}
