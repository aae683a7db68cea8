//! The routes under `/v1/triggers`: for each file, request or message one job or one orchestration.
//!
//! Not responsible for: calling a trigger (`call.rs`), and its items (`items.rs`).

pub(crate) mod call;
pub(crate) mod items;

use actix_web::web::{Data, Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::handle::triggers::Triggers;
use dogwatch_actors::job::parse::{self, parse_around};
use dogwatch_actors::limits::{ORCHESTRATION_PAYLOAD_BYTES_MAX, SPEC_BYTES_MAX};
use dogwatch_actors::trigger::{Spec, TriggerView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body;
use super::declared::{declared, deleted, parameter};
use super::detached::detached;
use super::problem::Problem;
use super::query::Query;
use super::state::Api;

/// What a trigger has besides what it starts.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// The longest trigger.
const BODY_BYTES_MAX: usize = if SPEC_BYTES_MAX > ORCHESTRATION_PAYLOAD_BYTES_MAX {
    SPEC_BYTES_MAX + ENVELOPE_BYTES_MAX
} else {
    ORCHESTRATION_PAYLOAD_BYTES_MAX + ENVELOPE_BYTES_MAX
};

const EXAMPLE: &str = "a trigger such as {\"directory\": {\"path\": \"/srv/drop\"}, \
                       \"job\": {\"args\": [\"import\", \"{{object}}\"]}}";

/// All triggers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TriggerList {
    /// By name.
    pub triggers: Vec<TriggerView>,
}

/// A trigger that was declared.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeclaredTrigger {
    /// The trigger.
    #[serde(flatten)]
    pub trigger: TriggerView,
    /// The token with which it is called, where it is called over HTTP and was not before. It is shown this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// A token of a trigger.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TriggerToken {
    /// The token. It is shown this once.
    pub token: String,
}

/// Declare a trigger
///
/// Creates it or replaces it as a whole; secrets that are `null` stay what they were, and so do its items, what it
/// remembers and whether it is paused. Answers once it is durable. A directory has to be below one of
/// `security.trigger_directories`. Job attempts find `DOGWATCH_TRIGGER`, `DOGWATCH_OBJECT`, `DOGWATCH_OBJECT_NAME`,
/// `DOGWATCH_OBJECT_VERSION`, `DOGWATCH_OBJECT_SIZE` and, where there is one, `DOGWATCH_OBJECT_BODY` in their environment.
#[utoipa::path(
    put, path = "/v1/triggers/{name}", tag = "triggers", operation_id = "declare_trigger", request_body = Spec,
    params(("name" = String, Path, description = "The trigger's name: lower-case letters, digits and `-`")),
    responses(
        (status = 200, description = "It is replaced", body = DeclaredTrigger),
        (status = 201, description = "It is created", body = DeclaredTrigger, headers(
            ("Location" = String, description = "Where the trigger is"),
        )),
    ),
)]
pub(crate) async fn declare(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let json = body::required(&req, body, BODY_BYTES_MAX, EXAMPLE).await?;
    let spec: Spec = parse_around(&json, hint).map_err(Problem::invalid_fields)?;
    let (name, triggers) = (name(&req), api.handle.triggers());
    let done = detached(async move { triggers.declare(&name, spec).await }).await?;
    let token = done.token.map(|token| token.expose().to_owned());
    let view = DeclaredTrigger { trigger: done.trigger, token };
    Ok(declared(&req, "triggers", &view.trigger.name, (&view, done.is_new)))
}

/// List triggers
#[utoipa::path(
    get, path = "/v1/triggers", tag = "triggers", operation_id = "list_triggers",
    responses((status = 200, description = "All triggers", body = TriggerList)),
)]
pub(crate) async fn list(api: Data<Api>, req: HttpRequest) -> Result<Json<TriggerList>, Problem> {
    Query::none(&req)?;
    Ok(Json(TriggerList { triggers: api.handle.triggers().list()? }))
}

/// Show a trigger
#[utoipa::path(
    get, path = "/v1/triggers/{name}", tag = "triggers", operation_id = "get_trigger",
    params(("name" = String, Path, description = "The trigger")),
    responses((status = 200, description = "The trigger", body = TriggerView)),
)]
pub(crate) async fn show(api: Data<Api>, req: HttpRequest) -> Result<Json<TriggerView>, Problem> {
    Query::none(&req)?;
    Ok(Json(api.handle.triggers().get(&name(&req))?))
}

