//! What stands beside the main container: init containers, sidecars, volumes, mounts and probes.

use std::collections::BTreeSet;

use super::{Findings, Policy, command, container, lifecycle};
use crate::job::group::{Container, HostPath, MAIN, Mount, Probe, SecretFiles, Volume};
use crate::job::spec::{Network, Spec};
use crate::limits::{
    ARG_BYTES_MAX, ARGV_ITEMS_MAX, INIT_CONTAINERS_MAX, MEMBER_NAME_CHARS_MAX, MEMORY_VOLUME_BYTES_MIN,
    MOUNTS_MAX, PATH_BYTES_MAX, PROBE_EVERY_MIN, PROBE_FAILURES_MAX, PROBE_TIMEOUT_MAX,
    SECRET_FILE_BYTES_MAX, SECRET_FILE_NAME_CHARS_MAX, SECRET_FILES_MAX, SIDECARS_MAX, VOLUMES_MAX,
};
use crate::name::is_label;
use crate::shape::join;

/// Where no volume may be: the kernel's own file systems, and what would hide the whole container.
const NO_MOUNT: [&str; 4] = ["/", "/proc", "/sys", "/dev"];

pub(super) fn check(spec: &Spec, policy: &Policy, findings: &mut Findings) {
    if !policy.group_runtimes.iter().any(|name| name == spec.runtime_name()) {
        return only_one(spec, findings);
    }
    names(spec, findings);
    volumes(spec, policy, findings);
    mounts("", &spec.mounts, spec, findings);
    if let Some(found) = &spec.probe {
        probe("", found, spec, findings);
    }
    let lists = [
        ("/init_containers", &spec.init_containers, INIT_CONTAINERS_MAX),
        ("/sidecars", &spec.sidecars, SIDECARS_MAX),
    ];
    for (list, containers, max) in lists {
        if !findings.count(list, containers.len(), max) {
            continue;
        }
        for (index, one) in containers.iter().enumerate() {
            member(&format!("{list}/{index}"), one, spec, findings);
            let message = "an init container ends by itself and is not probed; remove it";
            let is_init = list == "/init_containers";
            findings.refuse_if(is_init && one.probe.is_some(), format!("{list}/{index}/probe"), message);
        }
    }
}

/// The runtime has one process or container per attempt and nothing else.
fn only_one(spec: &Spec, findings: &mut Findings) {
    let table = [
        (!spec.init_containers.is_empty(), "/init_containers"),
        (!spec.sidecars.is_empty(), "/sidecars"),
        (!spec.volumes.is_empty(), "/volumes"),
        (!spec.mounts.is_empty(), "/mounts"),
        (spec.main_name.is_some(), "/main_name"),
    ];
    for (set, pointer) in table {
        findings.refuse_if(
            set,
            pointer,
            "this runtime has no groups of containers; remove it, or run the job on `docker`",
        );
    }
    let Some(found) = &spec.probe else { return };
    findings.refuse_if(
        !found.exec.is_empty(),
        "/probe/exec",
        "a command can be run in a container only; use `http`, or run the job on `docker`",
    );
    findings.refuse_if(
        spec.runtime_name() != "process" && found.exec.is_empty(),
        "/probe",
        "this runtime cannot be probed; remove it, or run the job on `docker` or `process`",
    );
    probe("", found, spec, findings);
}

fn is_name(name: &str) -> bool {
    is_label(name, MEMBER_NAME_CHARS_MAX)
}

const NOT_A_NAME: &str =
    "must be 1 to 40 lower-case letters, digits and `-`, beginning and ending with a letter or digit";

fn names(spec: &Spec, findings: &mut Findings) {
    findings.refuse_if(!is_name(spec.main_name()), "/main_name", NOT_A_NAME);
    // By that word the main one is known to runtimes, whatever it is called.
    let mut taken = BTreeSet::from([spec.main_name(), MAIN]);
    for (list, containers) in [("/init_containers", &spec.init_containers), ("/sidecars", &spec.sidecars)] {
        for (index, one) in containers.iter().enumerate() {
            let pointer = format!("{list}/{index}/name");
            findings.refuse_if(!is_name(&one.name), &pointer, NOT_A_NAME);
            let message = "is the name of another container of this job; give each its own";
            findings.refuse_if(!taken.insert(&one.name), &pointer, message);
        }
    }
}

