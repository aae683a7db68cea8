//! Starting an attempt, once.
//!
//! Invariant: the engine runs an exited container again when it is told to start it, so it is told only when
//! the container was just seen to be created and never started, and nobody else here is telling it (FACTS
//! docker 1; the caller shares one run per attempt through `single_flight.rs`). The engine answers an inspect
//! of a container only after a start of it that is under way, so this holds across our own restart too.

use std::sync::Arc;

use bollard::query_parameters::StartContainerOptions;

use super::command_check;
use super::engine::{Engine, Found, One};
use super::errors::{Fault, of_start};
use super::group;
use crate::id::AttemptKey;
use crate::limits::ENGINE_CHANGE_TIMEOUT;
use crate::runtime::{Error, Observation, Result};

/// Starts the attempt unless it was ever started.
pub(super) async fn start(engine: Arc<Engine>, key: AttemptKey) -> Result<()> {
    let found = engine.find(key).await?;
    let Some(found) = found else {
        return Err(Error::Transient { message: format!("attempt {key} has no container; create it first") });
    };
    match group::is_group(&found) {
        true => Box::pin(group::start(&engine, key, found)).await,
        false => start_found(&engine, &One::main(key), &found).await,
    }
}

/// Starts this container unless it was ever started.
pub(super) async fn start_found(engine: &Engine, one: &One, found: &Found) -> Result<()> {
    if found.observation != Observation::Created {
        return Ok(());
    }
    let name = engine.name_of(one);
    command_check::check(engine, &name, &found.inspect).await?;
    let ask =
        async |client: bollard::Docker| client.start_container(&name, None::<StartContainerOptions>).await;
    match engine.connection.call(ENGINE_CHANGE_TIMEOUT, ask).await {
        Ok(()) => Ok(()),
        Err(fault @ Fault::Unanswered(_)) => Err(fault.unknown()),
        // A refusal leaves the container `created`; anything else means that it did run.
        Err(fault) => match engine.see(one).await {
            Ok(Observation::Running(_) | Observation::Exited(_)) => Ok(()),
            _ if fault.is_absent() || fault.is_conflict() => Err(fault.not_done("start the container")),
            _ => Err(of_start(fault)),
        },
    }
}
