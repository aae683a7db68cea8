//! `GET /v1/usage`: what was used, by tenant, label, name, runtime, source or job.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::usage::report::{By, Question, UsageReport};

use super::problem::Problem;
use super::query::{Query, invalid};
use super::state::Api;

/// What a report may be asked by.
const PARAMETERS: [&str; 6] = ["by", "since", "until", "tenant", "name", "label"];

/// Show usage
///
/// How long containers and processes ran, their CPU time and their memory over time, a line for each tenant (or what
/// `by` says). An attempt counts in the UTC hour in which its end was recorded, and times are cut to whole hours, so that
/// two reports of which one begins when the other ends share none. Deleted jobs stay in it. With `by=job` the stored jobs
/// that were submitted in that time have a line each.
#[utoipa::path(
    get, path = "/v1/usage", tag = "usage", operation_id = "show_usage",
    params(
        ("by" = Option<String>, Query, description = "`tenant` (the default), `name`, `runtime`, `source`, `job` or `label:KEY`"),
        ("since" = Option<String>, Query, format = DateTime, description = "From the beginning of the hour of this time (RFC 3339); default: 30 days before `until`"),
        ("until" = Option<String>, Query, format = DateTime, description = "Before the hour of this time; default: all that is known"),
        ("tenant" = Option<String>, Query, description = "Only this tenant's"),
        ("name" = Option<String>, Query, description = "Only of jobs with this name"),
        ("label" = Option<Vec<String>>, Query, description = "Only of jobs with this label, `key:value`; may be repeated"),
    ),
    responses((status = 200, description = "What was used", body = UsageReport)),
)]
pub(crate) async fn show(api: Data<Api>, req: HttpRequest) -> Result<Json<UsageReport>, Problem> {
    let query = Query::read(&req, &PARAMETERS)?;
    let (since, until) = (query.one::<Timestamp>("since")?, query.one::<Timestamp>("until")?);
    if since.zip(until).is_some_and(|(since, until)| until < since) {
        return Err(invalid("until", &"it lies before `since`"));
    }
    let question = Question {
        by: query.one::<By>("by")?.unwrap_or_default(),
        since,
        until,
        tenant: query.text("tenant")?.map(str::to_owned),
        name: query.text("name")?.map(str::to_owned),
        labels: query.pairs("label")?,
    };
    Ok(Json(api.handle.usage(&question).await?))
}
