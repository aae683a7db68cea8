//! The one place where store, supervisor and listeners are put together.
//!
//! What comes out is two addresses and the way down. The runtimes are chosen in `runtimes.rs`; nothing else in
//! this package names a store or the builder.
//!
//! The sockets for callbacks are opened first of all: attempts of the last start call as soon as anything
//! listens, and what they are told at their start must be the port that is really ours.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use dogwatch_actors::admission::Rules;
use dogwatch_actors::bucket::{self, Bucket};
use dogwatch_actors::data_dir::Home;
use dogwatch_actors::fleet::Budget;
use dogwatch_actors::handle::{schedules, triggers};
use dogwatch_actors::limits::JOBS_QUEUED_MAX;
use dogwatch_actors::outbound::guard::Guard;
use dogwatch_actors::schedule::{ScheduleId, Spec};
use dogwatch_actors::secret::Secret;
use dogwatch_actors::supervisor::{StartError, Supervisor};
use dogwatch_actors::trigger::{self, TriggerId};
use tokio::sync::mpsc;

use super::runtimes::{Runtimes, WorkerUrls};
use super::{Error, Fatal, base_url};
use crate::api::Auth;
use crate::api::server::{self, ServerOptions};
use crate::callbacks;
use crate::config::Config;
use crate::durable_task;
use crate::durable_task::sockets::{Sockets, Wishes};
use crate::listener::{BindError, Listening, ServerHandle};

pub use dogwatch_actors::runtime::process::Shim;

/// What a server is made of.
pub(super) struct Parts<'a> {
    /// The configuration.
    pub(super) config: &'a Config,
    /// The stores that are declared.
    pub(super) stores: &'a BTreeMap<String, bucket::Config>,
    /// Who of the jobs that wait is next.
    pub(super) rules: Rules,
    /// The data directory, locked.
    pub(super) home: Home,
    /// The root key of the API.
    pub(super) root_key: Secret,
    /// Where the API listens.
    pub(super) listen: SocketAddr,
    /// Where the callback listener may listen, best first; never empty.
    pub(super) callback: Vec<SocketAddr>,
    /// Where workers connect, where they may.
    pub(super) grpc: Option<SocketAddr>,
    /// The port by which the workers of attempts that may run since the last start know us.
    pub(super) last_grpc_port: Option<u16>,
    /// The proof that the process runtime may start shims.
    pub(super) shim: Shim,
}

/// A supervisor with its listeners.
pub(super) struct Assembled {
    /// Where the API listens.
    pub(super) api: SocketAddr,
    /// Where the callback listener listens for attempts on this machine.
    pub(super) callback: SocketAddr,
    /// The listener for workers, where there is one.
    pub(super) grpc: Option<durable_task::server::Listening>,
    supervisor: Supervisor,
    listeners: Vec<ServerHandle>,
    ended: mpsc::Receiver<String>,
}

impl fmt::Debug for Assembled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembled").field("api", &self.api).field("callback", &self.callback).finish()
    }
}

/// Opens the store, starts the supervisor and then the listeners.
pub(super) async fn assemble(parts: Parts<'_>) -> Result<Assembled, Error> {
    let Parts { config, rules, stores, home, root_key, listen, callback, grpc, last_grpc_port, shim } = parts;
    let auth = Auth::keys([&root_key]).map_err(|error| part("the API", &error))?;
    let runtimes = Runtimes::open(config, &home, shim)?;
    let gateway = runtimes.gateway(config, home.dir().path()).await;
    let callback = CallbackSockets::open(&callback, gateway)?;
    let grpc = grpc.map(|listen| open_grpc(config, listen, last_grpc_port, gateway)).transpose()?;

    let builder = home.builder_on(config.store.engine.kind()).await?;
    let mut builder = builder
        // Also where none can connect now: instances whose code is elsewhere wait for it.
        .workers(true)
        .budget(budget(config))
        .admission(rules)
        .queued_max(config.fleet.queued_max.unwrap_or(JOBS_QUEUED_MAX))
        .weakest_security_profile(config.security.weakest_profile)
        .host_paths(config.docker.host_paths.clone())
        .webhook_guard(Guard {
            allow_private: config.webhooks.allow_private_networks,
            allowed: config.webhooks.allowed.clone(),
        });
    if let Some((name, store)) = config.artifacts.store.as_ref().and_then(|name| stores.get_key_value(name)) {
        let opened = Bucket::open(name, store).map_err(|error| part("the artifact store", &error))?;
        builder = builder.artifacts(opened);
    }
    if let Some(threads) = config.server.threads {
        builder = builder.threads(threads);
    }
    let container_url = config.callback.docker_url.clone().or_else(|| callback.containers.map(base_url));
    let worker_urls = grpc.as_ref().map(|grpc| WorkerUrls::of(grpc, config));
    builder = builder.trigger_directories(config.security.trigger_directories.clone()).stores(stores.clone());
    builder = runtimes.register(builder, &base_url(callback.local), container_url, worker_urls);
    let supervisor = builder.start().await.map_err(start_error)?;

    let (told, ended) = mpsc::channel(2);
    let mut assembled = Assembled {
        api: listen,
        callback: callback.local,
        grpc: None,
        supervisor,
        listeners: Vec::new(),
        ended,
    };
    let grpc = assembled.listen_for_workers(config, grpc, auth.clone()).await;
    let listening = grpc.and_then(|()| {
        assembled.listen(
            callback.sockets,
            ServerOptions {
                address: listen,
                handle: assembled.supervisor.handle(),
                auth,
                allow_remote: config.server.allow_remote,
            },
            &told,
        )
    });
    match listening {
        Ok(()) => Ok(assembled),
        Err(error) => {
            assembled.shutdown(Duration::ZERO).await;
            Err(error)
        }
    }
}

