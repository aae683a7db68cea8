//! `GET /v1/jobs`: a page of jobs, newest first.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dogwatch_actors::handle::Filter;
use dogwatch_actors::id::JobId;
use dogwatch_actors::job::view::{JobState, JobView};
use dogwatch_actors::limits::{LIST_PAGE_DEFAULT, LIST_PAGE_MAX};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::links;
use crate::api::problem::Problem;
use crate::api::query::{Query, invalid, word};
use crate::api::state::Api;

/// The first byte of a cursor: the layout of the rest.
const CURSOR_VERSION: u8 = 1;

/// What a list may be asked by.
const PARAMETERS: [&str; 7] =
    ["state", "label", "name", "created_after", "created_before", "limit", "cursor"];

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobPage {
    /// The jobs, newest first.
    pub jobs: Vec<JobView>,
    /// Give it as `cursor` for the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

/// List jobs
///
/// Newest first. All given conditions must hold; of several states one must.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", operation_id = "list_jobs",
    params(
        ("state" = Option<Vec<JobState>>, Query, description = "In one of these states: repeated, or with commas"),
        ("label" = Option<Vec<String>>, Query, description = "With this label, `key:value`; may be repeated"),
        ("name" = Option<String>, Query, description = "With this name"),
        ("created_after" = Option<String>, Query, format = DateTime, description = "Submitted at this time (RFC 3339) or later"),
        ("created_before" = Option<String>, Query, format = DateTime, description = "Submitted before this time (RFC 3339)"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "At most so many; default 50"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page of jobs", body = JobPage)),
)]
pub(crate) async fn list(api: Data<Api>, req: HttpRequest) -> Result<Json<JobPage>, Problem> {
    let query = Query::read(&req, &PARAMETERS)?;
    let filter = filter(&query)?;
    let page = api.handle.reading(move |handle| handle.list(&filter)).await?;
    let prefix = links::prefix(&req);
    let jobs = page.jobs.into_iter().map(|job| links::with_links(job, &prefix)).collect();
    Ok(Json(JobPage { jobs, next_cursor: page.next.map(to_cursor) }))
}

fn filter(query: &Query) -> Result<Filter, Problem> {
    let mut states = Vec::new();
    for text in query.all("state").flat_map(|list| list.split(',')) {
        let state = word("state", text)?;
        if !states.contains(&state) {
            states.push(state);
        }
    }
    Ok(Filter {
        states,
        labels: query.pairs("label")?,
        name: query.text("name")?.map(str::to_owned),
        created_after: query.one("created_after")?,
        created_before: query.one("created_before")?,
        limit: query.number("limit", 1..=LIST_PAGE_MAX, LIST_PAGE_DEFAULT)?,
        before: query.text("cursor")?.map(from_cursor).transpose()?,
    })
}

/// Opaque to clients, so that what a page is continued by may change.
fn to_cursor(last: JobId) -> String {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn from_cursor(text: &str) -> Result<JobId, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    match bytes.split_first() {
        Some((&CURSOR_VERSION, id)) => id.try_into().ok().map(JobId::from_bytes),
        _ => None,
    }
    .ok_or_else(|| invalid("cursor", &"give the `next_cursor` of the page before, unchanged"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn read(query: &str) -> Result<Filter, Problem> {
        let req = TestRequest::with_uri(&format!("/v1/jobs?{query}")).to_http_request();
        filter(&Query::read(&req, &PARAMETERS).unwrap())
    }

    #[test]
    fn a_cursor_reads_back_and_nothing_else_is_one() {
        let id: JobId = "01939f6e-2d5c-7a00-8000-0123456789ab".parse().unwrap();
        assert_eq!(from_cursor(&to_cursor(id)), Ok(id));
        for bad in ["", "x", "AQ", &URL_SAFE_NO_PAD.encode([2; 17]), &URL_SAFE_NO_PAD.encode([1; 18]), "é"] {
            assert!(from_cursor(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters_are_read() {
        let filter =
            read("state=running,queued&state=failed&state=failed&label=team:data&label=a:b:c&limit=7")
                .unwrap();
        assert_eq!(filter.states, [JobState::Running, JobState::Queued, JobState::Failed]);
        assert_eq!(filter.labels["a"], "b:c");
        assert_eq!((filter.labels.len(), filter.limit, filter.before), (2, 7, None));
        assert_eq!(read("").unwrap().limit, LIST_PAGE_DEFAULT);
        let since = read("created_after=2026-11-21T12:00:00Z").unwrap();
        assert_eq!(since.created_after.unwrap().to_string(), "2026-11-21T12:00:00.000Z");
        let many: String = (0..9).map(|n| format!("label=k{n}:v&")).collect();
        for bad in [
            "state=",
            "state=runing",
            "label=x",
            "label=:v",
            "label=a:1&label=a:2",
            "limit=0",
            "limit=501",
            "created_after=yesterday",
            &many,
        ] {
            assert!(read(bad.trim_end_matches('&')).is_err(), "{bad}");
        }
    }
}
