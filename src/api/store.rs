//! `/v1/store` and `/v1/backup`: whether everything that is kept fits together, and a copy of it.

use actix_web::web::{Bytes, Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::examine::Report;
use futures_util::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::problem::Problem;
use super::query::Query;
use super::state::Api;

/// Examine the store
///
/// Reads everything that is kept, so that it takes a while on a large store.
#[utoipa::path(
    get, path = "/v1/store", tag = "store", operation_id = "examine_store",
    responses((status = 200, description = "What is in it, and what is missing or broken", body = Report)),
)]
pub(crate) async fn examine(api: Data<Api>, req: HttpRequest) -> Result<Json<Report>, Problem> {
    Query::none(&req)?;
    let _seat = api.seats.take()?;
    Ok(Json(api.handle.examine().await?))
}

/// Make a backup
///
/// One consistent copy of everything durable while work goes on, for `dogwatch restore`. It holds the key that opens
/// the secrets of the jobs. Not whole unless it comes to its end.
#[utoipa::path(
    get, path = "/v1/backup", tag = "store", operation_id = "backup",
    responses((status = 200, description = "The backup", body = String, content_type = "application/octet-stream")),
)]
pub(crate) async fn backup(api: Data<Api>, req: HttpRequest) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let seat = api.seats.take()?;
    let parts = ReceiverStream::new(api.handle.backup()?);
    let parts = parts.map(move |part| {
        // Taken along, so that it is given back when the stream is dropped.
        let _seat = &seat;
        part.map(Bytes::from)
    });
    Ok(HttpResponse::Ok().content_type("application/octet-stream").streaming(parts))
}
