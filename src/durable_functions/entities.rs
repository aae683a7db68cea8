//! Reading entities and signalling them.
//!
//! Names of entities are taken without regard to case, as the SDKs make them; a key is taken as it is, and `$` is the
//! empty one.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use dogwatch_actors::entity::{EntityId, Signal};
use dogwatch_actors::handle::entities::{Entities, EntityFilter, EntityView};
use dogwatch_actors::limits::{LIST_PAGE_MAX, ORCHESTRATION_PAYLOAD_BYTES_MAX};
use dogwatch_actors::orchestration::Payload;
use serde::Serialize;
use serde_json::Value;

use super::answer::Refusal;
use super::history::time;
use super::instances::{CONTINUATION, continuation};
use super::{Call, insist};
use crate::api::body;

/// How the empty key is written in a path.
const EMPTY_KEY: &str = "$";

/// The operation that the SDKs take for the end of an entity's state.
const DELETE: &str = "delete";

/// An entity in a list, as the extension shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    entity_id: Named,
    last_operation_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Named {
    name: String,
    key: String,
}

impl From<EntityView> for Listed {
    fn from(view: EntityView) -> Self {
        Self {
            entity_id: Named { name: view.id.name().to_owned(), key: view.id.key().to_owned() },
            last_operation_time: time(view.last_modified),
            state: view.state.map(Payload::into_value),
        }
    }
}

/// Which entity a path names; where it cannot be one, there is none.
fn id(call: &Call) -> Option<EntityId> {
    let (name, key) = (call.path.get(1)?, call.path.get(2)?);
    let key = if key == EMPTY_KEY { "" } else { key };
    EntityId::in_hub(&call.hub, &format!("@{}@{key}", name.to_lowercase())).ok()
}

fn no_id() -> Refusal {
    Refusal::incorrect("this cannot be the name and the key of an entity")
}

/// `GET /entities/{name}/{key}`
pub(super) async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    let id = id(&call).ok_or_else(Refusal::not_found)?;
    let view = call.entities.get(id, true).await?;
    let state = view.and_then(|view| view.state).ok_or_else(Refusal::not_found)?;
    match state.text() {
        // As the entity's code wrote it.
        Some(text) => {
            Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(text.into_owned()))
        }
        None => Err(Refusal::not_found()),
    }
}

/// `GET /entities/{name?}`
pub(super) async fn list(call: Call) -> Result<HttpResponse, Refusal> {
    let Call { entities, parameters, req, path, hub, .. } = call;
    let most = parameters.number("top")?.filter(|top| *top > 0).unwrap_or(LIST_PAGE_MAX);
    let mut filter = EntityFilter {
        hub: Some(hub),
        id_prefix: path.get(1).map(|name| format!("@{}@", name.to_lowercase())),
        modified_from: parameters.time("lastOperationTimeFrom")?,
        modified_before: parameters.time("lastOperationTimeTo")?,
        include_state: parameters.flag("fetchState", false)?,
        limit: most.min(LIST_PAGE_MAX),
        cursor: continuation(&req),
        ..EntityFilter::default()
    };
    let mut listed: Vec<Listed> = Vec::new();
    loop {
        let page = entities.list(&filter).await?;
        listed.extend(page.entities.into_iter().map(Listed::from));
        filter.cursor = page.next;
        if filter.cursor.is_none() || !listed.is_empty() {
            break;
        }
    }
    let mut response = HttpResponse::Ok();
    if let Some(next) = filter.cursor {
        response.insert_header((CONTINUATION, next));
    }
    Ok(response.json(listed))
}

/// `POST /entities/{name}/{key}?op=`: JSON is taken as it is, and everything else as a text.
pub(super) async fn signal(call: Call) -> Result<HttpResponse, Refusal> {
    let id = id(&call).ok_or_else(no_id)?;
    let Call { entities, parameters, req, body, .. } = call;
    let operation = parameters.text("op").ok_or_else(|| Refusal::incorrect("`op` is needed"))?.to_owned();
    let bytes = body::read_bytes(&req, body, ORCHESTRATION_PAYLOAD_BYTES_MAX).await?;
    let text = String::from_utf8(bytes).map_err(|_| Refusal::incorrect("the body is not UTF-8"))?;
    let is_json = req.headers().get(CONTENT_TYPE).is_some_and(|media| {
        media.to_str().is_ok_and(|media| media.to_ascii_lowercase().starts_with("application/json"))
    });
    let input = match text {
        text if text.trim().is_empty() => Payload::NONE,
        text if is_json => {
            serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(Refusal::incorrect)?;
            Payload::Text(text)
        }
        text => Payload::Json(Value::String(text)),
    };
    send(entities, id, Signal::new(operation, input)).await
}

/// `DELETE /entities/{name}/{key}`
pub(super) async fn delete(call: Call) -> Result<HttpResponse, Refusal> {
    let id = id(&call).ok_or_else(no_id)?;
    send(call.entities, id, Signal::new(DELETE, Payload::NONE)).await
}

async fn send(entities: Entities, id: EntityId, signal: Signal) -> Result<HttpResponse, Refusal> {
    insist(async move { entities.signal(id, signal).await }).await??;
    Ok(HttpResponse::Accepted().finish())
}
