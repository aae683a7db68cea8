//! The routes of dead letters.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Payload};
use dogwatch_actors::handle::queues::DeadPage;
use dogwatch_actors::limits::{QUEUE_PAGE_DEFAULT, QUEUE_PAGE_MAX};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{message_id, name};
use crate::api::body;
use crate::api::detached::detached;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::Api;

/// How many dead letters something was done with.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Moved {
    /// So many.
    pub moved: u64,
}

/// List dead letters
///
/// Without their bodies: `GET /v1/queues/{queue}/messages/{message}` shows one whole.
#[utoipa::path(
    get, path = "/v1/queues/{queue}/dead", tag = "queues", operation_id = "list_dead_letters",
    params(
        ("queue" = String, Path, description = "The queue"),
        ("after" = Option<String>, Query, description = "Only those behind this message"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most so many; default 100"),
    ),
    responses((status = 200, description = "Dead letters by number", body = DeadPage)),
)]
pub(crate) async fn list(api: Data<Api>, req: HttpRequest) -> Result<Json<DeadPage>, Problem> {
    let query = Query::read(&req, &["after", "limit"])?;
    let limit = query.number("limit", 1..=QUEUE_PAGE_MAX, QUEUE_PAGE_DEFAULT)?;
    let after = query.text("after")?;
    Ok(Json(api.handle.queues().dead(&name(&req), after, limit).await?))
}

/// Deliver all dead letters again
///
/// Each has all its deliveries once more.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/dead/requeue", tag = "queues", operation_id = "requeue_dead_letters",
    params(("queue" = String, Path, description = "The queue")),
    responses((status = 200, description = "They are ready", body = Moved)),
)]
pub(crate) async fn requeue(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<Json<Moved>, Problem> {
    decide(&api, &req, body, None, Fate::Requeue).await
}

/// Delete all dead letters
#[utoipa::path(
    delete, path = "/v1/queues/{queue}/dead", tag = "queues", operation_id = "purge_dead_letters",
    params(("queue" = String, Path, description = "The queue")),
    responses((status = 200, description = "They are gone", body = Moved)),
)]
pub(crate) async fn purge(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<Json<Moved>, Problem> {
    decide(&api, &req, body, None, Fate::Purge).await
}

/// Deliver a dead letter again
///
/// It has all its deliveries once more.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/dead/{message}/requeue", tag = "queues", operation_id = "requeue_dead_letter",
    params(
        ("queue" = String, Path, description = "The queue"),
        ("message" = String, Path, description = "The message's number"),
    ),
    responses((status = 200, description = "It is ready", body = Moved)),
)]
pub(crate) async fn requeue_one(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<Moved>, Problem> {
    decide(&api, &req, body, Some(message_id(&req)), Fate::Requeue).await
}

/// Delete a dead letter
#[utoipa::path(
    delete, path = "/v1/queues/{queue}/dead/{message}", tag = "queues", operation_id = "purge_dead_letter",
    params(
        ("queue" = String, Path, description = "The queue"),
        ("message" = String, Path, description = "The message's number"),
    ),
    responses((status = 200, description = "It is gone", body = Moved)),
)]
pub(crate) async fn purge_one(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<Moved>, Problem> {
    decide(&api, &req, body, Some(message_id(&req)), Fate::Purge).await
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Requeue,
    Purge,
}

async fn decide(
    api: &Data<Api>,
    req: &HttpRequest,
    body: Payload,
    message: Option<String>,
    fate: Fate,
) -> Result<Json<Moved>, Problem> {
    Query::none(req)?;
    body::nothing(req, body).await?;
    let (queue, queues) = (name(req), api.handle.queues());
    let moved = detached(async move {
        match fate {
            Fate::Requeue => queues.requeue(&queue, message.as_deref()).await,
            Fate::Purge => queues.discard(&queue, message.as_deref()).await,
        }
    });
    Ok(Json(Moved { moved: moved.await? }))
}
