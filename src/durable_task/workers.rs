//! What workers are given, and what they answer.

use std::pin::Pin;

use dogwatch_actors::handle::pools::Scope;
use dogwatch_actors::orchestration::executor::remote::{
    Connection, Item, Names, Remote, TurnAnswer, Work, WorkerOptions, worker_task,
};
use dogwatch_actors::orchestration::history::{Action, ActivityCall, ChildCall, Outcome};
use dogwatch_actors::orchestration::id::TaskId;
use dogwatch_actors::orchestration::state::{Orchestration, Span};
use dogwatch_actors::orchestration::{Failure, InstanceId};
use futures_util::Stream;
use tonic::Status;

use super::convert::{
    self, execution_id, failure, moment, outcome, payload, tags, text, timestamp, trace_context, written,
};
use super::entities;
use super::gate;
use super::history::Events;
use super::proto::history_event::EventType;
use super::proto::orchestrator_action::OrchestratorActionType;
use super::proto::work_item::Request;
use super::proto::{self, OrchestrationStatus, WorkItem};
use crate::limits::{DURABLE_TASK_PAGE_BYTES_MAX, DURABLE_TASK_PING_EVERY};

/// The work of a worker, as it comes.
pub(super) type WorkItems = Pin<Box<dyn Stream<Item = Result<WorkItem, Status>> + Send>>;

/// The work for a worker. What it has when the stream is dropped goes to others.
pub(super) fn stream(
    remote: &Remote,
    hub: &str,
    peer: String,
    request: proto::GetWorkItemsRequest,
    scope: Option<&Scope>,
) -> WorkItems {
    let streams_history = request.capabilities().any(|it| it == proto::WorkerCapability::HistoryStreaming);
    let mut options = options(hub, peer, request);
    if let Some(scope) = scope {
        gate::restrict(&mut options, scope);
    }
    let connection = remote.connect(options);
    let ping = tokio::time::interval_at(tokio::time::Instant::now(), DURABLE_TASK_PING_EVERY);
    Box::pin(futures_util::stream::unfold((connection, ping), move |(connection, mut ping)| async move {
        let item = next(&connection, &mut ping, streams_history).await;
        item.map(|item| (item, (connection, ping)))
    }))
}

async fn next(
    connection: &Connection,
    ping: &mut tokio::time::Interval,
    streams_history: bool,
) -> Option<Result<WorkItem, Status>> {
    tokio::select! {
        biased;
        item = connection.next() => match item {
            Some(item) => Some(Ok(work_item(item, streams_history))),
            // An end without an error would have workers connect again at once, and again.
            None => Some(Err(Status::unavailable("dogwatch is shutting down; connect again"))),
        },
        _ = ping.tick() => Some(Ok(WorkItem {
            completion_token: String::new(),
            request: Some(Request::HealthPing(proto::HealthPing {})),
        })),
    }
}

fn options(hub: &str, peer: String, request: proto::GetWorkItemsRequest) -> WorkerOptions {
    let limit = |asked: i32| u32::try_from(asked).unwrap_or(0);
    let takes = match request.work_item_filters {
        None => [None, None, None],
        Some(filters) => {
            let orchestrations =
                filters.orchestrations.into_iter().map(|filter| (filter.name, filter.versions));
            let activities = filters.activities.into_iter().map(|filter| (filter.name, filter.versions));
            let entities = filters.entities.into_iter().map(|filter| (filter.name, vec![]));
            [Some(names(orchestrations)), Some(names(activities)), Some(names(entities))]
        }
    };
    WorkerOptions {
        hub: hub.to_owned(),
        takes,
        limits: [
            limit(request.max_concurrent_orchestration_work_items),
            limit(request.max_concurrent_activity_work_items),
            limit(request.max_concurrent_entity_work_items),
        ],
        peer: text(Some(request.worker_instance_id)).unwrap_or(peer),
        instance: None,
    }
}

/// Names with their versions; one that is named without any takes all of them.
fn names(filters: impl Iterator<Item = (String, Vec<String>)>) -> Names {
    let mut names = Names::new();
    for (name, versions) in filters {
        names.entry(name).or_default().extend(versions);
    }
    names
}

fn work_item(item: Item, streams_history: bool) -> WorkItem {
    let Item { token, work } = item;
    let request = match work {
        Work::Turn { state, past, now, fresh } => {
            let mut events = Events::of(&state);
            let mut past_events = events.next(&past.lines);
            // One that reads histories as a stream is spared a message that may be too large.
            let length: usize = past_events.iter().map(prost::Message::encoded_len).sum();
            let requires_history_streaming = streams_history && length > DURABLE_TASK_PAGE_BYTES_MAX;
            if requires_history_streaming {
                past_events.clear();
            }
            let mut lines = vec![dogwatch_actors::orchestration::executor::remote::Line::Turn(now)];
            lines.extend(fresh);
            Request::OrchestratorRequest(proto::OrchestratorRequest {
                instance_id: state.id.local().to_owned(),
                execution_id: Some(execution_id(&state)),
                new_events: events.next(&lines),
                past_events,
                requires_history_streaming,
                orchestration_trace_context: state.span.as_ref().map(span_context),
                ..Default::default()
            })
        }
        Work::Activity { state, call } => Request::ActivityRequest(activity_request(&state, &call)),
        Work::Batch(batch) => Request::EntityRequestV2(entities::request(&batch)),
    };
    WorkItem { completion_token: token, request: Some(request) }
}

