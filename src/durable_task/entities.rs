//! Entities in the contract: what their workers are given, what comes back, and what clients ask for.

use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::entity::EntityId;
use dogwatch_actors::entity::batch::{Batch, BatchOutcome};
use dogwatch_actors::entity::event::{Asker, Operation, Signal};
use dogwatch_actors::handle::Handle;
use dogwatch_actors::handle::entities::{Clean, Entities, EntityFilter, EntityView};
use dogwatch_actors::orchestration::entity::{EntityCall, EntityRequest};
use dogwatch_actors::orchestration::event::Start;
use dogwatch_actors::orchestration::executor::remote::worker_task;
use dogwatch_actors::orchestration::history::{Action, Outcome};
use dogwatch_actors::orchestration::id::TaskId;
use dogwatch_actors::orchestration::{Failure, InstanceId, Status as Standing};
use tonic::Status;

use super::convert::{self, failure, moment, payload, text, timestamp, written};
use super::proto;
use super::proto::history_event::EventType;
use super::proto::operation_action::OperationActionType;
use super::proto::operation_result::ResultType;
use super::proto::send_entity_message_action::EntityMessageType;
use super::refusal::of_entity;
use crate::limits::DURABLE_TASK_PAGE_BYTES_MAX;

/// Operations for a worker.
pub(super) fn request(batch: &Batch) -> proto::EntityRequest {
    proto::EntityRequest {
        instance_id: batch.entity.local().to_owned(),
        execution_id: batch.number.to_string(),
        entity_state: written(&batch.state),
        operation_requests: batch
            .operations
            .iter()
            .map(|(_, operation)| operation_event(operation))
            .collect(),
    }
}

fn operation_event(operation: &Operation) -> proto::HistoryEvent {
    let (request_id, name) = (operation.request_id.clone(), operation.operation.clone());
    let input = written(&operation.input);
    let (event_id, event_type) = match &operation.asker {
        Asker::Signal { at, .. } => {
            let signaled = proto::EntityOperationSignaledEvent {
                request_id,
                operation: name,
                scheduled_time: at.map(timestamp),
                input,
                target_instance_id: None,
            };
            (-1, EventType::EntityOperationSignaled(signaled))
        }
        Asker::Call { caller, task } => {
            let called = proto::EntityOperationCalledEvent {
                request_id,
                operation: name,
                scheduled_time: None,
                input,
                parent_instance_id: Some(caller.instance.local().to_owned()),
                parent_execution_id: Some(convert::execution_id_of(caller.instance, caller.execution)),
                target_instance_id: None,
            };
            (worker_task(*task), EventType::EntityOperationCalled(called))
        }
    };
    // What time it is there is no affair of an entity's code.
    let timestamp = Some(timestamp(Timestamp::from_millis(0)));
    proto::HistoryEvent { event_id, timestamp, event_type: Some(event_type) }
}

/// What came of operations. Without results they were not run.
pub(super) fn outcome(hub: &str, result: proto::EntityBatchResult) -> (String, BatchOutcome) {
    let results = result.results.into_iter().filter_map(|result| match result.result_type? {
        ResultType::Success(success) => Some(Outcome::Completed(payload(success.result))),
        ResultType::Failure(failed) => {
            Some(Outcome::Failed(failure(failed.failure_details.unwrap_or_default())))
        }
    });
    let mut outcome = BatchOutcome {
        results: results.collect(),
        state: payload(result.entity_state),
        ..BatchOutcome::default()
    };
    for action in result.actions {
        match action.operation_action_type {
            Some(OperationActionType::SendSignal(signal)) => match EntityId::in_hub(hub, &signal.instance_id)
            {
                Ok(entity) => outcome.signals.push((entity, sent(signal))),
                Err(error) => tracing::warn!(%error, "an entity signals nobody"),
            },
            Some(OperationActionType::StartNewOrchestration(start)) => {
                match InstanceId::in_hub(hub, &start.instance_id) {
                    Ok(instance) => outcome.starts.push((instance, started(start))),
                    Err(error) => tracing::warn!(%error, "an entity cannot start an orchestration"),
                }
            }
            None => {}
        }
    }
    (result.completion_token, outcome)
}

