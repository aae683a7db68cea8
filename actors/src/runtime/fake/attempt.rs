//! The life of one scripted attempt. Ends are found out when somebody looks, so that nothing need run for them.
//!
//! Two times go in: `now`, the engine's own, which never jumps, and the wall clock's, which is only written down.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::behaviour::{Behaviour, Ending};
use crate::clock::Timestamp;
use crate::job::group::MAIN;
use crate::job::spec::StopSignal;
use crate::runtime::group::{Member, Parts, observation};
use crate::runtime::{Due, Exit, Group, Observation, Plan, Running, Unseen};
use crate::usage::Usage;

/// One attempt.
pub(super) struct Attempt {
    pub(super) plan: Plan,
    /// Its inputs, by their paths.
    pub(super) placed: BTreeMap<String, Bytes>,
    pub(super) behaviour: Behaviour,
    life: Life,
    /// What stands beside it; empty for an attempt of one container.
    beside: Beside,
}

/// The rest of a group.
#[derive(Default)]
struct Beside {
    is_open: bool,
    init: Vec<(String, Attempt)>,
    sidecars: Vec<(String, Attempt)>,
}

enum Life {
    Created,
    Running { running: Running, since: Timestamp, end: Option<(Timestamp, Ending)> },
    Exited(Exit),
}

/// When an attempt will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// By itself, then.
    At(Timestamp),
    /// Not by itself: it runs for ever, or was not started.
    Never,
    /// It has ended.
    Over,
}

impl Attempt {
    pub(super) fn new(plan: Plan, behaviour: Behaviour) -> Self {
        Self { plan, placed: BTreeMap::new(), behaviour, life: Life::Created, beside: Beside::default() }
    }

    /// With what stands beside it, each doing what `behave` says.
    pub(super) fn of_group(plan: Plan, behaviour: Behaviour, behave: impl Fn(&Plan) -> Behaviour) -> Self {
        let alone = |member: &Member| {
            let its = Plan { args: member.args.clone(), group: Group::default(), ..plan.clone() };
            let behaviour = behave(&its);
            (member.name.clone(), Self::new(its, behaviour))
        };
        let beside = Beside {
            is_open: !plan.group.is_plain(),
            init: plan.group.init.iter().map(alone).collect(),
            sidecars: plan.group.sidecars.iter().map(alone).collect(),
        };
        Self { beside, ..Self::new(plan, behaviour) }
    }

    pub(super) fn is_created(&self) -> bool {
        let of_group = self.beside.init.iter().chain(&self.beside.sidecars);
        matches!(self.life, Life::Created) && of_group.map(|(_, part)| part).all(Self::is_created)
    }

    pub(super) fn is_running(&mut self, now: Timestamp) -> bool {
        matches!(self.observe(now), Observation::Running(_) | Observation::Due(..))
    }

    /// A container of it: the main one, or one beside it.
    pub(super) fn part(&mut self, name: Option<&str>) -> Option<&mut Self> {
        let Some(name) = name else { return Some(self) };
        self.parts().find(|(known, _)| known == name).map(|(_, part)| part)
    }

    /// The names of the containers beside the main one.
    pub(super) fn names(&mut self) -> Vec<String> {
        self.parts().map(|(name, _)| name.clone()).collect()
    }

    fn parts(&mut self) -> impl Iterator<Item = &mut (String, Self)> {
        self.beside.init.iter_mut().chain(&mut self.beside.sidecars)
    }

