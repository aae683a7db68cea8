//! `GET /v1/orchestrations/{instance}/history`: what happened to it, in order.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use dogwatch_actors::orchestration::view::HistoryEvent;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::instance_id;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::Api;
use crate::limits::{HISTORY_PAGE_DEFAULT, HISTORY_PAGE_MAX};

/// A page of an instance's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceHistoryPage {
    /// The events, oldest first.
    pub events: Vec<HistoryEvent>,
    /// Give it as `after` for the next page; `null` when there is no more yet.
    pub next_after: Option<u64>,
}

/// Show an orchestration's history
///
/// Every event of its current execution, in order.
#[utoipa::path(
    get, path = "/v1/orchestrations/{instance}/history", tag = "orchestrations",
    operation_id = "get_orchestration_history",
    params(
        ("instance" = String, Path, description = "The instance"),
        ("after" = Option<u64>, Query, description = "Only events with a greater number"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 1000, description = "At most so many; default 100"),
    ),
    responses((status = 200, description = "A page of history", body = InstanceHistoryPage)),
)]
pub(crate) async fn history(api: Data<Api>, req: HttpRequest) -> Result<Json<InstanceHistoryPage>, Problem> {
    let query = Query::read(&req, &["after", "limit"])?;
    let id = instance_id(&req)?;
    let after = query.one("after")?.unwrap_or(0);
    let limit = query.number("limit", 1..=HISTORY_PAGE_MAX, HISTORY_PAGE_DEFAULT)?;
    let events = api.handle.reading(move |handle| handle.orchestrations().history(id, after, limit)).await?;
    let next_after = events.last().filter(|_| events.len() == limit).map(|last| last.seq);
    Ok(Json(InstanceHistoryPage { events, next_after }))
}
