//! A client of our own API.
//!
//! Responsible for: requests, answers, streams, and errors that know their exit code. Not responsible for:
//! what is printed, or for retrying: it asks once and says what happened.
//!
//! Invariant: an answer is kept as the server wrote it beside what was read from it, so that `--json` can
//! print exactly that.

mod arrays;
mod artifacts;
pub mod callback;
pub mod discover;
mod error;
mod events;
mod problem;
mod queues;
mod schedules;
mod triggers;
mod usage;

use std::time::Duration;

use bytes::Bytes;
use dogwatch_actors::examine::Report;
use dogwatch_actors::handle::{CallbackReceipt, Command};
use dogwatch_actors::id::JobId;
use dogwatch_actors::job::view::JobView;
use dogwatch_actors::runtime::LogStream;
use dogwatch_actors::secret::Secret;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
pub use reqwest::Method;
use reqwest::{RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::{HistoryPage, JobPage, Readiness, WebhookList};
use crate::limits::{
    CLIENT_ANSWER_BYTES_MAX, CLIENT_ANSWER_TIMEOUT, CLIENT_CONNECT_TIMEOUT, CLIENT_EXAMINE_TIMEOUT,
    CLIENT_HISTORY_PAGE,
};
pub use error::Error;
pub use events::{EventItem, EventStream};
pub use problem::{Problem, ProblemField};
pub use schedules::ScheduleCommand;
pub use usage::UsageQuery;

/// The result of a request.
pub type Result<T> = std::result::Result<T, Error>;

/// An answer, read and as it was written.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// What was read from it.
    pub value: T,
    /// The JSON that the server sent.
    pub raw: String,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// In one of these states.
    pub states: Vec<String>,
    /// With these labels, each `key:value`.
    pub labels: Vec<String>,
    /// With this name.
    pub name: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
    /// Behind this page.
    pub cursor: Option<String>,
}

/// Which part of a log to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogsQuery {
    /// Of this attempt; default: the newest.
    pub attempt: Option<u32>,
    /// Of this stream; default: both.
    pub stream: Option<LogStream>,
    /// Only the last so many lines.
    pub tail: Option<usize>,
    /// Go on with new lines.
    pub follow: bool,
}

/// A client of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<Secret>,
}

