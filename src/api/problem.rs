//! Every error that leaves over HTTP, and the one place where errors of the engine become one.
//!
//! A problem document (RFC 9457) with a stable `code`. What the engine or the disk said stays in the log,
//! under the `request_id` that the answer carries; no secret and no internal detail is ever in the answer.

mod arrays;
mod artifacts;
mod pools;
mod queues;
mod schedules;
mod triggers;

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use dogwatch_actors::handle::{Error, FieldError, orchestrations};
use dogwatch_actors::id::{Ids as _, RandomIds};
use dogwatch_actors::job::cause::Cause;
use dogwatch_actors::job::view::JobState;
use dogwatch_actors::json;
use dogwatch_actors::limits::FIELD_ERRORS_MAX;
use dogwatch_actors::orchestration::Status;
use dogwatch_actors::store;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, for programs. The names never change; new ones may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// 400: the body is no JSON.
    MalformedJson,
    /// 400: a query parameter, a header or a name in the path is not valid.
    InvalidRequest,
    /// 401: no key, or a wrong one.
    Unauthorized,
    /// 403: the callback token is missing or not that of this attempt.
    BadToken,
    /// 404: there is no such route.
    RouteNotFound,
    /// 404: there is no such job.
    JobNotFound,
    /// 404: the job has no such attempt.
    AttemptNotFound,
    /// 404: the job has no such webhook.
    WebhookNotFound,
    /// 404: the job has no such artifact.
    ArtifactNotFound,
    /// 404: there is no such orchestration instance.
    InstanceNotFound,
    /// 404: there is no such task hub.
    TaskHubNotFound,
    /// 404: there is no such pool.
    PoolNotFound,
    /// 404: there is no such queue.
    QueueNotFound,
    /// 404: there is no such message (any more).
    MessageNotFound,
    /// 404: there is no such array.
    ArrayNotFound,
    /// 404: there is no such schedule.
    ScheduleNotFound,
    /// 404: there is no such trigger, or it has no such item (any more).
    TriggerNotFound,
    /// 405: the route has other methods.
    MethodNotAllowed,
    /// 408: the body did not come in time.
    BodyTimeout,
    /// 409: the job's state does not allow it.
    JobConflict,
    /// 409: there is an orchestration instance with this id.
    InstanceExists,
    /// 409: the state of the orchestration instance does not allow it.
    InstanceConflict,
    /// 409: the state of the pool, or the number of pools, does not allow it.
    PoolConflict,
    /// 409: the state of the queue, or the number of queues, does not allow it.
    QueueConflict,
    /// 409: the state of the array does not allow it.
    ArrayConflict,
    /// 409: who declared the schedule, or the number of schedules, does not allow it.
    ScheduleConflict,
    /// 409: who declared the trigger, its state, or the number of triggers, does not allow it.
    TriggerConflict,
    /// 409: the job received as many events as one may.
    TooManyEvents,
    /// 410: a callback of an attempt that is over.
    StaleAttempt,
    /// 410: the lease of the message is over.
    StaleReceipt,
    /// 413: the body is too long.
    BodyTooLarge,
    /// 415: the body is not `application/json`, or is compressed.
    UnsupportedMediaType,
    /// 422: the JSON is not what is expected here; `errors` says where.
    InvalidSpec,
    /// 422: no orchestration of this name and version is registered.
    UnknownOrchestration,
    /// 422: the idempotency key was used for another body.
    IdempotencyMismatch,
    /// 429: the queue holds as many messages as one may.
    QueueFull,
    /// 429: the trigger holds as many items as one may.
    TriggerFull,
    /// 429: too much is going on; nothing was done.
    Overloaded,
    /// 500: a fault of dogwatch.
    Internal,
    /// 500: this job's own supervisor keeps failing; the others are not touched by it.
    JobParked,
    /// 500: this orchestration instance's own supervisor keeps failing; the others are not touched by it.
    InstanceParked,
    /// 503: the answer was lost; safe to repeat with the same idempotency key.
    Interrupted,
    /// 503: the artifact store cannot be used.
    ArtifactsUnavailable,
    /// 503: no space is left for the data directory; nothing was recorded.
    StoreFull,
    /// 503: the data directory cannot be written; dogwatch ends by itself.
    StoreUnavailable,
    /// 503: dogwatch shuts down.
    ShuttingDown,
}

