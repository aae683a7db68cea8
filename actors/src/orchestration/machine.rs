//! The instance as a [`Machine`]: what the durable shell needs to know of it. Pure.

use super::event::{Effect, Event, Rejected};
use super::history::{Entry, Note};
use super::id::{DEFAULT_HUB, InstanceId};
use super::state::{Orchestration, Phase, Status};
use super::transition;
use crate::clock::Timestamp;
use crate::durable::{Liveness, Machine, Step};
use crate::store::Key;

impl Machine for Orchestration {
    const KIND: &'static str = "orchestration";
    const VERSION: u8 = 1;

    type Id = InstanceId;
    type Event = Event;
    type Effect = Effect;
    type Record = Entry;
    type Given = ();
    type Rejection = Rejected;

    fn create(id: InstanceId, event: &Event, now: Timestamp) -> Option<Result<Step<Self>, Rejected>> {
        transition::create(id, event, now)
    }

    fn apply(&self, event: &Event, now: Timestamp) -> Result<Step<Self>, Rejected> {
        transition::apply(self, event, now)
    }

    fn resume(&self) -> Vec<Effect> {
        transition::resume(self)
    }

    fn deadline(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Awaited { until, .. } => Some(*until),
            Phase::Scheduled { start_at } => Some(*start_at),
            Phase::Running | Phase::Suspended { .. } => self.timers.values().min().copied(),
            _ => None,
        }
    }

    fn tick() -> Event {
        Event::Ticked
    }

    fn quarantine(reason: String) -> Event {
        Event::Quarantined { reason }
    }

    fn releases(event: &Event) -> bool {
        matches!(event, Event::RewindRequested { .. } | Event::ReleaseRequested)
    }

    fn given(&self) -> Option<&()> {
        None
    }

    fn with_given(self, (): ()) -> Self {
        self
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    /// The code needs all of it, and only of this execution.
    fn history_from(&self) -> u64 {
        self.began
    }

    /// Not every turn of every instance is news.
    fn is_announced(record: &Entry) -> bool {
        let ends = |turn: &super::history::Turn| {
            matches!(turn.actions.last(), Some(super::history::Action::Complete(_)))
        };
        let begins =
            |arrival: &super::history::Arrival| matches!(arrival, super::history::Arrival::Started(_));
        record.turn.as_ref().is_some_and(ends)
            || record.arrivals.first().is_some_and(begins)
            || record.note.as_ref().is_some_and(|note| !matches!(note, Note::ActivitiesRestarted { .. }))
    }

    fn liveness(&self) -> Liveness {
        let is_live = match &self.phase {
            Phase::Completed | Phase::Failed { .. } | Phase::Terminated { .. }
                if self.activities.is_empty() =>
            {
                return Liveness::Terminal;
            }
            Phase::Completed | Phase::Failed { .. } | Phase::Terminated { .. } => true,
            Phase::Awaited { .. } | Phase::Scheduled { .. } => false,
            Phase::Running => {
                self.arrived > self.seen || self.blocked.is_some() || !self.activities.is_empty()
            }
            Phase::Suspended { .. } | Phase::Terminating { .. } => !self.activities.is_empty(),
            Phase::Rewinding { .. } => true,
        };
        if is_live { Liveness::Live } else { Liveness::Waiting }
    }

    fn index(&self) -> Vec<Vec<u8>> {
        let Some(group) = self.status().map(index_group) else { return vec![] };
        let at = index_time(self.created_at);
        let hub = self.id.hub();
        let text = |kind, value: &str| listed_at(index_prefix(hub, kind, value), &at);
        let mut texts = vec![text("status", group), text("name", &self.name)];
        texts.extend(self.tags.iter().map(|(key, value)| text("tag", &format!("{key}={value}"))));
        texts.extend(self.parent.as_ref().map(|parent| text("parent", parent.instance.as_str())));
        let over = self.finished_at.filter(|_| self.status().is_some_and(Status::is_terminal));
        texts.extend(over.map(|at| listed_at(index_prefix(hub, "finished", ""), &index_time(at))));
        texts
    }

    /// All but the status is as it was when it was created.
    fn is_listed_as(&self, other: &Self) -> bool {
        self.status().map(index_group) == other.status().map(index_group)
            && (self.execution == other.execution || self.index() == other.index())
    }

    fn owned_keys(&self) -> Vec<Key> {
        vec![]
    }
}

/// Instances are listed under these; the first turn makes a pending one a running one and is not worth two rows.
pub fn index_group(status: Status) -> &'static str {
    match status {
        Status::Pending | Status::Running => "running",
        status => status.name(),
    }
}

/// The text of an index of a task hub up to the time, by which each of them is sorted: that of its end for those that
/// are `finished`, that of its creation for all others.
pub fn index_prefix(hub: &str, kind: &str, value: &str) -> Vec<u8> {
    if hub == DEFAULT_HUB {
        return format!("{kind}/{value}").into_bytes();
    }
    format!("{kind}@{hub}/{value}").into_bytes()
}

/// How a time of creation is written in an index: as many characters as sort as the times do.
pub fn index_time(at: Timestamp) -> String {
    format!("{:016x}", u64::try_from(at.as_millis()).unwrap_or(0))
}

fn listed_at(mut prefix: Vec<u8>, at: &str) -> Vec<u8> {
    prefix.push(b'/');
    prefix.extend_from_slice(at.as_bytes());
    prefix
}
