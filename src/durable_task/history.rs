//! A history as the events of the contract: what workers replay, and what clients read.
//!
//! What the code asked for has the number of its task as the id of its event; everything else has the id -1 and says
//! which task it is about.

use std::collections::HashMap;

use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::orchestration::entity::{EntityCall, EntityRequest};
use dogwatch_actors::orchestration::executor::remote::{Chronicle, Line, worker_task};
use dogwatch_actors::orchestration::history::{
    Action, ActivityCall, Arrival, ChildCall, Note, Outcome, Started, TaskResult,
};
use dogwatch_actors::orchestration::id::TaskId;
use dogwatch_actors::orchestration::state::{Orchestration, Phase};

use super::convert::{execution_id, failure_details, parent, tags, timestamp, trace_context, written};
use super::proto::history_event::EventType;
use super::proto::{self, HistoryEvent};

/// The id of what the code did not ask for.
const NOT_ASKED_FOR: i32 = -1;

/// Turns lines into events. It remembers what tasks are, because their ends are told in different ways.
pub(super) struct Events<'a> {
    state: &'a Orchestration,
    children: std::collections::HashSet<TaskId>,
    timers: HashMap<TaskId, Timestamp>,
}

impl<'a> Events<'a> {
    /// For lines of the execution that an instance is in.
    pub(super) fn of(state: &'a Orchestration) -> Self {
        Self { state, children: Default::default(), timers: HashMap::new() }
    }

    /// The events of these lines, which follow those before.
    pub(super) fn next(&mut self, lines: &[Line]) -> Vec<HistoryEvent> {
        lines.iter().filter_map(|line| self.event(line)).collect()
    }

    fn event(&mut self, line: &Line) -> Option<HistoryEvent> {
        match line {
            Line::Turn(now) => Some(event(
                NOT_ASKED_FOR,
                *now,
                EventType::OrchestratorStarted(proto::OrchestratorStartedEvent {}),
            )),
            Line::Saw(at, arrival) => Some(event(NOT_ASKED_FOR, *at, self.arrival(arrival))),
            Line::Asked(at, action) => {
                let id = action.begins().map_or(NOT_ASKED_FOR, worker_task);
                Some(event(id, *at, self.action(action)?))
            }
        }
    }

    fn arrival(&self, arrival: &Arrival) -> EventType {
        match arrival {
            Arrival::Started(started) => EventType::ExecutionStarted(Box::new(self.started(started))),
            Arrival::TaskEnded(TaskResult { task, outcome }) => {
                let (task_scheduled_id, is_child) = (worker_task(*task), self.children.contains(task));
                match (outcome, is_child) {
                    (Outcome::Completed(output), false) => {
                        EventType::TaskCompleted(proto::TaskCompletedEvent {
                            task_scheduled_id,
                            result: written(output),
                        })
                    }
                    (Outcome::Failed(failure), false) => EventType::TaskFailed(proto::TaskFailedEvent {
                        task_scheduled_id,
                        failure_details: Some(failure_details(failure)),
                    }),
                    (Outcome::Completed(output), true) => EventType::SubOrchestrationInstanceCompleted(
                        proto::SubOrchestrationInstanceCompletedEvent {
                            task_scheduled_id,
                            result: written(output),
                        },
                    ),
                    (Outcome::Failed(failure), true) => EventType::SubOrchestrationInstanceFailed(
                        proto::SubOrchestrationInstanceFailedEvent {
                            task_scheduled_id,
                            failure_details: Some(failure_details(failure)),
                        },
                    ),
                }
            }
            Arrival::TimerFired { task } => EventType::TimerFired(proto::TimerFiredEvent {
                fire_at: self.timers.get(task).copied().map(timestamp),
                timer_id: worker_task(*task),
            }),
            Arrival::EventRaised { name, data } => {
                EventType::EventRaised(proto::EventRaisedEvent { name: name.clone(), input: written(data) })
            }
            Arrival::EntityAnswered { request_id, outcome: Outcome::Completed(output), .. } => {
                EventType::EntityOperationCompleted(proto::EntityOperationCompletedEvent {
                    request_id: request_id.clone(),
                    output: written(output),
                })
            }
            Arrival::EntityAnswered { request_id, outcome: Outcome::Failed(failure), .. } => {
                EventType::EntityOperationFailed(proto::EntityOperationFailedEvent {
                    request_id: request_id.clone(),
                    failure_details: Some(failure_details(failure)),
                })
            }
            Arrival::LockGranted { section, .. } => {
                EventType::EntityLockGranted(proto::EntityLockGrantedEvent {
                    critical_section_id: section.clone(),
                })
            }
        }
    }

