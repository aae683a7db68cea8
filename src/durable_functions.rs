//! The Durable Functions HTTP management API over the same orchestrations, for the clients that speak it.
//!
//! Routes, status codes, headers, keys of the payloads and their order are those of the extension, not ours: errors
//! are `{"Message": …}` and no problem documents, and what finished can be told by 202 turning into 200. Operations
//! are matched without regard to case.
//!
//! Not responsible for: what an orchestration may do (the handle), and our own routes (`api`).

mod access;
mod answer;
mod entities;
mod history;
mod instances;
mod links;
mod parameters;
mod start;

use std::future::Future;
use std::pin::Pin;

use actix_web::http::Method;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::handle::entities::Entities;
use dogwatch_actors::handle::orchestrations::Orchestrations;
use dogwatch_actors::orchestration::id::DEFAULT_HUB;

use self::answer::Refusal;
use self::parameters::Parameters;
use crate::api::Auth;
use crate::api::detached::detached;
use crate::api::problem::Problem;
use crate::api::state::Api;

/// Where the extension has its routes.
pub const BASE: &str = "/runtime/webhooks/durabletask";

/// One request that was let in.
struct Call {
    client: Orchestrations,
    entities: Entities,
    method: Method,
    /// The segments behind [`BASE`].
    path: Vec<String>,
    parameters: Parameters,
    /// The task hub that is meant.
    hub: String,
    req: HttpRequest,
    body: Payload,
}

type Answering = Pin<Box<dyn Future<Output = Result<HttpResponse, Refusal>>>>;

/// Registers the routes.
pub(crate) fn register(config: &mut ServiceConfig, api: &Data<Api>, auth: &Auth) {
    let auth = auth.clone();
    let handler = move |api: Data<Api>, req: HttpRequest, body: Payload| {
        let auth = auth.clone();
        async move { answer(&auth, &api, req, body).await.unwrap_or_else(Refusal::response) }
    };
    let scope = web::scope(BASE).app_data(api.clone()).app_data(api.bodies.clone());
    config.service(scope.default_service(web::to(handler)));
}

async fn answer(auth: &Auth, api: &Api, req: HttpRequest, body: Payload) -> Result<HttpResponse, Refusal> {
    let parameters = Parameters::read(req.query_string())?;
    access::check(auth, &req, &parameters)?;
    let path = segments(req.path());
    // Clients name the hub of their configuration, which need be none of ours: then the default one is meant.
    let named = parameters.text("taskHub").filter(|hub| api.handle.task_hubs().exists(hub).unwrap_or(false));
    let hub = named.unwrap_or(DEFAULT_HUB).to_owned();
    let call = Call {
        hub,
        client: api.handle.orchestrations(),
        entities: api.handle.entities(),
        method: req.method().clone(),
        path,
        parameters,
        req,
        body,
    };
    route(call)?.await
}

/// Carried out whether or not the client stays; what came of it, or that this is not known.
async fn insist<T: 'static, E: 'static>(
    work: impl Future<Output = Result<T, E>> + 'static,
) -> Result<Result<T, E>, Refusal> {
    Ok(detached(async move { Ok::<_, Problem>(work.await) }).await?)
}

/// The decoded segments behind [`BASE`].
fn segments(path: &str) -> Vec<String> {
    let rest = path.rfind(BASE).map_or("", |at| &path[at + BASE.len()..]);
    let decoded = |segment: &str| {
        // A plus is a plus in a path.
        let pair = format!("x={}", segment.replace('+', "%2B"));
        url::form_urlencoded::parse(pair.as_bytes())
            .next()
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    };
    rest.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect()
}

/// The routes of the extension.
fn route(call: Call) -> Result<Answering, Refusal> {
    let lower: Vec<String> = call.path.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let words: Vec<&str> = lower.iter().map(String::as_str).collect();
    Ok(match (call.method.as_str(), words.as_slice()) {
        ("POST", ["orchestrators", _] | ["orchestrators", _, _]) => Box::pin(start::start(call)),
        ("GET", ["instances"]) => Box::pin(instances::list(call)),
        ("DELETE", ["instances"]) => Box::pin(instances::purge_many(call)),
        ("GET", ["instances", _]) => Box::pin(instances::show(call)),
        ("DELETE", ["instances", _]) => Box::pin(instances::purge(call)),
        ("POST", ["instances", _, "raiseevent", _]) => Box::pin(instances::raise(call)),
        ("POST", ["instances", _, "terminate"]) => Box::pin(instances::terminate(call)),
        ("POST", ["instances", _, "suspend"]) => Box::pin(instances::suspend(call)),
        ("POST", ["instances", _, "resume"]) => Box::pin(instances::resume(call)),
        ("POST", ["instances", _, "rewind"]) => Box::pin(instances::rewind(call)),
        ("POST", ["instances", _, "restart"]) => Box::pin(start::restart(call)),
        ("GET", ["entities"] | ["entities", _]) => Box::pin(entities::list(call)),
        ("GET", ["entities", _, _]) => Box::pin(entities::show(call)),
        ("POST", ["entities", _, _]) => Box::pin(entities::signal(call)),
        ("DELETE", ["entities", _, _]) => Box::pin(entities::delete(call)),
        ("POST", ["makeprimary"]) => Box::pin(async { Ok(HttpResponse::Ok().finish()) }),
        _ => return Err(Refusal::not_found()),
    })
}
