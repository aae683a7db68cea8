//! `/v1/jobs/{id}/webhooks`: how the telling of a job's end is going, and another try for what was given up.

use actix_web::web::{Data, Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::webhook::WebhookView;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::body;
use crate::api::detached::detached;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::{Api, job_id};

/// The deliveries of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WebhookList {
    /// One for each target of the job's `on_complete`, in that order.
    pub webhooks: Vec<WebhookView>,
}

/// Show the webhooks of a job
///
/// One entry for each target of its `on_complete`, in that order.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/webhooks", tag = "jobs", operation_id = "list_job_webhooks",
    params(("id" = String, Path, description = "The job")),
    responses((status = 200, description = "Its webhooks", body = WebhookList)),
)]
pub(crate) async fn list(api: Data<Api>, req: HttpRequest) -> Result<Json<WebhookList>, Problem> {
    Query::none(&req)?;
    Ok(Json(WebhookList { webhooks: api.handle.webhooks(job_id(&req)?)? }))
}

/// Try a parked webhook again
///
/// What was given up after the last try is sent from the first try on, in the order of the events.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/webhooks/{target}/replay", tag = "jobs", operation_id = "replay_job_webhook",
    params(
        ("id" = String, Path, description = "The job"),
        ("target" = u16, Path, description = "The target's place in `on_complete`, from 0"),
    ),
    responses((status = 202, description = "It is tried again", body = WebhookList)),
)]
pub(crate) async fn replay(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let id = job_id(&req)?;
    body::nothing(&req, body).await?;
    let handle = api.handle.clone();
    // What is no number is no target of any job either.
    let target = req.match_info().get("target").and_then(|text| text.parse().ok()).unwrap_or(u16::MAX);
    let webhooks = detached(async move {
        handle.replay_webhook(id, target).await?;
        handle.webhooks(id)
    })
    .await?;
    Ok(HttpResponse::Accepted().json(WebhookList { webhooks }))
}
