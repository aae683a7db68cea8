//! Listing jobs by state, label and name, newest first, always through an index.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::{Error, Filter, Handle, Page, Result};
use crate::durable::{MachineId, keys};
use crate::id::JobId;
use crate::job::machine::{index_by_label, index_by_name, index_by_state};
use crate::job::state::Job;
use crate::limits::{LIST_PAGE_MAX, LIST_ROWS_READ_MAX};
use crate::store::{Key, KeyRange, Order, Store};

/// Rows of an index read at once.
const ROWS: usize = 256;

/// The length of a job's id in keys.
const ID_BYTES: usize = 16;

impl Handle {
    /// A page of jobs. May be shorter than asked for and still have a next one, when few match.
    pub fn list(&self, filter: &Filter) -> Result<Page> {
        let limit = filter.limit.clamp(1, LIST_PAGE_MAX);
        let mut candidates = Candidates::new(&self.inner.store, prefixes(filter), filter.before)?;
        let mut jobs = Vec::new();
        let mut last = None;
        while jobs.len() < limit && candidates.read < LIST_ROWS_READ_MAX {
            let Some(id) = candidates.next()? else { return Ok(Page { jobs, next: None }) };
            last = Some(id);
            let job: Option<Arc<Job>> = self.inner.jobs.published().read(id)?;
            jobs.extend(job.filter(|job| filter.admits(job)).map(|job| job.view()));
        }
        Ok(Page { jobs, next: last })
    }
}

impl Filter {
    fn admits(&self, job: &Job) -> bool {
        (self.states.is_empty() || self.states.contains(&job.state()))
            && (self.name.is_none() || self.name == job.spec.name)
            && self.labels.iter().all(|(key, value)| job.spec.labels.get(key) == Some(value))
    }
}

/// The most selective index there is for a filter.
fn prefixes(filter: &Filter) -> Vec<Key> {
    let listed = |text: Vec<u8>| keys::listed("job", &text);
    if let Some(name) = &filter.name {
        return vec![listed(index_by_name(name))];
    }
    if let Some((key, value)) = filter.labels.iter().next() {
        return vec![listed(index_by_label(key, value))];
    }
    if filter.states.is_empty() {
        return vec![keys::snapshots("job")];
    }
    let mut states = filter.states.clone();
    states.sort_by_key(|state| state.name());
    states.dedup();
    states.iter().map(|state| listed(index_by_state(state.name()))).collect()
}

/// Ids in descending order, merged from several indexes.
struct Candidates<'a> {
    store: &'a Arc<dyn Store>,
    sources: Vec<Source>,
    heads: BinaryHeap<(JobId, Reverse<usize>)>,
    read: usize,
}

struct Source {
    prefix: Key,
    range: KeyRange,
    /// In ascending order: the next one is the last.
    buffer: Vec<JobId>,
    done: bool,
}

impl<'a> Candidates<'a> {
    fn new(store: &'a Arc<dyn Store>, prefixes: Vec<Key>, before: Option<JobId>) -> Result<Self> {
        let source = |prefix: Key| {
            let mut range = KeyRange::prefix(prefix.clone());
            if let Some(before) = before {
                range = range.before(&[prefix.clone(), before.to_key()].concat());
            }
            Source { prefix, range, buffer: vec![], done: false }
        };
        let sources: Vec<Source> = prefixes.into_iter().map(source).collect();
        let mut candidates = Self { store, sources, heads: BinaryHeap::new(), read: 0 };
        for index in 0..candidates.sources.len() {
            candidates.advance(index)?;
        }
        Ok(candidates)
    }

    fn next(&mut self) -> Result<Option<JobId>> {
        let Some((id, Reverse(index))) = self.heads.pop() else { return Ok(None) };
        self.advance(index)?;
        Ok(Some(id))
    }

    fn advance(&mut self, index: usize) -> Result<()> {
        let source = &mut self.sources[index];
        while source.buffer.is_empty() && !source.done {
            let rows =
                self.store.scan(source.range.clone(), Order::Descending, ROWS).map_err(Error::Store)?;
            self.read += rows.len();
            source.done = rows.len() < ROWS;
            if let Some((lowest, _)) = rows.last() {
                source.range = source.range.clone().before(lowest);
            }
            let prefix = source.prefix.len();
            // A text that continues behind a `/` shares the prefix; its rows are longer.
            let own = rows.iter().filter(|(key, _)| key.len() == prefix + ID_BYTES);
            source.buffer = own.filter_map(|(key, _)| JobId::from_key(&key[prefix..])).collect();
            source.buffer.reverse();
        }
        if let Some(id) = source.buffer.pop() {
            self.heads.push((id, Reverse(index)));
        }
        Ok(())
    }
}
