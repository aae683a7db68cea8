//! The runtimes that the configuration asks for.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::data_dir::Home;
use dogwatch_actors::id::{Ids as _, InstallationId, RandomIds};
use dogwatch_actors::runtime::docker::{CallbackProbe, Defaults, DockerOptions, DockerRuntime};
use dogwatch_actors::runtime::process::{ProcessOptions, ProcessRuntime, Shim};
use dogwatch_actors::runtime::{self, Health, Runtime};
use dogwatch_actors::supervisor::Builder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{Error, addresses};
use crate::config::{Config, RuntimeChoice};
use crate::durable_task::sockets::Sockets;
use crate::limits::ENGINE_START_MAX;

/// The runtimes that are offered.
pub(super) struct Runtimes {
    process: Option<Arc<ProcessRuntime>>,
    docker: Option<Arc<DockerRuntime>>,
}

impl Runtimes {
    /// Opens them. An engine that does not answer is no error: it may answer later.
    pub(super) fn open(config: &Config, home: &Home, shim: Shim) -> Result<Self, Error> {
        let part = |part: &'static str| {
            move |error: runtime::Error| Error::Part { part, message: error.to_string() }
        };
        let process = if wants_process(config) {
            Some(home.processes(shim).map_err(part("the process runtime"))?)
        } else {
            None
        };
        let docker = if wants_docker(config) {
            Some(Arc::new(docker(config, home.installation()).map_err(part("the docker runtime"))?))
        } else {
            None
        };
        Ok(Self { process, docker })
    }

    /// The address by which containers reach this host: what the engine says, or said last. Containers that
    /// run call that address even while their engine is down.
    pub(super) async fn gateway(&self, config: &Config, dir: &Path) -> Option<IpAddr> {
        let docker = self.docker.as_ref().filter(|_| config.callback.containers)?;
        match timeout(ENGINE_START_MAX, docker.gateway()).await {
            Ok(Ok(ip)) => {
                if let Err(error) = addresses::remember_gateway(dir, ip) {
                    tracing::warn!(%error, "cannot remember the address of this host for containers");
                }
                Some(ip)
            }
            Ok(Err(error)) => {
                let last = addresses::last_gateway(dir);
                tracing::info!(%error, ?last, "the engine does not say how containers reach this host");
                last
            }
            Err(_) => addresses::last_gateway(dir),
        }
    }

    /// Gives them to the supervisor, each with the base of the callback addresses that its attempts are told.
    pub(super) fn register(
        self,
        mut builder: Builder,
        local_url: &str,
        container_url: Option<String>,
        workers: Option<WorkerUrls>,
    ) -> Builder {
        let WorkerUrls { local: local_worker, containers: container_worker } = workers.unwrap_or_default();
        if let Some(process) = self.process {
            if let Some(url) = local_worker {
                builder = builder.worker_url(process.name(), url);
            }
            builder = builder.callback_url(process.name(), local_url).runtime(process);
        }
        if let Some(docker) = self.docker {
            builder = match container_url {
                Some(url) => builder.callback_url(docker.name(), url),
                None => builder,
            };
            if let Some(url) = container_worker {
                builder = builder.worker_url(docker.name(), url);
            }
            builder = builder.runtime(docker);
        }
        builder
    }
}

/// Where the workers of pools connect.
#[derive(Debug, Default)]
pub(super) struct WorkerUrls {
    /// Processes of this host.
    local: Option<String>,
    /// Containers.
    containers: Option<String>,
}

impl WorkerUrls {
    /// Those of a listener on these sockets.
    pub(super) fn of(sockets: &Sockets, config: &Config) -> Self {
        let url = |address| super::grpc_url(address, config);
        Self { local: Some(url(sockets.local)), containers: sockets.containers.map(url) }
    }
}

fn wants_process(config: &Config) -> bool {
    config.process.enabled && config.server.runtime != RuntimeChoice::Docker
}

fn wants_docker(config: &Config) -> bool {
    config.server.runtime != RuntimeChoice::Process
}

fn docker(config: &Config, installation: InstallationId) -> runtime::Result<DockerRuntime> {
    let section = &config.docker;
    DockerRuntime::connect(DockerOptions {
        host: section.host.clone(),
        installation,
        name_prefix: section.prefix.clone(),
        defaults: Defaults {
            cpu_cores: section.cpu,
            memory_bytes: section.memory.as_bytes(),
            pids: section.pids,
            host_gateway: config
                .callback
                .docker_url
                .as_deref()
                .is_some_and(|url| url.contains("host.docker.internal")),
        },
        host_paths: section.host_paths.clone(),
    })
}

