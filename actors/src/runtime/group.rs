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

use super::{Due, Exit, Observation, Running, Unseen};
use crate::clock::Timestamp;
use crate::job::group::{MAIN, Mount, Probe};
use crate::job::spec::Resources;
use crate::secret::Secret;
use crate::usage::Usage;

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
        false => Observation::Exited(Exit { usage: used(containers()), ..exit }),
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

/// What the containers used that ran, together; `None` where nothing of it is known.
fn used<'a>(containers: impl Iterator<Item = &'a Observation>) -> Option<Usage> {
    let mut sum = None;
    for exit in containers.filter_map(|seen| match seen {
        // Nobody knows when the host went down with it.
        Observation::Exited(exit) if exit.unseen != Some(Unseen::HostRestart) => Some(exit),
        _ => None,
    }) {
        let ran = exit.started_at.zip(exit.finished_at).map(|(from, to)| to.since(from));
        if let Some(usage) = exit.usage.or_else(|| ran.map(Usage::unmeasured)) {
            *sum.get_or_insert_default() += usage;
        }
    }
    sum
}

/// When it was started, if it ever was; one whose start is not known was, at no known time.
fn began(seen: &Observation) -> Option<Timestamp> {
    match seen {
        Observation::Running(running) => Some(running.started_at),
        Observation::Exited(exit) => Some(exit.started_at.unwrap_or(Timestamp::from_millis(0))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Unseen;
    use super::Observation::{Absent, Created};
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn running(from: i64) -> Observation {
        Observation::Running(Running { runtime_id: "its-own".into(), started_at: at(from), address: None })
    }

    fn exited(code: i32) -> Observation {
        Observation::Exited(exit(code))
    }

    fn exit(code: i32) -> Exit {
        let running = Running { runtime_id: "its-own".into(), started_at: at(5), address: None };
        Exit { code: Some(code), ..Exit::of(&running, at(9)) }
    }

    /// The parts by their words: anchor, two init containers, two sidecars, main.
    fn parts(states: [Observation; 6]) -> Parts {
        let [anchor, one, two, left, right, main] = states;
        Parts {
            anchor,
            init: vec![("one".into(), one), ("two".into(), two)],
            sidecars: vec![("left".into(), left), ("right".into(), right)],
            main,
            runtime_id: "m".into(),
        }
    }

    /// What is said, in a word.
    fn said(states: [Observation; 6]) -> String {
        match observation(&parts(states)) {
            Absent => "absent".into(),
            Observation::Incomplete => "incomplete".into(),
            Created => "created".into(),
            Observation::Running(_) => "running".into(),
            Observation::Due(_, Due::Start(name)) => format!("start {name}"),
            Observation::Due(_, Due::Stop) => "stop".into(),
            Observation::Exited(Exit { code, container, .. }) => format!("exited {container:?} {code:?}"),
        }
    }

    #[test]
    fn the_parts_say_what_is_due() {
        let (up, new) = (|| running(5), || Created);
        let table = [
            // Nothing has begun.
            ([up(), new(), new(), new(), new(), new()], "created"),
            ([new(), new(), new(), new(), new(), new()], "incomplete"),
            ([exited(137), new(), new(), new(), new(), new()], "incomplete"),
            ([Absent, new(), new(), new(), new(), new()], "incomplete"),
            ([up(), Absent, new(), new(), new(), new()], "incomplete"),
            ([up(), new(), new(), new(), Absent, new()], "incomplete"),
            // One after the other.
            ([up(), up(), new(), new(), new(), new()], "running"),
            ([up(), exited(0), new(), new(), new(), new()], "start two"),
            ([up(), exited(0), up(), new(), new(), new()], "running"),
            ([up(), exited(0), exited(0), new(), new(), new()], "start left"),
            ([up(), exited(0), exited(0), up(), new(), new()], "start right"),
            ([up(), exited(0), exited(0), exited(1), up(), new()], "start main"),
            ([up(), exited(0), exited(0), up(), up(), up()], "running"),
            // A sidecar is its own affair, and so is the anchor while the main container runs.
            ([up(), exited(0), exited(0), exited(3), Absent, up()], "running"),
            ([exited(137), exited(0), exited(0), up(), up(), up()], "running"),
            // The main container ends it, after the rest has ended.
            ([up(), exited(0), exited(0), up(), up(), exited(7)], "stop"),
            ([up(), exited(0), exited(0), exited(0), up(), exited(7)], "stop"),
            ([up(), exited(0), exited(0), exited(0), exited(0), exited(7)], "stop"),
            ([exited(137), exited(0), exited(0), exited(0), exited(0), exited(7)], "exited None Some(7)"),
            ([Absent, Absent, Absent, Absent, Absent, exited(0)], "exited None Some(0)"),
            // So does an init container that fails.
            ([up(), exited(3), new(), new(), new(), new()], "stop"),
            ([exited(137), exited(3), new(), new(), new(), new()], "exited Some(\"one\") Some(3)"),
            ([exited(137), exited(0), exited(143), new(), new(), new()], "exited Some(\"two\") Some(143)"),
            // It cannot go on.
            ([up(), exited(0), Absent, new(), new(), new()], "stop"),
            ([exited(137), exited(0), Absent, new(), new(), new()], "exited None None"),
            ([exited(137), exited(0), new(), new(), new(), new()], "exited None None"),
            ([up(), exited(0), exited(0), up(), Absent, new()], "stop"),
            ([exited(137), exited(0), exited(0), exited(0), new(), new()], "exited None None"),
        ];
        for (states, wanted) in table {
            assert_eq!(said(states.clone()), wanted, "{states:?}");
        }
    }

    #[test]
    fn an_init_container_whose_end_nobody_saw_did_not_succeed() {
        let unseen = Exit { code: Some(0), unseen: Some(Unseen::HostRestart), ..exit(0) };
        let states = [exited(137), Observation::Exited(unseen), Created, Created, Created, Created];
        let Observation::Exited(exit) = observation(&parts(states)) else { panic!("it is over") };
        assert_eq!((exit.unseen, exit.container.as_deref()), (Some(Unseen::HostRestart), Some("one")));
    }

    #[test]
    fn it_runs_from_its_first_container_on_under_the_main_ones_name() {
        let states = [running(1), exited(0), running(8), Created, Created, Created];
        let Observation::Running(seen) = observation(&parts(states)) else { panic!("it runs") };
        assert_eq!((seen.runtime_id.as_str(), seen.started_at), ("m", at(5)));
    }
}
