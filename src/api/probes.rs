//! `GET /livez` and `GET /readyz`: whether the process answers, and whether it takes work.

use std::collections::BTreeMap;

use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use super::query::Query;
use super::state::Api;

/// The process answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Liveness {
    /// Always `ok`.
    pub status: String,
}

/// Whether dogwatch takes work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether it does.
    pub ready: bool,
    /// Why not; empty when it does.
    pub reasons: Vec<String>,
    /// Each runtime, and whether it answered when it was last asked. One that does not delays its jobs, which
    /// is no reason to refuse them.
    #[serde(default)]
    pub runtimes: BTreeMap<String, bool>,
}

/// Is the process alive?
#[utoipa::path(
    get, path = "/livez", tag = "probes", operation_id = "livez", security(()),
    responses((status = 200, description = "It answers", body = Liveness)),
)]
pub(crate) async fn livez(req: HttpRequest) -> Result<Json<Liveness>, Problem> {
    Query::none(&req)?;
    Ok(Json(Liveness { status: "ok".to_owned() }))
}

/// Does it take work?
#[utoipa::path(
    get, path = "/readyz", tag = "probes", operation_id = "readyz", security(()),
    responses(
        (status = 200, description = "It takes work", body = Readiness),
        (status = 503, description = "It does not, for these reasons", body = Readiness),
    ),
)]
pub(crate) async fn readyz(api: Data<Api>, req: HttpRequest) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let runtimes = api.handle.fleet().runtimes;
    let runtimes = runtimes.into_iter().map(|(name, runtime)| (name, runtime.reachable)).collect();
    Ok(readiness(api.handle.unready(), runtimes))
}

fn readiness(reasons: Vec<String>, runtimes: BTreeMap<String, bool>) -> HttpResponse {
    let ready = reasons.is_empty();
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(Readiness { ready, reasons, runtimes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_makes_it_unready() {
        assert_eq!(readiness(Vec::new(), BTreeMap::from([("docker".to_owned(), false)])).status(), 200);
        assert_eq!(readiness(vec!["the disk is full".to_owned()], BTreeMap::new()).status(), 503);
    }
}
