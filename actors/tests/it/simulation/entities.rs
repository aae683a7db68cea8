//! Entities through several lives of the server: instances that call, signal and lock accounts over the real machines,
//! hosts, timers and outbox in virtual time, with crashes at any moment, losses of power, panics, workers that die, and
//! instances that are terminated, replaced and purged in the middle of a critical section; then without, until
//! everything is over. Nothing that was asked for is lost or done twice, nobody writes with an old view, and in the end
//! nobody holds anything.
//!
//! `DOGWATCH_PROVE_ENTITIES` sets how many seeds are run (default 30), `DOGWATCH_SIM_SEED` runs one alone.

mod accounts;
mod callers;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dogwatch_actors::durable::batch::Terms;
use dogwatch_actors::durable::{Machine, keys};
use dogwatch_actors::entity::event::Event as EntityEvent;
use dogwatch_actors::entity::{Entity, EntityId, Signal, stored};
use dogwatch_actors::examine;
use dogwatch_actors::limits::ENTITY_EMPTY_KEPT;
use dogwatch_actors::orchestration::entity::EntityRequest;
use dogwatch_actors::orchestration::event::{Event, Start, TurnEnd};
use dogwatch_actors::orchestration::history::Action;
use dogwatch_actors::orchestration::state::{Orchestration, Phase, Status};
use dogwatch_actors::orchestration::{InstanceId, Payload};
use dogwatch_actors::store::memory::{Fault, MemoryStore};
use dogwatch_actors::store::{self, KeyRange, Order, Store, codec};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde_json::json;

use self::accounts::{Account, execution};
use self::callers::{Move, to_payload};
use self::server::Server;
use super::faults::Panics;
use super::lives::{every_seed, live};
use super::one_seed;
use super::random::Random;
use super::time::Time;
use crate::random::setting;

/// How long everything may take to come to its end once the faults are over, in virtual time.
const QUIET_WITHIN: Duration = Duration::from_secs(3_600);

/// What clients do in one life at most: ledgers grow with it.
const MEDDLING_MAX: u32 = 80;

fn account(number: u64) -> EntityId {
    format!("@account@{number}").parse().expect("an id")
}

/// What was asked of accounts, by their keys.
#[derive(Debug, Default)]
struct Asked {
    /// What may have been, and of which account.
    perhaps: BTreeSet<(EntityId, String)>,
    /// What surely was.
    surely: BTreeSet<(EntityId, String)>,
    /// What is to be passed on to another account.
    forwards: BTreeMap<String, EntityId>,
    /// What starts an instance.
    spawns: BTreeMap<String, InstanceId>,
}

/// One instance as its client knows it.
#[derive(Debug, Clone)]
struct Known {
    id: InstanceId,
    moves: Vec<Move>,
    started: bool,
}

struct World {
    random: Random,
    time: Time,
    panics: Panics,
    accounts: u64,
    known: Mutex<Vec<Known>>,
    /// Signals of clients: whether they were acknowledged.
    signals: Mutex<Vec<(EntityId, bool)>>,
    asked: Mutex<Asked>,
    stormy: AtomicBool,
    broken: Mutex<Vec<String>>,
}

impl World {
    fn new(seed: u64) -> Arc<Self> {
        let random = Random::new(seed ^ 0x656e_7469);
        let accounts = 1 + random.below(4);
        let known = (0..2 + random.below(6)).map(|index| Known {
            id: format!("instance-{index}").parse().expect("an id"),
            moves: Move::several(&random, accounts),
            started: false,
        });
        Arc::new(Self {
            panics: Panics::new(random.clone()),
            known: Mutex::new(known.collect()),
            signals: Mutex::default(),
            asked: Mutex::default(),
            stormy: AtomicBool::new(true),
            broken: Mutex::default(),
            time: Time::default(),
            accounts,
            random,
        })
    }

    fn is_stormy(&self) -> bool {
        self.stormy.load(Ordering::SeqCst)
    }

    fn breaks(&self, what: String) {
        self.broken.lock().push(what);
    }

