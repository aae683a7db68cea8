//! What clients ask for: starting, watching and steering instances. The rules are the machine's; here a request of the
//! contract becomes one of ours.

use std::time::Duration;

use dogwatch_actors::handle::Handle;
use dogwatch_actors::handle::orchestrations::{
    Error, FinishedFilter, Instance, InstanceFilter, Orchestrations, Raise, Reads, StartOrder,
};
use dogwatch_actors::orchestration::{InstanceId, Status as Standing};
use futures_util::Stream;
use tonic::Status;

use super::convert::{self, moment, payload, statuses, text};
use super::entities::EntityClients;
use super::proto;
use super::refusal::of_instance;
use crate::limits::{DURABLE_TASK_OVERLOAD_PATIENCE, DURABLE_TASK_PAGE_BYTES_MAX};

/// The pause before a request is tried again that found too many under way.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(20);

/// What clients of one task hub may ask for.
#[derive(Debug)]
pub(super) struct Clients {
    client: Orchestrations,
    entities: EntityClients,
    hub: String,
}

type Answer<T> = Result<T, Status>;

impl Clients {
    pub(super) fn of(handle: &Handle, hub: String) -> Self {
        let entities = EntityClients::of(handle, hub.clone());
        Self { client: handle.orchestrations(), entities, hub }
    }

    fn id(&self, local: &str) -> Answer<InstanceId> {
        InstanceId::in_hub(&self.hub, local).map_err(|error| Status::invalid_argument(error.to_string()))
    }

    /// The id of an instance that is expected to exist: a text that is none names nothing.
    fn known_id(&self, local: &str) -> Answer<InstanceId> {
        InstanceId::in_hub(&self.hub, local).map_err(|error| Status::not_found(error.to_string()))
    }

    pub(super) async fn start(
        &self,
        request: proto::CreateInstanceRequest,
    ) -> Answer<proto::CreateInstanceResponse> {
        let id = match text(Some(request.instance_id)) {
            Some(local) => self.id(&local)?,
            None => self.client.random_id(&self.hub).map_err(of_instance)?,
        };
        let policy = request.orchestration_id_reuse_policy.unwrap_or_default();
        let order = StartOrder {
            id: Some(id),
            version: text(request.version),
            tags: request.tags.into_iter().collect(),
            start_at: request.scheduled_start_timestamp.as_ref().map(moment),
            trace: convert::trace(request.parent_trace_context),
            replaces: statuses(&policy.replaceable_status),
            ..StartOrder::new(request.name, serde_json::Value::Null)
        };
        let order = StartOrder { input: payload(request.input), ..order };
        patiently(|| self.client.start(order.clone())).await?;
        Ok(proto::CreateInstanceResponse { instance_id: id.local().to_owned() })
    }

    pub(super) fn get(&self, request: &proto::GetInstanceRequest) -> Answer<proto::GetInstanceResponse> {
        let with_payloads = request.get_inputs_and_outputs;
        let reads = Reads { input: with_payloads, output: with_payloads };
        let Ok(id) = self.id(&request.instance_id) else { return Ok(absent()) };
        match self.client.read(id, reads) {
            Ok(instance) => Ok(present(&instance, with_payloads)),
            Err(Error::NotFound(_)) => Ok(absent()),
            Err(error) => Err(of_instance(error)),
        }
    }

    /// Holds the call until the instance, which may not exist yet, is as wanted; the client says how long that may be.
    pub(super) async fn hold(
        &self,
        request: &proto::GetInstanceRequest,
        is_wanted: fn(Standing) -> bool,
    ) -> Answer<proto::GetInstanceResponse> {
        let id = self.id(&request.instance_id)?;
        let instance = self.client.hold(id, is_wanted).await.map_err(of_instance)?;
        Ok(present(&instance, request.get_inputs_and_outputs))
    }

    pub(super) async fn raise(&self, request: proto::RaiseEventRequest) -> Answer<proto::RaiseEventResponse> {
        let id = self.known_id(&request.instance_id)?;
        let raise = Raise { name: request.name, data: payload(request.input), id: None, keep: None };
        // One that is over takes events as well, and nothing comes of them.
        quietly(patiently(|| self.client.raise(id, raise.clone())).await)?;
        Ok(proto::RaiseEventResponse {})
    }

    pub(super) async fn terminate(
        &self,
        request: proto::TerminateRequest,
    ) -> Answer<proto::TerminateResponse> {
        let (id, reason) = (self.known_id(&request.instance_id)?, convert::reason(request.output));
        quietly(patiently(|| self.client.terminate(id, reason.clone(), request.recursive)).await)?;
        Ok(proto::TerminateResponse {})
    }

    pub(super) async fn suspend(&self, request: proto::SuspendRequest) -> Answer<proto::SuspendResponse> {
        let (id, reason) = (self.known_id(&request.instance_id)?, text(request.reason));
        quietly(patiently(|| self.client.suspend(id, reason.clone())).await)?;
        Ok(proto::SuspendResponse {})
    }

