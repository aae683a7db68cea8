//! A worker and a client of the Durable Task protocol that cost next to nothing: chains of five trivial activities.
//!
//! Not responsible for: what is measured with them.

use std::time::Duration;

use dogwatch::durable_task::proto::history_event::EventType;
use dogwatch::durable_task::proto::orchestrator_action::OrchestratorActionType;
use dogwatch::durable_task::proto::task_hub_sidecar_service_client::TaskHubSidecarServiceClient;
use dogwatch::durable_task::proto::work_item::Request as Work;
use dogwatch::durable_task::proto::{
    ActivityRequest, ActivityResponse, CompleteOrchestrationAction, CreateInstanceRequest,
    GetInstanceRequest, GetWorkItemsRequest, OrchestrationStatus, OrchestratorAction, OrchestratorRequest,
    OrchestratorResponse, ScheduleTaskAction, WorkItem,
};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::error::{Error, Result};

/// Activities of one chain.
const STEPS: usize = 5;

/// Calls under way at once on each connection, for starting and for waiting.
const CALLS: usize = 512;

/// How long a chain may take.
const PATIENCE: Duration = Duration::from_secs(600);

type Client = TaskHubSidecarServiceClient<InterceptedService<Channel, Key>>;

/// Puts the key on every call.
#[derive(Debug, Clone)]
pub(crate) struct Key(MetadataValue<Ascii>);

impl tonic::service::Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::Void(format!("the server refused: {error}"))
}

/// One connection.
async fn connect(address: &str, key: &str) -> Result<Client> {
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(refused)?.tcp_nodelay(true);
    let key = format!("Bearer {key}").parse().map_err(refused)?;
    let channel = endpoint.connect().await.map_err(refused)?;
    Ok(TaskHubSidecarServiceClient::with_interceptor(channel, Key(key)).max_decoding_message_size(64 << 20))
}

/// Workers, each on a connection of its own, until they are dropped.
#[derive(Debug)]
pub(crate) struct Workers {
    clients: Vec<Client>,
    serving: JoinSet<()>,
}

impl Workers {
    /// As many, which serve at once when `busy`, and otherwise only wait for work that never comes.
    pub(crate) async fn start(address: &str, key: &str, count: usize, busy: bool) -> Result<Self> {
        let (mut clients, mut serving) = (Vec::new(), JoinSet::new());
        for number in 0..count {
            let client = connect(address, key).await?;
            let request = GetWorkItemsRequest {
                max_concurrent_orchestration_work_items: if busy { 1_000 } else { 1 },
                max_concurrent_activity_work_items: if busy { 1_000 } else { 1 },
                worker_instance_id: format!("bench-{number}"),
                ..GetWorkItemsRequest::default()
            };
            serving.spawn(serve(client.clone(), request));
            clients.push(client);
        }
        Ok(Self { clients, serving })
    }

    /// How many are still connected.
    pub(crate) fn len(&self) -> usize {
        self.serving.len()
    }

    /// Runs so many chains at once: orchestrations per second, from the first start to the last end.
    pub(crate) async fn at_once(&self, count: usize) -> Result<f64> {
        let began = Instant::now();
        let run = |number: usize| {
            let client = self.clients[number % self.clients.len()].clone();
            async move { chain(client, format!("once-{number}")).await }
        };
        let starts = stream::iter(0..count).map(run).buffer_unordered(CALLS * self.clients.len());
        starts.try_collect::<Vec<()>>().await?;
        Ok(count as f64 / began.elapsed().as_secs_f64())
    }

    /// Runs chains one after another: the milliseconds of each, sorted.
    pub(crate) async fn one_by_one(&self, count: usize) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(count);
        for number in 0..count {
            let began = Instant::now();
            chain(self.clients[number % self.clients.len()].clone(), format!("serial-{number}")).await?;
            times.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }
}

/// Starts a chain and waits for its end.
async fn chain(mut client: Client, id: String) -> Result<()> {
    let create = CreateInstanceRequest {
        instance_id: id.clone(),
        name: "chain".to_owned(),
        input: Some("0".to_owned()),
        ..CreateInstanceRequest::default()
    };
    client.start_instance(create).await.map_err(refused)?;
    let wait = GetInstanceRequest { instance_id: id, get_inputs_and_outputs: true };
    let waited = client.wait_for_instance_completion(wait);
    let answer = tokio::time::timeout(PATIENCE, waited).await.map_err(refused)?.map_err(refused)?;
    let state = answer.into_inner().orchestration_state.unwrap_or_default();
    if state.orchestration_status() == OrchestrationStatus::Completed && state.output.as_deref() == Some("5")
    {
        return Ok(());
    }
    Err(Error::Void(format!("a chain ended with {state:?}")))
}

/// Does what comes, until the stream ends.
async fn serve(mut client: Client, request: GetWorkItemsRequest) {
    let Ok(items) = client.get_work_items(request).await else { return };
    let mut items = items.into_inner();
    while let Ok(Some(item)) = items.message().await {
        let client = client.clone();
        tokio::spawn(answer(client, item));
    }
}

async fn answer(mut client: Client, item: WorkItem) {
    let token = item.completion_token;
    let answered = match item.request {
        Some(Work::OrchestratorRequest(request)) => {
            client.complete_orchestrator_task(turn(request, token)).await.map(drop)
        }
        Some(Work::ActivityRequest(request)) => {
            client.complete_activity_task(activity(request, token)).await.map(drop)
        }
        _ => Ok(()),
    };
    if let Err(status) = answered {
        eprintln!("a worker was refused: {status}");
    }
}

/// The next step of a chain, or its end.
fn turn(request: OrchestratorRequest, completion_token: String) -> OrchestratorResponse {
    let events = request.past_events.iter().chain(&request.new_events);
    let results = events.filter_map(|event| match &event.event_type {
        Some(EventType::TaskCompleted(done)) => done.result.clone(),
        Some(EventType::ExecutionStarted(started)) => started.input.clone(),
        _ => None,
    });
    let results: Vec<String> = results.collect();
    let last = results.last().cloned();
    let (id, action) = if results.len() > STEPS {
        let complete = CompleteOrchestrationAction {
            orchestration_status: OrchestrationStatus::Completed as i32,
            result: last,
            ..CompleteOrchestrationAction::default()
        };
        (-1, OrchestratorActionType::CompleteOrchestration(complete))
    } else {
        let call =
            ScheduleTaskAction { name: "add".to_owned(), input: last, ..ScheduleTaskAction::default() };
        (i32::try_from(results.len()).unwrap_or(0), OrchestratorActionType::ScheduleTask(call))
    };
    OrchestratorResponse {
        instance_id: request.instance_id,
        actions: vec![OrchestratorAction { id, orchestrator_action_type: Some(action) }],
        completion_token,
        ..OrchestratorResponse::default()
    }
}

fn activity(request: ActivityRequest, completion_token: String) -> ActivityResponse {
    let number: u64 = request.input.as_deref().and_then(|input| input.parse().ok()).unwrap_or(0);
    ActivityResponse {
        instance_id: request.orchestration_instance.unwrap_or_default().instance_id,
        task_id: request.task_id,
        result: Some((number + 1).to_string()),
        failure_details: None,
        completion_token,
    }
}
