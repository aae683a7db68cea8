//! A store in memory for tests and simulations: commits are applied and answered at the time of the call, on
//! the caller's thread, so that a simulation in virtual time is deterministic.
//!
//! Responsible for the same preconditions, numbers and scans as the real stores (it shares `sequence.rs`) and
//! for failing as they fail, at a chosen commit. Not responsible for durability beyond the process.
//!
//! Invariant: `durable` is what a restart would find; a commit that was answered `Ok` is in it.

use std::collections::VecDeque;

use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::backend::{Changes, Read as _};
use super::row_map::RowMap;
use super::sequence::{self, Sequence};
use super::tee::{Tee, Tees};
use super::{Batch, Committed, Error, KeyRange, Order, Result, Rows, Store};

/// What happens at a chosen commit. After each of them the store needs [`MemoryStore::crash`].
#[derive(Debug, Clone)]
pub enum Fault {
    /// The commit and all later ones answer this error. A restart does not find it.
    Fail(Error),
    /// The commit and all later ones answer this error. A restart finds the commit all the same, as it may
    /// when a disk fails after the data reached it.
    FailButKeep(Error),
    /// From this commit on nothing is answered and nothing becomes durable: the moment before power is lost.
    Freeze,
    /// This commit becomes durable, but it and all later ones are never answered: the process dies between
    /// the sync and the answer.
    KeepThenFreeze,
}

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    appended: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    live: RowMap,
    durable: RowMap,
    sequence: Sequence,
    /// Batches that were synced, whether they were answered or not.
    commits: u64,
    fault: Option<(u64, Fault)>,
    failure: Option<Error>,
    /// While it is set every commit is refused with it, and changes nothing.
    refusal: Option<Error>,
    /// Commits wait for [`MemoryStore::sync`].
    hold: bool,
    /// Applied but not yet synced, in order.
    unsynced: VecDeque<Unsynced>,
    tees: Tees,
    /// The answers that a frozen store owes; `None` while it is not frozen.
    owed: Option<Vec<oneshot::Sender<Result<Committed>>>>,
}

