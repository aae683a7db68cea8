//! Makes actions of what the code asks for: jobs get their ids, secrets are sealed, what cannot be done is refused.

use std::sync::Arc;

use super::super::context::Ask;
use super::super::failure::{Failure, kinds};
use super::super::history::{Action, JobCall};
use super::super::id::{InstanceId, TaskId};
use super::super::registry::{Registry, is_small};
use super::hot::Maker;
use crate::clock::Clock;
use crate::id::Ids;
use crate::job::spec::Spec;
use crate::job::validate::{Policy, validate};
use crate::secret::Keyring;

/// What actions are made with.
pub(super) struct Workshop {
    pub(super) registry: Registry,
    pub(super) policy: Policy,
    pub(super) keyring: Keyring,
    pub(super) ids: Arc<dyn Ids>,
    pub(super) clock: Arc<dyn Clock>,
    /// Whether what is not registered may be elsewhere.
    pub(super) workers: bool,
}

impl Maker for Workshop {
    fn make(&self, instance: InstanceId, execution: u32, ask: Ask) -> Action {
        match ask {
            Ask::Activity(call) => {
                let refused = match self.registry.find_activity(&call.name) {
                    Some(_) => is_small(&call.input).err(),
                    None if self.workers => is_small(&call.input).err(),
                    None => {
                        let message = format!("no activity called `{}` is registered", call.name);
                        Some(Failure::new(kinds::UNKNOWN, message).non_retriable())
                    }
                };
                match refused {
                    Some(failure) => Action::Refuse { task: call.task, failure },
                    None => Action::ScheduleActivity(call),
                }
            }
            Ask::Timer { task, fire_at } => Action::CreateTimer { task, fire_at },
            Ask::Child { mut call, named } => {
                if !named {
                    call.instance = InstanceId::of_child(instance, execution, call.task);
                }
                let known =
                    self.workers || self.registry.to_begin(&call.name, call.version.as_deref()).is_some();
                let refused = match known {
                    true => is_small(&call.input).err(),
                    false => {
                        let message = format!("no orchestration called `{}` is registered", call.name);
                        Some(Failure::new(kinds::UNKNOWN, message).non_retriable())
                    }
                };
                match refused {
                    Some(failure) => Action::Refuse { task: call.task, failure },
                    None => Action::StartChild(call),
                }
            }
            Ask::Job { task, spec } => self.job(task, *spec),
            Ask::Event { task, instance, name, data } => Action::SendEvent { task, instance, name, data },
            Ask::Refused { task, failure } => Action::Refuse { task, failure },
            Ask::Cancel { task } => Action::Cancel { task },
        }
    }
}

impl Workshop {
    fn job(&self, task: TaskId, mut spec: Spec) -> Action {
        let faults = validate(&spec, &self.policy);
        if let Some(first) = faults.first() {
            let message = format!("the job spec is not valid: {} {}", first.pointer, first.message);
            return Action::Refuse {
                task,
                failure: Failure::new(kinds::INVALID_SPEC, message).non_retriable(),
            };
        }
        let job = self.ids.job_id(self.clock.now());
        let secrets = spec.take_secrets();
        let vault = (!secrets.is_empty()).then(|| self.keyring.seal(job, &secrets, self.ids.as_ref()));
        Action::SubmitJob(Box::new(JobCall { task, job, spec: Arc::new(spec), vault }))
    }
}
