//! Fetching a file for an attempt: a GET from an address that the guard allows.
//!
//! Responsible for: one try at it, and whether another one can help. Not responsible for where the file goes.
//!
//! Invariants:
//! - every hop of a redirect is judged as the first address was; no more than a few are followed;
//! - nothing of the address but its host gets into a message: what stands behind it often is a credential;
//! - the file never becomes longer than whoever asked wants.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::LOCATION;
use reqwest::{Client, Response, StatusCode};
use url::Url;

use super::client::{self, BuildError, Roots};
use super::fault::Fault;
use super::guard::{Guard, Refusal};
use super::resolver::{GuardedResolver, Lookup, SystemLookup};
use crate::limits::{INPUT_CONNECT_TIMEOUT, INPUT_REDIRECTS_MAX, INPUT_SILENCE_MAX};

/// Why a file was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It may not be fetched from there.
    #[error("{0}")]
    Refused(String),
    /// The server has another answer.
    #[error("the server answered {0}")]
    Status(u16),
    /// It is longer than is accepted.
    #[error("it is longer than {0} bytes, which is the limit")]
    TooLong(u64),
    /// There is no end of redirects, or one leads nowhere.
    #[error("the server redirects to nowhere, or too often")]
    Redirects,
    /// It took too long.
    #[error("the server fell silent")]
    Timeout,
    /// No connection: the name, the network, the port or TLS.
    #[error("the server cannot be reached: {0}")]
    Connect(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// https, and no certificate authority to check it with.
    #[error("this system trusts no certificate authority; install its ca-certificates to use https")]
    NoRoots,
}

impl FetchError {
    /// Whether no repetition can help.
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Refused(_) | Self::TooLong(_) | Self::Redirects => true,
            Self::Status(status) => *status < 500 && !matches!(*status, 408 | 425 | 429),
            Self::Timeout | Self::Connect(_) | Self::Broken(_) | Self::NoRoots => false,
        }
    }
}

impl From<Refusal> for FetchError {
    /// The rules are those of webhooks, and so are the words.
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.to_string().replace("webhook", "input"))
    }
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        match Fault::from(error) {
            Fault::Refused(refusal) => refusal.into(),
            Fault::Timeout => Self::Timeout,
            Fault::Connect(text) => Self::Connect(text),
            Fault::Broken(text) => Self::Broken(text),
        }
    }
}

/// Fetches files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    guard: Arc<Guard>,
    trusts_nobody: bool,
}

/// A file that is being fetched.
#[derive(Debug)]
pub struct Fetched {
    answer: Response,
    left: u64,
    max: u64,
}

impl Fetcher {
    /// One that asks the system's name service and trusts whom the system trusts. Reads files.
    pub fn new(guard: Guard) -> Result<Self, BuildError> {
        Self::with(guard, Arc::new(SystemLookup), Roots::system())
    }

    /// One with its own name service and trust.
    pub fn with(guard: Guard, lookup: Arc<dyn Lookup>, roots: Roots) -> Result<Self, BuildError> {
        let guard = Arc::new(guard);
        let trusts_nobody = roots.is_empty();
        let resolver = GuardedResolver { guard: Arc::clone(&guard), lookup };
        let client = client::build(roots, INPUT_CONNECT_TIMEOUT, |builder| {
            builder.dns_resolver(resolver).read_timeout(INPUT_SILENCE_MAX)
        })?;
        Ok(Self { client, guard, trusts_nobody })
    }

    /// Begins to fetch what is at `url`, at most `max` bytes of it.
    pub async fn get(&self, url: &str, max: u64) -> Result<Fetched, FetchError> {
        let mut url = self.guard.check(url)?;
        for _ in 0..=INPUT_REDIRECTS_MAX {
            if self.trusts_nobody && url.scheme() == "https" {
                return Err(FetchError::NoRoots);
            }
            let answer = self.client.get(url.clone()).send().await?;
            match answer.status() {
                StatusCode::OK if answer.content_length().is_some_and(|bytes| bytes > max) => {
                    return Err(FetchError::TooLong(max));
                }
                StatusCode::OK => return Ok(Fetched { answer, left: max, max }),
                status if status.is_redirection() => url = self.next(&url, &answer)?,
                status => return Err(FetchError::Status(status.as_u16())),
            }
        }
        Err(FetchError::Redirects)
    }

    fn next(&self, from: &Url, answer: &Response) -> Result<Url, FetchError> {
        let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        let to = to.and_then(|to| from.join(to).ok()).ok_or(FetchError::Redirects)?;
        Ok(self.guard.check(to.as_str())?)
    }
}

impl Fetched {
    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let Some(chunk) = self.answer.chunk().await? else { return Ok(None) };
        self.left = self.left.checked_sub(chunk.len() as u64).ok_or(FetchError::TooLong(self.max))?;
        Ok(Some(chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_repetition_can_mend_is_tried_again() {
        for permanent in [
            FetchError::Status(404),
            FetchError::Status(403),
            FetchError::Status(304),
            FetchError::TooLong(1),
            FetchError::Redirects,
            Refusal::Scheme.into(),
        ] {
            assert!(permanent.is_permanent(), "{permanent}");
        }
        for passing in [
            FetchError::Status(500),
            FetchError::Status(503),
            FetchError::Status(429),
            FetchError::Timeout,
            FetchError::Connect(String::new()),
            FetchError::Broken(String::new()),
        ] {
            assert!(!passing.is_permanent(), "{passing}");
        }
    }

    #[test]
    fn a_refusal_speaks_of_an_input() {
        let refused = FetchError::from(Guard::default().check("http://127.0.0.1/x").unwrap_err());
        assert!(refused.to_string().contains("the input's host"), "{refused}");
    }
}