    /// An instance is about to ask for this.
    fn asks(&self, state: &Orchestration, end: &TurnEnd) {
        let mut asked = self.asked.lock();
        for (entity, key, operation, input) in operations(state, end) {
            let input = input.value();
            let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
            match operation {
                "forward" => drop(asked.forwards.insert(key.clone(), text("account").parse().unwrap())),
                "spawn" => drop(asked.spawns.insert(key.clone(), text("instance").parse().unwrap())),
                _ => {}
            }
            asked.perhaps.insert((entity, key));
        }
    }

    /// An instance has asked for this, and that is durable.
    fn asked(&self, state: &Orchestration, end: &TurnEnd) {
        let keys = operations(state, end).into_iter().map(|(entity, key, _, _)| (entity, key));
        self.asked.lock().surely.extend(keys);
    }
}

/// What an instance asks of accounts in a turn, with the key that an account writes down.
fn operations<'a>(state: &Orchestration, end: &'a TurnEnd) -> Vec<(EntityId, String, &'a str, &'a Payload)> {
    let by = execution(state.id, state.created_at, end.execution);
    let asked = end.turn.actions.iter().filter_map(|action| match action {
        Action::MessageEntity(call) => match &call.request {
            EntityRequest::Call { request_id, operation, input, .. } => {
                Some((call.entity, request_id, operation, input))
            }
            EntityRequest::Signal(signal) => {
                let request_id = signal.request_id.as_ref().expect("code gives it one");
                Some((call.entity, request_id, &signal.operation, &signal.input))
            }
            _ => None,
        },
        _ => None,
    });
    let writes = asked.filter(|(_, _, operation, _)| *operation != "get");
    writes
        .map(|(entity, request_id, operation, input)| {
            (entity, format!("{by}#{request_id}"), operation.as_str(), input)
        })
        .collect()
}

impl Server {
    async fn tells(&self, id: InstanceId, event: Event) -> bool {
        self.instances.deliver(id, event, Terms::default()).await.is_ok()
    }

    fn state(&self, id: InstanceId) -> Option<Arc<Orchestration>> {
        AssertUnwindSafe(async { self.instances.published().read(id) })
            .catch_unwind()
            .now_or_never()
            .and_then(Result::ok)
            .and_then(Result::ok)
            .flatten()
    }

    /// Starts an instance; one that is there gives way where it `replaces` it.
    async fn begin(&self, world: &World, index: usize, replaces: Vec<Status>) -> bool {
        let known = world.known.lock()[index].clone();
        let start = Start {
            name: "moves".to_owned(),
            version: None,
            input: to_payload(&known.moves),
            tags: BTreeMap::new(),
            start_at: None,
            parent: None,
            parent_name: None,
            schedule: None,
            trigger: None,
            trace: None,
            replaces,
        };
        let started = self.tells(known.id, Event::StartRequested(Box::new(start))).await
            || self.state(known.id).is_some_and(|state| state.status().is_some());
        world.known.lock()[index].started |= started;
        started
    }

    /// A signal of a client, with a key of its own: it may be sent again until it is heard, and after that.
    async fn signal(&self, world: &World, index: usize) -> bool {
        let (entity, _) = world.signals.lock()[index];
        let request_id = format!("client-{index}");
        let signal =
            Signal { request_id: Some(request_id.clone()), ..Signal::new("add", json!({ "by": 1 })) };
        world.asked.lock().perhaps.insert((entity, format!("#{request_id}")));
        let event = EntityEvent::OperationRequested(Box::new(signal.requested(None, String::new)));
        let terms = Terms { digest: Some(request_id.into_bytes()), ..Terms::default() };
        let heard = self.entities.deliver(entity, event, terms).await.is_ok();
        world.signals.lock()[index].1 |= heard;
        heard
    }

