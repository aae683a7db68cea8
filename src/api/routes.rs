//! The table of routes: which there are, who may use them, who answers.
//!
//! Everything about routing is derived from [`TABLE`]: what is registered, which methods a 405 offers, where
//! a key is needed. A route that is not in it does not exist.

use actix_web::body::BoxBody;
use actix_web::dev::{ResourceDef, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, Resource, ResponseError as _, Route};
use futures_util::future::LocalBoxFuture;

use super::auth::Auth;
use super::problem::Problem;
use super::route_tree::{Leaf, plant};
use super::state::Api;
use super::{
    admission, arrays, events, jobs, metrics, openapi, orchestrations, pools, probes, queues, schedules,
    store, triggers, usage,
};

/// Where the versioned routes are.
const VERSION: &str = "/v1";

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Who has a key.
    Key,
    /// Who has a token of what the route is about; the route itself looks at it, and a key is none.
    Token,
}

/// One route.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its method.
    pub method: Method,
    /// Its path, with `{parameters}` of one segment each.
    pub pattern: &'static str,
    /// Who may use it.
    pub access: Access,
    route: fn() -> Route,
}

const fn entry(method: Method, pattern: &'static str, access: Access, route: fn() -> Route) -> Entry {
    Entry { method, pattern, access, route }
}

