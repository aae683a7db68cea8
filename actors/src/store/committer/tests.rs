//! The committer over a database that does what the test says.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;
use crate::store::backend::Read;
use crate::store::conformance::wait;
use crate::store::row_map::RowMap;
use crate::store::{Key, Log, Patience};

/// What the test lets happen to the next group.
enum Verdict {
    Write,
    FailSync(Error),
    /// The write runs out of space; the group is in the database all the same, or not. Opening it again
    /// takes so many tries.
    RunFull {
        kept: bool,
        tries: u32,
    },
    Panic,
}

/// Reported instead of a size when the committer asks whether it was a sync that failed.
const SYNC_ASKED: usize = usize::MAX;

/// A database that reports the size of each group and waits for the test's verdict on it.
#[derive(Debug)]
struct Gated {
    rows: Mutex<RowMap>,
    arrived: Sender<usize>,
    verdicts: Mutex<Receiver<Verdict>>,
    sync: Mutex<Result<()>>,
    /// Tries to open it again that will fail for want of space; `None` while it is open.
    full: Mutex<Option<u32>>,
}

impl Read for Gated {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.rows.lock().get(key)
    }

    fn scan_all(&self, ranges: &[KeyRange], order: Order, limit: usize) -> Result<Vec<Rows>> {
        self.rows.lock().scan_all(ranges, order, limit)
    }
}

impl Backend for Gated {
    fn keys(&self, range: &KeyRange, limit: usize) -> Result<Vec<Key>> {
        let rows = self.scan_all(std::slice::from_ref(range), Order::Ascending, limit)?;
        Ok(rows.into_iter().flatten().map(|(key, _)| key).collect())
    }

    fn write(&self, changes: Changes) -> Result<()> {
        // One of the changes is the progress of the sequence.
        self.arrived.send(changes.len() - 1).ok();
        let verdict = self.verdicts.lock().recv_timeout(Duration::from_secs(10));
        let mut keep = true;
        match verdict.unwrap_or(Verdict::Write) {
            Verdict::Write => {}
            Verdict::FailSync(error) => *self.sync.lock() = Err(error),
            Verdict::RunFull { kept, tries } => (keep, *self.full.lock()) = (kept, Some(tries)),
            Verdict::Panic => panic!("a bug of the database"),
        }
        if keep {
            self.rows.lock().apply(changes);
        }
        if self.full.lock().is_some() { Err(Error::Full("enospc".into())) } else { Ok(()) }
    }

    fn check_synced(&self) -> Result<()> {
        self.arrived.send(SYNC_ASKED).ok();
        self.sync.lock().clone()
    }

    fn reopens_when_full(&self) -> bool {
        true
    }

    fn reopen(&self) -> Result<()> {
        let mut full = self.full.lock();
        *full = full.and_then(|tries| tries.checked_sub(1));
        if full.is_some() { Err(Error::Full("enospc".into())) } else { Ok(()) }
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
    has_room: Arc<AtomicBool>,
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
            full: Mutex::new(None),
        };
        let dir = tempfile::tempdir().unwrap();
        let mark = Mark::open(&dir.path().join("mark")).unwrap();
        let has_room = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&has_room);
        let full = || Error::Full("no room".into());
        let room = move || if asked.load(Ordering::SeqCst) { Ok(()) } else { Err(full()) };
        let store = GroupCommitStore::start(backend, mark, Box::new(room)).unwrap();
        Self { verdicts, store, arrived, has_room, _dir: dir }
    }

    /// One that waits for so many, and else longer than any test.
    fn put_patiently(&self, key: &str, company: usize) -> BoxFuture<'static, Result<Committed>> {
        let mut batch = Batch::new();
        batch.put(key, vec![]);
        batch.patience = Some(Patience { span: Duration::from_secs(600), company });
        self.store.commit(batch)
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
fn what_has_patience_waits_until_as_many_are_there_as_it_waits_for() {
    let bench = Bench::new();
    let waiting: Vec<_> = ["a", "b", "c"].map(|key| bench.put_patiently(key, 3)).into();
    assert_eq!(bench.arrives(), 3);
    bench.verdicts.send(Verdict::Write).unwrap();
    for commit in waiting {
        wait(commit).unwrap();
    }
}

