//! `POST /v1/orchestrations/{instance}/events/{name}`: raise an event.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::handle::orchestrations::Raise;
use dogwatch_actors::limits::{EVENT_KEPT_MAX, ORCHESTRATION_PAYLOAD_BYTES_MAX};
use dogwatch_actors::units::Span;
use serde_json::Value;

use super::instance_id;
use crate::api::detached::detached;
use crate::api::jobs::submit::idempotency_key;
use crate::api::problem::Problem;
use crate::api::query::{Query, invalid};
use crate::api::state::Api;
use crate::api::{body, event_name};

/// Raise an event to an orchestration
///
/// Answers once the event is durable. With an `Idempotency-Key` a repetition is applied once. With `keep` the event
/// waits that long for an instance that does not exist yet.
#[utoipa::path(
    post, path = "/v1/orchestrations/{instance}/events/{name}", tag = "orchestrations",
    operation_id = "raise_orchestration_event",
    request_body(content = Option<Value>, description = "The payload: any JSON, or none"),
    params(
        ("instance" = String, Path, description = "The instance"),
        ("name" = String, Path, description = "The event: 1 to 255 of letters, digits and `_.:-`"),
        ("keep" = Option<Span>, Query, description = "How long it waits for its instance, such as `24h`; at most 30 days"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters"),
    ),
    responses((status = 202, description = "The event is durable")),
)]
pub(crate) async fn raise(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    let query = Query::read(&req, &["keep"])?;
    let id = instance_id(&req)?;
    let name = req.match_info().get("name").unwrap_or_default().to_owned();
    event_name::check(&name).map_err(|error| Problem::invalid_request(error.to_string()))?;
    let keep = query.one::<Span>("keep")?.map(Span::as_duration);
    if keep.is_some_and(|keep| keep > EVENT_KEPT_MAX) {
        return Err(invalid("keep", &"an event waits at most 30 days"));
    }
    let key = idempotency_key(req.headers())?;
    let data = body::read(&req, body, ORCHESTRATION_PAYLOAD_BYTES_MAX).await?.unwrap_or(Value::Null);
    let client = api.handle.orchestrations();
    let raise = Raise { name, data: data.into(), id: key, keep };
    detached(async move { client.raise(id, raise).await }).await?;
    Ok(HttpResponse::Accepted().finish())
}
