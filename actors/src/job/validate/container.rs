//! What it runs on: runtime, image, resources, and what only a container can have.

use super::{Findings, Policy};
use crate::job::spec::{Network, SecurityProfile, Spec};
use crate::limits::{
    ARG_BYTES_MAX, CONTAINER_MEMORY_BYTES_MIN, CPU_CORES_MAX, IMAGE_CHARS_MAX, PIDS_MAX,
    REGISTRY_CREDENTIALS_MAX, URL_CHARS_MAX,
};
use crate::shape::nearest;

pub(super) fn check(spec: &Spec, policy: &Policy, findings: &mut Findings) {
    runtime(spec, policy, findings);
    image(spec, findings);
    resources(spec, findings);
    match spec.runtime_name() {
        "process" => container_only(spec, findings),
        _ => container(spec, policy, findings),
    }
}

/// What any container of a job must be.
pub(super) fn one(spec: &Spec, findings: &mut Findings) {
    image(spec, findings);
    resources(spec, findings);
    if let Some(user) = &spec.user {
        user_of(user, spec.security_profile, findings);
    }
}

fn runtime(spec: &Spec, policy: &Policy, findings: &mut Findings) {
    let name = spec.runtime_name();
    let nothing_to_run = spec.image.is_none() && spec.entrypoint.is_empty() && spec.args.is_empty();
    if nothing_to_run {
        findings.add("", "names nothing to run; give an `image`, or the `args` of a process");
    }
    if name == "process" && spec.image.is_some() {
        findings.add("/runtime", "a process has no image; remove `image`, or set `runtime` to `docker`");
    }
    if name == "docker" && spec.image.is_none() {
        findings
            .add("/image", "is missing: a container needs an image; add it, or set `runtime` to `process`");
    }
    if !nothing_to_run && !policy.runtimes.iter().any(|known| known == name) {
        let known = policy.runtimes.iter().map(String::as_str);
        let pointer = if spec.runtime.is_some() || spec.image.is_none() { "/runtime" } else { "/image" };
        let shown: String = name.chars().take(64).collect();
        findings.add(
            pointer,
            match nearest(name, known) {
                Some(meant) => format!("there is no runtime `{shown}` here; did you mean `{meant}`?"),
                None if policy.runtimes.is_empty() => {
                    format!("there is no runtime `{shown}` here, nor any other; configure one")
                }
                None => {
                    format!("there is no runtime `{shown}` here; there is {}", policy.runtimes.join(", "))
                }
            },
        );
    }
}

fn image(spec: &Spec, findings: &mut Findings) {
    let Some(image) = &spec.image else { return };
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@');
    let good = (1..=IMAGE_CHARS_MAX).contains(&image.len())
        && image.starts_with(|c: char| c.is_ascii_alphanumeric())
        && image.chars().all(inside);
    findings.refuse_if(
        !good,
        "/image",
        "is not an image reference; write it like `registry.example/team/tool:1.2`",
    );
}

fn resources(spec: &Spec, findings: &mut Findings) {
    if let Some(cpu) = spec.resources.cpu {
        // Written so that NaN is refused too.
        let good = cpu > 0.0 && cpu <= CPU_CORES_MAX;
        findings.refuse_if(!good, "/resources/cpu", "must be a number of cores above 0 and at most 4096");
    }
    let minimum = if spec.runtime_name() == "process" { 1 } else { CONTAINER_MEMORY_BYTES_MIN };
    let too_small = spec.resources.memory.is_some_and(|memory| memory.as_bytes() < minimum);
    findings.refuse_if(too_small, "/resources/memory", "is too little; a container needs at least `6Mi`");
    let too_large = spec.resources.memory.is_some_and(|memory| i64::try_from(memory.as_bytes()).is_err());
    findings.refuse_if(too_large, "/resources/memory", "is more than any machine has");
    let pids = spec.resources.pids.is_some_and(|pids| !(1..=PIDS_MAX).contains(&pids));
    findings.refuse_if(pids, "/resources/pids", "must be between 1 and 4194304");
}

fn container_only(spec: &Spec, findings: &mut Findings) {
    let table = [
        (!spec.registry_credentials.is_empty(), "/registry_credentials"),
        (spec.network != Network::Default, "/network"),
        (spec.security_profile != SecurityProfile::default(), "/security_profile"),
        (spec.user.is_some(), "/user"),
        (spec.read_only_root, "/read_only_root"),
    ];
    for (set, pointer) in table {
        findings.refuse_if(
            set,
            pointer,
            "only a container can have this; remove it, or give the job an `image`",
        );
    }
}

fn container(spec: &Spec, policy: &Policy, findings: &mut Findings) {
    findings.refuse_if(
        spec.security_profile < policy.weakest_security_profile,
        "/security_profile",
        "is weaker than this server accepts; set it to `restricted`",
    );
    if findings.count("/registry_credentials", spec.registry_credentials.len(), REGISTRY_CREDENTIALS_MAX) {
        for (index, login) in spec.registry_credentials.iter().enumerate() {
            let at = |field: &str| format!("/registry_credentials/{index}/{field}");
            let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
            let good = (1..=URL_CHARS_MAX).contains(&login.server.len()) && login.server.chars().all(host);
            let message =
                "is not a registry's host name; write it like `registry.example:5000`, without a scheme";
            findings.refuse_if(!good, at("server"), message);
            findings.text(at("username"), &login.username, ARG_BYTES_MAX);
            findings.text(at("password"), login.password.expose(), ARG_BYTES_MAX);
            let message = "has no value; passwords are never returned, so send it again";
            findings.refuse_if(login.password.is_empty(), at("password"), message);
        }
    }
    if let Some(user) = &spec.user {
        user_of(user, spec.security_profile, findings);
    }
}

fn user_of(user: &str, profile: SecurityProfile, findings: &mut Findings) {
    let part = |text: &str| {
        (1..=64).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
            && !text.starts_with('-')
    };
    let (name, group) = user.split_once(':').unwrap_or((user, "0"));
    let message = "is no user; write it like `1000`, `1000:1000` or `app:app`";
    findings.refuse_if(!(part(name) && part(group)), "/user", message);
    let root = name == "root" || name.parse::<u32>() == Ok(0);
    findings.refuse_if(
        root && profile == SecurityProfile::Restricted,
        "/user",
        "root is not allowed by the security profile `restricted`; choose another user or profile",
    );
}
