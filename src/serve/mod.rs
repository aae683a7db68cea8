//! A server in this process: the data directory, the lock on it, the addresses, the way down.
//!
//! Responsible for: everything around the supervisor and its two listeners. Not responsible for: putting
//! those together (that is [`assemble`], and only that), or for what they answer.
//!
//! Invariants:
//! - nothing in the data directory is touched without its lock;
//! - `addresses.json` exists only while both listeners listen, or after a kill;
//! - a shutdown leaves every attempt running.

pub mod addresses;
pub mod assemble;
pub mod embedded;
pub mod fatal;
pub mod notify;
pub mod own_process;
pub mod runtimes;
pub mod signals;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dogwatch_actors::data_dir::{self, DataDir, Home, OpenError, lock};
use dogwatch_actors::fault::{self, Point};
use dogwatch_actors::id::RandomIds;
use dogwatch_actors::store;

use crate::config::{Config, Grpc, Loaded};
use crate::durable_task;
use crate::limits::{EMBEDDED_SHUTDOWN_MAX, SHUTDOWN_TIMEOUT};
use addresses::Addresses;
use assemble::{Assembled, Parts, Shim};

pub use fatal::Fatal;

/// Why a server cannot be started, or ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] data_dir::Error),
    /// Another server has the data directory.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The API would be open to other machines.
    #[error(
        "{0} can be reached from other machines and the API speaks plain HTTP; listen on 127.0.0.1 behind a proxy, or give --allow-remote (server.allow_remote = true) if that is what you want"
    )]
    RemoteRefused(SocketAddr),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {purpose}: {source}; {}", listen_hint(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What for.
        purpose: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The addresses cannot be told.
    #[error("cannot write the addresses into {}: {source}", .dir.display())]
    Addresses {
        /// The data directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The signals cannot be listened to.
    #[error("cannot listen to signals: {0}")]
    Signals(io::Error),
    /// A part of the server could not be started.
    #[error("cannot start {part}: {message}")]
    Part {
        /// Which part.
        part: &'static str,
        /// Why.
        message: String,
    },
    /// It cannot go on.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// Workers cannot connect.
    #[error(transparent)]
    Grpc(#[from] durable_task::server::Error),
    /// A file that the configuration names cannot be read.
    #[error("cannot read {} (setting {setting}): {source}", .path.display())]
    File {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A task hub of the configuration cannot be created.
    #[error("cannot create a task hub of grpc.task_hubs: {0}")]
    TaskHub(Box<dogwatch_actors::handle::hubs::Error>),
    /// A schedule of the configuration cannot be declared.
    #[error("a schedule of the configuration cannot be declared: {0}")]
    Schedule(Box<dogwatch_actors::handle::schedules::Error>),
    /// A trigger of the configuration cannot be declared.
    #[error("a trigger of the configuration cannot be declared: {0}")]
    Trigger(Box<dogwatch_actors::handle::triggers::Error>),
    /// A listener ended by itself.
    #[error("a listener ended by itself: {0}; start dogwatch again, the jobs go on meanwhile")]
    ListenerEnded(String),
}

impl From<dogwatch_actors::handle::hubs::Error> for Error {
    fn from(error: dogwatch_actors::handle::hubs::Error) -> Self {
        Self::TaskHub(Box::new(error))
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Dir(error) => Self::DataDir(error),
            OpenError::Lock(error) => Self::Lock(error),
            OpenError::Store(error) => Self::Store(error),
            error => Self::Part { part: "the store", message: error.to_string() },
        }
    }
}

impl Error {
    /// Whether another server has the data directory.
    pub const fn is_taken(&self) -> bool {
        matches!(self, Self::Lock(lock::Error::Held { .. }) | Self::Store(store::Error::Locked { .. }))
    }
}

fn listen_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "something else listens there: stop it, or choose another address (port 0 picks a free port)"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose a higher one",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        _ => "choose another address",
    }
}

/// What a server is for, which decides where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `dogwatch serve`: where the configuration says.
    Standalone,
    /// For as long as one command runs: on free ports of the loopback interface.
    Embedded,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    assembled: Assembled,
    addresses: Addresses,
    dir: DataDir,
    new_root_key: Option<PathBuf>,
    role: Role,
}