/// Every route of the API. Those of one path stand together.
pub const TABLE: &[Entry] = &[
    entry(Method::GET, "/livez", Access::Public, || web::to(probes::livez)),
    entry(Method::GET, "/readyz", Access::Public, || web::to(probes::readyz)),
    entry(Method::GET, "/metrics", Access::Key, || web::to(metrics::metrics)),
    entry(Method::GET, "/openapi.json", Access::Key, || web::to(openapi::show)),
    entry(Method::GET, "/v1/events", Access::Key, || web::to(events::follow)),
    entry(Method::GET, "/v1/store", Access::Key, || web::to(store::examine)),
    entry(Method::GET, "/v1/backup", Access::Key, || web::to(store::backup)),
    entry(Method::GET, "/v1/admission", Access::Key, || web::to(admission::show)),
    entry(Method::GET, "/v1/usage", Access::Key, || web::to(usage::show)),
    entry(Method::POST, "/v1/jobs", Access::Key, || web::to(jobs::submit::submit)),
    entry(Method::GET, "/v1/jobs", Access::Key, || web::to(jobs::list::list)),
    entry(Method::GET, "/v1/jobs/{id}", Access::Key, || web::to(jobs::show::show)),
    entry(Method::DELETE, "/v1/jobs/{id}", Access::Key, || web::to(jobs::purge::purge)),
    entry(Method::POST, "/v1/jobs/{id}/cancel", Access::Key, || web::to(jobs::command::cancel)),
    entry(Method::POST, "/v1/jobs/{id}/suspend", Access::Key, || web::to(jobs::command::suspend)),
    entry(Method::POST, "/v1/jobs/{id}/resume", Access::Key, || web::to(jobs::command::resume)),
    entry(Method::POST, "/v1/jobs/{id}/restart", Access::Key, || web::to(jobs::command::restart)),
    entry(Method::POST, "/v1/jobs/{id}/retry", Access::Key, || web::to(jobs::command::retry)),
    entry(Method::GET, "/v1/jobs/{id}/history", Access::Key, || web::to(jobs::history::history)),
    entry(Method::GET, "/v1/jobs/{id}/logs", Access::Key, || web::to(jobs::logs::logs)),
    entry(Method::GET, "/v1/jobs/{id}/artifacts", Access::Key, || web::to(jobs::artifacts::list)),
    entry(Method::GET, "/v1/jobs/{id}/artifacts/{path}", Access::Key, || web::to(jobs::artifacts::download)),
    entry(Method::POST, "/v1/jobs/{id}/events/{name}", Access::Key, || web::to(jobs::raise::raise)),
    entry(Method::GET, "/v1/jobs/{id}/webhooks", Access::Key, || web::to(jobs::webhooks::list)),
    entry(Method::POST, "/v1/jobs/{id}/webhooks/{target}/replay", Access::Key, || {
        web::to(jobs::webhooks::replay)
    }),
    entry(Method::GET, "/v1/jobs/{id}/explain", Access::Key, || web::to(jobs::show::explain)),
    entry(Method::POST, "/v1/orchestrations", Access::Key, || web::to(orchestrations::start::start)),
    entry(Method::GET, "/v1/orchestrations", Access::Key, || web::to(orchestrations::list::list)),
    entry(Method::DELETE, "/v1/orchestrations", Access::Key, || web::to(orchestrations::purge::many)),
    entry(Method::GET, "/v1/orchestrations/{instance}", Access::Key, || web::to(orchestrations::show::show)),
    entry(Method::DELETE, "/v1/orchestrations/{instance}", Access::Key, || {
        web::to(orchestrations::purge::one)
    }),
    entry(Method::POST, "/v1/orchestrations/{instance}/suspend", Access::Key, || {
        web::to(orchestrations::command::suspend)
    }),
    entry(Method::POST, "/v1/orchestrations/{instance}/resume", Access::Key, || {
        web::to(orchestrations::command::resume)
    }),
    entry(Method::POST, "/v1/orchestrations/{instance}/terminate", Access::Key, || {
        web::to(orchestrations::command::terminate)
    }),
    entry(Method::POST, "/v1/orchestrations/{instance}/rewind", Access::Key, || {
        web::to(orchestrations::command::rewind)
    }),
    entry(Method::POST, "/v1/orchestrations/{instance}/release", Access::Key, || {
        web::to(orchestrations::command::release)
    }),
    entry(Method::POST, "/v1/orchestrations/{instance}/restart", Access::Key, || {
        web::to(orchestrations::command::restart)
    }),
    entry(Method::POST, "/v1/orchestrations/{instance}/events/{name}", Access::Key, || {
        web::to(orchestrations::raise::raise)
    }),
    entry(Method::GET, "/v1/orchestrations/{instance}/history", Access::Key, || {
        web::to(orchestrations::history::history)
    }),
    entry(Method::GET, "/v1/orchestrations/{instance}/explain", Access::Key, || {
        web::to(orchestrations::show::explain)
    }),
    entry(Method::GET, "/v1/pools", Access::Key, || web::to(pools::list)),
    entry(Method::POST, "/v1/pools", Access::Key, || web::to(pools::declare_named)),
    entry(Method::PUT, "/v1/pools/{name}", Access::Key, || web::to(pools::declare)),
    entry(Method::GET, "/v1/pools/{name}", Access::Key, || web::to(pools::show)),
    entry(Method::DELETE, "/v1/pools/{name}", Access::Key, || web::to(pools::delete)),
    entry(Method::GET, "/v1/queues", Access::Key, || web::to(queues::list)),
    entry(Method::PUT, "/v1/queues/{queue}", Access::Key, || web::to(queues::declare)),
    entry(Method::GET, "/v1/queues/{queue}", Access::Key, || web::to(queues::show)),
    entry(Method::DELETE, "/v1/queues/{queue}", Access::Key, || web::to(queues::delete)),
    entry(Method::POST, "/v1/queues/{queue}/messages", Access::Key, || web::to(queues::send)),
    entry(Method::GET, "/v1/queues/{queue}/messages/{message}", Access::Key, || web::to(queues::message)),
    entry(Method::POST, "/v1/queues/{queue}/receive", Access::Key, || web::to(queues::work::receive)),
    entry(Method::POST, "/v1/queues/{queue}/ack", Access::Key, || web::to(queues::work::ack_many)),
    entry(Method::POST, "/v1/queues/{queue}/messages/{message}/renew", Access::Key, || {
        web::to(queues::work::renew)
    }),
    entry(Method::POST, "/v1/queues/{queue}/messages/{message}/ack", Access::Key, || {
        web::to(queues::work::ack)
    }),
    entry(Method::POST, "/v1/queues/{queue}/messages/{message}/nack", Access::Key, || {
        web::to(queues::work::nack)
    }),
    entry(Method::GET, "/v1/queues/{queue}/dead", Access::Key, || web::to(queues::dead::list)),
    entry(Method::DELETE, "/v1/queues/{queue}/dead", Access::Key, || web::to(queues::dead::purge)),
    entry(Method::POST, "/v1/queues/{queue}/dead/requeue", Access::Key, || web::to(queues::dead::requeue)),
    entry(Method::POST, "/v1/queues/{queue}/dead/{message}/requeue", Access::Key, || {
        web::to(queues::dead::requeue_one)
    }),
    entry(Method::DELETE, "/v1/queues/{queue}/dead/{message}", Access::Key, || {
        web::to(queues::dead::purge_one)
    }),
    entry(Method::GET, "/v1/arrays", Access::Key, || web::to(arrays::list)),
    entry(Method::GET, "/v1/arrays/{id}", Access::Key, || web::to(arrays::show)),
    entry(Method::DELETE, "/v1/arrays/{id}", Access::Key, || web::to(arrays::purge)),
    entry(Method::POST, "/v1/arrays/{id}/cancel", Access::Key, || web::to(arrays::cancel)),
    entry(Method::POST, "/v1/arrays/{id}/suspend", Access::Key, || web::to(arrays::suspend)),
    entry(Method::POST, "/v1/arrays/{id}/resume", Access::Key, || web::to(arrays::resume)),
    entry(Method::POST, "/v1/arrays/{id}/retry", Access::Key, || web::to(arrays::retry)),
    entry(Method::GET, "/v1/schedules", Access::Key, || web::to(schedules::list)),
    // Before what could be a name; none is called so.
    entry(Method::POST, "/v1/schedules/preview", Access::Key, || web::to(schedules::preview)),
    entry(Method::PUT, "/v1/schedules/{name}", Access::Key, || web::to(schedules::declare)),
    entry(Method::GET, "/v1/schedules/{name}", Access::Key, || web::to(schedules::show)),
    entry(Method::DELETE, "/v1/schedules/{name}", Access::Key, || web::to(schedules::delete)),
    entry(Method::POST, "/v1/schedules/{name}/pause", Access::Key, || web::to(schedules::pause)),
    entry(Method::POST, "/v1/schedules/{name}/resume", Access::Key, || web::to(schedules::resume)),
    entry(Method::POST, "/v1/schedules/{name}/trigger", Access::Key, || web::to(schedules::trigger)),
    entry(Method::GET, "/v1/triggers", Access::Key, || web::to(triggers::list)),
    entry(Method::PUT, "/v1/triggers/{name}", Access::Key, || web::to(triggers::declare)),
    entry(Method::GET, "/v1/triggers/{name}", Access::Key, || web::to(triggers::show)),
    entry(Method::DELETE, "/v1/triggers/{name}", Access::Key, || web::to(triggers::delete)),
    entry(Method::POST, "/v1/triggers/{name}", Access::Token, || web::to(triggers::call::call)),
    entry(Method::POST, "/v1/triggers/{name}/pause", Access::Key, || web::to(triggers::pause)),
    entry(Method::POST, "/v1/triggers/{name}/resume", Access::Key, || web::to(triggers::resume)),
    entry(Method::POST, "/v1/triggers/{name}/rotate", Access::Key, || web::to(triggers::rotate)),
    entry(Method::GET, "/v1/triggers/{name}/items", Access::Key, || web::to(triggers::items::list)),
    entry(Method::GET, "/v1/triggers/{name}/items/{item}", Access::Key, || web::to(triggers::items::show)),
    entry(Method::DELETE, "/v1/triggers/{name}/dead", Access::Key, || web::to(triggers::items::purge)),
    entry(Method::POST, "/v1/triggers/{name}/dead/requeue", Access::Key, || {
        web::to(triggers::items::requeue)
    }),
    entry(Method::POST, "/v1/triggers/{name}/dead/{item}/requeue", Access::Key, || {
        web::to(triggers::items::requeue_one)
    }),
    entry(Method::DELETE, "/v1/triggers/{name}/dead/{item}", Access::Key, || {
        web::to(triggers::items::purge_one)
    }),
];

