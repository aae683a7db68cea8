//! From a job to the plan of its attempt: the environment, the opened secrets, the callback address.
//!
//! Not responsible for: what a runtime makes of a plan.

use std::collections::BTreeMap;

use super::state::Job;
use crate::id::{AttemptKey, InstallationId};
use crate::logs::LogStore;
use crate::runtime::Plan;
use crate::secret::{Keyring, OpenError, Secret};

/// What plans are made with besides the job.
#[derive(Debug, Clone)]
pub struct Planner {
    /// Opens secrets and derives callback tokens.
    pub keyring: Keyring,
    /// Whose attempts they are.
    pub installation: InstallationId,
    /// Where logs are kept.
    pub logs: LogStore,
    /// The base address of the callback listener as attempts on each runtime see it, without a trailing
    /// slash. A runtime without one gives its attempts no callback address.
    pub callback_urls: BTreeMap<String, String>,
}

impl Planner {
    /// The plan of the job's newest attempt.
    pub fn plan(&self, job: &Job) -> Result<Plan, OpenError> {
        let key = job.attempt_key();
        let mut spec = (*job.given.spec).clone();
        if let Some(vault) = &job.given.vault {
            spec.put_secrets(self.keyring.open(job.id, vault)?);
        }
        let mut env: BTreeMap<String, Secret> =
            spec.env.iter().map(|(name, value)| (name.clone(), Secret::new(value))).collect();
        env.append(&mut spec.secrets);
        env.extend(self.own_env(key, spec.runtime_name()));
        Ok(Plan {
            key,
            installation: self.installation,
            image: spec.image,
            entrypoint: spec.entrypoint,
            args: spec.args,
            env,
            working_dir: spec.working_dir,
            labels: spec.labels,
            resources: spec.resources,
            network: spec.network,
            security_profile: spec.security_profile,
            user: spec.user,
            read_only_root: spec.read_only_root,
            registry_credentials: spec.registry_credentials,
            stop_signal: spec.stop_signal,
            service_port: spec.service.map(|service| service.port),
            log_path: self.logs.path(key),
        })
    }

    /// The variables that dogwatch adds.
    fn own_env(&self, key: AttemptKey, runtime: &str) -> BTreeMap<String, Secret> {
        let mut env = BTreeMap::from([
            ("DOGWATCH_JOB_ID".to_owned(), Secret::new(key.job.to_string())),
            ("DOGWATCH_ATTEMPT".to_owned(), Secret::new(key.number.to_string())),
            ("DOGWATCH_CALLBACK_TOKEN".to_owned(), self.keyring.callback_token(key)),
        ]);
        if let Some(base) = self.callback_urls.get(runtime) {
            let url = format!("{base}/v1/callbacks/{}/{}", key.job, key.number);
            env.insert("DOGWATCH_CALLBACK_URL".to_owned(), Secret::new(url));
        }
        env
    }
}