impl Assembled {
    fn listen(
        &mut self,
        sockets: Vec<TcpListener>,
        api: ServerOptions,
        told: &mpsc::Sender<String>,
    ) -> Result<(), Error> {
        let handle = api.handle.clone();
        let callbacks =
            callbacks::server::serve(sockets, handle).map_err(|error| bind_error("callbacks", error))?;
        self.serve("the callback listener", callbacks, told);
        let api = server::bind(api).map_err(|error| bind_error("the API", error))?;
        self.api = api.addresses.first().copied().unwrap_or(self.api);
        self.serve("the API", api, told);
        Ok(())
    }

    /// Declares the schedules of the configuration.
    pub(super) async fn declare(&self, declared: &BTreeMap<ScheduleId, Spec>) -> schedules::Result<()> {
        self.supervisor.handle().schedules().reconcile(declared.clone()).await
    }

    /// Declares the triggers of the configuration.
    pub(super) async fn declare_triggers(
        &self,
        declared: &BTreeMap<TriggerId, trigger::Spec>,
    ) -> triggers::Result<()> {
        self.supervisor.handle().triggers().reconcile(declared.clone()).await
    }

    async fn listen_for_workers(
        &mut self,
        config: &Config,
        sockets: Option<Sockets>,
        auth: Auth,
    ) -> Result<(), Error> {
        let Some(sockets) = sockets else { return Ok(()) };
        let handle = self.supervisor.handle();
        for hub in &config.grpc.task_hubs {
            handle.task_hubs().create(hub).await?;
        }
        let tls = match (&config.grpc.tls_cert, &config.grpc.tls_key) {
            (None, None) => None,
            (chain, key) => {
                Some((read("grpc.tls_cert", chain.as_ref())?, read("grpc.tls_key", key.as_ref())?))
            }
        };
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // Half of what the actors have: the other half of a call is theirs and the store's.
        let threads = config.server.threads.unwrap_or_else(cores).div_ceil(2);
        self.grpc = Some(durable_task::server::serve(durable_task::server::Options {
            sockets,
            handle,
            auth,
            tls,
            threads,
        })?);
        Ok(())
    }

    fn serve(&mut self, name: &'static str, listening: Listening, told: &mpsc::Sender<String>) {
        self.listeners.push(listening.server.handle());
        let told = told.clone();
        actix_web::rt::spawn(async move {
            let message = match listening.server.await {
                Ok(()) => format!("{name} stopped"),
                Err(error) => format!("{name}: {error}"),
            };
            // After a shutdown nobody listens any more.
            drop(told.try_send(message));
        });
    }

    /// Resolves when it cannot go on: a listener ended by itself, or something fatal happened.
    pub(super) async fn failed(&mut self) -> Error {
        let handle = self.supervisor.handle();
        let grpc = async {
            match &mut self.grpc {
                Some(grpc) => grpc.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            fatal = Fatal::of(&handle) => Error::Fatal(fatal),
            message = grpc => Error::ListenerEnded(format!("the gRPC listener: {message}")),
            message = self.ended.recv() => {
                Error::ListenerEnded(message.unwrap_or_else(|| "both stopped".to_owned()))
            }
        }
    }

    /// Stops the listeners (what is being asked is answered within `grace`), then the supervisor; attempts
    /// go on.
    pub(super) async fn shutdown(mut self, grace: Duration) {
        if let Some(grpc) = self.grpc.take() {
            grpc.stop().await;
        }
        let stopped =
            futures_util::future::join_all(self.listeners.iter().map(|listener| listener.stop(true)));
        if tokio::time::timeout(grace, stopped).await.is_err() {
            tracing::debug!("some clients were still following when the listeners were left to themselves");
        }
        self.supervisor.shutdown().await;
    }
}

/// The open sockets of the callback listener, all on one port.
struct CallbackSockets {
    sockets: Vec<TcpListener>,
    /// Where attempts on this machine call.
    local: SocketAddr,
    /// Where containers call, when there is such a place.
    containers: Option<SocketAddr>,
}

impl CallbackSockets {
    /// Opens the first candidate that works, and on the same port the address by which containers reach us.
    fn open(candidates: &[SocketAddr], gateway: Option<IpAddr>) -> Result<Self, Error> {
        let mut refused = None;
        for candidate in candidates {
            match Self::try_open(*candidate, gateway) {
                Ok(opened) => {
                    if refused.is_some() {
                        tracing::warn!(
                            port = opened.local.port(),
                            "the callback port of the last start is taken: attempts that run since then cannot make callbacks"
                        );
                    }
                    return Ok(opened);
                }
                Err(error) => refused = Some(error),
            }
        }
        Err(bind_error("callbacks", refused.unwrap_or(BindError::NoAddress)))
    }