/// Registers every route. What is under `/v1` but no route needs a key too; what is elsewhere is a 404.
pub(super) fn register(config: &mut ServiceConfig, api: &Data<Api>, auth: &Auth) {
    let mut leaves = Vec::new();
    for group in TABLE.chunk_by(|left, right| left.pattern == right.pattern) {
        let (pattern, access) = (group[0].pattern, group[0].access);
        if let Some(below) = pattern.strip_prefix(VERSION) {
            leaves.push(Leaf::new(below, |rest| resource(rest, group)));
            continue;
        }
        let guard = if access == Access::Public { Auth::none() } else { auth.clone() };
        let single = resource(pattern, group).app_data(api.clone()).app_data(api.bodies.clone());
        config.service(single.wrap(from_fn(letting_in(guard, vec![]))).wrap(headers()));
    }
    let versioned = plant(web::scope(VERSION), leaves).app_data(api.clone()).app_data(api.bodies.clone());
    config.service(versioned.wrap(from_fn(letting_in(auth.clone(), with_token()))).wrap(headers()));
    config.default_service(web::to(not_found));
}

/// The routes that look at a token themselves, below [`VERSION`].
fn with_token() -> Vec<(Method, ResourceDef)> {
    let of_token = TABLE.iter().filter(|entry| entry.access == Access::Token);
    let below = |entry: &Entry| entry.pattern.strip_prefix(VERSION).unwrap_or(entry.pattern);
    of_token.map(|entry| (entry.method.clone(), ResourceDef::new(below(entry)))).collect()
}

