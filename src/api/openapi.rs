//! `GET /openapi.json`: the contract as an OpenAPI 3.1 document, generated from the handlers.

use actix_web::HttpRequest;
use actix_web::web::Json;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder, Server};
use utoipa::{Modify, OpenApi as _};

use dogwatch_actors::job::view::JobState;
use dogwatch_actors::runtime::LogStream;
use dogwatch_actors::units::Span;

use super::problem::{self, Problem};
use super::query::Query;
use super::{
    admission, arrays, events, jobs, links, metrics, orchestrations, pools, probes, queues, schedules, store,
    triggers, usage,
};
use crate::callbacks;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Dogwatch",
        description = "A durable job supervisor: containers and processes, watched, restarted, called back, \
                       never lost. Times are RFC 3339 in UTC, durations `1m30s` or seconds, sizes `256Mi` or \
                       bytes. Every error is a problem document (RFC 9457) with a stable `code`.",
    ),
    paths(
        jobs::submit::submit, jobs::list::list, jobs::show::show, jobs::purge::purge,
        jobs::command::cancel, jobs::command::suspend, jobs::command::resume, jobs::command::restart,
        jobs::command::retry, jobs::history::history, jobs::logs::logs, jobs::raise::raise,
        jobs::artifacts::list, jobs::artifacts::download,
        jobs::webhooks::list, jobs::webhooks::replay, jobs::show::explain,
        orchestrations::start::start, orchestrations::list::list, orchestrations::show::show,
        orchestrations::show::explain, orchestrations::history::history, orchestrations::raise::raise,
        orchestrations::purge::one, orchestrations::purge::many, orchestrations::command::suspend,
        orchestrations::command::resume, orchestrations::command::terminate, orchestrations::command::rewind,
        orchestrations::command::release, orchestrations::command::restart,
        pools::declare, pools::declare_named, pools::list, pools::show, pools::delete,
        queues::list, queues::declare, queues::show, queues::delete, queues::send, queues::message,
        queues::work::receive, queues::work::ack_many, queues::work::renew, queues::work::ack, queues::work::nack,
        queues::dead::list, queues::dead::purge, queues::dead::requeue, queues::dead::requeue_one, queues::dead::purge_one,
        arrays::list, arrays::show, arrays::purge, arrays::cancel, arrays::suspend, arrays::resume, arrays::retry,
        schedules::declare, schedules::preview, schedules::list, schedules::show, schedules::delete,
        schedules::pause, schedules::resume, schedules::trigger,
        triggers::declare, triggers::list, triggers::show, triggers::delete, triggers::pause, triggers::resume,
        triggers::rotate, triggers::call::call, triggers::items::list, triggers::items::show, triggers::items::requeue,
        triggers::items::requeue_one, triggers::items::purge, triggers::items::purge_one,
        events::follow, probes::livez, probes::readyz, metrics::metrics, show,
        store::examine, store::backup, admission::show, usage::show,
        callbacks::handler::callback,
    ),
    components(schemas(problem::Document, JobState, LogStream, Span)),
    security(("api_key" = [])),
    modifiers(&Security, &Errors, &CallbackServer),
    tags(
        (name = "jobs", description = "Jobs and what one may ask of them"),
        (name = "orchestrations", description = "Workflows as code, and what one may ask of their instances"),
        (name = "pools", description = "Sets of jobs that run activities, and start when some wait"),
        (name = "queues", description = "Messages that workers lease, and that come back unless they are acknowledged"),
        (name = "arrays", description = "Jobs that were submitted with `array`: as many children, each with an index"),
        (name = "schedules", description = "Times at which a job is submitted or an orchestration started"),
        (name = "triggers", description = "Files, requests and messages, for each of which something is started once"),
        (name = "admission", description = "Who waits and who runs, by tenant and by concurrency key"),
        (name = "usage", description = "What was used, and by whom"),
        (name = "events", description = "What happens, as it happens"),
        (name = "store", description = "What is kept: whether it is whole, and a copy of it"),
        (name = "probes", description = "Whether it works"),
        (name = "callbacks", description = "What attempts call; on a listener of its own"),
    ),
)]
struct Contract;

/// Show this document
#[utoipa::path(
    get, path = "/openapi.json", tag = "probes", operation_id = "openapi",
    responses((status = 200, description = "This document", body = Object)),
)]
pub(crate) async fn show(req: HttpRequest) -> Result<Json<OpenApi>, Problem> {
    Query::none(&req)?;
    let mut document = document();
    let prefix = links::prefix(&req);
    if !prefix.is_empty() {
        document.servers = Some(vec![Server::new(prefix)]);
    }
    Ok(Json(document))
}

/// The whole document, for an API at the root of its host.
pub fn document() -> OpenApi {
    Contract::openapi()
}

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = |description: &str| {
            let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
            SecurityScheme::Http(bearer.description(Some(description)).build())
        };
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("api_key", scheme("One of the server's API keys"));
        components.add_security_scheme("trigger_token", scheme("The token of the trigger that is called"));
        components.add_security_scheme("callback_token", scheme("The attempt's DOGWATCH_CALLBACK_TOKEN"));
    }
}

/// Every operation may answer with a problem.
struct Errors;

impl Modify for Errors {
    fn modify(&self, document: &mut OpenApi) {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new()
            .description("A problem document")
            .content(problem::MEDIA_TYPE, content)
            .build();
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            operation.responses.responses.insert("default".to_owned(), response.clone().into());
        }
    }
}

/// The callback route is on another listener.
struct CallbackServer;

impl Modify for CallbackServer {
    fn modify(&self, document: &mut OpenApi) {
        let Some(item) = document.paths.paths.get_mut(callbacks::PATTERN) else { return };
        let mut server = Server::new("http://127.0.0.1:7071");
        server.description = Some(
            "The callback listener, which serves nothing else; an attempt finds the whole URL in \
             DOGWATCH_CALLBACK_URL"
                .to_owned(),
        );
        item.servers = Some(vec![server]);
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete]
        .into_iter()
        .filter_map(Option::as_mut)
}
