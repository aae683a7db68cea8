//! The one place where store, runtimes, supervisor and listeners are put together.
//!
//! Nothing else in this package names a store, a runtime or the builder; what comes out is two addresses and
//! the way down.

use std::fmt;
use std::net::SocketAddr;

use dogwatch_actors::id::InstallationId;
use dogwatch_actors::secret::{Keyring, Secret};

use super::Error;
use super::data_dir::DataDir;
use crate::config::Config;

/// The proof that `main` has let an attempt's shim go its own way.
#[derive(Debug, Clone)]
pub struct Shim(());

impl Shim {
    /// Does not return in a process that was started as the shim of an attempt. To be called first in `main`.
    pub fn enter() -> Self {
        Self(())
    }
}

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
}

impl fmt::Debug for Assembled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembled").field("api", &self.api).field("callback", &self.callback).finish()
    }
}

/// Opens the store, starts the supervisor and then the listeners.
pub(super) async fn assemble(parts: Parts<'_>) -> Result<Assembled, Error> {
    let Parts { config, dir, root_key, keyring, installation, listen, callback, shim } = parts;
    let _ = (config, dir.path(), root_key, keyring, installation, listen, callback, shim);
    Err(Error::Part { part: "the supervisor", message: "it is not part of this build".to_owned() })
}

impl Assembled {
    /// Resolves when a listener ended by itself.
    pub(super) async fn failed(&mut self) -> Error {
        std::future::pending().await
    }

    /// Stops the listeners (what is being asked is answered), then the supervisor; attempts go on.
    pub(super) async fn shutdown(self) {}
}

/// Whether a callback to `url` arrives from inside a container. `None`: that cannot be tried here.
pub async fn probe_container_callback(config: &Config, url: &str) -> Option<Result<(), String>> {
    let _ = (config, url);
    None
}

/// A runtime's answer to `doctor`: its name, and its version or what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeHealth {
    /// The runtime's name.
    pub name: &'static str,
    /// Its name and version with what attempts may share, or why it cannot be used.
    pub health: Result<String, String>,
}

/// Asks every configured runtime how it is.
pub async fn runtimes_health(config: &Config) -> Vec<RuntimeHealth> {
    let _ = config;
    Vec::new()
}
