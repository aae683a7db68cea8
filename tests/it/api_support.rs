//! What the tests of the HTTP layer share: an application, a key, a request, an answer read as JSON.

use std::sync::Arc;

use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::test::TestRequest;
use dogwatch::api::Auth;
use dogwatch_actors::clock::SystemClock;
use dogwatch_actors::handle::Handle;
use dogwatch_actors::id::AttemptKey;
use dogwatch_actors::runtime::fake::FakeRuntime;
use dogwatch_actors::secret::{Keyring, Secret};
use dogwatch_actors::store::memory::MemoryStore;
use dogwatch_actors::supervisor::{Builder, Supervisor};
use serde_json::Value;

/// The key of [`auth`].
pub(crate) const KEY: &str = "test-key-0123456789abcdef0123456789abcdef";

/// A job that does not exist.
pub(crate) const NO_JOB: &str = "01939f6e-2d5c-7a00-8000-0123456789ab";

/// A supervisor over a store in memory and an engine in memory that takes the place of `process`.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) handle: Handle,
    pub(crate) engine: FakeRuntime,
    keyring: Keyring,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_as(|builder| builder).await
    }

    /// One that is built a little differently.
    pub(crate) async fn start_as(change: impl FnOnce(Builder) -> Builder) -> Self {
        let keyring = Keyring::new([7; 32]);
        let engine = FakeRuntime::new("process", Arc::new(SystemClock));
        let builder =
            Supervisor::builder().store(Arc::new(MemoryStore::new())).runtime(Arc::new(engine.clone()));
        let builder = change(builder.keyring(keyring.clone()).threads(0));
        let logs = concat!(env!("CARGO_TARGET_TMPDIR"), "/api-logs");
        let supervisor = builder.logs_dir(logs).start().await.expect("a supervisor in memory starts");
        Self { handle: supervisor.handle(), engine, keyring }
    }

    /// The token that this attempt was given.
    pub(crate) fn token(&self, job: &str, attempt: u32) -> String {
        let key = AttemptKey::new(job.parse().expect("a job id"), attempt);
        self.keyring.callback_token(key).expose().to_owned()
    }
}

/// A supervisor without any job.
pub(crate) async fn handle() -> Handle {
    Bench::start().await.handle
}

/// Authentication with [`KEY`].
pub(crate) fn auth() -> Auth {
    Auth::keys([&Secret::new(KEY)]).expect("the key is long enough")
}

/// The `Authorization` header with `key`.
pub(crate) fn bearer(key: &str) -> (HeaderName, String) {
    (actix_web::http::header::AUTHORIZATION, format!("Bearer {key}"))
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `null` when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Asserts that this is a problem document with this status and code.
    pub(crate) fn assert_problem(&self, status: u16, code: &str, context: &str) {
        let json = self.json();
        assert_eq!((self.status, json["code"].as_str()), (status, Some(code)), "{context}: {self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{context}");
        assert_eq!(json["status"], status, "{context}");
        assert_eq!(json["type"], format!("urn:dogwatch:problem:{code}"), "{context}");
        assert!(json["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{context}: {json}");
        assert!(json["title"].is_string(), "{context}: {json}");
    }
}

/// Sends `request` to `app` and reads the whole answer; of an event stream only the head.
pub(crate) async fn send<S, B>(app: &S, request: TestRequest) -> Answer
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let response = actix_web::test::call_service(app, request.to_request()).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    if headers.get("content-type").is_some_and(|kind| kind == "text/event-stream") {
        // Such a body has no end.
        return Answer { status, headers, body: Vec::new() };
    }
    let body = to_bytes(response.into_body()).await.unwrap_or_default().to_vec();
    Answer { status, headers, body }
}
