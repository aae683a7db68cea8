//! Connections on their way from the socket to the thread that serves them, and there.
//!
//! Not responsible for what is served, nor for when to stop.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;

use actix_http::HttpService;
use actix_rt::ArbiterHandle;
use actix_service::map_config;
use actix_web::App;
use actix_web::dev::{AppConfig, Service, ServiceFactory as _};
use actix_web::web::{self, ServiceConfig};
use futures_util::future::{join_all, try_join_all};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::stop::{Stage, Stopping};
use crate::api::routes::not_found;
use crate::limits::{
    ACCEPT_PAUSE, CONNECTIONS_HANDED_MAX, CONNECTIONS_MAX, DISCONNECT_TIMEOUT, KEEP_ALIVE,
    REQUEST_HEAD_TIMEOUT, SHUTDOWN_TIMEOUT,
};

/// A connection and the right to be open.
struct Handed {
    stream: StdStream,
    peer: SocketAddr,
    seat: OwnedSemaphorePermit,
}

/// A thread that serves, as seen from the sockets.
pub(super) struct Thread {
    seats: Arc<Semaphore>,
    hand: mpsc::Sender<Handed>,
}

/// Begins to serve on these threads, or on this one.
pub(super) fn start(
    threads: &[ArbiterHandle],
    stopping: &Stopping,
    routes: impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
) -> Vec<Thread> {
    let begin = |thread: Option<&ArbiterHandle>| {
        let (hand, handed) = mpsc::channel(CONNECTIONS_HANDED_MAX);
        let (stopping, routes) = (stopping.clone(), routes.clone());
        let begin = move || drop(actix_rt::spawn(serve(handed, stopping, routes)));
        match thread {
            // On one that has ended nobody takes what is handed over, and the server ends with it.
            Some(thread) => drop(thread.spawn_fn(begin)),
            None => begin(),
        }
        Thread { seats: Arc::new(Semaphore::new(CONNECTIONS_MAX)), hand }
    };
    if threads.is_empty() { vec![begin(None)] } else { threads.iter().map(Some).map(begin).collect() }
}

/// Gives every connection to the thread that has the fewest, until it is told to stop. Ends when all of them have.
pub(super) async fn accept(
    sockets: Vec<StdListener>,
    threads: Vec<Thread>,
    mut stopping: Stopping,
) -> io::Result<()> {
    let sockets = sockets.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?;
    let ended = {
        let accepting = sockets.iter().map(|socket| accept_from(socket, &threads));
        tokio::select! {
            () = stopping.reached(Stage::Draining) => Ok(()),
            ended = try_join_all(accepting) => ended.map(drop),
        }
    };
    drop(sockets);
    // What comes instead is told to stop by it.
    drop(stopping);
    if ended.is_ok() {
        join_all(threads.iter().map(|thread| thread.hand.closed())).await;
    }
    ended
}

async fn accept_from(socket: &TcpListener, threads: &[Thread]) -> io::Result<()> {
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "no connections can be taken; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(thread) = threads.iter().max_by_key(|thread| thread.seats.available_permits()) else {
            return Err(io::Error::other("there is no thread that serves connections"));
        };
        // Nobody closes the seats.
        let Ok(seat) = Arc::clone(&thread.seats).acquire_owned().await else { continue };
        let handed = Handed { stream: stream.into_std()?, peer, seat };
        let gone = |_| io::Error::other("a thread that served connections has ended");
        thread.hand.send(handed).await.map_err(gone)?;
    }
}

/// The client went away before it was its turn; the socket is as good as before.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Serves what is handed to this thread, until the server is told to stop or is gone.
async fn serve(
    mut handed: mpsc::Receiver<Handed>,
    mut stopping: Stopping,
    routes: impl FnOnce(&mut ServiceConfig) + 'static,
) {
    let app = App::new().configure(routes).default_service(web::to(not_found));
    let signal = stopping.clone();
    let service = HttpService::build()
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(REQUEST_HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        // A client that hung up is gone: what it followed ends, and its seat is free.
        .h1_allow_half_closed(false)
        .graceful_shutdown_signal(move || {
            let mut stopping = signal.clone();
            async move { stopping.reached(Stage::Draining).await }
        })
        .h1(map_config(app, |_| AppConfig::default()));
    // What is wrong is told where it is found.
    let Ok(service) = service.new_service(()).await else { return };
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = stopping.reached(Stage::Draining) => break,
            next = handed.recv() => match next {
                Some(next) => seat(&service, next, &mut open).await,
                None => break,
            },
            Some(_ended) = open.join_next() => {}
        }
    }
    handed.close();
    while let Some(next) = handed.recv().await {
        seat(&service, next, &mut open).await;
    }
    tokio::select! {
        () = async { while open.join_next().await.is_some() {} } => {}
        () = tokio::time::sleep(SHUTDOWN_TIMEOUT) => {}
        () = stopping.reached(Stage::Closing) => {}
    }
    open.shutdown().await;
}

/// Begins to serve one connection. How it ends concerns nobody but its client.
async fn seat<S>(service: &S, handed: Handed, open: &mut JoinSet<()>)
where
    S: Service<(TcpStream, Option<SocketAddr>)>,
    S::Future: 'static,
{
    let Handed { stream, peer, seat } = handed;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    if poll_fn(|cx| service.poll_ready(cx)).await.is_err() {
        return;
    }
    let served = service.call((stream, Some(peer)));
    open.spawn_local(async move {
        drop(served.await);
        drop(seat);
    });
}
