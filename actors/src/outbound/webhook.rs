//! Delivering one webhook, once: a signed POST to an address that the guard allows.
//!
//! Responsible for: one attempt at a delivery, and whether another one can help. Not responsible for
//! repeating it, for its order or for what becomes of it.
//!
//! Invariants:
//! - only a 2xx is a delivery; a redirect is a failure, whatever it points at;
//! - the same `id`, `timestamp` and body have the same signature, so that a repetition is one.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode};

use super::client::{self, BuildError, Roots};
use super::cloudevent;
use super::fault::Fault;
use super::guard::{Guard, Refusal};
use super::resolver::{GuardedResolver, Lookup, SystemLookup};
use super::sign::{self, InvalidSecret, SigningKey};
use crate::clock::Timestamp;
use crate::limits::{WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_CONNECT_TIMEOUT, WEBHOOK_TIMEOUT};
use crate::secret::Secret;

/// One attempt at a delivery.
#[derive(Clone)]
pub struct Request {
    /// Where it goes.
    pub url: String,
    /// The message's id, the same for every attempt at it: visible ASCII without the full stop.
    pub id: String,
    /// When this attempt is made; receivers refuse what is too old.
    pub timestamp: Timestamp,
    /// A CloudEvent in JSON.
    pub body: Bytes,
    /// What it is signed with. Absent or empty: it is not signed.
    pub secret: Option<Secret>,
}

impl fmt::Debug for Request {
    /// Leaves the URL out: the path and query of a webhook are often a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("timestamp", &self.timestamp)
            .field("body_bytes", &self.body.len())
            .field("secret", &self.secret)
            .finish_non_exhaustive()
    }
}

/// Why a webhook was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It may not go there; nothing was sent.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be signed; nothing was sent.
    #[error(transparent)]
    Secret(#[from] InvalidSecret),
    /// Its id cannot be sent.
    #[error("the webhook's id is not visible ascii without a full stop; report this as a bug")]
    Id,
    /// The receiver wants no more of them.
    #[error("the receiver answered 410 gone; submit further jobs without this webhook")]
    Gone,
    /// The receiver did not accept it.
    #[error("the receiver answered {0}; webhooks need a 2xx answer, and redirects are not followed")]
    Status(u16),
    /// It took too long.
    #[error("the receiver did not answer within {} s; let it answer first and work later", WEBHOOK_TIMEOUT.as_secs())]
    Timeout,
    /// No connection: the name, the network, the port or TLS.
    #[error("the receiver cannot be reached: {0}; check its name, port and certificate")]
    Connect(String),
    /// The connection broke before the answer.
    #[error("the connection to the receiver broke before it answered: {0}; check the receiver's log")]
    Broken(String),
    /// https, and no certificate authority to check it with.
    #[error("this system trusts no certificate authority; install its ca-certificates to use https")]
    NoRoots,
}

impl SendError {
    /// Whether no repetition can help.
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Secret(_) | Self::Id | Self::Gone => true,
            Self::Status(_) | Self::Timeout | Self::Connect(_) | Self::Broken(_) | Self::NoRoots => false,
        }
    }
}

impl From<reqwest::Error> for SendError {
    fn from(error: reqwest::Error) -> Self {
        match Fault::from(error) {
            Fault::Refused(refusal) => Self::Refused(refusal),
            Fault::Timeout => Self::Timeout,
            Fault::Connect(text) => Self::Connect(text),
            Fault::Broken(text) => Self::Broken(text),
        }
    }
}

/// Sends webhooks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WebhookSender {
    client: Client,
    guard: Arc<Guard>,
    trusts_nobody: bool,
}

impl WebhookSender {
    /// A sender that asks the system's name service and trusts whom the system trusts. Reads files.
    pub fn new(guard: Guard) -> Result<Self, BuildError> {
        Self::with(guard, Arc::new(SystemLookup), Roots::system())
    }

    /// A sender with its own name service and trust.
    pub fn with(guard: Guard, lookup: Arc<dyn Lookup>, roots: Roots) -> Result<Self, BuildError> {
        let guard = Arc::new(guard);
        let trusts_nobody = roots.is_empty();
        let resolver = GuardedResolver { guard: Arc::clone(&guard), lookup };
        let client = client::build(roots, WEBHOOK_CONNECT_TIMEOUT, |builder| {
            builder.dns_resolver(resolver).timeout(WEBHOOK_TIMEOUT)
        })?;
        Ok(Self { client, guard, trusts_nobody })
    }

    /// Makes one attempt at a delivery and returns the 2xx status that the receiver answered. Dropping the
    /// future closes the connection; the receiver may have got the message.
    pub async fn post(&self, request: Request) -> Result<u16, SendError> {
        let url = self.guard.check(&request.url)?;
        if self.trusts_nobody && url.scheme() == "https" {
            return Err(SendError::NoRoots);
        }
        if !sign::is_id(&request.id) {
            return Err(SendError::Id);
        }
        let unix_secs = request.timestamp.as_millis().div_euclid(1_000);
        let mut post = self
            .client
            .post(url)
            .header(CONTENT_TYPE, cloudevent::CONTENT_TYPE)
            .header("webhook-id", &request.id)
            .header("webhook-timestamp", unix_secs);
        if let Some(secret) = request.secret.filter(|secret| !secret.is_empty()) {
            let signature = SigningKey::new(&secret)?.sign(&request.id, unix_secs, &request.body);
            post = post.header("webhook-signature", signature);
        }
        let response = post.body(request.body).send().await?;
        let status = response.status();
        drain(response).await;
        match status {
            StatusCode::GONE => Err(SendError::Gone),
            status if status.is_success() => Ok(status.as_u16()),
            status => Err(SendError::Status(status.as_u16())),
        }
    }
}

/// Reads a little of an answer, so that the receiver is not cut off in the middle of a short one. The status
/// has decided already: a body that breaks, drags on or does not end changes nothing.
async fn drain(mut response: Response) {
    let mut rest = WEBHOOK_ANSWER_BYTES_MAX;
    while let Ok(Some(chunk)) = response.chunk().await {
        match rest.checked_sub(chunk.len()) {
            Some(left) => rest = left,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_repetition_can_mend_is_permanent() {
        for error in [Refusal::Scheme.into(), InvalidSecret.into(), SendError::Id, SendError::Gone] {
            assert!(SendError::is_permanent(&error), "{error}");
        }
        for error in [
            SendError::Status(302),
            SendError::Status(404),
            SendError::Status(503),
            SendError::Timeout,
            SendError::Connect(String::new()),
            SendError::Broken(String::new()),
            SendError::NoRoots,
        ] {
            assert!(!error.is_permanent(), "{error}");
        }
    }

    #[test]
    fn a_request_shows_neither_url_nor_secret() {
        let request = Request {
            url: "https://hooks.example/T000/hunter2".to_owned(),
            id: "msg".to_owned(),
            timestamp: Timestamp::from_millis(0),
            body: Bytes::from_static(b"hunter2"),
            secret: Some(Secret::new("whsec_hunter2")),
        };
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
