//! Schedules: times at which a job is submitted or an orchestration started.
//!
//! A schedule is declared with its times (a cron expression in a time zone, or an interval) and with what it starts.
//! When it fires, the time is marked as settled and what it starts is put into the outbox in one commit: whatever dies
//! in between, nothing is started twice and nothing is lost. What was started reports its end, which is what the
//! rules about overlaps look at.
//!
//! Responsible for: the next time, what becomes of times that were missed, overlaps, the history of fires. Not
//! responsible for: running what it starts, and the clock (`durable::timers` wakes a schedule when it is due).
//!
//! Invariants:
//! - a time is settled once, by whatever clock: the clock going back, a restart or a crash does not bring it again;
//! - what is started has an id that is made of the schedule, its generation and the time;
//! - what runs, what waits and what is shown is bounded, whatever happens;
//! - the next time is stored, so that another edition of the time zones never leaves a timer behind.

mod calendar;
mod cron;
mod explain;
mod id;
mod machine;
mod performer;
mod plan;
mod rules;
mod spec;
mod state;
#[cfg(test)]
mod tests;
mod validate;
mod view;

pub use id::{ParseScheduleIdError, ScheduleId};
pub use performer::SchedulePerformer;
pub use plan::{Plan, PlanError};
pub use spec::{CatchUp, Overlap, ScheduledOrchestration, Spec};
pub use state::{
    Effect, End, Event, Fire, Given, Origin, Outcome, Phase, Record, Rejected, Run, Schedule, Skip, Upcoming,
};
pub(crate) use validate::{validate, validate_orchestration, validate_times};
pub use view::{FireState, FireView, Preview, ScheduleState, ScheduleView, UpcomingView};
