//! A bounded HTTP server over sockets that are already bound, on the threads on which the actors live.
//!
//! A request is answered by an actor as a rule, and where that is on the same thread nobody has to be woken: to pass work
//! between threads was measured as a fifth of a submission. So there are no threads for HTTP: each connection is given to
//! the thread that has the fewest.
//!
//! Responsible for what has to be set where a server is built: threads, connections, time limits, shutdown.
//! What is served is the caller's. Signals are not handled here: the process decides when to stop.
//!
//! Invariants: a connection stays on its thread; none is open after the server has ended.

mod connections;
mod stop;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_rt::ArbiterHandle;
use actix_web::web::ServiceConfig;
use futures_util::future::LocalBoxFuture;

pub use self::stop::ServerHandle;

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// It can be reached from other machines.
    #[error(
        "{address} can be reached from other machines; listen on 127.0.0.1, or allow remote access and put a \
         proxy with TLS in front"
    )]
    Remote {
        /// The address.
        address: SocketAddr,
    },
    /// The operating system refused.
    #[error("cannot listen on {address}: {source}; choose another address, or stop what uses it")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
    /// No address was given.
    #[error("there is no address to listen on; give at least one")]
    NoAddress,
    /// The server could not take the sockets.
    #[error("the server cannot be built: {0}")]
    Server(#[source] io::Error),
}

/// A server that listens.
pub struct Listening {
    /// The addresses, with the ports that were chosen.
    pub addresses: Vec<SocketAddr>,
    /// The server; it serves while it is polled and ends after [`Server::handle`] was told to stop it.
    pub server: Server,
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Takes connections until it is stopped.
pub struct Server {
    handle: ServerHandle,
    serving: LocalBoxFuture<'static, io::Result<()>>,
}

impl Server {
    /// The way to stop it.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Future for Server {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.serving.as_mut().poll(cx)
    }
}

/// Binds `address`.
pub(crate) fn open(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).map_err(|source| BindError::Io { address, source })
}

/// Serves `routes` on `sockets`, on these threads; on the caller's where there are none.
pub(crate) fn serve(
    sockets: Vec<TcpListener>,
    threads: &[ArbiterHandle],
    routes: impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
) -> Result<Listening, BindError> {
    let mut addresses = Vec::with_capacity(sockets.len());
    for socket in &sockets {
        socket.set_nonblocking(true).map_err(BindError::Server)?;
        addresses.push(socket.local_addr().map_err(BindError::Server)?);
    }
    let (handle, stopping) = stop::pair();
    let threads = connections::start(threads, &stopping, routes);
    let serving = Box::pin(connections::accept(sockets, threads, stopping));
    Ok(Listening { addresses, server: Server { handle, serving } })
}
