//! An attempt of several containers: made, looked at, moved on, stopped and cleared away as one.
//!
//! Responsible for: the containers and volumes of a group (`make.rs`, `bodies.rs`, `volumes.rs`, `anchor.rs`,
//! `clear.rs`) and doing what is due. Not responsible for: what the states of the parts mean, which is
//! [`runtime::group`](crate::runtime::group), nor for when anything happens.
//!
//! Invariants:
//! - the main container is made last and removed before the volumes: while it is there the group is whole or was
//!   tampered with, and what is left without it is found by its labels (`leftovers`);
//! - the anchor runs from before the first container is started until after the last one has ended, so that the network
//!   namespace and what is in memory volumes are the same for all of them;
//! - only what was created and never started is started.

mod anchor;
mod bodies;
mod clear;
mod make;
mod tar;
mod volumes;

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use super::engine::{Engine, Found, One};
use super::{finish, labels, observe, start};
use crate::id::AttemptKey;
use crate::job::group::MAIN;
use crate::job::spec::StopSignal;
use crate::limits::SIDECAR_GRACE_MIN;
use crate::runtime::group::{Group, Parts, observation};
use crate::runtime::{Due, Error, Observation, Result};

pub(super) use self::clear::{clear, clear_leftovers};
pub(super) use self::make::create;
pub(super) use self::volumes::keys as volume_keys;

/// The part that holds what the others share. No container of a user has an underscore in its name.
const ANCHOR: &str = "_anchor";

/// What the label of the main container says: the names of the init containers and of the sidecars.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names {
    init: Vec<String>,
    sidecars: Vec<String>,
}

impl Names {
    fn label(group: &Group) -> String {
        let names = |members: &[crate::runtime::group::Member]| {
            members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(",")
        };
        format!("{};{}", names(&group.init), names(&group.sidecars))
    }

    fn read(label: &str) -> Self {
        let (init, sidecars) = label.split_once(';').unwrap_or((label, ""));
        let list = |text: &str| text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self { init: list(init), sidecars: list(sidecars) }
    }
}

fn names(main: &Found) -> Option<Names> {
    let labels = main.inspect.config.as_ref()?.labels.as_ref()?;
    labels.get(labels::GROUP).map(|label| Names::read(label))
}

/// The names of the containers beside this main one.
pub(super) fn members(main: &Found) -> Vec<String> {
    names(main).map(|names| [names.init, names.sidecars].concat()).unwrap_or_default()
}

/// Whether a container holds what the others share, and does no work of its user.
pub(super) fn is_ours(one: &One) -> bool {
    one.part.as_deref() == Some(ANCHOR)
}

/// Whether something stands beside this main container.
pub(super) fn is_group(main: &Found) -> bool {
    names(main).is_some()
}

/// What is known of the attempt of this main container.
pub(super) async fn observe(engine: &Engine, key: AttemptKey, main: Found) -> Result<Observation> {
    let Some(names) = names(&main) else { return Ok(main.observation) };
    let (parts, anchor) = look(engine, key, names, main).await?;
    Ok(match observation(&parts) {
        Observation::Running(mut running) if matches!(parts.main, Observation::Running(_)) => {
            // The network and its published port are the anchor's.
            running.address = anchor.and_then(|anchor| observe::address(&anchor.inspect));
            Observation::Running(running)
        }
        seen => seen,
    })
}

async fn look(engine: &Engine, key: AttemptKey, names: Names, main: Found) -> Result<(Parts, Option<Found>)> {
    let see = async |name: String| {
        let seen = engine.see(&One::part(key, &name)).await?;
        Ok::<_, Error>((name, seen))
    };
    let anchor = engine.find_one(&One::part(key, ANCHOR)).await?;
    let parts = Parts {
        anchor: anchor.as_ref().map_or(Observation::Absent, |found| found.observation.clone()),
        init: try_join_all(names.init.into_iter().map(see)).await?,
        sidecars: try_join_all(names.sidecars.into_iter().map(see)).await?,
        runtime_id: main.inspect.id.unwrap_or_else(|| engine.name(key)),
        main: main.observation,
    };
    Ok((parts, anchor))
}

