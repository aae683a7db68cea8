//! `POST /v1/orchestrations`: start an instance.

use std::collections::BTreeMap;

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::handle::orchestrations::StartOrder;
use dogwatch_actors::limits::ORCHESTRATION_PAYLOAD_BYTES_MAX;
use dogwatch_actors::orchestration::view::InstanceView;
use dogwatch_actors::orchestration::{InstanceId, Status};
use dogwatch_actors::shape;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{path, with_links};
use crate::api::detached::detached;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::Api;
use crate::api::{body, links};

/// What is sent besides the input.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// An instance to be started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartInstance {
    /// The name of the orchestration.
    name: String,
    /// Its input: any JSON.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    input: Value,
    /// The instance's id; without one it gets a random one.
    #[serde(default)]
    id: Option<InstanceId>,
    /// The version; without one the newest.
    #[serde(default)]
    version: Option<String>,
    /// What to write on it.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// Not before this time.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    start_at: Option<Timestamp>,
    /// An instance with this id in one of these states is replaced.
    #[serde(default)]
    replaces: Vec<Status>,
}

/// Start an orchestration
///
/// Answers once the instance is durable.
#[utoipa::path(
    post, path = "/v1/orchestrations", tag = "orchestrations", operation_id = "start_orchestration",
    request_body = StartInstance,
    responses((status = 202, description = "The instance is durable", body = InstanceView, headers(
        ("Location" = String, description = "Where the instance is"),
    ))),
)]
pub(crate) async fn start(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let limit = ORCHESTRATION_PAYLOAD_BYTES_MAX + ENVELOPE_BYTES_MAX;
    let json = body::required(&req, body, limit, "an instance such as {\"name\": \"order\"}").await?;
    let start: StartInstance = shape::read(&json, |_, _| None).map_err(Problem::invalid_fields)?;
    let order = StartOrder {
        name: start.name,
        input: start.input.into(),
        trace: None,
        id: start.id,
        version: start.version,
        tags: start.tags,
        start_at: start.start_at,
        replaces: start.replaces,
    };
    let client = api.handle.orchestrations();
    let instance = detached(async move { client.start(order).await }).await?;
    let location = path(&links::prefix(&req), instance.id);
    Ok(HttpResponse::Accepted().insert_header((LOCATION, location)).json(with_links(instance, &req)))
}