    /// Somebody does something to some instance or account, whatever comes of it.
    async fn meddle(&self, world: &World) {
        let count = world.known.lock().len() as u64;
        let index = world.random.below(count) as usize;
        let known = world.known.lock()[index].clone();
        match world.random.below(16) {
            _ if !known.started => drop(self.begin(world, index, vec![]).await),
            0..=4 => {
                let entity = account(world.random.below(world.accounts));
                let index = {
                    let mut signals = world.signals.lock();
                    signals.push((entity, false));
                    signals.len() - 1
                };
                self.signal(world, index).await;
            }
            5..=8 => {
                let sent = world.signals.lock().len() as u64;
                if sent > 0 {
                    self.signal(world, world.random.below(sent) as usize).await;
                }
            }
            9 => drop(self.tells(known.id, Event::SuspendRequested { reason: None }).await),
            10 | 11 => drop(self.tells(known.id, Event::ResumeRequested { reason: None }).await),
            12 => {
                let event = Event::TerminateRequested { reason: None, recursive: true };
                self.tells(known.id, event).await;
            }
            13 => drop(self.tells(known.id, Event::PurgeRequested).await),
            _ => drop(self.begin(world, index, Status::ALL.to_vec()).await),
        }
    }
}

/// Until it is killed at some moment, or its power is lost at some commit.
async fn badly(world: Arc<World>, memory: Arc<MemoryStore>) {
    let server = Arc::new(Server::start(&world, &memory).await);
    world.panics.allow(world.random.pick(&[0, 0, 20]));
    if world.random.chance(5_000) {
        memory
            .inject(1 + world.random.below(300), world.random.pick(&[Fault::Freeze, Fault::KeepThenFreeze]));
    }
    if world.random.chance(3_000) {
        actix::spawn(fills_up(Arc::clone(&memory), world.random.clone()));
    }
    let until = tokio::time::Instant::now() + world.random.up_to(Duration::from_secs(40));
    let pause = Duration::from_millis(world.random.pick(&[5, 300, 3_000]));
    let mut left = MEDDLING_MAX;
    while tokio::time::Instant::now() < until && left > 0 {
        left -= 1;
        let (meddler, hit) = (Arc::clone(&world), Arc::clone(&server));
        let meddling = actix::spawn(async move { hit.meddle(&meddler).await });
        // A server without power answers nobody.
        let _heard = tokio::time::timeout_at(until, meddling).await;
        tokio::time::sleep(world.random.up_to(pause)).await;
    }
    tokio::time::sleep_until(until).await;
}

/// The disk is full for a while, again and again.
async fn fills_up(memory: Arc<MemoryStore>, random: Random) {
    loop {
        tokio::time::sleep(random.up_to(Duration::from_secs(10))).await;
        memory.refuse(Some(store::Error::Full("as the seed wants it".into())));
        tokio::time::sleep(random.up_to(Duration::from_secs(4))).await;
        memory.refuse(None);
    }
}

