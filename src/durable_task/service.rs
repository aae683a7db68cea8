//! The service of the contract: each call looks for its task hub and is passed on to whom it is for.

use std::sync::Arc;

use std::time::Duration;

use dogwatch_actors::handle::Handle;
use dogwatch_actors::handle::hubs::TaskHubs;
use dogwatch_actors::handle::pools::Scope;
use dogwatch_actors::orchestration::Status as Standing;
use dogwatch_actors::orchestration::executor::Remote;
use dogwatch_actors::orchestration::id::DEFAULT_HUB;
use futures_util::stream::BoxStream;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::clients::Clients;
use super::entities::{self, EntityClients};
use super::gate;
use super::proto::task_hub_sidecar_service_server::TaskHubSidecarService;
use super::proto::*;
use super::refusal::{of_hub, of_pool};
use super::workers::{self, WorkItems};
use crate::limits::DURABLE_TASK_TERMINATE_BATCH_MAX;

/// The name under which a call says which task hub it is about.
const TASK_HUB: &str = "taskhub";

/// The name under which a worker says who it is.
const WORKER: &str = "workerid";

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    handle: Handle,
    hubs: TaskHubs,
    remote: Remote,
    /// Told when it stops: calls that wait for something end.
    stopped: watch::Receiver<bool>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    pub(super) fn new(handle: Handle, remote: Remote, stopped: watch::Receiver<bool>) -> Self {
        let hubs = handle.task_hubs();
        Self { handle, hubs, remote, stopped }
    }

    /// The task hub of a call, which must exist.
    fn hub(&self, metadata: &MetadataMap) -> Result<String, Status> {
        let hub = named_hub(metadata)?;
        if self.hubs.exists(&hub).map_err(of_hub)? {
            return Ok(hub);
        }
        Err(Status::not_found(format!(
            "there is no task hub `{hub}`; create it with CreateTaskHub, or name it in the setting grpc.task_hubs"
        )))
    }

    /// What the clients of the call's task hub may ask for, and what is asked.
    fn clients<T>(&self, request: Request<T>) -> Result<(Clients, T), Status> {
        let hub = self.hub(request.metadata())?;
        Ok((Clients::of(&self.handle, hub), request.into_inner()))
    }
}

impl Service {
    /// The same about entities.
    fn entities<T>(&self, request: Request<T>) -> Result<(EntityClients, T), Status> {
        let hub = self.hub(request.metadata())?;
        Ok((EntityClients::of(&self.handle, hub), request.into_inner()))
    }

