//! What attempts run on.
//!
//! A [`Runtime`] creates, starts once, observes, stops and removes attempts. It decides nothing: when and
//! whether to do any of that is the fleet's, what an end means is the job's.
//!
//! Invariants, checked for every implementation by the conformance suite:
//! - an attempt's name is its claim: creating it twice adopts the first, creating over something foreign
//!   is [`Error::Foreign`] and touches nothing;
//! - an attempt runs at most once, however often `start` is called;
//! - an observation is *known*: whatever could not be found out is an [`Error::Unavailable`], never an exit;
//! - the exit of an attempt survives the death of this process;
//! - stop, remove and start are idempotent; what is not there is no error.

#[cfg(any(feature = "docker", feature = "process"))]
mod accounts;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(feature = "docker")]
pub mod docker;
#[cfg(any(test, feature = "testing"))]
pub mod fake;
pub mod files;
pub mod group;
#[cfg(feature = "process")]
pub mod process;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};

use self::files::{Pieces, Placed};
use crate::clock::Timestamp;
use crate::files::{Files, Pattern};
use crate::id::{AttemptKey, InstallationId};
use crate::job::spec::{Network, RegistryCredential, Resources, SecurityProfile, StopSignal};
use crate::secret::Secret;
use crate::usage::Usage;
pub use group::Group;

/// Everything that a runtime needs to create an attempt. Built from the spec by the job's performer; holds
/// open secrets, so it is never stored and its `Debug` shows none.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which attempt.
    pub key: AttemptKey,
    /// Whose it is.
    pub installation: InstallationId,
    /// The image; `None` on a runtime of processes.
    pub image: Option<String>,
    /// Replaces the image's entrypoint when not empty.
    pub entrypoint: Vec<String>,
    /// The arguments.
    pub args: Vec<String>,
    /// The whole environment: the spec's, its secrets and dogwatch's own variables.
    pub env: BTreeMap<String, Secret>,
    /// The directory it starts in.
    pub working_dir: Option<String>,
    /// The user's labels; the runtime writes its own over them.
    pub labels: BTreeMap<String, String>,
    /// Limits; absent ones are the runtime's defaults.
    pub resources: Resources,
    /// The network of a container.
    pub network: Network,
    /// How far a container is locked down.
    pub security_profile: SecurityProfile,
    /// The user in the container.
    pub user: Option<String>,
    /// A read-only root file system.
    pub read_only_root: bool,
    /// Logins for pulling the image.
    pub registry_credentials: Vec<RegistryCredential>,
    /// The signal for a graceful stop, told to engines that want to know it at creation.
    pub stop_signal: StopSignal,
    /// The port of a service job that must be reachable from this process.
    pub service_port: Option<u16>,
    /// Where a runtime that keeps its own logs writes them (see [`Runtime::keeps_logs`]).
    pub log_path: PathBuf,
    /// What is placed before its start and collected after its end.
    pub files: Files,
    /// What stands beside its main container, which the fields above are about.
    pub group: Group,
}

impl Plan {
    /// What the attempt is counted with.
    pub fn demand(&self) -> &Resources {
        self.group.demand.as_ref().unwrap_or(&self.resources)
    }
}

/// What is known of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// There is none of that name.
    Absent,
    /// Some of a group exists, and none of it was ever started: to be created again.
    Incomplete,
    /// It exists and was never started.
    Created,
    /// It runs.
    Running(Running),
    /// It is a group that has begun, and that waits for something to be done to it.
    Due(Running, Due),
    /// It ran and is over.
    Exited(Exit),
}

/// What a group waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// The next container of it, of this name, can be started.
    Start(String),
    /// What ends it has ended, and the rest of it still runs.
    Stop,
}

/// A running attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// The runtime's own name of it: a container id, a process id.
    pub runtime_id: String,
    /// When it started, by the runtime's clock.
    pub started_at: Timestamp,
    /// Where its service port can be reached from here, when it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<SocketAddr>,
}

