//! The end of an attempt: waiting for it, bringing it about, clearing it away.
//!
//! Invariants: the engine's `wait` only says when to look (FACTS docker 3, 7); the timer of a stop is our own,
//! so that no client timeout can cut it short; nothing that runs is ever removed.

use std::time::Duration;

use bollard::errors::Error::DockerContainerWaitError;
use bollard::models::ContainerStateStatusEnum as Status;
use bollard::query_parameters::{
    KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::engine::{Engine, Found, Main, One};
use super::errors::Fault;
use super::group;
use crate::id::AttemptKey;
use crate::job::spec::StopSignal;
use crate::limits::{CONTAINER_KILL_WAIT, ENGINE_CHANGE_TIMEOUT, ENGINE_KILL_TIMEOUT, ENGINE_RETRY_PAUSE};
use crate::runtime::{Error, Observation, Result};

/// Returns when the attempt may have ended, or after `patience`.
pub(super) async fn wait(engine: &Engine, key: AttemptKey, patience: Duration) {
    let ended = async {
        let (one, seen) = match engine.main(key).await {
            Ok(Main::Alone(seen)) => (One::main(key), seen),
            Ok(Main::Absent) => return,
            Ok(Main::Group(main)) => match Box::pin(group::awaited(engine, key, *main)).await {
                Some(awaited) => awaited,
                None => return,
            },
            Err(_) => return sleep(ENGINE_RETRY_PAUSE).await,
        };
        wait_seen(engine, &one, Ok(seen)).await;
    };
    // Out of patience is one of the two ways to return.
    drop(timeout(patience, ended).await);
}

/// Returns when this container may have ended, or after `patience`.
pub(super) async fn wait_one(engine: &Engine, one: &One, patience: Duration) {
    let ended = async { wait_seen(engine, one, engine.see(one).await).await };
    drop(timeout(patience, ended).await);
}

async fn wait_seen(engine: &Engine, one: &One, seen: Result<Observation>) {
    // Asked of a container that was never started, a plain wait returns at once with an exit code of 0.
    let condition = match seen {
        Ok(Observation::Running(_)) => "not-running",
        Ok(Observation::Created) => "next-exit",
        Ok(_) => return,
        Err(_) => return sleep(ENGINE_RETRY_PAUSE).await,
    };
    let Ok(client) = engine.connection.long().await else { return sleep(ENGINE_RETRY_PAUSE).await };
    let options = WaitContainerOptionsBuilder::new().condition(condition).build();
    let name = engine.name_of(one);
    let mut waits = std::pin::pin!(client.wait_container(&name, Some(options)));
    match waits.next().await {
        // The client calls every exit code but 0 an error.
        None | Some(Ok(_) | Err(DockerContainerWaitError { .. })) => {}
        Some(Err(error)) => {
            engine.connection.drop_if_lost(&Fault::from(error));
            sleep(ENGINE_RETRY_PAUSE).await;
        }
    }
}

/// Signals, waits up to `grace`, kills, and returns when the attempt has ended.
pub(super) async fn stop(
    engine: &Engine,
    key: AttemptKey,
    signal: StopSignal,
    grace: Duration,
) -> Result<()> {
    match engine.main(key).await? {
        Main::Group(main) => Box::pin(group::stop(engine, key, *main, signal, grace)).await,
        Main::Alone(seen) => stop_seen(engine, &One::main(key), seen, signal, grace).await,
        Main::Absent => Ok(()),
    }
}

/// The same for one container.
pub(super) async fn stop_one(engine: &Engine, one: &One, signal: StopSignal, grace: Duration) -> Result<()> {
    stop_seen(engine, one, engine.see(one).await?, signal, grace).await
}

async fn stop_seen(
    engine: &Engine,
    one: &One,
    seen: Observation,
    signal: StopSignal,
    grace: Duration,
) -> Result<()> {
    if !matches!(seen, Observation::Running(_)) {
        return Ok(());
    }
    if signal != StopSignal::Sigkill {
        kill(engine, one, signal).await?;
        if ends_within(engine, one, grace).await? {
            return Ok(());
        }
    }
    kill(engine, one, StopSignal::Sigkill).await?;
    if ends_within(engine, one, CONTAINER_KILL_WAIT).await? {
        return Ok(());
    }
    let message = format!(
        "{one} still runs {} s after SIGKILL; look at the host for processes stuck in the kernel",
        CONTAINER_KILL_WAIT.as_secs()
    );
    Err(Error::Transient { message })
}

async fn ends_within(engine: &Engine, one: &One, span: Duration) -> Result<bool> {
    let deadline = Instant::now() + span;
    loop {
        wait_one(engine, one, deadline.saturating_duration_since(Instant::now())).await;
        match engine.see(one).await {
            Ok(Observation::Running(_)) if Instant::now() >= deadline => return Ok(false),
            Ok(Observation::Running(_)) => {}
            Ok(_) => return Ok(true),
            // An engine that is away for a moment does not shorten the grace.
            Err(error) if !error.is_retryable() || Instant::now() >= deadline => return Err(error),
            Err(_) => {}
        }
    }
}

async fn kill(engine: &Engine, one: &One, signal: StopSignal) -> Result<()> {
    let name = engine.name_of(one);
    let options = KillContainerOptionsBuilder::new().signal(signal.name()).build();
    let ask = async |client: bollard::Docker| client.kill_container(&name, Some(options)).await;
    match engine.connection.call(ENGINE_KILL_TIMEOUT, ask).await {
        Ok(()) => Ok(()),
        // It ended, or was removed, in between.
        Err(fault) if fault.is_absent() || fault.is_conflict() => Ok(()),
        Err(fault) => match engine.see(one).await {
            Ok(Observation::Running(_)) | Err(_) => Err(fault.not_done("signal the container")),
            Ok(_) => Ok(()),
        },
    }
}

/// Removes what is left of an attempt that is not running, with the volumes that its image made.
pub(super) async fn remove(engine: &Engine, key: AttemptKey) -> Result<()> {
    let Some(found) = engine.find(key).await? else {
        return Box::pin(group::clear_leftovers(engine, key)).await;
    };
    match group::is_group(&found) {
        true => Box::pin(remove_group(engine, key, found)).await,
        false => remove_found(engine, &One::main(key), found).await,
    }
}

async fn remove_group(engine: &Engine, key: AttemptKey, found: Found) -> Result<()> {
    let seen = Box::pin(group::observe(engine, key, found.clone())).await?;
    if let Observation::Running(_) | Observation::Due(..) = seen {
        return Err(Error::Transient { message: format!("attempt {key} still runs; stop it first") });
    }
    // From here on a half of it is found again without its main container.
    engine.leftovers.lock().insert(key);
    group::clear(engine, key).await?;
    remove_found(engine, &One::main(key), found).await?;
    group::clear_leftovers(engine, key).await
}

async fn remove_found(engine: &Engine, one: &One, found: Found) -> Result<()> {
    if let Observation::Running(_) = found.observation {
        return Err(Error::Transient { message: format!("{one} still runs; stop it first") });
    }
    // Only the remains of a removal that failed half-way need force; on anything that might have begun to
    // run in the meantime it would kill.
    let half_removed = found.inspect.state.and_then(|state| state.status) == Some(Status::DEAD);
    let options = RemoveContainerOptionsBuilder::new().v(true).force(half_removed).build();
    let id = found.inspect.id.unwrap_or_else(|| engine.name_of(one));
    let ask = async |client: bollard::Docker| client.remove_container(&id, Some(options)).await;
    match engine.connection.call(ENGINE_CHANGE_TIMEOUT, ask).await {
        Ok(()) => Ok(()),
        Err(fault) if fault.is_absent() => Ok(()),
        Err(fault) if fault.is_conflict() && fault.to_string().contains("already in progress") => Ok(()),
        Err(fault) => Err(fault.not_done("remove the container")),
    }
}
