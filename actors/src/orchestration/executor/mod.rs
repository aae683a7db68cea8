//! What runs the code of orchestrations and activities.
//!
//! The machine decides what must happen; an [`Executor`] makes the code do it and tells what came of it. The first
//! one is [`InProcess`], which calls Rust functions.

mod activities;
mod driver;
mod hot;
mod jobs;
mod mixed;
pub mod remote;
mod resting;
mod seats;
pub(crate) mod stored;
mod trouble;

use std::fmt;
use std::sync::{Arc, OnceLock};

pub use self::driver::{InProcess, Parts};
pub use self::mixed::Mixed;
pub use self::remote::Remote;
use super::event::{Effect, Event, TurnRequest};
use super::history::ActivityCall;
use super::id::{InstanceId, TaskId};
use super::state::Orchestration;
use crate::durable::Perform;
use crate::durable::batch::Terms;
use crate::durable::host::{Host, WeakHost};
use crate::durable::shell::Answer;
use crate::store::Patience;

/// Why an instance cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// Nobody knows an orchestration of this name.
    #[error("no orchestration called `{name}` is registered; registered are: {known}")]
    Name {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// It has no such version.
    #[error("the orchestration `{name}` is not registered in version {version}")]
    Version {
        /// Which orchestration.
        name: String,
        /// What was asked for.
        version: String,
    },
}

/// What runs code. Every method returns at once; what comes of it comes back as an event. Each may be called again for
/// the same thing and must not do it twice at the same time.
pub trait Executor: fmt::Debug + Send + Sync + 'static {
    /// Whether an instance of this orchestration can be started.
    fn knows(&self, name: &str, version: Option<&str>) -> Result<(), Unknown>;

    /// Gives the code a turn, should there be something that it has not seen.
    fn run_turn(&self, id: InstanceId, request: TurnRequest);

    /// Starts activities.
    fn start_activities(&self, id: InstanceId, execution: u32, calls: Vec<ActivityCall>);

    /// Starts the activities of an execution that are not over and not known to run.
    fn recover_activities(&self, id: InstanceId, execution: u32);

    /// Stops activities and tells when they have stopped; also of those that do not run.
    fn cancel_activities(&self, id: InstanceId, execution: u32, tasks: Vec<TaskId>);

    /// Reads the history for the place to go on from after a failure.
    fn plan_rewind(&self, id: InstanceId, reason: Option<String>);

    /// Lets go of what is in memory of an instance's code.
    fn forget(&self, id: InstanceId);

    /// What the code of an instance waits for that its state does not show, in sentences.
    fn explain(&self, state: &Orchestration) -> Vec<String> {
        let _ = state;
        Vec::new()
    }
}

/// The way back into the instances' mailboxes; open once the host has started.
#[derive(Debug, Default)]
pub struct OrchestrationMail {
    /// Weak, because the host owns its performer and that the executor.
    host: OnceLock<WeakHost<Orchestration>>,
}

impl OrchestrationMail {
    /// Opens the way. Later calls change nothing.
    pub fn open(&self, host: &Host<Orchestration>) {
        drop(self.host.set(host.downgrade()));
    }

    fn host(&self) -> Option<Host<Orchestration>> {
        self.host.get().and_then(WeakHost::upgrade)
    }

    /// Tells an instance something and waits until it is durable; `None` when everything ends. Its commit may wait for
    /// others as long as `patience` says.
    pub async fn ask(
        &self,
        id: InstanceId,
        event: Event,
        patience: Option<Patience>,
    ) -> Option<Answer<Orchestration>> {
        Some(self.host()?.ask_on(id, event, Terms { patience, ..Terms::default() }).await)
    }
}

/// Performs what instances ask for, by an executor.
#[derive(Debug)]
pub struct OrchestrationPerformer(pub Arc<dyn Executor>);

impl Perform<Orchestration> for OrchestrationPerformer {
    fn perform(&self, id: InstanceId, _: &Orchestration, effect: Effect) {
        match effect {
            Effect::RunTurn(request) => self.0.run_turn(id, *request),
            Effect::StartActivities { execution, calls } => self.0.start_activities(id, execution, calls),
            Effect::RecoverActivities { execution } => self.0.recover_activities(id, execution),
            Effect::CancelActivities { execution, tasks } => self.0.cancel_activities(id, execution, tasks),
            Effect::PlanRewind { reason } => self.0.plan_rewind(id, reason),
            Effect::Forget => self.0.forget(id),
        }
    }

    fn purged(&self, id: InstanceId) {
        self.0.forget(id);
    }
}
