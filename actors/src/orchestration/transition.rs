//! The rules of an instance: what each event does in each phase. Pure.
//!
//! What a turn does is in [`turn`], what becomes of code that cannot have one in [`code`], how an instance ends in
//! [`ending`], and how a failed one goes on in [`rewind`].

mod code;
mod ending;
mod entities;
mod rewind;
mod turn;

use std::sync::Arc;

use super::event::{Effect, Event, Rejected, Start, TurnRequest};
use super::failure::{Failure, kinds};
use super::history::{Arrival, Entry, Note, Outcome, TaskResult, Turn};
use super::id::{InstanceId, TaskId};
use super::state::{Orchestration, Phase};
use super::tasks::TaskSet;
use crate::clock::Timestamp;
use crate::durable::{Change, Message, Step};
use crate::limits::{ACTIVITY_RESTARTS_MAX, EVENTS_AWAITING_START_MAX};

/// What an event comes to.
pub(super) type Applied = Result<Step<Orchestration>, Rejected>;

/// An instance in the middle of a transition.
struct Draft {
    next: Orchestration,
    now: Timestamp,
    arrivals: Vec<Arrival>,
    turn: Option<Turn>,
    note: Option<Note>,
    effects: Vec<Effect>,
    outbox: Vec<Message>,
}

/// What `event` does where there is no instance.
pub(super) fn create(id: InstanceId, event: &Event, now: Timestamp) -> Option<Applied> {
    let nothing = Orchestration {
        id,
        revision: 0,
        events: 0,
        name: String::new(),
        version: None,
        tags: std::collections::BTreeMap::new(),
        parent: None,
        parent_name: None,
        schedule: None,
        trigger: None,
        created_at: now,
        updated_at: now,
        finished_at: None,
        execution: 0,
        started: 0,
        began: 1,
        phase: Phase::Awaited { until: now, events: vec![] },
        arrived: 0,
        seen: 0,
        turns: 0,
        activities: TaskSet::default(),
        restarts: std::collections::BTreeMap::new(),
        timers: std::collections::BTreeMap::new(),
        children: TaskSet::default(),
        named_children: std::collections::BTreeMap::new(),
        jobs: std::collections::BTreeMap::new(),
        calls: TaskSet::default(),
        sections: std::collections::BTreeMap::new(),
        span: None,
        custom_status: None,
        awaited: vec![],
        blocked: None,
        rewinds: 0,
        panics: 0,
    };
    match event {
        Event::StartRequested(_) | Event::EventRaised { keep_until: Some(_), .. } => {
            Some(apply(&nothing, event, now))
        }
        Event::RewindRequested { start: Some(start), .. } => {
            Some(apply(&nothing, &Event::StartRequested(start.clone()), now))
        }
        _ => None,
    }
}

/// What `event` does to an instance.
pub(super) fn apply(state: &Orchestration, event: &Event, now: Timestamp) -> Applied {
    let draft = Draft::of(state, now);
    match event {
        Event::StartRequested(start) => draft.start(start),
        Event::EventRaised { name, data, keep_until } => {
            draft.raised(Arrival::EventRaised { name: name.clone(), data: data.clone() }, *keep_until)
        }
        Event::Ticked => draft.ticked(),
        Event::PurgeRequested if state.status().is_none_or(super::state::Status::is_terminal) => {
            Ok(Step { change: Change::Purge, effects: vec![], outbox: vec![] })
        }
        _ if state.status().is_none() => Err(Rejected::NotStarted),
        Event::TurnEnded(end) => draft.turn_ended(end),
        Event::TurnBlocked { execution, turn, reason } => draft.turn_blocked(*execution, *turn, reason),
        Event::TurnPanicked { execution, turn, message } => draft.turn_panicked(*execution, *turn, message),
        Event::TasksEnded { execution, results } => draft.tasks_ended(*execution, results),
        Event::ActivitiesRestarting { execution, tasks } => draft.activities_restarting(*execution, tasks),
        Event::ChildEnded { execution, task, outcome } | Event::JobEnded { execution, task, outcome } => {
            draft.tasks_ended(*execution, &[TaskResult { task: *task, outcome: outcome.clone() }])
        }
        Event::EntityAnswered { created_at, execution, task, request_id, outcome } => {
            draft.entity_answered((*created_at, *execution), *task, request_id, outcome)
        }
        Event::LockGranted { created_at, execution, task, rewinds, section } => {
            draft.lock_granted((*created_at, *execution), (*task, *rewinds), section)
        }
        Event::SuspendRequested { reason } => draft.suspend(reason.clone()),
        Event::ResumeRequested { reason } => draft.go_on(reason.clone()),
        Event::TerminateRequested { reason, recursive } => draft.terminate(reason.clone(), *recursive),
        Event::RewindRequested { reason, .. } => draft.rewind(reason.clone()),
        Event::RewindPlanned { revision, rewind, open, arrivals } => {
            draft.rewound(*revision, rewind, open, arrivals)
        }
        Event::ReleaseRequested => draft.release(),
        Event::PurgeRequested => draft.conflict("it is not over; terminate it first"),
        Event::Quarantined { reason } => draft.quarantined(reason),
    }
}

