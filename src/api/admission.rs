//! `GET /v1/admission`: who waits and who runs, by tenant and by concurrency key.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use dogwatch_actors::admission::AdmissionView;

use super::problem::Problem;
use super::query::Query;
use super::state::Api;

/// Show admission
///
/// Which tenants and concurrency keys have something to run: how much runs, how much waits, what may, and when a rate
/// allows the next start. As it is at this moment; nothing of it is stored.
#[utoipa::path(
    get, path = "/v1/admission", tag = "admission", operation_id = "show_admission",
    responses((status = 200, description = "Who waits and who runs", body = AdmissionView)),
)]
pub(crate) async fn show(api: Data<Api>, req: HttpRequest) -> Result<Json<AdmissionView>, Problem> {
    Query::none(&req)?;
    Ok(Json(api.handle.admission().await?))
}
