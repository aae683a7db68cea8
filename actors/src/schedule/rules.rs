//! What follows from the state of a schedule: which times fire, what waits, what is started and stopped. Pure.

use std::sync::Arc;

use serde_json::json;

use super::plan::Plan;
use super::spec::{Overlap, ScheduledOrchestration};
use super::state::{Fire, Outcome, Phase, Run, Schedule, Skip, Upcoming};
use crate::array::{self, Array, ArrayId};
use crate::clock::Timestamp;
use crate::durable::{Message, Step};
use crate::id::JobId;
use crate::job;
use crate::job::parent::{Parent, ScheduleParent};
use crate::limits::{
    SCHEDULE_FIRES_KEPT, SCHEDULE_LATE_AFTER, SCHEDULE_MISSED_COUNTED_MAX, SCHEDULE_RUNS_MAX,
};
use crate::orchestration::event::{Event as OrchestrationEvent, Start};
use crate::orchestration::state::Orchestration;
use crate::orchestration::{InstanceId, Payload};

/// The label and the tag by which what a schedule started is found. Users cannot set it: its namespace is kept.
const LABEL: &str = "dogwatch.schedule";
const LABEL_AT: &str = "dogwatch.scheduled_at";
const LABEL_LATE: &str = "dogwatch.past_due";

/// A transition that is being made.
pub(super) struct Draft {
    pub(super) schedule: Schedule,
    pub(super) now: Timestamp,
    pub(super) outbox: Vec<Message>,
    pub(super) texts: Vec<String>,
    old: Schedule,
}

/// The times that are due.
struct Due {
    /// Those for which it fires, oldest first, and whether late.
    fires: Vec<(Timestamp, bool)>,
    missed: u64,
    /// The last of all.
    last: Timestamp,
}

impl Draft {
    pub(super) fn of(schedule: &Schedule, now: Timestamp) -> Self {
        Self { schedule: schedule.clone(), now, outbox: vec![], texts: vec![], old: schedule.clone() }
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.texts.push(text.into());
    }

    /// Begins what waits and may begin, and forgets what is long over.
    pub(super) fn settle(mut self) -> Step<Schedule> {
        while self.may_start_queued()
            && let Some(at) = self.schedule.fires.iter().position(|fire| fire.outcome == Outcome::Queued)
        {
            self.start(at);
        }
        let over = self.schedule.fires.iter().filter(|fire| fire.is_over()).count();
        let mut excess = over.saturating_sub(SCHEDULE_FIRES_KEPT);
        self.schedule.fires.retain(|fire| {
            let goes = excess > 0 && fire.is_over();
            excess -= usize::from(goes);
            !goes
        });
        let old = self.old.clone();
        self.step(&old)
    }

    /// Finds the next time behind what is settled.
    pub(super) fn look_ahead(&mut self) {
        let settled = self.schedule.settled;
        // What was accepted has times, unless a newer program accepted it.
        let plan = self.schedule.plan().ok();
        self.schedule.next = plan.and_then(|plan| {
            let scheduled_at = plan.next_after(settled)?;
            Some(Upcoming { scheduled_at, due_at: plan.due_at(scheduled_at) })
        });
    }

    /// Fires for what is due.
    pub(super) fn fire_due(&mut self) {
        let is_due = self.schedule.next.is_some_and(|next| next.due_at <= self.now);
        if !is_due || self.schedule.phase != Phase::Active {
            return;
        }
        if let Ok(plan) = self.schedule.plan()
            && let Some(due) = self.due(&plan)
        {
            self.schedule.settled = due.last;
            self.schedule.missed += due.missed;
            if due.missed > 0 {
                self.say(format!("missed {} of its times", due.missed));
            }
            for (scheduled_at, past_due) in due.fires {
                self.fire(scheduled_at, past_due, false);
            }
        }
        self.look_ahead();
    }

