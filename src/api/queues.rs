//! The routes under `/v1/queues`: messages that workers lease, and that come back unless they are acknowledged.
//!
//! Not responsible for: what workers do with messages (`queues/work.rs`), which is on the callback listener too.

pub(crate) mod dead;
pub(crate) mod work;

use actix_web::web::{Data, Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::handle::queues::{NewMessage, SentMessage};
use dogwatch_actors::limits::{QUEUE_BATCH_BYTES_MAX, QUEUE_BATCH_MAX};
use dogwatch_actors::queue::{MessageView, QueueView, Settings};
use dogwatch_actors::shape;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::body;
use super::declared::{declared, deleted, parameter};
use super::detached::detached;
use super::problem::Problem;
use super::query::{self, Query};
use super::state::Api;

/// Bytes of the settings of a queue.
const SETTINGS_BYTES_MAX: usize = 16 * 1024;
/// What messages have besides their bodies: ids, headers, names of fields.
const ENVELOPE_BYTES_MAX: usize = QUEUE_BATCH_MAX * 4 * 1024;

/// All queues.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct QueueList {
    /// By name.
    pub queues: Vec<QueueView>,
}

/// Several messages that are sent at once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessages {
    /// 1 to 1,000 of them.
    pub messages: Vec<NewMessage>,
}

/// Several messages that are kept.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SentMessages {
    /// In their order.
    pub messages: Vec<SentMessage>,
}

/// Declare a queue
///
/// Creates it, or gives it other settings; messages stay. Answers once it is durable. Messages can be sent to declared
/// queues only.
#[utoipa::path(
    put, path = "/v1/queues/{queue}", tag = "queues", operation_id = "declare_queue", request_body = Settings,
    params(("queue" = String, Path, description = "The queue's name: lower-case letters, digits and `-`")),
    responses(
        (status = 200, description = "It was there and has these settings now", body = QueueView),
        (status = 201, description = "It is created", body = QueueView, headers(
            ("Location" = String, description = "Where the queue is"),
        )),
    ),
)]
pub(crate) async fn declare(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let settings = match body::read(&req, body, SETTINGS_BYTES_MAX).await? {
        Some(json) => shape::read(&json, settings_hint).map_err(Problem::invalid_fields)?,
        None => Settings::default(),
    };
    let (name, queues) = (name(&req), api.handle.queues());
    let (queue, is_new) = detached(async move { queues.declare(&name, settings).await }).await?;
    Ok(declared(&req, "queues", queue.name.as_str(), (&queue, is_new)))
}

/// List queues
#[utoipa::path(
    get, path = "/v1/queues", tag = "queues", operation_id = "list_queues",
    responses((status = 200, description = "All queues", body = QueueList)),
)]
pub(crate) async fn list(api: Data<Api>, req: HttpRequest) -> Result<Json<QueueList>, Problem> {
    Query::none(&req)?;
    Ok(Json(QueueList { queues: api.handle.queues().list()? }))
}

/// Show a queue
///
/// With how many messages are ready, leased, delayed and dead, and how old the oldest is.
#[utoipa::path(
    get, path = "/v1/queues/{queue}", tag = "queues", operation_id = "get_queue",
    params(("queue" = String, Path, description = "The queue")),
    responses((status = 200, description = "The queue", body = QueueView)),
)]
pub(crate) async fn show(api: Data<Api>, req: HttpRequest) -> Result<Json<QueueView>, Problem> {
    Query::none(&req)?;
    Ok(Json(api.handle.queues().get(&name(&req))?))
}

/// Delete a queue
///
/// Refused while it holds messages, but with `force`, and while a pool works on it.
#[utoipa::path(
    delete, path = "/v1/queues/{queue}", tag = "queues", operation_id = "delete_queue",
    params(
        ("queue" = String, Path, description = "The queue"),
        ("force" = Option<bool>, Query, description = "With all messages that it holds"),
    ),
    responses(
        (status = 202, description = "Its messages are being deleted", body = QueueView),
        (status = 204, description = "It is gone"),
    ),
)]
pub(crate) async fn delete(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    let force = Query::read(&req, &["force"])?.text("force")?.map_or(Ok(false), |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(query::invalid("force", &"expected true or false")),
    })?;
    body::nothing(&req, body).await?;
    let (name, queues) = (name(&req), api.handle.queues());
    let queue = detached(async move { queues.delete(&name, force).await }).await?;
    Ok(deleted(queue))
}

