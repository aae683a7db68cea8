//! What a job may have beside its one container: init containers, sidecars, volumes, and probes of their health.
//!
//! Only shapes, defaults and sums live here; what may be combined with what is decided in `validate/group.rs`, and what
//! a runtime makes of it in `runtime/docker/group`. Pure.
//!
//! The job's own image, arguments and environment are the *main* container, whatever else there is. Invariant: a spec
//! that names none of this means what it meant before there were groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::spec::{Resources, Spec};
use crate::limits::{ATTEMPT_CPU_DEFAULT_MILLIS, ATTEMPT_MEMORY_DEFAULT_BYTES};
use crate::secret::Secret;
use crate::units::{Size, Span};

/// What the main container is called where a container is named.
pub const MAIN: &str = "main";

/// A container beside the main one. Security profile, network, logins and stop signal are the job's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ContainerSpec)]
pub struct Container {
    /// Its name in this job: lower-case letters, digits and `-`, at most 40. `main` is the main container.
    pub name: String,
    /// Its image; default: the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Replaces the image's entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables; those of the job are not inherited.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Environment variables that are never shown again; encrypted at rest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Secret>,
    /// The directory it starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// What it may use; absent values are the server's defaults.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// The user (and group) in it, `uid[:gid]` or names; default: the image's, or the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The volumes that it sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// How its health is found out. Not of an init container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// Something that the containers of one attempt share; exactly one of its kinds. It goes with the attempt, but for a
/// path of the host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = VolumeSpec)]
pub struct Volume {
    /// Its name in this job: lower-case letters, digits and `-`, at most 40.
    pub name: String,
    /// An empty directory that everybody may write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
    /// Files with secrets, in memory, mode 0400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretFiles>,
    /// A directory or file of the host, of those that the server allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPath>,
}

/// An empty directory.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmptyDir {
    /// With a size it is kept in memory and holds no more than this; without, it is on the engine's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// Files with secrets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretFiles {
    /// The content of each file by its name; write-only, encrypted at rest.
    pub items: BTreeMap<String, Secret>,
    /// The user id that the files belong to; default: that of the job's `user` or profile where it is a number, else 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
}

/// A path of the host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostPath {
    /// The path; on or below one that the server's `docker.host_paths` names.
    pub path: String,
    /// Nobody may write to it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
}

/// Where a container sees a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The volume's name.
    pub volume: String,
    /// The absolute path in the container.
    pub path: String,
    /// It cannot write to it; always so with secrets.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
}

/// How the health of a container is found out: by a command in it or a request to it, again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ProbeSpec)]
pub struct Probe {
    /// The command and its arguments; healthy when it exits with 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exec: Vec<String>,
    /// The request; healthy when the answer is 2xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// The pause between two.
    pub every: Span,
    /// How long one may take.
    pub timeout: Span,
    /// How many in a row must fail.
    pub failures: u32,
    /// The pause before the first one, from when the container runs.
    pub initial_delay: Span,
    /// What happens then.
    pub on_unhealthy: OnUnhealthy,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            exec: Vec::new(),
            http: None,
            every: Span::from_secs(10),
            timeout: Span::from_secs(5),
            failures: 3,
            initial_delay: Span::from_millis(0),
            on_unhealthy: OnUnhealthy::default(),
        }
    }
}

/// A request that tells whether a container is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    /// The port that it listens on.
    pub port: u16,
    /// The path, beginning with `/`.
    #[serde(default = "HttpProbe::default_path")]
    pub path: String,
}

impl HttpProbe {
    fn default_path() -> String {
        "/".to_owned()
    }
}

/// What happens to an unhealthy attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnhealthy {
    /// The attempt is stopped and has failed; the restart policy decides whether another one follows.
    #[default]
    Restart,
    /// The attempt is stopped and the job has failed.
    Fail,
}

impl Spec {
    /// What the main container is called.
    pub fn main_name(&self) -> &str {
        self.main_name.as_deref().unwrap_or(MAIN)
    }

    /// Whether it is more than one container with what its image brings.
    pub fn is_group(&self) -> bool {
        !(self.init_containers.is_empty() && self.sidecars.is_empty() && self.volumes.is_empty())
    }

