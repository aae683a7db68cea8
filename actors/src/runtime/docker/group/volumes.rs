//! The volumes of a group.
//!
//! They are the engine's own, named by the attempt and labelled as ours: so nothing of them is on a file system that
//! dogwatch would need rights to clean, they are where the engine is, and whatever dies, a list finds them. What is in
//! memory lives as long as the anchor has it mounted; secrets are written through the anchor and never to a disk.
//!
//! Invariants: a volume of that name that has not our labels is not touched; a path of the host is what it seems: no
//! link on it leads out of what the server allows.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{
    ListVolumesOptionsBuilder, RemoveVolumeOptions, UploadToContainerOptionsBuilder,
};

use super::super::create_body::numeric_owner;
use super::super::engine::{Engine, One};
use super::super::errors::{Fault, of_start};
use super::super::labels;
use super::tar::Tar;
use super::{ANCHOR, anchor};
use crate::id::AttemptKey;
use crate::limits::{ENGINE_CHANGE_TIMEOUT, ENGINE_LIST_TIMEOUT, SECRET_VOLUME_SLACK_BYTES};
use crate::runtime::group::{Source, Volume};
use crate::runtime::{Error, Plan, Result, StartFault};

/// Makes the volumes exist, and resolves the paths of the host.
pub(super) async fn create(engine: &Engine, plan: &mut Plan) -> Result<()> {
    let (key, installation) = (plan.key, plan.installation);
    for volume in &mut plan.group.volumes {
        if let Source::Host { path, .. } = &mut volume.source {
            *path = resolved(engine, path).await?;
            continue;
        }
        let name = engine.name_of(&One::part(key, &volume.name));
        let mut labels = labels::of_attempt(&Default::default(), installation, key, None);
        labels.insert(labels::PART.to_owned(), volume.name.clone());
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            driver: Some("local".to_owned()),
            driver_opts: options(volume),
            labels: Some(labels),
            ..VolumeCreateRequest::default()
        };
        let ask = async |client: bollard::Docker| client.create_volume(request).await;
        let made = engine.connection.call(ENGINE_CHANGE_TIMEOUT, ask).await.map_err(of_start)?;
        if labels::attempt(Some(&made.labels), engine.options.installation) != Some(key) {
            return Err(Error::Foreign { name });
        }
    }
    Ok(())
}

fn options(volume: &Volume) -> Option<HashMap<String, String>> {
    let in_memory = |options: String| {
        let words = [("type", "tmpfs".to_owned()), ("device", "tmpfs".to_owned()), ("o", options)];
        Some(words.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    match &volume.source {
        Source::Disk | Source::Host { .. } => None,
        Source::Memory(bytes) => in_memory(format!("size={bytes},mode=1777,nosuid,nodev")),
        Source::Secrets { files, .. } => {
            let bytes: u64 = files.values().map(|secret| secret.expose().len() as u64).sum();
            let size = bytes.saturating_add(SECRET_VOLUME_SLACK_BYTES);
            in_memory(format!("size={size},mode=0755,noexec,nosuid,nodev"))
        }
    }
}

/// The path without links, when it is still one that the server allows.
async fn resolved(engine: &Engine, path: &str) -> Result<String> {
    // Of another machine's links nothing is known here.
    if !engine.connection.is_local() {
        return Ok(path.to_owned());
    }
    let (path, roots) = (path.to_owned(), engine.options.host_paths.clone());
    let looked = tokio::task::spawn_blocking(move || look(&path, &roots)).await;
    let message = "a path of the host could not be looked at; dogwatch is shutting down".to_owned();
    looked.unwrap_or(Err(Error::Transient { message }))
}

fn look(path: &str, roots: &[String]) -> Result<String> {
    let refused = |message: String| Error::Start { fault: StartFault::Rejected, message };
    let real = std::fs::canonicalize(path).map_err(|error| {
        refused(format!(
            "{path} of the host cannot be given to a container: {error}; create it or name another"
        ))
    })?;
    let is_allowed =
        |root: &String| std::fs::canonicalize(Path::new(root)).is_ok_and(|root| real.starts_with(root));
    let text = real.to_str().filter(|_| roots.iter().any(is_allowed));
    text.map(str::to_owned).ok_or_else(|| {
        refused(format!(
            "{path} of the host leads out of what this server gives to containers; change the link"
        ))
    })
}

/// Writes the secrets through the anchor, which runs.
pub(super) async fn write_secrets(engine: &Engine, plan: &Plan) -> Result<()> {
    let name = engine.name_of(&One::part(plan.key, ANCHOR));
    for (index, volume) in plan.group.volumes.iter().enumerate() {
        let Source::Secrets { files, owner } = &volume.source else { continue };
        let owner = owner.or_else(|| numeric_owner(plan)).unwrap_or(0);
        let tar = files.iter().fold(Tar::default(), |tar, (file, secret)| {
            tar.file(file, 0o400, owner, secret.expose().as_bytes())
        });
        let options = UploadToContainerOptionsBuilder::new().path(&anchor::mount_point(index)).build();
        let body = bollard::body_full(tar.finish().into());
        let ask =
            async |client: bollard::Docker| client.upload_to_container(&name, Some(options), body).await;
        let written = engine.connection.call(ENGINE_CHANGE_TIMEOUT, ask).await;
        written.map_err(|fault| fault.not_done("write the files with secrets"))?;
    }
    Ok(())
}

/// The attempts of which there are volumes.
pub(in super::super) async fn keys(engine: &Engine) -> Result<Vec<AttemptKey>> {
    let installation = engine.options.installation;
    let found = list(engine, labels::filter(installation)).await?;
    Ok(found.into_iter().filter_map(|(_, key)| key).collect())
}

async fn list(
    engine: &Engine,
    filter: HashMap<&'static str, Vec<String>>,
) -> Result<Vec<(String, Option<AttemptKey>)>> {
    let options = ListVolumesOptionsBuilder::new().filters(&filter).build();
    let ask = async |client: bollard::Docker| client.list_volumes(Some(options)).await;
    let found = engine.connection.call(ENGINE_LIST_TIMEOUT, ask).await.map_err(Fault::unknown)?;
    let installation = engine.options.installation;
    let volumes = found.volumes.unwrap_or_default().into_iter();
    Ok(volumes
        .map(|volume| {
            let key = labels::attempt(Some(&volume.labels), installation);
            // Labels can be copied; the name is the claim.
            let part = volume.labels.get(labels::PART);
            let named = key.zip(part).map(|(key, part)| engine.name_of(&One::part(key, part)));
            let ours = named.as_ref() == Some(&volume.name);
            (volume.name, key.filter(|_| ours))
        })
        .collect())
}

/// Removes the volumes of an attempt that has no container any more.
pub(super) async fn remove(engine: &Engine, key: AttemptKey) -> Result<()> {
    for (name, whose) in list(engine, labels::filter_of(engine.options.installation, key)).await? {
        if whose != Some(key) {
            continue;
        }
        let ask =
            async |client: bollard::Docker| client.remove_volume(&name, None::<RemoveVolumeOptions>).await;
        match engine.connection.call(ENGINE_CHANGE_TIMEOUT, ask).await {
            Err(fault) if !fault.is_absent() => return Err(fault.not_done("remove a volume")),
            _ => {}
        }
    }
    Ok(())
}
