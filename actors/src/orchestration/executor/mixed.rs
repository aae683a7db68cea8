//! Code in this process and code of workers elsewhere, side by side: what is registered here runs here, everything
//! else waits for a worker. An orchestration of either may call activities and children of the other.

use super::remote::Remote;
use super::{Executor, InProcess, Unknown};
use crate::orchestration::event::TurnRequest;
use crate::orchestration::history::ActivityCall;
use crate::orchestration::id::{InstanceId, TaskId};
use crate::orchestration::state::Orchestration;

/// Both of them.
#[derive(Debug, Clone)]
pub struct Mixed {
    local: InProcess,
    remote: Remote,
}

impl Mixed {
    /// What is registered with `local` runs there, everything else with `remote`.
    pub fn new(local: InProcess, remote: Remote) -> Self {
        Self { local, remote }
    }
}

impl Executor for Mixed {
    fn knows(&self, name: &str, version: Option<&str>) -> Result<(), Unknown> {
        match self.local.knows(name, version) {
            // A worker that has it may come at any time.
            Err(Unknown::Name { .. }) => Ok(()),
            known => known,
        }
    }

    fn run_turn(&self, id: InstanceId, request: TurnRequest) {
        match self.local.has_code_of(id) {
            true => self.local.run_turn(id, request),
            false => self.remote.run_turn(id, request),
        }
    }

    fn start_activities(&self, id: InstanceId, execution: u32, calls: Vec<ActivityCall>) {
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|call| self.local.has_activity(&call.name));
        if !here.is_empty() {
            self.local.start_activities(id, execution, here);
        }
        if !elsewhere.is_empty() {
            self.remote.add(id, execution, elsewhere);
        }
    }

    fn recover_activities(&self, id: InstanceId, execution: u32) {
        self.local.recover(id, execution, true);
        let (local, remote) = (self.local.clone(), self.remote.clone());
        self.local.insist(id, move |_| {
            let (local, remote) = (local.clone(), remote.clone());
            async move { Ok(remote.recover(id, execution, |name| !local.has_activity(name))?) }
        });
    }

    fn cancel_activities(&self, id: InstanceId, execution: u32, tasks: Vec<TaskId>) {
        let others = self.remote.cancel(id, execution, tasks);
        if !others.is_empty() {
            self.local.cancel_activities(id, execution, others);
        }
    }

    fn plan_rewind(&self, id: InstanceId, reason: Option<String>) {
        self.local.plan_rewind(id, reason);
    }

    fn forget(&self, id: InstanceId) {
        self.local.forget(id);
        self.remote.forget(id);
    }

    fn explain(&self, state: &Orchestration) -> Vec<String> {
        self.remote.explain(state)
    }
}
