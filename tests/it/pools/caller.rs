//! A client and a worker for one orchestration, `call`: it calls the activity that its input names, and completes with
//! the result. Over the protocol, without any SDK.

use std::time::Duration;

use dogwatch::durable_task::proto::history_event::EventType;
use dogwatch::durable_task::proto::orchestrator_action::OrchestratorActionType;
use dogwatch::durable_task::proto::task_hub_sidecar_service_client::TaskHubSidecarServiceClient;
use dogwatch::durable_task::proto::work_item::Request as Work;
use dogwatch::durable_task::proto::{
    CompleteOrchestrationAction, CreateInstanceRequest, GetInstanceRequest, GetWorkItemsRequest,
    OrchestrationFilter, OrchestrationState, OrchestrationStatus, OrchestratorAction, OrchestratorRequest,
    OrchestratorResponse, ScheduleTaskAction, WorkItemFilters,
};
use dogwatch::serve::addresses::Addresses;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::{InterceptedService, Interceptor};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::bench::Bench;

/// Puts a token and a task hub on every call.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    bearer: MetadataValue<Ascii>,
    hub: MetadataValue<Ascii>,
}

impl Interceptor for Signed {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.bearer.clone());
        request.metadata_mut().insert("taskhub", self.hub.clone());
        Ok(request)
    }
}

pub(super) type Client = TaskHubSidecarServiceClient<InterceptedService<Channel, Signed>>;

/// A client that presents this token.
pub(super) fn client(bench: &Bench, token: &str, hub: &str) -> Client {
    let address = Addresses::read(bench.path()).unwrap().grpc.expect("it listens for workers");
    client_at(&address, token, hub)
}

/// The same at another address.
pub(super) fn client_at(address: &str, token: &str, hub: &str) -> Client {
    let channel = Endpoint::from_shared(address.to_owned()).unwrap().connect_lazy();
    let signed = Signed { bearer: format!("Bearer {token}").parse().unwrap(), hub: hub.parse().unwrap() };
    TaskHubSidecarServiceClient::with_interceptor(channel, signed)
}

/// Both; the worker connects again whenever it is disconnected, until this is dropped.
pub(super) struct Caller {
    pub(super) client: Client,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Caller {
    pub(super) fn of(bench: &Bench, hub: &str) -> Self {
        let key = std::fs::read_to_string(bench.path().join("root.key")).unwrap();
        let client = client(bench, key.trim(), hub);
        let serving = tokio::spawn(serve(client.clone()));
        Self { client, serving }
    }

    /// Starts the orchestration.
    pub(super) async fn start(&self, id: &str, activity: &str) {
        let create = CreateInstanceRequest {
            instance_id: id.to_owned(),
            name: "call".to_owned(),
            input: Some(format!("\"{activity}\"")),
            ..CreateInstanceRequest::default()
        };
        self.client.clone().start_instance(create).await.unwrap();
    }

    /// How it ended.
    pub(super) async fn end(&self, id: &str) -> OrchestrationState {
        let wait = GetInstanceRequest { instance_id: id.to_owned(), get_inputs_and_outputs: true };
        let mut client = self.client.clone();
        let waiting = async {
            loop {
                match client.wait_for_instance_completion(wait.clone()).await {
                    Ok(answer) => return answer.into_inner().orchestration_state.unwrap(),
                    // It is started again meanwhile.
                    Err(status) if status.code() == tonic::Code::Unavailable => {
                        tokio::task::yield_now().await
                    }
                    Err(status) => panic!("{status}"),
                }
            }
        };
        tokio::time::timeout(crate::bench::PATIENCE, waiting).await.expect("it ends in time")
    }

    /// Its result, as it must have one.
    pub(super) async fn result(&self, id: &str) -> String {
        let state = self.end(id).await;
        assert_eq!(state.orchestration_status(), OrchestrationStatus::Completed, "{state:?}");
        state.output.unwrap_or_default()
    }
}

async fn serve(mut client: Client) {
    let filters = WorkItemFilters {
        orchestrations: vec![OrchestrationFilter { name: "call".to_owned(), ..Default::default() }],
        ..WorkItemFilters::default()
    };
    let request = GetWorkItemsRequest { work_item_filters: Some(filters), ..Default::default() };
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    loop {
        pace.tick().await;
        let Ok(items) = client.get_work_items(request.clone()).await else { continue };
        let mut items = items.into_inner();
        while let Ok(Some(item)) = items.message().await {
            let Some(Work::OrchestratorRequest(turn)) = item.request else { continue };
            // One that is lost is given again.
            drop(client.complete_orchestrator_task(answer(turn, item.completion_token)).await);
        }
    }
}

fn answer(turn: OrchestratorRequest, completion_token: String) -> OrchestratorResponse {
    let events = turn.past_events.iter().chain(&turn.new_events);
    let (mut input, mut ended) = (None, None);
    for event in events {
        match &event.event_type {
            Some(EventType::ExecutionStarted(started)) => input = started.input.clone(),
            Some(EventType::TaskCompleted(done)) => ended = Some(Ok(done.result.clone())),
            Some(EventType::TaskFailed(failed)) => ended = Some(Err(failed.failure_details.clone())),
            _ => {}
        }
    }
    let complete = |status: OrchestrationStatus| CompleteOrchestrationAction {
        orchestration_status: status as i32,
        ..CompleteOrchestrationAction::default()
    };
    let (id, action) = match ended {
        None => {
            let input = input.unwrap_or_default();
            let name = input.trim_matches('"').to_owned();
            let call = ScheduleTaskAction { name, input: Some(input), ..ScheduleTaskAction::default() };
            (1, OrchestratorActionType::ScheduleTask(call))
        }
        Some(Ok(result)) => {
            let end = CompleteOrchestrationAction { result, ..complete(OrchestrationStatus::Completed) };
            (-1, OrchestratorActionType::CompleteOrchestration(end))
        }
        Some(Err(failure_details)) => {
            let end =
                CompleteOrchestrationAction { failure_details, ..complete(OrchestrationStatus::Failed) };
            (-1, OrchestratorActionType::CompleteOrchestration(end))
        }
    };
    OrchestratorResponse {
        instance_id: turn.instance_id,
        actions: vec![OrchestratorAction { id, orchestrator_action_type: Some(action) }],
        completion_token,
        ..OrchestratorResponse::default()
    }
}
