//! `DELETE /v1/jobs/{id}`: purge a job that is over.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use crate::api::body;
use crate::api::detached::detached;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::{Api, job_id};

/// Purge a job
///
/// Deletes a job that is over with all that was kept of it. One that is not over is a conflict: cancel it
/// first.
#[utoipa::path(
    delete, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "purge_job",
    params(("id" = String, Path, description = "The job")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn purge(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let id = job_id(&req)?;
    body::nothing(&req, body).await?;
    let handle = api.handle.clone();
    detached(async move { handle.purge(id).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}
