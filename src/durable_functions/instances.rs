//! Asking for instances and telling them things.

use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use dogwatch_actors::handle::orchestrations::{Error, InstanceFilter, Orchestrations, Raise, Reads};
use dogwatch_actors::limits::{HISTORY_PAGE_MAX, LIST_PAGE_MAX};
use dogwatch_actors::orchestration::view::InstanceView;
use dogwatch_actors::orchestration::{InstanceId, Status};
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::Refusal;
use super::history::{items, time};
use super::links::origin;
use super::parameters::Parameters;
use super::start::input;
use super::{Call, insist};

/// Seconds after which a client is to ask again.
const ASK_AGAIN_AFTER: u64 = 5;

/// The header with the place at which a list goes on.
pub(super) const CONTINUATION: &str = "x-ms-continuation-token";

/// An instance as the extension shows it, in its order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct State {
    name: String,
    instance_id: String,
    runtime_status: &'static str,
    input: Option<Value>,
    custom_status: Option<Value>,
    output: Option<Value>,
    created_time: String,
    last_updated_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_events: Option<Vec<Value>>,
}

impl State {
    fn of(instance: InstanceView) -> Self {
        let output = match instance.status {
            Status::Failed => instance.failure.map(|failure| failure.to_string().into()),
            Status::Terminated => instance.reason.map(Value::from),
            _ => instance.output,
        };
        Self {
            name: instance.name,
            instance_id: instance.id.local().to_owned(),
            runtime_status: runtime_status(instance.status),
            input: instance.input,
            custom_status: instance.custom_status,
            output,
            created_time: time(instance.created_at),
            last_updated_time: time(instance.updated_at),
            history_events: None,
        }
    }
}

const fn runtime_status(status: Status) -> &'static str {
    match status {
        Status::Pending => "Pending",
        Status::Running => "Running",
        Status::Suspended => "Suspended",
        Status::Completed => "Completed",
        Status::Failed => "Failed",
        Status::Terminated => "Terminated",
    }
}

fn id(call: &Call) -> Result<InstanceId, Refusal> {
    // What cannot be an id is none that exists.
    call.path.get(1).and_then(|text| InstanceId::in_hub(&call.hub, text).ok()).ok_or_else(Refusal::not_found)
}

/// `GET /instances/{instanceId}`
pub(super) async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    status_response(&call.client, &call.req, &call.parameters, id(&call)?)
}

/// An instance: 202 while it is not over.
pub(super) fn status_response(
    client: &Orchestrations,
    req: &HttpRequest,
    parameters: &Parameters,
    id: InstanceId,
) -> Result<HttpResponse, Refusal> {
    let reads = Reads { input: parameters.flag("showInput", true)?, output: true };
    let instance = client.get(id, reads)?;
    let status = instance.status;
    let mut state = State::of(instance);
    if parameters.flag("showHistory", false)? {
        let with_output = parameters.flag("showHistoryOutput", false)?;
        state.history_events = Some(items(&whole_history(client, id)?, with_output));
    }
    let code = match status {
        Status::Failed if parameters.flag("returnInternalServerErrorOnFailure", false)? => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        status if status.is_terminal() => StatusCode::OK,
        _ => StatusCode::ACCEPTED,
    };
    let mut response = HttpResponse::build(code);
    if code == StatusCode::ACCEPTED {
        let own = format!("{}{}", origin(req), req.uri());
        response.insert_header((LOCATION, own)).insert_header((RETRY_AFTER, ASK_AGAIN_AFTER));
    }
    Ok(response.json(state))
}

fn whole_history(
    client: &Orchestrations,
    id: InstanceId,
) -> Result<Vec<dogwatch_actors::orchestration::view::HistoryEvent>, Refusal> {
    let mut events = Vec::new();
    loop {
        let after =
            events.last().map_or(0, |last: &dogwatch_actors::orchestration::view::HistoryEvent| last.seq);
        let page = client.history(id, after, HISTORY_PAGE_MAX)?;
        let is_last = page.len() < HISTORY_PAGE_MAX;
        events.extend(page);
        if is_last {
            return Ok(events);
        }
    }
}

/// Where a list is to go on.
pub(super) fn continuation(req: &HttpRequest) -> Option<String> {
    let token = req.headers().get(CONTINUATION).and_then(|value| value.to_str().ok());
    token.filter(|token| !token.is_empty() && *token != "null").map(str::to_owned)
}

/// `GET /instances/`
pub(super) async fn list(call: Call) -> Result<HttpResponse, Refusal> {
    let Call { client, parameters, req, .. } = call;
    let Some(statuses) = statuses(&parameters)? else { return Ok(HttpResponse::Ok().json(json!([]))) };
    let most = parameters.number("top")?.filter(|top| *top > 0).unwrap_or(LIST_PAGE_MAX);
    let mut filter = InstanceFilter {
        statuses,
        created_after: parameters.time("createdTimeFrom")?,
        created_before: parameters.time("createdTimeTo")?,
        id_prefix: parameters.text("instanceIdPrefix").map(str::to_owned),
        limit: most.min(LIST_PAGE_MAX),
        cursor: continuation(&req),
        reads: Reads { input: parameters.flag("showInput", true)?, output: true },
        hub: Some(call.hub.clone()),
        ..InstanceFilter::default()
    };
    let mut states = Vec::new();
    loop {
        let page = client.list(&filter)?;
        states.extend(page.instances.into_iter().map(State::of));
        filter.cursor = page.next;
        // A page may be short of what was asked for, where few of those looked at fit.
        if filter.cursor.is_none() || !states.is_empty() {
            break;
        }
    }
    let mut response = HttpResponse::Ok();
    if let Some(next) = filter.cursor {
        response.insert_header((CONTINUATION, next));
    }
    Ok(response.json(states))
}

