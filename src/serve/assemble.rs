//! The one place where store, supervisor and listeners are put together.
//!
//! What comes out is two addresses and the way down. The runtimes are chosen in `runtimes.rs`; nothing else in
//! this package names a store or the builder.
//!
//! The sockets for callbacks are opened first of all: attempts of the last start call as soon as anything
//! listens, and what they are told at their start must be the port that is really ours.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use dogwatch_actors::fleet::Budget;
use dogwatch_actors::id::InstallationId;
use dogwatch_actors::outbound::guard::Guard;
use dogwatch_actors::secret::{Keyring, Secret};
use dogwatch_actors::store::{self, Store};
use dogwatch_actors::supervisor::{StartError, Supervisor};
use tokio::sync::mpsc;

use super::data_dir::DataDir;
use super::runtimes::Runtimes;
use super::{Error, base_url};
use crate::api::Auth;
use crate::api::server::{self, ServerOptions};
use crate::callbacks;
use crate::config::Config;
use crate::listener::{BindError, Listening};

pub use dogwatch_actors::runtime::process::Shim;

/// What a server is made of.
pub(super) struct Parts<'a> {
    /// The configuration.
    pub(super) config: &'a Config,
    /// The data directory, locked.
    pub(super) dir: &'a DataDir,
    /// The root key of the API.
    pub(super) root_key: Secret,
    /// The key for secrets and tokens.
    pub(super) keyring: Keyring,
    /// Who we are.
    pub(super) installation: InstallationId,
    /// Where the API listens.
    pub(super) listen: SocketAddr,
    /// Where the callback listener may listen, best first; never empty.
    pub(super) callback: Vec<SocketAddr>,
    /// The proof that the process runtime may start shims.
    pub(super) shim: Shim,
}

/// A supervisor with its listeners.
pub(super) struct Assembled {
    /// Where the API listens.
    pub(super) api: SocketAddr,
    /// Where the callback listener listens for attempts on this machine.
    pub(super) callback: SocketAddr,
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
    let Parts { config, dir, root_key, keyring, installation, listen, callback, shim } = parts;
    let auth = Auth::keys([&root_key]).map_err(|error| part("the API", &error))?;
    let runtimes = Runtimes::open(config, dir, installation, shim)?;
    let gateway = runtimes.gateway(config, dir.path()).await;
    let (sockets, callback) = open_callback_sockets(&callback, gateway)?;

    let store = open_store(config.store.engine, dir).await?;
    let mut builder = Supervisor::builder()
        .store(Arc::clone(&store))
        .keyring(keyring)
        .installation(installation)
        .logs_dir(dir.subdirectory("logs")?)
        .budget(budget(config))
        .weakest_security_profile(config.security.weakest_profile)
        .webhook_guard(Guard { allow_private: config.webhooks.allow_private_networks, ..Guard::default() });
    if let Some(threads) = config.server.threads {
        builder = builder.threads(threads);
    }
    let container_url = match (&config.callback.docker_url, sockets.iter().nth(1)) {
        (Some(url), _) => Some(url.clone()),
        (None, Some(socket)) => socket.local_addr().ok().map(base_url),
        (None, None) => None,
    };
    builder = runtimes.register(builder, &base_url(callback), container_url);
    let supervisor = builder.start().await.map_err(start_error)?;

    let (told, ended) = mpsc::channel(2);
    let mut assembled = Assembled { api: listen, callback, supervisor, listeners: Vec::new(), ended };
    match assembled.listen(
        sockets,
        ServerOptions {
            address: listen,
            handle: assembled.supervisor.handle(),
            auth,
            allow_remote: config.server.allow_remote,
        },
        &told,
    ) {
        Ok(()) => Ok(assembled),
        Err(error) => {
            assembled.shutdown().await;
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

    /// Resolves when a listener ended by itself.
    pub(super) async fn failed(&mut self) -> Error {
        let message = self.ended.recv().await;
        Error::ListenerEnded(message.unwrap_or_else(|| "both stopped".to_owned()))
    }

    /// Stops the listeners (what is being asked is answered), then the supervisor; attempts go on.
    pub(super) async fn shutdown(self) {
        futures_util::future::join_all(self.listeners.iter().map(|listener| listener.stop(true))).await;
        self.supervisor.shutdown().await;
    }
}

/// Opens the socket for attempts on this machine and, where there is one, that for containers; one port. The
/// first candidate that works wins.
fn open_callback_sockets(
    candidates: &[SocketAddr],
    gateway: Option<std::net::IpAddr>,
) -> Result<(Vec<TcpListener>, SocketAddr), Error> {
    let mut last = None;
    for candidate in candidates {
        let wanted: Vec<SocketAddr> = std::iter::once(*candidate)
            // An address that stands for all of them has the gateway in it.
            .chain(
                gateway
                    .filter(|ip| !candidate.ip().is_unspecified() && *ip != candidate.ip())
                    .map(|ip| SocketAddr::new(ip, candidate.port())),
            )
            .collect();
        let opened = callbacks::server::open_all(&wanted).or_else(|error| {
            let alone = callbacks::server::open_all(&wanted[..1]);
            if alone.is_ok() && wanted.len() > 1 {
                tracing::warn!(%error, "containers cannot make callbacks: set callback.docker_url, or free the address");
            }
            alone
        });
        match opened {
            Ok(sockets) => {
                let own = sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(*candidate);
                if last.is_some() {
                    tracing::warn!(
                        port = own.port(),
                        "the callback port of the last start is taken: attempts that run since then cannot make callbacks"
                    );
                }
                return Ok((sockets, own));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(bind_error("callbacks", last.unwrap_or(BindError::NoAddress)))
}

async fn open_store(engine: store::Kind, dir: &DataDir) -> Result<Arc<dyn Store>, Error> {
    let path = dir.subdirectory("store")?;
    let opened = tokio::task::spawn_blocking(move || store::open(&path, engine)).await;
    opened.map_err(|error| part("the store", &error))?.map_err(Error::Store)
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