    pub(super) async fn resume(&self, request: proto::ResumeRequest) -> Answer<proto::ResumeResponse> {
        let (id, reason) = (self.known_id(&request.instance_id)?, text(request.reason));
        quietly(patiently(|| self.client.resume(id, reason.clone())).await)?;
        Ok(proto::ResumeResponse {})
    }

    pub(super) async fn rewind(
        &self,
        request: proto::RewindInstanceRequest,
    ) -> Answer<proto::RewindInstanceResponse> {
        let (id, reason) = (self.known_id(&request.instance_id)?, text(request.reason));
        patiently(|| self.client.rewind(id, reason.clone())).await?;
        Ok(proto::RewindInstanceResponse {})
    }

    pub(super) async fn restart(
        &self,
        request: proto::RestartInstanceRequest,
    ) -> Answer<proto::RestartInstanceResponse> {
        let id = self.known_id(&request.instance_id)?;
        let started = patiently(|| self.client.restart(id, request.restart_with_new_instance_id)).await?;
        Ok(proto::RestartInstanceResponse { instance_id: started.id.local().to_owned() })
    }

    pub(super) fn query(
        &self,
        request: proto::QueryInstancesRequest,
    ) -> Answer<proto::QueryInstancesResponse> {
        let query = request.query.unwrap_or_default();
        let wanted = statuses(&query.runtime_status);
        if wanted.is_empty() && !query.runtime_status.is_empty() {
            return Ok(proto::QueryInstancesResponse::default());
        }
        let reads = Reads { input: query.fetch_inputs_and_outputs, output: query.fetch_inputs_and_outputs };
        let filter = InstanceFilter {
            hub: Some(self.hub.clone()),
            statuses: wanted,
            id_prefix: text(query.instance_id_prefix),
            created_after: query.created_time_from.as_ref().map(moment),
            created_before: query.created_time_to.as_ref().map(moment),
            reads,
            ..InstanceFilter::default()
        };
        let (max, mut cursor) = (page_length(query.max_instance_count), text(query.continuation_token));
        let (mut states, mut bytes) = (Vec::new(), 0);
        loop {
            let page = InstanceFilter { limit: max - states.len(), cursor: cursor.take(), ..filter.clone() };
            let page = self.client.query(&page).map_err(of_instance)?;
            for instance in &page.instances {
                let state = convert::state(instance, query.fetch_inputs_and_outputs);
                bytes += prost::Message::encoded_len(&state);
                states.push(state);
            }
            cursor = page.next;
            // A message has a size that clients take, however much they ask for.
            if cursor.is_none() || states.len() >= max || bytes >= DURABLE_TASK_PAGE_BYTES_MAX {
                return Ok(proto::QueryInstancesResponse {
                    orchestration_state: states,
                    continuation_token: cursor,
                });
            }
        }
    }

    pub(super) fn list_ids(
        &self,
        request: proto::ListInstanceIdsRequest,
    ) -> Answer<proto::ListInstanceIdsResponse> {
        let wanted = statuses(&request.runtime_status);
        if wanted.is_empty() && !request.runtime_status.is_empty() {
            return Ok(proto::ListInstanceIdsResponse::default());
        }
        let filter = FinishedFilter {
            hub: Some(self.hub.clone()),
            statuses: wanted,
            from: request.completed_time_from.as_ref().map(moment),
            before: request.completed_time_to.as_ref().map(moment),
            limit: usize::try_from(request.page_size).unwrap_or(0),
            cursor: text(request.last_instance_key),
        };
        let (ids, next) = self.client.finished(&filter).map_err(of_instance)?;
        let instance_ids = ids.iter().map(|id| id.local().to_owned()).collect();
        Ok(proto::ListInstanceIdsResponse { instance_ids, last_instance_key: next })
    }

    pub(super) async fn purge(
        &self,
        request: proto::PurgeInstancesRequest,
    ) -> Answer<proto::PurgeInstancesResponse> {
        use proto::purge_instances_request::Request;
        let recursive = request.recursive;
        let (deleted, is_complete) = match request.request {
            Some(Request::InstanceId(id)) => (self.purge_all(&[id], recursive).await?, true),
            Some(Request::InstanceBatch(batch)) => {
                (self.purge_all(&batch.instance_ids, recursive).await?, true)
            }
            Some(Request::PurgeInstanceFilter(filter)) => self.purge_by(filter, recursive).await?,
            None => {
                return Err(Status::invalid_argument(
                    "say what to purge: an instance id, a batch of them or a filter",
                ));
            }
        };
        Ok(proto::PurgeInstancesResponse {
            deleted_instance_count: i32::try_from(deleted).unwrap_or(i32::MAX),
            is_complete: Some(is_complete),
        })
    }

    async fn purge_all(&self, ids: &[String], recursive: bool) -> Answer<u64> {
        let mut deleted = 0;
        for id in ids {
            if id.starts_with('@') {
                deleted += self.entities.purge(id).await?;
                continue;
            }
            let Ok(id) = self.id(id) else { continue };
            match self.client.purge_one(id, recursive).await {
                Ok(purged) => deleted += purged,
                Err(Error::NotFound(_) | Error::Conflict { .. }) => {}
                Err(error) => return Err(of_instance(error)),
            }
        }
        Ok(deleted)
    }

