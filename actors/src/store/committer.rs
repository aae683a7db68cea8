//! The one thread through which every change of a store goes: it gathers the batches that wait, writes them as
//! one atomic group, makes the group durable and only then answers.
//!
//! Not responsible for what the changes are (`sequence.rs`) nor how a database keeps them (`backend.rs`).
//!
//! Invariants:
//! - [`Store::commit`] queues at the time of the call; dropping its future does not take the batch back;
//! - no answer, not even a rejection, leaves before the group is durable: a rejection shows what an earlier
//!   batch of the same group wrote;
//! - after a failed write or sync nothing is written any more, because nobody knows what the disk holds
//!   (a second fsync after a failed one answers success without having written anything).

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use super::backend::{Backend, Changes, io_failure};
use super::mark::Mark;
use super::sequence::{self, Sequence};
use super::{Batch, Committed, Error, KeyRange, Op, Order, Precondition, Result, Rows, Store};
use crate::fault::{self, Point};
use crate::limits;

/// A store made of a database and a committer thread.
pub(super) struct GroupCommitStore<B: Backend> {
    shared: Arc<Shared<B>>,
    /// `None` once the store is closed.
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    appended: watch::Receiver<u64>,
}

/// What callers and the committer both need.
struct Shared<B> {
    backend: B,
    /// The first fatal error; it stays until the store is opened again.
    failure: OnceLock<Error>,
    /// Bytes of the batches in the queue.
    queued_bytes: AtomicUsize,
}

/// A batch that waits for the committer.
struct Request {
    batch: Batch,
    bytes: usize,
    answer: oneshot::Sender<Result<Committed>>,
}

impl<B: Backend> GroupCommitStore<B> {
    /// Starts the committer over an open database, unless less is in it than `mark` says was acknowledged.
    pub(super) fn start(backend: B, mark: Mark) -> Result<Self> {
        let sequence = Sequence::recover(&backend)?;
        mark.check(sequence.groups())?;
        let (queue, requests) = mpsc::channel(limits::COMMITS_QUEUED_MAX);
        let (publish, appended) = watch::channel(sequence.last());
        let shared =
            Arc::new(Shared { backend, failure: OnceLock::new(), queued_bytes: AtomicUsize::new(0) });
        let committer = Committer { shared: Arc::clone(&shared), requests, sequence, mark, publish };
        let thread = thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(|| committer.run())
            .map_err(|error| io_failure(&error))?;
        Ok(Self { shared, queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), appended })
    }

    fn enqueue(&self, batch: Batch) -> Result<oneshot::Receiver<Result<Committed>>> {
        let queue = self.queue.lock();
        let queue = queue.as_ref().ok_or(Error::Closed)?;
        if let Some(failure) = self.shared.failure.get() {
            return Err(failure.clone());
        }
        let bytes = size(&batch);
        // Callers come one at a time (the lock), so that checking and adding need not be one step. A batch
        // that is larger than the bound is let in when nothing else waits.
        let waiting = self.shared.queued_bytes.load(Ordering::Acquire);
        if waiting > 0 && waiting + bytes > limits::COMMITS_QUEUED_BYTES_MAX {
            return Err(Error::Busy);
        }
        self.shared.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        let (answer, answered) = oneshot::channel();
        queue.try_send(Request { batch, bytes, answer }).map_err(|error| {
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
            match error {
                TrySendError::Full(_) => Error::Busy,
                TrySendError::Closed(_) => Error::Closed,
            }
        })?;
        Ok(answered)
    }
}

