//! `/v1/queues/...` on the callback listener: what the workers of pools may do, each on its own queue.

use actix_web::HttpRequest;
use actix_web::web::{self, Data, Json, Payload};
use dogwatch_actors::handle::Handle;
use dogwatch_actors::handle::queues::{Acknowledged, GivenBack, Renewed};

use super::MakeRoute;
use crate::api::problem::Problem;
use crate::api::queues::work::{self, Acked, Caller, ReceivedMessages};

/// The routes, all of them POST.
pub(super) const ROUTES: [(&str, MakeRoute); 5] = [
    ("/v1/queues/{queue}/receive", || web::post().to(receive)),
    ("/v1/queues/{queue}/ack", || web::post().to(ack_many)),
    ("/v1/queues/{queue}/messages/{message}/renew", || web::post().to(renew)),
    ("/v1/queues/{queue}/messages/{message}/ack", || web::post().to(ack)),
    ("/v1/queues/{queue}/messages/{message}/nack", || web::post().to(nack)),
];

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