/// The states asked for; `None` when it is only such as none is ever in.
fn statuses(parameters: &Parameters) -> Result<Option<Vec<Status>>, Refusal> {
    let mut statuses = Vec::new();
    let mut asked = false;
    for text in parameters.all("runtimeStatus") {
        asked = true;
        let found = Status::ALL.into_iter().find(|status| runtime_status(*status).eq_ignore_ascii_case(text));
        let never = ["canceled", "continuedasnew"].iter().any(|known| known.eq_ignore_ascii_case(text));
        match found {
            Some(status) => statuses.push(status),
            None if never => {}
            None => return Err(Refusal::incorrect(format_args!("there is no runtimeStatus `{text}`"))),
        }
    }
    Ok((!asked || !statuses.is_empty()).then_some(statuses))
}

/// `DELETE /instances/{instanceId}`
pub(super) async fn purge(call: Call) -> Result<HttpResponse, Refusal> {
    let (id, client) = (id(&call)?, call.client);
    let deleted = insist(async move { client.purge(id).await }).await??;
    Ok(HttpResponse::Ok().json(json!({ "instancesDeleted": deleted })))
}

/// `DELETE /instances/`
pub(super) async fn purge_many(call: Call) -> Result<HttpResponse, Refusal> {
    let Call { client, parameters, .. } = call;
    let from = parameters.time("createdTimeFrom")?;
    let from = from.ok_or_else(|| Refusal::incorrect("`createdTimeFrom` is needed"))?;
    let Some(statuses) = statuses(&parameters)? else { return Err(Refusal::none_fits()) };
    let over: Vec<Status> = statuses.iter().copied().filter(|status| status.is_terminal()).collect();
    if over.is_empty() && !statuses.is_empty() {
        return Err(Refusal::none_fits());
    }
    let filter = InstanceFilter {
        statuses: over,
        created_after: Some(from),
        created_before: parameters.time("createdTimeTo")?,
        hub: Some(call.hub.clone()),
        ..InstanceFilter::default()
    };
    let mut deleted = 0;
    loop {
        let (client, filter) = (client.clone(), filter.clone());
        let purged = insist(async move { client.purge_many(&filter).await }).await??;
        deleted += purged.deleted;
        if purged.is_complete {
            break;
        }
    }
    if deleted == 0 {
        return Err(Refusal::none_fits());
    }
    Ok(HttpResponse::Ok().json(json!({ "instancesDeleted": deleted })))
}

/// `POST /instances/{instanceId}/raiseEvent/{eventName}`
pub(super) async fn raise(call: Call) -> Result<HttpResponse, Refusal> {
    let id = id(&call)?;
    if !call.req.content_type().eq_ignore_ascii_case("application/json") {
        return Err(Refusal::incorrect("only application/json is taken as the payload of an event"));
    }
    let Call { client, path, req, body, .. } = call;
    let name = path.get(3).cloned().unwrap_or_default();
    let data = input(&req, body).await?;
    insist(async move { client.raise(id, Raise::new(name, data)).await }).await??;
    Ok(HttpResponse::Accepted().finish())
}

fn reason(parameters: &Parameters) -> Option<String> {
    parameters.text("reason").map(str::to_owned)
}

/// `POST /instances/{instanceId}/terminate`
pub(super) async fn terminate(call: Call) -> Result<HttpResponse, Refusal> {
    let (id, reason, client) = (id(&call)?, reason(&call.parameters), call.client);
    insist(async move { client.terminate(id, reason, true).await }).await??;
    Ok(HttpResponse::Accepted().finish())
}

/// `POST /instances/{instanceId}/suspend`
pub(super) async fn suspend(call: Call) -> Result<HttpResponse, Refusal> {
    let (id, reason, client) = (id(&call)?, reason(&call.parameters), call.client);
    insist(async move { client.suspend(id, reason).await }).await??;
    Ok(HttpResponse::Accepted().finish())
}

/// `POST /instances/{instanceId}/resume`
pub(super) async fn resume(call: Call) -> Result<HttpResponse, Refusal> {
    let (id, reason, client) = (id(&call)?, reason(&call.parameters), call.client);
    let resumed = insist(async move {
        match client.resume(id, reason).await {
            // One that runs goes on.
            Err(Error::Conflict { status, .. }) if !status.is_terminal() => client.get(id, Reads::default()),
            resumed => resumed,
        }
    });
    resumed.await??;
    Ok(HttpResponse::Accepted().finish())
}

/// `POST /instances/{instanceId}/rewind`
pub(super) async fn rewind(call: Call) -> Result<HttpResponse, Refusal> {
    let (id, reason, client) = (id(&call)?, reason(&call.parameters), call.client);
    let rewound = insist(async move { client.rewind(id, reason).await }).await?;
    match rewound {
        Ok(_) => Ok(HttpResponse::Accepted().finish()),
        Err(Error::Conflict { status, .. }) if !status.is_terminal() => {
            Err(Refusal::precondition("only a failed instance can be rewound"))
        }
        Err(error) => Err(error.into()),
    }
}
