//! `GET /v1/jobs/{id}/history`: every event of a job's life, in order.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use dogwatch_actors::job::view::HistoryEntry;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::{Api, job_id};
use crate::limits::{HISTORY_PAGE_DEFAULT, HISTORY_PAGE_MAX};

/// A page of a job's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryPage {
    /// The entries, oldest first.
    pub entries: Vec<HistoryEntry>,
    /// Give it as `after` for the next page; `null` when there is no more yet.
    pub next_after: Option<u64>,
}

/// Show a job's history
///
/// Every event of its life, in order, numbered from 1 without a gap.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/history", tag = "jobs", operation_id = "get_job_history",
    params(
        ("id" = String, Path, description = "The job"),
        ("after" = Option<u64>, Query, description = "Only entries with a greater number"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 1000, description = "At most so many; default 100"),
    ),
    responses((status = 200, description = "A page of history", body = HistoryPage)),
)]
pub(crate) async fn history(api: Data<Api>, req: HttpRequest) -> Result<Json<HistoryPage>, Problem> {
    let query = Query::read(&req, &["after", "limit"])?;
    let id = job_id(&req)?;
    let after = query.one("after")?.unwrap_or(0);
    let limit = query.number("limit", 1..=HISTORY_PAGE_MAX, HISTORY_PAGE_DEFAULT)?;
    // One more than asked for tells whether there is another page.
    let entries = api.handle.reading(move |handle| handle.history(id, after, limit + 1)).await?;
    Ok(Json(page(entries, limit)))
}

fn page(mut entries: Vec<HistoryEntry>, limit: usize) -> HistoryPage {
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next_after = entries.last().filter(|_| more).map(|last| last.seq);
    HistoryPage { entries, next_after }
}

#[cfg(test)]
mod tests {
    use dogwatch_actors::clock::Timestamp;
    use dogwatch_actors::job::view::JobState;
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_next_page_is_offered_only_when_there_is_one() {
        let entry = |seq| HistoryEntry {
            seq,
            at: Timestamp::from_millis(0),
            kind: "submitted".to_owned(),
            state: JobState::Queued,
            attempt: None,
            message: None,
            data: Value::Null,
        };
        let three = || vec![entry(4), entry(5), entry(6)];
        assert_eq!(page(three(), 3).next_after, None);
        let cut = page(three(), 2);
        assert_eq!((cut.entries.len(), cut.next_after), (2, Some(5)));
        assert_eq!(page(Vec::new(), 2).next_after, None);
    }
}
