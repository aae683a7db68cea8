//! The routes under `/v1/arrays`: jobs that were submitted with `array`.

use actix_web::web::{Data, Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::array::{ArrayId, ArrayView};
use dogwatch_actors::handle::Command;
use dogwatch_actors::limits::{ARRAY_PAGE_MAX, LIST_PAGE_DEFAULT};
use dogwatch_actors::units::Span;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::detached::detached;
use super::jobs::show::patience;
use super::problem::{Code, Problem};
use super::query::Query;
use super::state::Api;
use super::{body, links};

/// A page of arrays.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ArrayList {
    /// Newest first.
    pub arrays: Vec<ArrayView>,
    /// Give it as `cursor` for the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

/// List arrays
///
/// Newest first. The children of one are jobs with the label `dogwatch.array`.
#[utoipa::path(
    get, path = "/v1/arrays", tag = "arrays", operation_id = "list_arrays",
    params(
        ("limit" = Option<u32>, Query, description = "At most so many, 1 to 500; by default 50"),
        ("cursor" = Option<String>, Query, description = "Go on behind this page"),
    ),
    responses((status = 200, description = "A page of arrays", body = ArrayList)),
)]
pub(crate) async fn list(api: Data<Api>, req: HttpRequest) -> Result<Json<ArrayList>, Problem> {
    let query = Query::read(&req, &["limit", "cursor"])?;
    let limit = query.number("limit", 1..=ARRAY_PAGE_MAX, LIST_PAGE_DEFAULT)?;
    let before: Option<ArrayId> = query.one("cursor")?;
    let page = api.handle.arrays().list(before, limit)?;
    let prefix = links::prefix(&req);
    let arrays = page.arrays.into_iter().map(|array| with_links(array, &prefix)).collect();
    Ok(Json(ArrayList { arrays, next_cursor: page.next.map(|id| id.to_string()) }))
}

/// Show an array
///
/// With how many of its children are in which state. With `wait` the answer comes when it is over, or as it is after
/// that time.
#[utoipa::path(
    get, path = "/v1/arrays/{id}", tag = "arrays", operation_id = "get_array",
    params(
        ("id" = String, Path, description = "The array"),
        ("wait" = Option<Span>, Query, description = "How long to wait for the end, such as `30s`; at most `1m`"),
    ),
    responses((status = 200, description = "The array", body = ArrayView)),
)]
pub(crate) async fn show(api: Data<Api>, req: HttpRequest) -> Result<Json<ArrayView>, Problem> {
    let query = Query::read(&req, &["wait"])?;
    let id = array_id(&req)?;
    let array = match patience(&query)? {
        None => api.handle.arrays().get(id)?,
        Some(patience) => {
            let _seat = api.seats.take()?;
            api.handle.arrays().wait(id, patience.as_duration()).await?
        }
    };
    Ok(Json(with_links(array, &links::prefix(&req))))
}

/// Delete an array
///
/// One that is over, with its children and all that was kept of them.
#[utoipa::path(
    delete, path = "/v1/arrays/{id}", tag = "arrays", operation_id = "purge_array",
    params(("id" = String, Path, description = "The array")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn purge(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    body::nothing(&req, body).await?;
    let (id, arrays) = (array_id(&req)?, api.handle.arrays());
    detached(async move { arrays.purge(id).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Cancel an array
///
/// Durable once answered: no more children are started, and those under way are cancelled.
#[utoipa::path(
    post, path = "/v1/arrays/{id}/cancel", tag = "arrays", operation_id = "cancel_array",
    params(("id" = String, Path, description = "The array")),
    responses((status = 202, description = "It will be cancelled", body = ArrayView)),
)]
pub(crate) async fn cancel(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    command(Command::Cancel, &api, &req, body).await
}

/// Suspend an array
///
/// No more children are started, and those under way are suspended.
#[utoipa::path(
    post, path = "/v1/arrays/{id}/suspend", tag = "arrays", operation_id = "suspend_array",
    params(("id" = String, Path, description = "The array")),
    responses((status = 202, description = "It is suspended", body = ArrayView)),
)]
pub(crate) async fn suspend(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    command(Command::Suspend, &api, &req, body).await
}

/// Resume a suspended array
#[utoipa::path(
    post, path = "/v1/arrays/{id}/resume", tag = "arrays", operation_id = "resume_array",
    params(("id" = String, Path, description = "The array")),
    responses((status = 202, description = "It goes on", body = ArrayView)),
)]
pub(crate) async fn resume(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    command(Command::Resume, &api, &req, body).await
}

/// Retry an array
///
/// Of one that is over every child that did not succeed runs again, or for the first time.
#[utoipa::path(
    post, path = "/v1/arrays/{id}/retry", tag = "arrays", operation_id = "retry_array",
    params(("id" = String, Path, description = "The array")),
    responses((status = 202, description = "It runs again", body = ArrayView)),
)]
pub(crate) async fn retry(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    command(Command::Retry, &api, &req, body).await
}

async fn command(
    command: Command,
    api: &Data<Api>,
    req: &HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    Query::none(req)?;
    body::nothing(req, body).await?;
    let (id, arrays) = (array_id(req)?, api.handle.arrays());
    let array = detached(async move { arrays.command(id, command).await }).await?;
    Ok(HttpResponse::Accepted().json(with_links(array, &links::prefix(req))))
}

fn array_id(req: &HttpRequest) -> Result<ArrayId, Problem> {
    let text = req.match_info().get("id").unwrap_or_default();
    // What is no id is the id of none.
    text.parse()
        .map_err(|error| Problem::new(Code::ArrayNotFound, format!("there is no such array: {error}")))
}

/// The path of an array.
pub(crate) fn path(prefix: &str, id: ArrayId) -> String {
    format!("{prefix}/v1/arrays/{id}")
}

/// The array with links for this client.
pub(crate) fn with_links(mut array: ArrayView, prefix: &str) -> ArrayView {
    let own = path(prefix, array.id);
    let children = format!("{prefix}/v1/jobs?label=dogwatch.array:{}", array.id);
    array.links.insert("self".to_owned(), own.clone());
    array.links.insert("jobs".to_owned(), children);
    let verbs: &[&str] =
        if array.state.is_terminal() { &["retry"] } else { &["cancel", "suspend", "resume"] };
    for verb in verbs {
        array.links.insert((*verb).to_owned(), format!("{own}/{verb}"));
    }
    array
}
