//! `POST /v1/orchestrations/{instance}/{suspend,resume,terminate,rewind,release,restart}`: what one may ask of one.

use std::future::Future;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::handle::orchestrations::{self, Orchestrations};
use dogwatch_actors::orchestration::InstanceId;
use dogwatch_actors::orchestration::view::InstanceView;
use dogwatch_actors::shape;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use utoipa::ToSchema;

use super::{instance_id, with_links};
use crate::api::body;
use crate::api::detached::detached;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::Api;

/// Bytes of the body of a command.
const COMMAND_BYTES_MAX: usize = 16 * 1024;

/// Why something is asked for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    /// In words, for its history.
    #[serde(default)]
    reason: Option<String>,
}

/// How to terminate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Termination {
    /// In words, for its history.
    #[serde(default)]
    reason: Option<String>,
    /// With its children; default yes.
    #[serde(default = "yes")]
    recursive: bool,
}

/// How to restart.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restarting {
    /// Under an id of its own (default), or in place of the old one.
    #[serde(default = "yes")]
    with_new_id: bool,
}

const fn yes() -> bool {
    true
}

async fn read<T: DeserializeOwned>(req: &HttpRequest, body: Payload) -> Result<T, Problem> {
    Query::none(req)?;
    let json = body::read(req, body, COMMAND_BYTES_MAX).await?.unwrap_or_else(|| json!({}));
    shape::read(&json, |_, _| None).map_err(Problem::invalid_fields)
}

async fn answer<F>(
    api: &Api,
    req: &HttpRequest,
    command: impl FnOnce(Orchestrations, InstanceId) -> F,
) -> Result<HttpResponse, Problem>
where
    F: Future<Output = orchestrations::Result<InstanceView>> + 'static,
{
    let id = instance_id(req)?;
    let instance = detached(command(api.handle.orchestrations(), id)).await?;
    Ok(HttpResponse::Accepted().json(with_links(instance, req)))
}

/// Suspend an orchestration
///
/// What arrives is kept until it is resumed; what it started goes on.
#[utoipa::path(
    post, path = "/v1/orchestrations/{instance}/suspend", tag = "orchestrations", operation_id = "suspend_orchestration",
    request_body = Option<Reason>, params(("instance" = String, Path, description = "The instance")),
    responses((status = 202, description = "It is suspended", body = InstanceView)),
)]
pub(crate) async fn suspend(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let reason: Reason = read(&req, body).await?;
    answer(&api, &req, |client, id| async move { client.suspend(id, reason.reason).await }).await
}

/// Resume a suspended orchestration
#[utoipa::path(
    post, path = "/v1/orchestrations/{instance}/resume", tag = "orchestrations", operation_id = "resume_orchestration",
    request_body = Option<Reason>, params(("instance" = String, Path, description = "The instance")),
    responses((status = 202, description = "It goes on", body = InstanceView)),
)]
pub(crate) async fn resume(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    let reason: Reason = read(&req, body).await?;
    answer(&api, &req, |client, id| async move { client.resume(id, reason.reason).await }).await
}

/// Rewind a failed orchestration
///
/// It goes on from before its last failure, and so do its children that failed.
#[utoipa::path(
    post, path = "/v1/orchestrations/{instance}/rewind", tag = "orchestrations", operation_id = "rewind_orchestration",
    request_body = Option<Reason>, params(("instance" = String, Path, description = "The instance")),
    responses((status = 202, description = "It goes on", body = InstanceView)),
)]
pub(crate) async fn rewind(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    let reason: Reason = read(&req, body).await?;
    answer(&api, &req, |client, id| async move { client.rewind(id, reason.reason).await }).await
}

/// Release a blocked orchestration
///
/// What is blocked or parked is tried again.
#[utoipa::path(
    post, path = "/v1/orchestrations/{instance}/release", tag = "orchestrations", operation_id = "release_orchestration",
    request_body = Option<Reason>, params(("instance" = String, Path, description = "The instance")),
    responses((status = 202, description = "It is tried again", body = InstanceView)),
)]
pub(crate) async fn release(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let _reason: Reason = read(&req, body).await?;
    answer(&api, &req, |client, id| async move { client.release(id).await }).await
}

/// Terminate an orchestration
///
/// Its activities and jobs are stopped, by default its children are terminated, too. It is `terminated` once nothing
/// of that runs any more.
#[utoipa::path(
    post, path = "/v1/orchestrations/{instance}/terminate", tag = "orchestrations",
    operation_id = "terminate_orchestration",
    request_body = Option<Termination>, params(("instance" = String, Path, description = "The instance")),
    responses((status = 202, description = "It will be terminated", body = InstanceView)),
)]
pub(crate) async fn terminate(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let Termination { reason, recursive } = read(&req, body).await?;
    answer(&api, &req, |client, id| async move { client.terminate(id, reason, recursive).await }).await
}

/// Restart an orchestration
///
/// Starts one that is over again, with the same input.
#[utoipa::path(
    post, path = "/v1/orchestrations/{instance}/restart", tag = "orchestrations",
    operation_id = "restart_orchestration",
    request_body = Option<Restarting>, params(("instance" = String, Path, description = "The instance")),
    responses((status = 202, description = "The instance that was started", body = InstanceView)),
)]
pub(crate) async fn restart(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let Restarting { with_new_id } = read(&req, body).await?;
    answer(&api, &req, |client, id| async move { client.restart(id, with_new_id).await }).await
}
