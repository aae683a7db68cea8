//! The connection to the engine, made when it is first needed and again after it was lost.
//!
//! Responsible for: finding the engine (option, `DOCKER_HOST`, default socket), agreeing on a version of its
//! API on every connect, a deadline for every call, and separate clients for calls that end soon and for
//! those that stay open. Not responsible for: what is asked.
//!
//! Invariant: while the engine is down every call fails at its own time with [`Fault::Unanswered`]; the first
//! call after it is back works.

use std::future::Future;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::errors::{Answer, Fault, is_version_refused};
use crate::limits::{ENGINE_CONNECT_TIMEOUT, ENGINE_STREAM_TIMEOUT};

/// Where the engine is when nothing says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The client's own bound for an answer to begin: above every deadline of ours, which are the ones that count.
const CLIENT_TIMEOUT_SECS: u64 = 600;

/// The oldest version of the API that is supported, that of Docker 20.10: the oldest engine the tests run on.
const VERSION_MIN: (usize, usize) = (1, 41);

/// Whether the version that was agreed on is supported; an older engine leaves out what observations need.
fn require(version: &ClientVersion) -> Answer<()> {
    let (major, minor) = VERSION_MIN;
    if (version.major_version, version.minor_version) >= VERSION_MIN {
        return Ok(());
    }
    Err(Fault::Unanswered(format!(
        "the engine offers version {version} of its API, at least {major}.{minor} (Docker 20.10) is needed; upgrade it"
    )))
}

/// Two clients of one engine that agreed on a version with it.
#[derive(Debug, Clone)]
struct Clients {
    /// For calls that end soon.
    short: Docker,
    /// For waits, logs, events and pulls, which must not wait for a place among the short ones.
    long: Docker,
}

/// A connection that makes itself.
#[derive(Debug)]
pub(super) struct Connection {
    host: String,
    // Held only to copy the clients in or out, never across an await.
    clients: Mutex<Option<Clients>>,
}

impl Connection {
    /// A connection to `host`, else to what `DOCKER_HOST` names, else to the default socket. Connects later.
    pub(super) fn new(host: Option<String>) -> Answer<Self> {
        let named = host.or_else(|| std::env::var("DOCKER_HOST").ok()).filter(|host| !host.is_empty());
        let host = named.unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let scheme = host.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            Some("unix") => {}
            Some("tcp" | "http") if std::env::var_os("DOCKER_TLS_VERIFY").is_none() => {}
            Some("tcp" | "http") => {
                return Err(Fault::Unanswered(
                    "DOCKER_TLS_VERIFY is set, but engines over TLS are not supported; use its unix socket"
                        .into(),
                ));
            }
            _ => {
                return Err(Fault::Unanswered(format!(
                    "the engine's address {host} is not supported; use unix:///path or tcp://host:port"
                )));
            }
        }
        Ok(Self { host, clients: Mutex::new(None) })
    }

    /// Whether the engine runs on this host, as far as its address tells.
    pub(super) fn is_local(&self) -> bool {
        self.host.starts_with("unix://")
    }

    /// Asks the engine something that ends within `deadline`.
    pub(super) async fn call<T, F>(&self, deadline: Duration, ask: impl FnOnce(Docker) -> F) -> Answer<T>
    where
        F: Future<Output = Result<T, bollard::errors::Error>>,
    {
        let client = self.clients().await?.short;
        // On the heap: the client's futures are large, and every operation waits for several.
        let answer = match timeout(deadline, Box::pin(ask(client))).await {
            Ok(answer) => answer.map_err(Fault::from),
            // One slow container is no reason to give up the connection for all others.
            Err(_) => {
                let text = format!("it did not answer within {} s", deadline.as_secs());
                return Err(Fault::Unanswered(text));
            }
        };
        answer.inspect_err(|fault| self.drop_if_lost(fault))
    }

    /// The client for streams. Their errors are to be shown to [`Connection::drop_if_lost`].
    pub(super) async fn long(&self) -> Answer<Docker> {
        Ok(self.clients().await?.long)
    }

    /// Forgets the connection when `fault` says that it is gone or was made to another engine.
    pub(super) fn drop_if_lost(&self, fault: &Fault) {
        if matches!(fault, Fault::Unanswered(_)) || is_version_refused(fault) {
            *self.clients.lock() = None;
        }
    }

    async fn clients(&self) -> Answer<Clients> {
        if let Some(clients) = self.clients.lock().clone() {
            return Ok(clients);
        }
        let agreed = timeout(ENGINE_CONNECT_TIMEOUT, async {
            let short = self.client()?.negotiate_version().await?;
            let long = self.client()?.negotiate_version().await?;
            Ok::<_, bollard::errors::Error>(Clients { short, long: long.with_timeout(ENGINE_STREAM_TIMEOUT) })
        });
        let clients = agreed.await.map_err(|_| {
            let seconds = ENGINE_CONNECT_TIMEOUT.as_secs();
            Fault::Unanswered(format!("{} accepted no connection within {seconds} s", self.host))
        })??;
        require(&clients.short.client_version())?;
        tracing::debug!(host = %self.host, version = %clients.short.client_version(), "connected to the engine");
        *self.clients.lock() = Some(clients.clone());
        Ok(clients)
    }

    fn client(&self) -> Result<Docker, bollard::errors::Error> {
        if self.is_local() {
            Docker::connect_with_unix(&self.host, CLIENT_TIMEOUT_SECS, API_DEFAULT_VERSION)
        } else {
            Docker::connect_with_http(&self.host, CLIENT_TIMEOUT_SECS, API_DEFAULT_VERSION)
        }
    }
}