impl<B: Backend> Store for GroupCommitStore<B> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if sequence::is_visible(key) { self.shared.backend.get(key) } else { Ok(None) }
    }

    fn scan(&self, range: KeyRange, order: Order, limit: usize) -> Result<Rows> {
        let range = sequence::visible(range);
        if range.is_empty() || limit == 0 {
            return Ok(Rows::new());
        }
        self.shared.backend.scan(&range, order, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Committed>> {
        match self.enqueue(batch) {
            Ok(answered) => answered.map(|answer| answer.unwrap_or(Err(Error::Closed))).boxed(),
            Err(error) => future::ready(Err(error)).boxed(),
        }
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.appended.clone()
    }

    fn health(&self) -> Result<()> {
        if let Some(failure) = self.shared.failure.get() {
            return Err(failure.clone());
        }
        if self.queue.lock().is_some() { Ok(()) } else { Err(Error::Closed) }
    }

    fn size_on_disk(&self) -> Option<u64> {
        self.shared.backend.size_on_disk()
    }

    fn close(&self) {
        // Without a sender the committer ends after what is queued.
        self.queue.lock().take();
        let mut thread = self.thread.lock();
        if let Some(thread) = thread.take() {
            if thread.join().is_err() {
                tracing::error!("the committer thread panicked");
            }
            self.shared.backend.close();
        }
    }
}

impl<B: Backend> Drop for GroupCommitStore<B> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<B: Backend> fmt::Debug for GroupCommitStore<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCommitStore")
            .field("backend", &self.shared.backend)
            .field("failure", &self.shared.failure.get())
            .finish_non_exhaustive()
    }
}

/// The committer thread's own state.
struct Committer<B> {
    shared: Arc<Shared<B>>,
    requests: mpsc::Receiver<Request>,
    sequence: Sequence,
    mark: Mark,
    publish: watch::Sender<u64>,
}

impl<B: Backend> Committer<B> {
    fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            let group = self.gather(first);
            self.commit(group);
        }
        if self.shared.failure.get().is_none()
            && let Err(error) = self.mark.sync()
        {
            tracing::warn!(%error, "the mark of what was acknowledged could not be synced at closing");
        }
    }

    /// Everything that waits, up to the limits of one group.
    fn gather(&mut self, first: Request) -> Vec<Request> {
        let mut bytes = first.bytes;
        let mut group = vec![first];
        while group.len() < limits::COMMIT_GROUP_MAX && bytes < limits::COMMIT_GROUP_BYTES_MAX {
            let Ok(request) = self.requests.try_recv() else { break };
            bytes += request.bytes;
            group.push(request);
        }
        self.shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        group
    }

    fn commit(&mut self, group: Vec<Request>) {
        let (batches, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|request| (request.batch, request.answer)).unzip();
        match self.make_durable(batches) {
            Ok(results) => {
                let last = self.sequence.last();
                self.publish.send_if_modified(|known| std::mem::replace(known, last) != last);
                for (answer, result) in answers.into_iter().zip(results) {
                    // Who dropped the future does not want to know.
                    answer.send(result).ok();
                }
            }
            Err(error) => {
                for answer in answers {
                    answer.send(Err(error.clone())).ok();
                }
            }
        }
    }

    /// Answers each batch, or fails as a whole and for good.
    fn make_durable(&mut self, batches: Vec<Batch>) -> Result<Vec<Result<Committed>>> {
        if let Some(failure) = self.shared.failure.get() {
            return Err(failure.clone());
        }
        let written = catch_unwind(AssertUnwindSafe(|| self.write(batches)))
            .unwrap_or_else(|panic| Err(Error::Failed(panic_text(panic.as_ref()).into())));
        written.inspect_err(|error| {
            tracing::error!(%error, "the store refuses writes from now on");
            self.shared.failure.get_or_init(|| error.clone());
        })
    }

    fn write(&mut self, batches: Vec<Batch>) -> Result<Vec<Result<Committed>>> {
        let mut changes = Changes::new();
        let results = batches
            .into_iter()
            .map(|batch| self.sequence.stage(batch, &mut changes, &self.shared.backend))
            .collect();
        if !changes.is_empty() {
            self.sequence.seal(&mut changes);
            fault::check(Point::CommitGathered, injected)?;
            self.shared.backend.write(changes)?;
            fault::check(Point::CommitWritten, injected)?;
            self.shared.backend.sync()?;
            fault::check(Point::CommitSynced, injected)?;
            self.mark.record(self.sequence.groups())?;
            fault::check(Point::CommitMarked, injected)?;
        }
        Ok(results)
    }
}

