//! Connections from outside: where they are served, and how they end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix_rt::Arbiter;
use actix_web::HttpResponse;
use actix_web::web::{self, Bytes};
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::*;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// A server in the background.
struct Served {
    address: SocketAddr,
    stop: ServerHandle,
    ended: actix_rt::task::JoinHandle<io::Result<()>>,
}

fn begin(
    threads: &[ArbiterHandle],
    routes: impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
) -> Served {
    let socket = open("127.0.0.1:0".parse().unwrap()).unwrap();
    let listening = serve(vec![socket], threads, routes).unwrap();
    let stop = listening.server.handle();
    Served { address: listening.addresses[0], stop, ended: actix_rt::spawn(listening.server) }
}

async fn ask(client: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
}

/// What comes until it ends so.
async fn answer(client: &mut TcpStream, end: &str) -> String {
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(end.as_bytes()) {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "it ends with {end}");
        }
    };
    timeout(PATIENCE, read).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Whether nothing more comes.
async fn is_closed(client: &mut TcpStream) -> bool {
    let read = timeout(PATIENCE, client.read(&mut [0; 64])).await.unwrap();
    read.is_err() || read.is_ok_and(|bytes| bytes == 0)
}

/// Without this the seats of clients that went away would never be free again.
#[actix_web::test]
async fn a_silent_stream_ends_when_its_client_hangs_up() {
    let (tell, mut dropped) = mpsc::channel(4);
    let served = begin(&[], move |config| {
        config.route("/follow", web::to(move || follow(tell.clone())));
    });
    let mut client = TcpStream::connect(served.address).await.unwrap();
    ask(&mut client, "/follow").await;
    answer(&mut client, "hello\r\n").await;
    assert!(dropped.try_recv().is_err(), "it goes on while the client is there");
    drop(client);
    let news = timeout(PATIENCE, dropped.recv()).await;
    assert_eq!(news, Ok(Some(())), "the stream outlived its client");
    served.stop.stop(false).await;
}

#[actix_web::test]
async fn a_connection_goes_to_the_thread_that_has_the_fewest_and_stays_there() {
    let arbiters = [Arbiter::new(), Arbiter::new()];
    let threads: Vec<ArbiterHandle> = arbiters.iter().map(Arbiter::handle).collect();
    let served = begin(&threads, |config| {
        config.route("/", web::to(|| async { format!("{:?}", thread::current().id()) }));
    });
    let mut clients: BTreeMap<String, Vec<TcpStream>> = BTreeMap::new();
    for _ in 0..6 {
        let mut client = TcpStream::connect(served.address).await.unwrap();
        ask(&mut client, "/").await;
        let first = answer(&mut client, ")").await;
        ask(&mut client, "/").await;
        assert_eq!(answer(&mut client, ")").await.lines().last(), first.lines().last());
        clients.entry(first.lines().last().unwrap().to_owned()).or_default().push(client);
    }
    let counts: Vec<usize> = clients.values().map(Vec::len).collect();
    assert_eq!(counts, [3, 3]);
    served.stop.stop(true).await;
    assert!(arbiters.into_iter().all(|arbiter| arbiter.stop()));
}

#[actix_web::test]
async fn a_server_that_drains_answers_what_is_being_asked_and_takes_nothing_new() {
    let arbiter = Arbiter::new();
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let gates = (Arc::clone(&asked), Arc::clone(&go));
    let served = begin(&[arbiter.handle()], move |config| {
        config.route("/quick", web::to(|| async { "quick" }));
        let slow = move || {
            let (asked, go) = gates.clone();
            async move {
                asked.notify_one();
                go.notified().await;
                "slow"
            }
        };
        config.route("/slow", web::to(slow));
    });
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    ask(&mut idle, "/quick").await;
    answer(&mut idle, "quick").await;
    let mut busy = TcpStream::connect(served.address).await.unwrap();
    ask(&mut busy, "/slow").await;
    asked.notified().await;
    let stop = served.stop.clone();
    let stopped = actix_rt::spawn(async move { stop.stop(true).await });
    assert!(is_closed(&mut idle).await, "one on which nothing is asked is closed at once");
    assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens any more");
    assert!(!stopped.is_finished(), "one answer is still due");
    go.notify_one();
    answer(&mut busy, "slow").await;
    assert!(is_closed(&mut busy).await);
    timeout(PATIENCE, stopped).await.unwrap().unwrap();
    assert!(served.ended.await.unwrap().is_ok());
    arbiter.stop();
}

#[actix_web::test]
async fn a_server_that_closes_waits_for_nobody() {
    let (tell, mut dropped) = mpsc::channel(4);
    let served = begin(&[], move |config| {
        config.route("/follow", web::to(move || follow(tell.clone())));
    });
    let mut client = TcpStream::connect(served.address).await.unwrap();
    ask(&mut client, "/follow").await;
    answer(&mut client, "hello\r\n").await;
    // Who drains can still be told to close.
    let stop = served.stop.clone();
    let draining = actix_rt::spawn(async move { stop.stop(true).await });
    served.stop.stop(false).await;
    assert_eq!(dropped.try_recv(), Ok(()), "nothing is open when it has ended");
    assert!(is_closed(&mut client).await);
    timeout(PATIENCE, draining).await.unwrap().unwrap();
}

#[actix_web::test]
async fn a_server_ends_when_a_thread_that_serves_has_ended() {
    let arbiter = Arbiter::new();
    let served = begin(&[arbiter.handle()], |config| {
        config.route("/", web::to(|| async { "here" }));
    });
    arbiter.stop();
    arbiter.join().unwrap();
    let _client = TcpStream::connect(served.address).await.unwrap();
    let ended = timeout(PATIENCE, served.ended).await.unwrap().unwrap();
    assert!(ended.unwrap_err().to_string().contains("a thread that served connections has ended"));
}

#[actix_web::test]
async fn a_server_that_is_dropped_closes_what_is_open() {
    let (tell, mut dropped) = mpsc::channel(4);
    let served = begin(&[], move |config| {
        config.route("/follow", web::to(move || follow(tell.clone())));
    });
    let mut client = TcpStream::connect(served.address).await.unwrap();
    ask(&mut client, "/follow").await;
    answer(&mut client, "hello\r\n").await;
    served.ended.abort();
    drop(served.stop);
    assert_eq!(timeout(PATIENCE, dropped.recv()).await, Ok(Some(())));
    assert!(is_closed(&mut client).await);
}