    async fn purge_by(&self, filter: proto::PurgeInstanceFilter, recursive: bool) -> Answer<(u64, bool)> {
        let statuses = statuses(&filter.runtime_status);
        if statuses.is_empty() && !filter.runtime_status.is_empty() {
            return Ok((0, true));
        }
        let patience = filter.timeout.as_ref().map(convert::duration).filter(|patience| !patience.is_zero());
        let filter = InstanceFilter {
            hub: Some(self.hub.clone()),
            statuses,
            created_after: filter.created_time_from.as_ref().map(moment),
            created_before: filter.created_time_to.as_ref().map(moment),
            ..InstanceFilter::default()
        };
        let until = patience.map(|patience| tokio::time::Instant::now() + patience);
        let mut deleted = 0;
        loop {
            let purged = self.client.purge_by(&filter, recursive, patience).await.map_err(of_instance)?;
            deleted += purged.deleted;
            let is_late = until.is_some_and(|until| tokio::time::Instant::now() >= until);
            if purged.is_complete || is_late {
                return Ok((deleted, purged.is_complete));
            }
        }
    }

    /// Ends instances at once; those that cannot be.
    pub(super) async fn terminate_batch(
        &self,
        ids: Vec<String>,
        reason: Option<String>,
    ) -> Answer<Vec<String>> {
        let (reason, mut left) = (convert::reason(reason), Vec::new());
        for local in ids {
            let Ok(id) = self.id(&local) else {
                left.push(local);
                continue;
            };
            match patiently(|| self.client.terminate(id, reason.clone(), false)).await {
                Ok(_) => {}
                Err(status) if status.code() == tonic::Code::Unavailable => return Err(status),
                Err(_) => left.push(local),
            }
        }
        Ok(left)
    }

    /// The history of an instance in parts that fit into a message.
    pub(super) fn history(
        &self,
        request: &proto::StreamInstanceHistoryRequest,
    ) -> Answer<impl Stream<Item = Result<proto::HistoryChunk, Status>> + use<>> {
        let record = self.client.record(self.known_id(&request.instance_id)?).map_err(of_instance)?;
        let events = if request.for_work_item_processing {
            super::history::Events::of(&record.state).next(&record.chronicle.lines)
        } else {
            super::history::whole(&record.state, &record.chronicle, record.unseen, record.notes)
        };
        Ok(futures_util::stream::iter(chunks(events).map(|events| Ok(proto::HistoryChunk { events }))))
    }
}

/// Events in parts of about so many bytes.
fn chunks(events: Vec<proto::HistoryEvent>) -> impl Iterator<Item = Vec<proto::HistoryEvent>> {
    let mut events = events.into_iter().peekable();
    std::iter::from_fn(move || {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while let Some(event) = events.next_if(|event| {
            let length = prost::Message::encoded_len(event);
            let fits = bytes == 0 || bytes + length <= DURABLE_TASK_PAGE_BYTES_MAX;
            bytes += length;
            fits
        }) {
            chunk.push(event);
        }
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn page_length(asked: i32) -> usize {
    let asked = usize::try_from(asked).unwrap_or(0);
    if asked == 0 { usize::MAX } else { asked }
}

fn present(instance: &Instance, with_payloads: bool) -> proto::GetInstanceResponse {
    proto::GetInstanceResponse {
        exists: true,
        orchestration_state: Some(convert::state(instance, with_payloads)),
    }
}

fn absent() -> proto::GetInstanceResponse {
    proto::GetInstanceResponse { exists: false, orchestration_state: None }
}

/// A command to an instance whose state does not take it is taken all the same: it is over, or as wanted already.
fn quietly<T>(answer: Answer<T>) -> Answer<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(status) if status.code() == tonic::Code::FailedPrecondition => Ok(()),
        Err(status) => Err(status),
    }
}

/// Asks again while too many requests are under way: a client that sends thousands at once is to wait, not to fail.
async fn patiently<T, F>(ask: impl Fn() -> F) -> Answer<T>
where
    F: Future<Output = Result<T, Error>>,
{
    use dogwatch_actors::handle::Error::Overloaded;
    patiently_of(ask, |error| matches!(error, Error::Other(Overloaded { .. })), of_instance).await
}

/// The same for other errors.
pub(super) async fn patiently_of<T, E, F>(
    ask: impl Fn() -> F,
    is_overloaded: impl Fn(&E) -> bool,
    status: impl Fn(E) -> Status,
) -> Answer<T>
where
    F: Future<Output = Result<T, E>>,
{
    let until = tokio::time::Instant::now() + DURABLE_TASK_OVERLOAD_PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if is_overloaded(&error) && tokio::time::Instant::now() < until => {
                tokio::time::sleep(OVERLOAD_PAUSE).await;
            }
            Err(error) => return Err(status(error)),
        }
    }
}