impl Client {
    /// A client of the server at `url`. Connects with the first request.
    pub fn new(url: &str, key: Option<Secret>) -> Result<Self> {
        let bad = |message: &str| Error::BadUrl { url: url.to_owned(), message: message.to_owned() };
        let parsed = reqwest::Url::parse(url).map_err(|error| bad(&error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(bad("it must begin with http:// or https://"));
        }
        let host = parsed.host_str().ok_or_else(|| bad("it names no host"))?;
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        let is_loopback = host == "localhost" || address.is_ok_and(|ip| ip.is_loopback());
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CLIENT_CONNECT_TIMEOUT)
            // A redirected POST would lose its body or its key.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("dogwatch/", env!("CARGO_PKG_VERSION")));
        if is_loopback {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| bad(&error.to_string()))?;
        Ok(Self { http, base: url.trim_end_matches('/').to_owned(), key })
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Whether a server answers there.
    pub async fn is_alive(&self) -> bool {
        let request = self.http.get(format!("{}/livez", self.base)).timeout(CLIENT_CONNECT_TIMEOUT);
        request.send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// Whether the server takes work, and why not.
    pub async fn readiness(&self) -> Result<Readiness> {
        let request = self.http.get(format!("{}/readyz", self.base)).timeout(CLIENT_ANSWER_TIMEOUT);
        // "Not ready" is an answer here and no refusal, whatever its status.
        let answer = request.send().await.map_err(|error| self.lost(&error))?;
        let text = self.text(answer).await?;
        serde_json::from_str(&text).map_err(|source| Error::Unreadable { url: self.base.clone(), source })
    }

    /// The version of the server, from its OpenAPI document.
    pub async fn version(&self) -> Result<String> {
        let answer: Answer<Value> = self.ask(self.request(Method::GET, "/openapi.json")).await?;
        Ok(answer.value["info"]["version"].as_str().unwrap_or("unknown").to_owned())
    }

    /// Submits a job. With a key it is safe to repeat.
    pub async fn submit(&self, spec: &Value, idempotency_key: Option<&str>) -> Result<Answer<JobView>> {
        self.post_spec(spec, idempotency_key).await
    }

    async fn post_spec<T: DeserializeOwned>(&self, spec: &Value, key: Option<&str>) -> Result<Answer<T>> {
        let mut request = self.request(Method::POST, "/v1/jobs").json(spec);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        self.ask(request).await
    }

    /// One job; with `wait` when it is over or after that time.
    pub async fn job(&self, id: JobId, wait: Option<Duration>) -> Result<Answer<JobView>> {
        let query = wait.map(|wait| ("wait", format!("{}ms", wait.as_millis())));
        let path = with_query(&format!("/v1/jobs/{id}"), query);
        let patience = CLIENT_ANSWER_TIMEOUT.saturating_add(wait.unwrap_or_default());
        self.ask(self.request(Method::GET, &path).timeout(patience)).await
    }

    /// A page of jobs.
    pub async fn list(&self, query: &ListQuery) -> Result<Answer<JobPage>> {
        let pairs = (query.states.iter().map(|state| ("state", state.clone())))
            .chain(query.labels.iter().map(|label| ("label", label.clone())))
            .chain(query.name.iter().map(|name| ("name", name.clone())))
            .chain(query.limit.iter().map(|limit| ("limit", limit.to_string())))
            .chain(query.cursor.iter().map(|cursor| ("cursor", cursor.clone())));
        self.ask(self.request(Method::GET, &with_query("/v1/jobs", pairs))).await
    }

    /// Commands a job.
    pub async fn command(&self, id: JobId, command: Command) -> Result<Answer<JobView>> {
        let verb = verb(command);
        self.ask(self.request(Method::POST, &format!("/v1/jobs/{id}/{verb}"))).await
    }

    /// A page of the events of a job's life, behind number `after`.
    pub async fn history(&self, id: JobId, after: u64) -> Result<Answer<HistoryPage>> {
        let pairs = [("after", after.to_string()), ("limit", CLIENT_HISTORY_PAGE.to_string())];
        self.ask(self.request(Method::GET, &with_query(&format!("/v1/jobs/{id}/history"), pairs))).await
    }

    /// Raises an event to a job.
    pub async fn raise(&self, id: JobId, event: &str, payload: &Value) -> Result<Answer<CallbackReceipt>> {
        let path = format!("/v1/jobs/{id}/events/{}", escape(event));
        self.ask(self.request(Method::POST, &path).json(payload)).await
    }

    /// How the telling of a job's end is going.
    pub async fn webhooks(&self, id: JobId) -> Result<Answer<WebhookList>> {
        self.ask(self.request(Method::GET, &format!("/v1/jobs/{id}/webhooks"))).await
    }

    /// Tries a webhook again that was given up.
    pub async fn replay_webhook(&self, id: JobId, target: u16) -> Result<Answer<WebhookList>> {
        self.ask(self.request(Method::POST, &format!("/v1/jobs/{id}/webhooks/{target}/replay"))).await
    }

    /// Deletes a job that is over.
    pub async fn purge(&self, id: JobId) -> Result<()> {
        let answer = self.send(self.request(Method::DELETE, &format!("/v1/jobs/{id}"))).await?;
        self.text(answer).await.map(drop)
    }

    /// Whether everything in the store fits together.
    pub async fn examine_store(&self) -> Result<Answer<Report>> {
        self.ask(self.request(Method::GET, "/v1/store").timeout(CLIENT_EXAMINE_TIMEOUT)).await
    }

    /// A backup of the store. It is whole only when it verifies.
    pub async fn backup(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.stream(self.open(Method::GET, "/v1/backup")).await
    }

    /// The output of a job, as it was written.
    pub async fn logs(&self, id: JobId, query: LogsQuery) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.container_logs(id, None, query).await
    }

    /// The same of one of its containers.
    pub async fn container_logs(
        &self,
        id: JobId,
        container: Option<&str>,
        query: LogsQuery,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let stream = query.stream.map(|stream| match stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        });
        let pairs = (query.attempt.iter().map(|attempt| ("attempt", attempt.to_string())))
            .chain(container.map(|container| ("container", container.to_owned())))
            .chain(stream.iter().map(|stream| ("stream", (*stream).to_owned())))
            .chain(query.tail.iter().map(|tail| ("tail", tail.to_string())))
            .chain(query.follow.then(|| ("follow", "true".to_owned())));
        let path = with_query(&format!("/v1/jobs/{id}/logs"), pairs);
        self.stream(self.open(Method::GET, &path).header("Accept", "text/plain")).await
    }

