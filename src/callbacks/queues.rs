//! `/v1/queues/...` on the callback listener: what the workers of pools may do, each on its own queue.

use actix_web::web::{self, Data, Json, Payload, ServiceConfig};
use actix_web::{HttpRequest, ResponseError as _, Route};
use dogwatch_actors::handle::Handle;
use dogwatch_actors::handle::queues::{Acknowledged, GivenBack, Renewed};

use crate::api::body::Bodies;
use crate::api::problem::Problem;
use crate::api::queues::work::{self, Acked, Caller, ReceivedMessages};

type MakeRoute = fn() -> Route;

/// The routes, all of them POST.
const ROUTES: [(&str, MakeRoute); 5] = [
    ("/v1/queues/{queue}/receive", || web::post().to(receive)),
    ("/v1/queues/{queue}/ack", || web::post().to(ack_many)),
    ("/v1/queues/{queue}/messages/{message}/renew", || web::post().to(renew)),
    ("/v1/queues/{queue}/messages/{message}/ack", || web::post().to(ack)),
    ("/v1/queues/{queue}/messages/{message}/nack", || web::post().to(nack)),
];

/// Registers them.
pub(super) fn register(config: &mut ServiceConfig, handle: &Data<Handle>, bodies: &Bodies) {
    for (pattern, route) in ROUTES {
        let other_methods = || async { Problem::method_not_allowed("POST").error_response() };
        let resource = web::resource(pattern)
            .app_data(handle.clone())
            .app_data(bodies.clone())
            .route(route())
            .default_service(web::to(other_methods));
        config.service(resource);
    }
}

async fn receive(
    handle: Data<Handle>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<ReceivedMessages>, Problem> {
    work::received(&Caller::with_token(&handle, &req)?, &req, body).await
}

async fn ack_many(handle: Data<Handle>, req: HttpRequest, body: Payload) -> Result<Json<Acked>, Problem> {
    work::acked_many(&Caller::with_token(&handle, &req)?, &req, body).await
}

async fn renew(handle: Data<Handle>, req: HttpRequest, body: Payload) -> Result<Json<Renewed>, Problem> {
    work::renewed(&Caller::with_token(&handle, &req)?, &req, body).await
}

async fn ack(handle: Data<Handle>, req: HttpRequest, body: Payload) -> Result<Json<Acknowledged>, Problem> {
    work::acked(&Caller::with_token(&handle, &req)?, &req, body).await
}

async fn nack(handle: Data<Handle>, req: HttpRequest, body: Payload) -> Result<Json<GivenBack>, Problem> {
    work::nacked(&Caller::with_token(&handle, &req)?, &req, body).await
}
