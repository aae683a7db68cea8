//! The life of one scripted attempt. Ends are found out when somebody looks, so that nothing need run for them.
//!
//! Two times go in: `now`, the engine's own, which never jumps, and the wall clock's, which is only written down.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::behaviour::{Behaviour, Ending};
use crate::clock::Timestamp;
use crate::job::spec::StopSignal;
use crate::runtime::{Exit, Observation, Plan, Running, Unseen};

/// One attempt.
pub(super) struct Attempt {
    pub(super) plan: Plan,
    pub(super) behaviour: Behaviour,
    life: Life,
}

enum Life {
    Created,
    Running { running: Running, since: Timestamp, end: Option<(Timestamp, Ending)> },
    Exited(Exit),
}

/// When an attempt will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// By itself, then.
    At(Timestamp),
    /// Not by itself: it runs for ever, or was not started.
    Never,
    /// It has ended.
    Over,
}

impl Attempt {
    pub(super) fn new(plan: Plan, behaviour: Behaviour) -> Self {
        Self { plan, behaviour, life: Life::Created }
    }

    pub(super) fn is_created(&self) -> bool {
        matches!(self.life, Life::Created)
    }

    pub(super) fn is_running(&mut self, now: Timestamp) -> bool {
        matches!(self.observe(now), Observation::Running(_))
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
        });
    }

    pub(super) fn observe(&mut self, now: Timestamp) -> Observation {
        self.settle(now);
        match &self.life {
            Life::Created => Observation::Created,
            Life::Running { running, .. } => Observation::Running(running.clone()),
            Life::Exited(exit) => Observation::Exited(exit.clone()),
        }
    }

    pub(super) fn due(&mut self, now: Timestamp) -> Due {
        self.settle(now);
        match &self.life {
            Life::Running { end: Some((at, _)), .. } => Due::At(*at),
            Life::Created | Life::Running { .. } => Due::Never,
            Life::Exited(_) => Due::Over,
        }
    }

    fn settle(&mut self, now: Timestamp) {
        if let Life::Running { since, end: Some((at, ending)), .. } = &self.life
            && *at <= now
        {
            self.exit(*ending, at.since(*since));
        }
    }
}
