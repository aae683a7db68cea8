//! A tiny HTTP/1.1 server that answers as it is told and remembers what it was asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What it was asked.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What it does with the requests, all of them alike.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends these bytes, then the same block again and again until the client goes away.
    Flood { head: Vec<u8>, block: Vec<u8> },
    /// Reads the request and says nothing, but keeps the connection.
    Silence,
    /// Reads the request and closes.
    HangUp,
}

impl Answer {
    pub(crate) fn status(status: &str) -> Self {
        Self::with(status, "", "")
    }

    /// `extra` is whole header lines.
    pub(crate) fn with(status: &str, extra: &str, body: &str) -> Self {
        let length = body.len();
        Self::Bytes(
            format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{extra}\r\n{body}"
            )
            .into_bytes(),
        )
    }
}

/// A running server; it stops with the test's runtime.
pub(crate) struct Receiver {
    pub(crate) addr: SocketAddr,
    pub(crate) requests: mpsc::UnboundedReceiver<Received>,
    connections: Arc<AtomicUsize>,
}

impl Receiver {
    /// A server on a free port of 127.0.0.1.
    pub(crate) async fn answering(answer: Answer) -> Self {
        Self::listening(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    /// A server on this listener.
    pub(crate) fn listening(listener: TcpListener, answer: Answer) -> Self {
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (sender, requests) = mpsc::unbounded_channel();
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, answer.clone(), sender.clone()));
            }
        });
        Self { addr, requests, connections }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request; waits for it.
    pub(crate) async fn request(&mut self) -> Received {
        let patience = std::time::Duration::from_secs(30);
        tokio::time::timeout(patience, self.requests.recv()).await.unwrap().unwrap()
    }
}

/// Serves one request of one connection.
pub(crate) async fn serve<S>(mut stream: S, answer: Answer, requests: mpsc::UnboundedSender<Received>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(received) = read(&mut stream).await else { return };
    // The test may have seen enough.
    drop(requests.send(received));
    match answer {
        Answer::HangUp => {}
        Answer::Silence => drop(stream.read(&mut [0; 1]).await),
        Answer::Bytes(bytes) => {
            drop(stream.write_all(&bytes).await);
            drop(stream.shutdown().await);
        }
        Answer::Flood { head, block } => {
            let mut sent = stream.write_all(&head).await;
            while sent.is_ok() {
                sent = stream.write_all(&block).await;
            }
        }
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Received> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head_end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Received { line, headers, body: bytes.split_off(head_end + 4) })
}
