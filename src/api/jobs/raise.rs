//! `POST /v1/jobs/{id}/events/{name}`: raise an event to a job.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::handle::{Callback, CallbackReceipt};
use dogwatch_actors::limits::CALLBACK_BODY_BYTES_MAX;
use serde_json::Value;

use super::submit::idempotency_key;
use crate::api::body;
use crate::api::detached::detached;
use crate::api::event_name;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::{Api, job_id};

/// Raise an event to a job
///
/// The body is the payload. It is recorded in the job's history; `completed`, `failed` and `progress` mean
/// what they mean in a callback of its newest attempt. With an `Idempotency-Key` a repetition is applied once.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/events/{name}", tag = "jobs", operation_id = "raise_event",
    request_body(content = Option<Value>, description = "The payload: any JSON, or none"),
    params(
        ("id" = String, Path, description = "The job"),
        ("name" = String, Path, description = "The event: 1 to 255 of letters, digits and `_.:-`"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters"),
    ),
    responses((status = 202, description = "The event is durable", body = CallbackReceipt)),
)]
pub(crate) async fn raise(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let id = job_id(&req)?;
    let name = req.match_info().get("name").unwrap_or_default().to_owned();
    event_name::check(&name).map_err(|error| Problem::invalid_request(error.to_string()))?;
    let key = idempotency_key(req.headers())?;
    let data = body::read(&req, body, CALLBACK_BODY_BYTES_MAX).await?.unwrap_or(Value::Null);
    let handle = api.handle.clone();
    let event = Callback { event: name, id: key, data };
    let receipt = detached(async move { handle.raise(id, event).await }).await?;
    Ok(HttpResponse::Accepted().json(receipt))
}
