//! The routes of the items of a trigger, and of those that are dead letters.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Payload};
use dogwatch_actors::handle::triggers::ItemPage;
use dogwatch_actors::limits::{TRIGGER_PAGE_DEFAULT, TRIGGER_PAGE_MAX};
use dogwatch_actors::trigger::{ItemState, ItemView};

use super::name;
use crate::api::body;
use crate::api::declared::parameter;
use crate::api::detached::detached;
use crate::api::problem::Problem;
use crate::api::query::{Query, word};
use crate::api::queues::dead::Moved;
use crate::api::state::Api;

/// List the items of a trigger
///
/// All that wait, run or are dead, and the last 1000 that are done.
#[utoipa::path(
    get, path = "/v1/triggers/{name}/items", tag = "triggers", operation_id = "list_trigger_items",
    params(
        ("name" = String, Path, description = "The trigger"),
        ("state" = Option<ItemState>, Query, description = "Only those in this state"),
        ("after" = Option<u64>, Query, description = "Only those behind this item"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most so many; default 100"),
    ),
    responses((status = 200, description = "Items by number", body = ItemPage)),
)]
pub(crate) async fn list(api: Data<Api>, req: HttpRequest) -> Result<Json<ItemPage>, Problem> {
    let query = Query::read(&req, &["state", "after", "limit"])?;
    let limit = query.number("limit", 1..=TRIGGER_PAGE_MAX, TRIGGER_PAGE_DEFAULT)?;
    let after: Option<u64> = query.one("after")?;
    let state: Option<ItemState> = query.text("state")?.map(|text| word("state", text)).transpose()?;
    Ok(Json(api.handle.triggers().items(&name(&req), state, after.unwrap_or(0), limit).await?))
}

/// Show an item of a trigger
#[utoipa::path(
    get, path = "/v1/triggers/{name}/items/{item}", tag = "triggers", operation_id = "get_trigger_item",
    params(
        ("name" = String, Path, description = "The trigger"),
        ("item" = String, Path, description = "The item's number"),
    ),
    responses((status = 200, description = "The item", body = ItemView)),
)]
pub(crate) async fn show(api: Data<Api>, req: HttpRequest) -> Result<Json<ItemView>, Problem> {
    Query::none(&req)?;
    Ok(Json(api.handle.triggers().item(&name(&req), &parameter(&req, "item")).await?))
}

/// Start something for all dead letters again
///
/// Each has all its deliveries once more.
#[utoipa::path(
    post, path = "/v1/triggers/{name}/dead/requeue", tag = "triggers", operation_id = "requeue_trigger_items",
    params(("name" = String, Path, description = "The trigger")),
    responses((status = 200, description = "They wait for room", body = Moved)),
)]
pub(crate) async fn requeue(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<Json<Moved>, Problem> {
    decide(&api, &req, body, None, Fate::Requeue).await
}

/// Start something for a dead letter again
#[utoipa::path(
    post, path = "/v1/triggers/{name}/dead/{item}/requeue", tag = "triggers", operation_id = "requeue_trigger_item",
    params(
        ("name" = String, Path, description = "The trigger"),
        ("item" = String, Path, description = "The item's number"),
    ),
    responses((status = 200, description = "It waits for room", body = Moved)),
)]
pub(crate) async fn requeue_one(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<Moved>, Problem> {
    let item = parameter(&req, "item");
    decide(&api, &req, body, Some(item), Fate::Requeue).await
}

/// Delete all dead letters
///
/// What is still at the source does not arrive once more.
#[utoipa::path(
    delete, path = "/v1/triggers/{name}/dead", tag = "triggers", operation_id = "purge_trigger_items",
    params(("name" = String, Path, description = "The trigger")),
    responses((status = 200, description = "They are gone", body = Moved)),
)]
pub(crate) async fn purge(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<Json<Moved>, Problem> {
    decide(&api, &req, body, None, Fate::Purge).await
}

/// Delete a dead letter
#[utoipa::path(
    delete, path = "/v1/triggers/{name}/dead/{item}", tag = "triggers", operation_id = "purge_trigger_item",
    params(
        ("name" = String, Path, description = "The trigger"),
        ("item" = String, Path, description = "The item's number"),
    ),
    responses((status = 200, description = "It is gone", body = Moved)),
)]
pub(crate) async fn purge_one(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<Moved>, Problem> {
    let item = parameter(&req, "item");
    decide(&api, &req, body, Some(item), Fate::Purge).await
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Requeue,
    Purge,
}

async fn decide(
    api: &Api,
    req: &HttpRequest,
    body: Payload,
    item: Option<String>,
    fate: Fate,
) -> Result<Json<Moved>, Problem> {
    Query::none(req)?;
    body::nothing(req, body).await?;
    let (triggers, name) = (api.handle.triggers(), name(req));
    let moved = detached(async move {
        match fate {
            Fate::Requeue => triggers.requeue(&name, item.as_deref()).await,
            Fate::Purge => triggers.discard(&name, item.as_deref()).await,
        }
    });
    Ok(Json(Moved { moved: moved.await? }))
}
