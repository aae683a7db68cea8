//! Listing instances by status, name, tag, parent, id and time, newest first.

use super::{
    Error, FinishedFilter, Instance, InstanceFilter, InstancePage, Instances, KIND, Orchestrations, Result,
};
use crate::clock::Timestamp;
use crate::durable::{MachineId, keys};
use crate::handle::candidates::{Bounds, Candidates, Place};
use crate::limits::{LIST_PAGE_DEFAULT, LIST_PAGE_MAX, LIST_ROWS_READ_MAX};
use crate::orchestration::id::DEFAULT_HUB;
use crate::orchestration::machine::{index_group, index_prefix, index_time};
use crate::orchestration::state::Orchestration;
use crate::orchestration::{InstanceId, Status};
use crate::store::{Key, KeyRange, Order};

/// The length of a time in an index.
const TIME_BYTES: usize = 16;

/// A place in an index of instances: when it was created, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    time: [u8; TIME_BYTES],
    id: InstanceId,
}

impl Place for Listed {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (time, rest) = bytes.split_first_chunk::<TIME_BYTES>()?;
        let id = InstanceId::from_key(rest.strip_prefix(b"/")?)?;
        Some(Self { time: *time, id })
    }

    fn bytes(self) -> Vec<u8> {
        [&self.time[..], b"/", &self.id.to_key()].concat()
    }
}

impl Listed {
    /// As text for clients.
    fn cursor(self) -> String {
        format!("{}.{}", String::from_utf8_lossy(&self.time), self.id)
    }

    fn parse(cursor: &str) -> Option<Self> {
        let (time, id) = cursor.split_at_checked(TIME_BYTES)?;
        let time = time.as_bytes().try_into().ok()?;
        Some(Self { time, id: id.strip_prefix('.')?.parse().ok()? })
    }
}

impl Orchestrations {
    /// A page of instances. May be shorter than asked for and still have a next one, when few match.
    pub fn list(&self, filter: &InstanceFilter) -> Result<InstancePage> {
        let Instances { instances, next } = self.query(filter)?;
        Ok(InstancePage { instances: instances.iter().filter_map(Instance::view).collect(), next })
    }

    /// The same, as they are recorded.
    pub fn query(&self, filter: &InstanceFilter) -> Result<Instances> {
        let limit = page_length(filter.limit);
        let bounds = filter.bounds()?;
        let store = self.handle.inner().store.as_ref();
        let mut candidates: Candidates<'_, Listed> = Candidates::new(store, filter.conditions(), &bounds);
        let (mut instances, mut last) = (Vec::new(), None);
        while instances.len() < limit && candidates.read() < LIST_ROWS_READ_MAX {
            let Some(listed) = candidates.next()? else { return Ok(Instances { instances, next: None }) };
            last = Some(listed);
            if !filter.id_prefix.as_deref().is_none_or(|prefix| listed.id.local().starts_with(prefix)) {
                continue;
            }
            let state = self.handle.inner().orchestrations.published().read(listed.id)?;
            if let Some(state) = state.filter(|state| filter.admits(state)) {
                instances.push(self.complete(state, filter.reads)?);
            }
        }
        Ok(Instances { instances, next: last.map(Listed::cursor) })
    }

    /// A page of those that are over, in the order in which they were, and the cursor of the next one.
    pub fn finished(&self, filter: &FinishedFilter) -> Result<(Vec<InstanceId>, Option<String>)> {
        let prefix = keys::listed(KIND, &index_prefix(hub(filter.hub.as_ref()), "finished", ""));
        let key = |place: &[u8]| [prefix.as_slice(), place].concat();
        let mut range = KeyRange::prefix(prefix.clone());
        if let Some(from) = filter.from {
            range.from = range.from.max(key(index_time(from).as_bytes()));
        }
        if let Some(before) = filter.before {
            range = range.before(&key(index_time(before).as_bytes()));
        }
        if let Some(cursor) = &filter.cursor {
            range = range.after(&key(&Listed::parse(cursor).ok_or(Error::BadCursor)?.bytes()));
        }
        let (limit, mut found, mut read) = (page_length(filter.limit), Vec::new(), 0);
        loop {
            let rows = self.handle.inner().store.scan(range.clone(), Order::Ascending, limit)?;
            let Some((last, _)) = rows.last() else { return Ok((found, None)) };
            range = range.after(last);
            read += rows.len();
            for (key, _) in rows {
                let Some(listed) = key.strip_prefix(prefix.as_slice()).and_then(Listed::read) else {
                    continue;
                };
                let state = self.handle.inner().orchestrations.published().read(listed.id)?;
                let status = state.and_then(|state| state.status()).filter(|status| status.is_terminal());
                if status
                    .is_some_and(|status| filter.statuses.is_empty() || filter.statuses.contains(&status))
                {
                    found.push(listed.id);
                }
                if found.len() == limit || read >= LIST_ROWS_READ_MAX {
                    return Ok((found, Some(listed.cursor())));
                }
            }
        }
    }

    /// The children of an instance.
    pub(super) fn children(&self, id: InstanceId) -> Result<Vec<InstanceId>> {
        let condition = vec![keys::listed(KIND, &index_prefix(id.hub(), "parent", id.as_str()))];
        let store = self.handle.inner().store.as_ref();
        let mut candidates: Candidates<'_, Listed> =
            Candidates::new(store, vec![condition], &Bounds::default());
        let mut children = Vec::new();
        while let Some(listed) = candidates.next()? {
            children.push(listed.id);
        }
        Ok(children)
    }
}

/// The task hub that is meant.
fn hub(hub: Option<&String>) -> &str {
    hub.map_or(DEFAULT_HUB, String::as_str)
}

fn page_length(asked: usize) -> usize {
    match asked {
        0 => LIST_PAGE_DEFAULT,
        asked => asked.min(LIST_PAGE_MAX),
    }
}

impl InstanceFilter {
    fn admits(&self, state: &Orchestration) -> bool {
        state.status().is_some_and(|status| self.statuses.is_empty() || self.statuses.contains(&status))
            && self.name.as_ref().is_none_or(|name| *name == state.name)
            && self.tags.iter().all(|(key, value)| state.tags.get(key) == Some(value))
    }

    fn bounds(&self) -> Result<Bounds> {
        let time = |at: Timestamp| index_time(at).into_bytes();
        let cursor = self.cursor.as_deref().map(|cursor| Listed::parse(cursor).ok_or(Error::BadCursor));
        let before = self.created_before.map(time).into_iter();
        Ok(Bounds {
            from: self.created_after.map(time),
            before: before.chain(cursor.transpose()?.map(Listed::bytes)).collect(),
        })
    }

    fn conditions(&self) -> Vec<Vec<Key>> {
        let listed =
            |kind: &str, value: &str| keys::listed(KIND, &index_prefix(hub(self.hub.as_ref()), kind, value));
        let mut conditions = Vec::new();
        conditions.extend(self.name.iter().map(|name| vec![listed("name", name)]));
        conditions
            .extend(self.tags.iter().map(|(key, value)| vec![listed("tag", &format!("{key}={value}"))]));
        let statuses = if self.statuses.is_empty() { &Status::ALL[..] } else { &self.statuses };
        if conditions.is_empty() || !self.statuses.is_empty() {
            let mut groups: Vec<&str> = statuses.iter().map(|status| index_group(*status)).collect();
            groups.sort_unstable();
            groups.dedup();
            conditions.push(groups.into_iter().map(|group| listed("status", group)).collect());
        }
        conditions
    }
}
