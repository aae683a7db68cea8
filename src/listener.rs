//! A bounded HTTP server over sockets that are already bound.
//!
//! Responsible for what has to be set where a server is built: workers, connections, time limits, shutdown.
//! What is served is the caller's. Signals are not handled here: the process decides when to stop.

use std::io;
use std::net::{SocketAddr, TcpListener};

use actix_web::dev::Server;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpServer};

use crate::api::routes::not_found;
use crate::limits::{
    CONNECTIONS_MAX, DISCONNECT_TIMEOUT, KEEP_ALIVE, REQUEST_HEAD_TIMEOUT, SHUTDOWN_TIMEOUT_SECONDS,
};

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

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Binds `address`.
pub(crate) fn open(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).map_err(|source| BindError::Io { address, source })
}

/// Serves `routes` on `sockets`.
pub(crate) fn serve(
    sockets: Vec<TcpListener>,
    workers: usize,
    routes: impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
) -> Result<Listening, BindError> {
    let mut server =
        HttpServer::new(move || App::new().configure(routes.clone()).default_service(web::to(not_found)))
            .workers(workers)
            .max_connections(CONNECTIONS_MAX)
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(REQUEST_HEAD_TIMEOUT)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            // A client that hung up is gone: what it followed ends, and its seat is free.
            .h1_allow_half_closed(false)
            .shutdown_timeout(SHUTDOWN_TIMEOUT_SECONDS)
            .disable_signals();
    for socket in sockets {
        server = server.listen(socket).map_err(BindError::Server)?;
    }
    let addresses = server.addrs();
    Ok(Listening { addresses, server: server.run() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::HttpResponse;
    use actix_web::web::Bytes;
    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::mpsc;

    use super::*;

    /// Tells when it is dropped.
    struct Guard(mpsc::Sender<()>);

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.try_send(()).expect("the test has room for the news");
        }
    }

    /// A stream that says hello and then nothing.
    async fn follow(tell: mpsc::Sender<()>) -> HttpResponse {
        let silence = stream::unfold((Guard(tell), true), |(guard, first)| async move {
            if !first {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, io::Error>(Bytes::from_static(b"hello")), (guard, false)))
        });
        HttpResponse::Ok().streaming(silence)
    }

    /// Without this the seats of clients that went away would never be free again.
    #[actix_web::test]
    async fn a_silent_stream_ends_when_its_client_hangs_up() {
        let (tell, mut dropped) = mpsc::channel(4);
        let routes = move |config: &mut ServiceConfig| {
            config.route("/follow", web::to(move || follow(tell.clone())));
        };
        let socket = open("127.0.0.1:0".parse().unwrap()).unwrap();
        let listening = serve(vec![socket], 1, routes).unwrap();
        let stop = listening.server.handle();
        actix_web::rt::spawn(listening.server);
        let mut client = tokio::net::TcpStream::connect(listening.addresses[0]).await.unwrap();
        client.write_all(b"GET /follow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello\r\n") {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert!(dropped.try_recv().is_err(), "it goes on while the client is there");
        drop(client);
        let news = tokio::time::timeout(Duration::from_secs(5), dropped.recv()).await;
        assert_eq!(news, Ok(Some(())), "the stream outlived its client");
        stop.stop(false).await;
    }
}