    /// The times behind what is settled for which it should have fired by now. Those that are not past due fire in any
    /// case; of the others the latest, as many as may be made up for.
    fn due(&self, plan: &Plan) -> Option<Due> {
        let (settled, now) = (self.schedule.settled, self.now);
        let catch_up = self.schedule.spec().catch_up;
        let mut due: Option<Due> = None;
        let mut at = plan.last_until(now);
        while let Some(time) = at.filter(|time| *time > settled) {
            at = plan.last_until(Timestamp::from_millis(time.as_millis() - 1));
            let due_at = plan.due_at(time);
            if due_at > now {
                continue;
            }
            let due = due.get_or_insert_with(|| Due { fires: vec![], missed: 0, last: time });
            let is_late = now.since(due_at) > SCHEDULE_LATE_AFTER;
            let is_in_time = catch_up.within.is_none_or(|within| now.since(time) <= within.as_duration());
            let has_room = due.fires.len() < usize::try_from(catch_up.max).unwrap_or(usize::MAX);
            if !is_late || (is_in_time && has_room) {
                due.fires.push((time, is_late));
                continue;
            }
            // From here on all are missed: older ones are later still.
            if let Some(count) = plan.count(settled, time) {
                due.missed = count;
                break;
            }
            due.missed += 1;
            if due.missed >= SCHEDULE_MISSED_COUNTED_MAX {
                break;
            }
        }
        if let Some(due) = &mut due {
            due.fires.reverse();
        }
        due
    }

    /// Somebody wants it to fire now.
    pub(super) fn trigger(&mut self) {
        self.fire(self.now, false, true);
    }

    fn fire(&mut self, scheduled_at: Timestamp, past_due: bool, triggered: bool) {
        let schedule = &mut self.schedule;
        schedule.number += 1;
        let (number, fired_at) = (schedule.number, self.now);
        let outcome = Outcome::Queued;
        schedule.fires.push_back(Fire { number, scheduled_at, fired_at, past_due, triggered, outcome });
        let newest = schedule.fires.len() - 1;
        // Itself among them.
        let (running, queued) = (schedule.running(), schedule.queued());
        let is_first = running == 0 && queued == 1;
        match schedule.spec().overlap {
            Overlap::Allow if running < SCHEDULE_RUNS_MAX => self.start(newest),
            Overlap::Allow => self.skip(newest, Skip::TooMany),
            _ if is_first => self.start(newest),
            Overlap::Skip => self.skip(newest, Skip::Overlap),
            Overlap::Queue => {
                let most = usize::try_from(schedule.spec().queue_max).unwrap_or(usize::MAX);
                if queued > most {
                    self.skip(newest, Skip::QueueFull);
                }
            }
            Overlap::Replace => self.replace(newest),
        }
    }

    /// What runs is stopped, and what waits gives way; the newest has its turn when nothing runs any more.
    fn replace(&mut self, newest: usize) {
        for at in 0..newest {
            match self.schedule.fires.get(at).map(|fire| fire.outcome.clone()) {
                Some(Outcome::Queued) => self.skip(at, Skip::Replaced),
                Some(Outcome::Running { run, stopping: false }) => self.stop(at, run),
                _ => {}
            }
        }
    }

    fn stop(&mut self, at: usize, run: Run) {
        self.outbox.push(match run {
            Run::Job(job) => Message::to::<job::state::Job>(job, &job::event::Event::CancelRequested),
            Run::Array(array) => Message::to::<Array>(array, &array::Event::CancelRequested),
            Run::Instance(instance) => {
                let reason =
                    Some(format!("replaced by the next fire of the schedule `{}`", self.schedule.id));
                let event = OrchestrationEvent::TerminateRequested { reason, recursive: true };
                Message::to::<Orchestration>(instance, &event)
            }
        });
        self.schedule.fires[at].outcome = Outcome::Running { run, stopping: true };
        self.say(format!("stopping {run}"));
    }

    fn skip(&mut self, at: usize, reason: Skip) {
        let fire = &mut self.schedule.fires[at];
        fire.outcome = Outcome::Skipped { reason };
        let scheduled_at = fire.scheduled_at;
        self.schedule.skipped += 1;
        self.say(format!("started nothing for {scheduled_at}: {}", reason.sentence()));
    }

    fn may_start_queued(&self) -> bool {
        if matches!(self.schedule.phase, Phase::Quarantined { .. }) {
            return false;
        }
        let running = self.schedule.running();
        match self.schedule.spec().overlap {
            Overlap::Allow => running < SCHEDULE_RUNS_MAX,
            _ => running == 0,
        }
    }

