//! Reading what an entity keeps in its history: its state, and what it is to do.
//!
//! Not responsible for which of it is there: that is the snapshot's. What a snapshot names may be gone when a newer one
//! has taken its place; whoever finds it so looks at that.

use super::batch::{self, Batch, Gate};
use super::event::Entry;
use super::state::{Entity, Lock};
use crate::durable::keys;
use crate::orchestration::payload::Payload;
use crate::store::{Result, Store, codec};

/// The batch that is to be run; `None` when there is none (any more).
pub fn batch(store: &dyn Store, entity: &Entity) -> Result<Option<Batch>> {
    batch::compose(entity, reader(store, entity))
}

/// The state of an entity, none where it has none; `None` when a newer one has taken its place.
pub fn state(store: &dyn Store, entity: &Entity) -> Result<Option<Payload>> {
    batch::state(entity, reader(store, entity))
}

/// What comes next, where that is not an operation; `None` when it is gone.
pub(super) fn gate(store: &dyn Store, entity: &Entity) -> Result<Option<Gate>> {
    batch::gate(entity, reader(store, entity))
}

/// Those of these entries that are of the owner of `lock`; `None` when one is gone.
pub(super) fn own(
    store: &dyn Store,
    entity: &Entity,
    lock: &Lock,
    entries: &[u64],
) -> Result<Option<Vec<u64>>> {
    batch::own(lock, entries, reader(store, entity))
}

fn reader<'a>(store: &'a dyn Store, entity: &Entity) -> impl Fn(u64) -> Result<Option<Entry>> + 'a {
    let id = entity.id;
    move |entry| {
        let key = keys::history_entry::<Entity>(id, entry);
        let Some(row) = store.get(&key)? else { return Ok(None) };
        Ok(Some(codec::decode(&key, &row)?.parse(&key)?))
    }
}
