//! The routes under `/v1/schedules`: times at which a job is submitted or an orchestration started.

use actix_web::web::{Data, Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::handle::schedules::Schedules;
use dogwatch_actors::job::parse::{self, parse_around};
use dogwatch_actors::limits::{
    ORCHESTRATION_PAYLOAD_BYTES_MAX, SCHEDULE_PREVIEW_MAX, SCHEDULE_UPCOMING, SPEC_BYTES_MAX,
};
use dogwatch_actors::schedule::{FireView, Preview, ScheduleView, Spec};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body;
use super::declared::{declared, parameter};
use super::detached::detached;
use super::problem::Problem;
use super::query::Query;
use super::state::Api;

/// What a schedule has besides what it starts.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// The longest schedule.
const BODY_BYTES_MAX: usize = if SPEC_BYTES_MAX > ORCHESTRATION_PAYLOAD_BYTES_MAX {
    SPEC_BYTES_MAX + ENVELOPE_BYTES_MAX
} else {
    ORCHESTRATION_PAYLOAD_BYTES_MAX + ENVELOPE_BYTES_MAX
};

const EXAMPLE: &str = "a schedule such as {\"cron\": \"30 2 * * *\", \"time_zone\": \"Europe/Berlin\", \
                       \"job\": {\"image\": \"report:1\"}}";

/// All schedules.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ScheduleList {
    /// By name.
    pub schedules: Vec<ScheduleView>,
}

/// A fire that was triggered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TriggeredSchedule {
    /// The fire: what it started, or why it started nothing.
    pub fire: Option<FireView>,
    /// The schedule behind it.
    pub schedule: ScheduleView,
}

/// Declare a schedule
///
/// Creates it or replaces it as a whole; secrets that are `null` stay what they were, and so do its fires and whether it
/// is paused. Answers once it is durable. With the same times what was missed is not forgotten; with others they begin
/// now. Job attempts find `DOGWATCH_SCHEDULE`, `DOGWATCH_SCHEDULED_AT` and `DOGWATCH_PAST_DUE` in their environment.
#[utoipa::path(
    put, path = "/v1/schedules/{name}", tag = "schedules", operation_id = "declare_schedule", request_body = Spec,
    params(("name" = String, Path, description = "The schedule's name: lower-case letters, digits and `-`")),
    responses(
        (status = 200, description = "It is replaced", body = ScheduleView),
        (status = 201, description = "It is created", body = ScheduleView, headers(
            ("Location" = String, description = "Where the schedule is"),
        )),
    ),
)]
pub(crate) async fn declare(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let spec = read(&req, body).await?;
    let (name, schedules) = (name(&req), api.handle.schedules());
    let (schedule, is_new) = detached(async move { schedules.declare(&name, spec).await }).await?;
    Ok(declared(&req, "schedules", schedule.name.as_str(), (&schedule, is_new)))
}

/// Preview a schedule
///
/// The times that a schedule would have. Nothing is declared; what it starts may be left out.
#[utoipa::path(
    post, path = "/v1/schedules/preview", tag = "schedules", operation_id = "preview_schedule", request_body = Spec,
    params(
        ("name" = Option<String>, Query, description = "Its name, of which its jitter is made"),
        ("after" = Option<String>, Query, description = "Times behind this one; by default from now on"),
        ("count" = Option<u32>, Query, description = "How many, 1 to 100; by default 10"),
    ),
    responses((status = 200, description = "Its next times", body = Preview)),
)]
pub(crate) async fn preview(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<Preview>, Problem> {
    let query = Query::read(&req, &["name", "after", "count"])?;
    let after: Option<Timestamp> = query.one("after")?;
    let count = query.number("count", 1..=SCHEDULE_PREVIEW_MAX, SCHEDULE_UPCOMING)?;
    let name = query.text("name")?.unwrap_or_default().to_owned();
    let spec = read(&req, body).await?;
    Ok(Json(api.handle.schedules().preview(&name, &spec, after, count)?))
}

/// List schedules
#[utoipa::path(
    get, path = "/v1/schedules", tag = "schedules", operation_id = "list_schedules",
    responses((status = 200, description = "All schedules", body = ScheduleList)),
)]
pub(crate) async fn list(api: Data<Api>, req: HttpRequest) -> Result<Json<ScheduleList>, Problem> {
    Query::none(&req)?;
    Ok(Json(ScheduleList { schedules: api.handle.schedules().list()? }))
}

