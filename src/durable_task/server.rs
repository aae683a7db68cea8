//! The listener: its threads, its limits, its keys, the way down.
//!
//! It has threads of its own, because what it is served by is no actix: a call may hold for days, and none holds up
//! the API or an actor.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use dogwatch_actors::handle::Handle;
use dogwatch_actors::orchestration::executor::Remote;
use futures_util::FutureExt as _;
use futures_util::future::{Fuse, FusedFuture as _};
use tokio::sync::{oneshot, watch};
use tonic::body::Body;
use tonic::codegen::{Service as TowerService, http};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use super::gate::Gate;
use super::proto::task_hub_sidecar_service_server::TaskHubSidecarServiceServer;
use super::service::Service;
use super::sockets::Sockets;
use crate::api::Auth;
use crate::limits::{
    DURABLE_TASK_CALL_WINDOW, DURABLE_TASK_CALLS_PER_CONNECTION_MAX, DURABLE_TASK_CONNECTION_WINDOW,
    DURABLE_TASK_KEEP_ALIVE, DURABLE_TASK_MESSAGE_BYTES_MAX, DURABLE_TASK_SHUTDOWN_MAX,
};

/// Why it cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The supervisor takes no workers.
    #[error("the supervisor was built without workers; build it with `Builder::workers(true)`")]
    NoWorkers,
    /// It would be open to everybody who reaches the machine.
    #[error(
        "{0} can be reached from other machines and gRPC without TLS shows its keys; listen on 127.0.0.1, give \
         grpc.tls_cert and grpc.tls_key, or allow it with server.allow_remote"
    )]
    Remote(SocketAddr),
    /// It would let everybody in.
    #[error(
        "grpc.allow_without_key lets everybody in who reaches {0}, which are other machines; listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for gRPC: {source}; choose another address, or stop what uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error(
        "the certificate for gRPC cannot be used: {0}; give a PEM file with the chain, and one with its key"
    )]
    Tls(String),
    /// The threads cannot be started.
    #[error("the threads for gRPC cannot be started: {0}")]
    Threads(io::Error),
}

/// What to serve.
pub struct Options {
    /// Where it listens.
    pub sockets: Sockets,
    /// Whose orchestrations.
    pub handle: Handle,
    /// Who may call.
    pub auth: Auth,
    /// The certificate chain and its key, as PEM.
    pub tls: Option<(Vec<u8>, Vec<u8>)>,
    /// On how many threads.
    pub threads: usize,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

/// A listener that serves.
#[derive(Debug)]
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddr,
    remote: Remote,
    stop: watch::Sender<bool>,
    ended: Fuse<oneshot::Receiver<String>>,
}

impl Listening {
    /// Resolves when it ended, and why; only once. May be dropped and asked for again.
    pub async fn ended(&mut self) -> String {
        (&mut self.ended).await.unwrap_or_else(|_| "its threads ended".to_owned())
    }

    /// Stops it: no more calls are taken, and those that are under way have a moment to end.
    pub async fn stop(mut self) {
        self.remote.close();
        self.stop.send_replace(true);
        if self.ended.is_terminated() {
            return;
        }
        if tokio::time::timeout(DURABLE_TASK_SHUTDOWN_MAX * 2, self.ended()).await.is_err() {
            tracing::warn!("the threads for gRPC did not end in time and were left to themselves");
        }
    }
}

/// Starts serving.
pub fn serve(options: Options) -> Result<Listening, Error> {
    let Options { sockets, handle, auth, tls, threads } = options;
    let remote = handle.workers().cloned().ok_or(Error::NoWorkers)?;
    let (address, pools) = (sockets.local, handle.pools());
    let auth = if sockets.is_open { Auth::none() } else { auth };
    let servers = sockets.gates().map(|(socket, admits)| Ok((socket, admits, builder(tls.clone())?)));
    let servers = servers.collect::<Result<Vec<_>, Error>>()?;
    let (stop, stopped) = watch::channel(false);
    let service = TaskHubSidecarServiceServer::new(Service::new(handle, remote.clone(), stopped.clone()))
        .max_decoding_message_size(DURABLE_TASK_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(usize::MAX);
    let runtime = runtime(threads).map_err(Error::Threads)?;
    let (told, ended) = oneshot::channel();
    let serving = servers.into_iter().map(|(socket, admits, server)| {
        let gate = Gate::new(service.clone(), auth.clone(), pools.clone(), admits);
        Box::pin(serve_one(server, socket, gate, stopped.clone()))
    });
    // Whichever ends first: none of them ends by itself.
    let serving = futures_util::future::select_all(serving.collect::<Vec<_>>());
    let run = move || {
        let (message, ..) = runtime.block_on(serving);
        // What is still being asked is dropped with its thread.
        runtime.shutdown_background();
        drop(told.send(message));
    };
    std::thread::Builder::new().name("dogwatch-grpc".to_owned()).spawn(run).map_err(Error::Threads)?;
    Ok(Listening { address, remote, stop, ended: ended.fuse() })
}

/// Threads that wake each other cost more than they do, as long as one is enough.
fn runtime(threads: usize) -> io::Result<tokio::runtime::Runtime> {
    use tokio::runtime::Builder;
    let mut builder = match threads {
        0 | 1 => Builder::new_current_thread(),
        threads => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.thread_name("dogwatch-grpc").enable_all().build()
}

/// Serves one socket until it is told to stop; why it ended.
async fn serve_one<S>(
    server: Server,
    socket: TcpListener,
    gate: Gate<S>,
    stopped: watch::Receiver<bool>,
) -> String
where
    Gate<S>: TowerService<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    <Gate<S> as TowerService<http::Request<Body>>>::Future: Send,
{
    let incoming = tokio::net::TcpListener::from_std(socket)
        .map(|socket| TcpIncoming::from(socket).with_nodelay(Some(true)));
    let incoming = match incoming {
        Ok(incoming) => incoming,
        Err(error) => return error.to_string(),
    };
    // Without a router: there is one service, and it answers for every path.
    let served = server.serve_with_incoming_shutdown(gate, incoming, wait(stopped.clone()));
    // Streams of work never end by themselves.
    let late = async {
        wait(stopped).await;
        tokio::time::sleep(DURABLE_TASK_SHUTDOWN_MAX).await;
    };
    tokio::select! {
        served = served => served.map_or_else(|error| error.to_string(), |()| "it stopped".to_owned()),
        () = late => "it stopped".to_owned(),
    }
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // Without its owner it goes on for as long as the process does.
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn builder(tls: Option<(Vec<u8>, Vec<u8>)>) -> Result<Server, Error> {
    let server = Server::builder()
        .max_concurrent_streams(DURABLE_TASK_CALLS_PER_CONNECTION_MAX)
        .initial_connection_window_size(DURABLE_TASK_CONNECTION_WINDOW)
        .initial_stream_window_size(DURABLE_TASK_CALL_WINDOW)
        .http2_keepalive_interval(Some(DURABLE_TASK_KEEP_ALIVE))
        .http2_keepalive_timeout(Some(DURABLE_TASK_KEEP_ALIVE))
        .tcp_nodelay(true);
    match tls {
        None => Ok(server),
        Some((chain, key)) => server
            .tls_config(ServerTlsConfig::new().identity(Identity::from_pem(chain, key)))
            .map_err(|error| Error::Tls(error.to_string())),
    }
}
