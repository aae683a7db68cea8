//! A machine at rest costs no memory, and is brought back by whatever is for it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use dogwatch_actors::durable::Machine as _;
use dogwatch_actors::durable::published::{Published, Wanted};
use dogwatch_actors::limits::{ACTOR_IDLE_MAX, RESTING_ROW_BYTES_MAX};
use dogwatch_actors::store::memory::MemoryStore;
use dogwatch_actors::store::{self, Batch, Committed, KeyRange, Order, Rows, Store};
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::watch;

use super::bench::{Process, START, Settings, SlowStore, in_virtual_time};
use super::counter::{Counter, Effect, Event, Number};

/// A process whose machine 1 is at rest.
async fn at_rest() -> Process {
    let (_, process) = Process::on_memory().await;
    process.apply(1, Event::Opened).await;
    process.apply(1, Event::LiveSet(false)).await;
    process.settle().await;
    process
}

#[test]
fn a_machine_that_waits_leaves_memory_when_it_has_settled() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        for id in 0..50 {
            process.apply(id, Event::Opened).await;
        }
        process.settle().await;
        assert_eq!(process.host.published().in_memory(), 50, "what is live stays");
        join_all((0..50).map(|id| process.deliver(id, Event::LiveSet(false)))).await;
        process.settle().await;
        assert_eq!(process.host.published().in_memory(), 0);
        assert_eq!(process.read(7).map(|counter| counter.revision), Some(2), "and is read from the store");
    });
}

#[test]
fn a_message_brings_it_back_and_everything_sent_meanwhile_is_handled() {
    in_virtual_time(async || {
        let process = at_rest().await;
        let many = join_all((0..200).map(|_| process.deliver(1, Event::Added(1)))).await;
        let last = many.into_iter().map(|answer| answer.unwrap().state.unwrap().count).max();
        assert_eq!(last, Some(200));
        let resumed = process.effects(1).iter().filter(|effect| matches!(effect, Effect::Resume(_))).count();
        assert_eq!(resumed, 1, "it stays while there is something for it");
        process.settle().await;
        assert_eq!(process.host.published().in_memory(), 0);
    });
}

#[test]
fn what_was_read_of_it_at_rest_is_kept_until_it_changes() {
    in_virtual_time(async || {
        let process = at_rest().await;
        let (first, second) = (process.read(1).unwrap(), process.read(1).unwrap());
        assert!(Arc::ptr_eq(&first, &second), "read from the store once");
        process.apply(1, Event::Added(5)).await;
        process.settle().await;
        assert_eq!(process.host.published().in_memory(), 0);
        assert_eq!((first.count, process.read(1).unwrap().count), (0, 5));
        process.deliver(1, Event::Closed).await.unwrap();
        process.settle().await;
        assert!(process.read(1).is_none());
    });
}

#[test]
fn what_it_was_given_is_in_the_row_of_its_snapshot_while_nothing_happens_at_rest() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        let (short, long) = ("given".to_owned(), "long".repeat(RESTING_ROW_BYTES_MAX / 4));
        process.apply(1, Event::Opened).await;
        for (event, given, rows) in [
            (Event::Added(1), &short, 1),
            (Event::LiveSet(false), &short, 0),
            (Event::Added(1), &short, 1),
            (Event::Added(1), &short, 1),
            (Event::LiveSet(true), &short, 1),
            (Event::LiveSet(false), &short, 0),
            (Event::Given("other".to_owned()), &"other".to_owned(), 1),
            (Event::LiveSet(true), &"other".to_owned(), 1),
            (Event::LiveSet(false), &"other".to_owned(), 0),
            (Event::LiveSet(true), &"other".to_owned(), 1),
            (Event::Given(long.clone()), &long, 1),
            (Event::LiveSet(false), &long, 1),
            (Event::Given(short.clone()), &short, 1),
            (Event::LiveSet(true), &short, 1),
            (Event::LiveSet(false), &short, 0),
        ] {
            let (said, revision) = (format!("{event:?}"), process.read(1).unwrap().revision);
            process.apply(1, event).await;
            process.settle().await;
            let found = process.read(1).unwrap();
            assert_eq!((found.given(), found.revision), (Some(given), revision + 1), "{said:.20}");
            assert_eq!(process.rows(b"g/counter/").len(), rows, "{said:.20}");
        }
        process.deliver(1, Event::LiveSet(true)).await.unwrap();
        process.deliver(1, Event::Closed).await.unwrap();
        assert!(process.rows(b"g/counter/").is_empty() && process.rows(b"m/counter/").is_empty());
    });
}

