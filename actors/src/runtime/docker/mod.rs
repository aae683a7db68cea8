//! Attempts as containers of a Docker engine (20.10 or newer), over its API.
//!
//! Responsible for: one container per attempt, or a group of them (`group/`), hardened by construction (`create_body.rs`), created and
//! started at most once (`create.rs`, `start.rs`), and an honest reading of what the engine says
//! (`observe.rs`). Not responsible for: when any of that happens, for what an end means, and for images,
//! networks or volumes of others.
//!
//! Invariants beside those of [`Runtime`]:
//! - an engine that is down makes every call [`Error::Unavailable`](super::Error::Unavailable); when it is
//!   back, the next call works;
//! - nothing is touched whose name *and* labels are not ours;
//! - every call has a deadline of its own (`limits.rs`).
//!
//! The client library logs whole requests and answers at `debug`, environment included: whoever installs a
//! logger must keep the targets in [`SECRET_LOG_TARGETS`] at `info`.

mod boot;
mod bridge;
mod command_check;
mod connect;
mod create;
mod create_body;
mod engine;
mod engine_restart;
mod errors;
mod exec;
mod files;
mod finish;
mod group;
mod hints;
mod image_reference;
mod labels;
mod list;
mod logs;
mod meter;
mod observe;
mod out_of_memory;
mod own_image;
mod pull;
mod single_flight;
mod start;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;

use super::files::{Pieces, Placed};
use super::{Executed, Health, Hint, LogLine, Observation, Plan, Result, Runtime};
use crate::files::Pattern;
use crate::id::{AttemptKey, InstallationId};
use crate::job::spec::StopSignal;
use crate::limits::{
    CONTAINER_CPU_CORES_DEFAULT, CONTAINER_MEMORY_BYTES_DEFAULT, CONTAINER_PIDS_DEFAULT, ENGINE_QUERY_TIMEOUT,
};
use boot::Boot;
use connect::Connection;
use engine::{Engine, One};
use errors::Fault;
use pull::PullKey;
use single_flight::SingleFlight;

/// The name that specs use for this runtime.
pub const NAME: &str = "docker";

/// Log targets that show secrets below `info`: a subscriber must not let them through.
pub const SECRET_LOG_TARGETS: &[&str] = &["bollard"];

/// The limits of a container whose spec names none, and its way to this host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// CPU cores.
    pub cpu_cores: f64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Give containers the name `host.docker.internal` for this host: needed when the callback address uses
    /// it and the engine does not provide it by itself.
    pub host_gateway: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            cpu_cores: CONTAINER_CPU_CORES_DEFAULT,
            memory_bytes: CONTAINER_MEMORY_BYTES_DEFAULT,
            pids: CONTAINER_PIDS_DEFAULT,
            host_gateway: false,
        }
    }
}

/// How to use an engine.
#[derive(Debug, Clone, PartialEq)]
pub struct DockerOptions {
    /// Whose containers these are.
    pub installation: InstallationId,
    /// The engine's address, `unix:///path` or `tcp://host:port`; default: `DOCKER_HOST`, else the default
    /// socket.
    pub host: Option<String>,
    /// What the names of containers begin with.
    pub name_prefix: String,
    /// The limits of a container whose spec names none.
    pub defaults: Defaults,
    /// The paths of the host that containers may be given, with what is below them.
    pub host_paths: Vec<String>,
}

impl DockerOptions {
    /// The default engine, for this installation.
    pub fn new(installation: InstallationId) -> Self {
        Self {
            installation,
            host: None,
            name_prefix: "dogwatch".into(),
            defaults: Defaults::default(),
            host_paths: Vec::new(),
        }
    }
}

/// What came of a request from inside a container to the callback address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallbackProbe {
    /// It was answered.
    Reached,
    /// It was not; the text says what the container saw.
    Unreachable(String),
    /// It could not be tried; the text says why and what to do.
    Untested(String),
}

/// Containers of a Docker engine.
#[derive(Debug)]
pub struct DockerRuntime {
    engine: Arc<Engine>,
    creates: SingleFlight<AttemptKey>,
    starts: SingleFlight<AttemptKey>,
    pulls: Arc<SingleFlight<PullKey>>,
}

impl DockerRuntime {
    /// A runtime on the engine that `options` name. Connects when it is first used; an error means that the
    /// address itself cannot be used.
    pub fn connect(options: DockerOptions) -> Result<Self> {
        let connection = Connection::new(options.host.clone()).map_err(Fault::unknown)?;
        // The boots of another machine are unknown here.
        let boot = if connection.is_local() { Boot::of_this_host() } else { Boot::default() };
        let found_commands = command_check::FoundCommands::default();
        let leftovers = Mutex::default();
        let meters = meter::Meters::default();
        let engine = Arc::new(Engine { options, connection, boot, found_commands, leftovers, meters });
        Ok(Self {
            engine,
            creates: SingleFlight::default(),
            starts: SingleFlight::default(),
            pulls: Arc::default(),
        })
    }

