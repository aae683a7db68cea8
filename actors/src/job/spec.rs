//! What a user asks for: the job spec of the public contract.
//!
//! Only shapes and defaults live here; what may be combined with what is decided in `validate.rs`.
//! Unknown fields are refused. Secrets serialise as `null` and travel in a sealed blob beside the spec.

mod signal;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use self::signal::StopSignal;
use super::cause::Cause;
use super::group::{Container, Mount, Probe, Volume};
use crate::admission::Concurrency;
use crate::array;
use crate::clock::Timestamp;
use crate::files::{Input, Output};
use crate::secret::Secret;
use crate::units::{Size, Span};

/// One job, as submitted. All but one of `image` and `args` (or `entrypoint`) is optional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = JobSpec)]
pub struct Spec {
    /// A name for people: a DNS-1123 label of at most 63 characters. Need not be unique.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The container image. Without one the job is a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Replaces the image's entrypoint; for a process the start of its argv.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Environment variables that are never shown again; encrypted at rest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Secret>,
    /// The runtime: `process`, `docker`, or one that an embedding application registered. Default: `docker`
    /// with an image, else `process`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The first attempt does not start before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub start_at: Option<Timestamp>,
    /// Wait for `resume` before the first attempt.
    #[serde(skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// The directory the attempt starts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Free labels, for finding jobs again; copied to the container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What the attempt may use.
    #[serde(skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// Credentials for private registries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registry_credentials: Vec<RegistryCredential>,
    /// The network of a container.
    #[serde(skip_serializing_if = "is_default")]
    pub network: Network,
    /// Which ends lead to another attempt.
    #[serde(skip_serializing_if = "is_default")]
    pub restart_policy: RestartPolicy,
    /// How many attempts may count before the job fails; `null` means no limit.
    pub max_attempts: Option<u32>,
    /// The pause between attempts.
    #[serde(skip_serializing_if = "is_default")]
    pub backoff: Backoff,
    /// Rules that overrule the policy; the first match wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retry_rules: Vec<RetryRule>,
    /// Bounds the whole job from its first start, all attempts and pauses included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Bounds one attempt, from its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_timeout: Option<Span>,
    /// Bounds the wait for a slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<Span>,
    /// The signal that asks an attempt to stop.
    #[serde(skip_serializing_if = "is_default")]
    pub stop_signal: StopSignal,
    /// How long an attempt has after that signal before it is killed.
    pub stop_grace: Span,
    /// Which fact ends an attempt.
    #[serde(skip_serializing_if = "is_default")]
    pub completion: Completion,
    /// Set when the container is a web service that is started and polled by calling it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Who is told when the job is over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_complete: Vec<WebhookTarget>,
    /// When a finished job is purged with everything kept of it; `null` keeps it for ever.
    pub ttl_after_finished: Option<Span>,
    /// How far a container is locked down.
    #[serde(skip_serializing_if = "is_default")]
    pub security_profile: SecurityProfile,
    /// The user (and group) in the container, `uid[:gid]` or names; default: the image's, or the profile's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Mount the container's root file system read-only, with a tmpfs on /tmp.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only_root: bool,
    /// Files that are placed before each attempt starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Files that are collected after each attempt has ended; each may be written as its path alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    /// For whom it runs: slots are shared fairly among tenants. Default: the value of the label that the configuration
    /// names, else `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// How urgent it is among those of its tenant, from -100 to 100; a higher one goes first.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: i16,
    /// How many jobs with the same key may live at once, and how often they may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// Makes it an array: as many jobs, each with an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<array::Spec>,
    /// What the main container, which the fields above are about, is called; default: `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_name: Option<String>,
    /// Containers that run before the main one, one after the other, each to exit code 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_containers: Vec<Container>,
    /// Containers that run beside the main one and are stopped after it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sidecars: Vec<Container>,
    /// What the containers of an attempt share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// The volumes that the main container sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// How the main container's health is found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            name: None,
            image: None,
            entrypoint: Vec::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            runtime: None,
            start_at: None,
            suspended: false,
            working_dir: None,
            labels: BTreeMap::new(),
            resources: Resources::default(),
            registry_credentials: Vec::new(),
            network: Network::default(),
            restart_policy: RestartPolicy::default(),
            max_attempts: Some(3),
            backoff: Backoff::default(),
            retry_rules: Vec::new(),
            timeout: None,
            attempt_timeout: None,
            queue_timeout: None,
            stop_signal: StopSignal::default(),
            stop_grace: Span::from_secs(10),
            completion: Completion::default(),
            service: None,
            on_complete: Vec::new(),
            ttl_after_finished: Some(Span::from_secs(7 * 86_400)),
            security_profile: SecurityProfile::default(),
            user: None,
            read_only_root: false,
            inputs: Vec::new(),
            outputs: Vec::new(),
            tenant: None,
            priority: 0,
            concurrency: None,
            array: None,
            main_name: None,
            init_containers: Vec::new(),
            sidecars: Vec::new(),
            volumes: Vec::new(),
            mounts: Vec::new(),
            probe: None,
        }
    }
}

