//! From the containers, volumes and probes of a job to those of a plan. Pure.

use std::collections::BTreeMap;

use crate::job::group::{Container, Volume};
use crate::job::spec::Spec;
use crate::runtime::group::{self, Member, Probed, Source};
use crate::secret::Secret;

/// A container beside the main one, with the variables that every container of an attempt finds.
pub(super) fn member(container: &Container, spec: &Spec, own: &BTreeMap<String, Secret>) -> Member {
    let mut env: BTreeMap<String, Secret> =
        container.env.iter().map(|(name, value)| (name.clone(), Secret::new(value))).collect();
    env.extend(container.secrets.clone());
    env.extend(own.clone());
    Member {
        name: container.name.clone(),
        image: container.image.clone().or_else(|| spec.image.clone()).unwrap_or_default(),
        entrypoint: container.entrypoint.clone(),
        args: container.args.clone(),
        env,
        working_dir: container.working_dir.clone(),
        resources: container.resources.clone(),
        user: container.user.clone(),
        mounts: container.mounts.clone(),
    }
}

/// A volume; `None` for one that is nothing, which no valid job has.
pub(super) fn volume(volume: &Volume) -> Option<group::Volume> {
    let source = match (&volume.empty_dir, &volume.secret, &volume.host_path) {
        (Some(dir), _, _) => dir.size.map_or(Source::Disk, |size| Source::Memory(size.as_bytes())),
        (_, Some(secret), _) => Source::Secrets { files: secret.items.clone(), owner: secret.owner },
        (_, _, Some(host)) => Source::Host { path: host.path.clone(), read_only: host.read_only },
        (None, None, None) => return None,
    };
    Some(group::Volume { name: volume.name.clone(), source })
}

/// The probes of its containers.
pub(super) fn probes(spec: &Spec) -> Vec<Probed> {
    let main =
        spec.probe.clone().map(|probe| Probed { name: spec.main_name().to_owned(), member: None, probe });
    let others = spec.sidecars.iter().filter_map(|sidecar| {
        let (name, probe) = (sidecar.name.clone(), sidecar.probe.clone()?);
        Some(Probed { member: Some(name.clone()), name, probe })
    });
    main.into_iter().chain(others).collect()
}

/// The texts that no message of a probe may show; none where nothing is probed.
pub(super) fn secrets(spec: &Spec) -> Vec<Secret> {
    if probes(spec).is_empty() {
        return Vec::new();
    }
    let members = spec.members().flat_map(|container| container.secrets.values());
    let files = spec.volumes.iter().filter_map(|volume| volume.secret.as_ref());
    let files = files.flat_map(|secret| secret.items.values());
    spec.secrets.values().chain(members).chain(files).filter(|secret| !secret.is_empty()).cloned().collect()
}
