//! How a failed instance goes on from before its failure. Pure.

use std::sync::Arc;

use super::super::entity::EntityRequest;
use super::super::event::{Effect, Event, OpenTasks};
use super::super::history::{Arrival, Note, Rewind};
use super::super::state::{Orchestration, Phase};
use super::{Applied, Draft};
use crate::durable::{Change, Message, Step};
use crate::job;

impl Draft {
    pub(super) fn rewind(mut self, reason: Option<String>) -> Applied {
        let Phase::Failed { failure } = self.next.phase.clone() else {
            return self.conflict("only a failed one can be rewound");
        };
        self.next.phase = Phase::Rewinding { reason: reason.clone(), failure };
        self.next.finished_at = None;
        self.effects.push(Effect::PlanRewind { reason });
        let change = Change::Next(Arc::new(self.next), None);
        Ok(Step { change, effects: self.effects, outbox: self.outbox })
    }

    pub(super) fn rewound(
        mut self,
        revision: u64,
        rewind: &Rewind,
        open: &OpenTasks,
        arrivals: &[Arrival],
    ) -> Applied {
        let Phase::Rewinding { reason, .. } = &self.next.phase else { return Ok(Step::unchanged(vec![])) };
        if revision != self.next.revision {
            // Something happened meanwhile.
            return Ok(Step::unchanged(vec![Effect::PlanRewind { reason: reason.clone() }]));
        }
        let unanswered = std::mem::take(&mut self.next.calls);
        self.drop_tasks();
        let next = &mut self.next;
        next.phase = Phase::Running;
        (next.turns, next.seen, next.arrived) = (rewind.from_turn - 1, rewind.upto, rewind.upto);
        (next.blocked, next.panics) = (None, 0);
        next.rewinds += 1;
        next.activities.extend(open.activities.iter().copied());
        next.timers.extend(open.timers.iter().copied());
        next.children.extend(open.children.iter().map(|call| call.task));
        next.named_children.extend(open.children.iter().map(|call| (call.task, call.instance)));
        next.jobs.extend(open.jobs.iter().copied());
        for task in &rewind.reopened {
            if let Some(job) = next.jobs.get(task) {
                self.outbox.push(Message::to::<job::state::Job>(*job, &job::event::Event::RetryRequested));
            }
        }
        for call in open.children.iter().filter(|call| rewind.reopened.contains(&call.task)) {
            let start = Some(Box::new(self.child_start(call)));
            let event = Event::RewindRequested { reason: rewind.reason.clone(), start };
            self.outbox.push(Message::to::<Orchestration>(call.instance, &event));
        }
        for call in &open.entities {
            match call.request {
                EntityRequest::Call { .. } if unanswered.contains(call.task) => {
                    self.next.calls.insert(call.task)
                }
                // What failed is called again; a lock was given back with the failure.
                _ => self.message_entity(call),
            }
        }
        self.note = Some(Note::Rewound(rewind.clone()));
        self.effects.push(Effect::Forget);
        if !open.activities.is_empty() {
            self.effects.push(Effect::RecoverActivities { execution: self.next.execution });
        }
        self.arrive(arrivals.to_vec());
        self.step()
    }
}
