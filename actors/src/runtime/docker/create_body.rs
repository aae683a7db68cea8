//! The request that creates a container, constructed from a plan.
//!
//! Responsible for: every field that the engine is sent. Not responsible for: sending it.
//!
//! Invariants, for any plan whatever:
//! - nothing is passed through: a field that is not set here cannot be set by a user;
//! - no container is privileged or has (here: a group adds what the server allows) a mount of the host, a device, a host namespace, an added capability
//!   or a security option other than `no-new-privileges`;
//! - memory, CPU and processes are always limited (to the engine, 0 means *no limit*, so 0 is our default);
//! - `restricted` drops every capability, has a read-only root and a numeric user that is not root.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, PortBinding, PortMap,
    RestartPolicy, RestartPolicyNameEnum,
};

use super::boot::Boot;
use super::image_reference::Reference;
use super::{Defaults, labels};
use crate::job::spec::{Network, Resources, SecurityProfile};
use crate::limits::{CONTAINER_TMPFS_BYTES, LOG_FILE_BYTES_MAX};
use crate::runtime::{Error, Plan, StartFault};

/// The user of `restricted` when none is given: "nonroot" of the distroless images.
pub(super) const RESTRICTED_USER: &str = "65532:65532";
/// The largest user id that runtimes accept.
const USER_ID_MAX: u32 = i32::MAX as u32;
/// The smallest CPU share that the engine accepts, in billionths of a core.
const NANO_CPUS_MIN: i64 = 10_000_000;
/// The name by which a container reaches this host, where the engine offers none by itself.
const HOST_NAME: &str = "host.docker.internal:host-gateway";

/// The request for the container of `plan`.
pub(super) fn create_body(
    plan: &Plan,
    image: &Reference,
    defaults: &Defaults,
    boot: &Boot,
) -> Result<ContainerCreateBody, Error> {
    let port = service_port(plan);
    Ok(ContainerCreateBody {
        image: Some(image.full()),
        // Empty means the image's own; with an entrypoint of ours the engine ignores the image's arguments.
        entrypoint: Some(plan.entrypoint.clone()).filter(|words| !words.is_empty()),
        cmd: Some(plan.args.clone()).filter(|words| !words.is_empty()),
        env: Some(plan.env.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect()),
        working_dir: plan.working_dir.clone(),
        user: user(plan)?,
        labels: Some(labels::of_attempt(&plan.labels, plan.installation, plan.key, boot.id.as_deref())),
        stop_signal: Some(plan.stop_signal.name().to_owned()),
        exposed_ports: port.clone().map(|port| vec![port]),
        // A terminal would mix the two streams of the log into one.
        tty: Some(false),
        open_stdin: Some(false),
        host_config: Some(host_config(&Shape::of(plan), defaults, port)),
        ..ContainerCreateBody::default()
    })
}

fn service_port(plan: &Plan) -> Option<String> {
    plan.service_port.map(|port| format!("{port}/tcp"))
}

/// The port of a service as it is exposed and published, by whoever has its network.
pub(super) fn service_ports(plan: &Plan) -> (Option<Vec<String>>, Option<PortMap>) {
    let port = service_port(plan);
    let networked = plan.network == Network::Default;
    (port.clone().map(|port| vec![port]), port.filter(|_| networked).map(loopback_binding))
}

/// The user id of the plan's container, where it is known to be a number.
pub(super) fn numeric_owner(plan: &Plan) -> Option<u32> {
    let user = user(plan).ok().flatten()?;
    user.split(':').next()?.parse().ok()
}

/// The host's side of a container of our own making that runs no job: locked down like a restricted one.
pub(super) fn hardened(defaults: &Defaults) -> HostConfig {
    let resources = Resources::default();
    let profile = SecurityProfile::Restricted;
    let shape = Shape { profile, read_only_root: true, network: Network::Default, resources: &resources };
    host_config(&shape, defaults, None)
}

/// What a plan may say about the host's side of its container: nothing else of it gets there.
struct Shape<'a> {
    profile: SecurityProfile,
    read_only_root: bool,
    network: Network,
    resources: &'a Resources,
}

impl<'a> Shape<'a> {
    fn of(plan: &'a Plan) -> Self {
        Self {
            profile: plan.security_profile,
            read_only_root: plan.read_only_root,
            network: plan.network,
            resources: &plan.resources,
        }
    }
}

