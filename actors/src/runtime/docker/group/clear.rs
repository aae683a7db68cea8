//! Clearing a group away, also what is left of one without its main container.
//!
//! Invariants: only containers and volumes are touched whose labels and names are those of the attempt; volumes go when
//! no container has them any more.

use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};

use super::super::engine::{Engine, One};
use super::super::errors::Fault;
use super::super::labels;
use super::volumes;
use crate::id::AttemptKey;
use crate::limits::{ENGINE_CHANGE_TIMEOUT, ENGINE_LIST_TIMEOUT};
use crate::runtime::Result;

/// Removes every container of the attempt beside the main one, whatever it does.
pub(in super::super) async fn clear(engine: &Engine, key: AttemptKey) -> Result<()> {
    let filter = labels::filter_of(engine.options.installation, key);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
    let ask = async |client: bollard::Docker| client.list_containers(Some(options)).await;
    let listed = engine.connection.call(ENGINE_LIST_TIMEOUT, ask).await.map_err(Fault::unknown)?;
    for summary in listed {
        let Some(part) = summary.labels.as_ref().and_then(|labels| labels.get(labels::PART)) else {
            continue;
        };
        let name = engine.name_of(&One::part(key, part));
        // Labels can be copied; the name is the claim.
        let ours = summary.names.is_some_and(|names| names.contains(&format!("/{name}")));
        let Some(id) = summary.id.filter(|_| ours) else { continue };
        let options = RemoveContainerOptionsBuilder::new().v(true).force(true).build();
        let ask = async |client: bollard::Docker| client.remove_container(&id, Some(options)).await;
        match engine.connection.call(ENGINE_CHANGE_TIMEOUT, ask).await {
            Err(fault) if fault.is_absent() => {}
            Err(fault) if fault.is_conflict() && fault.to_string().contains("already in progress") => {}
            Err(fault) => return Err(fault.not_done("remove a container")),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Removes what is left of an attempt that has no main container, if anything is.
pub(in super::super) async fn clear_leftovers(engine: &Engine, key: AttemptKey) -> Result<()> {
    if !engine.leftovers.lock().contains(&key) {
        return Ok(());
    }
    clear(engine, key).await?;
    volumes::remove(engine, key).await?;
    engine.leftovers.lock().remove(&key);
    Ok(())
}
