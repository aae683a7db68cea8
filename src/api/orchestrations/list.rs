//! `GET /v1/orchestrations`: a page of instances, newest first.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use dogwatch_actors::handle::orchestrations::{InstanceFilter, InstancePage, Reads};
use dogwatch_actors::limits::{LIST_PAGE_DEFAULT, LIST_PAGE_MAX};
use dogwatch_actors::orchestration::Status;

use super::with_links;
use crate::api::problem::Problem;
use crate::api::query::{Query, word};
use crate::api::state::Api;

/// What says which instances.
pub(super) const CONDITIONS: [&str; 7] =
    ["task_hub", "status", "name", "tag", "id_prefix", "created_after", "created_before"];

/// What a list may be asked by.
const PARAMETERS: [&str; 10] = [
    "task_hub",
    "status",
    "name",
    "tag",
    "id_prefix",
    "created_after",
    "created_before",
    "limit",
    "cursor",
    "payloads",
];

/// List orchestrations
///
/// Newest first. All given conditions must hold; of several statuses one must.
#[utoipa::path(
    get, path = "/v1/orchestrations", tag = "orchestrations", operation_id = "list_orchestrations",
    params(
        ("status" = Option<Vec<Status>>, Query, description = "In one of these: repeated, or with commas"),
        ("task_hub" = Option<String>, Query, description = "In this task hub; default `default`"),
        ("name" = Option<String>, Query, description = "Of this orchestration"),
        ("tag" = Option<Vec<String>>, Query, description = "With this tag, `key:value`; may be repeated"),
        ("id_prefix" = Option<String>, Query, description = "Whose id begins so"),
        ("created_after" = Option<String>, Query, format = DateTime, description = "Created at this time (RFC 3339) or later"),
        ("created_before" = Option<String>, Query, format = DateTime, description = "Created before this time (RFC 3339)"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "At most so many; default 50"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
        ("payloads" = Option<bool>, Query, description = "With inputs and outputs; default no"),
    ),
    responses((status = 200, description = "A page of instances", body = InstancePage)),
)]
pub(crate) async fn list(api: Data<Api>, req: HttpRequest) -> Result<Json<InstancePage>, Problem> {
    let query = Query::read(&req, &PARAMETERS)?;
    let payloads = query.one::<bool>("payloads")?.unwrap_or(false);
    let filter = InstanceFilter {
        limit: query.number("limit", 1..=LIST_PAGE_MAX, LIST_PAGE_DEFAULT)?,
        cursor: query.text("cursor")?.map(str::to_owned),
        reads: Reads { input: payloads, output: payloads },
        ..conditions(&query)?
    };
    let mut page = api.handle.reading(move |handle| handle.orchestrations().list(&filter)).await?;
    page.instances = page.instances.into_iter().map(|instance| with_links(instance, &req)).collect();
    Ok(Json(page))
}

/// Which instances are asked for.
pub(super) fn conditions(query: &Query) -> Result<InstanceFilter, Problem> {
    let mut statuses = Vec::new();
    for text in query.all("status").flat_map(|list| list.split(',')) {
        statuses.push(word::<Status>("status", text)?);
    }
    Ok(InstanceFilter {
        statuses,
        hub: query.text("task_hub")?.map(str::to_owned),
        name: query.text("name")?.map(str::to_owned),
        tags: query.pairs("tag")?,
        id_prefix: query.text("id_prefix")?.map(str::to_owned),
        created_after: query.one("created_after")?,
        created_before: query.one("created_before")?,
        ..InstanceFilter::default()
    })
}
