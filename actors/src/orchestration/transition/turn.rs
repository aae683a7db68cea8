//! What a turn of the code does. Pure.

use super::super::event::{Effect, Event, Start, TurnEnd};
use super::super::history::{Action, Arrival, ChildCall, Started, TaskResult};
use super::super::payload::Payload;
use super::super::state::{Orchestration, Parent, Phase, Status};
use super::{Applied, Draft, look};
use crate::durable::Message;
use crate::job;
use crate::limits::AWAITED_NAMES_MAX;

impl Draft {
    pub(super) fn turn_ended(mut self, end: &TurnEnd) -> Applied {
        if !self.accepts(end) {
            return self.stale(end);
        }
        for TaskResult { task, .. } in &end.turn.results {
            self.close(*task);
        }
        let next = &mut self.next;
        next.turns = end.turn.number;
        next.seen = end.turn.upto;
        (next.blocked, next.panics) = (None, 0);
        next.version.clone_from(&end.version);
        if let Some(status) = &end.custom_status {
            next.custom_status = Some(status.clone()).filter(|status| !status.is_none());
        }
        if end.span.is_some() {
            next.span.clone_from(&end.span);
        }
        next.awaited.clone_from(&end.awaited);
        next.awaited.truncate(AWAITED_NAMES_MAX);
        let mut calls = Vec::new();
        for action in &end.turn.actions {
            self.act(action, end.detached, &mut calls);
        }
        if let Some(Action::ContinueAsNew { input, version, carried }) = end.turn.actions.last() {
            // Activities of such a turn are not begun: nobody would hear of them.
            if !end.detached {
                self.cancel_work();
            }
            return self.continue_as_new(input, version.as_ref(), carried);
        }
        if !calls.is_empty() {
            let execution = self.next.execution;
            self.effects.insert(0, Effect::StartActivities { execution, calls });
        }
        self.turn = Some(end.turn.clone());
        self.step()
    }

    /// Whether it is the next turn, taken with a true view of what there was to see.
    fn accepts(&self, end: &TurnEnd) -> bool {
        let next = &self.next;
        let begins_anew = matches!(end.turn.actions.last(), Some(Action::ContinueAsNew { .. }));
        next.phase == Phase::Running
            && end.execution == next.execution
            && end.turn.number == next.turns + 1
            && end.turn.upto <= next.arrived
            // What arrived meanwhile must not be lost with the old history.
            && (!begins_anew || end.turn.upto == next.arrived)
            && end.turn.results.iter().all(|result| next.activities.contains(result.task))
    }

    /// The turn did not happen; what came of activities did.
    fn stale(self, end: &TurnEnd) -> Applied {
        let look = self.next.may_turn().then(|| look(&self.next));
        let mut step = self.tasks_ended(end.execution, &end.turn.results)?;
        step.effects.insert(0, Effect::Forget);
        step.effects.extend(look);
        Ok(step)
    }

    fn act(&mut self, action: &Action, detached: bool, calls: &mut Vec<super::super::history::ActivityCall>) {
        match action {
            Action::ScheduleActivity(call) => {
                self.next.activities.insert(call.task);
                calls.push(call.as_ref().clone());
            }
            Action::CreateTimer { task, fire_at } => drop(self.next.timers.insert(*task, *fire_at)),
            Action::StartChild(call) => {
                self.next.children.insert(call.task);
                if self.next.child(call.task) != call.instance {
                    self.next.named_children.insert(call.task, call.instance);
                }
                let event = Event::StartRequested(Box::new(self.child_start(call)));
                self.outbox.push(Message::to::<Orchestration>(call.instance, &event));
            }
            Action::SubmitJob(call) => {
                self.next.jobs.insert(call.task, call.job);
                let submitted = job::event::Submitted {
                    spec: call.spec.clone(),
                    vault: call.vault.clone(),
                    claim: None,
                    parent: Some(self.as_parent(call.task).into()),
                };
                let event = job::event::Event::Submitted(Box::new(submitted));
                self.outbox.push(Message::to::<job::state::Job>(call.job, &event));
            }
            Action::SendEvent { instance, name, data, .. } => {
                let (name, data) = (name.clone(), data.clone());
                let event = Event::EventRaised { name, data, keep_until: None };
                self.outbox.push(Message::to::<Orchestration>(*instance, &event));
            }
            Action::Terminate { instance, reason, recursive, .. } => {
                let event = Event::TerminateRequested { reason: reason.clone(), recursive: *recursive };
                self.outbox.push(Message::to::<Orchestration>(*instance, &event));
            }
            Action::MessageEntity(call) => self.message_entity(call),
            Action::Cancel { task } => self.cancel_task(*task, calls),
            Action::Complete(outcome) if detached => self.complete_detached(outcome),
            Action::Complete(outcome) => {
                // What was asked for in the same breath is not begun.
                calls.clear();
                self.complete(outcome);
            }
            Action::ContinueAsNew { .. } | Action::Refuse { .. } => {}
        }
    }

    /// How a child is started.
    pub(super) fn child_start(&self, call: &ChildCall) -> Start {
        Start {
            name: call.name.clone(),
            version: call.version.clone(),
            input: call.input.clone(),
            tags: if call.tags.is_empty() { self.next.tags.clone() } else { call.tags.clone() },
            start_at: None,
            parent: Some(self.as_parent(call.task)),
            parent_name: Some(self.next.name.clone()),
            schedule: None,
            trigger: None,
            trace: call.trace.clone(),
            // One of a former attempt, or of a former execution of the same code.
            replaces: vec![Status::Completed, Status::Failed, Status::Terminated],
        }
    }

    fn as_parent(&self, task: u64) -> Parent {
        Parent { instance: self.next.id, execution: self.next.execution, task }
    }

    /// The code waits no longer: what runs is stopped, and what comes of it is of no interest. Children go on.
    fn cancel_task(&mut self, task: u64, calls: &mut Vec<super::super::history::ActivityCall>) {
        calls.retain(|call| call.task != task);
        self.next.timers.remove(&task);
        self.let_go_of(task);
        if let Some(job) = self.next.jobs.remove(&task) {
            self.outbox.push(Message::to::<job::state::Job>(job, &job::event::Event::CancelRequested));
        } else if self.next.activities.contains(task) {
            let execution = self.next.execution;
            self.effects.push(Effect::CancelActivities { execution, tasks: vec![task] });
        }
        self.close(task);
    }

    fn continue_as_new(
        mut self,
        input: &Payload,
        version: Option<&String>,
        carried: &[(String, Payload)],
    ) -> Applied {
        self.unlock_all();
        self.next.execution += 1;
        self.begin();
        self.next.awaited.clear();
        let started = Started {
            name: self.next.name.clone(),
            version: version.cloned().or_else(|| self.next.version.clone()),
            input: input.clone(),
            trace: None,
        };
        self.next.version.clone_from(&started.version);
        self.effects.push(Effect::Forget);
        let raised = carried.iter().cloned().map(|(name, data)| Arrival::EventRaised { name, data });
        self.arrive([Arrival::Started(Box::new(started))].into_iter().chain(raised).collect());
        self.step()
    }
}