    /// What the code asked of an entity, as it asked for it.
    fn message(&self, call: &EntityCall) -> EventType {
        let target_instance_id = Some(call.entity.local().to_owned());
        let parent_instance_id = Some(self.state.id.local().to_owned());
        match &call.request {
            EntityRequest::Signal(signal) => {
                EventType::EntityOperationSignaled(proto::EntityOperationSignaledEvent {
                    request_id: signal.request_id.clone().unwrap_or_default(),
                    operation: signal.operation.clone(),
                    scheduled_time: signal.at.map(timestamp),
                    input: written(&signal.input),
                    target_instance_id,
                })
            }
            EntityRequest::Call { request_id, operation, input, .. } => {
                EventType::EntityOperationCalled(proto::EntityOperationCalledEvent {
                    request_id: request_id.clone(),
                    operation: operation.clone(),
                    scheduled_time: None,
                    input: written(input),
                    parent_instance_id,
                    parent_execution_id: Some(execution_id(self.state)),
                    target_instance_id,
                })
            }
            EntityRequest::Lock { section, set } => {
                EventType::EntityLockRequested(proto::EntityLockRequestedEvent {
                    critical_section_id: section.clone(),
                    lock_set: set.iter().map(|entity| entity.local().to_owned()).collect(),
                    position: 0,
                    parent_instance_id,
                })
            }
            EntityRequest::Unlock { section } => EventType::EntityUnlockSent(proto::EntityUnlockSentEvent {
                critical_section_id: section.clone(),
                parent_instance_id,
                target_instance_id,
            }),
        }
    }

    fn started(&self, started: &Started) -> proto::ExecutionStartedEvent {
        proto::ExecutionStartedEvent {
            name: started.name.clone(),
            version: started.version.clone(),
            input: written(&started.input),
            orchestration_instance: Some(proto::OrchestrationInstance {
                instance_id: self.state.id.local().to_owned(),
                execution_id: Some(execution_id(self.state)),
            }),
            parent_instance: parent(self.state),
            scheduled_start_timestamp: None,
            parent_trace_context: started.trace.as_ref().map(trace_context),
            orchestration_span_id: None,
            tags: tags(&self.state.tags),
        }
    }

    fn action(&mut self, action: &Action) -> Option<EventType> {
        Some(match action {
            Action::ScheduleActivity(call) => EventType::TaskScheduled(activity(call)),
            Action::CreateTimer { task, fire_at } => {
                self.timers.insert(*task, *fire_at);
                EventType::TimerCreated(proto::TimerCreatedEvent { fire_at: Some(timestamp(*fire_at)) })
            }
            Action::StartChild(call) => {
                self.children.insert(call.task);
                EventType::SubOrchestrationInstanceCreated(child(call))
            }
            // A job is no word of the contract: to its readers it is something that was started and ends.
            Action::SubmitJob(call) => EventType::TaskScheduled(proto::TaskScheduledEvent {
                name: format!("job {}", call.job),
                ..Default::default()
            }),
            Action::SendEvent { instance, name, data, .. } => EventType::EventSent(proto::EventSentEvent {
                instance_id: instance.local().to_owned(),
                name: name.clone(),
                input: written(data),
            }),
            Action::MessageEntity(call) => self.message(call),
            Action::Complete(outcome) => EventType::ExecutionCompleted(completed(outcome)),
            Action::Refuse { .. }
            | Action::Cancel { .. }
            | Action::Terminate { .. }
            | Action::ContinueAsNew { .. } => return None,
        })
    }
}

fn event(event_id: i32, at: Timestamp, event_type: EventType) -> HistoryEvent {
    HistoryEvent { event_id, timestamp: Some(timestamp(at)), event_type: Some(event_type) }
}

