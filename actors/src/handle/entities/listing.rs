//! Listing entities by id and time, sorted by id.
//!
//! Snapshots lie in the order of the ids. What changed within some time is found by an index of times, where that is
//! not much; a wide span is looked through in the order of the ids.

use std::collections::BTreeSet;

use super::{Entities, EntityFilter, EntityPage, Error, Result};
use crate::durable::{Machine as _, MachineId as _, keys};
use crate::entity::machine::index_modified;
use crate::entity::{Entity, EntityId};
use crate::hub::{self, DEFAULT_HUB};
use crate::limits::{LIST_PAGE_DEFAULT, LIST_PAGE_MAX, LIST_ROWS_READ_MAX};
use crate::store::{KeyRange, Order};

/// Ids to look at, sorted.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) ids: Vec<EntityId>,
    /// The last of them, where there may be more.
    pub(super) next: Option<EntityId>,
}

impl Entities {
    /// A page of entities. May be shorter than asked for and still have a next one, when few match.
    pub async fn list(&self, filter: &EntityFilter) -> Result<EntityPage> {
        let limit = match filter.limit {
            0 => LIST_PAGE_DEFAULT,
            asked => asked.min(LIST_PAGE_MAX),
        };
        let Scan { ids, next } = match self.modified(filter)? {
            Some(scan) => scan,
            None => {
                self.scan(filter.hub.as_deref(), filter.id_prefix.as_deref(), filter.cursor.as_deref())?
            }
        };
        let (mut entities, last) = (Vec::new(), ids.last().copied());
        for id in ids {
            let Some(entity) = self.read(id)?.filter(|entity| filter.admits(entity)) else { continue };
            // It may be gone by now.
            entities.extend(self.view(entity, filter.include_state).await?);
            if entities.len() == limit {
                let next = Some(id).filter(|id| next.is_some() || last != Some(*id));
                return Ok(EntityPage { entities, next: next.map(|id| id.to_string()) });
            }
        }
        Ok(EntityPage { entities, next: next.map(|id| id.to_string()) })
    }

    /// The ids of a task hub that begin with `prefix`, behind `cursor`; as many as one request may look at.
    pub(super) fn scan(&self, hub: Option<&str>, prefix: Option<&str>, cursor: Option<&str>) -> Result<Scan> {
        let Some(begins) = begins(hub, prefix) else { return Ok(Scan::default()) };
        let snapshots = keys::snapshots(Entity::KIND);
        let mut range = KeyRange::prefix([snapshots.as_slice(), &hub::key_prefix(&begins)].concat());
        if let Some(cursor) = parse(cursor)? {
            range = range.after(&keys::snapshot::<Entity>(cursor));
        }
        let rows = self.handle.inner().store.scan(range, Order::Ascending, LIST_ROWS_READ_MAX)?;
        let is_cut = rows.len() == LIST_ROWS_READ_MAX;
        let ids = rows.iter().filter_map(|(key, _)| key.strip_prefix(snapshots.as_slice()));
        let ids: Vec<EntityId> = ids.filter_map(EntityId::from_key).collect();
        let next = ids.last().copied().filter(|_| is_cut);
        Ok(Scan { ids, next })
    }

    /// The same by the time of the last change; `None` where that is not asked for, or would be too many.
    fn modified(&self, filter: &EntityFilter) -> Result<Option<Scan>> {
        if filter.modified_from.is_none() && filter.modified_before.is_none() {
            return Ok(None);
        }
        let hub = filter.hub.as_deref().unwrap_or(DEFAULT_HUB);
        let Some(begins) = begins(Some(hub), filter.id_prefix.as_deref()) else {
            return Ok(Some(Scan::default()));
        };
        // The index knows seconds; what it has too much of the filter leaves out.
        let row = |at| keys::listed(Entity::KIND, &index_modified(hub, at));
        let (first, last) =
            (crate::clock::Timestamp::from_millis(0), crate::clock::Timestamp::from_millis(i64::MAX));
        let from = row(filter.modified_from.unwrap_or(first));
        let to = KeyRange::prefix(row(filter.modified_before.unwrap_or(last))).to;
        let rows =
            self.handle.inner().store.scan(KeyRange { from, to }, Order::Ascending, LIST_ROWS_READ_MAX)?;
        if rows.len() == LIST_ROWS_READ_MAX {
            return Ok(None);
        }
        let cursor = parse(filter.cursor.as_deref())?;
        let ids = rows.iter().filter_map(|(key, _)| EntityId::at_end(key));
        let ids =
            ids.filter(|id| id.as_str().starts_with(&begins) && cursor.is_none_or(|cursor| *id > cursor));
        let ids: BTreeSet<EntityId> = ids.collect();
        Ok(Some(Scan { ids: ids.into_iter().collect(), next: None }))
    }
}

/// How the whole ids begin that are meant; `None` where there can be none.
fn begins(hub: Option<&str>, prefix: Option<&str>) -> Option<String> {
    let prefix = prefix.filter(|prefix| !prefix.is_empty()).unwrap_or("@");
    // Or it would be the beginning of a hub's name.
    prefix.starts_with('@').then(|| match hub.unwrap_or(DEFAULT_HUB) {
        DEFAULT_HUB => prefix.to_owned(),
        hub => format!("{hub}/{prefix}"),
    })
}

fn parse(cursor: Option<&str>) -> Result<Option<EntityId>> {
    cursor.map(|cursor| cursor.parse().map_err(|_| Error::BadCursor)).transpose()
}

impl EntityFilter {
    fn admits(&self, entity: &Entity) -> bool {
        (self.include_transient || entity.state.is_some())
            && self.modified_from.is_none_or(|from| entity.modified_at >= from)
            && self.modified_before.is_none_or(|before| entity.modified_at < before)
    }
}
