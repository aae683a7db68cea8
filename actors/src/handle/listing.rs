//! Listing jobs by state, label, name and time, newest first.

use std::sync::Arc;

use super::candidates::{Bounds, Candidates, Place};
use super::{Filter, Handle, Page, Result};
use crate::durable::{Machine as _, MachineId, keys};
use crate::id::JobId;
use crate::job::machine::{index_by_label, index_by_name, index_by_state};
use crate::job::state::Job;
use crate::limits::{LIST_PAGE_MAX, LIST_ROWS_READ_MAX};
use crate::store::Key;

/// Ids of jobs sort by the time of their submission.
impl Place for JobId {
    fn read(bytes: &[u8]) -> Option<Self> {
        Self::from_key(bytes)
    }

    fn bytes(self) -> Vec<u8> {
        self.to_key()
    }
}

impl Handle {
    /// A page of jobs. May be shorter than asked for and still have a next one, when few match.
    pub fn list(&self, filter: &Filter) -> Result<Page> {
        let (jobs, next) = self.listed(filter)?;
        Ok(Page { jobs: jobs.iter().map(|job| job.view()).collect(), next })
    }

    /// The same, as they are stored.
    pub(super) fn listed(&self, filter: &Filter) -> Result<(Vec<Arc<Job>>, Option<JobId>)> {
        let limit = filter.limit.clamp(1, LIST_PAGE_MAX);
        let bounds = filter.bounds();
        let mut candidates: Candidates<'_, JobId> =
            Candidates::new(self.inner.store.as_ref(), filter.conditions(), &bounds);
        let mut jobs = Vec::new();
        let mut last = None;
        while jobs.len() < limit && candidates.read() < LIST_ROWS_READ_MAX {
            let Some(id) = candidates.next()? else { return Ok((jobs, None)) };
            last = Some(id);
            let job: Option<Arc<Job>> = self.inner.jobs.published().read(id)?;
            jobs.extend(job.filter(|job| filter.admits(job)));
        }
        Ok((jobs, last))
    }
}

impl Filter {
    fn admits(&self, job: &Job) -> bool {
        (self.states.is_empty() || self.states.contains(&job.state()))
            && (self.name.is_none() || self.name == job.given.spec.name)
            && self.labels.iter().all(|(key, value)| job.given.spec.labels.get(key) == Some(value))
    }

    fn bounds(&self) -> Bounds {
        let before = self.before.into_iter().chain(self.created_before.map(JobId::first_at));
        Bounds {
            from: self.created_after.map(|after| JobId::first_at(after).to_key()),
            before: before.map(MachineId::to_key).collect(),
        }
    }

    fn conditions(&self) -> Vec<Vec<Key>> {
        let listed = |text: Vec<u8>| keys::listed(Job::KIND, &text);
        let mut conditions = Vec::new();
        conditions.extend(self.name.iter().map(|name| vec![listed(index_by_name(name))]));
        conditions.extend(self.labels.iter().map(|(key, value)| vec![listed(index_by_label(key, value))]));
        if !self.states.is_empty() {
            let mut states = self.states.clone();
            states.sort_by_key(|state| state.name());
            states.dedup();
            conditions.push(states.iter().map(|state| listed(index_by_state(state.name()))).collect());
        }
        if conditions.is_empty() {
            conditions.push(vec![keys::snapshots(Job::KIND)]);
        }
        conditions
    }
}
