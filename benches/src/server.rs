//! A server to be measured: the real binary, or the same API over attempts that cost nothing ([`crate::host`]).
//!
//! Invariant: dropped, the server is gone. Its directory stays, for whoever made it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dogwatch::serve::addresses::Addresses;
use dogwatch_actors::data_dir::DataDir;
use dogwatch_actors::id::{AttemptKey, RandomIds};
use dogwatch_actors::secret::Keyring;
use serde_json::Value;
use tokio::time::Instant;

use crate::child::{Child, Usage, labelled, until, until_every};
use crate::error::{Error, Result, file};
use crate::http::{Connection, Target};

/// How long a server may take to listen: with a million jobs stored it opens a large database.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// How often a server at work is asked whether it is done: what that costs it is part of the figure, and so is half of it.
const LOOK_AT_WORK_EVERY: Duration = Duration::from_millis(20);

/// How long it is watched to see whether it rests, and how much of a core it may use in that time.
const REST_WATCHED: Duration = Duration::from_secs(1);
const REST_CORES_MAX: f64 = 0.02;

/// The states of jobs that are not over.
const UNFINISHED: &str = "queued,starting,running,backing_off,stopping,suspended";

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

impl Program {
    /// With this in the environment.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// With this argument.
    #[must_use]
    pub(crate) fn arg(mut self, argument: impl ToString) -> Self {
        self.arguments.push(argument.to_string());
        self
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) api: Target,
    callback: Target,
    keyring: Keyring,
    key: String,
    grpc: Option<String>,
}

impl Server {
    /// Starts it on `dir` and returns when it answers.
    pub(crate) async fn start(program: &Program, dir: &Path) -> Result<Self> {
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).env("DOGWATCH_DATA_DIR", dir);
        command.envs(program.environment.iter().map(|(name, value)| (name, value)));
        let mut child = Child::start(&mut command, &dir.join("server.log"))?;
        let pid = child.pid();
        let addresses = until("the server listens", START_PATIENCE, async || {
            child.check()?;
            Ok(Addresses::read(dir).filter(|addresses| addresses.pid == pid))
        })
        .await?;
        let key_file = dir.join("root.key");
        let key = std::fs::read_to_string(&key_file).map_err(file(key_file))?;
        let api = Target::new(&addresses.api, key.trim())?;
        let callback = Target::new(&addresses.callback, "")?;
        let keyring = DataDir::prepare(dir)?.keyring(None, &RandomIds)?;
        api.ask(&api.get("/livez"), 200).await?;
        let key = key.trim().to_owned();
        Ok(Self { child, api, callback, keyring, key, grpc: addresses.grpc })
    }

    /// Where workers connect.
    pub(crate) fn grpc(&self) -> Result<String> {
        self.grpc.clone().ok_or_else(|| Error::Void("the server takes no workers".to_owned()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The root key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Where callbacks go.
    pub(crate) fn callback_address(&self) -> std::net::SocketAddr {
        self.callback.address
    }

    /// The bytes of a callback of the first attempt of a job.
    pub(crate) fn callback(&self, job: &str, body: &str) -> Result<Vec<u8>> {
        let key = first_attempt(job)?;
        let token = self.keyring.callback_token(key);
        Ok(self.callback.post_as(token.expose(), &format!("/v1/callbacks/{job}/1"), body))
    }

    /// One GET.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.api.ask(&self.api.get(path), 200).await
    }

    /// One submission; the id of the job.
    pub(crate) async fn submit(&self, spec: &str) -> Result<String> {
        let job = self.api.ask(&self.api.post("/v1/jobs", spec), 202).await?;
        job["id"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::Answer { member: "id", answer: job.to_string() })
    }

    /// Returns when the server says that it is ready.
    pub(crate) async fn ready(&mut self, patience: Duration) -> Result<()> {
        let request = self.api.get("/readyz");
        let (child, api) = (&mut self.child, &self.api);
        until("the server is ready", patience, async || {
            child.check()?;
            Ok(api.ask(&request, 200).await.ok())
        })
        .await
        .map(drop)
    }

    /// Returns when it uses next to nothing any more: what a load left to be merged is merged.
    pub(crate) async fn rests(&self, patience: Duration) -> Result<()> {
        let mut before = (Instant::now(), self.usage().cpu_seconds);
        until_every(REST_WATCHED, "the server rests", patience, async || {
            let now = (Instant::now(), self.usage().cpu_seconds);
            let watched = now.0.duration_since(before.0);
            if watched < REST_WATCHED / 2 {
                return Ok(None);
            }
            let cores = (now.1 - before.1) / watched.as_secs_f64();
            before = now;
            Ok((cores <= REST_CORES_MAX).then_some(()))
        })
        .await
    }

    /// The number behind this name (with its labels) among the metrics.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let mut connection = Connection::open(self.api.address).await?;
        let answer = connection.exchange(&self.api.get("/metrics")).await?;
        Ok(labelled(&String::from_utf8_lossy(answer.body), name))
    }

    /// Returns when every job is over. The gauge of those in memory costs the server next to nothing to tell; a list of
    /// the states that jobs pass through has to be found among all that passed before.
    pub(crate) async fn all_over(&mut self, patience: Duration) -> Result<()> {
        let mut connection = Connection::open(self.api.address).await?;
        let request = self.api.get("/metrics");
        until_every(LOOK_AT_WORK_EVERY, "every job is over", patience, async || {
            self.child.check()?;
            let answer = connection.exchange(&request).await?;
            let left = labelled(&String::from_utf8_lossy(answer.body), "dogwatch_jobs_in_memory");
            Ok((left == 0.0).then_some(()))
        })
        .await?;
        self.none_in(UNFINISHED, patience).await
    }

    /// Returns when no job is in one of these states (a list with commas).
    pub(crate) async fn none_in(&mut self, states: &str, patience: Duration) -> Result<()> {
        let request = self.api.get(&format!("/v1/jobs?state={states}&limit=1"));
        let (child, api) = (&mut self.child, &self.api);
        until("no job is left in an earlier state", patience, async || {
            child.check()?;
            let page = api.ask(&request, 200).await?;
            Ok(page["jobs"].as_array().is_some_and(Vec::is_empty).then_some(()))
        })
        .await
    }

    pub(crate) fn usage(&self) -> Usage {
        self.child.usage()
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill();
    }

    /// Ends it in order.
    pub(crate) async fn end(self) -> Result<()> {
        self.child.end().await
    }
}

fn first_attempt(job: &str) -> Result<AttemptKey> {
    let id = job.parse().map_err(|_| Error::Answer { member: "id", answer: job.to_owned() })?;
    Ok(AttemptKey::new(id, 1))
}

/// The id of the job in an answer, without reading all of it.
pub(crate) fn id_in(answer: &[u8]) -> Option<String> {
    let start = answer.windows(6).position(|window| window == b"\"id\":\"")? + 6;
    let end = start + answer[start..].iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&answer[start..end]).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found_in_an_answer() {
        assert_eq!(id_in(br#"{"id":"0193-a","state":"queued"}"#).as_deref(), Some("0193-a"));
        assert_eq!(id_in(b"{}"), None);
    }
}