impl Server {
    /// Starts a server and returns when it answers.
    pub async fn start(loaded: &Loaded, shim: Shim, role: Role) -> Result<Self, Error> {
        let listen = match role {
            Role::Standalone => loaded.config.server.listen,
            Role::Embedded => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        if !listen.ip().is_loopback() && !loaded.config.server.allow_remote {
            return Err(Error::RemoteRefused(listen));
        }
        let key = loaded.config.server.secrets_key_file.as_deref();
        let home = Home::open_with_key(loaded.data_dir(), key).await?;
        let dir = home.dir().clone();
        let (root_key, is_new) = dir.root_key(&RandomIds)?;
        let new_root_key = is_new.then(|| dir.root_key_path());
        let callback = callback_candidates(loaded.config.callback.listen, role, dir.path());
        let config = &loaded.config;
        let grpc = grpc_address(config, role);
        let last_grpc_port = addresses::last_grpc_port(dir.path());
        let (stores, rules) = (loaded.stores(), loaded.admission().clone());
        let parts =
            Parts { config, rules, stores, home, root_key, listen, callback, grpc, last_grpc_port, shim };
        let assembled = assemble::assemble(parts).await?;
        // A server for one command has nothing to do with what the next one is told.
        if role == Role::Standalone
            && let Err(error) = assembled.declare(loaded.schedules()).await
        {
            assembled.shutdown(Duration::ZERO).await;
            return Err(Error::Schedule(Box::new(error)));
        }
        if role == Role::Standalone
            && let Err(error) = assembled.declare_triggers(loaded.triggers()).await
        {
            assembled.shutdown(Duration::ZERO).await;
            return Err(Error::Trigger(Box::new(error)));
        }
        let addresses = Addresses {
            api: base_url(assembled.api),
            callback: base_url(assembled.callback),
            grpc: assembled.grpc.as_ref().map(|grpc| grpc_url(grpc.address, config)),
            pid: std::process::id(),
        };
        fault::reach(Point::RecoveryListening);
        let told = addresses::remember_callback_port(dir.path(), assembled.callback.port())
            .and_then(|()| match &assembled.grpc {
                Some(grpc) => addresses::remember_grpc_port(dir.path(), grpc.address.port()),
                None => Ok(()),
            })
            .and_then(|()| addresses.write(dir.path()));
        if let Err(source) = told {
            assembled.shutdown(Duration::ZERO).await;
            return Err(Error::Addresses { dir: dir.path().to_owned(), source });
        }
        fault::reach(Point::RecoveryTold);
        Ok(Self { assembled, addresses, dir, new_root_key, role })
    }

    /// Where it listens.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The file with the root key, when this start made it.
    pub fn new_root_key(&self) -> Option<&Path> {
        self.new_root_key.as_deref()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Resolves when it no longer works and should be ended.
    pub async fn failed(&mut self) -> Error {
        self.assembled.failed().await
    }

    /// Answers what is being asked, commits what is being committed, and leaves every attempt running.
    pub async fn shutdown(self) {
        // First the address, so that no client sets out for a server that is about to go.
        Addresses::remove_own(self.dir.path());
        let grace = match self.role {
            // The listeners have a limit of their own, a little below this.
            Role::Standalone => SHUTDOWN_TIMEOUT.saturating_add(Duration::from_secs(1)),
            Role::Embedded => EMBEDDED_SHUTDOWN_MAX,
        };
        self.assembled.shutdown(grace).await;
    }
}

/// The addresses to try for the callback listener, best first: running attempts hold the port of the last
/// start, so a free choice falls on that one.
fn callback_candidates(configured: SocketAddr, role: Role, dir: &Path) -> Vec<SocketAddr> {
    let wanted = match role {
        Role::Standalone => configured,
        Role::Embedded => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    };
    let last = addresses::last_callback_port(dir).filter(|_| wanted.port() == 0);
    last.map(|port| SocketAddr::new(wanted.ip(), port)).into_iter().chain([wanted]).collect()
}

/// Where workers connect. Where the API has a free port they get one as well: several servers may run side by side.
fn grpc_address(config: &Config, role: Role) -> Option<SocketAddr> {
    if role == Role::Embedded || !config.grpc.enabled {
        return None;
    }
    let usual = match config.server.listen.port() {
        0 => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        _ => Grpc::DEFAULT_LISTEN,
    };
    Some(config.grpc.listen.unwrap_or(usual))
}

fn grpc_url(bound: SocketAddr, config: &Config) -> String {
    let url = base_url(bound);
    if config.grpc.tls_cert.is_some() { url.replacen("http:", "https:", 1) } else { url }
}

/// The URL under which a client on this machine reaches a listener at `bound`.
fn base_url(bound: SocketAddr) -> String {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, bound.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_callback_port_is_tried_first() {
        let dir = tempfile::tempdir().unwrap();
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert_eq!(callback_candidates(at(0), Role::Standalone, dir.path()), [at(0)]);
        addresses::remember_callback_port(dir.path(), 41_000).unwrap();
        for (configured, role, expected) in [
            (at(0), Role::Standalone, vec![at(41_000), at(0)]),
            (at(7071), Role::Standalone, vec![at(7071)]),
            (at(7071), Role::Embedded, vec![at(41_000), at(0)]),
        ] {
            assert_eq!(callback_candidates(configured, role, dir.path()), expected);
        }
    }

    #[test]
    fn a_url_can_be_called_from_this_machine() {
        for (bound, expected) in [
            ("127.0.0.1:7070", "http://127.0.0.1:7070"),
            ("0.0.0.0:1", "http://127.0.0.1:1"),
            ("[::]:1", "http://[::1]:1"),
        ] {
            assert_eq!(base_url(bound.parse().unwrap()), expected);
        }
    }
}