impl Code {
    const fn status_and_title(self) -> (StatusCode, &'static str) {
        match self {
            Self::MalformedJson => (StatusCode::BAD_REQUEST, "the body is not JSON"),
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "the request is not valid"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "a valid API key is needed"),
            Self::BadToken => (StatusCode::FORBIDDEN, "the callback token is not valid"),
            Self::RouteNotFound => (StatusCode::NOT_FOUND, "there is no such route"),
            Self::JobNotFound => (StatusCode::NOT_FOUND, "there is no such job"),
            Self::AttemptNotFound => (StatusCode::NOT_FOUND, "there is no such attempt"),
            Self::WebhookNotFound => (StatusCode::NOT_FOUND, "there is no such webhook"),
            Self::ArtifactNotFound => (StatusCode::NOT_FOUND, "there is no such artifact"),
            Self::ArtifactsUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "the artifact store cannot be used")
            }
            Self::InstanceNotFound => (StatusCode::NOT_FOUND, "there is no such orchestration instance"),
            Self::TaskHubNotFound => (StatusCode::NOT_FOUND, "there is no such task hub"),
            Self::PoolNotFound => (StatusCode::NOT_FOUND, "there is no such pool"),
            Self::ArrayNotFound => (StatusCode::NOT_FOUND, "there is no such array"),
            Self::ArrayConflict => (StatusCode::CONFLICT, "the state of the array does not allow it"),
            Self::ScheduleNotFound => (StatusCode::NOT_FOUND, "there is no such schedule"),
            Self::ScheduleConflict => (StatusCode::CONFLICT, "the state of the schedule does not allow it"),
            Self::TriggerNotFound => (StatusCode::NOT_FOUND, "there is no such trigger or item"),
            Self::TriggerConflict => (StatusCode::CONFLICT, "the state of the trigger does not allow it"),
            Self::TriggerFull => (StatusCode::TOO_MANY_REQUESTS, "the trigger is full"),
            Self::PoolConflict => (StatusCode::CONFLICT, "the state of the pool does not allow it"),
            Self::QueueNotFound => (StatusCode::NOT_FOUND, "there is no such queue"),
            Self::MessageNotFound => (StatusCode::NOT_FOUND, "there is no such message"),
            Self::QueueConflict => (StatusCode::CONFLICT, "the state of the queue does not allow it"),
            Self::StaleReceipt => (StatusCode::GONE, "the lease of the message is over"),
            Self::QueueFull => (StatusCode::TOO_MANY_REQUESTS, "the queue is full"),
            Self::InstanceExists => (StatusCode::CONFLICT, "there is an instance with this id"),
            Self::InstanceConflict => (StatusCode::CONFLICT, "the state of the instance does not allow it"),
            Self::UnknownOrchestration => {
                (StatusCode::UNPROCESSABLE_ENTITY, "there is no such orchestration")
            }
            Self::InstanceParked => {
                (StatusCode::INTERNAL_SERVER_ERROR, "the instance's supervisor keeps failing")
            }
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "the route has other methods"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
            Self::JobConflict => (StatusCode::CONFLICT, "the state of the job does not allow it"),
            Self::TooManyEvents => (StatusCode::CONFLICT, "the job takes no more events"),
            Self::StaleAttempt => (StatusCode::GONE, "the attempt is over"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be plain JSON"),
            Self::InvalidSpec => (StatusCode::UNPROCESSABLE_ENTITY, "the document is not valid"),
            Self::IdempotencyMismatch => {
                (StatusCode::UNPROCESSABLE_ENTITY, "the idempotency key was used for another body")
            }
            Self::Overloaded => (StatusCode::TOO_MANY_REQUESTS, "too much is going on"),
            Self::JobParked => (StatusCode::INTERNAL_SERVER_ERROR, "the job's supervisor keeps failing"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "a fault of dogwatch"),
            Self::Interrupted => (StatusCode::SERVICE_UNAVAILABLE, "the answer was lost"),
            Self::StoreFull => (StatusCode::SERVICE_UNAVAILABLE, "the disk is full"),
            Self::StoreUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "the data cannot be written"),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "dogwatch is shutting down"),
        }
    }

    /// The name in JSON.
    fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// A problem document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document {
    /// A name of the kind of problem: `urn:dogwatch:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in words, the same for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time and what to do.
    pub detail: String,
    /// The kind of problem for programs.
    pub code: Code,
    /// The places in the body, when it is the body that is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The state of the job, when that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// The status of the orchestration instance, when that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_status: Option<Status>,
    /// How the job ended, for a callback that comes after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The newest attempt, for a callback of an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Seconds after which the request may be repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// What to look for in the log of dogwatch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// An error on its way out.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    document: Box<Document>,
    allow: Option<String>,
}