/// A container beside the main one, by the rules for what a job runs.
fn member(at: &str, one: &Container, spec: &Spec, findings: &mut Findings) {
    let as_job = Spec {
        image: one.image.clone().or_else(|| spec.image.clone()),
        entrypoint: one.entrypoint.clone(),
        args: one.args.clone(),
        env: one.env.clone(),
        secrets: one.secrets.clone(),
        working_dir: one.working_dir.clone(),
        resources: one.resources.clone(),
        user: one.user.clone(),
        security_profile: spec.security_profile,
        ..Spec::default()
    };
    let mut its = Findings::default();
    command::check(&as_job, &mut its);
    container::one(&as_job, &mut its);
    for finding in its.0 {
        findings.add(format!("{at}{}", finding.pointer), finding.message);
    }
    mounts(at, &one.mounts, spec, findings);
    if let Some(found) = &one.probe {
        probe(at, found, spec, findings);
    }
}

fn volumes(spec: &Spec, policy: &Policy, findings: &mut Findings) {
    if !findings.count("/volumes", spec.volumes.len(), VOLUMES_MAX) {
        return;
    }
    let mut taken = BTreeSet::new();
    for (index, volume) in spec.volumes.iter().enumerate() {
        let at = format!("/volumes/{index}");
        let pointer = format!("{at}/name");
        findings.refuse_if(!is_name(&volume.name), &pointer, NOT_A_NAME);
        let message = "is the name of another volume of this job; give each its own";
        findings.refuse_if(!taken.insert(&volume.name), &pointer, message);
        let Volume { empty_dir, secret, host_path, .. } = volume;
        let kinds = [empty_dir.is_some(), secret.is_some(), host_path.is_some()];
        let message = "must be exactly one of `empty_dir`, `secret` and `host_path`";
        findings.refuse_if(kinds.into_iter().filter(|set| *set).count() != 1, &at, message);
        let size = empty_dir.as_ref().and_then(|dir| dir.size);
        let small = size.is_some_and(|size| size.as_bytes() < MEMORY_VOLUME_BYTES_MIN);
        let large = size.is_some_and(|size| i64::try_from(size.as_bytes()).is_err());
        findings.refuse_if(small, format!("{at}/empty_dir/size"), "is too little; give at least `64Ki`");
        findings.refuse_if(large, format!("{at}/empty_dir/size"), "is more than any machine has");
        if let Some(files) = secret {
            secret_files(&format!("{at}/secret"), files, findings);
        }
        if let Some(path) = host_path {
            self::host_path(&format!("{at}/host_path/path"), path, policy, findings);
        }
    }
}

fn secret_files(at: &str, files: &SecretFiles, findings: &mut Findings) {
    let items = format!("{at}/items");
    findings.refuse_if(files.items.is_empty(), &items, "names no file; give each file's name and content");
    let too_large = files.owner.is_some_and(|owner| i32::try_from(owner).is_err());
    findings.refuse_if(too_large, format!("{at}/owner"), "is no user id; it is at most 2147483647");
    if !findings.count(&items, files.items.len(), SECRET_FILES_MAX) {
        return;
    }
    for (file, secret) in &files.items {
        let pointer = join(&items, file);
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let good = (1..=SECRET_FILE_NAME_CHARS_MAX).contains(&file.len())
            && file.chars().all(inside)
            && !matches!(file.as_str(), "." | "..");
        let message = "is no name of a file here: at most 100 letters, digits, `.`, `_` and `-`";
        findings.refuse_if(!good, &pointer, message);
        let message = "has no value; secrets are never returned, so send it again";
        findings.refuse_if(secret.is_empty(), &pointer, message);
        let long = secret.expose().len();
        if long > SECRET_FILE_BYTES_MAX {
            findings
                .add(&pointer, format!("is {long} bytes long; at most {SECRET_FILE_BYTES_MAX} are accepted"));
        }
    }
}

