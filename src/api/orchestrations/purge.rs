//! `DELETE /v1/orchestrations` and `…/{instance}`: delete what is over.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Payload};
use dogwatch_actors::handle::orchestrations::Purged;

use super::instance_id;
use super::list::{CONDITIONS, conditions};
use crate::api::body;
use crate::api::detached::detached;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::Api;

/// Purge an orchestration
///
/// Deletes an instance that is over, with its history and its children that are over. One that is not over is a
/// conflict: terminate it first.
#[utoipa::path(
    delete, path = "/v1/orchestrations/{instance}", tag = "orchestrations", operation_id = "purge_orchestration",
    params(("instance" = String, Path, description = "The instance")),
    responses((status = 200, description = "It is gone", body = Purged)),
)]
pub(crate) async fn one(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<Json<Purged>, Problem> {
    Query::none(&req)?;
    let id = instance_id(&req)?;
    body::nothing(&req, body).await?;
    let client = api.handle.orchestrations();
    let deleted = detached(async move { client.purge(id).await }).await?;
    Ok(Json(Purged { deleted, is_complete: true }))
}

/// Purge orchestrations
///
/// Deletes those that are over and fulfil all conditions, of which at least one must be given. Answers after some time
/// with what was deleted; repeat it until `is_complete`.
#[utoipa::path(
    delete, path = "/v1/orchestrations", tag = "orchestrations", operation_id = "purge_orchestrations",
    params(
        ("status" = Option<Vec<String>>, Query, description = "In one of these: repeated, or with commas"),
        ("name" = Option<String>, Query, description = "Of this orchestration"),
        ("tag" = Option<Vec<String>>, Query, description = "With this tag, `key:value`; may be repeated"),
        ("id_prefix" = Option<String>, Query, description = "Whose id begins so"),
        ("created_after" = Option<String>, Query, format = DateTime, description = "Created at this time (RFC 3339) or later"),
        ("created_before" = Option<String>, Query, format = DateTime, description = "Created before this time (RFC 3339)"),
    ),
    responses((status = 200, description = "What was deleted", body = Purged)),
)]
pub(crate) async fn many(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<Json<Purged>, Problem> {
    let query = Query::read(&req, &CONDITIONS)?;
    if req.query_string().is_empty() {
        let message = "say which: give at least one condition, such as created_before=2026-11-21T00:00:00Z";
        return Err(Problem::invalid_request(message));
    }
    let filter = conditions(&query)?;
    if let Some(status) = filter.statuses.iter().find(|status| !status.is_terminal()) {
        let message = format!("what is {} is not purged; terminate it first", status.name());
        return Err(Problem::invalid_request(message));
    }
    body::nothing(&req, body).await?;
    let client = api.handle.orchestrations();
    Ok(Json(detached(async move { client.purge_many(&filter).await }).await?))
}
