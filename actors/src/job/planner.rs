//! From a job to the plan of its attempt: the environment, the opened secrets, the callback address.
//!
//! Not responsible for: what a runtime makes of a plan.

mod group;

use std::collections::BTreeMap;

use super::group::Container;
use super::parent::{ArrayParent, Parent, PoolParent, ScheduleParent, TriggerParent};
use super::spec::Spec;
use super::state::Job;
use crate::files::Files;
use crate::id::{AttemptKey, InstallationId};
use crate::logs::LogStore;
use crate::queue::QueueId;
use crate::runtime::{Group, Plan};
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
    /// Where the workers of pools connect, as attempts on each runtime see it.
    pub worker_urls: BTreeMap<String, String>,
}

impl Planner {
    /// The plan of the job's newest attempt.
    pub fn plan(&self, job: &Job) -> Result<Plan, OpenError> {
        let key = job.attempt_key();
        let mut spec = (*job.given.spec).clone();
        if let Some(vault) = &job.given.vault {
            let sealed_for = job.given.parent.as_ref().and_then(Parent::sealed_for).unwrap_or(job.id);
            spec.put_secrets(self.keyring.open(sealed_for, vault)?);
        }
        let group = self.group(key, &spec);
        let mut env: BTreeMap<String, Secret> =
            spec.env.iter().map(|(name, value)| (name.clone(), Secret::new(value))).collect();
        env.append(&mut spec.secrets);
        env.extend(self.own_env(key, spec.runtime_name()));
        if let Some(parent) = job.given.parent.as_ref().and_then(Parent::pool) {
            env.extend(match parent.queue {
                Some(queue) => self.queue_env(key, spec.runtime_name(), parent, queue),
                None => self.worker_env(key, spec.runtime_name(), parent),
            });
        }
        env.extend(job.given.parent.as_ref().and_then(Parent::fire).map(schedule_env).into_iter().flatten());
        env.extend(job.given.parent.as_ref().and_then(Parent::array).map(array_env).into_iter().flatten());
        env.extend(
            job.given.parent.as_ref().and_then(Parent::trigger).map(trigger_env).into_iter().flatten(),
        );
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
            files: Files { inputs: spec.inputs, outputs: spec.outputs },
            group,
        })
    }

    /// What stands beside the main container, with opened secrets.
    fn group(&self, key: AttemptKey, spec: &Spec) -> Group {
        let own = self.own_env(key, spec.runtime_name());
        let member = |container: &Container| group::member(container, spec, &own);
        let probes = group::probes(spec);
        if !spec.is_group() {
            return Group { probes, secrets: group::secrets(spec), ..Group::default() };
        }
        Group {
            init: spec.init_containers.iter().map(member).collect(),
            sidecars: spec.sidecars.iter().map(member).collect(),
            volumes: spec.volumes.iter().filter_map(group::volume).collect(),
            mounts: spec.mounts.clone(),
            probes,
            demand: Some(spec.demand()),
            stop_grace: spec.stop_grace.as_duration(),
            secrets: group::secrets(spec),
        }
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

    /// The variables of an attempt whose worker works on a queue.
    fn queue_env(
        &self,
        key: AttemptKey,
        runtime: &str,
        parent: &PoolParent,
        queue: QueueId,
    ) -> BTreeMap<String, Secret> {
        let token = self.keyring.worker_token(parent.pool.as_str(), key);
        let mut env = BTreeMap::from([("DOGWATCH_QUEUE_TOKEN".to_owned(), token)]);
        if let Some(base) = self.callback_urls.get(runtime) {
            let url = format!("{base}/v1/queues/{queue}");
            env.insert("DOGWATCH_QUEUE_URL".to_owned(), Secret::new(url));
        }
        env
    }

    /// The variables of an attempt whose worker connects to serve a pool: ours, and those by which workers of on-demand
    /// sandboxes of the Durable Task Scheduler find their way.
    fn worker_env(&self, key: AttemptKey, runtime: &str, parent: &PoolParent) -> BTreeMap<String, Secret> {
        let mut env = BTreeMap::from([
            ("DOGWATCH_GRPC_TOKEN".to_owned(), self.keyring.worker_token(parent.pool.as_str(), key)),
            ("DOGWATCH_TASK_HUB".to_owned(), Secret::new(&parent.hub)),
            ("DTS_TASK_HUB".to_owned(), Secret::new(&parent.hub)),
            ("DTS_WORKER_PROFILE_ID".to_owned(), Secret::new(parent.pool.as_str())),
            ("DTS_SANDBOX_ID".to_owned(), Secret::new(key.job.to_string())),
        ]);
        if let Some(url) = self.worker_urls.get(runtime) {
            let address = url.split_once("://").map_or(url.as_str(), |(_, address)| address);
            env.insert("DOGWATCH_GRPC_ENDPOINT".to_owned(), Secret::new(address));
            // With its scheme: without one a worker of the SDKs would ask for TLS.
            env.insert("DTS_ENDPOINT".to_owned(), Secret::new(url));
        }
        env
    }
}

/// The variables of an attempt of what a schedule submitted.
fn schedule_env(parent: &ScheduleParent) -> [(String, Secret); 3] {
    [
        ("DOGWATCH_SCHEDULE".to_owned(), Secret::new(parent.schedule.as_str())),
        ("DOGWATCH_SCHEDULED_AT".to_owned(), Secret::new(parent.scheduled_at.to_string())),
        ("DOGWATCH_PAST_DUE".to_owned(), Secret::new(parent.past_due.to_string())),
    ]
}

/// The variables of an attempt of what a trigger submitted. What is not known of an object has none.
fn trigger_env(parent: &TriggerParent) -> impl Iterator<Item = (String, Secret)> + use<> {
    let object = &parent.object;
    let named = |name: &str, value: &str| (format!("DOGWATCH_{name}"), Secret::new(value));
    let always = [
        named("TRIGGER", parent.trigger.as_str()),
        named("TRIGGER_ITEM", &parent.item.to_string()),
        named("TRIGGER_DELIVERY", &parent.delivery.to_string()),
        named("OBJECT", &object.name),
        named("OBJECT_NAME", object.short_name()),
        named("OBJECT_VERSION", &object.version),
        named("OBJECT_SIZE", &object.size.to_string()),
    ];
    let body = object.body.as_deref().map(|body| named("OBJECT_BODY", body));
    let kind = object.content_type.as_deref().map(|kind| named("OBJECT_CONTENT_TYPE", kind));
    always.into_iter().chain(body).chain(kind)
}

/// The variables of an attempt of an array's child.
fn array_env(parent: &ArrayParent) -> [(String, Secret); 3] {
    [
        ("DOGWATCH_ARRAY_ID".to_owned(), Secret::new(parent.array.to_string())),
        ("DOGWATCH_INDEX".to_owned(), Secret::new(parent.index.to_string())),
        ("DOGWATCH_COUNT".to_owned(), Secret::new(parent.count.to_string())),
    ]
}
