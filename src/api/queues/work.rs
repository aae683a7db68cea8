//! What workers do with messages: the same routes for whoever has an API key, and on the callback listener for the workers
//! of pools, each with the token of its attempt for its own queue.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Payload};
use dogwatch_actors::handle::Handle;
use dogwatch_actors::handle::queues::{
    Acknowledge, AcknowledgeOne, Acknowledged, GiveBack, GivenBack, Receive, ReceivedMessage, Renew, Renewed,
    WorkerScope,
};
use dogwatch_actors::limits::{QUEUE_BATCH_BYTES_MAX, QUEUE_RESULT_BYTES_MAX};
use dogwatch_actors::shape;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{message_id, name};
use crate::api::detached::detached;
use crate::api::problem::{Code, Problem};
use crate::api::query::Query;
use crate::api::state::Api;
use crate::api::{bearer, body};

/// What a request has besides a result or an error.
const ENVELOPE_BYTES_MAX: usize = 16 * 1024;

/// Messages that are leased.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReceivedMessages {
    /// Those of the highest priority first, the oldest first; none where there was none in time.
    pub messages: Vec<ReceivedMessage>,
}

/// Several messages that are done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AcknowledgeMany)]
pub struct Acks {
    /// 1 to 1,000 of them.
    pub messages: Vec<AcknowledgeOne>,
}

/// What became of several receipts.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = AcknowledgedMany)]
pub struct Acked {
    /// In their order.
    pub messages: Vec<Acknowledged>,
}

/// Who asks, and of which supervisor.
#[derive(Debug)]
pub(crate) struct Caller {
    handle: Handle,
    scope: Option<WorkerScope>,
}

impl Caller {
    /// Somebody with an API key.
    fn with_key(api: &Data<Api>) -> Self {
        Self { handle: api.handle.clone(), scope: None }
    }

    /// The worker of an instance of a pool. Whoever has not the right token gets the same answer whatever he asks about.
    pub(crate) fn with_token(handle: &Data<Handle>, req: &HttpRequest) -> Result<Self, Problem> {
        let token = bearer(req.headers()).ok_or_else(|| refused("none was sent"))?;
        match handle.queues().admit(token, &name(req)) {
            Ok(scope) => Ok(Self { handle: handle.get_ref().clone(), scope: Some(scope) }),
            Err(dogwatch_actors::handle::queues::Error::Token(why)) => Err(refused(why)),
            Err(error) => Err(error.into()),
        }
    }
}

fn refused(why: &str) -> Problem {
    let detail = format!(
        "send the attempt's own DOGWATCH_QUEUE_TOKEN as `Authorization: Bearer <token>` to its own DOGWATCH_QUEUE_URL \
         ({why})"
    );
    Problem::new(Code::BadToken, detail)
}

async fn read<T: DeserializeOwned>(
    req: &HttpRequest,
    body: Payload,
    limit: usize,
    example: &str,
) -> Result<T, Problem> {
    Query::none(req)?;
    let json = body::required(req, body, limit, example).await?;
    shape::read(&json, hint).map_err(Problem::invalid_fields)
}

