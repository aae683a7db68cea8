//! The end of an attempt: waiting for it, bringing it about, clearing it away.
//!
//! Invariants: the engine's `wait` only says when to look (FACTS docker 3, 7); the timer of a stop is our own,
//! so that no client timeout can cut it short; nothing that runs is ever removed.

use std::time::Duration;

use bollard::models::ContainerStateStatusEnum as Status;
use bollard::query_parameters::{
    KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::engine::Engine;
use super::errors::Fault;
use crate::id::AttemptKey;
use crate::job::spec::StopSignal;
use crate::limits::{CONTAINER_KILL_WAIT, ENGINE_CHANGE_TIMEOUT, ENGINE_KILL_TIMEOUT, ENGINE_RETRY_PAUSE};
use crate::runtime::{Error, Observation, Result};

/// Returns when the attempt may have ended, or after `patience`.
pub(super) async fn wait(engine: &Engine, key: AttemptKey, patience: Duration) {
    let ended = async {
        // Asked of a container that was never started, a plain wait returns at once with an exit code of 0.
        let condition = match engine.observe(key).await {
            Ok(Observation::Running(_)) => "not-running",
            Ok(Observation::Created) => "next-exit",
            Ok(Observation::Absent | Observation::Exited(_)) => return,
            Err(_) => return sleep(ENGINE_RETRY_PAUSE).await,
        };
        let Ok(client) = engine.connection.long().await else { return sleep(ENGINE_RETRY_PAUSE).await };
        let options = WaitContainerOptionsBuilder::new().condition(condition).build();
        let name = engine.name(key);
        let mut waits = std::pin::pin!(client.wait_container(&name, Some(options)));
        match waits.next().await.map(|answer| answer.map_err(Fault::from)) {
            Some(Err(fault)) if !matches!(fault, Fault::Answered { .. }) => {
                // Every exit code but 0 is such an error too; the look that follows tells them apart.
                sleep(Duration::ZERO).await;
            }
            _ => {}
        }
    };
    // Out of patience is one of the two ways to return.
    drop(timeout(patience, ended).await);
}

/// Signals, waits up to `grace`, kills, and returns when the attempt has ended.
pub(super) async fn stop(
    engine: &Engine,
    key: AttemptKey,
    signal: StopSignal,
    grace: Duration,
) -> Result<()> {
    if !runs(engine, key).await? {
        return Ok(());
    }
    if signal != StopSignal::Sigkill {
        kill(engine, key, signal).await?;
        if ends_within(engine, key, grace).await? {
            return Ok(());
        }
    }
    kill(engine, key, StopSignal::Sigkill).await?;
    if ends_within(engine, key, CONTAINER_KILL_WAIT).await? {
        return Ok(());
    }
    let message = format!(
        "attempt {key} still runs {} s after SIGKILL; look at the host for processes stuck in the kernel",
        CONTAINER_KILL_WAIT.as_secs()
    );
    Err(Error::Transient { message })
}

async fn runs(engine: &Engine, key: AttemptKey) -> Result<bool> {
    Ok(matches!(engine.observe(key).await?, Observation::Running(_)))
}

async fn ends_within(engine: &Engine, key: AttemptKey, span: Duration) -> Result<bool> {
    let deadline = Instant::now() + span;
    loop {
        wait(engine, key, deadline.saturating_duration_since(Instant::now())).await;
        match engine.observe(key).await {
            Ok(Observation::Running(_)) if Instant::now() >= deadline => return Ok(false),
            Ok(Observation::Running(_)) => {}
            Ok(_) => return Ok(true),
            // An engine that is away for a moment does not shorten the grace.
            Err(error) if !error.is_retryable() || Instant::now() >= deadline => return Err(error),
            Err(_) => {}
        }
    }
}

async fn kill(engine: &Engine, key: AttemptKey, signal: StopSignal) -> Result<()> {
    let name = engine.name(key);
    let options = KillContainerOptionsBuilder::new().signal(signal.name()).build();
    let ask = async |client: bollard::Docker| client.kill_container(&name, Some(options)).await;
    match engine.connection.call(ENGINE_KILL_TIMEOUT, ask).await {
        Ok(()) => Ok(()),
        // It ended, or was removed, in between.
        Err(fault) if fault.is_absent() || fault.is_conflict() => Ok(()),
        Err(fault) => match engine.observe(key).await {
            Ok(Observation::Running(_)) | Err(_) => Err(fault.not_done("signal the container")),
            Ok(_) => Ok(()),
        },
    }
}

/// Removes what is left of an attempt that is not running, with the volumes that its image made.
pub(super) async fn remove(engine: &Engine, key: AttemptKey) -> Result<()> {
    let Some(found) = engine.find(key).await? else { return Ok(()) };
    if let Observation::Running(_) = found.observation {
        return Err(Error::Transient { message: format!("attempt {key} still runs; stop it first") });
    }
    // Only the remains of a removal that failed half-way need force; on anything that might have begun to
    // run in the meantime it would kill.
    let half_removed = found.inspect.state.and_then(|state| state.status) == Some(Status::DEAD);
    let options = RemoveContainerOptionsBuilder::new().v(true).force(half_removed).build();
    let id = found.inspect.id.unwrap_or_else(|| engine.name(key));
    let ask = async |client: bollard::Docker| client.remove_container(&id, Some(options)).await;
    match engine.connection.call(ENGINE_CHANGE_TIMEOUT, ask).await {
        Ok(()) => Ok(()),
        Err(fault) if fault.is_absent() => Ok(()),
        Err(fault) if fault.is_conflict() && fault.to_string().contains("already in progress") => Ok(()),
        Err(fault) => Err(fault.not_done("remove the container")),
    }
}