fn sent(signal: proto::SendSignalAction) -> Signal {
    Signal {
        request_id: None,
        operation: signal.name,
        input: payload(signal.input),
        at: signal.scheduled_time.as_ref().map(moment),
        trace: convert::trace(signal.parent_trace_context),
    }
}

fn started(start: proto::StartNewOrchestrationAction) -> Start {
    Start {
        name: start.name,
        version: text(start.version),
        input: payload(start.input),
        tags: Default::default(),
        start_at: start.scheduled_time.as_ref().map(moment),
        parent: None,
        parent_name: None,
        schedule: None,
        trigger: None,
        trace: convert::trace(start.parent_trace_context),
        replaces: vec![Standing::Completed, Standing::Failed, Standing::Terminated],
    }
}

/// What an orchestration says to an entity.
pub(super) fn call(
    hub: &str,
    task: TaskId,
    action: proto::SendEntityMessageAction,
) -> Result<Option<Action>, Failure> {
    let id = |local: Option<&str>| {
        EntityId::in_hub(hub, local.unwrap_or_default()).map_err(|error| Failure::from(error).non_retriable())
    };
    let Some(message) = action.entity_message_type else { return Ok(None) };
    let (entity, request) = match message {
        EntityMessageType::EntityOperationSignaled(signal) => {
            let entity = id(signal.target_instance_id.as_deref())?;
            let signal = Signal {
                request_id: text(Some(signal.request_id)),
                operation: signal.operation,
                input: payload(signal.input),
                at: signal.scheduled_time.as_ref().map(moment),
                trace: None,
            };
            (entity, EntityRequest::Signal(signal))
        }
        EntityMessageType::EntityOperationCalled(call) => {
            let entity = id(call.target_instance_id.as_deref())?;
            let (request_id, operation) = (call.request_id, call.operation);
            (entity, EntityRequest::Call { request_id, operation, input: payload(call.input), trace: None })
        }
        EntityMessageType::EntityLockRequested(lock) => {
            let set = lock.lock_set.iter().map(|entity| id(Some(entity))).collect::<Result<Vec<_>, _>>()?;
            let first = *set.first().ok_or_else(|| {
                Failure::new("payload", "a critical section locks at least one entity").non_retriable()
            })?;
            (first, EntityRequest::Lock { section: lock.critical_section_id, set })
        }
        EntityMessageType::EntityUnlockSent(unlock) => {
            let entity = id(unlock.target_instance_id.as_deref())?;
            (entity, EntityRequest::Unlock { section: unlock.critical_section_id })
        }
    };
    Ok(Some(Action::MessageEntity(Box::new(EntityCall { task, entity, request }))))
}

/// What clients of one task hub may ask about entities.
#[derive(Debug)]
pub(super) struct EntityClients {
    client: Entities,
    hub: String,
}

impl EntityClients {
    pub(super) fn of(handle: &Handle, hub: String) -> Self {
        Self { client: handle.entities(), hub }
    }

    fn id(&self, local: &str) -> Result<EntityId, Status> {
        EntityId::in_hub(&self.hub, local).map_err(|error| Status::invalid_argument(error.to_string()))
    }

    pub(super) async fn signal(
        &self,
        request: proto::SignalEntityRequest,
    ) -> Result<proto::SignalEntityResponse, Status> {
        let id = self.id(&request.instance_id)?;
        let signal = Signal {
            request_id: text(Some(request.request_id)),
            operation: request.name,
            input: payload(request.input),
            at: request.scheduled_time.as_ref().map(moment),
            trace: convert::trace(request.parent_trace_context),
        };
        super::clients::patiently_of(|| self.client.signal(id, signal.clone()), is_overloaded, of_entity)
            .await?;
        Ok(proto::SignalEntityResponse {})
    }

