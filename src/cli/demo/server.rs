//! The supervisor of the demonstration: a child of this process, on a directory of its own.
//!
//! Invariant: dropped, the child is gone.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tokio::time::{Instant, sleep};

use super::failed;
use crate::cli::Error;
use crate::client::Client;
use crate::client::discover::Locator;
use crate::config::Environment;
use crate::limits::{CLIENT_ATTEMPT_POLL, DEMO_SERVER_MAX};
use crate::serve::addresses::Addresses;

/// The supervisor.
pub(super) struct Server {
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell any more.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// Starts one on `dir` and waits until it answers.
    pub(super) async fn start(
        program: &Path,
        dir: &Path,
        runtime: &str,
        engine: Option<&str>,
    ) -> Result<(Self, Client), Error> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log_path(dir))?;
        let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOGWATCH_"));
        let mut command = Command::new(program);
        for (name, _) in ours {
            command.env_remove(name);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--callback-listen", "127.0.0.1:0"]);
        command.args(["--runtime", runtime, "--data-dir"]).arg(dir);
        if let Some(engine) = engine {
            command.env("DOGWATCH_DOCKER__HOST", engine);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let mut server = Self { child };
        let client = server.client(dir).await?;
        Ok((server, client))
    }

    async fn client(&mut self, dir: &Path) -> Result<Client, Error> {
        let locator = Locator::new(None, &Environment::new(), dir.to_owned());
        let deadline = Instant::now() + DEMO_SERVER_MAX;
        loop {
            // The addresses of the one that was killed are still there; only those of this one count.
            if Addresses::read(dir).is_some_and(|addresses| addresses.pid == self.child.id()) {
                let client = locator.client()?;
                if client.is_alive().await {
                    return Ok(client);
                }
            }
            let has_ended = self.child.try_wait()?.is_some();
            if has_ended || Instant::now() >= deadline {
                let log = std::fs::read_to_string(log_path(dir)).unwrap_or_default();
                return failed(format!("the supervisor did not start; its log:\n{log}"));
            }
            sleep(CLIENT_ATTEMPT_POLL / 4).await;
        }
    }

    /// Kills it with SIGKILL.
    pub(super) fn kill(mut self) -> Result<(), Error> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop, and waits until it has.
    pub(super) async fn stop(mut self) -> Result<ExitStatus, Error> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|errno| Error::Demo(format!("the supervisor cannot be stopped: {errno}")))?;
        let deadline = Instant::now() + DEMO_SERVER_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return failed("the supervisor did not stop when it was asked to");
            }
            sleep(CLIENT_ATTEMPT_POLL / 4).await;
        }
    }
}

fn log_path(dir: &Path) -> PathBuf {
    dir.join("server.log")
}