/// How an attempt ended: facts only; the job derives the cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// The runtime's own name of it.
    pub runtime_id: String,
    /// The exit code; `None` when a signal ended it or nobody saw the end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<i32>,
    /// The signal that ended it, where the runtime tells it apart from a code (an engine reports 128 + n).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<i32>,
    /// The kernel killed something in it for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// The init container whose end this is; `None`: the main container's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container: Option<String>,
    /// The end is not the attempt's own: the host or the engine restarted under it, or its watcher was killed.
    #[serde(default)]
    pub unseen: Option<Unseen>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finished_at: Option<Timestamp>,
    /// What it used, where that was measured: all of its containers together.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub usage: Option<Usage>,
}

impl Exit {
    /// The end, at this moment, of an attempt that was seen running; how it ended is still to be said.
    pub fn of(running: &Running, finished_at: Timestamp) -> Self {
        Self {
            runtime_id: running.runtime_id.clone(),
            code: None,
            signal: None,
            oom_killed: false,
            container: None,
            unseen: None,
            started_at: Some(running.started_at),
            finished_at: Some(finished_at),
            usage: None,
        }
    }
}

/// Why the end of an attempt says nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unseen {
    /// The host was restarted while it ran.
    HostRestart,
    /// The engine was stopped while it ran, and ended it.
    EngineRestart,
    /// The process that watched it is gone.
    WatcherLost,
}

/// Why an attempt cannot be started; trying again would not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFault {
    /// The registry or the engine does not know the image.
    ImageNotFound,
    /// The registry refused the credentials, or wants some.
    ImageDenied,
    /// The command does not exist.
    CommandNotFound,
    /// The command is not executable, or of another architecture.
    CommandNotExecutable,
    /// The working directory does not exist or cannot be entered.
    WorkingDirectory,
    /// The runtime refused the attempt as it is described.
    Rejected,
    /// One of its inputs is not to be had.
    Input,
}

/// What can go wrong with a runtime.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The runtime cannot be asked, or did not answer in time. Whatever it was asked about is *unknown*.
    #[error("the {runtime} runtime does not answer: {message}")]
    Unavailable {
        /// The runtime's name.
        runtime: String,
        /// What happened.
        message: String,
    },
    /// It answered with a fault of its own that may pass: a registry's 5xx, no space, a timeout of a pull.
    #[error("{message}")]
    Transient {
        /// What happened.
        message: String,
    },
    /// The attempt can never start.
    #[error("{message}")]
    Start {
        /// Which kind.
        fault: StartFault,
        /// What happened, and what to do.
        message: String,
    },
    /// The name is taken by something that is not ours.
    #[error(
        "the name {name} is taken by something that this installation did not create; remove or rename it"
    )]
    Foreign {
        /// The name.
        name: String,
    },
}

impl Error {
    /// Whether trying the same again later may help.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Transient { .. })
    }
}

/// The result of an operation of a runtime.
pub type Result<T> = std::result::Result<T, Error>;

/// One line of output of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written: nanoseconds since the epoch, so that a stream can be taken up again exactly.
    pub at_nanos: i128,
    /// Which stream it came on.
    pub stream: LogStream,
    /// The bytes, without the end of line.
    pub bytes: bytes::Bytes,
}

/// The two streams of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Something may have changed: a reason to look, never a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// This attempt may have changed.
    Attempt(AttemptKey),
    /// Anything may have changed: the stream of hints was interrupted.
    Everything,
}

/// What came of a command in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code.
    pub code: i64,
    /// The beginning of what it wrote, both streams together.
    pub output: String,
}

/// A health report for `doctor` and `/readyz`.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// The engine's name and version.
    pub version: String,
    /// The cores that attempts may share.
    pub cpus: f64,
    /// The memory that attempts may share, in bytes.
    pub memory_bytes: u64,
}

