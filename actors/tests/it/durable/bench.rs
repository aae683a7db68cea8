//! A process that hosts counters and can be killed: host, timers and relay over a store that outlives them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use actix::{ArbiterHandle, System};
use dogwatch_actors::clock::{Clock, Timestamp, TokioClock};
use dogwatch_actors::durable::batch::Terms;
use dogwatch_actors::durable::host::{Dispatch, Host, Shared};
use dogwatch_actors::durable::outbox::Outbox;
use dogwatch_actors::durable::published::{Published, Wanted};
use dogwatch_actors::durable::shell::Answer;
use dogwatch_actors::durable::timers::{Router, Timers};
use dogwatch_actors::durable::{Machine, Perform, keys};
use dogwatch_actors::store::memory::MemoryStore;
use dogwatch_actors::store::{self, Batch, Committed, KeyRange, Order, Rows, Store, codec};
use dogwatch_actors::supervise::Intensity;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::counter::{Counter, Effect, Event, Number};

/// How long any condition may take, in virtual time where time is virtual.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Runs a test in virtual time on one thread.
pub(crate) fn in_virtual_time(test: impl AsyncFnOnce()) {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().expect("a runtime of one thread")
    };
    System::with_tokio_rt(runtime).block_on(async {
        tokio::time::timeout(PATIENCE * 10_000, test()).await.expect("the test ends in time");
    });
}

/// Runs a test in real time, for stores that work on threads of their own.
pub(crate) fn in_real_time(test: impl AsyncFnOnce()) {
    System::new().block_on(async {
        tokio::time::timeout(PATIENCE, test()).await.expect("the test ends in time");
    });
}

/// A store whose commits take a millisecond, as a disk's do: until then nobody sees them.
#[derive(Debug, Default)]
pub(crate) struct SlowStore(Arc<MemoryStore>);

impl Store for SlowStore {
    fn get(&self, key: &[u8]) -> store::Result<Option<Vec<u8>>> {
        self.0.get(key)
    }

    fn scan_all(&self, ranges: Vec<KeyRange>, order: Order, limit: usize) -> store::Result<Vec<Rows>> {
        self.0.scan_all(ranges, order, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, store::Result<Committed>> {
        let store = Arc::clone(&self.0);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            store.commit(batch).await
        })
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.0.appended()
    }

    fn health(&self) -> store::Result<()> {
        self.0.health()
    }

    fn size_on_disk(&self) -> Option<u64> {
        None
    }

    fn close(&self) {
        self.0.close();
    }
}

/// An effect as it was performed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Performed {
    pub(crate) id: Number,
    pub(crate) effect: Effect,
    /// The count that the store held at that moment.
    pub(crate) stored: Option<u64>,
}

/// Performs by writing down.
pub(crate) struct Journal {
    store: Arc<dyn Store>,
    pub(crate) lines: Mutex<Vec<Performed>>,
    pub(crate) purged: Mutex<Vec<Number>>,
    /// Where the machine's last effect was performed.
    pub(crate) threads: Mutex<BTreeMap<u64, ThreadId>>,
    /// Resuming this one panics, so many more times.
    pub(crate) curse: Mutex<Option<(Number, u32)>>,
    written: Notify,
}

impl Perform<Counter> for Journal {
    fn perform(&self, id: Number, state: &Counter, effect: Effect) {
        let stored = load(self.store.as_ref(), id).map(|counter| counter.count);
        assert!(effect != Effect::Panic, "the performer fumbled");
        if let (Some((cursed, left)), Effect::Resume(_)) = (self.curse.lock().as_mut(), &effect)
            && *cursed == id
            && *left > 0
        {
            *left -= 1;
            panic!("cursed at the start");
        }
        if let Effect::Say(count) | Effect::Resume(count) = effect {
            assert_eq!(count, state.count);
        }
        self.threads.lock().insert(id.0, thread::current().id());
        self.lines.lock().push(Performed { id, effect, stored });
        self.written.notify_waiters();
    }

    fn purged(&self, id: Number) {
        self.purged.lock().push(id);
    }
}

pub(crate) fn load(store: &dyn Store, id: Number) -> Option<Counter> {
    let key = keys::snapshot::<Counter>(id);
    let row = store.get(&key).expect("the store reads")?;
    Some(codec::decode(&key, &row).expect("a record").parse(&key).expect("a counter"))
}

/// What a process is started with besides its store.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) intensity: Intensity,
    /// Resuming this one panics, so many times.
    pub(crate) curse: Option<(Number, u32)>,
}

impl Settings {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(TokioClock::starting_at(START));
        Self { clock, intensity: Intensity::default(), curse: None }
    }
}