    async fn until_stop<T>(
        &self,
        patience: Option<Duration>,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> Answer<T> {
        let late = async {
            match patience {
                Some(patience) => tokio::time::sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        let mut stopped = self.stopped.clone();
        tokio::select! {
            answer = answer => answer.map(Response::new),
            () = late => Err(Status::deadline_exceeded("the instance is not as wanted within the time of the call")),
            _ = stopped.wait_for(|stopped| *stopped) => {
                Err(Status::unavailable("dogwatch is shutting down; ask again"))
            }
        }
    }
}

impl Service {
    /// The worker of an instance ends its own work only.
    fn may_complete(&self, scope: Option<Arc<Scope>>, token: &str) -> Result<(), Status> {
        match scope {
            Some(scope) if !self.handle.pools().may_complete(&scope, token) => {
                Err(Status::permission_denied("this work is somebody else's"))
            }
            _ => Ok(()),
        }
    }
}

/// How long a call may take, a little less than its client says (the header `grpc-timeout`): what ends it from outside
/// gives it a status that the SDKs take for a fault.
fn patience(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let nanos: u64 = match unit {
        "H" => 3_600_000_000_000,
        "M" => 60_000_000_000,
        "S" => 1_000_000_000,
        "m" => 1_000_000,
        "u" => 1_000,
        "n" => 1,
        _ => return None,
    };
    let given = Duration::from_nanos(number.parse::<u64>().ok()?.checked_mul(nanos)?);
    Some(given - given / 50)
}

/// The task hub that a call names.
fn named_hub(metadata: &MetadataMap) -> Result<String, Status> {
    match metadata.get(TASK_HUB).map(|name| name.to_str()) {
        None | Some(Ok("")) => Ok(DEFAULT_HUB.to_owned()),
        Some(Ok(name)) => Ok(name.to_owned()),
        Some(Err(_)) => Err(Status::invalid_argument("the name of the task hub is no text")),
    }
}

fn peer<T>(request: &Request<T>) -> String {
    let named = request.metadata().get(WORKER).and_then(|name| name.to_str().ok()).map(str::to_owned);
    let address = || {
        request
            .remote_addr()
            .map_or_else(|| "a worker".to_owned(), |address| format!("the worker at {address}"))
    };
    named.map_or_else(address, |name| format!("the worker {name}"))
}

#[tonic::async_trait]
impl TaskHubSidecarService for Service {
    async fn hello(&self, request: Request<()>) -> Answer<()> {
        let hub = self.hub(request.metadata())?;
        gate::check_hub(gate::scope(&request).as_ref(), &hub)?;
        Ok(Response::new(()))
    }

    async fn start_instance(
        &self,
        request: Request<CreateInstanceRequest>,
    ) -> Answer<CreateInstanceResponse> {
        let (clients, request) = self.clients(request)?;
        clients.start(request).await.map(Response::new)
    }

    async fn get_instance(&self, request: Request<GetInstanceRequest>) -> Answer<GetInstanceResponse> {
        let (clients, request) = self.clients(request)?;
        clients.get(&request).map(Response::new)
    }

    async fn wait_for_instance_start(
        &self,
        request: Request<GetInstanceRequest>,
    ) -> Answer<GetInstanceResponse> {
        let patience = patience(request.metadata());
        let (clients, request) = self.clients(request)?;
        self.until_stop(patience, clients.hold(&request, |status| status != Standing::Pending)).await
    }

    async fn wait_for_instance_completion(
        &self,
        request: Request<GetInstanceRequest>,
    ) -> Answer<GetInstanceResponse> {
        let patience = patience(request.metadata());
        let (clients, request) = self.clients(request)?;
        self.until_stop(patience, clients.hold(&request, Standing::is_terminal)).await
    }

    async fn raise_event(&self, request: Request<RaiseEventRequest>) -> Answer<RaiseEventResponse> {
        let (clients, request) = self.clients(request)?;
        clients.raise(request).await.map(Response::new)
    }

    async fn terminate_instance(&self, request: Request<TerminateRequest>) -> Answer<TerminateResponse> {
        let (clients, request) = self.clients(request)?;
        clients.terminate(request).await.map(Response::new)
    }

    async fn suspend_instance(&self, request: Request<SuspendRequest>) -> Answer<SuspendResponse> {
        let (clients, request) = self.clients(request)?;
        clients.suspend(request).await.map(Response::new)
    }

    async fn resume_instance(&self, request: Request<ResumeRequest>) -> Answer<ResumeResponse> {
        let (clients, request) = self.clients(request)?;
        clients.resume(request).await.map(Response::new)
    }

    async fn rewind_instance(
        &self,
        request: Request<RewindInstanceRequest>,
    ) -> Answer<RewindInstanceResponse> {
        let (clients, request) = self.clients(request)?;
        clients.rewind(request).await.map(Response::new)
    }

    async fn restart_instance(
        &self,
        request: Request<RestartInstanceRequest>,
    ) -> Answer<RestartInstanceResponse> {
        let (clients, request) = self.clients(request)?;
        clients.restart(request).await.map(Response::new)
    }

    async fn query_instances(
        &self,
        request: Request<QueryInstancesRequest>,
    ) -> Answer<QueryInstancesResponse> {
        let (clients, request) = self.clients(request)?;
        clients.query(request).map(Response::new)
    }

    async fn list_instance_ids(
        &self,
        request: Request<ListInstanceIdsRequest>,
    ) -> Answer<ListInstanceIdsResponse> {
        let (clients, request) = self.clients(request)?;
        clients.list_ids(request).map(Response::new)
    }

    async fn purge_instances(
        &self,
        request: Request<PurgeInstancesRequest>,
    ) -> Answer<PurgeInstancesResponse> {
        let (clients, request) = self.clients(request)?;
        clients.purge(request).await.map(Response::new)
    }

    async fn skip_graceful_orchestration_terminations(
        &self,
        request: Request<SkipGracefulOrchestrationTerminationsRequest>,
    ) -> Answer<SkipGracefulOrchestrationTerminationsResponse> {
        let (clients, request) = self.clients(request)?;
        let ids = request.instance_batch.unwrap_or_default().instance_ids;
        if ids.len() > DURABLE_TASK_TERMINATE_BATCH_MAX {
            return Err(Status::invalid_argument(format!(
                "a batch has at most {DURABLE_TASK_TERMINATE_BATCH_MAX} instances"
            )));
        }
        let unterminated_instance_ids = clients.terminate_batch(ids, request.reason).await?;
        Ok(Response::new(SkipGracefulOrchestrationTerminationsResponse { unterminated_instance_ids }))
    }

    type StreamInstanceHistoryStream = BoxStream<'static, Result<HistoryChunk, Status>>;

    async fn stream_instance_history(
        &self,
        request: Request<StreamInstanceHistoryRequest>,
    ) -> Answer<Self::StreamInstanceHistoryStream> {
        let (clients, request) = self.clients(request)?;
        Ok(Response::new(Box::pin(clients.history(&request)?)))
    }

    type GetWorkItemsStream = WorkItems;

    async fn get_work_items(
        &self,
        request: Request<GetWorkItemsRequest>,
    ) -> Answer<Self::GetWorkItemsStream> {
        let (hub, peer, scope) = (self.hub(request.metadata())?, peer(&request), gate::scope(&request));
        gate::check_hub(scope.as_ref(), &hub)?;
        let pools = self.handle.pools();
        if let Some(scope) = &scope {
            pools.connect(scope).await.map_err(of_pool)?;
        }
        let items = workers::stream(&self.remote, &hub, peer, request.into_inner(), scope.as_deref());
        Ok(Response::new(match scope {
            Some(scope) => gate::while_it_runs(items, pools, scope),
            None => items,
        }))
    }

    // What completes work is answered well whatever it is about: a worker that is told of an error loses its result.
    async fn complete_activity_task(
        &self,
        request: Request<ActivityResponse>,
    ) -> Answer<CompleteTaskResponse> {
        let scope = gate::scope(&request);
        let (token, outcome) = workers::activity_outcome(request.into_inner());
        self.may_complete(scope, &token)?;
        self.remote.complete_activity(&token, outcome).await;
        Ok(Response::new(CompleteTaskResponse {}))
    }

    async fn complete_orchestrator_task(
        &self,
        request: Request<OrchestratorResponse>,
    ) -> Answer<CompleteTaskResponse> {
        let hub = named_hub(request.metadata())?;
        let (token, answer) = workers::turn_answer(&hub, request.into_inner());
        self.remote.complete_turn(&token, answer).await;
        Ok(Response::new(CompleteTaskResponse {}))
    }

    async fn complete_entity_task(
        &self,
        request: Request<EntityBatchResult>,
    ) -> Answer<CompleteTaskResponse> {
        let hub = named_hub(request.metadata())?;
        let (token, outcome) = entities::outcome(&hub, request.into_inner());
        self.remote.complete_batch(&token, outcome).await;
        Ok(Response::new(CompleteTaskResponse {}))
    }

    async fn abandon_task_activity_work_item(
        &self,
        request: Request<AbandonActivityTaskRequest>,
    ) -> Answer<AbandonActivityTaskResponse> {
        let scope = gate::scope(&request);
        let token = request.into_inner().completion_token;
        self.may_complete(scope, &token)?;
        self.remote.give_back(&token);
        Ok(Response::new(AbandonActivityTaskResponse {}))
    }

    async fn abandon_task_orchestrator_work_item(
        &self,
        request: Request<AbandonOrchestrationTaskRequest>,
    ) -> Answer<AbandonOrchestrationTaskResponse> {
        self.remote.give_back(&request.into_inner().completion_token);
        Ok(Response::new(AbandonOrchestrationTaskResponse {}))
    }

    async fn abandon_task_entity_work_item(
        &self,
        request: Request<AbandonEntityTaskRequest>,
    ) -> Answer<AbandonEntityTaskResponse> {
        self.remote.give_back(&request.into_inner().completion_token);
        Ok(Response::new(AbandonEntityTaskResponse {}))
    }

    async fn create_task_hub(&self, request: Request<CreateTaskHubRequest>) -> Answer<CreateTaskHubResponse> {
        let hub = named_hub(request.metadata())?;
        if request.into_inner().recreate_if_exists {
            self.hubs.clear(&hub).await.map_err(of_hub)?;
        }
        self.hubs.create(&hub).await.map_err(of_hub)?;
        Ok(Response::new(CreateTaskHubResponse {}))
    }

    async fn delete_task_hub(&self, request: Request<DeleteTaskHubRequest>) -> Answer<DeleteTaskHubResponse> {
        let hub = self.hub(request.metadata())?;
        self.hubs.delete(&hub).await.map_err(of_hub)?;
        Ok(Response::new(DeleteTaskHubResponse {}))
    }

    async fn signal_entity(&self, request: Request<SignalEntityRequest>) -> Answer<SignalEntityResponse> {
        let (clients, request) = self.entities(request)?;
        clients.signal(request).await.map(Response::new)
    }

    async fn get_entity(&self, request: Request<GetEntityRequest>) -> Answer<GetEntityResponse> {
        let (clients, request) = self.entities(request)?;
        clients.get(request).await.map(Response::new)
    }

    async fn query_entities(&self, request: Request<QueryEntitiesRequest>) -> Answer<QueryEntitiesResponse> {
        let (clients, request) = self.entities(request)?;
        clients.query(request).await.map(Response::new)
    }

    async fn clean_entity_storage(
        &self,
        request: Request<CleanEntityStorageRequest>,
    ) -> Answer<CleanEntityStorageResponse> {
        let (clients, request) = self.entities(request)?;
        clients.clean(request).await.map(Response::new)
    }
}
