//! The routes under `/v1/orchestrations`.

pub(crate) mod command;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod purge;
pub(crate) mod raise;
pub(crate) mod show;
pub(crate) mod start;

use actix_web::HttpRequest;
use dogwatch_actors::orchestration::InstanceId;
use dogwatch_actors::orchestration::view::InstanceView;

use super::links;
use super::problem::{Code, Problem};

/// The instance that the path names.
pub(crate) fn instance_id(req: &HttpRequest) -> Result<InstanceId, Problem> {
    // A `/` in a segment, which is behind the task hub, stays encoded when paths are matched.
    let text = req.match_info().get("instance").unwrap_or_default().replace("%2F", "/").replace("%2f", "/");
    text.parse().map_err(|error: dogwatch_actors::orchestration::id::ParseInstanceIdError| {
        Problem::new(Code::InstanceNotFound, error.to_string())
    })
}

/// The path of an instance.
fn path(prefix: &str, id: InstanceId) -> String {
    let id: String = url::form_urlencoded::byte_serialize(id.as_str().as_bytes()).collect();
    format!("{prefix}/v1/orchestrations/{id}")
}

/// The instance with links for this client.
fn with_links(mut instance: InstanceView, req: &HttpRequest) -> InstanceView {
    let own = path(&links::prefix(req), instance.id);
    let verbs: &[&str] = match instance.status {
        status if status.is_terminal() && instance.failure.is_some() => &["rewind", "restart"],
        status if status.is_terminal() => &["restart"],
        dogwatch_actors::orchestration::Status::Suspended => &["resume", "terminate"],
        _ => &["suspend", "terminate"],
    };
    let parts = ["history", "explain"].iter().chain(verbs);
    instance.links = parts.map(|part| ((*part).to_owned(), format!("{own}/{part}"))).collect();
    instance.links.insert("self".to_owned(), own);
    instance
}