/// Delete a trigger
///
/// What it started goes on. What it remembers goes: declared again, everything at its source is new to it.
#[utoipa::path(
    delete, path = "/v1/triggers/{name}", tag = "triggers", operation_id = "delete_trigger",
    params(("name" = String, Path, description = "The trigger")),
    responses(
        (status = 202, description = "It goes when what is kept of it is deleted", body = TriggerView),
        (status = 204, description = "It is gone"),
    ),
)]
pub(crate) async fn delete(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    let (name, triggers) = told(&api, &req, body).await?;
    Ok(deleted(detached(async move { triggers.delete(&name).await }).await?))
}

/// Pause a trigger
///
/// It starts nothing, and does not look at its source; what runs goes on, and requests that come are kept.
#[utoipa::path(
    post, path = "/v1/triggers/{name}/pause", tag = "triggers", operation_id = "pause_trigger",
    params(("name" = String, Path, description = "The trigger")),
    responses((status = 200, description = "It is paused", body = TriggerView)),
)]
pub(crate) async fn pause(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<TriggerView>, Problem> {
    let (name, triggers) = told(&api, &req, body).await?;
    Ok(Json(detached(async move { triggers.pause(&name).await }).await?))
}

/// Resume a trigger
///
/// With what arrived meanwhile.
#[utoipa::path(
    post, path = "/v1/triggers/{name}/resume", tag = "triggers", operation_id = "resume_trigger",
    params(("name" = String, Path, description = "The trigger")),
    responses((status = 200, description = "It is active", body = TriggerView)),
)]
pub(crate) async fn resume(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<TriggerView>, Problem> {
    let (name, triggers) = told(&api, &req, body).await?;
    Ok(Json(detached(async move { triggers.resume(&name).await }).await?))
}

/// Give a trigger another token
///
/// The old one is good no more, from now on.
#[utoipa::path(
    post, path = "/v1/triggers/{name}/rotate", tag = "triggers", operation_id = "rotate_trigger_token",
    params(("name" = String, Path, description = "The trigger")),
    responses((status = 200, description = "It has another token", body = TriggerToken)),
)]
pub(crate) async fn rotate(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<TriggerToken>, Problem> {
    let (name, triggers) = told(&api, &req, body).await?;
    let token = detached(async move { triggers.rotate(&name).await }).await?;
    Ok(Json(TriggerToken { token: token.expose().to_owned() }))
}

/// Which trigger is told something, by a request that says nothing else.
async fn told(api: &Api, req: &HttpRequest, body: Payload) -> Result<(String, Triggers), Problem> {
    Query::none(req)?;
    body::nothing(req, body).await?;
    Ok((name(req), api.handle.triggers()))
}

fn name(req: &HttpRequest) -> String {
    parameter(req, "name")
}

/// Words of neighbouring systems, and what is written beside the job or the source instead of in it.
pub(crate) fn hint(parent: &str, field: &str) -> Option<&'static str> {
    match (parent, field) {
        ("/job", field) => parse::hint("", field),
        ("", "image" | "args" | "entrypoint" | "env" | "secrets" | "resources") => {
            Some("it belongs into `job`")
        }
        ("", "path" | "patterns" | "recursive" | "settle" | "poll" | "hidden") => {
            Some("it belongs into `directory`")
        }
        ("", "file" | "files" | "watch" | "dir" | "folder") => {
            Some("use `directory`: {\"path\": \"/srv/drop\"}")
        }
        ("", "webhook" | "url" | "token") => Some("use `http`: {}; its token is made for it"),
        ("/directory", "pattern" | "glob" | "include" | "filter") => Some("use `patterns`: a list"),
        ("/bucket", "name" | "bucket" | "url") => {
            Some("use `store`: the name of a [stores.<name>] of the configuration")
        }
        ("/queue", "queue") => Some("use `name`"),
        ("", "concurrency" | "max_concurrency" | "max_concurrent") => Some("use `parallelism`"),
        ("", "retries" | "max_attempts" | "attempts") => {
            Some("use `max_deliveries`, or `max_attempts` in `job`")
        }
        ("", "suspend" | "suspended" | "paused" | "enabled") => {
            Some("a trigger is paused with POST /v1/triggers/{name}/pause")
        }
        ("", "input" | "version" | "task_hub" | "tags") => Some("it belongs into `orchestration`"),
        _ => None,
    }
}
