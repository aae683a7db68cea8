//! The one thread through which every change of a store goes: it gathers the batches that wait, writes them as
//! one atomic group, makes the group durable and only then answers.
//!
//! Not responsible for what the changes are (`sequence.rs`) nor how a database keeps them (`backend.rs`).
//!
//! Invariants:
//! - [`Store::commit`] queues at the time of the call; dropping its future does not take the batch back;
//! - a group waits for more only as long as all that is in it has patience (`committer/lingering.rs`);
//! - no answer, not even a rejection, leaves before the group is durable: a rejection shows what an earlier
//!   batch of the same group wrote;
//! - a group is refused before anything of it is written when the disk is about to run full (`space.rs`);
//! - when the disk runs full in the middle of a group, the group is answered only once it is known whether it
//!   is there (`committer/reopening.rs`): [`Error::Full`] always means that nothing was changed;
//! - after any other failed write or sync nothing is written any more, because nobody knows what the disk
//!   holds (a second fsync after a failed one answers success without having written anything).

mod lingering;
mod reopening;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use self::lingering::{Bell, Experience};
use super::backend::{Backend, Changes, io_failure};
use super::mark::Mark;
use super::sequence::{self, Sequence};
use super::space::Room;
use super::tee::{Tee, Tees};
use super::{Batch, Committed, Error, KeyRange, Op, Order, Precondition, Result, Rows, Store};
use crate::fault::{self, Point};
use crate::limits;

/// A store made of a database and a committer thread.
pub(super) struct GroupCommitStore<B: Backend> {
    shared: Arc<Shared<B>>,
    /// `None` once the store is closed.
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    /// The same, to be woken.
    committer: thread::Thread,
    appended: watch::Receiver<u64>,
}

/// What callers and the committer both need.
struct Shared<B> {
    backend: B,
    room: Room,
    /// The first fatal error; it stays until the store is opened again.
    failure: watch::Sender<Option<Error>>,
    /// Why the disk is full, while a group that met that is not settled.
    full: Mutex<Option<Error>>,
    /// Bytes of the batches in the queue.
    queued_bytes: AtomicUsize,
    bell: Bell,
    /// Set when the store is to be closed; rung then.
    closing: Mutex<bool>,
    closed: Condvar,
    tees: Tees,
}

impl<B> Shared<B> {
    fn new(backend: B, room: Room) -> Self {
        Self {
            backend,
            room,
            failure: watch::Sender::new(None),
            full: Mutex::new(None),
            queued_bytes: AtomicUsize::new(0),
            bell: Bell::default(),
            closing: Mutex::new(false),
            closed: Condvar::new(),
            tees: Tees::default(),
        }
    }

    /// Why nothing can be written at the moment, or any more.
    fn refusal(&self) -> Result<()> {
        let failure = self.failure.borrow().clone();
        failure.or_else(|| self.full.lock().clone()).map_or(Ok(()), Err)
    }
}

/// A batch that waits for the committer.
struct Request {
    batch: Batch,
    bytes: usize,
    answer: oneshot::Sender<Result<Committed>>,
}

impl<B: Backend> GroupCommitStore<B> {
    /// Starts the committer over an open database, unless less is in it than `mark` says was acknowledged.
    pub(super) fn start(backend: B, mark: Mark, room: Room) -> Result<Self> {
        let sequence = Sequence::recover(&backend)?;
        mark.check(sequence.groups())?;
        let (queue, requests) = mpsc::channel(limits::COMMITS_QUEUED_MAX);
        let (publish, appended) = watch::channel(sequence.last());
        let shared = Arc::new(Shared::new(backend, room));
        let experience = Experience::default();
        let committer =
            Committer { shared: Arc::clone(&shared), requests, sequence, mark, publish, experience };
        let thread = thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(|| committer.run())
            .map_err(|error| io_failure(&error))?;
        let committer = thread.thread().clone();
        let (queue, thread) = (Mutex::new(Some(queue)), Mutex::new(Some(thread)));
        Ok(Self { shared, queue, thread, committer, appended })
    }

    fn enqueue(&self, batch: Batch) -> Result<oneshot::Receiver<Result<Committed>>> {
        let queue = self.queue.lock();
        let queue = queue.as_ref().ok_or(Error::Closed)?;
        self.shared.refusal()?;
        let bytes = size(&batch);
        // Callers come one at a time (the lock), so that checking and adding need not be one step. A batch
        // that is larger than the bound is let in when nothing else waits.
        let waiting = self.shared.queued_bytes.load(Ordering::Acquire);
        if waiting > 0 && waiting + bytes > limits::COMMITS_QUEUED_BYTES_MAX {
            return Err(Error::Busy);
        }
        self.shared.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        let (answer, answered) = oneshot::channel();
        let is_patient = batch.patience.is_some();
        queue.try_send(Request { batch, bytes, answer }).map_err(|error| {
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
            match error {
                TrySendError::Full(_) => Error::Busy,
                TrySendError::Closed(_) => Error::Closed,
            }
        })?;
        self.shared.bell.ring(&self.committer, queue.max_capacity() - queue.capacity(), is_patient);
        Ok(answered)
    }
}