/// The container whose end is awaited, the main one or one before it; `None` when something is due at once.
pub(super) async fn awaited(engine: &Engine, key: AttemptKey, main: Found) -> Option<(One, Observation)> {
    if matches!(main.observation, Observation::Running(_)) {
        return Some((One::main(key), main.observation));
    }
    let names = names(&main)?;
    let (parts, _) = look(engine, key, names, main).await.ok()?;
    let init = parts.init.into_iter().find(|(_, seen)| matches!(seen, Observation::Running(_)));
    init.map(|(name, seen)| (One::part(key, &name), seen))
}

/// Starts whatever of it can be started now.
pub(super) async fn start(engine: &Engine, key: AttemptKey, main: Found) -> Result<()> {
    let Some(names) = names(&main) else { return Ok(()) };
    // Every start moves it on by one container, and an init container has to end first.
    for _ in 0..=names.init.len() + names.sidecars.len() {
        let (parts, _) = look(engine, key, names.clone(), main_now(engine, key).await?).await?;
        let next = match observation(&parts) {
            Observation::Created => {
                parts.init.first().or_else(|| parts.sidecars.first()).map(|(name, _)| name.clone())
            }
            Observation::Due(_, Due::Start(name)) => Some(name),
            Observation::Incomplete => {
                let message = format!("attempt {key} is not whole; create it first");
                return Err(Error::Transient { message });
            }
            _ => return Ok(()),
        };
        let one = match next {
            Some(name) if name != MAIN => One::part(key, &name),
            _ => One::main(key),
        };
        let Some(found) = engine.find_one(&one).await? else { return Ok(()) };
        start::start_found(engine, &one, &found).await.map_err(|error| of_part(&one, error))?;
    }
    Ok(())
}

async fn main_now(engine: &Engine, key: AttemptKey) -> Result<Found> {
    let gone = || Error::Transient { message: format!("attempt {key} has no main container any more") };
    engine.find(key).await?.ok_or_else(gone)
}

/// The error, with the container that it is about.
fn of_part(one: &One, error: Error) -> Error {
    match (error, &one.part) {
        (Error::Start { fault, message }, Some(part)) => {
            Error::Start { fault, message: format!("container `{part}`: {message}") }
        }
        (error, _) => error,
    }
}

/// Stops it: first what does the work, then what stands beside it, last the anchor.
pub(super) async fn stop(
    engine: &Engine,
    key: AttemptKey,
    main: Found,
    signal: StopSignal,
    grace: Duration,
) -> Result<()> {
    let Some(names) = names(&main) else { return Ok(()) };
    let by = Instant::now() + grace;
    finish::stop_one(engine, &One::main(key), signal, grace).await?;
    for name in &names.init {
        finish::stop_one(engine, &One::part(key, name), signal, left(by, signal)).await?;
    }
    let ends = names.sidecars.iter().map(|name| {
        let one = One::part(key, name);
        async move { finish::stop_one(engine, &one, signal, left(by, signal)).await }
    });
    join_all(ends).await.into_iter().collect::<Result<()>>()?;
    finish::stop_one(engine, &One::part(key, ANCHOR), StopSignal::Sigkill, Duration::ZERO).await
}

/// What is left of the grace: never nothing, where there was one.
fn left(by: Instant, signal: StopSignal) -> Duration {
    match signal {
        StopSignal::Sigkill => Duration::ZERO,
        _ => by.saturating_duration_since(Instant::now()).max(SIDECAR_GRACE_MIN),
    }
}

/// Where a port of it can be reached: in the network of the container that has one.
pub(super) async fn network_of(engine: &Engine, key: AttemptKey) -> Result<Option<Found>> {
    match engine.find(key).await? {
        Some(main) if is_group(&main) => engine.find_one(&One::part(key, ANCHOR)).await,
        found => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_keeps_the_names_and_their_order() {
        let table = [("a,b;c", &["a", "b"][..], &["c"][..]), (";", &[], &[]), (";c,d", &[], &["c", "d"])];
        for (label, init, sidecars) in table {
            let read = Names::read(label);
            assert_eq!((read.init, read.sidecars), (owned(init), owned(sidecars)), "{label}");
        }
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}