impl Problem {
    /// What is wrong this time and what to do.
    pub(crate) fn detail(&self) -> &str {
        &self.document.detail
    }

    /// A problem of this kind; `detail` says what is wrong this time and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (status, title) = code.status_and_title();
        let document = Document {
            kind: format!("urn:dogwatch:problem:{}", code.name()),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            errors: Vec::new(),
            state: None,
            instance_status: None,
            cause: None,
            attempt: None,
            retry_after: None,
            request_id: None,
        };
        Self { document: Box::new(document), allow: None }
    }

    /// Something in the request that is not the body.
    pub fn invalid_request(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// The body has the wrong shape, or a spec cannot be accepted.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] if one.pointer.is_empty() => format!("the document {}", one.message),
            [one] => format!("{}: {}", one.pointer, one.message),
            many if many.len() >= FIELD_ERRORS_MAX => {
                "there are many problems; the first are in `errors`".to_owned()
            }
            many => format!("there are {} problems; see `errors`", many.len()),
        };
        let mut problem = Self::new(Code::InvalidSpec, detail);
        problem.document.errors = errors;
        problem
    }

    /// The route exists, but not with this method.
    pub fn method_not_allowed(allow: &str) -> Self {
        let mut problem = Self::new(Code::MethodNotAllowed, format!("use {allow} here"));
        problem.allow = Some(allow.to_owned());
        problem
    }

    /// No route.
    pub fn route_not_found() -> Self {
        Self::new(Code::RouteNotFound, "there is nothing here; the routes are listed at /openapi.json")
    }

    /// A fault whose details are for the log only.
    pub fn internal(internal: &dyn fmt::Display) -> Self {
        let detail = "something went wrong inside dogwatch; its log has the details under this request_id";
        Self::new(Code::Internal, detail).logged(internal)
    }

    /// The same with how the job ended.
    #[must_use]
    pub fn with_cause(mut self, cause: Option<Cause>) -> Self {
        self.document.cause = cause;
        self
    }

    /// What is sent.
    pub fn document(&self) -> &Document {
        &self.document
    }

    fn retry_after(mut self, pause: Duration) -> Self {
        // A pause of less than a second is rounded up: 0 would ask for a busy loop.
        self.document.retry_after = Some(pause.as_millis().div_ceil(1_000).clamp(1, 86_400) as u64);
        self
    }

    fn logged(mut self, internal: &dyn fmt::Display) -> Self {
        let mut bytes = [0u8; 8];
        RandomIds.random(&mut bytes);
        let request_id = format!("{:016x}", u64::from_be_bytes(bytes));
        tracing::error!(request_id, code = self.document.code.name(), error = %internal, "request failed");
        self.document.request_id = Some(request_id);
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound(_) => Self::new(Code::JobNotFound, text),
            Error::NoAttempt(_) => Self::new(Code::AttemptNotFound, text),
            Error::NoWebhook { .. } => Self::new(Code::WebhookNotFound, text),
            Error::NoArtifact { .. } => Self::new(Code::ArtifactNotFound, text),
            Error::Artifacts(error) => artifacts::of_store(&error),
            Error::InvalidSpec(errors) => Self::invalid_fields(errors),
            Error::IdempotencyMismatch(_) => Self::new(Code::IdempotencyMismatch, text),
            Error::Conflict { state, .. } => {
                let mut problem = Self::new(Code::JobConflict, text);
                problem.document.state = Some(state);
                problem
            }
            Error::TooManyEvents(_) => Self::new(Code::TooManyEvents, text),
            Error::Parked(..) => {
                let detail = "nothing else can be asked of this job after repeated internal faults: retry it (or \
                              restart dogwatch), and report what the log has under this request_id";
                Self::new(Code::JobParked, detail).logged(&text)
            }
            Error::BadToken => Self::new(Code::BadToken, text),
            Error::StaleAttempt { current, .. } => {
                let mut problem = Self::new(Code::StaleAttempt, text);
                problem.document.attempt = Some(current);
                problem
            }
            Error::Overloaded { retry_after, .. } => {
                Self::new(Code::Overloaded, text).retry_after(retry_after)
            }
            Error::Interrupted => Self::new(Code::Interrupted, text).retry_after(Duration::from_secs(1)),
            Error::ShuttingDown => Self::new(Code::ShuttingDown, text).retry_after(Duration::from_secs(5)),
            Error::Store(error) => of_store(&error),
            other => Self::internal(&other),
        }
    }
}

