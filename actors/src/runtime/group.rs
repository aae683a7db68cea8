//! Attempts of several containers: what they consist of, and what the states of the parts mean for the whole.
//!
//! Responsible for: the plan of a group, and the one rule that reads it ([`observation`]), which every runtime that has
//! groups follows. Pure. Not responsible for: doing what is due.
//!
//! A group is an *anchor*, which holds the network namespace and the volumes from before the first container until after
//! the last one; the init containers, which run one after the other; the main container; and the sidecars beside it.
//!
//! Invariants:
//! - nothing is started before the init container ahead of it has exited with 0, nothing twice;
//! - the group is over when the main container or a failed init container has ended and nothing of it runs: what was
//!   left running is stopped first;
//! - a group that can no longer go on (an init container vanished, the anchor died before the main container ran) is over
//!   without an exit code: unknown is not a success.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Due, Exit, Observation, Running};
use crate::clock::Timestamp;
use crate::job::group::{MAIN, Mount, Probe};
use crate::job::spec::Resources;
use crate::secret::Secret;

/// What an attempt consists of beside its main container.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Run before the main container, in this order.
    pub init: Vec<Member>,
    /// Run beside it.
    pub sidecars: Vec<Member>,
    /// What the containers share.
    pub volumes: Vec<Volume>,
    /// What of that the main container sees.
    pub mounts: Vec<Mount>,
    /// How health is found out.
    pub probes: Vec<Probed>,
    /// What the whole is counted with; `None`: with what the main container may use.
    pub demand: Option<Resources>,
    /// How long what is left running has after the main container's end.
    pub stop_grace: Duration,
    /// Texts that no message may show.
    pub secrets: Vec<Secret>,
}

impl Group {
    /// Whether there is nothing but a main container.
    pub const fn is_plain(&self) -> bool {
        self.init.is_empty() && self.sidecars.is_empty() && self.volumes.is_empty()
    }

    /// The names of the containers beside the main one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.init.iter().chain(&self.sidecars).map(|member| member.name.as_str())
    }
}

/// One container beside the main one.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name in the job.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Replaces the image's entrypoint when not empty.
    pub entrypoint: Vec<String>,
    /// The arguments.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, Secret>,
    /// The directory it starts in.
    pub working_dir: Option<String>,
    /// Limits.
    pub resources: Resources,
    /// The user in it.
    pub user: Option<String>,
    /// The volumes that it sees.
    pub mounts: Vec<Mount>,
}

/// One volume.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its name in the job.
    pub name: String,
    /// What it is.
    pub source: Source,
}

/// What a volume is.
#[derive(Debug, Clone)]
pub enum Source {
    /// An empty directory on the engine's disk.
    Disk,
    /// An empty directory in memory that holds so many bytes.
    Memory(u64),
    /// Files with secrets.
    Secrets {
        /// The content of each by its name.
        files: BTreeMap<String, Secret>,
        /// Whose they are; `None`: the main container's user where it is a number.
        owner: Option<u32>,
    },
    /// A path of the host.
    Host {
        /// Which.
        path: String,
        /// Nobody may write to it.
        read_only: bool,
    },
}

/// A container that is probed.
#[derive(Debug, Clone)]
pub struct Probed {
    /// Its name in the job.
    pub name: String,
    /// Which it is; `None`: the main one.
    pub member: Option<String>,
    /// How.
    pub probe: Probe,
}

/// What is known of the parts of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// The anchor.
    pub anchor: Observation,
    /// The init containers in their order, by name.
    pub init: Vec<(String, Observation)>,
    /// The sidecars, by name.
    pub sidecars: Vec<(String, Observation)>,
    /// The main container, which is there.
    pub main: Observation,
    /// The runtime's own name of the main container.
    pub runtime_id: String,
}

/// What this means for the attempt.
pub fn observation(parts: &Parts) -> Observation {
    let containers = || {
        let members = parts.init.iter().chain(&parts.sidecars).map(|(_, seen)| seen);
        members.chain([&parts.main])
    };
    let Some(started_at) = containers().filter_map(began).min() else {
        let whole = matches!(parts.anchor, Observation::Running(_))
            && containers().all(|seen| *seen == Observation::Created);
        return if whole { Observation::Created } else { Observation::Incomplete };
    };
    let runs = |seen: &Observation| matches!(seen, Observation::Running(_));
    let any_runs = containers().any(runs) || runs(&parts.anchor);
    let running = || Running { runtime_id: parts.runtime_id.clone(), started_at, address: None };
    let lost = || Exit { finished_at: None, ..Exit::of(&running(), started_at) };
    let over = |exit: Exit| match any_runs {
        true => Observation::Due(running(), Due::Stop),
        false => Observation::Exited(exit),
    };
    match &parts.main {
        Observation::Running(main) => {
            return Observation::Running(Running { started_at, ..main.clone() });
        }
        Observation::Exited(exit) => return over(exit.clone()),
        _ => {}
    }
    for (name, seen) in &parts.init {
        match seen {
            Observation::Exited(exit) if exit.code == Some(0) && exit.unseen.is_none() => {}
            Observation::Exited(exit) => return over(Exit { container: Some(name.clone()), ..exit.clone() }),
            Observation::Running(_) => return Observation::Running(running()),
            Observation::Created if runs(&parts.anchor) => {
                return Observation::Due(running(), Due::Start(name.clone()));
            }
            _ => return over(lost()),
        }
    }
    let has_all =
        parts.sidecars.iter().all(|(_, seen)| *seen == Observation::Created || began(seen).is_some());
    if !has_all || !runs(&parts.anchor) {
        return over(lost());
    }
    // Each is started before the main container; one that has ended by itself by then does not stand in its way.
    let ahead = parts.sidecars.iter().find(|(_, seen)| *seen == Observation::Created);
    Observation::Due(running(), Due::Start(ahead.map_or_else(|| MAIN.to_owned(), |(name, _)| name.clone())))
}

/// When it was started, if it ever was; one whose start is not known was, at no known time.
fn began(seen: &Observation) -> Option<Timestamp> {
    match seen {
        Observation::Running(running) => Some(running.started_at),
        Observation::Exited(exit) => Some(exit.started_at.unwrap_or(Timestamp::from_millis(0))),
        _ => None,
    }
}
