//! The requests that create the containers of a group: those of any container, in the anchor's network and with mounts.
//!
//! Responsible for: what differs from a container that stands alone. Not responsible for: everything else of it, which is
//! constructed in `create_body.rs`; nothing of its hardening is loosened here.
//!
//! Invariants: no mount leads to a path of the host but one that the plan names, which was checked (`volumes.rs`); a
//! volume of secrets is never writable.

use bollard::models::{ContainerCreateBody, Mount, MountBindOptions, MountType, MountVolumeOptions};

use super::super::create_body::{create_body, hardened, service_ports};
use super::super::engine::{Engine, One};
use super::super::image_reference::Reference;
use super::super::labels;
use super::{ANCHOR, Names, anchor};
use crate::id::AttemptKey;
use crate::job::group;
use crate::job::spec::Network;
use crate::runtime::group::{Member, Source, Volume};
use crate::runtime::{Plan, Result};

/// The main container.
pub(super) fn main(engine: &Engine, plan: &Plan, image: &Reference) -> Result<ContainerCreateBody> {
    let mut body = in_the_network(engine, plan, image, &plan.group.mounts)?;
    body.labels.get_or_insert_default().insert(labels::GROUP.to_owned(), Names::label(&plan.group));
    Ok(body)
}

/// A container beside it.
pub(super) fn member(
    engine: &Engine,
    plan: &Plan,
    member: &Member,
    image: &Reference,
) -> Result<ContainerCreateBody> {
    let its = Plan {
        image: Some(member.image.clone()),
        entrypoint: member.entrypoint.clone(),
        args: member.args.clone(),
        env: member.env.clone(),
        working_dir: member.working_dir.clone(),
        resources: member.resources.clone(),
        user: member.user.clone(),
        ..plan.clone()
    };
    let mut body = in_the_network(engine, &its, image, &member.mounts)?;
    body.labels.get_or_insert_default().insert(labels::PART.to_owned(), member.name.clone());
    Ok(body)
}

/// The anchor: the network, its published port, and every volume of an engine.
pub(super) fn anchor(engine: &Engine, plan: &Plan) -> ContainerCreateBody {
    let mut host = hardened(&engine.options.defaults);
    if plan.network == Network::None {
        host.network_mode = Some("none".to_owned());
        host.extra_hosts = None;
    }
    let (exposed_ports, bindings) = service_ports(plan);
    host.port_bindings = bindings;
    let volumes = plan.group.volumes.iter().enumerate();
    let mounts = volumes.filter_map(|(index, volume)| match volume.source {
        Source::Host { .. } => None,
        Source::Disk => Some(of_engine(engine, plan.key, volume, anchor::mount_point(index), false, true)),
        Source::Memory(_) | Source::Secrets { .. } => {
            Some(of_engine(engine, plan.key, volume, anchor::mount_point(index), false, false))
        }
    });
    host.mounts = Some(mounts.collect());
    let mut labels =
        labels::of_attempt(&Default::default(), plan.installation, plan.key, engine.boot.id.as_deref());
    labels.insert(labels::PART.to_owned(), ANCHOR.to_owned());
    ContainerCreateBody {
        image: Some(anchor::image()),
        entrypoint: Some(vec![anchor::PROGRAM.to_owned()]),
        user: Some(super::super::create_body::RESTRICTED_USER.to_owned()),
        labels: Some(labels),
        exposed_ports,
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

fn in_the_network(
    engine: &Engine,
    plan: &Plan,
    image: &Reference,
    mounts: &[group::Mount],
) -> Result<ContainerCreateBody> {
    let mut body = create_body(plan, image, &engine.options.defaults, &engine.boot)?;
    // Whoever joins a network brings none of it.
    body.exposed_ports = None;
    let host = body.host_config.get_or_insert_default();
    host.network_mode = Some(format!("container:{}", engine.name_of(&One::part(plan.key, ANCHOR))));
    host.extra_hosts = None;
    host.port_bindings = None;
    if let Some(tmpfs) = &mut host.tmpfs {
        tmpfs.retain(|path, _| mounts.iter().all(|mount| mount.path != *path));
    }
    let all = mounts.iter().filter_map(|mount| {
        let volume = plan.group.volumes.iter().find(|volume| volume.name == mount.volume)?;
        Some(mount_of(engine, plan.key, volume, mount))
    });
    host.mounts = Some(all.collect());
    Ok(body)
}

fn mount_of(engine: &Engine, key: AttemptKey, volume: &Volume, mount: &group::Mount) -> Mount {
    match &volume.source {
        Source::Host { path, read_only } => Mount {
            target: Some(mount.path.clone()),
            source: Some(path.clone()),
            typ: Some(MountType::BIND),
            read_only: Some(*read_only || mount.read_only),
            // A path that is not there is an error, and not made.
            bind_options: Some(MountBindOptions { create_mountpoint: None, ..MountBindOptions::default() }),
            ..Mount::default()
        },
        source => {
            let read_only = mount.read_only || matches!(source, Source::Secrets { .. });
            of_engine(engine, key, volume, mount.path.clone(), read_only, false)
        }
    }
}

/// A volume of the engine. Only the anchor's mount point gives it its mode: not what an image has there.
fn of_engine(
    engine: &Engine,
    key: AttemptKey,
    volume: &Volume,
    target: String,
    read_only: bool,
    takes_mode: bool,
) -> Mount {
    let options = MountVolumeOptions { no_copy: Some(!takes_mode), ..MountVolumeOptions::default() };
    Mount {
        target: Some(target),
        source: Some(engine.name_of(&One::part(key, &volume.name))),
        typ: Some(MountType::VOLUME),
        read_only: Some(read_only),
        volume_options: Some(options),
        ..Mount::default()
    }
}
