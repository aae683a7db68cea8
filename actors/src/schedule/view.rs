//! A schedule as the public contract shows it. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::plan::Plan;
use super::spec::Spec;
use super::state::{Fire, Origin, Outcome, Phase, Run, Schedule};
use crate::array::ArrayId;
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::job::view::JobState;
use crate::limits::SCHEDULE_UPCOMING;
use crate::orchestration::InstanceId;

/// The states of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleState {
    /// It fires at its times.
    Active,
    /// It fires only when it is triggered.
    Paused,
    /// It has no more times.
    Finished,
    /// Its supervisor kept failing; declare it again to have it tried.
    Quarantined,
}

/// One schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: ScheduleState,
    /// Who declared it.
    pub origin: Origin,
    /// The spec; secrets are `null`.
    #[schema(value_type = Spec)]
    pub spec: Arc<Spec>,
    /// Counts the declarations that changed something.
    pub generation: u64,
    /// When it was first declared.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last declared.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// The next times, soonest first; of a paused one those that it would have.
    pub next: Vec<UpcomingView>,
    /// What it started and what is not over.
    pub running: u64,
    /// Fires that wait for the end of what runs.
    pub queued: u64,
    /// How many fires started something.
    pub started: u64,
    /// How many fires started nothing.
    pub skipped: u64,
    /// How many times were missed and not made up for.
    pub missed: u64,
    /// The last fires, newest first, and all that wait or run.
    pub fires: Vec<FireView>,
    /// What it does now, in a sentence.
    pub message: String,
}

/// A time of a schedule that comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ScheduleTime)]
pub struct UpcomingView {
    /// The time.
    #[schema(value_type = String, format = DateTime)]
    pub scheduled_at: Timestamp,
    /// When the schedule fires for it: later by its jitter.
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
    /// What the clock shows at that time in the schedule's time zone, with its offset.
    pub local: String,
}

/// The times of a schedule that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SchedulePreview)]
pub struct Preview {
    /// Soonest first.
    pub next: Vec<UpcomingView>,
}

/// Where a fire stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FireState {
    /// It waits for the end of what runs.
    Queued,
    /// What it started is not over.
    Running,
    /// What it started was told to stop.
    Stopping,
    /// What it started ended well.
    Succeeded,
    /// What it started failed.
    Failed,
    /// What it started was cancelled.
    Cancelled,
    /// It started nothing.
    Skipped,
}

/// A fire of a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ScheduleFire)]
pub struct FireView {
    /// Which, from 1.
    pub number: u64,
    /// The time that it is for; of a triggered one when it was triggered.
    #[schema(value_type = String, format = DateTime)]
    pub scheduled_at: Timestamp,
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    pub fired_at: Timestamp,
    /// It came late, because nobody was there at its time.
    pub past_due: bool,
    /// Somebody triggered it.
    pub triggered: bool,
    /// Where it stands.
    pub state: FireState,
    /// The job that it submitted.
    #[schema(value_type = Option<String>)]
    pub job: Option<JobId>,
    /// The array that it submitted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub array: Option<ArrayId>,
    /// The instance that it started.
    #[schema(value_type = Option<String>)]
    pub instance: Option<InstanceId>,
    /// When what it started was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// How it ended, or why it started nothing.
    pub message: Option<String>,
}

impl Schedule {
    /// The schedule in the shape of the public contract.
    pub fn view(&self) -> ScheduleView {
        let given = self.given();
        ScheduleView {
            name: self.id.to_string(),
            state: match (&self.phase, self.next) {
                (Phase::Quarantined { .. }, _) => ScheduleState::Quarantined,
                (_, None) => ScheduleState::Finished,
                (Phase::Active, _) => ScheduleState::Active,
                (Phase::Paused { .. }, _) => ScheduleState::Paused,
            },
            origin: given.origin,
            spec: Arc::clone(&given.spec),
            generation: self.generation,
            created_at: self.created_at,
            updated_at: self.updated_at,
            next: self.plan().map(|plan| plan.upcoming(self.settled, SCHEDULE_UPCOMING)).unwrap_or_default(),
            running: self.running() as u64,
            queued: self.queued() as u64,
            started: self.started,
            skipped: self.skipped,
            missed: self.missed,
            fires: self.fires.iter().rev().map(Fire::view).collect(),
            message: super::explain::sentence(self),
        }
    }
}

impl Plan {
    /// The first times behind `after`.
    pub fn upcoming(&self, after: Timestamp, count: usize) -> Vec<UpcomingView> {
        let times = std::iter::successors(self.next_after(after), |at| self.next_after(*at));
        let view = |scheduled_at| UpcomingView {
            scheduled_at,
            due_at: self.due_at(scheduled_at),
            local: self.local(scheduled_at),
        };
        times.take(count).map(view).collect()
    }
}

impl Fire {
    /// The fire in the shape of the public contract.
    pub fn view(&self) -> FireView {
        let (mut job, mut instance, mut array) = (None, None, None);
        match self.run() {
            Some(Run::Job(id)) => job = Some(id),
            Some(Run::Instance(id)) => instance = Some(id),
            Some(Run::Array(id)) => array = Some(id),
            None => {}
        }
        let (state, finished_at, message) = match &self.outcome {
            Outcome::Queued => (FireState::Queued, None, None),
            Outcome::Running { stopping: false, .. } => (FireState::Running, None, None),
            Outcome::Running { stopping: true, .. } => (FireState::Stopping, None, None),
            Outcome::Skipped { reason } => (FireState::Skipped, None, Some(reason.sentence().to_owned())),
            Outcome::Ended { end, at, .. } => {
                let state = match end.state {
                    JobState::Succeeded => FireState::Succeeded,
                    JobState::Cancelled => FireState::Cancelled,
                    _ => FireState::Failed,
                };
                (state, Some(*at), end.message.clone())
            }
        };
        FireView {
            number: self.number,
            scheduled_at: self.scheduled_at,
            fired_at: self.fired_at,
            past_due: self.past_due,
            triggered: self.triggered,
            state,
            job,
            array,
            instance,
            finished_at,
            message,
        }
    }
}