impl From<orchestrations::Error> for Problem {
    fn from(error: orchestrations::Error) -> Self {
        use orchestrations::Error;
        let text = error.to_string();
        let with_status = |code, status| {
            let mut problem = Self::new(code, text.clone());
            problem.document.instance_status = Some(status);
            problem
        };
        match error {
            Error::NotFound(_) => Self::new(Code::InstanceNotFound, text),
            Error::NoHub(_) => Self::new(Code::TaskHubNotFound, text),
            Error::Unknown(_) => Self::new(Code::UnknownOrchestration, text),
            Error::Invalid(errors) => Self::invalid_fields(errors),
            Error::Exists { status, .. } => with_status(Code::InstanceExists, status),
            Error::Conflict { status, .. } => with_status(Code::InstanceConflict, status),
            Error::TooManyEvents(_) => Self::new(Code::TooManyEvents, text),
            Error::BadCursor => Self::invalid_request(text),
            Error::Parked(..) => {
                let detail = "nothing else can be asked of this instance after repeated internal faults: release it \
                              (or restart dogwatch), and report what the log has under this request_id";
                Self::new(Code::InstanceParked, detail).logged(&text)
            }
            Error::Other(error) => error.into(),
            other => Self::internal(&other),
        }
    }
}

fn of_store(error: &store::Error) -> Problem {
    match error {
        store::Error::Busy => {
            Problem::new(Code::Overloaded, error.to_string()).retry_after(Duration::from_secs(1))
        }
        store::Error::Closed => Problem::from(Error::ShuttingDown),
        store::Error::Full(_) => {
            let detail = "no space is left for the data directory, and nothing was recorded: free some, and repeat \
                          the request; dogwatch goes on by itself";
            Problem::new(Code::StoreFull, detail).retry_after(Duration::from_secs(5))
        }
        store::Error::Failed(_) => {
            let detail = "the data directory cannot be written any more, see the log; whether this request was \
                          recorded is not known: repeat it with the same idempotency key once dogwatch is back";
            Problem::new(Code::StoreUnavailable, detail).retry_after(Duration::from_secs(30)).logged(error)
        }
        other => Problem::internal(other),
    }
}

impl From<json::Error> for Problem {
    fn from(error: json::Error) -> Self {
        Self::new(Code::MalformedJson, error.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.document.status, self.document.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.document.code.status_and_title().0
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CONTENT_TYPE, MEDIA_TYPE));
        if let Some(seconds) = self.document.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((ALLOW, allow.as_str()));
        }
        if self.document.code == Code::Unauthorized {
            response.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"dogwatch\""));
        }
        response.body(serde_json::to_string(&self.document).expect("a problem has only texts and numbers"))
    }
}

#[cfg(test)]
mod tests;
