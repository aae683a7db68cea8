//! What sends the requests of a load. It shares the machine's cores with what it measures, so what it costs is a part of
//! every rate and ratio: a dear one hides the server behind itself, a cheap one shows it.
//!
//! Not responsible for: when a load ends, what counts (`load.rs`).

use std::net::SocketAddr;

use futures_util::future::try_join_all;
use reqwest::Method;

use crate::error::{Error, Result};
use crate::http::{Answer, Connection, position};

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// Our own, which does nothing that a measurement does not need.
    Lean,
    /// `reqwest`, which most programs in Rust use.
    Reqwest,
}

impl Client {
    pub(crate) const BOTH: [Self; 2] = [Self::Reqwest, Self::Lean];

    /// What a figure that was measured with it is called.
    pub(crate) fn figure(self, what: &str) -> String {
        let name = match self {
            Self::Lean => "lean client",
            Self::Reqwest => "reqwest",
        };
        format!("{what}, {name}")
    }

    /// So many connections that are kept.
    pub(crate) async fn open(self, address: SocketAddr, connections: usize) -> Result<Vec<Line>> {
        match self {
            Self::Lean => {
                let opened = (0..connections).map(|_| Connection::open(address));
                Ok(try_join_all(opened).await?.into_iter().map(Line::Lean).collect())
            }
            Self::Reqwest => {
                dogwatch::client::install_tls();
                let client = reqwest::Client::builder()
                    .tls_certs_only([])
                    .pool_max_idle_per_host(connections)
                    .tcp_nodelay(true)
                    .no_proxy()
                    .build()
                    .map_err(|source| broken(address, source))?;
                let line = || Line::Reqwest(Pooled { client: client.clone(), address, body: Vec::new() });
                Ok((0..connections).map(|_| line()).collect())
            }
        }
    }
}

/// One that waits for each answer before it sends the next request.
#[derive(Debug)]
pub(crate) enum Line {
    Lean(Connection),
    Reqwest(Pooled),
}

impl Line {
    /// Sends a request, given as its bytes, and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        match self {
            Self::Lean(connection) => connection.exchange(request).await,
            Self::Reqwest(pooled) => pooled.exchange(request).await,
        }
    }
}

/// One of those that share a client and its connections.
#[derive(Debug)]
pub(crate) struct Pooled {
    client: reqwest::Client,
    address: SocketAddr,
    /// Of the current answer.
    body: Vec<u8>,
}

impl Pooled {
    async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        let Request { method, path, headers, body } = Request::read(request)?;
        let mut sending = self.client.request(method, format!("http://{}{path}", self.address));
        for (name, value) in headers {
            sending = sending.header(name, value);
        }
        let failed = |source| broken(self.address, source);
        let answer = sending.body(body.to_vec()).send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        self.body.clear();
        self.body.extend_from_slice(&answer.bytes().await.map_err(failed)?);
        Ok(Answer { status, body: &self.body })
    }
}

/// The parts of a request's bytes.
struct Request<'a> {
    method: Method,
    path: &'a str,
    /// Without those that a client writes itself.
    headers: Vec<(&'a str, &'a str)>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        let foreign = || Error::NotHttp(String::from_utf8_lossy(bytes).into_owned());
        let end = position(bytes, b"\r\n\r\n").ok_or_else(foreign)?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| foreign())?;
        let (first, rest) = head.split_once("\r\n").unwrap_or((head, ""));
        let mut words = first.split(' ');
        let method = words.next().and_then(|word| word.parse().ok()).ok_or_else(foreign)?;
        let path = words.next().ok_or_else(foreign)?;
        let own = |name: &str| ["host", "content-length"].iter().any(|own| name.eq_ignore_ascii_case(own));
        let headers = rest.split("\r\n").filter_map(|line| line.split_once(": "));
        let headers = headers.filter(|(name, _)| !own(name)).collect();
        Ok(Self { method, path, headers, body: &bytes[end + 4..] })
    }
}

fn broken(address: SocketAddr, source: reqwest::Error) -> Error {
    Error::Connection { what: address.to_string(), source: std::io::Error::other(source) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::http::Target;

    /// What a server hears of a request that this client sends; its answer is read, too.
    async fn heard_of(client: Client) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let request = Target::new(&format!("http://{address}"), "a-key").unwrap().post("/v1/jobs", "{}");
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(b"\r\n\r\n{}") {
                stream.read_buf(&mut heard).await.unwrap();
            }
            stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
            String::from_utf8(heard).unwrap().to_lowercase()
        };
        let ask = async {
            let mut lines = client.open(address, 1).await.unwrap();
            let answer = lines[0].exchange(&request).await.unwrap();
            assert_eq!((answer.status, answer.body), (202, &b"hello"[..]));
        };
        futures_util::future::join(serve, ask).await.0
    }

    #[tokio::test]
    async fn both_send_the_same_request() {
        for client in Client::BOTH {
            let heard = heard_of(client).await;
            assert!(heard.starts_with("post /v1/jobs http/1.1\r\n"), "{heard}");
            for header in
                ["authorization: bearer a-key", "content-type: application/json", "content-length: 2"]
            {
                assert_eq!(heard.matches(header).count(), 1, "{heard}");
            }
            assert_eq!(heard.matches("host: ").count(), 1, "{heard}");
        }
    }
}