/// What must hold in the world in this state.
pub(super) fn resume(state: &Orchestration) -> Vec<Effect> {
    let execution = state.execution;
    let recover = state.runnable().next().map(|_| Effect::RecoverActivities { execution });
    match &state.phase {
        Phase::Running => {
            // New code may be there since it was blocked.
            let looks = state.arrived > state.seen || state.blocked.is_some();
            recover.into_iter().chain(looks.then(|| look(state))).collect()
        }
        Phase::Suspended { .. } => recover.into_iter().collect(),
        Phase::Terminating { .. } if !state.activities.is_empty() => {
            vec![Effect::CancelActivities { execution, tasks: state.activities.iter().collect() }]
        }
        Phase::Rewinding { reason, .. } => vec![Effect::PlanRewind { reason: reason.clone() }],
        _ => recover.into_iter().collect(),
    }
}

/// A turn, with nothing fresh at hand.
fn look(state: &Orchestration) -> Effect {
    let (execution, before) = (state.execution, state.arrived);
    Effect::RunTurn(Box::new(TurnRequest { execution, before, fresh: vec![] }))
}

impl Draft {
    fn of(state: &Orchestration, now: Timestamp) -> Self {
        Self {
            next: state.clone(),
            now,
            arrivals: vec![],
            turn: None,
            note: None,
            effects: vec![],
            outbox: vec![],
        }
    }

    fn conflict(self, message: &'static str) -> Applied {
        match self.next.status() {
            Some(status) => Err(Rejected::Conflict { status, message }),
            None => Err(Rejected::NotStarted),
        }
    }

    /// The step: one history entry with all that was collected.
    fn step(mut self) -> Applied {
        let entry = Entry {
            first: self.next.events + 1,
            at: self.now,
            execution: self.next.execution,
            arrivals: self.arrivals,
            turn: self.turn,
            note: self.note,
        };
        self.next.revision += 1;
        self.next.events += entry.len();
        self.next.updated_at = self.now;
        Ok(Step {
            change: Change::Next(Arc::new(self.next), Some(entry)),
            effects: self.effects,
            outbox: self.outbox,
        })
    }

    /// The step without a history entry: bookkeeping.
    fn unrecorded(self) -> Applied {
        let change = Change::Next(Arc::new(self.next), None);
        Ok(Step { change, effects: self.effects, outbox: self.outbox })
    }

    /// Records what arrived, and lets the code see it where it may.
    fn arrive(&mut self, arrivals: Vec<Arrival>) {
        if arrivals.is_empty() {
            return;
        }
        let before = self.next.arrived;
        self.next.arrived += arrivals.len() as u64;
        if self.next.may_turn() {
            let request = TurnRequest { execution: self.next.execution, before, fresh: arrivals.clone() };
            self.effects.push(Effect::RunTurn(Box::new(request)));
        }
        self.arrivals.extend(arrivals);
    }

    /// Gives the code a turn, should there be something that it has not seen.
    fn look(&mut self) {
        if self.next.may_turn() && self.next.arrived > self.next.seen {
            self.effects.push(look(&self.next));
        }
    }