/// A store that is another one from the moment in which somebody looks for what a machine was given.
#[derive(Debug)]
struct Turning {
    stores: [MemoryStore; 2],
    turned: AtomicBool,
}

impl Store for Turning {
    fn get(&self, key: &[u8]) -> store::Result<Option<Vec<u8>>> {
        self.turned.fetch_or(key.starts_with(b"g/"), Ordering::SeqCst);
        self.stores[usize::from(self.turned.load(Ordering::SeqCst))].get(key)
    }

    fn scan_all(&self, ranges: Vec<KeyRange>, order: Order, limit: usize) -> store::Result<Vec<Rows>> {
        self.stores[0].scan_all(ranges, order, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, store::Result<Committed>> {
        self.stores[0].commit(batch)
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.stores[0].appended()
    }

    fn health(&self) -> store::Result<()> {
        Ok(())
    }

    fn size_on_disk(&self) -> Option<u64> {
        None
    }

    fn close(&self) {}
}

/// What a reader finds who read the snapshot in the first of these stores, and the rest in the second.
async fn read_amid(stores: [Rows; 2]) -> store::Result<Option<Arc<Counter>>> {
    let stores = stores.map(|rows| (MemoryStore::new(), rows));
    for (store, rows) in &stores {
        let mut batch = Batch::new();
        for (key, value) in rows {
            batch.put(key.clone(), value.clone());
        }
        store.commit(batch).await.unwrap();
    }
    let turning = Turning { stores: stores.map(|(store, _)| store), turned: AtomicBool::new(false) };
    Published::<Counter>::new(Arc::new(turning)).read(Number(1))
}

#[test]
fn who_reads_it_while_it_comes_to_rest_or_goes_finds_one_or_the_other() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        let live = process.rows(b"m/");
        process.apply(1, Event::LiveSet(false)).await;
        let resting = process.rows(b"m/");
        let found = read_amid([live.clone(), resting]).await.unwrap().unwrap();
        assert_eq!((found.revision, found.given()), (2, Some(&"given".to_owned())));
        assert!(read_amid([live.clone(), vec![]]).await.unwrap().is_none(), "purged");
        let lost = read_amid([live.clone(), live]).await.unwrap_err();
        assert!(lost.to_string().contains("g/counter/"), "{lost}");
    });
}

#[test]
fn a_deadline_brings_it_back() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        process.apply(1, Event::DueSet(Some(START.after(Duration::from_secs(3_601))))).await;
        process.apply(1, Event::LiveSet(false)).await;
        process.settle().await;
        assert_eq!(process.host.published().in_memory(), 0);
        process.until(1, |counter| counter.ticks == 1).await;
    });
}

#[test]
fn a_live_machine_that_is_sent_nothing_leaves_memory_too_and_resumes_when_it_is_back() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        tokio::time::advance(ACTOR_IDLE_MAX / 2).await;
        process.settle().await;
        process.apply(2, Event::Opened).await;
        let gone = async {
            while process.host.published().in_memory() > 1 {
                tokio::time::advance(Duration::from_secs(1)).await;
                tokio::task::yield_now().await;
            }
        };
        gone.await;
        assert_eq!(process.host.published().in_memory(), 1, "the one that was sent something later is there");
        assert_eq!(process.effects(1), [Effect::Say(0)]);
        assert_eq!(process.apply(1, Event::Added(1)).await.count, 1);
        assert_eq!(process.effects(1), [Effect::Say(0), Effect::Resume(0), Effect::Say(1)]);
        process.apply(2, Event::Asked).await;
        assert_eq!(process.effects(2), [Effect::Say(0), Effect::Say(0)], "and does not resume");
    });
}

