//! What the routes of everything that is declared under a name answer alike: pools, queues, schedules.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::links;

/// A parameter of the path; empty where it has none of this name.
pub(super) fn parameter(req: &HttpRequest, name: &str) -> String {
    req.match_info().get(name).unwrap_or_default().to_owned()
}

/// It is declared: 201 with where it is when it is new, else 200.
pub(super) fn declared<T: Serialize>(
    req: &HttpRequest,
    collection: &str,
    name: &str,
    (view, is_new): (&T, bool),
) -> HttpResponse {
    if !is_new {
        return HttpResponse::Ok().json(view);
    }
    let location = format!("{}/v1/{collection}/{name}", links::prefix(req));
    HttpResponse::Created().insert_header((LOCATION, location)).json(view)
}

/// It goes: 202 with how far that is, or 204 when it is gone.
pub(super) fn deleted<T: Serialize>(left: Option<T>) -> HttpResponse {
    left.map_or_else(|| HttpResponse::NoContent().finish(), |left| HttpResponse::Accepted().json(left))
}
