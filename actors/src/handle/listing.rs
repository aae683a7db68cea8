//! Listing jobs by state, label, name and time, newest first: through indexes, whatever is asked for together.
//!
//! Every index lists ids in the order of their creation. What fulfils several conditions is found by letting each
//! index in turn skip to where the others are, so that a page costs about what the rarest of them has, not what is
//! stored.

use std::sync::Arc;

use super::{Error, Filter, Handle, Page, Result};
use crate::durable::{Machine as _, MachineId, keys};
use crate::id::JobId;
use crate::job::machine::{index_by_label, index_by_name, index_by_state};
use crate::job::state::Job;
use crate::limits::{LIST_PAGE_MAX, LIST_ROWS_READ_MAX};
use crate::store::{Key, KeyRange, Order, Store};

/// Rows of an index read at once, at first and after each skip, and at most.
const ROWS_FIRST: usize = 16;
const ROWS_MAX: usize = 256;

/// The length of a job's id in keys.
const ID_BYTES: usize = 16;

impl Handle {
    /// A page of jobs. May be shorter than asked for and still have a next one, when few match.
    pub fn list(&self, filter: &Filter) -> Result<Page> {
        let limit = filter.limit.clamp(1, LIST_PAGE_MAX);
        let mut candidates = Candidates::new(&self.inner.store, filter);
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
            && (self.name.is_none() || self.name == job.given.spec.name)
            && self.labels.iter().all(|(key, value)| job.given.spec.labels.get(key) == Some(value))
    }
}

/// All jobs that fulfil every condition, newest first.
struct Candidates<'a> {
    store: &'a dyn Store,
    conditions: Vec<Condition>,
    /// Rows read so far.
    read: usize,
}

/// Jobs that are listed in any of these.
struct Condition(Vec<Source>);

/// One index.
struct Source {
    prefix: Key,
    /// What was not read yet.
    range: KeyRange,
    /// Read, in ascending order: the next one is the last.
    buffer: Vec<JobId>,
    page: usize,
    done: bool,
}

impl<'a> Candidates<'a> {
    fn new(store: &'a Arc<dyn Store>, filter: &Filter) -> Self {
        let listed = |text: Vec<u8>| keys::listed(Job::KIND, &text);
        let condition = |prefixes: Vec<Key>| {
            Condition(prefixes.into_iter().map(|prefix| Source::new(prefix, filter)).collect())
        };
        let mut conditions = Vec::new();
        conditions.extend(filter.name.iter().map(|name| condition(vec![listed(index_by_name(name))])));
        let labels = filter.labels.iter();
        conditions.extend(labels.map(|(key, value)| condition(vec![listed(index_by_label(key, value))])));
        if !filter.states.is_empty() {
            let mut states = filter.states.clone();
            states.sort_by_key(|state| state.name());
            states.dedup();
            let prefixes = states.iter().map(|state| listed(index_by_state(state.name()))).collect();
            conditions.push(condition(prefixes));
        }
        if conditions.is_empty() {
            conditions.push(condition(vec![keys::snapshots(Job::KIND)]));
        }
        Self { store: store.as_ref(), conditions, read: 0 }
    }

    fn next(&mut self) -> Result<Option<JobId>> {
        let Some(mut candidate) = self.conditions[0].peek(self.store, &mut self.read)? else {
            return Ok(None);
        };
        let mut agreed = 0;
        while agreed < self.conditions.len() {
            agreed = 0;
            for condition in &mut self.conditions {
                condition.skip_to(candidate);
                let Some(found) = condition.peek(self.store, &mut self.read)? else { return Ok(None) };
                if found != candidate {
                    candidate = found;
                    break;
                }
                agreed += 1;
            }
        }
        self.conditions[0].pass(candidate);
        Ok(Some(candidate))
    }
}

impl Condition {
    /// The newest that is left.
    fn peek(&mut self, store: &dyn Store, read: &mut usize) -> Result<Option<JobId>> {
        let mut newest = None;
        for source in &mut self.0 {
            newest = newest.max(source.peek(store, read)?);
        }
        Ok(newest)
    }

    /// Leaves out what is newer than `id`.
    fn skip_to(&mut self, id: JobId) {
        for source in &mut self.0 {
            source.skip_to(id);
        }
    }

    /// Leaves out `id`.
    fn pass(&mut self, id: JobId) {
        for source in &mut self.0 {
            if source.buffer.last() == Some(&id) {
                source.buffer.pop();
            }
        }
    }
}

impl Source {
    fn new(prefix: Key, filter: &Filter) -> Self {
        let key = |id: JobId| [prefix.clone(), id.to_key()].concat();
        let mut range = KeyRange::prefix(prefix.clone());
        if let Some(after) = filter.created_after {
            range.from = range.from.max(key(JobId::first_at(after)));
        }
        for before in filter.before.into_iter().chain(filter.created_before.map(JobId::first_at)) {
            range = range.before(&key(before));
        }
        Self { prefix, range, buffer: vec![], page: ROWS_FIRST, done: false }
    }

    fn skip_to(&mut self, id: JobId) {
        let keep = self.buffer.partition_point(|found| *found <= id);
        self.buffer.truncate(keep);
        if self.buffer.is_empty() && !self.done {
            let mut behind = [self.prefix.clone(), id.to_key()].concat();
            behind.push(0);
            if self.range.to.as_ref().is_none_or(|to| behind < *to) {
                self.range = self.range.clone().before(&behind);
                self.page = ROWS_FIRST;
            }
        }
    }

    fn peek(&mut self, store: &dyn Store, read: &mut usize) -> Result<Option<JobId>> {
        while self.buffer.is_empty() && !self.done {
            let rows = store.scan(self.range.clone(), Order::Descending, self.page).map_err(Error::Store)?;
            *read += rows.len();
            self.done = rows.len() < self.page;
            self.page = (self.page * 2).min(ROWS_MAX);
            if let Some((lowest, _)) = rows.last() {
                self.range = self.range.clone().before(lowest);
            }
            let prefix = self.prefix.len();
            // A text that continues behind a `/` shares the prefix; its rows are longer.
            let own = rows.iter().rev().filter(|(key, _)| key.len() == prefix + ID_BYTES);
            self.buffer = own.filter_map(|(key, _)| JobId::from_key(&key[prefix..])).collect();
        }
        Ok(self.buffer.last().copied())
    }
}