    fn try_open(candidate: SocketAddr, gateway: Option<IpAddr>) -> Result<Self, BindError> {
        // An address that stands for all of them has the gateway in it.
        let extra = gateway.filter(|ip| !candidate.ip().is_unspecified() && *ip != candidate.ip());
        if let Some(ip) = extra {
            match callbacks::server::open_all(&[candidate, SocketAddr::new(ip, candidate.port())]) {
                Ok(sockets) => return Self::new(candidate, sockets, gateway),
                // Attempts on this machine matter too much to be lost to a fault on the bridge.
                Err(error) => tracing::warn!(
                    %error,
                    "containers may be unable to make callbacks; free the address or set callback.docker_url"
                ),
            }
        }
        let sockets = callbacks::server::open_all(&[candidate])?;
        Self::new(candidate, sockets, gateway.filter(|_| extra.is_none()))
    }

    fn new(
        wanted: SocketAddr,
        sockets: Vec<TcpListener>,
        gateway: Option<IpAddr>,
    ) -> Result<Self, BindError> {
        let first = sockets.first().ok_or(BindError::NoAddress)?;
        let local = first.local_addr().map_err(|source| BindError::Io { address: wanted, source })?;
        let containers = gateway.map(|ip| SocketAddr::new(ip, local.port()));
        Ok(Self { sockets, local, containers })
    }
}

fn open_grpc(
    config: &Config,
    listen: SocketAddr,
    last_port: Option<u16>,
    gateway: Option<IpAddr>,
) -> Result<Sockets, Error> {
    Ok(Sockets::open(Wishes {
        listen,
        last_port,
        gateway,
        has_tls: config.grpc.tls_cert.is_some() || config.grpc.tls_key.is_some(),
        allow_remote: config.server.allow_remote,
        allow_without_key: config.grpc.allow_without_key,
    })?)
}

fn read(setting: &'static str, path: Option<&PathBuf>) -> Result<Vec<u8>, Error> {
    let path = path.cloned().unwrap_or_default();
    std::fs::read(&path).map_err(|source| Error::File { setting, path, source })
}

fn budget(config: &Config) -> Budget {
    let fleet = &config.fleet;
    let usual = Budget::default();
    Budget {
        attempts_max: fleet.attempts_max.unwrap_or(usual.attempts_max),
        cpus: fleet.cpus.unwrap_or(usual.cpus),
        memory_bytes: fleet.memory.map_or(usual.memory_bytes, |size| size.as_bytes()),
    }
}

fn part(part: &'static str, error: &dyn fmt::Display) -> Error {
    Error::Part { part, message: error.to_string() }
}

fn start_error(error: StartError) -> Error {
    match error {
        StartError::Store(error) => Error::Store(error),
        error => part("the supervisor", &error),
    }
}

fn bind_error(purpose: &'static str, error: BindError) -> Error {
    match error {
        BindError::Remote { address } => Error::RemoteRefused(address),
        BindError::Io { address, source } => Error::Listen { address, purpose, source },
        error => part(purpose, &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn containers_call_the_gateway_on_the_same_port() {
        let gateway: Option<IpAddr> = Some("127.0.0.2".parse().unwrap());
        for (candidate, gateway, sockets, containers) in [
            ("127.0.0.1:0", None, 1, None),
            ("127.0.0.1:0", gateway, 2, gateway),
            ("127.0.0.2:0", gateway, 1, gateway),
            ("0.0.0.0:0", gateway, 1, gateway),
            // No interface of this machine has it: attempts on this machine are served all the same.
            ("127.0.0.1:0", Some("192.0.2.1".parse().unwrap()), 1, None),
        ] {
            let opened = CallbackSockets::open(&[at(candidate)], gateway).unwrap();
            assert_eq!(opened.sockets.len(), sockets, "{candidate} {gateway:?}");
            assert_eq!(opened.containers, containers.map(|ip| SocketAddr::new(ip, opened.local.port())));
        }
    }

    #[test]
    fn a_taken_port_leads_to_the_next_candidate_or_says_so() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap();
        let opened = CallbackSockets::open(&[port, at("127.0.0.1:0")], None).unwrap();
        assert_ne!(opened.local, port);
        let Err(error) = CallbackSockets::open(&[port], None) else { panic!("opened twice") };
        assert!(error.to_string().contains("port 0 picks a free port"), "{error}");
    }
}