fn activity(call: &ActivityCall) -> proto::TaskScheduledEvent {
    proto::TaskScheduledEvent {
        name: call.name.clone(),
        version: call.version.clone(),
        input: written(&call.input),
        parent_trace_context: call.trace.as_ref().map(trace_context),
        tags: tags(&call.tags),
    }
}

fn child(call: &ChildCall) -> proto::SubOrchestrationInstanceCreatedEvent {
    proto::SubOrchestrationInstanceCreatedEvent {
        instance_id: call.instance.local().to_owned(),
        name: call.name.clone(),
        version: call.version.clone(),
        input: written(&call.input),
        parent_trace_context: call.trace.as_ref().map(trace_context),
        tags: tags(&call.tags),
    }
}

fn completed(outcome: &Outcome) -> proto::ExecutionCompletedEvent {
    use proto::OrchestrationStatus::{Completed, Failed};
    let (status, result, failure) = match outcome {
        Outcome::Completed(output) => (Completed, written(output), None),
        Outcome::Failed(failure) => (Failed, None, Some(failure_details(failure))),
    };
    proto::ExecutionCompletedEvent { orchestration_status: status as i32, result, failure_details: failure }
}

/// The whole history of the current execution, as clients read it: with what was done to the instance from outside.
pub(super) fn whole(
    state: &Orchestration,
    chronicle: &Chronicle,
    unseen: Vec<(Timestamp, Arrival)>,
    notes: Vec<(Timestamp, Note)>,
) -> Vec<HistoryEvent> {
    let mut events = Events::of(state);
    let unseen: Vec<Line> = unseen.into_iter().map(|(at, arrival)| Line::Saw(at, arrival)).collect();
    let lines = [events.next(&chronicle.lines), events.next(&unseen)].concat();
    let mut all = Vec::with_capacity(lines.len());
    // One whose end was asked for and came in the same moment has but the note of its end.
    let was_asked_for = notes.iter().any(|(_, note)| matches!(note, Note::Terminating { .. }));
    let notes = notes.into_iter().filter(|(_, note)| *note != Note::Terminated || !was_asked_for);
    let mut notes = notes.filter_map(|(at, note)| Some((at, noted(state, note)?))).peekable();
    for line in lines {
        let at = line.timestamp.map_or((0, 0), |at| (at.seconds, at.nanos));
        while let Some((noted_at, told)) = notes.next_if(|(noted_at, _)| {
            let noted_at = timestamp(*noted_at);
            (noted_at.seconds, noted_at.nanos) < at
        }) {
            all.push(event(NOT_ASKED_FOR, noted_at, told));
        }
        all.push(line);
    }
    all.extend(notes.map(|(at, told)| event(NOT_ASKED_FOR, at, told)));
    if let (Phase::Terminated { reason }, Some(at)) = (&state.phase, state.finished_at) {
        let ended = proto::ExecutionCompletedEvent {
            orchestration_status: proto::OrchestrationStatus::Terminated as i32,
            result: reason.as_deref().map(super::convert::output_of_reason),
            failure_details: None,
        };
        all.push(event(NOT_ASKED_FOR, at, EventType::ExecutionCompleted(ended)));
    }
    all
}

fn noted(state: &Orchestration, note: Note) -> Option<EventType> {
    Some(match note {
        Note::Suspended { reason } => {
            EventType::ExecutionSuspended(proto::ExecutionSuspendedEvent { input: reason })
        }
        Note::Resumed { reason } => {
            EventType::ExecutionResumed(proto::ExecutionResumedEvent { input: reason })
        }
        Note::Terminating { reason } => EventType::ExecutionTerminated(proto::ExecutionTerminatedEvent {
            input: reason.as_deref().map(super::convert::output_of_reason),
            recurse: false,
        }),
        Note::Terminated => EventType::ExecutionTerminated(proto::ExecutionTerminatedEvent {
            input: match &state.phase {
                Phase::Terminated { reason } => reason.as_deref().map(super::convert::output_of_reason),
                _ => None,
            },
            recurse: false,
        }),
        Note::Rewound(rewind) => EventType::ExecutionRewound(Box::new(proto::ExecutionRewoundEvent {
            reason: rewind.reason,
            instance_id: Some(state.id.local().to_owned()),
            ..Default::default()
        })),
        Note::Failed(failure) => EventType::ExecutionCompleted(completed(&Outcome::Failed(failure))),
        _ => return None,
    })
}
