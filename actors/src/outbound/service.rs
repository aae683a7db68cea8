//! Calling a service job: the request that starts its work, and the poll for progress.
//!
//! Responsible for: one call and what its answer means. Not responsible for when the next one is made, nor
//! for what the answer does to the job.
//!
//! Not guarded as webhooks are, because the address is not the user's: it is that of an attempt which we
//! started. Invariant: a call connects to the given socket address and to no other, whatever the path says.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::client::{self, BuildError, Roots};
use super::fault::{Fault, quote};
use crate::limits::{
    SERVICE_ANSWER_BYTES_MAX, SERVICE_CONNECT_TIMEOUT, SERVICE_POLL_TIMEOUT, SERVICE_START_TIMEOUT,
};

/// A call brought no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// What happened, for people.
    pub message: String,
    /// Whether the service refused the call, so that the same call will never do; otherwise it is not ready
    /// yet, or not at the moment.
    pub refused: bool,
}

impl CallError {
    fn refused(message: impl Into<String>) -> Self {
        Self { message: message.into(), refused: true }
    }

    fn not_ready(message: impl Into<String>) -> Self {
        Self { message: message.into(), refused: false }
    }
}

/// Calls services. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServiceCaller {
    client: Client,
}

impl ServiceCaller {
    /// A caller.
    pub fn new() -> Result<Self, BuildError> {
        // Plain HTTP to an address of our own: there is nobody to trust.
        let client = client::build(Roots::none(), SERVICE_CONNECT_TIMEOUT, |builder| builder)?;
        Ok(Self { client })
    }

    /// Posts `body` to start the work. `idempotency` goes along as `Idempotency-Key`: give the same one for
    /// the same attempt, so that a service can tell a repetition.
    pub async fn start(
        &self,
        addr: SocketAddr,
        path: &str,
        body: &Value,
        idempotency: String,
    ) -> Result<Value, CallError> {
        let url = url(addr, path)?;
        let post = self.client.post(url).header("idempotency-key", idempotency).json(body);
        call(post, SERVICE_START_TIMEOUT).await
    }

    /// Gets the state of the work.
    pub async fn poll(&self, addr: SocketAddr, path: &str) -> Result<Value, CallError> {
        let url = url(addr, path)?;
        call(self.client.get(url), SERVICE_POLL_TIMEOUT).await
    }
}

/// The URL of `path` at `addr`. The path cannot change the authority: it begins with a slash, and whoever
/// reads URLs in another way is caught by the comparison.
fn url(addr: SocketAddr, path: &str) -> Result<Url, CallError> {
    let error = || CallError::refused("the service's path is not valid; write one that begins with `/`");
    if !path.starts_with('/') || path.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(error());
    }
    let base = Url::parse(&format!("http://{addr}/")).map_err(|_| error())?;
    let url = Url::parse(&format!("http://{addr}{path}")).map_err(|_| error())?;
    if url.authority() == base.authority() { Ok(url) } else { Err(error()) }
}

async fn call(request: RequestBuilder, timeout: Duration) -> Result<Value, CallError> {
    let request = request.header(ACCEPT, "application/json").timeout(timeout);
    let response = request.send().await.map_err(|error| fault(error, timeout))?;
    let status = response.status();
    if !status.is_success() {
        // The body only explains; one that cannot be read leaves the status to speak for itself.
        let explanation = read(response, timeout).await.unwrap_or_default();
        return Err(rejection(status, &String::from_utf8_lossy(&explanation)));
    }
    Ok(value(&read(response, timeout).await?))
}

fn fault(error: reqwest::Error, timeout: Duration) -> CallError {
    if error.is_builder() {
        return CallError::refused("the call to the service cannot be written as http; report this as a bug");
    }
    CallError::not_ready(match Fault::from(error) {
        Fault::Timeout => format!("the service did not answer within {} s", timeout.as_secs()),
        Fault::Connect(text) => format!("the service does not accept connections: {text}"),
        Fault::Broken(text) => format!("the service broke the connection: {text}"),
        Fault::Refused(refusal) => refusal.to_string(),
    })
}

fn rejection(status: StatusCode, explanation: &str) -> CallError {
    let mut message = format!("the service answered {}", status.as_u16());
    if status.is_redirection() {
        message.push_str(", and redirects are not followed; give the path it points at");
    }
    let explanation = quote(explanation);
    if !explanation.is_empty() {
        message.push_str(": ");
        message.push_str(&explanation);
    }
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            CallError::not_ready(message)
        }
        status if status.is_client_error() || status.is_redirection() => CallError::refused(message),
        _ => CallError::not_ready(message),
    }
}

async fn read(mut response: Response, timeout: Duration) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(error, timeout))? {
        if body.len() + chunk.len() > SERVICE_ANSWER_BYTES_MAX {
            return Err(CallError::refused(format!(
                "the service's answer is longer than {} KiB; let it answer with less",
                SERVICE_ANSWER_BYTES_MAX / 1024
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An answer as JSON: what it is, nothing if it is empty, or its text.
fn value(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(body).unwrap_or_else(|_| json!({"text": String::from_utf8_lossy(body)}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_the_address() {
        let addr: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        for path in ["/", "/start?x=1", "//evil.example/", "/@evil.example", "/..//../a", "/:99"] {
            let url = url(addr, path).unwrap();
            assert_eq!(url.authority(), "127.0.0.1:8080", "{path}");
        }
        for path in ["", "start", "@evil.example/", ":99/", ".evil.example/", "/\\evil", "/a b", "/\r\nx: y"]
        {
            assert!(url(addr, path).unwrap_err().refused, "{path:?}");
        }
        let v6: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(url(v6, "/x").unwrap().as_str(), "http://[::1]/x");
    }

    #[test]
    fn a_client_error_refuses_but_for_those_that_ask_to_try_again() {
        for (status, refused) in [
            (301, true),
            (400, true),
            (404, true),
            (408, false),
            (410, true),
            (422, true),
            (425, false),
            (429, false),
            (500, false),
            (503, false),
        ] {
            let error = rejection(StatusCode::from_u16(status).unwrap(), "");
            assert_eq!(error.refused, refused, "{status}");
            assert!(error.message.contains(&status.to_string()));
        }
    }

    #[test]
    fn an_answer_is_its_json_or_its_text() {
        assert_eq!(value(br#"{"done": 3}"#), json!({"done": 3}));
        assert_eq!(value(b"3"), json!(3));
        assert_eq!(value(b""), Value::Null);
        assert_eq!(value(b"ok"), json!({"text": "ok"}));
        assert_eq!(value(b"\xff"), json!({"text": "\u{fffd}"}));
        let deep = "[".repeat(200);
        assert_eq!(value(deep.as_bytes()), json!({"text": deep}));
    }
}
