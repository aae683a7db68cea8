//! The entity as a [`Machine`]: what the durable shell needs to know of it. Pure.

use super::event::{Effect, Entry, Event, Rejected};
use super::id::EntityId;
use super::state::Entity;
use super::transition;
use crate::clock::Timestamp;
use crate::durable::{Liveness, Machine, Step};
use crate::hub::DEFAULT_HUB;
use crate::limits::ENTITY_EMPTY_KEPT;
use crate::store::Key;

impl Machine for Entity {
    const KIND: &'static str = "entity";
    const VERSION: u8 = 1;

    type Id = EntityId;
    type Event = Event;
    type Effect = Effect;
    type Record = Entry;
    type Given = ();
    type Rejection = Rejected;

    fn create(id: EntityId, event: &Event, now: Timestamp) -> Option<Result<Step<Self>, Rejected>> {
        transition::create(id, event, now)
    }

    fn apply(&self, event: &Event, now: Timestamp) -> Result<Step<Self>, Rejected> {
        transition::apply(self, event, now)
    }

    fn resume(&self) -> Vec<Effect> {
        transition::resume(self)
    }

    fn deadline(&self) -> Option<Timestamp> {
        match self.is_empty() {
            true => Some(empty_until(self)),
            false => self.scheduled.values().min().copied(),
        }
    }

    fn tick() -> Event {
        Event::Ticked
    }

    fn quarantine(reason: String) -> Event {
        Event::Quarantined { reason }
    }

    fn releases(event: &Event) -> bool {
        matches!(event, Event::ReleaseRequested | Event::PurgeRequested { .. })
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

    /// What waits and the state, and nothing in between: a signal for next year does not keep a year of history.
    fn kept(&self) -> Vec<(u64, u64)> {
        let waiting = [&self.queue, &self.own].into_iter().flat_map(|runs| runs.ranges().iter().copied());
        let single = self.scheduled.keys().chain(&self.state).map(|entry| (*entry, *entry));
        let mut kept: Vec<(u64, u64)> = waiting.chain(single).collect();
        kept.sort_unstable();
        kept
    }

    /// What an entity does is not news.
    fn is_announced(_: &Entry) -> bool {
        false
    }

    fn liveness(&self) -> Liveness {
        if self.is_running { Liveness::Live } else { Liveness::Waiting }
    }

    /// By the time of the last change; by the id the snapshots lie.
    fn index(&self) -> Vec<Vec<u8>> {
        vec![index_modified(self.id.hub(), self.modified_at)]
    }

    fn is_listed_as(&self, other: &Self) -> bool {
        index_second(self.modified_at) == index_second(other.modified_at)
    }

    fn owned_keys(&self) -> Vec<Key> {
        vec![]
    }
}

/// Until when an entity without anything is kept.
pub(super) fn empty_until(entity: &Entity) -> Timestamp {
    entity.modified_at.after(ENTITY_EMPTY_KEPT)
}

/// The text under which a task hub lists what changed at that time. To the second, so that an entity that is always
/// busy does not change its index with each batch.
pub fn index_modified(hub: &str, at: Timestamp) -> Vec<u8> {
    let second = index_second(at);
    if hub == DEFAULT_HUB {
        return format!("modified/{second}").into_bytes();
    }
    format!("modified@{hub}/{second}").into_bytes()
}

/// As many characters as sort as the times do.
fn index_second(at: Timestamp) -> String {
    format!("{:016x}", u64::try_from(at.as_millis() / 1_000).unwrap_or(0))
}