#[test]
fn what_does_not_exist_leaves_nothing_behind() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        for id in 0..30 {
            assert!(process.deliver(id, Event::Ticked).await.is_err());
        }
        process.settle().await;
        assert_eq!(process.host.published().in_memory(), 0);
    });
}

#[test]
fn a_machine_that_panicked_leaves_memory_like_any_other() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        process.apply(1, Event::LiveSet(false)).await;
        assert!(process.deliver(1, Event::Cursed("a bad rule".into())).await.is_err());
        for _ in 0..3 {
            tokio::time::advance(ACTOR_IDLE_MAX).await;
            process.settle().await;
        }
        assert_eq!(process.host.published().in_memory(), 0);
    });
}

/// Deliveries that arrive just when the actor of a machine at rest is let go of: there must never be two.
#[test]
fn a_machine_has_one_actor_whenever_something_arrives() {
    for (together, every, slower) in [(3, 7, 1), (6, 9, 2)] {
        in_virtual_time(async || one_actor(together, every, slower).await);
    }
}

/// Rounds of so many deliveries, which come together in some and one by one in others, before and after the
/// answer of a commit.
async fn one_actor(together: u64, every: u64, slower: u64) {
    let process = Process::start(Arc::new(SlowStore::default()), Settings::new()).await;
    process.apply(1, Event::Opened).await;
    process.apply(1, Event::LiveSet(false)).await;
    let (process, all, start) = (&process, together * 200, tokio::time::Instant::now());
    let many = (0..all).map(|number| async move {
        let (round, place) = (number / together, number % together);
        let at = Duration::from_millis(round * every + place * (round % 4) / slower);
        tokio::time::sleep_until(start + at).await;
        for _ in 0..(round + place) % 5 {
            tokio::task::yield_now().await;
        }
        process.apply(1, Event::Added(1)).await.count
    });
    let mut counts = join_all(many).await;
    counts.sort_unstable();
    assert!(counts.into_iter().eq(1..=all), "an event was lost, or applied to an old state");
}

/// Counts how often it wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn who_waits_for_one_state_is_woken_by_it_alone() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        let wanted: Wanted<Counter> = Arc::new(|counter| counter.is_some_and(|counter| counter.count >= 5));
        let wakes = Arc::new(Wakes::default());
        let (waker, woken) = (Arc::clone(&wakes).into(), || wakes.0.load(Ordering::SeqCst));
        let mut context = Context::from_waker(&waker);
        let mut until = pin!(process.host.published().until(Number(1), &wanted));
        assert!(until.as_mut().poll(&mut context).is_pending(), "there is none yet");
        process.apply(1, Event::Opened).await;
        for _ in 0..4 {
            process.apply(1, Event::Added(1)).await;
        }
        assert_eq!(woken(), 0);
        process.apply(1, Event::Added(1)).await;
        assert_eq!(woken(), 1);
        let Poll::Ready(found) = until.as_mut().poll(&mut context) else { panic!("it is as wanted") };
        assert_eq!(found.unwrap().unwrap().count, 5);
    });
}

#[test]
fn who_waits_looks_again_when_it_leaves_memory() {
    in_virtual_time(async || {
        let process = at_rest().await;
        let wanted: Wanted<Counter> = Arc::new(|_| false);
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        let mut context = Context::from_waker(&waker);
        let mut until = pin!(process.host.published().until(Number(1), &wanted));
        assert!(until.as_mut().poll(&mut context).is_pending());
        process.apply(1, Event::LiveSet(true)).await;
        process.settle().await;
        assert_eq!(
            (process.host.published().in_memory(), wakes.0.load(Ordering::SeqCst)),
            (1, 0),
            "it is shown"
        );
        process.apply(1, Event::LiveSet(false)).await;
        process.settle().await;
        assert_eq!((process.host.published().in_memory(), wakes.0.load(Ordering::SeqCst)), (0, 1));
        assert!(until.as_mut().poll(&mut context).is_pending());
    });
}