    /// The containers beside the main one, in the order of their start.
    pub fn members(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.sidecars)
    }

    /// The probe of the container of this name, when it has one.
    pub fn probe_of(&self, container: &str) -> Option<&Probe> {
        if container == self.main_name() {
            return self.probe.as_ref();
        }
        self.sidecars.iter().find(|sidecar| sidecar.name == container)?.probe.as_ref()
    }

    /// What an attempt is counted with: its containers run together but for the init containers, which run alone.
    pub fn demand(&self) -> Resources {
        if self.init_containers.is_empty() && self.sidecars.is_empty() {
            return self.resources.clone();
        }
        let cpu = |resources: &Resources| {
            resources.cpu.unwrap_or_else(|| ATTEMPT_CPU_DEFAULT_MILLIS as f64 / 1_000.0)
        };
        let memory = |resources: &Resources| {
            resources.memory.map_or(ATTEMPT_MEMORY_DEFAULT_BYTES, |memory| memory.as_bytes())
        };
        let mut cores = cpu(&self.resources);
        let mut bytes = memory(&self.resources);
        for sidecar in &self.sidecars {
            cores += cpu(&sidecar.resources);
            bytes = bytes.saturating_add(memory(&sidecar.resources));
        }
        for init in &self.init_containers {
            cores = cores.max(cpu(&init.resources));
            bytes = bytes.max(memory(&init.resources));
        }
        Resources { cpu: Some(cores), memory: Some(Size::from_bytes(bytes)), pids: self.resources.pids }
    }

    /// Visits the secrets of the group, each with where it belongs.
    pub(super) fn each_group_secret(&mut self, visit: &mut impl FnMut(String, &mut Secret)) {
        for container in self.init_containers.iter_mut().chain(&mut self.sidecars) {
            for (name, secret) in &mut container.secrets {
                visit(format!("container/{}/{name}", container.name), secret);
            }
        }
        for volume in &mut self.volumes {
            for (file, secret) in volume.secret.iter_mut().flat_map(|secret| &mut secret.items) {
                visit(format!("volume/{}/{file}", volume.name), secret);
            }
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, cpu: Option<f64>, memory: Option<u64>) -> Container {
        let resources = Resources { cpu, memory: memory.map(Size::from_bytes), pids: None };
        Container { name: name.to_owned(), resources, ..Container::default() }
    }

    #[test]
    fn an_attempt_is_counted_with_what_runs_together() {
        let one = Spec { resources: named("", Some(0.5), None).resources, ..Spec::container("x", ["y"]) };
        assert_eq!(one.demand(), one.resources, "a job without members is counted as before");
        let group = Spec {
            init_containers: vec![named("a", Some(8.0), Some(10)), named("b", Some(1.0), Some(1 << 40))],
            sidecars: vec![named("c", Some(0.25), Some(20))],
            resources: named("", Some(0.5), Some(30)).resources,
            ..Spec::default()
        };
        let demand = group.demand();
        assert_eq!((demand.cpu, demand.memory.map(|size| size.as_bytes())), (Some(8.0), Some(1 << 40)));
        let together = Spec { init_containers: vec![], ..group };
        let demand = together.demand();
        assert_eq!((demand.cpu, demand.memory.map(|size| size.as_bytes())), (Some(0.75), Some(50)));
    }

    #[test]
    fn secrets_of_a_group_are_taken_out_and_put_back() {
        let secret = |text: &str| BTreeMap::from([("K".to_owned(), Secret::new(text))]);
        let files = SecretFiles { items: secret("three"), owner: None };
        let mut spec = Spec {
            init_containers: vec![Container { secrets: secret("one"), ..named("a", None, None) }],
            sidecars: vec![Container { secrets: secret("two"), ..named("b", None, None) }],
            volumes: vec![Volume { name: "v".into(), secret: Some(files), ..Volume::default() }],
            ..Spec::default()
        };
        let whole = spec.clone();
        let taken = spec.take_secrets();
        assert_eq!(taken.len(), 3);
        assert!(spec.take_secrets().is_empty());
        spec.put_secrets(taken);
        assert_eq!(spec, whole);
        assert!(!serde_json::to_string(&spec).unwrap().contains("three"));
    }
}