    /// What can be started now.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<&mut Self> {
        let name = match self.observe(now) {
            Observation::Created if self.plan.group.is_plain() => return Some(self),
            Observation::Created => {
                self.parts().next().map_or_else(|| MAIN.to_owned(), |(name, _)| name.clone())
            }
            Observation::Due(_, Due::Start(name)) => name,
            _ => return None,
        };
        if name == MAIN { Some(self) } else { self.part(Some(&name)) }
    }

    /// Nothing of it runs any more, nor will.
    pub(super) fn close(&mut self) {
        self.beside.is_open = false;
    }

    pub(super) fn started_at(&self) -> Option<Timestamp> {
        match &self.life {
            Life::Created => None,
            Life::Running { running, .. } => Some(running.started_at),
            Life::Exited(exit) => exit.started_at,
        }
    }

    pub(super) fn start(&mut self, now: Timestamp, wall: Timestamp) {
        let port = self.plan.service_port;
        let address = port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let running = Running {
            runtime_id: format!("fake-{}", self.plan.key),
            started_at: wall,
            address: self.behaviour.address.or(address),
        };
        let end = self.behaviour.end.map(|(lifetime, ending)| (now.after(lifetime), ending));
        self.life = Life::Running { running, since: now, end };
    }

    /// The stop signal, and the kill after the grace.
    pub(super) fn signal(&mut self, signal: StopSignal, grace: Duration, now: Timestamp) {
        for (_, part) in self.parts() {
            part.signal(signal, grace, now);
        }
        let Life::Running { end, .. } = &mut self.life else { return };
        let grace = if signal == StopSignal::Sigkill { Duration::ZERO } else { grace };
        let obeys = self.behaviour.on_signal.map(|(after, ending)| (now.after(after), ending));
        let killed = (now.after(grace), Ending::Signal(9));
        *end = [*end, obeys, Some(killed)].into_iter().flatten().min_by_key(|(at, _)| *at);
    }

    /// Ends it now, unless it has ended.
    pub(super) fn end(&mut self, ending: Ending, now: Timestamp) {
        self.settle(now);
        if let Life::Running { since, .. } = self.life {
            self.exit(ending, now.since(since));
        }
    }

    fn exit(&mut self, ending: Ending, ran: Duration) {
        let Life::Running { running, .. } = &self.life else { return };
        let (code, signal) = match ending {
            Ending::Code(code) => (Some(code), None),
            Ending::Signal(signal) => (None, Some(signal)),
            Ending::Oom => (None, Some(9)),
        };
        self.life = Life::Exited(Exit {
            runtime_id: running.runtime_id.clone(),
            code,
            signal,
            oom_killed: ending == Ending::Oom,
            container: None,
            unseen: None,
            started_at: Some(running.started_at),
            finished_at: Some(running.started_at.after(ran)),
            usage: Some(used(ran)),
        });
    }

    /// Ends it with the host, unseen.
    pub(super) fn lose(&mut self, now: Timestamp) {
        self.settle(now);
        let Life::Running { running, .. } = &self.life else { return };
        self.life = Life::Exited(Exit {
            runtime_id: running.runtime_id.clone(),
            code: None,
            signal: None,
            oom_killed: false,
            container: None,
            unseen: Some(Unseen::HostRestart),
            started_at: Some(running.started_at),
            finished_at: None,
            usage: None,
        });
    }

    pub(super) fn observe(&mut self, now: Timestamp) -> Observation {
        let main = self.alone(now);
        if self.plan.group.is_plain() {
            return main;
        }
        let runtime_id = format!("fake-{}", self.plan.key);
        let holds =
            Running { runtime_id: runtime_id.clone(), started_at: Timestamp::from_millis(0), address: None };
        let see = |(name, part): &mut (String, Self)| (name.clone(), part.alone(now));
        observation(&Parts {
            anchor: if self.beside.is_open { Observation::Running(holds) } else { Observation::Absent },
            init: self.beside.init.iter_mut().map(see).collect(),
            sidecars: self.beside.sidecars.iter_mut().map(see).collect(),
            main,
            runtime_id,
        })
    }

    /// The one container, whatever stands beside it.
    pub(super) fn alone(&mut self, now: Timestamp) -> Observation {
        self.settle(now);
        match &self.life {
            Life::Created => Observation::Created,
            Life::Running { running, .. } => Observation::Running(running.clone()),
            Life::Exited(exit) => Observation::Exited(exit.clone()),
        }
    }

    pub(super) fn due(&mut self, now: Timestamp) -> Ends {
        self.settle(now);
        let own = match &self.life {
            Life::Running { end: Some((at, _)), .. } => Ends::At(*at),
            Life::Created | Life::Running { .. } => Ends::Never,
            Life::Exited(_) => Ends::Over,
        };
        if self.plan.group.is_plain() {
            return own;
        }
        let init = self.beside.init.iter_mut().map(|(_, part)| part);
        match init.map(|part| part.due(now)).find(|ends| matches!(ends, Ends::At(_))) {
            Some(ends) => ends,
            None if matches!(self.observe(now), Observation::Created | Observation::Running(_)) => own,
            None => Ends::Over,
        }
    }

    /// When everything that runs of it has ended.
    pub(super) fn all_due(&mut self, now: Timestamp) -> Ends {
        self.settle(now);
        let mut last = match &self.life {
            Life::Running { end, .. } => end.map_or(Ends::Never, |(at, _)| Ends::At(at)),
            _ => Ends::Over,
        };
        for (_, part) in self.parts() {
            last = match (last, part.all_due(now)) {
                (Ends::Never, _) | (_, Ends::Never) => Ends::Never,
                (Ends::At(one), Ends::At(other)) => Ends::At(one.max(other)),
                (Ends::Over, ends) | (ends, Ends::Over) => ends,
            };
        }
        last
    }

    fn settle(&mut self, now: Timestamp) {
        if let Life::Running { since, end: Some((at, ending)), .. } = &self.life
            && *at <= now
        {
            self.exit(*ending, at.since(*since));
        }
    }
}

/// A tenth of a core, and a MiB, for as long as it ran.
fn used(ran: Duration) -> Usage {
    let millis = Usage::unmeasured(ran).running_ms;
    Usage {
        running_ms: millis,
        cpu_us: millis.saturating_mul(100),
        memory_kib_s: millis.saturating_mul(1024) / 1_000,
        unmeasured_ms: 0,
    }
}
