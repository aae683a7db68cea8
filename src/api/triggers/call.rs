//! `POST /v1/triggers/{name}`: calling a trigger with its own token. No API key opens this route, and this token no
//! other.

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Payload};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use dogwatch_actors::handle::triggers::{Called, Error};

use super::name;
use crate::api::bearer;
use crate::api::body;
use crate::api::detached::detached;
use crate::api::jobs::submit::idempotency_key;
use crate::api::links;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::Api;

/// Call a trigger
///
/// With its own token, and not with an API key. The body, any text of at most 64 KiB, is given to what is started. Answers
/// once the call is durable; with an `Idempotency-Key` the same body is the same call, however often it is sent.
#[utoipa::path(
    post, path = "/v1/triggers/{name}", tag = "triggers", operation_id = "call_trigger",
    request_body(content = String, content_type = "application/json"),
    params(
        ("name" = String, Path, description = "The trigger"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters"),
    ),
    responses((status = 202, description = "It is kept", body = Called, headers(
        ("Location" = String, description = "Where the item is"),
        ("Idempotency-Replayed" = String, description = "`true` when the same call came before"),
    ))),
    security(("trigger_token" = [])),
)]
pub(crate) async fn call(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    let triggers = api.handle.triggers();
    let name = name(&req);
    let token = bearer(req.headers()).ok_or(Error::Token)?;
    let most = triggers.admit(&name, token)?;
    Query::none(&req)?;
    let key = idempotency_key(req.headers())?;
    let bytes = body::read_bytes(&req, body, most).await?;
    let kind = Some(req.content_type().to_owned()).filter(|kind| !kind.is_empty());
    let called =
        detached(async move { triggers.call(&name, key.as_deref(), kind.as_deref(), &bytes).await }).await?;
    let mut response = HttpResponse::Accepted();
    let prefix = links::prefix(&req);
    response
        .insert_header((LOCATION, format!("{prefix}/v1/triggers/{}/items/{}", called.trigger, called.id)));
    if called.replayed {
        response.insert_header(("Idempotency-Replayed", "true"));
    }
    Ok(response.json(called))
}
