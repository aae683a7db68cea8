//! The routes under `/v1/pools`: sets of jobs that start when there is something to do.

use actix_web::web::{Data, Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::handle::FieldError;
use dogwatch_actors::job::parse::{self, parse_around};
use dogwatch_actors::limits::SPEC_BYTES_MAX;
use dogwatch_actors::pool::{PoolView, Spec};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::body;
use super::declared::{declared, deleted, parameter};
use super::detached::detached;
use super::problem::Problem;
use super::query::Query;
use super::state::Api;

/// What a pool has besides the spec of its job.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// All pools.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PoolList {
    /// By name.
    pub pools: Vec<PoolView>,
}

/// Declare a pool
///
/// Creates it or replaces it as a whole; secrets that are `null` stay what they were. Answers once it is durable.
/// Instances start when an activity waits that no worker takes; each finds in its environment where its worker connects
/// and with which token. Of an earlier declaration that was another job, instances end what they have and stop.
#[utoipa::path(
    put, path = "/v1/pools/{name}", tag = "pools", operation_id = "declare_pool", request_body = Spec,
    params(("name" = String, Path, description = "The pool's name: lower-case letters, digits and `-`")),
    responses(
        (status = 200, description = "It is replaced", body = PoolView),
        (status = 201, description = "It is created", body = PoolView, headers(
            ("Location" = String, description = "Where the pool is"),
        )),
    ),
)]
pub(crate) async fn declare(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let json = document(&req, body).await?;
    declare_as(&api, &req, name(&req), &json).await
}

/// A pool with its name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NamedPool {
    /// Lower-case letters, digits and `-`.
    pub(crate) name: String,
    /// The pool.
    #[serde(flatten)]
    pub(crate) spec: Spec,
}

/// Declare a pool by the name in its body
///
/// The same as `PUT /v1/pools/{name}`.
#[utoipa::path(
    post, path = "/v1/pools", tag = "pools", operation_id = "declare_named_pool", request_body = NamedPool,
    responses(
        (status = 200, description = "It is replaced", body = PoolView),
        (status = 201, description = "It is created", body = PoolView, headers(
            ("Location" = String, description = "Where the pool is"),
        )),
    ),
)]
pub(crate) async fn declare_named(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let mut json = document(&req, body).await?;
    let Some(Value::String(name)) = json.as_object_mut().and_then(|pool| pool.remove("name")) else {
        let message = "is missing: the pool's name, a text".to_owned();
        return Err(Problem::invalid_fields(vec![FieldError { pointer: "/name".to_owned(), message }]));
    };
    declare_as(&api, &req, name, &json).await
}

async fn document(req: &HttpRequest, body: Payload) -> Result<Value, Problem> {
    let example =
        "a pool such as {\"activities\": [{\"name\": \"resize\"}], \"job\": {\"image\": \"resizer:1\"}}";
    body::required(req, body, SPEC_BYTES_MAX + ENVELOPE_BYTES_MAX, example).await
}

async fn declare_as(
    api: &Api,
    req: &HttpRequest,
    name: String,
    json: &Value,
) -> Result<HttpResponse, Problem> {
    let spec: Spec = parse_around(json, hint).map_err(Problem::invalid_fields)?;
    let pools = api.handle.pools();
    let (pool, is_new) = detached(async move { pools.declare(&name, spec).await }).await?;
    Ok(declared(req, "pools", pool.name.as_str(), (&pool, is_new)))
}

/// List pools
#[utoipa::path(
    get, path = "/v1/pools", tag = "pools", operation_id = "list_pools",
    responses((status = 200, description = "All pools", body = PoolList)),
)]
pub(crate) async fn list(api: Data<Api>, req: HttpRequest) -> Result<Json<PoolList>, Problem> {
    Query::none(&req)?;
    Ok(Json(PoolList { pools: api.handle.pools().list()? }))
}

/// Show a pool
///
/// With its instances, its demand, and why the last instance that failed did.
#[utoipa::path(
    get, path = "/v1/pools/{name}", tag = "pools", operation_id = "get_pool",
    params(("name" = String, Path, description = "The pool")),
    responses((status = 200, description = "The pool", body = PoolView)),
)]
pub(crate) async fn show(api: Data<Api>, req: HttpRequest) -> Result<Json<PoolView>, Problem> {
    Query::none(&req)?;
    Ok(Json(api.handle.pools().get(&name(&req))?))
}

/// Delete a pool
///
/// Its instances are stopped first; what they have goes to other workers, or waits for one.
#[utoipa::path(
    delete, path = "/v1/pools/{name}", tag = "pools", operation_id = "delete_pool",
    params(("name" = String, Path, description = "The pool")),
    responses(
        (status = 202, description = "Its instances are being stopped", body = PoolView),
        (status = 204, description = "It is gone"),
    ),
)]
pub(crate) async fn delete(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    body::nothing(&req, body).await?;
    let (name, pools) = (name(&req), api.handle.pools());
    let pool = detached(async move { pools.delete(&name).await }).await?;
    Ok(deleted(pool))
}

fn name(req: &HttpRequest) -> String {
    parameter(req, "name")
}

/// Words of neighbouring systems, and what is written beside the job instead of in it.
fn hint(parent: &str, field: &str) -> Option<&'static str> {
    match (parent, field) {
        ("/job", field) => parse::hint("", field),
        ("", "image" | "args" | "env" | "secrets" | "resources") => Some("it belongs into `job`"),
        ("", "max_concurrent_activities" | "concurrency") => Some("use `per_instance`"),
        ("", "hub" | "taskhub") => Some("use `task_hub`"),
        _ => None,
    }
}