/// Whether a path is absolute and says itself where it leads.
fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= PATH_BYTES_MAX
        && !path.chars().any(char::is_control)
        && (path == "/" || path[1..].split('/').all(|part| !matches!(part, "" | "." | "..")))
}

const NOT_A_PATH: &str = "must be an absolute path without `.`, `..`, empty parts and a slash at its end";

fn host_path(pointer: &str, host: &HostPath, policy: &Policy, findings: &mut Findings) {
    if !is_plain_path(&host.path) {
        return findings.add(pointer, NOT_A_PATH);
    }
    let is_below = |root: &String| {
        let below = host.path.strip_prefix(root.trim_end_matches('/'));
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let message = match policy.host_paths.is_empty() {
        true => "this server gives containers no path of its host; use another volume",
        false => "is not on or below a path of its host that this server gives to containers",
    };
    findings.refuse_if(!policy.host_paths.iter().any(is_below), pointer, message);
}

fn mounts(at: &str, mounts: &[Mount], spec: &Spec, findings: &mut Findings) {
    let list = format!("{at}/mounts");
    if !findings.count(&list, mounts.len(), MOUNTS_MAX) {
        return;
    }
    let mut taken = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let known = spec.volumes.iter().any(|volume| volume.name == mount.volume);
        let pointer = format!("{list}/{index}/volume");
        findings.refuse_if(!known, &pointer, "names no volume of this job; add it to `volumes`");
        let pointer = format!("{list}/{index}/path");
        findings.refuse_if(!is_plain_path(&mount.path), &pointer, NOT_A_PATH);
        let kept = NO_MOUNT
            .iter()
            .any(|kept| mount.path == *kept || (*kept != "/" && mount.path.starts_with(&format!("{kept}/"))));
        findings.refuse_if(kept, &pointer, "no volume can be there; choose another path");
        let message = "has another volume of this container already; choose another path";
        findings.refuse_if(!taken.insert(&mount.path), &pointer, message);
    }
}

fn probe(at: &str, probe: &Probe, spec: &Spec, findings: &mut Findings) {
    let at = |field: &str| format!("{at}/probe{field}");
    let both = probe.exec.is_empty() == probe.http.is_none();
    findings.refuse_if(both, at(""), "must be exactly one of `exec` and `http`");
    if findings.count(at("/exec"), probe.exec.len(), ARGV_ITEMS_MAX) {
        for (index, word) in probe.exec.iter().enumerate() {
            findings.text(at(&format!("/exec/{index}")), word, ARG_BYTES_MAX);
        }
    }
    let empty = probe.exec.first().is_some_and(String::is_empty);
    findings.refuse_if(empty, at("/exec/0"), "is the program to run and cannot be empty");
    if let Some(http) = &probe.http {
        findings.refuse_if(http.port == 0, at("/http/port"), "must be between 1 and 65535");
        lifecycle::path(&at("/http/path"), &http.path, findings);
        findings.refuse_if(
            spec.network == Network::None,
            at("/http"),
            "a container without a network cannot be called; use `exec`, or set `network` to `default`",
        );
    }
    let often = probe.every.as_duration() < PROBE_EVERY_MIN;
    findings.refuse_if(often, at("/every"), "must be at least 1s");
    findings.span(at("/every"), Some(probe.every).filter(|_| !often));
    findings.span(at("/timeout"), Some(probe.timeout));
    let long = probe.timeout.as_duration() > PROBE_TIMEOUT_MAX;
    findings.refuse_if(long, at("/timeout"), "must be at most 5m");
    findings.span(at("/initial_delay"), Some(probe.initial_delay).filter(|delay| delay.as_millis() > 0));
    let failures = (1..=PROBE_FAILURES_MAX).contains(&probe.failures);
    findings.refuse_if(!failures, at("/failures"), "must be between 1 and 100");
}