/// What attempts run on. Every call has a deadline of its own and may be dropped at any await.
#[async_trait]
pub trait Runtime: Send + Sync + fmt::Debug + 'static {
    /// The name that specs use.
    fn name(&self) -> &str;

    /// Makes the attempt ready to start, or adopts it when it is already there. Pulls the image where there
    /// is one. After `Ok` an observation is no longer `Absent`.
    async fn create(&self, plan: &Plan) -> Result<()>;

    /// Puts files where the attempt will find them, over what is there. Called after the creation and never after a
    /// start, also with no files where only outputs are asked for. Default: it has none.
    async fn put_files(&self, plan: &Plan, files: &[Placed]) -> Result<()> {
        let _ = (plan, files);
        Err(files::none_here(self.name()))
    }

    /// Gives the files of an ended attempt that a pattern means. Follows no link. Default: it has none.
    async fn take_files(&self, plan: &Plan, patterns: &[Pattern]) -> Result<Pieces> {
        let _ = (plan, patterns);
        Err(files::none_here(self.name()))
    }

    /// Starts the attempt unless it was ever started. After `Ok` it is running or has already exited.
    async fn start(&self, key: AttemptKey) -> Result<()>;

    /// What is known of the attempt now.
    async fn observe(&self, key: AttemptKey) -> Result<Observation>;

    /// Returns when the attempt may have ended, or after `patience`. A hint: always observe afterwards.
    async fn wait(&self, key: AttemptKey, patience: Duration);

    /// Sends `signal`, waits up to `grace` for the end, then kills everything of the attempt. Returns when it
    /// has ended, or with an error when it could not be made to.
    async fn stop(&self, key: AttemptKey, signal: StopSignal, grace: Duration) -> Result<()>;

    /// Removes what is left of an attempt that is not running. Its logs here are kept.
    async fn remove(&self, key: AttemptKey) -> Result<()>;

    /// Whether after [`Runtime::remove`] nothing is left, so that nobody needs to look again. Default: an engine may
    /// remove behind its answer.
    fn removes_at_once(&self) -> bool {
        false
    }

    /// Whether it runs groups: init containers, sidecars, volumes, commands in containers. Default: it does not, and a
    /// job that wants them is refused when it is submitted.
    fn runs_groups(&self) -> bool {
        false
    }

    /// Runs a command in a container of a running attempt, the main one with `None`, for at most `limit`. Default: it
    /// cannot.
    async fn exec(
        &self,
        key: AttemptKey,
        member: Option<&str>,
        command: &[String],
        limit: Duration,
    ) -> Result<Executed> {
        let _ = (key, member, command, limit);
        let message = "this runtime runs no commands in attempts; probe it over http".to_owned();
        Err(Error::Start { fault: StartFault::Rejected, message })
    }

    /// Whether a container of an attempt runs, the main one with `None`.
    async fn runs(&self, key: AttemptKey, member: Option<&str>) -> Result<bool> {
        let _ = member;
        Ok(matches!(self.observe(key).await?, Observation::Running(_)))
    }

    /// The containers of an attempt beside the main one. Default: there are none.
    async fn members(&self, key: AttemptKey) -> Result<Vec<String>> {
        let _ = key;
        Ok(Vec::new())
    }

    /// Where a port of a running attempt can be reached from here. Default: nowhere.
    async fn address(&self, key: AttemptKey, port: u16) -> Result<Option<SocketAddr>> {
        let _ = (key, port);
        Ok(None)
    }

    /// Every attempt of this installation that the runtime knows, with what is known of it.
    async fn list(&self) -> Result<Vec<(AttemptKey, Observation)>>;

    /// Hints about changes. Ends when the connection does; the caller subscribes again. Default: none ever
    /// come, and everything is found by waiting, looking and listing.
    async fn hints(&self) -> Result<BoxStream<'static, Hint>> {
        Ok(stream::pending().boxed())
    }

    /// Whether this runtime writes the logs to [`Plan::log_path`] itself.
    fn keeps_logs(&self) -> bool;

    /// The output after `after_nanos`, followed to the end of the attempt; only for runtimes that do not
    /// keep logs themselves. Default: there is none.
    async fn logs(
        &self,
        key: AttemptKey,
        after_nanos: Option<i128>,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        let _ = (key, after_nanos);
        Ok(stream::empty().boxed())
    }

    /// The same of a container beside the main one. Default: there is none.
    async fn member_logs(
        &self,
        key: AttemptKey,
        member: &str,
        after_nanos: Option<i128>,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        let _ = (key, member, after_nanos);
        Ok(stream::empty().boxed())
    }

    /// Whether it works here, and what it is.
    async fn health(&self) -> Result<Health>;
}