#[test]
fn what_has_no_patience_is_not_kept_waiting_and_takes_along_what_waits() {
    let bench = Bench::new();
    for round in 0..5 {
        let patient = bench.put_patiently(&format!("patient {round}"), 100);
        let hurried = bench.put(&format!("hurried {round}"), 1);
        assert_eq!(bench.arrives(), 2);
        bench.verdicts.send(Verdict::Write).unwrap();
        wait(patient).unwrap();
        wait(hurried).unwrap();
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
    let told = bench.store.failure();
    bench.verdicts.send(Verdict::FailSync(Error::Failed("eio".into()))).unwrap();
    assert!(matches!(wait(held), Err(Error::Failed(_))));
    assert!(matches!(wait(queued), Err(Error::Failed(_))));
    assert!(matches!(*told.borrow(), Some(Error::Failed(_))));
    // The disk would work again; nothing is tried.
    *bench.store.shared.backend.sync.lock() = Ok(());
    assert!(matches!(wait(bench.put("later", 1)), Err(Error::Failed(_))));
    assert!(matches!(bench.store.health(), Err(Error::Failed(_))));
    assert!(bench.arrived.try_recv().is_err(), "no group was written after the failure");
}

#[test]
fn without_room_a_group_is_refused_untouched_and_with_room_it_goes_on() {
    let bench = Bench::new();
    bench.has_room.store(false, Ordering::SeqCst);
    assert!(matches!(wait(bench.put("a", 1)), Err(Error::Full(_))));
    assert!(matches!(bench.store.health(), Err(Error::Full(_))));
    assert!(bench.arrived.try_recv().is_err(), "nothing was written");
    // What changes nothing needs no room.
    wait(bench.store.commit(Batch::new())).unwrap();
    bench.has_room.store(true, Ordering::SeqCst);
    bench.store.health().unwrap();
    bench.verdicts.send(Verdict::Write).unwrap();
    let mut batch = Batch::new();
    assert_eq!(wait(bench.store.commit(batch.append(Log::Events, "").clone())).unwrap().first_seq, 1);
    assert!(bench.store.failure().borrow().is_none());
}

#[test]
fn a_disk_that_runs_full_amid_a_write_is_ridden_out_and_the_outcome_is_known() {
    for (kept, tries) in [(true, 0), (false, 0), (true, 2), (false, 2)] {
        let bench = Bench::new();
        let mut batch = Batch::new();
        batch.put("k", "v").append(Log::Events, "");
        let caught = bench.store.commit(batch.clone());
        assert_eq!(bench.arrives(), 2);
        bench.verdicts.send(Verdict::RunFull { kept, tries }).unwrap();
        let answer = wait(caught);
        assert_eq!(answer.is_ok(), kept, "{answer:?}");
        assert!(kept || matches!(answer, Err(Error::Full(_))));
        bench.store.health().unwrap();
        bench.verdicts.send(Verdict::Write).unwrap();
        let next = wait(bench.store.commit(batch)).unwrap().first_seq;
        assert_eq!(next, 1 + u64::from(kept), "a number was lost or given twice");
    }
}

#[test]
fn while_the_disk_is_full_commits_are_refused_at_once_and_closing_ends_the_wait() {
    let bench = Bench::new();
    let held = bench.hold();
    bench.verdicts.send(Verdict::RunFull { kept: true, tries: u32::MAX }).unwrap();
    while bench.store.health().is_ok() {
        thread::yield_now();
    }
    assert!(matches!(wait(bench.put("later", 1)), Err(Error::Full(_))));
    bench.store.close();
    assert!(matches!(wait(held), Err(Error::Failed(_))), "nobody knows");
}

#[test]
fn a_sync_that_ran_out_of_space_is_fatal_as_every_failed_sync() {
    let bench = Bench::new();
    let held = bench.hold();
    let mut sync = bench.store.shared.backend.sync.lock();
    bench.verdicts.send(Verdict::RunFull { kept: true, tries: 0 }).unwrap();
    assert_eq!(bench.arrives(), SYNC_ASKED);
    bench
        .store
        .health()
        .expect("until that is known, nobody is told that the disk is full and to come again");
    *sync = Err(Error::Failed("enospc at the sync".into()));
    drop(sync);
    assert!(matches!(wait(held), Err(Error::Failed(_))));
    assert!(matches!(bench.store.health(), Err(Error::Failed(_))));
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
