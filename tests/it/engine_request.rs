//! A request to the engine, as far as a test tells one from another.
//!
//! Not responsible for: anything that the engine's clients here do not send, such as bodies in chunks.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Create,
    Start,
    Inspect,
    List,
    Wait,
    Logs,
    Kill,
    Remove,
    Events,
    Other,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    /// The name or the id of the container that it is about.
    pub(crate) about: String,
    /// As it is passed on.
    pub(crate) bytes: Vec<u8>,
}

impl Request {
    /// Reads one, and asks for the connection to be closed after the answer.
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Self> {
        let head = read_head(from).await?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let (mut bytes, mut length) = (format!("{first}\r\nConnection: close\r\n"), 0);
        for line in lines {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            match name.as_str() {
                "connection" => continue,
                "content-length" => length = line["content-length:".len()..].trim().parse().unwrap(),
                "transfer-encoding" => panic!("no request of dogwatch has a body like this: {line}"),
                _ => {}
            }
            bytes.push_str(line);
            bytes.push_str("\r\n");
        }
        bytes.push_str("\r\n");
        let mut body = vec![0; length];
        from.read_exact(&mut body).await?;
        let (kind, about) = sort(&first);
        Ok(Self { kind, about, bytes: [bytes.into_bytes(), body].concat() })
    }
}

/// What a request line asks, and about which container.
fn sort(line: &str) -> (Kind, String) {
    let mut words = line.split(' ');
    let (method, url) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let is_version = |part: &str| {
        part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let parts: Vec<&str> = path.split('/').skip(1).skip_while(|part| is_version(part)).collect();
    let kind = match (method, parts.as_slice()) {
        ("POST", ["containers", "create"]) => {
            let name = query.split('&').find_map(|pair| pair.strip_prefix("name="));
            return (Kind::Create, name.unwrap_or_default().to_owned());
        }
        ("GET", ["containers", "json"]) => Kind::List,
        ("GET", ["events"]) => Kind::Events,
        ("POST", ["containers", _, "start"]) => Kind::Start,
        ("GET", ["containers", _, "json"]) => Kind::Inspect,
        ("POST", ["containers", _, "wait"]) => Kind::Wait,
        ("GET", ["containers", _, "logs"]) => Kind::Logs,
        ("POST", ["containers", _, "kill"]) => Kind::Kill,
        ("DELETE", ["containers", _]) => Kind::Remove,
        _ => Kind::Other,
    };
    let about = if kind == Kind::Other { "" } else { parts.get(1).copied().unwrap_or_default() };
    (kind, about.to_owned())
}

/// A first line and the headers, to the empty line.
pub(crate) async fn read_head(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
    }
    Ok(head)
}

/// One chunk of a chunked answer, as it came.
pub(crate) async fn read_chunk(from: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut chunk = Vec::new();
    from.read_until(b'\n', &mut chunk).await?;
    let length = usize::from_str_radix(String::from_utf8_lossy(&chunk).trim(), 16)
        .ok()
        .filter(|length| *length > 0)
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let begin = chunk.len();
    chunk.resize(begin + length + 2, 0);
    from.read_exact(&mut chunk[begin..]).await?;
    Ok(chunk)
}