    pub(super) async fn get(
        &self,
        request: proto::GetEntityRequest,
    ) -> Result<proto::GetEntityResponse, Status> {
        let Ok(id) = self.id(&request.instance_id) else { return Ok(proto::GetEntityResponse::default()) };
        let entity = self.client.get(id, request.include_state).await.map_err(of_entity)?;
        Ok(proto::GetEntityResponse { exists: entity.is_some(), entity: entity.as_ref().map(metadata) })
    }

    pub(super) async fn query(
        &self,
        request: proto::QueryEntitiesRequest,
    ) -> Result<proto::QueryEntitiesResponse, Status> {
        let query = request.query.unwrap_or_default();
        let max = query.page_size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
        let max = max.unwrap_or(usize::MAX);
        let (mut entities, mut bytes, mut cursor) = (Vec::new(), 0, text(query.continuation_token));
        loop {
            let page = EntityFilter {
                hub: Some(self.hub.clone()),
                id_prefix: text(query.instance_id_starts_with.clone()),
                modified_from: query.last_modified_from.as_ref().map(moment),
                modified_before: query.last_modified_to.as_ref().map(moment),
                include_transient: query.include_transient,
                include_state: query.include_state,
                limit: max - entities.len(),
                cursor: cursor.take(),
            };
            let page = self.client.list(&page).await.map_err(of_entity)?;
            for entity in &page.entities {
                let entity = metadata(entity);
                bytes += prost::Message::encoded_len(&entity);
                entities.push(entity);
            }
            cursor = page.next;
            if cursor.is_none() || entities.len() >= max || bytes >= DURABLE_TASK_PAGE_BYTES_MAX {
                return Ok(proto::QueryEntitiesResponse { entities, continuation_token: cursor });
            }
        }
    }

    pub(super) async fn clean(
        &self,
        request: proto::CleanEntityStorageRequest,
    ) -> Result<proto::CleanEntityStorageResponse, Status> {
        let clean = Clean {
            hub: Some(self.hub.clone()),
            remove_empty: request.remove_empty_entities,
            release_orphaned_locks: request.release_orphaned_locks,
            cursor: text(request.continuation_token),
        };
        let cleaned = self.client.clean(&clean).await.map_err(of_entity)?;
        Ok(proto::CleanEntityStorageResponse {
            continuation_token: cleaned.next,
            empty_entities_removed: i32::try_from(cleaned.removed).unwrap_or(i32::MAX),
            orphaned_locks_released: i32::try_from(cleaned.released).unwrap_or(i32::MAX),
        })
    }

    /// Deletes an entity with all that waits for it; how many there were.
    pub(super) async fn purge(&self, local: &str) -> Result<u64, Status> {
        use dogwatch_actors::handle::entities::Error;
        let Ok(id) = self.id(local) else { return Ok(0) };
        match self.client.purge(id).await {
            Ok(()) => Ok(1),
            Err(Error::NotFound(_) | Error::InUse(_)) => Ok(0),
            Err(error) => Err(of_entity(error)),
        }
    }
}

fn is_overloaded(error: &dogwatch_actors::handle::entities::Error) -> bool {
    use dogwatch_actors::handle;
    matches!(error, handle::entities::Error::Other(handle::Error::Overloaded { .. }))
}

fn metadata(entity: &EntityView) -> proto::EntityMetadata {
    proto::EntityMetadata {
        instance_id: entity.id.local().to_owned(),
        last_modified_time: Some(timestamp(entity.last_modified)),
        backlog_queue_size: i32::try_from(entity.backlog).unwrap_or(i32::MAX),
        locked_by: entity.locked_by.map(|owner| owner.local().to_owned()),
        serialized_state: entity.state.as_ref().and_then(written),
    }
}
