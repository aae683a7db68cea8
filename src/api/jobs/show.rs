//! `GET /v1/jobs/{id}`: one job, now or when it is over.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use dogwatch_actors::job::view::JobView;
use dogwatch_actors::limits::WAIT_MAX;
use dogwatch_actors::orchestration::explain::Explanation;
use dogwatch_actors::units::Span;

use crate::api::links;
use crate::api::problem::Problem;
use crate::api::query::{Query, invalid};
use crate::api::state::{Api, job_id};

/// Show a job
///
/// With `wait` the answer comes when the job is over, or as it is after that time.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "get_job",
    params(
        ("id" = String, Path, description = "The job"),
        ("wait" = Option<Span>, Query, description = "How long to wait for the end, such as `30s`; at most `1m`"),
    ),
    responses((status = 200, description = "The job", body = JobView)),
)]
pub(crate) async fn show(api: Data<Api>, req: HttpRequest) -> Result<Json<JobView>, Problem> {
    let query = Query::read(&req, &["wait"])?;
    let id = job_id(&req)?;
    let job = match patience(&query)? {
        None => api.handle.show(id).await?,
        Some(patience) => {
            let _seat = api.seats.take()?;
            api.handle.wait(id, patience.as_duration()).await?
        }
    };
    Ok(Json(links::with_links(job, &links::prefix(&req))))
}

/// Explain a job
///
/// Why it is not finished, in a sentence and as data: what it waits for, since when, what is due next, the last error.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/explain", tag = "jobs", operation_id = "explain_job",
    params(("id" = String, Path, description = "The job")),
    responses((status = 200, description = "Why it is not finished", body = Explanation)),
)]
pub(crate) async fn explain(api: Data<Api>, req: HttpRequest) -> Result<Json<Explanation>, Problem> {
    Query::none(&req)?;
    Ok(Json(api.handle.explain(job_id(&req)?).await?))
}

pub(crate) fn patience(query: &Query) -> Result<Option<Span>, Problem> {
    let wait: Option<Span> = query.one("wait")?;
    if wait.is_some_and(|wait| wait.as_duration() > WAIT_MAX) {
        let most = WAIT_MAX.as_secs();
        return Err(invalid(
            "wait",
            &format_args!("at most {most} seconds; ask again when the job is not over then"),
        ));
    }
    Ok(wait.filter(|wait| wait.as_millis() > 0))
}
