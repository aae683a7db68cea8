//! The engine as this installation sees it: what every operation needs to find its container.
//!
//! Responsible for: names, and refusing to look at what is not ours. Not responsible for: the operations.
//!
//! Invariant: a container is only ever read or changed after its name *and* its labels were found to be those
//! of the attempt in question.

use std::collections::HashSet;
use std::fmt;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::InspectContainerOptions;

use parking_lot::Mutex;

use super::boot::Boot;
use super::command_check::FoundCommands;
use super::connect::Connection;
use super::errors::{Answer, Fault};
use super::meter::{Meters, Source};
use super::observe::observation;
use super::{DockerOptions, NAME, engine_restart, group, labels, out_of_memory};
use crate::id::AttemptKey;
use crate::limits::ENGINE_QUERY_TIMEOUT;
use crate::runtime::{Error, Exit, Observation, Result};

/// What all operations share.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) options: DockerOptions,
    pub(super) connection: Connection,
    pub(super) boot: Boot,
    pub(super) found_commands: FoundCommands,
    /// Attempts of which something is left although their main container is gone (or not there yet).
    pub(super) leftovers: Mutex<HashSet<AttemptKey>>,
    /// What measures the containers that run.
    pub(super) meters: Meters,
}

/// One container of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct One {
    /// Of which attempt.
    pub(super) key: AttemptKey,
    /// Which container beside the main one; `None`: that one.
    pub(super) part: Option<String>,
}

impl One {
    /// The main container.
    pub(super) const fn main(key: AttemptKey) -> Self {
        Self { key, part: None }
    }

    /// Another one.
    pub(super) fn part(key: AttemptKey, part: &str) -> Self {
        Self { key, part: Some(part.to_owned()) }
    }
}

impl fmt::Display for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            None => write!(f, "attempt {}", self.key),
            Some(part) => write!(f, "container `{part}` of attempt {}", self.key),
        }
    }
}

/// A container of ours, and what was read from it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The engine's whole answer.
    pub(super) inspect: ContainerInspectResponse,
    /// What it means.
    pub(super) observation: Observation,
}

/// The main container of an attempt.
#[derive(Debug)]
pub(super) enum Main {
    /// There is none.
    Absent,
    /// It is the whole attempt.
    Alone(Observation),
    /// It is one of a group.
    Group(Box<Found>),
}

impl Engine {
    /// The name of the attempt's container.
    pub(super) fn name(&self, key: AttemptKey) -> String {
        key.name(&self.options.name_prefix)
    }

    /// The name of a container.
    pub(super) fn name_of(&self, one: &One) -> String {
        match &one.part {
            None => self.name(one.key),
            // No part's name has a full stop in it, nor has an attempt's.
            Some(part) => format!("{}.{part}", self.name(one.key)),
        }
    }

    /// The attempt's main container; `None` when there is none of its name.
    pub(super) async fn find(&self, key: AttemptKey) -> Result<Option<Found>> {
        self.find_one(&One::main(key)).await
    }

    /// A container of an attempt; `None` when there is none of its name.
    pub(super) async fn find_one(&self, one: &One) -> Result<Option<Found>> {
        let name = self.name_of(one);
        let Some(inspect) = self.inspect(&name).await.map_err(Fault::unknown)? else {
            self.meters.drop_one(one);
            return Ok(None);
        };
        if inspect.id.is_none() || inspect.state.is_none() || inspect.config.is_none() {
            // Not somebody else's container but no container at all: another thing answers in the engine's place.
            let odd =
                Fault::Unanswered("its answer is not one of a container engine; check docker.host".into());
            self.connection.drop_if_lost(&odd);
            return Err(odd.unknown());
        }
        let labels = inspect.config.as_ref().and_then(|config| config.labels.as_ref());
        let part = labels.and_then(|labels| labels.get(labels::PART));
        if labels::attempt(labels, self.options.installation) != Some(one.key) || part != one.part.as_ref() {
            return Err(Error::Foreign { name });
        }
        let mut observation = observation(&inspect, &self.boot)
            .map_err(|odd| Error::Unavailable { runtime: NAME.into(), message: odd.to_string() })?;
        match &mut observation {
            Observation::Running(_) => self.measure(one, &inspect).await,
            Observation::Exited(exit) => {
                out_of_memory::complete(self, exit).await;
                engine_restart::complete(self, &inspect, exit).await;
                self.bill(one, exit).await;
            }
            _ => {}
        }
        Ok(Some(Found { inspect, observation }))
    }

    /// Sees to it that a running container is measured, unless it is one of our own making.
    async fn measure(&self, one: &One, inspect: &ContainerInspectResponse) {
        let Some(id) = inspect.id.as_deref() else { return };
        if group::is_ours(one) || self.meters.has(one, id) {
            return;
        }
        let pid = inspect.state.as_ref().and_then(|state| state.pid).filter(|_| self.connection.is_local());
        let source = match pid.and_then(|pid| Source::of_process(pid, id)) {
            Some(source) => Some(source),
            None => self.connection.long().await.ok().map(|client| Source::Engine(client, id.to_owned())),
        };
        if let Some(source) = source {
            self.meters.add(one, id, source);
        }
    }

    /// Adds to the end of a container what it used, as far as that is known.
    async fn bill(&self, one: &One, exit: &mut Exit) {
        let (Some(started_at), Some(finished_at)) = (exit.started_at, exit.finished_at) else { return };
        if !group::is_ours(one) {
            exit.usage = self.meters.used(one, &exit.runtime_id, (started_at, finished_at)).await;
        }
    }

    /// The attempt's main container, as far as it matters whether something stands beside it.
    pub(super) async fn main(&self, key: AttemptKey) -> Result<Main> {
        Ok(match self.find(key).await? {
            None => Main::Absent,
            Some(found) if group::is_group(&found) => Main::Group(Box::new(found)),
            Some(found) => Main::Alone(found.observation),
        })
    }

    /// What is known of the attempt.
    pub(super) async fn observe(&self, key: AttemptKey) -> Result<Observation> {
        match self.main(key).await? {
            Main::Absent if self.leftovers.lock().contains(&key) => Ok(Observation::Incomplete),
            Main::Absent => Ok(Observation::Absent),
            Main::Alone(seen) => Ok(seen),
            // On the heap, so that what stands alone does not carry what a group needs.
            Main::Group(found) => Box::pin(group::observe(self, key, *found)).await,
        }
    }

    /// What is known of one container, whatever it means for its attempt.
    pub(super) async fn see(&self, one: &One) -> Result<Observation> {
        Ok(self.find_one(one).await?.map_or(Observation::Absent, |found| found.observation))
    }

    /// Reads a container by name or id, whosoever it is.
    pub(super) async fn inspect(&self, name: &str) -> Answer<Option<ContainerInspectResponse>> {
        let ask = async |client: bollard::Docker| {
            client.inspect_container(name, None::<InspectContainerOptions>).await
        };
        match self.connection.call(ENGINE_QUERY_TIMEOUT, ask).await {
            Ok(inspect) => Ok(Some(inspect)),
            Err(fault) if fault.is_absent() => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}