/// A runtime's answer to `doctor`: its name, and its version or what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeHealth {
    /// The runtime's name.
    pub name: &'static str,
    /// Its name and version with what attempts may share, or why it cannot be used.
    pub health: Result<String, String>,
}

/// Asks every configured runtime how it is, without touching anything of a server that runs.
pub async fn healths(config: &Config, shim: Shim) -> Vec<RuntimeHealth> {
    let mut found = Vec::new();
    if wants_process(config) {
        // A directory of its own: opening the real one clears up in it, which is the server's business.
        let id = RandomIds.installation_id();
        let dir = std::env::temp_dir().join(format!("dogwatch-doctor-{id}"));
        let health = match ProcessRuntime::new(ProcessOptions::new(&dir, id), shim) {
            Ok(process) => health(&process).await,
            Err(error) => Err(error.to_string()),
        };
        drop(std::fs::remove_dir_all(&dir));
        found.push(RuntimeHealth { name: "process", health });
    }
    if wants_docker(config) {
        let health = match docker(config, RandomIds.installation_id()) {
            Ok(docker) => health(&docker).await,
            Err(error) => Err(error.to_string()),
        };
        found.push(RuntimeHealth { name: "docker", health });
    }
    found
}

async fn health(runtime: &dyn Runtime) -> Result<String, String> {
    const PATIENCE: Duration = ENGINE_START_MAX;
    match timeout(PATIENCE, runtime.health()).await {
        Ok(Ok(Health { version, cpus, memory_bytes })) => {
            Ok(format!("{version}, {cpus} cores, {} MiB", memory_bytes >> 20))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it does not answer within {} s", PATIENCE.as_secs())),
    }
}

/// Whether containers reach the callback listener on `port`: `Ok` with what was found, `Err` with why not.
/// `None`: there is nothing to try, or no way to.
pub async fn probe_container_callback(config: &Config, port: Option<u16>) -> Option<Result<String, String>> {
    if !wants_docker(config) || !config.callback.containers {
        return None;
    }
    let docker = docker(config, RandomIds.installation_id()).ok()?;
    let stand_in;
    let url = match (&config.callback.docker_url, port) {
        (Some(url), _) => url.clone(),
        (None, Some(port)) => super::base_url((docker.gateway().await.ok()?, port).into()),
        (None, None) => {
            stand_in = match StandIn::listen(docker.gateway().await.ok()?).await {
                Ok(stand_in) => stand_in,
                Err(error) => return Some(Err(format!("nothing can listen where containers call: {error}"))),
            };
            super::base_url(stand_in.address)
        }
    };
    match docker.probe_callback(&url).await {
        Ok(CallbackProbe::Reached) => Some(Ok(format!("containers reach {url}"))),
        Ok(CallbackProbe::Unreachable(message)) => {
            Some(Err(format!("containers do not reach {url}: {message}")))
        }
        Ok(CallbackProbe::Untested(message)) => Some(Ok(format!("not tried from a container: {message}"))),
        Err(error) => Some(Ok(format!("not tried from a container: {error}"))),
    }
}

/// A listener that takes the place of the callback listener while no server runs: it answers whatever comes.
struct StandIn {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StandIn {
    async fn listen(ip: IpAddr) -> std::io::Result<Self> {
        const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        let listener = tokio::net::TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                // The request is small; that it came at all is what counts.
                let mut request = [0; 1024];
                drop(connection.read(&mut request).await);
                drop(connection.write_all(ANSWER).await);
            }
        });
        Ok(Self { address, task })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_chooses_the_runtimes() {
        for (runtime, enabled, process, docker) in [
            (RuntimeChoice::Auto, true, true, true),
            (RuntimeChoice::Auto, false, false, true),
            (RuntimeChoice::Docker, true, false, true),
            (RuntimeChoice::Process, true, true, false),
        ] {
            let mut config = Config::default();
            config.server.runtime = runtime;
            config.process.enabled = enabled;
            assert_eq!(
                (wants_process(&config), wants_docker(&config)),
                (process, docker),
                "{runtime:?} {enabled}"
            );
        }
    }
}