/// Receive messages
///
/// Leases up to `max` of them to whoever asks, and waits up to `wait` for the first. Whoever goes away meanwhile is
/// given nothing.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/receive", tag = "queues", operation_id = "receive_messages",
    request_body = Receive,
    params(("queue" = String, Path, description = "The queue")),
    responses((status = 200, description = "The messages", body = ReceivedMessages)),
)]
pub(crate) async fn receive(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<ReceivedMessages>, Problem> {
    received(&Caller::with_key(&api), &req, body).await
}

pub(crate) async fn received(
    caller: &Caller,
    req: &HttpRequest,
    body: Payload,
) -> Result<Json<ReceivedMessages>, Problem> {
    Query::none(req)?;
    let asked: Receive = match body::read(req, body, ENVELOPE_BYTES_MAX).await? {
        Some(json) => shape::read(&json, hint).map_err(Problem::invalid_fields)?,
        None => Receive::default(),
    };
    // Not detached: what comes when the client has gone goes back.
    let messages = caller.handle.queues().receive(&name(req), &asked, caller.scope.as_ref()).await?;
    Ok(Json(ReceivedMessages { messages }))
}

/// Lease a message longer
///
/// From now on, and not from the end of the lease.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/messages/{message}/renew", tag = "queues", operation_id = "renew_message",
    request_body = Renew,
    params(
        ("queue" = String, Path, description = "The queue"),
        ("message" = String, Path, description = "The message's number"),
    ),
    responses((status = 200, description = "The lease goes on", body = Renewed)),
)]
pub(crate) async fn renew(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<Json<Renewed>, Problem> {
    renewed(&Caller::with_key(&api), &req, body).await
}

pub(crate) async fn renewed(
    caller: &Caller,
    req: &HttpRequest,
    body: Payload,
) -> Result<Json<Renewed>, Problem> {
    let renew: Renew = read(req, body, ENVELOPE_BYTES_MAX, "the receipt as {\"receipt\": \"...\"}").await?;
    let (queue, message, queues) = (name(req), message_id(req), caller.handle.queues());
    detached(async move { queues.renew(&queue, &message, &renew).await }).await.map(Json)
}

/// Acknowledge a message
///
/// It is done and is not delivered again. The same receipt again gets the same answer.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/messages/{message}/ack", tag = "queues", operation_id = "ack_message",
    request_body = Acknowledge,
    params(
        ("queue" = String, Path, description = "The queue"),
        ("message" = String, Path, description = "The message's number"),
    ),
    responses((status = 200, description = "It is done, durably", body = Acknowledged)),
)]
pub(crate) async fn ack(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<Acknowledged>, Problem> {
    acked(&Caller::with_key(&api), &req, body).await
}

pub(crate) async fn acked(
    caller: &Caller,
    req: &HttpRequest,
    body: Payload,
) -> Result<Json<Acknowledged>, Problem> {
    let limit = QUEUE_RESULT_BYTES_MAX + ENVELOPE_BYTES_MAX;
    let ack: Acknowledge = read(req, body, limit, "the receipt as {\"receipt\": \"...\"}").await?;
    let (queue, message, queues) = (name(req), message_id(req), caller.handle.queues());
    detached(async move { queues.ack(&queue, &message, ack).await }).await.map(Json)
}

/// Acknowledge several messages
///
/// Each is answered for itself: one whose lease is over does not keep the others from being done.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/ack", tag = "queues", operation_id = "ack_messages", request_body = Acks,
    params(("queue" = String, Path, description = "The queue")),
    responses((status = 200, description = "What became of each, durably", body = Acked)),
)]
pub(crate) async fn ack_many(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<Acked>, Problem> {
    acked_many(&Caller::with_key(&api), &req, body).await
}

pub(crate) async fn acked_many(
    caller: &Caller,
    req: &HttpRequest,
    body: Payload,
) -> Result<Json<Acked>, Problem> {
    let example = "messages as {\"messages\": [{\"id\": \"1\", \"receipt\": \"...\"}]}";
    let acks: Acks = read(req, body, QUEUE_BATCH_BYTES_MAX, example).await?;
    let (queue, queues) = (name(req), caller.handle.queues());
    let messages = detached(async move { queues.ack_many(&queue, acks.messages).await }).await?;
    Ok(Json(Acked { messages }))
}

/// Give a message back
///
/// It could not be done: it is delivered again, at once or after `delay`, and is a dead letter when that was its last
/// delivery.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/messages/{message}/nack", tag = "queues", operation_id = "nack_message",
    request_body = GiveBack,
    params(
        ("queue" = String, Path, description = "The queue"),
        ("message" = String, Path, description = "The message's number"),
    ),
    responses((status = 200, description = "It is given back, durably", body = GivenBack)),
)]
pub(crate) async fn nack(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<GivenBack>, Problem> {
    nacked(&Caller::with_key(&api), &req, body).await
}

pub(crate) async fn nacked(
    caller: &Caller,
    req: &HttpRequest,
    body: Payload,
) -> Result<Json<GivenBack>, Problem> {
    let back: GiveBack = read(req, body, ENVELOPE_BYTES_MAX, "the receipt as {\"receipt\": \"...\"}").await?;
    let (queue, message, queues) = (name(req), message_id(req), caller.handle.queues());
    detached(async move { queues.nack(&queue, &message, back).await }).await.map(Json)
}

/// Words of neighbouring systems.
fn hint(_: &str, field: &str) -> Option<&'static str> {
    match field {
        "receipt_handle" | "lock_token" | "pop_receipt" | "token" => Some("use `receipt`"),
        "visibility_timeout" => Some("use `lease`"),
        "max_messages" | "count" | "limit" => Some("use `max`"),
        "wait_time" | "timeout" => Some("use `wait`"),
        "reason" | "message" => Some("use `error`"),
        _ => None,
    }
}