/// Show a schedule
///
/// With its next times, and its last fires with what they started and how that ended.
#[utoipa::path(
    get, path = "/v1/schedules/{name}", tag = "schedules", operation_id = "get_schedule",
    params(("name" = String, Path, description = "The schedule")),
    responses((status = 200, description = "The schedule", body = ScheduleView)),
)]
pub(crate) async fn show(api: Data<Api>, req: HttpRequest) -> Result<Json<ScheduleView>, Problem> {
    Query::none(&req)?;
    Ok(Json(api.handle.schedules().get(&name(&req))?))
}

/// Delete a schedule
///
/// What it started goes on.
#[utoipa::path(
    delete, path = "/v1/schedules/{name}", tag = "schedules", operation_id = "delete_schedule",
    params(("name" = String, Path, description = "The schedule")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    let (name, schedules) = told(&api, &req, body).await?;
    detached(async move { schedules.delete(&name).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Pause a schedule
///
/// It fires no more at its times; what runs goes on.
#[utoipa::path(
    post, path = "/v1/schedules/{name}/pause", tag = "schedules", operation_id = "pause_schedule",
    params(("name" = String, Path, description = "The schedule")),
    responses((status = 200, description = "It is paused", body = ScheduleView)),
)]
pub(crate) async fn pause(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<ScheduleView>, Problem> {
    let (name, schedules) = told(&api, &req, body).await?;
    Ok(Json(detached(async move { schedules.pause(&name).await }).await?))
}

/// Resume a schedule
///
/// It fires at its times again; those that it had meanwhile are not made up for.
#[utoipa::path(
    post, path = "/v1/schedules/{name}/resume", tag = "schedules", operation_id = "resume_schedule",
    params(("name" = String, Path, description = "The schedule")),
    responses((status = 200, description = "It is active", body = ScheduleView)),
)]
pub(crate) async fn resume(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<ScheduleView>, Problem> {
    let (name, schedules) = told(&api, &req, body).await?;
    Ok(Json(detached(async move { schedules.resume(&name).await }).await?))
}

/// Trigger a schedule
///
/// It fires now, also while it is paused, and as at any other time its overlap decides what becomes of that.
#[utoipa::path(
    post, path = "/v1/schedules/{name}/trigger", tag = "schedules", operation_id = "trigger_schedule",
    params(("name" = String, Path, description = "The schedule")),
    responses((status = 202, description = "What came of it is durable", body = TriggeredSchedule)),
)]
pub(crate) async fn trigger(
    api: Data<Api>,
    req: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let (name, schedules) = told(&api, &req, body).await?;
    let triggered = detached(async move { schedules.trigger(&name).await }).await?;
    let answer = TriggeredSchedule { fire: triggered.fire, schedule: triggered.schedule };
    Ok(HttpResponse::Accepted().json(answer))
}

async fn read(req: &HttpRequest, body: Payload) -> Result<Spec, Problem> {
    let json = body::required(req, body, BODY_BYTES_MAX, EXAMPLE).await?;
    parse_around(&json, hint).map_err(Problem::invalid_fields)
}

/// Which schedule is told something, by a request that says nothing else.
async fn told(api: &Api, req: &HttpRequest, body: Payload) -> Result<(String, Schedules), Problem> {
    Query::none(req)?;
    body::nothing(req, body).await?;
    Ok((name(req), api.handle.schedules()))
}

fn name(req: &HttpRequest) -> String {
    parameter(req, "name")
}

/// Words of neighbouring systems, and what is written beside the job instead of in it.
pub(crate) fn hint(parent: &str, field: &str) -> Option<&'static str> {
    match (parent, field) {
        ("/job", field) => parse::hint("", field),
        ("", "image" | "args" | "entrypoint" | "env" | "secrets" | "resources") => {
            Some("it belongs into `job`")
        }
        ("", "schedule" | "every" | "interval" | "expression") => {
            Some("use `cron`: five fields, or `@every` and a duration")
        }
        ("", "timezone" | "tz" | "timeZone" | "zone") => Some("use `time_zone`"),
        ("", "concurrency_policy" | "concurrencyPolicy" | "overlap_policy") => {
            Some("use `overlap`: allow, skip, queue or replace")
        }
        ("", "starting_deadline" | "startingDeadlineSeconds" | "catchup" | "catchup_window") => {
            Some("use `catch_up`: {\"max\": 1, \"within\": \"1h\"}")
        }
        ("", "suspend" | "suspended" | "paused" | "enabled") => {
            Some("a schedule is paused with POST /v1/schedules/{name}/pause")
        }
        ("", "input" | "version" | "task_hub" | "tags") => Some("it belongs into `orchestration`"),
        _ => None,
    }
}