    /// Starts what the fire is for. With this commit it is on its way.
    fn start(&mut self, at: usize) {
        let given = Arc::clone(self.schedule.given());
        let fire = self.schedule.fires[at].clone();
        let run = match (&given.spec.job, &given.spec.orchestration) {
            (Some(job), _) => Some(self.submit(job, &fire)),
            (None, Some(orchestration)) => self.start_instance(orchestration, &fire).map(Run::Instance),
            (None, None) => None,
        };
        let Some(run) = run else { return self.skip(at, Skip::Unusable) };
        self.schedule.fires[at].outcome = Outcome::Running { run, stopping: false };
        self.schedule.started += 1;
        let late = if fire.past_due { ", past due" } else { "" };
        self.say(format!("started {run} for {}{late}", fire.scheduled_at));
    }

    fn submit(&mut self, spec: &job::spec::Spec, fire: &Fire) -> Run {
        let (id, given) = (self.schedule.id, Arc::clone(self.schedule.given()));
        let job = job_id(&self.schedule, fire, self.now);
        let mut spec = spec.clone();
        let array = spec.array.take();
        spec.name.get_or_insert_with(|| id.to_string());
        spec.labels.insert(LABEL.to_owned(), id.to_string());
        let parent = ScheduleParent {
            schedule: id,
            scheduled_at: fire.scheduled_at,
            past_due: fire.past_due,
            sealed_for: given.seed,
        };
        let vault = given.vault.clone();
        if let Some(array) = array {
            let fire = Some(parent);
            let given = array::Given { spec: Arc::new(spec), array, vault, claim: None, fire };
            let (id, event) = (ArrayId::new(job), array::Event::Submitted(Box::new(given)));
            self.outbox.push(Message::to::<Array>(id, &event));
            return Run::Array(id);
        }
        let event = job::event::Event::Submitted(Box::new(job::event::Submitted {
            spec: spec.into(),
            vault,
            claim: None,
            parent: Some(Parent::Schedule(parent)),
        }));
        self.outbox.push(Message::to::<job::state::Job>(job, &event));
        Run::Job(job)
    }

    fn start_instance(&mut self, orchestration: &ScheduledOrchestration, fire: &Fire) -> Option<InstanceId> {
        let id = self.schedule.id;
        let instance = instance_id(&self.schedule, &orchestration.task_hub, fire)?;
        let input = match orchestration.envelope {
            true => json!({
                "schedule": id.as_str(), "scheduled_at": fire.scheduled_at, "past_due": fire.past_due,
                "input": orchestration.input,
            }),
            false => orchestration.input.clone(),
        };
        let mut tags = orchestration.tags.clone();
        tags.insert(LABEL.to_owned(), id.to_string());
        tags.insert(LABEL_AT.to_owned(), fire.scheduled_at.to_string());
        tags.insert(LABEL_LATE.to_owned(), fire.past_due.to_string());
        let event = OrchestrationEvent::StartRequested(Box::new(Start {
            name: orchestration.name.clone(),
            version: orchestration.version.clone(),
            input: Payload::from(input),
            tags,
            start_at: None,
            parent: None,
            parent_name: None,
            schedule: Some(id),
            trigger: None,
            trace: None,
            replaces: vec![],
        }));
        self.outbox.push(Message::to::<Orchestration>(instance, &event));
        Some(instance)
    }
}

/// The id of what a fire submits: of the schedule, its generation and the time, and of a triggered one its number. It
/// sorts among other jobs by when it is submitted.
fn job_id(schedule: &Schedule, fire: &Fire, now: Timestamp) -> JobId {
    let number = if fire.triggered { fire.number } else { 0 };
    let parts = [
        schedule.id.as_str().as_bytes(),
        schedule.given().seed.as_bytes(),
        &schedule.created_at.as_millis().to_be_bytes(),
        &schedule.generation.to_be_bytes(),
        &fire.scheduled_at.as_millis().to_be_bytes(),
        &number.to_be_bytes(),
    ];
    let tail = xxhash_rust::xxh3::xxh3_128(&parts.concat()).to_be_bytes();
    JobId::made_of(now, tail.first_chunk().expect("16 bytes are more than 10"))
}

/// The same for an instance: a text that says what it is. `None` where the task hub cannot be one.
fn instance_id(schedule: &Schedule, hub: &str, fire: &Fire) -> Option<InstanceId> {
    let number = if fire.triggered { format!(":t{}", fire.number) } else { String::new() };
    let local = format!("{}:{}:{}{number}", schedule.id, schedule.generation, fire.scheduled_at);
    InstanceId::in_hub(hub, &local).ok()
}
