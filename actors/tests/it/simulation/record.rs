//! What the clients of a simulated world asked and were told, over all lives of the server, and what may not be true
//! of it at any moment.

use std::collections::{BTreeMap, BTreeSet};

use dogwatch_actors::id::{AttemptKey, JobId};
use dogwatch_actors::job::view::{HistoryEntry, JobState, JobView};
use serde_json::Value;

use super::script::Script;

/// Whether something was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Done {
    /// It was never asked for, or was refused.
    #[default]
    No,
    /// It was asked for, and no answer came.
    Perhaps,
    /// It was acknowledged.
    Yes,
}

/// One submission, and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) key: String,
    pub(super) script: Script,
    pub(super) body: Value,
    pub(super) ids: BTreeSet<JobId>,
    pub(super) cancelled: Done,
    /// It was told to run again after its end.
    pub(super) retried: bool,
    /// Its end, when it was seen.
    pub(super) end: Option<JobState>,
    /// Its history as far as it was seen.
    pub(super) history: Vec<HistoryEntry>,
}

/// The answers to one callback.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    /// Answered as done, the first time or again.
    pub(super) acknowledged: u32,
    /// Answered as done for the first time.
    pub(super) fresh: u32,
}

#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) jobs: Vec<Job>,
    pub(super) callbacks: BTreeMap<(AttemptKey, u32), Heard>,
    /// The promises that were broken, in words.
    pub(super) broken: Vec<String>,
}

impl Record {
    pub(super) fn breaks(&mut self, what: String) {
        if !self.broken.contains(&what) {
            self.broken.push(what);
        }
    }

    pub(super) fn acknowledge(&mut self, index: usize, id: JobId) {
        let job = &mut self.jobs[index];
        job.ids.insert(id);
        if job.ids.len() > 1 {
            let what = format!("the key {} made several jobs: {:?}", job.key, job.ids);
            self.breaks(what);
        }
    }

    /// A job as it was read, with its history.
    pub(super) fn see(&mut self, index: usize, view: &JobView, history: Vec<HistoryEntry>) {
        let job = &mut self.jobs[index];
        let mut broken = Vec::new();
        for (number, entry) in (1..).zip(&history) {
            if entry.seq != number {
                broken.push(format!("the history of {} has entry {} in place {number}", view.id, entry.seq));
            }
        }
        let known = job.history.len().min(history.len());
        if job.history.len() > history.len() {
            broken.push(format!("the history of {} lost entries: {:?}", view.id, &job.history[known..]));
        }
        if job.history[..known] != history[..known] {
            broken.push(format!("the history of {} changed: {:?} became {history:?}", view.id, job.history));
        }
        if let Some(end) = job.end
            && view.state != end
        {
            broken.push(format!("{} had ended {} and is {}", view.id, end.name(), view.state.name()));
        }
        job.history = history;
        job.end = Some(view.state).filter(|state| state.is_terminal());
        broken.into_iter().for_each(|what| self.breaks(what));
    }
}
