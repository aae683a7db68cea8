//! Looking up the host of a webhook so that what was judged is what is connected to.
//!
//! Responsible for: one lookup per connection, every address judged, and only judged addresses handed to the
//! connector. Not responsible for the rules (`guard`) nor for addresses written in the URL, which no HTTP
//! client resolves.
//!
//! Invariant: one address that may not be reached refuses the whole host. A name that answers with a public
//! and a private address is an attack or a mistake; picking the good one would make it a matter of luck.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::Guard;

/// A name service.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `host`.
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The name service of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// The resolver of a client whose every connection is judged.
pub(super) struct GuardedResolver {
    pub(super) guard: Arc<Guard>,
    pub(super) lookup: Arc<dyn Lookup>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.guard);
        let looking = self.lookup.lookup(name.as_str().to_owned());
        Box::pin(async move {
            let found = looking.await?;
            for address in &found {
                guard.judge(*address)?;
            }
            // Port 0 stands for the port of the URL.
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
