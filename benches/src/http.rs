//! The least HTTP/1.1 client there is: request bytes made ahead, one answer at a time over a connection that is
//! kept. It shares the machine's cores with what it measures, so it does nothing that the measurement does
//! not need.
//!
//! Not responsible for: redirects, TLS, trailers, anything that our servers do not send.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::error::{Error, Result};

/// Bytes that a connection reads at once: every answer that is measured fits, a list of jobs takes some.
const READ_BYTES: usize = 16 * 1024;

/// Where requests go, and with which key.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    key: String,
}

impl Target {
    /// From a base URL such as `http://127.0.0.1:7070`.
    pub(crate) fn new(url: &str, key: &str) -> Result<Self> {
        let text = url.trim_start_matches("http://").trim_end_matches('/');
        let address = text.parse().map_err(|_| Error::NotHttp(format!("`{url}` is no address")))?;
        Ok(Self { address, key: key.to_owned() })
    }

    /// The bytes of a request without a body.
    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        let Self { address, key } = self;
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\r\n").into_bytes()
    }

    /// The bytes of a request with a JSON body.
    pub(crate) fn post(&self, path: &str, body: &str) -> Vec<u8> {
        self.post_as(&self.key, path, body)
    }

    /// The same with another key.
    pub(crate) fn post_as(&self, key: &str, path: &str, body: &str) -> Vec<u8> {
        let (address, length) = (self.address, body.len());
        format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// One request over a connection of its own.
    pub(crate) async fn ask(&self, request: &[u8], expected: u16) -> Result<Value> {
        let mut connection = Connection::open(self.address).await?;
        let answer = connection.exchange(request).await?;
        if answer.status != expected {
            return Err(unexpected(expected, &answer));
        }
        let text = || String::from_utf8_lossy(answer.body).into_owned();
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(answer.body).map_err(|_| Error::NotHttp(text()))
    }
}

/// The error for an answer of another status.
pub(crate) fn unexpected(expected: u16, answer: &Answer<'_>) -> Error {
    let body = String::from_utf8_lossy(answer.body).chars().take(300).collect();
    Error::Status { expected, status: answer.status, body }
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    /// What was read of the current answer.
    buffer: Vec<u8>,
    /// The decoded body of an answer in chunks.
    joined: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let broken = |source| Error::Connection { what: address.to_string(), source };
        let stream = TcpStream::connect(address).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        Ok(Self { stream, address, buffer: Vec::with_capacity(READ_BYTES), joined: Vec::new() })
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.buffer.clear();
        self.send(request).await?;
        let head = loop {
            if let Some(head) = Head::read(&self.buffer)? {
                break head;
            }
            self.read_more().await?;
        };
        let status = head.status;
        match head.length {
            Some(length) => {
                while self.buffer.len() < head.bytes + length {
                    self.read_more().await?;
                }
                Ok(Answer { status, body: &self.buffer[head.bytes..head.bytes + length] })
            }
            None => {
                while !self.join_chunks(head.bytes)? {
                    self.read_more().await?;
                }
                Ok(Answer { status, body: &self.joined })
            }
        }
    }

    /// Sends a request whose answer is read by [`Connection::read_more`].
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await.map_err(|source| self.broken(source))
    }

    /// Reads what has come, and gives all that was read since the request.
    pub(crate) async fn read_more(&mut self) -> Result<&mut Vec<u8>> {
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(&mut self.buffer),
            Err(source) => Err(self.broken(source)),
        }
    }

    fn broken(&self, source: io::Error) -> Error {
        Error::Connection { what: self.address.to_string(), source }
    }

    /// Whether all chunks are there, which are then joined.
    fn join_chunks(&mut self, mut at: usize) -> Result<bool> {
        self.joined.clear();
        loop {
            let Some(line) = position(&self.buffer[at..], b"\r\n") else { return Ok(false) };
            let text = String::from_utf8_lossy(&self.buffer[at..at + line]);
            let length = usize::from_str_radix(text.trim(), 16)
                .map_err(|_| Error::NotHttp(format!("`{text}` is no length of a chunk")))?;
            let start = at + line + 2;
            if self.buffer.len() < start + length + 2 {
                return Ok(false);
            }
            if length == 0 {
                return Ok(true);
            }
            self.joined.extend_from_slice(&self.buffer[start..start + length]);
            at = start + length + 2;
        }
    }
}

/// What is needed of the head of an answer.
struct Head {
    status: u16,
    /// Its own length.
    bytes: usize,
    /// The length of the body; `None` for one in chunks.
    length: Option<usize>,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(end) = position(bytes, b"\r\n\r\n") else { return Ok(None) };
        let foreign = || Error::NotHttp(String::from_utf8_lossy(&bytes[..end]).into_owned());
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| foreign())?;
        let status = text.get(9..12).and_then(|code| code.parse().ok()).ok_or_else(foreign)?;
        let mut length = Some(0);
        for (name, value) in text.lines().skip(1).filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse().map_err(|_| foreign())?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = None;
            }
        }
        Ok(Some(Self { status, bytes: end + 4, length }))
    }
}

/// Where `wanted` begins.
pub(crate) fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn exchange_with(answers: &'static [u8]) -> (u16, Vec<u8>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4];
            stream.read_exact(&mut request).await.unwrap();
            // In small parts, as a network may bring them.
            for part in answers.chunks(3) {
                stream.write_all(part).await.unwrap();
                stream.flush().await.unwrap();
            }
        };
        let ask = async {
            let mut connection = Connection::open(address).await.unwrap();
            let answer = connection.exchange(b"ping").await.unwrap();
            (answer.status, answer.body.to_vec())
        };
        futures_util::future::join(serve, ask).await.1
    }

    #[tokio::test]
    async fn both_ways_of_sending_a_body_are_read() {
        let plain = b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(exchange_with(plain).await, (202, b"hello".to_vec()));
        let chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
        assert_eq!(exchange_with(chunks).await, (200, b"hello".to_vec()));
        assert_eq!(exchange_with(b"HTTP/1.1 204 No Content\r\n\r\n").await, (204, vec![]));
    }
}