impl Spec {
    /// A process job with this argv.
    pub fn process<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self { args: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// A container job of this image.
    pub fn container<S: Into<String>>(image: impl Into<String>, args: impl IntoIterator<Item = S>) -> Self {
        Self {
            image: Some(image.into()),
            args: args.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// The runtime's name: the one asked for, else `docker` with an image and `process` without.
    pub fn runtime_name(&self) -> &str {
        match (&self.runtime, &self.image) {
            (Some(name), _) => name,
            (None, Some(_)) => "docker",
            (None, None) => "process",
        }
    }

    /// Takes the secrets out, keyed by where they belong; what is left holds none.
    pub fn take_secrets(&mut self) -> BTreeMap<String, Secret> {
        let mut taken = BTreeMap::new();
        self.each_secret(|place, secret| {
            let text = std::mem::take(secret);
            if !text.is_empty() {
                taken.insert(place, text);
            }
        });
        taken
    }

    /// Puts the secrets back where [`Spec::take_secrets`] found them.
    pub fn put_secrets(&mut self, mut secrets: BTreeMap<String, Secret>) {
        self.each_secret(|place, secret| {
            if let Some(text) = secrets.remove(&place) {
                *secret = text;
            }
        });
    }

    fn each_secret(&mut self, mut visit: impl FnMut(String, &mut Secret)) {
        for (name, secret) in &mut self.secrets {
            visit(format!("env/{name}"), secret);
        }
        for (index, credential) in self.registry_credentials.iter_mut().enumerate() {
            visit(format!("registry/{index}"), &mut credential.password);
        }
        for (index, target) in self.on_complete.iter_mut().enumerate() {
            visit(format!("webhook/{index}"), &mut target.secret);
        }
        self.each_group_secret(&mut visit);
    }
}

/// What an attempt may use. Absent values are the server's defaults.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// CPU cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

/// A login for one registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryCredential {
    /// The registry's host name, with the port where it is not 443.
    pub server: String,
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: Secret,
}

/// The network a container is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The engine's default bridge: outgoing connections, nothing published.
    #[default]
    Default,
    /// Loopback only. Callbacks cannot be made.
    None,
}

/// Which ends of an attempt lead to another one; the names and meaning that container users know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub enum RestartPolicy {
    /// Every end, a success too, until the job is cancelled or its attempts are used up.
    Always,
    /// Every failure.
    #[default]
    OnFailure,
    /// None.
    Never,
}

/// The pause before another attempt: `initial · factor^n`, at most `max`, shortened by up to `jitter`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// The first pause.
    pub initial: Span,
    /// What each further pause is multiplied by; at least 1.
    pub factor: f64,
    /// The longest pause.
    pub max: Span,
    /// The share of the pause that is random, 0 to 1.
    pub jitter: f64,
    /// An attempt that ran this long sets the pause back to `initial`.
    pub reset_after: Span,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Span::from_secs(1),
            factor: 2.0,
            max: Span::from_secs(300),
            jitter: 0.25,
            reset_after: Span::from_secs(600),
        }
    }
}

/// One rule: when it matches the end of an attempt, its action overrules the restart policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryRule {
    /// Matches these exit codes: numbers or ranges such as `"64-78"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exit_codes: Vec<ExitCodes>,
    /// Matches these causes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// What then happens.
    pub action: RetryAction,
}

/// An exit code or a range of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected an exit code or a range such as \"64-78\"")]
pub enum ExitCodes {
    /// One code.
    One(i32),
    /// `"low-high"`, both included.
    Range(String),
}

impl ExitCodes {
    /// The range's bounds; `None` when the text is no range.
    pub fn bounds(&self) -> Option<(i32, i32)> {
        match self {
            Self::One(code) => Some((*code, *code)),
            Self::Range(text) => {
                let (low, high) = text.split_once('-').unwrap_or((text, text));
                Some((low.trim().parse().ok()?, high.trim().parse().ok()?)).filter(|(low, high)| low <= high)
            }
        }
    }

    /// Whether `code` is in it.
    pub fn contains(&self, code: i32) -> bool {
        self.bounds().is_some_and(|(low, high)| (low..=high).contains(&code))
    }
}

/// What a retry rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryAction {
    /// Another attempt, counted.
    Retry,
    /// Another attempt that does not count against `max_attempts`.
    RetryFree,
    /// The job fails now.
    Fail,
    /// The job succeeds now.
    Succeed,
}

/// Which fact ends an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Completion {
    /// The exit: code 0 is success.
    Exit,
    /// A completed or failed callback; an exit without one fails after a grace.
    Callback,
    /// Whichever comes first; it is named in the record.
    #[default]
    Either,
}

/// The attempt is a web service: dogwatch calls it to start the work and polls it for progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The port it listens on. A process finds it in `PORT`.
    pub port: u16,
    /// The call that starts the work, once per attempt, as soon as the service accepts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<ServiceStart>,
    /// The poll for progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ServiceStatus>,
    /// How long the service may take to accept the start call.
    #[serde(default = "Service::default_ready_timeout")]
    pub ready_timeout: Span,
}

impl Service {
    fn default_ready_timeout() -> Span {
        Span::from_secs(60)
    }
}

/// The call that starts a service's work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceStart {
    /// The path, beginning with `/`.
    pub path: String,
    /// The JSON body that is posted.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

/// The poll of a service. Its answer has the shape of a callback (`{"event", "data"}`) and counts as one;
/// any other JSON becomes the job's progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceStatus {
    /// The path, beginning with `/`.
    pub path: String,
    /// The pause between polls.
    #[serde(default = "ServiceStatus::default_every")]
    pub every: Span,
}

impl ServiceStatus {
    fn default_every() -> Span {
        Span::from_secs(5)
    }
}

/// Where a webhook goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookTarget {
    /// An http or https address.
    pub url: String,
    /// The signing secret, `whsec_` and base64 (Standard Webhooks). Without one the request is not signed.
    #[serde(default)]
    pub secret: Secret,
}

/// How far a container is locked down; the words of the Pod Security Standards. There is no privileged one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProfile {
    /// What runs under `docker run` runs: the image's user, no added capability, NET_RAW dropped,
    /// no-new-privileges, default seccomp, limits, no host namespace, mount or device.
    #[default]
    Baseline,
    /// User 65532, all capabilities dropped, read-only root with a tmpfs on /tmp.
    Restricted,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
