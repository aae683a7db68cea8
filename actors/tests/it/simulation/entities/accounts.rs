//! The code of the entities of a simulated world: accounts that are added to, and workers that die over them.
//!
//! An account keeps a ledger of everything that was ever done to it, so that what was lost or done twice shows; and its
//! balance as whoever wrote it last believed it to be, so that who wrote with an old view shows as well.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::entity::event::{Event, Operation};
use dogwatch_actors::entity::executor::{EntityExecutor, EntityParts};
use dogwatch_actors::entity::{Batch, BatchOutcome, EntityId, Signal, stored};
use dogwatch_actors::orchestration::event::Start;
use dogwatch_actors::orchestration::history::Outcome;
use dogwatch_actors::orchestration::{Failure, InstanceId, Payload};
use dogwatch_actors::store;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::World;

/// An account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) balance: i64,
    /// What was done, by its key, and by how much that changed the balance.
    pub(super) ledger: BTreeMap<String, i64>,
    /// What was done more than once.
    #[serde(default)]
    pub(super) twice: Vec<String>,
}

/// What tells an operation from all others, whatever its request id is: those repeat in every execution.
pub(super) fn key(operation: &Operation) -> String {
    let sender = operation.sender();
    let sender = sender.map(|by| execution(by.instance, by.created_at, by.execution)).unwrap_or_default();
    format!("{sender}#{}", operation.request_id)
}

/// What tells an execution from all others, whatever was purged meanwhile.
pub(super) fn execution(id: InstanceId, created_at: Timestamp, execution: u32) -> String {
    format!("{id}@{}/{execution}", created_at.as_millis())
}

impl Account {
    pub(super) fn read(state: &Payload) -> Self {
        state.text().map(|text| serde_json::from_str(&text).expect("an account")).unwrap_or_default()
    }

    fn done(&mut self, key: String, change: i64) {
        if self.ledger.insert(key.clone(), change).is_some() {
            self.twice.push(key);
        }
    }

    fn takes(&mut self, operation: &Operation, outcome: &mut BatchOutcome) -> Result<Value, Failure> {
        let input = operation.input.value();
        let number = |name: &str| input[name].as_i64().expect("a number");
        let to = |name: &str| input[name].as_str().expect("an id").to_owned();
        match operation.operation.as_str() {
            "add" => {
                self.balance += number("by");
                self.done(key(operation), number("by"));
            }
            "get" => {}
            // Whoever holds it says what its balance is.
            "set" => {
                self.balance = number("to");
                self.done(key(operation), number("by"));
            }
            "forward" => {
                let signal = Signal { request_id: Some(key(operation)), ..Signal::new("add", input.clone()) };
                outcome.signals.push((to("account").parse().expect("an account"), signal));
                self.done(key(operation), 0);
            }
            "spawn" => {
                let start = Start {
                    name: "adds".to_owned(),
                    version: None,
                    input: input.clone().into(),
                    tags: BTreeMap::new(),
                    start_at: None,
                    parent: None,
                    parent_name: None,
                    schedule: None,
                    trigger: None,
                    trace: None,
                    replaces: vec![],
                };
                outcome.starts.push((to("instance").parse().expect("an instance"), start));
                self.done(key(operation), 0);
            }
            "fail" => {
                self.done(key(operation), 0);
                return Err(Failure::new("refused", "as it was asked to"));
            }
            other => panic!("no such operation: {other}"),
        }
        Ok(json!(self.balance))
    }
}

/// Runs batches after a while, sometimes more than once.
#[derive(Clone)]
pub(super) struct Accounts {
    world: Arc<World>,
    parts: EntityParts,
    running: Arc<Mutex<BTreeSet<(EntityId, u64)>>>,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl Accounts {
    pub(super) fn new(world: Arc<World>, parts: EntityParts) -> Self {
        Self { world, parts, running: Arc::default() }
    }

    fn read(&self, id: EntityId, number: u64) -> store::Result<Option<Batch>> {
        let Some(entity) = self.parts.published.read(id)?.filter(|entity| entity.runs(number)) else {
            return Ok(None);
        };
        let batch = stored::batch(self.parts.store.as_ref(), &entity)?.filter(|batch| batch.number == number);
        let owner = entity.lock.as_ref().map(|lock| lock.owner);
        for (_, operation) in batch.iter().flat_map(|batch| &batch.operations) {
            if owner.is_some() && operation.sender() != owner {
                self.world.breaks(format!("{id} is held by {owner:?} and runs {operation:?}"));
            }
        }
        Ok(batch)
    }

    /// Runs the batch; with a mind of its own as to how much of it.
    fn run(&self, batch: &Batch) -> BatchOutcome {
        let (mut account, mut outcome) = (Account::read(&batch.state), BatchOutcome::default());
        let stops = if self.world.random.chance(1_000) { 1 } else { usize::MAX };
        for (_, operation) in batch.operations.iter().take(stops) {
            let result = account.takes(operation, &mut outcome);
            outcome.results.push(match result {
                Ok(balance) => Outcome::Completed(balance.into()),
                Err(failure) => failure.into(),
            });
        }
        let text = serde_json::to_string(&account).expect("JSON");
        // Who was only looked at stays without a state.
        let is_new = !account.ledger.is_empty();
        outcome.state = if is_new { Payload::Text(text) } else { Payload::NONE };
        outcome
    }

    async fn work(&self, id: EntityId, number: u64) -> store::Result<bool> {
        let random = &self.world.random;
        tokio::time::sleep(random.up_to(Duration::from_millis(random.pick(&[0, 20, 1_500])))).await;
        let Some(batch) = self.read(id, number)? else { return Ok(true) };
        let outcome = self.run(&batch);
        if self.world.is_stormy() && random.chance(2_000) {
            // The worker is lost, and what it did with it.
            return Ok(false);
        }
        let Some(end) = batch.ended(outcome) else { return Ok(false) };
        let event = Event::BatchEnded(Box::new(end));
        if random.chance(2_000) {
            let late = Box::new(batch.ended(self.run(&batch)).expect("it ran something"));
            drop(self.parts.mail.ask(id, event.clone()).await);
            drop(self.parts.mail.ask(id, Event::BatchEnded(late)).await);
        }
        drop(self.parts.mail.insist(id, event).await);
        Ok(true)
    }
}

impl EntityExecutor for Accounts {
    fn run_batch(&self, id: EntityId, number: u64) {
        if !self.running.lock().insert((id, number)) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            while !matches!(AssertUnwindSafe(this.work(id, number)).catch_unwind().await, Ok(Ok(true))) {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            this.running.lock().remove(&(id, number));
        });
    }

    fn forget(&self, _: EntityId) {}
}

/// The instance that an account starts for this.
pub(super) fn spawned(by: InstanceId, created_at: Timestamp, execution: u32, task: u64) -> InstanceId {
    format!("{by}-{}.{execution}.{task}", created_at.as_millis()).parse().expect("an id")
}