fn host_config(shape: &Shape<'_>, defaults: &Defaults, port: Option<String>) -> HostConfig {
    let restricted = shape.profile == SecurityProfile::Restricted;
    let read_only = restricted || shape.read_only_root;
    let memory = memory_bytes(shape.resources, defaults);
    let networked = shape.network == Network::Default;
    HostConfig {
        // A first process that passes signals on and reaps children, which most images lack (FACTS docker 9).
        init: Some(true),
        // One container per attempt: restarting is the job's decision, and removal ours (FACTS docker 10).
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), ..Default::default() }),
        auto_remove: Some(false),
        log_config: Some(log_config()),
        memory: Some(memory),
        // The same as the memory: no swap, so that the limit is one.
        memory_swap: Some(memory),
        nano_cpus: Some(nano_cpus(shape.resources, defaults)),
        pids_limit: Some(pids(shape.resources, defaults)),
        privileged: Some(false),
        cap_drop: Some(vec![if restricted { "ALL" } else { "NET_RAW" }.to_owned()]),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        readonly_rootfs: Some(read_only),
        tmpfs: read_only.then(tmpfs),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        network_mode: Some(if networked { "default" } else { "none" }.to_owned()),
        extra_hosts: (networked && defaults.host_gateway).then(|| vec![HOST_NAME.to_owned()]),
        port_bindings: port.filter(|_| networked).map(loopback_binding),
        publish_all_ports: Some(false),
        ..HostConfig::default()
    }
}

/// Reachable from this host alone, on a port that the engine picks.
fn loopback_binding(port: String) -> PortMap {
    let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some("0".to_owned()) };
    HashMap::from([(port, Some(vec![binding]))])
}

fn log_config() -> HostConfigLogConfig {
    let options = [("max-size", LOG_FILE_BYTES_MAX.to_string()), ("max-file", "2".to_owned())];
    HostConfigLogConfig {
        // Named, because the engine's default may be a driver that cannot be read back.
        typ: Some("json-file".to_owned()),
        config: Some(options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
    }
}

fn tmpfs() -> HashMap<String, String> {
    let options = format!("rw,noexec,nosuid,nodev,mode=1777,size={CONTAINER_TMPFS_BYTES}");
    HashMap::from([("/tmp".to_owned(), options)])
}

fn memory_bytes(resources: &Resources, defaults: &Defaults) -> i64 {
    let asked = resources.memory.map(|size| size.as_bytes()).filter(|bytes| *bytes > 0);
    i64::try_from(asked.unwrap_or(defaults.memory_bytes)).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "a float that does not fit saturates")]
fn nano_cpus(resources: &Resources, defaults: &Defaults) -> i64 {
    let asked = resources.cpu.filter(|cores| cores.is_finite() && *cores > 0.0);
    ((asked.unwrap_or(defaults.cpu_cores) * 1e9) as i64).max(NANO_CPUS_MIN)
}

fn pids(resources: &Resources, defaults: &Defaults) -> i64 {
    i64::from(resources.pids.filter(|pids| *pids > 0).unwrap_or(defaults.pids))
}

fn user(plan: &Plan) -> Result<Option<String>, Error> {
    match (plan.security_profile, plan.user.as_deref().filter(|user| !user.is_empty())) {
        (SecurityProfile::Baseline, user) => Ok(user.map(str::to_owned)),
        (SecurityProfile::Restricted, None) => Ok(Some(RESTRICTED_USER.to_owned())),
        (SecurityProfile::Restricted, Some(user)) => numeric_user(user).map(Some).ok_or_else(|| {
            let message = "the restricted security profile needs a numeric user other than 0, such as 1000 or \
                           1000:1000: what a name means is known to the image alone";
            Error::Start { fault: StartFault::Rejected, message: message.into() }
        }),
    }
}

/// `uid` or `uid:gid` in its one canonical form; root's user id is none.
fn numeric_user(text: &str) -> Option<String> {
    let (uid, gid) = text.split_once(':').map_or((text, None), |(uid, gid)| (uid, Some(gid)));
    let uid: u32 = uid.parse().ok().filter(|uid| (1..=USER_ID_MAX).contains(uid))?;
    match gid {
        None => Some(uid.to_string()),
        Some(gid) => {
            let gid: u32 = gid.parse().ok().filter(|gid| *gid <= USER_ID_MAX)?;
            Some(format!("{uid}:{gid}"))
        }
    }
}

#[cfg(test)]
#[path = "create_body_tests.rs"]
mod tests;