    /// The events of all jobs behind number `after` (`None`: only new ones), until the connection ends.
    pub async fn events(&self, after: Option<u64>) -> Result<EventStream> {
        let mut request = self.open(Method::GET, "/v1/events").header("Accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after.to_string());
        }
        Ok(EventStream::new(self.stream(request).await?))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.open(method, path).timeout(CLIENT_ANSWER_TIMEOUT)
    }

    /// A request whose answer may take for ever.
    fn open(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key.expose()),
            None => request,
        }
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Answer<T>> {
        let answer = self.send(request).await?;
        let raw = self.text(answer).await?;
        let value = serde_json::from_str(&raw)
            .map_err(|source| Error::Unreadable { url: self.base.clone(), source })?;
        Ok(Answer { value, raw })
    }

    async fn stream(&self, request: RequestBuilder) -> Result<BoxStream<'static, Result<Bytes>>> {
        let head = tokio::time::timeout(CLIENT_ANSWER_TIMEOUT, self.send(request)).await;
        let late =
            || Error::Unreachable { url: self.base.clone(), message: "it did not answer in time".into() };
        let answer = head.map_err(|_| late())??;
        let client = self.clone();
        Ok(answer.bytes_stream().map(move |part| part.map_err(|error| client.lost(&error))).boxed())
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let answer = request.send().await.map_err(|error| self.lost(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = self.text(answer).await?;
        Err(match serde_json::from_str::<Problem>(&body) {
            Ok(problem) if !problem.code.is_empty() => Error::Problem(Box::new(problem)),
            _ => Error::NotDogwatch { url: self.base.clone(), status: status.as_u16() },
        })
    }

    async fn text(&self, mut answer: Response) -> Result<String> {
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| self.lost(&error))? {
            body.extend_from_slice(&part);
            if body.len() > CLIENT_ANSWER_BYTES_MAX {
                return Err(Error::TooLong { url: self.base.clone() });
            }
        }
        String::from_utf8(body)
            .map_err(|_| Error::NotDogwatch { url: self.base.clone(), status: answer.status().as_u16() })
    }

    fn lost(&self, error: &reqwest::Error) -> Error {
        // The innermost cause says "connection refused"; the outer ones only that a request failed.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let message =
            if error.is_timeout() { "it did not answer in time".to_owned() } else { cause.to_string() };
        Error::Unreachable { url: self.base.clone(), message }
    }
}

/// The last word of a command's route.
const fn verb(command: Command) -> &'static str {
    match command {
        Command::Cancel => "cancel",
        Command::Suspend => "suspend",
        Command::Resume => "resume",
        Command::Restart => "restart",
        Command::Retry => "retry",
    }
}

fn with_query(path: &str, pairs: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let query: Vec<String> =
        pairs.into_iter().map(|(name, value)| format!("{name}={}", escape(&value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
fn escape(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// Lets TLS connections use ring; once per process, before the first client. A second call changes nothing.
pub fn install_tls() {
    // An error means that a provider is installed already, which is all that is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_in_addresses() {
        assert_eq!(with_query("/p", [("label", "a b:c&d=ü".to_owned())]), "/p?label=a%20b%3Ac%26d%3D%C3%BC");
        assert_eq!(with_query("/p", []), "/p");
    }

    #[test]
    fn only_http_addresses_are_taken() {
        install_tls();
        for bad in ["", "127.0.0.1:7070", "ftp://x", "unix:///run/x"] {
            assert!(matches!(Client::new(bad, None), Err(Error::BadUrl { .. })), "{bad}");
        }
        assert_eq!(Client::new("http://[::1]:1/", None).unwrap().url(), "http://[::1]:1");
    }
}
