//! How an instance ends, and what becomes of what it had started. Pure.

use super::super::event::{Effect, Event, TriggerLink};
use super::super::failure::{Failure, kinds};
use super::super::history::{Note, Outcome};
use super::super::id::InstanceId;
use super::super::state::{Orchestration, Phase};
use super::{Applied, Draft, child_ended};
use crate::durable::{Message, Step};
use crate::job;
use crate::job::view::JobState;
use crate::limits::SCHEDULE_MESSAGE_CHARS_MAX;
use crate::schedule::{self, ScheduleId};
use crate::trigger;

impl Draft {
    /// The code returned.
    pub(super) fn complete(&mut self, outcome: &Outcome) {
        self.cancel_work();
        self.unlock_all();
        let calls = std::mem::take(&mut self.next.calls);
        self.drop_tasks();
        if matches!(outcome, Outcome::Failed(_)) {
            self.next.calls = calls;
        }
        self.next.finished_at = Some(self.now);
        self.next.awaited.clear();
        self.next.phase = match outcome {
            Outcome::Completed(_) => Phase::Completed,
            Outcome::Failed(failure) => Phase::Failed { failure: failure.clone() },
        };
        self.tell_parent(outcome.clone());
    }

    /// The code returned, and its activities go on by themselves.
    pub(super) fn complete_detached(&mut self, outcome: &Outcome) {
        let activities = std::mem::take(&mut self.next.activities);
        self.complete(outcome);
        self.next.activities = activities;
    }

    /// It fails, and not by what its code returned.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.note = Some(Note::Failed(failure.clone()));
        self.complete(&Outcome::Failed(failure));
    }

    pub(super) fn terminate(mut self, reason: Option<String>, recursive: bool) -> Applied {
        match self.next.phase {
            Phase::Terminating { .. } => return Ok(Step::unchanged(vec![])),
            Phase::Completed | Phase::Failed { .. } | Phase::Terminated { .. } => {
                return self.conflict("it is over; there is nothing to terminate");
            }
            _ => {}
        }
        self.cancel_work();
        self.effects.push(Effect::Forget);
        self.next.timers.clear();
        self.next.calls = Default::default();
        self.next.awaited.clear();
        self.next.blocked = None;
        if recursive {
            let event = Event::TerminateRequested { reason: reason.clone(), recursive };
            let children: Vec<_> = self.next.children.iter().map(|task| self.next.child(task)).collect();
            self.outbox.extend(children.into_iter().map(|child| Message::to::<Orchestration>(child, &event)));
        } else {
            self.next.children = Default::default();
            self.next.named_children.clear();
        }
        self.note = Some(Note::Terminating { reason: reason.clone() });
        self.next.phase = Phase::Terminating { reason, recursive };
        if !self.next.has_open_work() {
            self.finish_termination();
        }
        self.step()
    }

    /// It is terminated when nothing that it started runs any more, and not before.
    pub(super) fn finish_termination(&mut self) {
        let Phase::Terminating { reason, .. } = self.next.phase.clone() else { return };
        if self.next.has_open_work() {
            return;
        }
        // Not before: what it started may need what it has locked.
        self.unlock_all();
        self.drop_tasks();
        let message = reason.clone().unwrap_or_else(|| "terminated on request".to_owned());
        self.tell_parent(Outcome::Failed(Failure::new(kinds::TERMINATED, message)));
        self.next.finished_at = Some(self.now);
        self.next.phase = Phase::Terminated { reason };
        self.note = Some(Note::Terminated);
    }

    /// Asks for the end of what runs; what is open stays open until it has ended.
    pub(super) fn cancel_work(&mut self) {
        if !self.next.activities.is_empty() {
            let (execution, tasks) = (self.next.execution, self.next.activities.iter().collect());
            self.effects.push(Effect::CancelActivities { execution, tasks });
        }
        for job in self.next.jobs.values() {
            self.outbox.push(Message::to::<job::state::Job>(*job, &job::event::Event::CancelRequested));
        }
    }

    pub(super) fn tell_parent(&mut self, outcome: Outcome) {
        let told = starter(self.next.schedule, self.next.trigger);
        self.outbox.extend(told.map(|told| run_ended(told, self.next.id, &outcome)));
        self.outbox.extend(self.next.parent.as_ref().map(|parent| child_ended(**parent, outcome)));
    }
}

/// Who started an instance and is told its end.
pub(super) enum Starter {
    Schedule(ScheduleId),
    Trigger(TriggerLink),
}

/// Who that is, where it is one of these.
pub(super) fn starter(schedule: Option<ScheduleId>, trigger: Option<TriggerLink>) -> Option<Starter> {
    schedule.map(Starter::Schedule).or_else(|| trigger.map(Starter::Trigger))
}

/// The end of an instance, to the schedule or the trigger that started it.
pub(super) fn run_ended(told: Starter, instance: InstanceId, outcome: &Outcome) -> Message {
    let (state, message) = match outcome {
        Outcome::Completed(_) => (JobState::Succeeded, None),
        Outcome::Failed(failure) if failure.kind == kinds::TERMINATED => {
            (JobState::Cancelled, Some(failure.message.clone()))
        }
        Outcome::Failed(failure) => (JobState::Failed, Some(failure.message.clone())),
    };
    let message = message.map(|message| message.chars().take(SCHEDULE_MESSAGE_CHARS_MAX).collect());
    let (run, end) =
        (Box::new(schedule::Run::Instance(instance)), Box::new(schedule::End { state, message }));
    match told {
        Starter::Schedule(id) => {
            Message::to::<schedule::Schedule>(id, &schedule::Event::RunEnded { run, end })
        }
        Starter::Trigger(TriggerLink { trigger, item }) => {
            Message::to::<trigger::Trigger>(trigger, &trigger::Event::RunEnded { item, run, end })
        }
    }
}
