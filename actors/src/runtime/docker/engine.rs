//! The engine as this installation sees it: what every operation needs to find its container.
//!
//! Responsible for: names, and refusing to look at what is not ours. Not responsible for: the operations.
//!
//! Invariant: a container is only ever read or changed after its name *and* its labels were found to be those
//! of the attempt in question.

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::InspectContainerOptions;

use super::boot::Boot;
use super::command_check::FoundCommands;
use super::connect::Connection;
use super::errors::{Answer, Fault};
use super::observe::observation;
use super::{DockerOptions, NAME, engine_restart, labels, out_of_memory};
use crate::id::AttemptKey;
use crate::limits::ENGINE_QUERY_TIMEOUT;
use crate::runtime::{Error, Observation, Result};

/// What all operations share.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) options: DockerOptions,
    pub(super) connection: Connection,
    pub(super) boot: Boot,
    pub(super) found_commands: FoundCommands,
}

/// A container of ours, and what was read from it.
#[derive(Debug)]
pub(super) struct Found {
    /// The engine's whole answer.
    pub(super) inspect: ContainerInspectResponse,
    /// What it means.
    pub(super) observation: Observation,
}

impl Engine {
    /// The name of the attempt's container.
    pub(super) fn name(&self, key: AttemptKey) -> String {
        key.name(&self.options.name_prefix)
    }

    /// The attempt's container; `None` when there is none of its name.
    pub(super) async fn find(&self, key: AttemptKey) -> Result<Option<Found>> {
        let name = self.name(key);
        let Some(inspect) = self.inspect(&name).await.map_err(Fault::unknown)? else { return Ok(None) };
        if inspect.id.is_none() || inspect.state.is_none() || inspect.config.is_none() {
            // Not somebody else's container but no container at all: another thing answers in the engine's place.
            let odd =
                Fault::Unanswered("its answer is not one of a container engine; check docker.host".into());
            self.connection.drop_if_lost(&odd);
            return Err(odd.unknown());
        }
        let labels = inspect.config.as_ref().and_then(|config| config.labels.as_ref());
        if labels::attempt(labels, self.options.installation) != Some(key) {
            return Err(Error::Foreign { name });
        }
        let mut observation = observation(&inspect, &self.boot)
            .map_err(|odd| Error::Unavailable { runtime: NAME.into(), message: odd.to_string() })?;
        if let Observation::Exited(exit) = &mut observation {
            out_of_memory::complete(self, exit).await;
            engine_restart::complete(self, &inspect, exit).await;
        }
        Ok(Some(Found { inspect, observation }))
    }

    /// What is known of the attempt.
    pub(super) async fn observe(&self, key: AttemptKey) -> Result<Observation> {
        Ok(self.find(key).await?.map_or(Observation::Absent, |found| found.observation))
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
