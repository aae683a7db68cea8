//! The server of the API: the routes at the root of an address of their own.
//!
//! Plain HTTP; beyond the machine it belongs behind a proxy that terminates TLS, which is why an address
//! that others can reach must be asked for.

use std::net::SocketAddr;

use dogwatch_actors::handle::Handle;

use super::{ApiOptions, Auth, configure};
use crate::listener::{self, BindError, Listening};

/// Where and for whom to serve.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// The supervisor.
    pub handle: Handle,
    /// Who may use it.
    pub auth: Auth,
    /// Whether the address may be reachable from other machines.
    pub allow_remote: bool,
}

/// Binds the address; the server runs when its future is polled.
pub fn bind(options: ServerOptions) -> Result<Listening, BindError> {
    let ServerOptions { address, handle, auth, allow_remote } = options;
    if !allow_remote && !address.ip().to_canonical().is_loopback() {
        return Err(BindError::Remote { address });
    }
    let sockets = vec![listener::open(address)?];
    let threads = handle.threads();
    listener::serve(sockets, &threads, configure(ApiOptions { handle, auth }))
}
