//! A supervisor in virtual time over a store in memory, whose entities are counters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dogwatch_actors::Supervisor;
use dogwatch_actors::clock::{Clock, Timestamp, TokioClock};
use dogwatch_actors::durable::{MachineId as _, Message};
use dogwatch_actors::entity::event::Event;
use dogwatch_actors::entity::executor::{EntityExecutor, EntityParts};
use dogwatch_actors::entity::{BatchOutcome, Entity, EntityId, stored};
use dogwatch_actors::handle::entities::{Entities, EntityView};
use dogwatch_actors::orchestration::Payload;
use dogwatch_actors::orchestration::history::Outcome;
use dogwatch_actors::runtime::fake::FakeRuntime;
use dogwatch_actors::store::memory::MemoryStore;
use dogwatch_actors::store::{Batch, Log, Store, codec};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::durable::bench::{START, in_virtual_time};

/// How long anything may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(3_600);

pub(super) fn id(text: &str) -> EntityId {
    text.parse().unwrap()
}

#[derive(Debug, Default)]
struct Gate {
    /// Batches are not run.
    held: AtomicBool,
    /// The disk is held when the next batch is about to be told.
    holds_disk: AtomicBool,
    told: Notify,
    released: Notify,
}

pub(super) struct Bench {
    clock: TokioClock,
    gate: Arc<Gate>,
    memory: Mutex<Arc<MemoryStore>>,
}

impl Bench {
    pub(super) fn run(test: impl AsyncFnOnce(&Self)) {
        in_virtual_time(async || {
            let (clock, memory) = (TokioClock::starting_at(START), Arc::new(MemoryStore::new()));
            let bench = Self { clock, gate: Arc::default(), memory: Mutex::new(memory) };
            test(&bench).await;
        });
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn began(&self) -> Timestamp {
        START
    }

    pub(super) fn store(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.memory.lock())
    }

    /// Starts a supervisor with counters.
    pub(super) async fn start(&self) -> Supervisor {
        let gate = Arc::clone(&self.gate);
        let memory = self.store();
        self.start_with(move |parts| Arc::new(Counters::new(parts, Arc::clone(&gate), Arc::clone(&memory))))
            .await
    }

    /// Starts a supervisor with this executor.
    pub(super) async fn start_with(
        &self,
        make: impl Fn(EntityParts) -> Arc<dyn EntityExecutor> + Send + Sync + 'static,
    ) -> Supervisor {
        let clock: Arc<dyn Clock> = Arc::new(self.clock);
        Supervisor::builder()
            .store(self.store() as Arc<dyn Store>)
            .runtime(Arc::new(FakeRuntime::new("fake", Arc::clone(&clock))))
            .clock(clock)
            .logs_dir("/nonexistent/dogwatch-entities")
            .entity_executor(make)
            .threads(0)
            .start()
            .await
            .unwrap()
    }

    /// The process dies, and another one is started on what is durable.
    pub(super) async fn crash(&self) -> Supervisor {
        let after = self.store().crash();
        *self.memory.lock() = Arc::new(after);
        self.start().await
    }

    /// Whether batches are kept back.
    pub(super) fn hold(&self, held: bool) {
        self.gate.held.store(held, Ordering::SeqCst);
        self.gate.released.notify_waiters();
    }

    /// The disk is held when the next batch has ended.
    pub(super) fn hold_disk_at_the_next_batch(&self) {
        self.gate.holds_disk.store(true, Ordering::SeqCst);
    }

    /// Resolves when the end of a batch is with the disk.
    pub(super) async fn until_disk_is_held(&self) {
        self.gate.told.notified().await;
        self.settle().await;
    }

    /// Lets everything that can go on without the time moving go on.
    pub(super) async fn settle(&self) {
        for _ in 0..500 {
            tokio::task::yield_now().await;
        }
    }

    /// A message from some other machine, for the next supervisor to find.
    pub(super) async fn sends(&self, to: EntityId, event: &Event) {
        let message = Message::to::<Entity>(to, event);
        assert_eq!(message.id, to.to_key());
        let mut batch = Batch::new();
        batch.append(Log::Outbox, codec::encode(1, &(message.kind, &message.id, &message.event)));
        Store::commit(self.store().as_ref(), batch).await.unwrap();
    }

    /// Waits until an entity is as wanted.
    pub(super) async fn until(
        &self,
        client: &Entities,
        entity: &str,
        wanted: impl Fn(&EntityView) -> bool,
    ) -> EntityView {
        let found = async {
            loop {
                if let Some(view) = client.get(id(entity), true).await.unwrap().filter(|view| wanted(view)) {
                    return view;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(view) => view,
            Err(_) => panic!("never as wanted: {:?}", client.get(id(entity), true).await),
        }
    }

    pub(super) async fn until_none(&self, client: &Entities, entity: &str) {
        let gone = async {
            while client.get(id(entity), true).await.unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("it goes");
    }
}

/// Runs counters in this process.
#[derive(Clone)]
struct Counters {
    parts: EntityParts,
    gate: Arc<Gate>,
    memory: Arc<MemoryStore>,
    running: Arc<Mutex<BTreeSet<(EntityId, u64)>>>,
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}

impl Counters {
    fn new(parts: EntityParts, gate: Arc<Gate>, memory: Arc<MemoryStore>) -> Self {
        Self { parts, gate, memory, running: Arc::default() }
    }

    async fn work(&self, id: EntityId, number: u64) -> Option<()> {
        while self.gate.held.load(Ordering::SeqCst) {
            self.gate.released.notified().await;
        }
        let entity = self.parts.published.read(id).ok()??;
        let batch = stored::batch(self.parts.store.as_ref(), &entity).ok()??;
        let mut state = batch.state.clone();
        let mut results = Vec::new();
        for (_, operation) in batch.operations.iter().filter(|_| batch.number == number) {
            let count = state.value().as_i64().unwrap_or(0);
            match operation.operation.as_str() {
                "add" => state = (count + operation.input.value().as_i64().unwrap_or(0)).into(),
                "delete" => state = Payload::NONE,
                _ => {}
            }
            results.push(Outcome::Completed(state.clone()));
        }
        let end = batch.ended(BatchOutcome { results, state, ..Default::default() })?;
        if self.gate.holds_disk.swap(false, Ordering::SeqCst) {
            self.memory.hold();
            self.gate.told.notify_one();
        }
        self.parts.mail.insist(id, Event::BatchEnded(Box::new(end))).await.map(drop)
    }
}

impl EntityExecutor for Counters {
    fn run_batch(&self, id: EntityId, number: u64) {
        if self.running.lock().insert((id, number)) {
            let this = self.clone();
            tokio::spawn(async move {
                this.work(id, number).await;
                this.running.lock().remove(&(id, number));
            });
        }
    }

    fn forget(&self, _: EntityId) {}
}
