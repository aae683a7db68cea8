//! `GET /v1/orchestrations/{instance}`: one instance, now or when it is over; and why it is not.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use dogwatch_actors::handle::orchestrations::Reads;
use dogwatch_actors::orchestration::explain::Explanation;
use dogwatch_actors::orchestration::view::InstanceView;
use dogwatch_actors::units::Span;

use super::{instance_id, with_links};
use crate::api::jobs::show::patience;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::Api;

/// Show an orchestration
///
/// With its input and output. With `wait` the answer comes when it is over, or as it is after that time.
#[utoipa::path(
    get, path = "/v1/orchestrations/{instance}", tag = "orchestrations", operation_id = "get_orchestration",
    params(
        ("instance" = String, Path, description = "The instance"),
        ("wait" = Option<Span>, Query, description = "How long to wait for the end, such as `30s`; at most `1m`"),
    ),
    responses((status = 200, description = "The instance", body = InstanceView)),
)]
pub(crate) async fn show(api: Data<Api>, req: HttpRequest) -> Result<Json<InstanceView>, Problem> {
    let query = Query::read(&req, &["wait"])?;
    let id = instance_id(&req)?;
    let client = api.handle.orchestrations();
    if let Some(patience) = patience(&query)? {
        let _seat = api.seats.take()?;
        client.wait(id, patience.as_duration()).await?;
    }
    Ok(Json(with_links(client.get(id, Reads::ALL)?, &req)))
}

/// Explain an orchestration
///
/// Why it is not finished, in a sentence and as data: what it waits for, since when, what is due next, the last error.
#[utoipa::path(
    get, path = "/v1/orchestrations/{instance}/explain", tag = "orchestrations",
    operation_id = "explain_orchestration",
    params(("instance" = String, Path, description = "The instance")),
    responses((status = 200, description = "Why it is not finished", body = Explanation)),
)]
pub(crate) async fn explain(api: Data<Api>, req: HttpRequest) -> Result<Json<Explanation>, Problem> {
    Query::none(&req)?;
    Ok(Json(api.handle.orchestrations().explain(instance_id(&req)?)?))
}