fn activity_request(state: &Orchestration, call: &ActivityCall) -> proto::ActivityRequest {
    proto::ActivityRequest {
        name: call.name.clone(),
        version: call.version.clone(),
        input: written(&call.input),
        orchestration_instance: Some(proto::OrchestrationInstance {
            instance_id: state.id.local().to_owned(),
            execution_id: Some(execution_id(state)),
        }),
        task_id: worker_task(call.task),
        parent_trace_context: call.trace.as_ref().map(trace_context),
        tags: tags(&call.tags),
    }
}

fn span_context(span: &Span) -> proto::OrchestrationTraceContext {
    proto::OrchestrationTraceContext {
        span_id: span.id.clone(),
        span_start_time: span.began_at.map(timestamp),
    }
}

/// What came of an activity.
pub(super) fn activity_outcome(response: proto::ActivityResponse) -> (String, Outcome) {
    (response.completion_token, outcome(response.result, response.failure_details))
}

/// What the code of an instance asked for.
pub(super) fn turn_answer(hub: &str, response: proto::OrchestratorResponse) -> (String, TurnAnswer) {
    let proto::OrchestratorResponse { instance_id, actions, custom_status, completion_token, .. } = response;
    let span = response
        .orchestration_trace_context
        .map(|context| Span { id: context.span_id, began_at: context.span_start_time.as_ref().map(moment) });
    let parent = InstanceId::in_hub(hub, &instance_id).ok();
    let mut taken = Vec::with_capacity(actions.len());
    let mut end = None;
    for action in actions {
        let task = TaskId::from(action.id.cast_unsigned());
        match action.orchestrator_action_type {
            Some(OrchestratorActionType::CompleteOrchestration(complete)) => end = Some(ending(complete)),
            Some(other) => match asked(hub, parent, task, other) {
                Ok(action) => taken.extend(action),
                // What cannot be done fails the instance: its code is told nothing, because it asked for nonsense.
                Err(failure) => end = Some(Action::Complete(Outcome::Failed(failure))),
            },
            None => {}
        }
    }
    // It stands anywhere among them, and ends the execution: what was asked for beside it is done first.
    taken.extend(end);
    let custom_status = text(custom_status).map(|status| payload(Some(status)));
    (completion_token, TurnAnswer { actions: taken, custom_status, span })
}

fn asked(
    hub: &str,
    parent: Option<InstanceId>,
    task: TaskId,
    action: OrchestratorActionType,
) -> Result<Option<Action>, Failure> {
    let id =
        |local: &str| InstanceId::in_hub(hub, local).map_err(|error| Failure::from(error).non_retriable());
    Ok(Some(match action {
        OrchestratorActionType::ScheduleTask(call) => Action::ScheduleActivity(Box::new(ActivityCall {
            task,
            name: call.name,
            version: text(call.version),
            input: payload(call.input),
            timeout: None,
            heartbeat: None,
            tags: call.tags.into_iter().collect(),
            trace: convert::trace(call.parent_trace_context),
        })),
        OrchestratorActionType::CreateTimer(timer) => {
            Action::CreateTimer { task, fire_at: moment(&timer.fire_at.unwrap_or_default()) }
        }
        OrchestratorActionType::CreateSubOrchestration(call) => Action::StartChild(Box::new(ChildCall {
            task,
            instance: match (text(Some(call.instance_id)), parent) {
                (None, Some(parent)) => InstanceId::of_child(parent, 1, task),
                (local, _) => id(&local.unwrap_or_default())?,
            },
            name: call.name,
            version: text(call.version),
            input: payload(call.input),
            tags: call.tags.into_iter().collect(),
            trace: convert::trace(call.parent_trace_context),
        })),
        OrchestratorActionType::SendEvent(sent) => Action::SendEvent {
            task,
            instance: id(&sent.instance.unwrap_or_default().instance_id)?,
            name: sent.name,
            data: payload(sent.data),
        },
        OrchestratorActionType::TerminateOrchestration(end) => Action::Terminate {
            task,
            instance: id(&end.instance_id)?,
            reason: convert::reason(end.reason),
            recursive: end.recurse,
        },
        OrchestratorActionType::SendEntityMessage(sent) => return entities::call(hub, task, sent),
        // Histories are rewound here, and no worker is asked to.
        OrchestratorActionType::RewindOrchestration(_) | OrchestratorActionType::CompleteOrchestration(_) => {
            return Ok(None);
        }
    }))
}

fn ending(end: proto::CompleteOrchestrationAction) -> Action {
    match end.orchestration_status() {
        OrchestrationStatus::ContinuedAsNew => Action::ContinueAsNew {
            input: payload(end.result),
            version: text(end.new_version),
            carried: end
                .carryover_events
                .into_iter()
                .filter_map(|event| match event.event_type {
                    Some(EventType::EventRaised(raised)) => Some((raised.name, payload(raised.input))),
                    _ => None,
                })
                .collect(),
        },
        OrchestrationStatus::Completed => Action::Complete(Outcome::Completed(payload(end.result))),
        status => {
            let unnamed = || proto::TaskFailureDetails {
                error_type: status.as_str_name().to_owned(),
                error_message: end.details.clone().or_else(|| end.result.clone()).unwrap_or_default(),
                ..Default::default()
            };
            Action::Complete(Outcome::Failed(failure(end.failure_details.clone().unwrap_or_else(unnamed))))
        }
    }
}