/// Without faults: everything must come to its end.
async fn well(world: Arc<World>, memory: Arc<MemoryStore>) -> Result<(), String> {
    world.panics.forbid();
    world.stormy.store(false, Ordering::SeqCst);
    let server = Server::start(&world, &memory).await;
    let over = async {
        let (known, signals) = (world.known.lock().len(), world.signals.lock().len());
        for index in 0..known {
            while !server.begin(&world, index, vec![]).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        for index in 0..signals {
            while !server.signal(&world, index).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while !left_over(&server).await.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    if tokio::time::timeout(QUIET_WITHIN, over).await.is_err() {
        return Err(format!("not everything ended: {}", left_over(&server).await.join("\n")));
    }
    check(&world, &server)?;
    // What has nothing to it goes by itself.
    tokio::time::sleep(ENTITY_EMPTY_KEPT + Duration::from_secs(60)).await;
    let left = all::<Entity>(&server.store).into_iter().filter(|entity| entity.state.is_none());
    if let Some(left) = left.map(|entity| entity.id).next() {
        return Err(format!("{left} has nothing to it, and is still there"));
    }
    let report = examine::online(memory.as_ref());
    if !report.ok || report.records.messages > 0 {
        return Err(format!("the store does not fit together: {report:?}"));
    }
    Ok(())
}

/// Everything of a kind, as it is stored.
fn all<M: Machine>(store: &Arc<dyn Store>) -> Vec<M> {
    let prefix = keys::snapshots(M::KIND);
    let rows = store.scan(KeyRange::prefix(prefix), Order::Ascending, usize::MAX).expect("the store reads");
    let read = |(key, row): &(Vec<u8>, Vec<u8>)| {
        codec::decode(key, row).and_then(|record| record.parse(key)).expect("a snapshot")
    };
    rows.iter().map(read).collect()
}

/// What is not over yet; the suspended are told to go on.
async fn left_over(server: &Server) -> Vec<String> {
    let mut left = Vec::new();
    for state in all::<Orchestration>(&server.store) {
        if matches!(state.phase, Phase::Suspended { .. }) {
            server.tells(state.id, Event::ResumeRequested { reason: None }).await;
        }
        if !state.status().is_some_and(Status::is_terminal) {
            left.push(format!("{state:?}"));
        }
    }
    let busy = |entity: &Entity| !entity.is_idle() || !entity.scheduled.is_empty();
    let entities = all::<Entity>(&server.store).into_iter().filter(busy);
    left.extend(entities.map(|entity| format!("{entity:?}")));
    left
}

fn check(world: &World, server: &Server) -> Result<(), String> {
    let asked = world.asked.lock();
    let mut ledgers: BTreeMap<EntityId, Account> = BTreeMap::new();
    for entity in all::<Entity>(&server.store) {
        let state = stored::state(server.store.as_ref(), &entity).expect("the store reads");
        ledgers
            .insert(entity.id, Account::read(&state.ok_or_else(|| format!("{} lost its state", entity.id))?));
    }
    let knows =
        |id: &EntityId, key: &str| ledgers.get(id).is_some_and(|account| account.ledger.contains_key(key));
    for (id, account) in &ledgers {
        let sum: i64 = account.ledger.values().sum();
        if account.balance != sum || !account.twice.is_empty() {
            return Err(format!("{id} has {}, but should have {sum}: {account:?}", account.balance));
        }
        for key in account.ledger.keys() {
            let forwarded = key.strip_prefix('#').is_some_and(|key| asked.forwards.get(key) == Some(id));
            if !forwarded && !asked.perhaps.contains(&(*id, key.clone())) {
                return Err(format!("nobody asked {id} for {key}"));
            }
            if let Some(to) = asked.forwards.get(key)
                && !knows(to, &format!("#{key}"))
            {
                return Err(format!("{key} was not passed on to {to}"));
            }
            if let Some(instance) = asked.spawns.get(key)
                && server.state(*instance).is_none()
            {
                return Err(format!("{key} did not start {instance}"));
            }
        }
    }
    if let Some((id, key)) = asked.surely.iter().find(|(id, key)| !knows(id, key)) {
        return Err(format!("{key} was asked of {id}, and is lost"));
    }
    for (index, (id, _)) in world.signals.lock().iter().enumerate() {
        if !knows(id, &format!("#client-{index}")) {
            return Err(format!("the signal {index} to {id} was acknowledged, and is lost"));
        }
    }
    world.broken.lock().first().map_or(Ok(()), |what| Err(what.clone()))
}

fn run(seed: u64) -> Result<(usize, u64), String> {
    let world = World::new(seed);
    let crashes = world.random.below(5);
    let mut memory = MemoryStore::new();
    for _ in 0..crashes {
        memory = live(&world.time, &world.panics, memory, |memory| badly(Arc::clone(&world), memory));
        world.time.pass(world.random.up_to(Duration::from_secs(60)));
    }
    let mut outcome = Ok(());
    live(&world.time, &world.panics, memory, |memory| {
        let (world, outcome) = (Arc::clone(&world), &mut outcome);
        async move { *outcome = well(world, memory).await }
    });
    outcome?;
    let done = world.asked.lock().surely.len();
    Ok((done, crashes))
}

#[test]
fn nothing_is_lost_done_twice_or_held_for_ever_whatever_the_seed() {
    let count = setting("DOGWATCH_PROVE_ENTITIES", 30);
    let seeds = one_seed().map_or(0..count, |seed| seed..seed + 1);
    let done = every_seed(seeds, run);
    let (operations, crashes) = done.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("{count} seeds: {operations} operations, {crashes} crashes, each done once and nothing held");
}