    fn start(mut self, start: &Start) -> Applied {
        let early = match std::mem::replace(&mut self.next.phase, Phase::Running) {
            Phase::Awaited { events, .. } => events,
            phase => {
                self.next.phase = phase;
                if let Err(rejected) = self.make_way(start) {
                    return self.refuse_start(start, rejected);
                }
                vec![]
            }
        };
        let next = &mut self.next;
        next.name.clone_from(&start.name);
        next.version.clone_from(&start.version);
        next.tags.clone_from(&start.tags);
        next.parent = start.parent.map(Box::new);
        next.parent_name.clone_from(&start.parent_name);
        next.schedule = start.schedule;
        next.trigger = start.trigger;
        next.created_at = self.now;
        next.finished_at = None;
        next.execution += 1;
        next.started = next.execution;
        next.phase = Phase::Running;
        (next.custom_status, next.span, next.blocked, next.panics) = (None, None, None, 0);
        next.awaited.clear();
        self.begin();
        if let Some(start_at) = start.start_at.filter(|at| *at > self.now) {
            self.next.phase = Phase::Scheduled { start_at };
            self.note = Some(Note::Scheduled { start_at });
        }
        let (name, version, input) = (start.name.clone(), start.version.clone(), start.input.clone());
        let started = super::history::Started { name, version, input, trace: start.trace.clone() };
        let mut arrivals = vec![Arrival::Started(Box::new(started))];
        arrivals.extend(early.into_iter().map(|(name, data)| Arrival::EventRaised { name, data }));
        self.arrive(arrivals);
        self.step()
    }

    /// A new execution has an empty history and nothing open.
    fn begin(&mut self) {
        let next = &mut self.next;
        next.began = next.revision + 1;
        (next.arrived, next.seen, next.turns, next.rewinds) = (0, 0, 0, 0);
        self.drop_tasks();
    }

    /// Nothing is open any more.
    fn drop_tasks(&mut self) {
        let next = &mut self.next;
        next.activities = TaskSet::default();
        next.children = TaskSet::default();
        next.restarts.clear();
        next.timers.clear();
        next.named_children.clear();
        next.jobs.clear();
        next.calls = TaskSet::default();
        next.sections.clear();
    }

    /// An instance that is there gives way to a new one where the starter said so.
    fn make_way(&mut self, start: &Start) -> Result<(), Rejected> {
        let Some(status) = self.next.status() else { return Ok(()) };
        if !start.replaces.contains(&status) {
            return Err(Rejected::Exists(status));
        }
        let failure = Failure::new(kinds::TERMINATED, "another instance was started with the same id");
        if !status.is_terminal() {
            self.tell_parent(Outcome::Failed(failure));
        }
        self.cancel_work();
        self.unlock_all();
        self.effects.push(Effect::Forget);
        Ok(())
    }

    /// A parent, a schedule or a trigger must be told: nobody else hears of the refusal.
    fn refuse_start(self, start: &Start, rejected: Rejected) -> Applied {
        if let Some(told) = ending::starter(start.schedule, start.trigger) {
            let failure =
                Failure::new(kinds::EXISTS, format!("there is an instance `{}` already", self.next.id));
            let mut step = Step::unchanged(vec![]);
            step.outbox.push(ending::run_ended(told, self.next.id, &Outcome::Failed(failure)));
            return Ok(step);
        }
        let Some(parent) = start.parent else { return Err(rejected) };
        if self.next.parent.as_deref() == Some(&parent) {
            // The same start once more.
            return Ok(Step::unchanged(vec![]));
        }
        let message = format!("there is an instance `{}` already; give the child another id", self.next.id);
        let outcome = Outcome::Failed(Failure::new(kinds::EXISTS, message).non_retriable());
        let mut step = Step::unchanged(vec![]);
        step.outbox.push(child_ended(parent, outcome));
        Ok(step)
    }

    fn raised(mut self, arrival: Arrival, keep_until: Option<Timestamp>) -> Applied {
        if let Phase::Awaited { until, events } = &mut self.next.phase {
            let (Some(keep_until), Arrival::EventRaised { name, data }) = (keep_until, arrival) else {
                return Err(Rejected::NotStarted);
            };
            if events.len() >= EVENTS_AWAITING_START_MAX {
                return Err(Rejected::TooManyEvents);
            }
            events.push((name, data));
            *until = keep_until.max(*until);
            return Ok(Step {
                change: Change::Next(Arc::new(self.next), None),
                effects: vec![],
                outbox: vec![],
            });
        }
        match self.next.phase {
            Phase::Completed | Phase::Failed { .. } | Phase::Terminated { .. } => {
                self.conflict("it is over and takes no more events")
            }
            Phase::Terminating { .. } => self.conflict("it is being terminated and takes no more events"),
            _ => {
                self.arrive(vec![arrival]);
                self.step()
            }
        }
    }