    /// The address by which containers on the default network reach this host.
    pub async fn gateway(&self) -> Result<IpAddr> {
        bridge::gateway(&self.engine).await
    }

    /// Tries from inside a short-lived container whether `url` answers. Pulls nothing: without an image that
    /// has `wget` it cannot be tried.
    pub async fn probe_callback(&self, url: &str) -> Result<CallbackProbe> {
        bridge::probe(&self.engine, url).await
    }

    /// Imports a file system, a tar, as the image `name:tag`: for a program that brings its own and wants no
    /// registry. An older image of that name loses it.
    pub async fn import_image(&self, name: &str, tag: &str, tar: Bytes) -> Result<()> {
        own_image::import(&self.engine, name, tag, tar).await
    }

    /// Removes an image that [`DockerRuntime::import_image`] made; one that is not there is no error.
    pub async fn remove_image(&self, image: &str) -> Result<()> {
        own_image::remove(&self.engine, image).await
    }
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn name(&self) -> &str {
        NAME
    }

    async fn create(&self, plan: &Plan) -> Result<()> {
        let work = create::create(Arc::clone(&self.engine), Arc::clone(&self.pulls), plan.clone());
        self.creates.run(plan.key, work.boxed()).await
    }

    async fn put_files(&self, plan: &Plan, placed: &[Placed]) -> Result<()> {
        files::put(&self.engine, plan, placed).await
    }

    async fn take_files(&self, plan: &Plan, patterns: &[Pattern]) -> Result<Pieces> {
        files::take(Arc::clone(&self.engine), plan, patterns).await
    }

    async fn start(&self, key: AttemptKey) -> Result<()> {
        self.starts.run(key, start::start(Arc::clone(&self.engine), key).boxed()).await
    }

    async fn observe(&self, key: AttemptKey) -> Result<Observation> {
        self.engine.observe(key).await
    }

    async fn wait(&self, key: AttemptKey, patience: Duration) {
        finish::wait(&self.engine, key, patience).await;
    }

    async fn stop(&self, key: AttemptKey, signal: StopSignal, grace: Duration) -> Result<()> {
        finish::stop(&self.engine, key, signal, grace).await
    }

    async fn remove(&self, key: AttemptKey) -> Result<()> {
        finish::remove(&self.engine, key).await?;
        self.engine.meters.forget(key);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(AttemptKey, Observation)>> {
        list::list(&self.engine).await
    }

    async fn hints(&self) -> Result<BoxStream<'static, Hint>> {
        hints::hints(Arc::clone(&self.engine)).await
    }

    fn keeps_logs(&self) -> bool {
        false
    }

    async fn logs(
        &self,
        key: AttemptKey,
        after_nanos: Option<i128>,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        logs::follow(Arc::clone(&self.engine), One::main(key), after_nanos).await
    }

    fn runs_groups(&self) -> bool {
        true
    }

    async fn exec(
        &self,
        key: AttemptKey,
        member: Option<&str>,
        command: &[String],
        limit: Duration,
    ) -> Result<Executed> {
        let one = One { key, part: member.map(str::to_owned) };
        exec::exec(&self.engine, &one, command, limit).await
    }

    async fn runs(&self, key: AttemptKey, member: Option<&str>) -> Result<bool> {
        let one = One { key, part: member.map(str::to_owned) };
        Ok(matches!(self.engine.see(&one).await?, Observation::Running(_)))
    }

    async fn members(&self, key: AttemptKey) -> Result<Vec<String>> {
        Ok(self.engine.find(key).await?.map(|main| group::members(&main)).unwrap_or_default())
    }

    async fn address(&self, key: AttemptKey, port: u16) -> Result<Option<SocketAddr>> {
        let found = group::network_of(&self.engine, key).await?;
        Ok(found.and_then(|found| observe::address_of(&found.inspect, port)))
    }

    async fn member_logs(
        &self,
        key: AttemptKey,
        member: &str,
        after_nanos: Option<i128>,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        logs::follow(Arc::clone(&self.engine), One::part(key, member), after_nanos).await
    }

    async fn health(&self) -> Result<Health> {
        let ask = async |client: bollard::Docker| client.info().await;
        let info = self.engine.connection.call(ENGINE_QUERY_TIMEOUT, ask).await.map_err(Fault::unknown)?;
        let version = info.server_version.unwrap_or_else(|| "of an unknown version".into());
        #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 cores")]
        let cpus = info.ncpu.unwrap_or(0) as f64;
        let memory_bytes = info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
        Ok(Health { version: format!("docker {version}"), cpus, memory_bytes })
    }
}
