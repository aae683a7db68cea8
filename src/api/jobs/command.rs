//! `POST /v1/jobs/{id}/{cancel,suspend,resume,restart,retry}`: what one may ask of a job.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::handle::Command;
use dogwatch_actors::job::view::JobView;

use crate::api::detached::detached;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::{Api, job_id};
use crate::api::{body, links};

/// Cancel a job
///
/// Durable once answered: its attempt is stopped and the job ends `cancelled`. A job that is over is a
/// conflict.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", tag = "jobs", operation_id = "cancel_job",
    params(("id" = String, Path, description = "The job")),
    responses((status = 202, description = "It will be cancelled", body = JobView)),
)]
pub(crate) async fn cancel(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    command(Command::Cancel, &api, &req, body).await
}

/// Suspend a job
///
/// Its attempt is stopped and the job is kept until it is resumed.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/suspend", tag = "jobs", operation_id = "suspend_job",
    params(("id" = String, Path, description = "The job")),
    responses((status = 202, description = "It will be suspended", body = JobView)),
)]
pub(crate) async fn suspend(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    command(Command::Suspend, &api, &req, body).await
}

/// Resume a suspended job
#[utoipa::path(
    post, path = "/v1/jobs/{id}/resume", tag = "jobs", operation_id = "resume_job",
    params(("id" = String, Path, description = "The job")),
    responses((status = 202, description = "It goes on", body = JobView)),
)]
pub(crate) async fn resume(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    command(Command::Resume, &api, &req, body).await
}

/// Restart a job
///
/// Its attempt is stopped and a new one is started now, without pause and without being counted.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/restart", tag = "jobs", operation_id = "restart_job",
    params(("id" = String, Path, description = "The job")),
    responses((status = 202, description = "A new attempt will start", body = JobView)),
)]
pub(crate) async fn restart(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    command(Command::Restart, &api, &req, body).await
}

/// Retry a failed or cancelled job
///
/// It runs again with fresh attempts.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/retry", tag = "jobs", operation_id = "retry_job",
    params(("id" = String, Path, description = "The job")),
    responses((status = 202, description = "It is queued again", body = JobView)),
)]
pub(crate) async fn retry(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    command(Command::Retry, &api, &req, body).await
}

async fn command(
    command: Command,
    api: &Api,
    req: &HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    Query::none(req)?;
    let id = job_id(req)?;
    body::nothing(req, body).await?;
    let handle = api.handle.clone();
    let job = detached(async move { handle.command(id, command).await }).await?;
    Ok(HttpResponse::Accepted().json(links::with_links(job, &links::prefix(req))))
}