    fn ticked(mut self) -> Applied {
        let now = self.now;
        match &self.next.phase {
            Phase::Awaited { until, .. } if *until <= now => {
                return Ok(Step { change: Change::Purge, effects: vec![], outbox: vec![] });
            }
            Phase::Scheduled { start_at } if *start_at <= now => {
                self.next.phase = Phase::Running;
                self.look();
                return self.step();
            }
            Phase::Running | Phase::Suspended { .. } => {}
            _ => return Ok(Step::unchanged(vec![])),
        }
        let mut due: Vec<(Timestamp, TaskId)> =
            self.next.timers.iter().map(|(task, at)| (*at, *task)).collect();
        due.retain(|(at, _)| *at <= now);
        if due.is_empty() {
            return Ok(Step::unchanged(vec![]));
        }
        due.sort_unstable();
        for (_, task) in &due {
            self.next.timers.remove(task);
        }
        self.arrive(due.into_iter().map(|(_, task)| Arrival::TimerFired { task }).collect());
        self.step()
    }

    fn tasks_ended(mut self, execution: u32, results: &[TaskResult]) -> Applied {
        if execution != self.next.execution {
            return Ok(Step::unchanged(vec![]));
        }
        let open: Vec<TaskResult> =
            results.iter().filter(|result| self.close(result.task)).cloned().collect();
        if open.is_empty() {
            return Ok(Step::unchanged(vec![]));
        }
        match self.next.phase {
            // They were left to themselves, and nobody waits for them.
            Phase::Completed | Phase::Failed { .. } | Phase::Terminated { .. } => return self.unrecorded(),
            Phase::Terminating { .. } => {
                self.finish_termination();
                if self.note.is_none() {
                    // Nobody reads what came of what was to end anyway.
                    return self.unrecorded();
                }
            }
            _ => self.arrive(open.into_iter().map(Arrival::TaskEnded).collect()),
        }
        self.step()
    }

    /// Takes a task out of what is open; tells whether it was.
    fn close(&mut self, task: TaskId) -> bool {
        let next = &mut self.next;
        next.restarts.remove(&task);
        next.named_children.remove(&task);
        // No short circuit: a number is in one of them.
        next.activities.remove(task) | next.children.remove(task) | next.jobs.remove(&task).is_some()
    }

    fn activities_restarting(mut self, execution: u32, tasks: &[TaskId]) -> Applied {
        let open: Vec<TaskId> =
            tasks.iter().copied().filter(|task| self.next.activities.contains(*task)).collect();
        if execution != self.next.execution || open.is_empty() {
            return Ok(Step::unchanged(vec![]));
        }
        for task in &open {
            let count = self.next.restarts.entry(*task).or_default();
            *count += 1;
            if *count == ACTIVITY_RESTARTS_MAX + 1 {
                self.note = Some(Note::ActivityParked { task: *task });
            }
        }
        if self.next.status().is_some_and(super::state::Status::is_terminal) {
            return self.unrecorded();
        }
        self.note.get_or_insert(Note::ActivitiesRestarted { tasks: open });
        self.step()
    }

    fn suspend(mut self, reason: Option<String>) -> Applied {
        match self.next.phase {
            Phase::Suspended { .. } => return Ok(Step::unchanged(vec![])),
            Phase::Running => {}
            Phase::Scheduled { .. } => return self.conflict("it has not started; terminate it, or wait"),
            _ => return self.conflict("it does not run; there is nothing to suspend"),
        }
        self.next.phase = Phase::Suspended { reason: reason.clone() };
        self.note = Some(Note::Suspended { reason });
        self.step()
    }

    fn go_on(mut self, reason: Option<String>) -> Applied {
        match self.next.phase {
            Phase::Suspended { .. } => self.next.phase = Phase::Running,
            Phase::Running => return Ok(Step::unchanged(vec![])),
            _ => return self.conflict("it is not suspended"),
        }
        self.note = Some(Note::Resumed { reason });
        self.look();
        self.step()
    }

    fn release(mut self) -> Applied {
        let parked = self.next.activities.iter().any(|task| self.next.is_parked(task));
        if self.next.blocked.is_none() && !parked {
            return self.conflict("nothing of it is blocked or parked");
        }
        let was_blocked = self.next.blocked.take().is_some();
        self.next.restarts.clear();
        self.note = Some(Note::Released);
        if parked {
            self.effects.push(Effect::RecoverActivities { execution: self.next.execution });
        }
        if was_blocked && self.next.phase == Phase::Running {
            self.effects.push(look(&self.next));
        }
        self.step()
    }
}

/// The message to a parent that a child is over.
fn child_ended(parent: super::state::Parent, outcome: Outcome) -> Message {
    let (execution, task) = (parent.execution, parent.task);
    Message::to::<Orchestration>(parent.instance, &Event::ChildEnded { execution, task, outcome })
}

#[cfg(test)]
mod tests;