/// The error of a fault point.
fn injected() -> Error {
    Error::Failed("a fault point".into())
}

/// About how much memory a batch takes while it waits.
fn size(batch: &Batch) -> usize {
    let ops = batch.ops.iter().map(|op| match op {
        Op::Put { key, value } => key.len() + value.len(),
        Op::Delete { key } => key.len(),
        Op::Append { value, .. } => value.len(),
    });
    let preconditions = batch.preconditions.iter().map(|precondition| match precondition {
        Precondition::Absent(key) | Precondition::Present(key) => key.len(),
    });
    size_of::<Request>()
        + batch.ops.len() * size_of::<Op>()
        + ops.sum::<usize>()
        + preconditions.sum::<usize>()
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the database panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::super::backend::Read;
    use super::super::conformance::wait;
    use super::super::{Key, Log};
    use super::*;

    /// What the test lets happen to the next group.
    enum Verdict {
        Write,
        FailSync(Error),
        Panic,
    }

    /// A database that reports the size of each group and waits for the test's verdict on it.
    #[derive(Debug)]
    struct Gated {
        rows: Mutex<BTreeMap<Key, Vec<u8>>>,
        arrived: Sender<usize>,
        verdicts: Mutex<Receiver<Verdict>>,
        sync: Mutex<Result<()>>,
    }

    impl Read for Gated {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
            Ok(self.rows.lock().get(key).cloned())
        }

        fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Rows> {
            self.rows.lock().scan(range, order, limit)
        }
    }

    impl Backend for Gated {
        fn write(&self, changes: Changes) -> Result<()> {
            // One of the changes is the progress of the sequence.
            self.arrived.send(changes.len() - 1).ok();
            let verdict = self.verdicts.lock().recv_timeout(Duration::from_secs(10));
            match verdict.unwrap_or(Verdict::Write) {
                Verdict::Write => {}
                Verdict::FailSync(error) => *self.sync.lock() = Err(error),
                Verdict::Panic => panic!("a bug of the database"),
            }
            let mut rows = self.rows.lock();
            rows.extend(changes.into_iter().filter_map(|(key, value)| Some((key, value?))));
            Ok(())
        }

        fn sync(&self) -> Result<()> {
            self.sync.lock().clone()
        }

        fn size_on_disk(&self) -> Option<u64> {
            None
        }

        fn close(&self) {}
    }

    /// Dropped from the top: without a judge the committer goes on, so that closing the store ends.
    struct Bench {
        verdicts: Sender<Verdict>,
        store: GroupCommitStore<Gated>,
        arrived: Receiver<usize>,
        _dir: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let (arrive, arrived) = channel();
            let (verdicts, given) = channel();
            let backend = Gated {
                rows: Mutex::default(),
                arrived: arrive,
                verdicts: Mutex::new(given),
                sync: Mutex::new(Ok(())),
            };
            let dir = tempfile::tempdir().unwrap();
            let mark = Mark::open(&dir.path().join("mark")).unwrap();
            let store = GroupCommitStore::start(backend, mark).unwrap();
            Self { verdicts, store, arrived, _dir: dir }
        }

        fn put(&self, key: &str, bytes: usize) -> BoxFuture<'static, Result<Committed>> {
            let mut batch = Batch::new();
            batch.put(key, vec![0; bytes]);
            self.store.commit(batch)
        }

        /// Starts a group and leaves the committer inside it, so that what follows has to wait.
        fn hold(&self) -> BoxFuture<'static, Result<Committed>> {
            let held = self.put("held", 1);
            assert_eq!(self.arrives(), 1);
            held
        }

        /// The size of the next group, which must come soon.
        fn arrives(&self) -> usize {
            self.arrived.recv_timeout(Duration::from_secs(10)).expect("a group is written")
        }
    }

    #[test]
    fn what_waits_becomes_one_group() {
        let bench = Bench::new();
        let held = bench.hold();
        let waiting: Vec<_> = (0..10).map(|key| bench.put(&key.to_string(), 1)).collect();
        bench.verdicts.send(Verdict::Write).unwrap();
        assert_eq!(bench.arrives(), 10);
        bench.verdicts.send(Verdict::Write).unwrap();
        for commit in waiting.into_iter().chain([held]) {
            wait(commit).unwrap();
        }
    }

    #[test]
    fn nothing_is_answered_before_the_group_is_durable_not_even_a_rejection() {
        let bench = Bench::new();
        let held = bench.hold();
        let mut claim = Batch::new();
        claim.require(Precondition::Absent(b"k".to_vec())).put("k", "1").append(Log::Events, "");
        let first = bench.store.commit(claim.clone());
        let second = bench.store.commit(claim);
        bench.verdicts.send(Verdict::Write).unwrap();
        assert_eq!(bench.arrives(), 2);
        wait(held).unwrap();
        let mut second = second;
        assert!((&mut second).now_or_never().is_none(), "the rejection would show what is not durable");
        assert_eq!(*bench.store.appended().borrow(), 0);
        bench.verdicts.send(Verdict::FailSync(Error::Failed("eio".into()))).unwrap();
        assert!(matches!(wait(first), Err(Error::Failed(_))));
        assert!(matches!(wait(second), Err(Error::Failed(_))));
        assert_eq!(*bench.store.appended().borrow(), 0);
    }

    #[test]
    fn a_failed_sync_refuses_everything_afterwards() {
        let bench = Bench::new();
        let held = bench.hold();
        let queued = bench.put("queued", 1);
        bench.verdicts.send(Verdict::FailSync(Error::Full("enospc".into()))).unwrap();
        assert!(matches!(wait(held), Err(Error::Full(_))));
        assert!(matches!(wait(queued), Err(Error::Full(_))));
        // The disk would work again; nothing is tried.
        *bench.store.shared.backend.sync.lock() = Ok(());
        assert!(matches!(wait(bench.put("later", 1)), Err(Error::Full(_))));
        assert!(matches!(bench.store.health(), Err(Error::Full(_))));
        assert!(bench.arrived.try_recv().is_err(), "no group was written after the failure");
    }

    #[test]
    fn a_panic_of_the_database_is_a_failure() {
        let bench = Bench::new();
        let held = bench.hold();
        bench.verdicts.send(Verdict::Panic).unwrap();
        let answer = wait(held);
        assert!(matches!(&answer, Err(Error::Failed(text)) if text.contains("a bug of the database")));
        assert!(matches!(bench.store.health(), Err(Error::Failed(_))));
        bench.store.close();
    }

    #[test]
    fn the_queue_is_bounded_in_number() {
        let bench = Bench::new();
        let held = bench.hold();
        for _ in 0..limits::COMMITS_QUEUED_MAX {
            drop(bench.store.commit(Batch::new()));
        }
        let refused = wait(bench.store.commit(Batch::new()));
        assert!(refused.is_err_and(|error| error.is_retryable()));
        bench.verdicts.send(Verdict::Write).unwrap();
        wait(held).unwrap();
    }

    #[test]
    fn the_queue_is_bounded_in_bytes_and_drains() {
        let bench = Bench::new();
        let held = bench.hold();
        let quarter = limits::COMMITS_QUEUED_BYTES_MAX / 4;
        let queued: Vec<_> = (0..3).map(|key| bench.put(&key.to_string(), quarter)).collect();
        assert!(matches!(wait(bench.put("too much", quarter)), Err(Error::Busy)));
        (0..4).for_each(|_| bench.verdicts.send(Verdict::Write).unwrap());
        for commit in queued.into_iter().chain([held]) {
            wait(commit).unwrap();
        }
        let groups: Vec<usize> = bench.arrived.try_iter().collect();
        assert_eq!(groups, [1, 1, 1], "each is as large as a group may be");
        drop(bench.verdicts);
        wait(bench.store.commit(Batch::new())).unwrap();
        assert_eq!(bench.store.shared.queued_bytes.load(Ordering::Acquire), 0);
    }
}