/// A commit on its way to the disk.
#[derive(Debug)]
struct Unsynced {
    outcome: Result<Committed>,
    /// Empty for a rejected batch, whose answer waits all the same: it shows what earlier ones wrote.
    changes: Changes,
    last_seq: u64,
    answer: oneshot::Sender<Result<Committed>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_rows(RowMap::default())
    }

    fn with_rows(rows: RowMap) -> Self {
        let sequence = Sequence::recover(&rows).expect("the rows were written by a store like this one");
        let state = State {
            live: rows.clone(),
            durable: rows,
            sequence,
            commits: 0,
            fault: None,
            failure: None,
            refusal: None,
            hold: false,
            unsynced: VecDeque::new(),
            tees: Tees::default(),
            owed: None,
        };
        Self { state: Mutex::new(state), appended: watch::Sender::new(sequence.last()) }
    }

    /// Lets `fault` happen at the `nth` commit from now, counted from 1. Rejected batches do not count.
    pub fn inject(&self, nth: u64, fault: Fault) {
        let mut state = self.state.lock();
        let at = state.commits + nth;
        state.fault = Some((at, fault));
    }

    /// From now on commits are durable and answered only with the next [`MemoryStore::sync`], as those of a group.
    pub fn hold(&self) {
        self.state.lock().hold = true;
    }

    /// Makes durable and answers what waits; how many commits that were.
    pub fn sync(&self) -> usize {
        let mut state = self.state.lock();
        let waiting = state.unsynced.len();
        state.sync(&self.appended);
        waiting
    }

    /// From this moment on nothing is answered and nothing becomes durable: power is lost.
    pub fn freeze(&self) {
        self.state.lock().owed.get_or_insert_default();
    }

    /// Refuses every commit with this error, until it is taken back with `None`.
    pub fn refuse(&self, refusal: Option<Error>) {
        self.state.lock().refusal = refusal;
    }

    /// The commits that this store made durable since it was opened.
    pub fn commits(&self) -> u64 {
        self.state.lock().commits
    }

    /// What a restart finds: a new store with what is durable. This one is closed: what a dead process still
    /// holds writes nothing more, and unanswered commits answer [`Error::Closed`].
    pub fn crash(&self) -> Self {
        let mut state = self.state.lock();
        state.shut();
        Self::with_rows(state.durable.clone())
    }

    fn readable(&self) -> Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.state.lock();
        match state.failure {
            Some(Error::Closed) => Err(Error::Closed),
            _ => Ok(state),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Applies `batch` and lets it wait for the sync.
    fn commit(&mut self, batch: Batch) -> Result<oneshot::Receiver<Result<Committed>>> {
        if let Some(refusal) = self.failure.as_ref().or(self.refusal.as_ref()) {
            return Err(refusal.clone());
        }
        let (outcome, changes) = match self.sequence.group_of(batch, &self.live) {
            Ok((committed, changes)) => (Ok(committed), changes),
            Err(error) => (Err(error), Changes::default()),
        };
        self.live.apply(changes.clone());
        let (answer, answered) = oneshot::channel();
        self.unsynced.push_back(Unsynced { outcome, changes, last_seq: self.sequence.last(), answer });
        Ok(answered)
    }

    fn sync(&mut self, appended: &watch::Sender<u64>) {
        for Unsynced { outcome, changes, last_seq, answer } in std::mem::take(&mut self.unsynced) {
            if !changes.is_empty() {
                self.harden(changes);
            }
            if let Some(owed) = &mut self.owed {
                owed.push(answer);
            } else if let Some(failure) = &self.failure {
                drop(answer.send(Err(failure.clone())));
            } else {
                appended.send_if_modified(|known| std::mem::replace(known, last_seq) != last_seq);
                drop(answer.send(outcome));
            }
        }
    }

    /// Makes the changes of one commit durable, unless something else is to happen to it.
    fn harden(&mut self, changes: Changes) {
        if self.failure.is_some() || self.owed.is_some() {
            return;
        }
        self.commits += 1;
        let fault = self.fault.take_if(|(at, _)| *at == self.commits).map(|(_, fault)| fault);
        if !matches!(fault, Some(Fault::Fail(_) | Fault::Freeze)) {
            self.tees.pour(self.tees.copy(&changes));
            self.durable.apply(changes);
        }
        match fault {
            Some(Fault::Fail(error) | Fault::FailButKeep(error)) => self.failure = Some(error),
            Some(Fault::Freeze | Fault::KeepThenFreeze) => self.owed = Some(Vec::new()),
            None => {}
        }
    }

    /// The process is gone: nothing more is written, and what was not answered never will be.
    fn shut(&mut self) {
        self.failure = Some(Error::Closed);
        self.unsynced.clear();
        self.owed = None;
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let state = self.readable()?;
        if sequence::is_visible(key) { state.live.get(key) } else { Ok(None) }
    }

    fn scan_all(&self, ranges: Vec<KeyRange>, order: Order, limit: usize) -> Result<Vec<Rows>> {
        self.readable()?.live.scan_all(&sequence::all_visible(ranges), order, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Committed>> {
        let mut state = self.state.lock();
        match state.commit(batch) {
            Ok(answered) => {
                if !state.hold {
                    state.sync(&self.appended);
                }
                answered.map(|answer| answer.unwrap_or(Err(Error::Closed))).boxed()
            }
            Err(error) => future::ready(Err(error)).boxed(),
        }
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    fn health(&self) -> Result<()> {
        self.state.lock().failure.clone().map_or(Ok(()), Err)
    }

    fn tee(&self) -> Result<Tee> {
        self.readable()?.tees.open()
    }

    fn size_on_disk(&self) -> Option<u64> {
        None
    }

    fn close(&self) {
        let mut state = self.state.lock();
        state.sync(&self.appended);
        state.shut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str) -> Batch {
        let mut batch = Batch::new();
        batch.put(key, key).append(super::super::Log::Events, key);
        batch
    }

    /// The answer, when it is there at once.
    fn commit(store: &MemoryStore, key: &str) -> Option<Result<Committed>> {
        store.commit(put(key)).now_or_never()
    }

    #[test]
    fn a_crash_keeps_what_was_answered_and_nothing_after_the_freeze() {
        let store = MemoryStore::new();
        commit(&store, "a").unwrap().unwrap();
        store.inject(1, Fault::Freeze);
        let frozen = store.commit(put("b"));
        assert!(commit(&store, "c").is_none());
        assert_eq!(store.get(b"b").unwrap().as_deref(), Some(&b"b"[..]), "the running process sees it");
        assert_eq!(*store.appended().borrow(), 1, "but nobody is told that it is durable");
        let after = store.crash();
        assert!(matches!(frozen.now_or_never(), Some(Err(Error::Closed))));
        assert!(matches!(commit(&store, "d"), Some(Err(Error::Closed))));
        assert!(after.get(b"a").unwrap().is_some());
        assert!(after.get(b"b").unwrap().is_none() && after.get(b"c").unwrap().is_none());
        assert_eq!(commit(&after, "b").unwrap().unwrap(), Committed { first_seq: 2 });
    }

    #[test]
    fn a_commit_may_be_durable_though_nobody_was_told() {
        for fault in [Fault::KeepThenFreeze, Fault::FailButKeep(Error::Failed("eio".into()))] {
            let store = MemoryStore::new();
            store.inject(1, fault);
            assert!(!matches!(commit(&store, "a"), Some(Ok(_))));
            assert!(!matches!(commit(&store, "b"), Some(Ok(_))));
            let after = store.crash();
            assert!(after.get(b"a").unwrap().is_some());
            assert!(after.get(b"b").unwrap().is_none());
        }
    }

    #[test]
    fn what_is_held_is_durable_only_after_the_sync() {
        let store = MemoryStore::new();
        store.hold();
        let (mut first, second) = (store.commit(put("a")), store.commit(put("b")));
        assert!((&mut first).now_or_never().is_none());
        assert!(store.crash().get(b"a").unwrap().is_none(), "power was lost before the sync");
        assert!(matches!(first.now_or_never(), Some(Err(Error::Closed))));
        drop(second);

        let store = MemoryStore::new();
        store.hold();
        let (first, second) = (store.commit(put("a")), store.commit(put("b")));
        assert_eq!(*store.appended().borrow(), 0);
        assert_eq!(store.sync(), 2);
        assert_eq!(*store.appended().borrow(), 2);
        assert_eq!(first.now_or_never().unwrap().unwrap().first_seq, 1);
        assert_eq!(second.now_or_never().unwrap().unwrap().first_seq, 2);
        assert!(store.crash().get(b"b").unwrap().is_some());
    }

    #[test]
    fn a_refusal_changes_nothing_and_passes() {
        let store = MemoryStore::new();
        store.refuse(Some(Error::Full("enospc".into())));
        assert!(matches!(commit(&store, "a"), Some(Err(Error::Full(_)))));
        assert!(store.get(b"a").unwrap().is_none());
        store.refuse(None);
        commit(&store, "a").unwrap().unwrap();
    }

    #[test]
    fn a_failure_is_sticky_until_the_restart() {
        let store = MemoryStore::new();
        store.inject(2, Fault::Fail(Error::Full("enospc".into())));
        commit(&store, "a").unwrap().unwrap();
        for key in ["b", "c"] {
            assert!(matches!(commit(&store, key), Some(Err(Error::Full(_)))));
        }
        assert!(matches!(store.health(), Err(Error::Full(_))));
        let after = store.crash();
        after.health().unwrap();
        assert!(after.get(b"a").unwrap().is_some() && after.get(b"b").unwrap().is_none());
    }

    #[test]
    fn a_rejection_in_a_frozen_store_is_never_told() {
        let store = MemoryStore::new();
        store.inject(1, Fault::Freeze);
        assert!(commit(&store, "a").is_none());
        let mut again = Batch::new();
        again.require(super::super::Precondition::Absent(b"a".to_vec())).put("a", "other");
        assert!(store.commit(again).now_or_never().is_none());
    }
}
