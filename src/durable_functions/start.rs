//! Starting and restarting instances, and waiting for them.

use std::time::Duration;

use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::handle::orchestrations::{Error, Orchestrations, StartOrder};
use dogwatch_actors::limits::ORCHESTRATION_PAYLOAD_BYTES_MAX;
use dogwatch_actors::orchestration::{InstanceId, Status};
use serde_json::Value;

use super::answer::Refusal;
use super::instances::status_response;
use super::links;
use super::parameters::Parameters;
use super::{Call, insist};
use crate::api::body;
use crate::limits::DURABLE_FUNCTIONS_WAIT_MAX;

/// Seconds after which a client is to ask for an instance that was just started.
const ASK_AFTER: u64 = 10;

/// `POST /orchestrators/{functionName}/{instanceId?}`
pub(super) async fn start(call: Call) -> Result<HttpResponse, Refusal> {
    let Call { client, path, parameters, hub, req, body, .. } = call;
    let patience = patience(&parameters)?;
    let id = match path.get(2) {
        Some(text) => InstanceId::in_hub(&hub, text).map_err(Refusal::incorrect)?,
        None => client.random_id(&hub)?,
    };
    let name = path.get(1).cloned().unwrap_or_default();
    let input = input(&req, body).await?;
    let version = parameters.text("version").map(str::to_owned);
    // As the extension does by default: an id is free again once its instance is over.
    let replaces = vec![Status::Completed, Status::Failed, Status::Terminated];
    let order = StartOrder { id: Some(id), version, replaces, ..StartOrder::new(name, input) };
    let starting = client.clone();
    let instance = insist(async move { starting.start(order).await }).await??;
    started(&client, &req, &parameters, instance.id, patience).await
}

/// `POST /instances/{instanceId}/restart`
pub(super) async fn restart(call: Call) -> Result<HttpResponse, Refusal> {
    let Call { client, path, parameters, hub, req, .. } = call;
    let patience = patience(&parameters)?;
    let with_new_id = parameters.flag("restartWithNewInstanceId", true)?;
    // The extension calls an unknown id an incorrect argument here.
    let local = path.get(1).map(String::as_str).unwrap_or_default();
    let id = InstanceId::in_hub(&hub, local).map_err(Refusal::incorrect)?;
    let restarting = client.clone();
    let restarted = insist(async move { restarting.restart(id, with_new_id).await });
    let instance = match restarted.await? {
        Err(error @ Error::NotFound(_)) => {
            return Err(Refusal::incorrect(error));
        }
        instance => instance?,
    };
    started(&client, &req, &parameters, instance.id, patience).await
}

/// The answer once an instance is durable; where the client waits, once it is over.
async fn started(
    client: &Orchestrations,
    req: &HttpRequest,
    parameters: &Parameters,
    id: InstanceId,
    patience: Option<Duration>,
) -> Result<HttpResponse, Refusal> {
    if let Some(patience) = patience {
        let until = tokio::time::Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let instance = client.wait(id, left).await?;
            match instance.status {
                Status::Completed => return Ok(HttpResponse::Ok().json(instance.output)),
                status if status.is_terminal() => return status_response(client, req, parameters, id),
                _ if left.is_zero() => break,
                _ => {}
            }
        }
    }
    let management = links::management(req, parameters, id);
    let location = management.status_query_get_uri.clone();
    Ok(HttpResponse::Accepted()
        .insert_header((LOCATION, location))
        .insert_header((RETRY_AFTER, ASK_AFTER))
        .json(management))
}

/// How long the client wants to wait; it wants to where it says so.
fn patience(parameters: &Parameters) -> Result<Option<Duration>, Refusal> {
    let (timeout, interval) = (parameters.seconds("timeout")?, parameters.seconds("pollingInterval")?);
    if let (Some(timeout), Some(interval)) = (timeout, interval)
        && interval > timeout
    {
        return Err(Refusal::incorrect("`pollingInterval` is longer than `timeout`"));
    }
    // Nothing is polled here: the answer comes when the instance is over.
    Ok(timeout.map(|timeout| timeout.min(DURABLE_FUNCTIONS_WAIT_MAX)))
}

/// The body as JSON, or nothing.
pub(super) async fn input(req: &HttpRequest, body: actix_web::web::Payload) -> Result<Value, Refusal> {
    Ok(body::read(req, body, ORCHESTRATION_PAYLOAD_BYTES_MAX).await?.unwrap_or(Value::Null))
}