impl<B: Backend> Store for GroupCommitStore<B> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if sequence::is_visible(key) { self.shared.backend.get(key) } else { Ok(None) }
    }

    fn scan_all(&self, ranges: Vec<KeyRange>, order: Order, limit: usize) -> Result<Vec<Rows>> {
        self.shared.backend.scan_all(&sequence::all_visible(ranges), order, limit)
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
        self.shared.refusal()?;
        if self.queue.lock().is_none() {
            return Err(Error::Closed);
        }
        (self.shared.room)()
    }

    fn failure(&self) -> watch::Receiver<Option<Error>> {
        self.shared.failure.subscribe()
    }

    fn tee(&self) -> Result<Tee> {
        // Also on a full disk: a backup writes elsewhere.
        self.shared.refusal()?;
        self.shared.tees.open()
    }

    fn size_on_disk(&self) -> Option<u64> {
        self.shared.backend.size_on_disk()
    }

    fn close(&self) {
        // Without a sender the committer ends after what is queued.
        self.queue.lock().take();
        *self.shared.closing.lock() = true;
        self.shared.closed.notify_all();
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
            .field("refusal", &self.shared.refusal().err())
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
    experience: Experience,
}

impl<B: Backend> Committer<B> {
    fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            let group = self.gather(first);
            self.commit(group);
        }
        if self.shared.failure.borrow().is_none()
            && let Err(error) = self.mark.sync()
        {
            tracing::warn!(%error, "the mark of what was acknowledged could not be synced at closing");
        }
    }

    /// Everything that waits, up to the limits of one group, and those whom it is worth waiting for.
    fn gather(&mut self, first: Request) -> Vec<Request> {
        let mut group = vec![first];
        self.add_waiting(&mut group);
        let there = group.len();
        if let Some(patience) = lingering::patience(&group)
            && self.experience.is_worth_it()
        {
            let until = Instant::now() + patience.span;
            self.shared.bell.hang(patience.company - there);
            // Who came before the bell hung did not ring.
            self.add_waiting(&mut group);
            if lingering::patience(&group).is_some() {
                self.shared.bell.wait(until);
            }
            self.shared.bell.take_down();
            self.add_waiting(&mut group);
            self.experience.learn(group.len() - there);
        }
        let bytes = group.iter().map(|request| request.bytes).sum();
        self.shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        group
    }

    fn add_waiting(&mut self, group: &mut Vec<Request>) {
        let mut bytes: usize = group.iter().map(|request| request.bytes).sum();
        while group.len() < limits::COMMIT_GROUP_MAX && bytes < limits::COMMIT_GROUP_BYTES_MAX {
            let Ok(request) = self.requests.try_recv() else { break };
            bytes += request.bytes;
            group.push(request);
        }
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

    /// Answers each batch, or fails as a whole: for now with [`Error::Full`], else for good.
    fn make_durable(&mut self, batches: Vec<Batch>) -> Result<Vec<Result<Committed>>> {
        self.shared.refusal()?;
        let before = self.sequence;
        let written = catch_unwind(AssertUnwindSafe(|| self.write(batches)))
            .unwrap_or_else(|panic| Err(Error::Failed(panic_text(panic.as_ref()).into())));
        written.inspect_err(|error| {
            self.sequence = before;
            if !matches!(error, Error::Full(_)) {
                tracing::error!(%error, "the store refuses writes from now on");
                self.shared.failure.send_if_modified(|failure| failure.replace(error.clone()).is_none());
            }
        })
    }

    fn write(&mut self, batches: Vec<Batch>) -> Result<Vec<Result<Committed>>> {
        let before = self.sequence;
        // At its size from the beginning: to grow it would touch fresh memory twice over with every group.
        let rows = batches.iter().map(|batch| batch.ops.len()).sum::<usize>() + 1;
        let mut changes = Changes::with_capacity_and_hasher(rows, Default::default());
        let results = batches
            .into_iter()
            .map(|batch| self.sequence.stage(batch, &mut changes, &self.shared.backend))
            .collect();
        if changes.is_empty() {
            return Ok(results);
        }
        (self.shared.room)()?;
        self.sequence.seal(&mut changes);
        let copy = self.shared.tees.copy(&changes);
        match self.write_group(changes) {
            Err(Error::Full(why)) if !self.is_there_after_reopening(before, &why)? => {
                return Err(Error::Full(why));
            }
            Err(Error::Full(_)) | Ok(()) => {}
            Err(error) => return Err(error),
        }
        self.shared.tees.pour(copy);
        Ok(results)
    }

    fn write_group(&self, changes: Changes) -> Result<()> {
        fault::check(Point::CommitGathered, injected)?;
        self.shared.backend.write(changes)?;
        fault::check(Point::CommitWritten, injected)?;
        self.shared.backend.sync()?;
        fault::check(Point::CommitSynced, injected)?;
        self.mark.record(self.sequence.groups())?;
        fault::check(Point::CommitMarked, injected)
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
mod tests;