/// Send messages
///
/// One, or up to 1,000 as `{"messages": [...]}`: all are kept or none. Answers once they are durable. A message with the
/// `id` of one that is remembered is that one.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/messages", tag = "queues", operation_id = "send_messages",
    request_body(content = NewMessage, description = "A message, or several as `{\"messages\": [...]}`"),
    params(("queue" = String, Path, description = "The queue")),
    responses((status = 201, description = "Kept; several are answered as `{\"messages\": [...]}`", body = SentMessage)),
)]
pub(crate) async fn send(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let example = "a message such as {\"body\": {\"order\": 7}}, or several as {\"messages\": [...]}";
    let json = body::required(&req, body, QUEUE_BATCH_BYTES_MAX + ENVELOPE_BYTES_MAX, example).await?;
    let is_batch = json.get("messages").is_some();
    let messages = read_messages(&json, is_batch)?;
    let (name, queues) = (name(&req), api.handle.queues());
    let mut sent = detached(async move { queues.send(&name, messages).await }).await?;
    if is_batch {
        return Ok(HttpResponse::Created().json(SentMessages { messages: sent }));
    }
    let sent = sent.pop().ok_or_else(|| Problem::internal(&"a message was not answered"))?;
    Ok(HttpResponse::Created().json(sent))
}

fn read_messages(json: &Value, is_batch: bool) -> Result<Vec<NewMessage>, Problem> {
    if is_batch {
        let read: Result<NewMessages, _> = shape::read(json, message_hint);
        return read.map(|batch| batch.messages).map_err(Problem::invalid_fields);
    }
    shape::read(json, message_hint).map(|message| vec![message]).map_err(Problem::invalid_fields)
}

/// Show a message
///
/// With its body, how its last delivery failed, and for as long as that is remembered its result.
#[utoipa::path(
    get, path = "/v1/queues/{queue}/messages/{message}", tag = "queues", operation_id = "get_message",
    params(
        ("queue" = String, Path, description = "The queue"),
        ("message" = String, Path, description = "The message's number"),
    ),
    responses((status = 200, description = "The message", body = MessageView)),
)]
pub(crate) async fn message(api: Data<Api>, req: HttpRequest) -> Result<Json<MessageView>, Problem> {
    Query::none(&req)?;
    Ok(Json(api.handle.queues().message(&name(&req), &message_id(&req)).await?))
}

pub(super) fn name(req: &HttpRequest) -> String {
    parameter(req, "queue")
}

pub(super) fn message_id(req: &HttpRequest) -> String {
    req.match_info().get("message").unwrap_or_default().to_owned()
}

/// Words of neighbouring systems.
fn settings_hint(_: &str, field: &str) -> Option<&'static str> {
    match field {
        "visibility_timeout" | "lock_duration" | "ack_deadline" => Some("use `lease`"),
        "max_receive_count" | "max_delivery_count" | "max_attempts" | "max_retries" => {
            Some("use `max_deliveries`")
        }
        "ttl" | "message_retention" | "message_retention_period" => Some("use `retention`"),
        "dedup" | "duplicate_detection_window" => Some("use `dedup_window`"),
        _ => None,
    }
}

fn message_hint(_: &str, field: &str) -> Option<&'static str> {
    match field {
        "message" | "payload" | "data" | "content" => Some("use `body`"),
        "dedup_id" | "message_id" | "deduplication_id" => Some("use `id`"),
        "delay_seconds" | "visible_at" => Some("use `delay`, such as \"30s\""),
        "attributes" | "properties" => Some("use `headers`"),
        _ => None,
    }
}
