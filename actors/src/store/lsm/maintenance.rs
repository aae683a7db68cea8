//! The thread that writes what fills the tree's memory to tables, takes the journal's files out of use that are no
//! longer needed, and merges tables.
//!
//! Not responsible for what is durable: that is the journal's. A crash at any moment of this leaves the journal and
//! the tables as they were listed last.
//!
//! Invariants: memory stays bounded, because a writer that is too far ahead waits; when tables cannot be written the
//! writer is told, for want of space with [`Error::Full`].

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lsm_tree::AbstractTree as _;
use lsm_tree::compaction::Leveled;
use parking_lot::{Condvar, Mutex};

use super::super::backend::io_failure;
use super::super::{Error, Result, Tuning};
use super::journal::{self, Journal};
use super::{Tree, failure, guarded, spare};
use crate::limits::{LSM_MERGE_FROM, LSM_RUNS_MAX, STORE_REOPEN_EVERY};

/// Memories that wait to be written to tables before the writer waits, too.
const SEALED_MAX: usize = 2;

/// How long a writer waits before it looks again whether it may go on.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The thread, and what it is told.
pub(super) struct Maintenance {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Shared {
    tree: Arc<Tree>,
    journal: PathBuf,
    tuning: Tuning,
    state: Mutex<State>,
    /// Rung on every change of the state.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The newest of the journal's files of which everything is sealed or in tables.
    sealed_through: u64,
    /// The newest of which everything is in tables.
    written_through: u64,
    /// Why tables cannot be written at the moment, or any more.
    trouble: Option<Error>,
    stop: bool,
}

impl State {
    const fn has_work(&self) -> bool {
        self.written_through < self.sealed_through
    }
}

impl Maintenance {
    /// Starts the thread; the journal's oldest file is `oldest`.
    pub(super) fn start(tree: Arc<Tree>, journal: PathBuf, oldest: u64, tuning: Tuning) -> Result<Self> {
        let before = oldest.saturating_sub(1);
        let state = State { sealed_through: before, written_through: before, ..State::default() };
        let shared =
            Arc::new(Shared { tree, journal, tuning, state: Mutex::new(state), changed: Condvar::new() });
        let worker = Arc::clone(&shared);
        let thread = thread::Builder::new().name("store-tables".to_owned()).spawn(move || worker.run());
        Ok(Self { shared, thread: Some(thread.map_err(|error| io_failure(&error))?) })
    }

    /// Asked by the writer before each group: begins a new memory, and a new file of the journal, when the present
    /// one is full. Waits when the tables are too far behind.
    pub(super) fn admit(&self, journal: &mut Journal) -> Result<()> {
        let rows = &self.shared.tree.rows;
        if rows.active_memtable().size() >= self.shared.tuning.memory_bytes {
            self.await_room()?;
            let full = journal.number();
            journal.rotate()?;
            rows.rotate_memtable();
            self.shared.state.lock().sealed_through = full;
            self.shared.changed.notify_all();
        }
        match &self.shared.state.lock().trouble {
            // There is memory left: what is short of space is tried again meanwhile.
            None | Some(Error::Full(_)) => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    fn await_room(&self) -> Result<()> {
        let rows = &self.shared.tree.rows;
        let mut state = self.shared.state.lock();
        while rows.sealed_memtable_count() >= SEALED_MAX || rows.l0_run_count() > LSM_RUNS_MAX {
            if let Some(trouble) = &state.trouble {
                return Err(trouble.clone());
            }
            self.shared.changed.wait_for(&mut state, LOOK_EVERY);
        }
        Ok(())
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes tables panicked");
        }
        if let Err(error) = spare::remove(&self.shared.journal) {
            tracing::debug!(%error, "the spare file of the journal stays");
        }
    }
}

impl Shared {
    fn run(&self) {
        while let Some(through) = self.next() {
            match guarded(|| self.work(through)) {
                Ok(()) => self.state.lock().trouble = None,
                Err(error) => {
                    tracing::error!(%error, "tables cannot be written");
                    let mut state = self.state.lock();
                    let passes = matches!(error, Error::Full(_));
                    state.trouble = Some(error);
                    self.changed.notify_all();
                    if !passes {
                        return;
                    }
                    if !state.stop {
                        self.changed.wait_for(&mut state, STORE_REOPEN_EVERY);
                    }
                }
            }
            self.changed.notify_all();
        }
    }

    /// Waits for something to write; up to which of the journal's files. `None` when it is to stop.
    fn next(&self) -> Option<u64> {
        let mut state = self.state.lock();
        while !state.stop && !state.has_work() {
            self.changed.wait(&mut state);
        }
        (!state.stop).then_some(state.sealed_through)
    }

    fn work(&self, through: u64) -> Result<()> {
        let rows = &self.tree.rows;
        rows.flush(&rows.get_flush_lock(), self.tree.forgettable()).map_err(failure)?;
        journal::retire_through(&self.journal, through)?;
        self.state.lock().written_through = through;
        self.changed.notify_all();
        self.merge()
    }

    /// Merges tables until there is nothing to gain by it, or more to write.
    fn merge(&self) -> Result<()> {
        let strategy = Arc::new(
            Leveled::default()
                .with_l0_threshold(LSM_MERGE_FROM)
                .with_table_target_size(self.tuning.table_bytes),
        );
        loop {
            let before = self.tree.rows.current_version().id();
            let strategy = Arc::<Leveled>::clone(&strategy);
            self.tree.rows.compact(strategy, self.tree.forgettable()).map_err(failure)?;
            let state = self.state.lock();
            if state.stop || state.has_work() || self.tree.rows.current_version().id() == before {
                return Ok(());
            }
        }
    }
}