/// A process.
pub(crate) struct Process {
    pub(crate) host: Host<Counter>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) store: Arc<dyn Store>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Process {
    pub(crate) async fn start(store: Arc<dyn Store>, settings: Settings) -> Self {
        Self::start_on(&[], store, settings).await
    }

    /// With its machines on these threads.
    pub(crate) async fn start_on(
        arbiters: &[ArbiterHandle],
        store: Arc<dyn Store>,
        settings: Settings,
    ) -> Self {
        let journal = Arc::new(Journal {
            store: Arc::clone(&store),
            lines: Mutex::default(),
            purged: Mutex::default(),
            threads: Mutex::default(),
            curse: Mutex::new(settings.curse),
            written: Notify::new(),
        });
        let (timers, outbox) = (Arc::new(Timers::default()), Arc::new(Outbox::default()));
        let shared = Shared {
            store: Arc::clone(&store),
            clock: Arc::clone(&settings.clock),
            published: Arc::new(Published::new(Arc::clone(&store))),
            timers: Arc::clone(&timers),
            outbox: Arc::clone(&outbox),
            performer: Arc::<Journal>::clone(&journal),
            intensity: settings.intensity,
        };
        let host = Host::start(shared, arbiters).await;
        let router: Arc<Router> =
            Arc::new(BTreeMap::from([(Counter::KIND, Arc::new(host.clone()) as Arc<dyn Dispatch>)]));
        let tasks = vec![
            tokio::spawn(timers.run(Arc::clone(&store), settings.clock, Arc::clone(&router))),
            tokio::spawn(outbox.run(Arc::clone(&store), router)),
        ];
        Self { host, journal, store, tasks }
    }

    /// A process on an empty store in memory.
    pub(crate) async fn on_memory() -> (Arc<MemoryStore>, Self) {
        let store = Arc::new(MemoryStore::new());
        (Arc::clone(&store), Self::start(store, Settings::new()).await)
    }

    /// Brings back what was live, as the supervisor does at a start.
    pub(crate) async fn recover(&self) {
        let prefix = keys::all_live(Counter::KIND);
        for (key, _) in self.rows(&prefix) {
            Dispatch::rouse(&self.host, &key[prefix.len()..]).await;
        }
    }

    /// The event is on its way when this returns.
    pub(crate) fn deliver(&self, id: u64, event: Event) -> BoxFuture<'static, Answer<Counter>> {
        self.host.deliver(Number(id), event, Terms::default())
    }

    /// The event is accepted; its durable state afterwards.
    pub(crate) async fn apply(&self, id: u64, event: Event) -> Arc<Counter> {
        let receipt = self.deliver(id, event.clone()).await;
        let receipt = receipt.unwrap_or_else(|error| panic!("{event:?}: {error}"));
        receipt.state.unwrap_or_else(|| panic!("{event:?} purges"))
    }

    pub(crate) fn read(&self, id: u64) -> Option<Arc<Counter>> {
        self.host.published().read(Number(id)).expect("the store reads")
    }

    pub(crate) fn rows(&self, prefix: &[u8]) -> Rows {
        self.store.scan(KeyRange::prefix(prefix), Order::Ascending, usize::MAX).expect("the store reads")
    }

    /// Waits until the machine is as wanted.
    pub(crate) async fn until(
        &self,
        id: u64,
        wanted: impl Fn(&Counter) -> bool + Send + Sync + 'static,
    ) -> Arc<Counter> {
        let wanted: Wanted<Counter> = Arc::new(move |counter| counter.is_some_and(&wanted));
        match tokio::time::timeout(PATIENCE * 100, self.host.published().until(Number(id), &wanted)).await {
            Ok(found) => found.expect("the store reads").expect("what is wanted is there"),
            Err(_) => panic!("the machine never came to be as wanted: {:?}", self.read(id)),
        }
    }

    /// Waits until the journal is as wanted.
    pub(crate) async fn until_performed(&self, wanted: impl Fn(&[Performed]) -> bool) {
        loop {
            let mut written = std::pin::pin!(self.journal.written.notified());
            written.as_mut().enable();
            if wanted(&self.journal.lines.lock()) {
                return;
            }
            let patience = tokio::time::timeout(PATIENCE * 100, written).await;
            assert!(patience.is_ok(), "never performed as wanted: {:?}", self.journal.lines.lock());
        }
    }

    /// Lets everything that can go on without the time moving go on.
    pub(crate) async fn settle(&self) {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn effects(&self, id: u64) -> Vec<Effect> {
        let lines = self.journal.lines.lock();
        lines.iter().filter(|line| line.id == Number(id)).map(|line| line.effect.clone()).collect()
    }
}