/// The answer where there is no route.
pub(crate) async fn not_found() -> HttpResponse {
    Problem::route_not_found().error_response()
}

fn resource(pattern: &str, group: &[Entry]) -> Resource {
    let allow = group.iter().map(|entry| entry.method.as_str()).collect::<Vec<_>>().join(", ");
    // The one parameter that is not one segment: what an artifact is called.
    let mut resource = web::resource(pattern.replace("{path}", "{path:.+}"));
    for entry in group {
        resource = resource.route((entry.route)().method(entry.method.clone()));
    }
    resource.default_service(web::to(move || {
        let answer = Problem::method_not_allowed(&allow).error_response();
        async move { answer }
    }))
}

/// A middleware that asks `auth` about every request, and lets those to these routes in without a key.
fn letting_in(
    auth: Auth,
    with_token: Vec<(Method, ResourceDef)>,
) -> impl Fn(ServiceRequest, Next<BoxBody>) -> LocalBoxFuture<'static, Result<ServiceResponse, actix_web::Error>>
{
    move |req, next| {
        let Err(problem) = auth.check(req.headers()) else { return Box::pin(next.call(req)) };
        let rest = req.match_info().unprocessed();
        if with_token.iter().any(|(method, route)| method == req.method() && route.is_match(rest)) {
            return Box::pin(next.call(req));
        }
        // A response and not an error, so that the headers of every answer are put on this one too.
        let answer = req.into_response(problem.error_response());
        Box::pin(async move { Ok(answer) })
    }
}

/// On every answer: it is what it says it is, and no cache keeps it.
fn headers() -> DefaultHeaders {
    DefaultHeaders::new().add((X_CONTENT_TYPE_OPTIONS, "nosniff")).add((CACHE_CONTROL, "no-store"))
}
