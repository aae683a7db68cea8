//! One simulated world: a server that lives several lives over one engine, one store and one stretch of time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dogwatch_actors::Supervisor;
use dogwatch_actors::fleet::Budget;
use dogwatch_actors::handle::Command;
use dogwatch_actors::id::{AttemptKey, Ids as _, InstallationId};
use dogwatch_actors::job::view::JobState;
use dogwatch_actors::runtime::fake::FakeRuntime;
use dogwatch_actors::secret::Keyring;
use dogwatch_actors::store::memory::{Fault, MemoryStore};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::clients::Client;
use super::disk::Disk;
use super::engine::Engine;
use super::faults::{Faults, Panics};
use super::network::{Net, Receiver};
use super::random::Random;
use super::record::{Job, Record};
use super::script::Script;
use super::time::{Time, WallClock};
use super::trace::{Trace, note};
use super::{check, containers, gremlin};

/// How long everything may take to come to its end once the faults are over, in virtual time.
const QUIET_WITHIN: Duration = Duration::from_secs(3 * 3_600);

/// How long after that anything may be left over: dogwatch lists what there is every 30 s.
const CLEAN_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct World {
    pub(super) random: Random,
    pub(super) time: Time,
    pub(super) trace: Trace,
    pub(super) engine: FakeRuntime,
    pub(super) record: Mutex<Record>,
    pub(super) receiver: Arc<Receiver>,
    faults: Faults,
    /// Faults happen.
    stormy: AtomicBool,
    /// The server may be killed by them.
    mortal: AtomicBool,
    /// Rung when the faults are over.
    calm: Notify,
    panics: Panics,
    installation: InstallationId,
    /// The furthest that the wall clock was ever set ahead.
    pub(super) ahead: Mutex<i64>,
    /// What somebody removed.
    pub(super) vanished: Mutex<BTreeSet<AttemptKey>>,
}

/// What a seed came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The hash of everything that happened.
    pub(super) trace: u64,
    /// The same in words.
    pub(super) lines: Vec<String>,
    pub(super) jobs: u64,
    pub(super) attempts: u64,
    pub(super) callbacks: u64,
    pub(super) crashes: u64,
    /// The promises that were broken.
    pub(super) broken: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Arc<Self> {
        let random = Random::new(seed);
        let (time, faults) = (Time::default(), Faults::of(&random));
        let panics = Panics::new(random.clone());
        // What the engine writes down is right even when dogwatch's clock is not.
        let engine = FakeRuntime::with_time("sim", Arc::new(time.clone()), Arc::new(time.clone()));
        engine.behave_by(|plan| Some(Script::behaviour(plan)));
        let installation = random.installation_id();
        let trace = Trace::new(time.clone());
        note!(trace, "{faults:?}");
        Arc::new(Self {
            random,
            time,
            trace,
            engine,
            record: Mutex::default(),
            receiver: Arc::default(),
            faults,
            stormy: AtomicBool::new(false),
            mortal: AtomicBool::new(false),
            calm: Notify::new(),
            panics,
            installation,
            ahead: Mutex::new(0),
            vanished: Mutex::default(),
        })
    }

    /// The faults that may happen now.
    pub(super) fn faults(&self) -> Faults {
        let (stormy, mortal) = (self.stormy.load(Ordering::SeqCst), self.mortal.load(Ordering::SeqCst));
        let faults = if stormy { self.faults.clone() } else { Faults::default() };
        Faults { crash_at_call: if mortal { faults.crash_at_call } else { 0 }, ..faults }
    }

    fn brew(&self, stormy: bool, mortal: bool) {
        self.stormy.store(stormy, Ordering::SeqCst);
        self.mortal.store(mortal, Ordering::SeqCst);
        self.panics.allow(self.faults().panics);
        if !stormy {
            self.calm.notify_waiters();
        }
    }

    /// Resolves when the faults are over, which they may never be in this life.
    pub(super) async fn until_calm(&self) {
        self.calm.notified().await;
    }

    /// Lives through the whole of a seed.
    pub(super) fn run(seed: u64) -> Outcome {
        let world = Self::new(seed);
        let mut memory = MemoryStore::new();
        for _ in 0..world.faults.crashes {
            memory = world.live(memory, |life| life.badly());
            world.time.pass(world.random.up_to(Duration::from_secs(100)));
        }
        world.live(memory, |life| life.well());
        let record = world.record.lock();
        let attempts = world.engine.ever_created().len() as u64;
        Outcome {
            trace: world.trace.hash(),
            lines: world.trace.take_lines(),
            jobs: record.jobs.len() as u64,
            attempts,
            callbacks: record.callbacks.values().map(|heard| u64::from(heard.acknowledged)).sum(),
            crashes: world.faults.crashes,
            broken: record.broken.clone(),
        }
    }

    /// One life of the server, and the disk as it is found after it.
    fn live<F: Future<Output = ()>>(
        self: &Arc<Self>,
        memory: MemoryStore,
        how: impl FnOnce(Life) -> F,
    ) -> MemoryStore {
        let memory = Arc::new(memory);
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().start_paused(true).build().expect("a runtime of one thread")
        };
        actix::System::with_tokio_rt(runtime).block_on(async {
            self.time.begin();
            note!(self.trace, "the server starts");
            how(Life::begin(self, &memory).await).await;
            // Whatever the dead server still does, nobody sees.
            memory.freeze();
            self.panics.forbid();
            self.time.end();
        });
        memory.crash()
    }
}

/// A life of the server.
struct Life {
    world: Arc<World>,
    memory: Arc<MemoryStore>,
    supervisor: Supervisor,
    crash: Arc<Notify>,
}

impl Life {
    async fn begin(world: &Arc<World>, memory: &Arc<MemoryStore>) -> Self {
        let crash = Arc::new(Notify::new());
        let written = Arc::new(Notify::new());
        let (memory, trace, panics) = (Arc::clone(memory), world.trace.clone(), world.panics.clone());
        if !world.faults.sync_takes.is_zero() {
            memory.hold();
            actix::spawn(sync(
                Arc::clone(&memory),
                Arc::clone(&written),
                world.random.clone(),
                world.faults.sync_takes,
            ));
        }
        let engine =
            Engine { fake: world.engine.clone(), world: Arc::clone(world), crash: Arc::clone(&crash) };
        let net = Net { world: Arc::clone(world) };
        let clock = WallClock { time: world.time.clone(), panics: panics.clone() };
        let supervisor = Supervisor::builder()
            .store(Arc::new(Disk { memory: Arc::clone(&memory), trace, panics, written }))
            .runtime(Arc::new(engine))
            .network(Arc::new(net))
            .clock(Arc::new(clock))
            .ids(Arc::new(world.random.clone()))
            .keyring(Keyring::new([7; 32]))
            .installation(world.installation)
            .callback_url("sim", "http://dogwatch.example")
            .budget(Budget { attempts_max: 6, ..Budget::default() })
            .logs_dir("/nonexistent/dogwatch-simulation")
            .threads(0)
            .start()
            .await
            .expect("the server starts");
        actix::spawn(containers::run(Arc::clone(world), supervisor.handle()));
        Self { world: Arc::clone(world), memory, supervisor, crash }
    }

    fn client(&self, impatience: u64) -> Client {
        Client { world: Arc::clone(&self.world), handle: self.supervisor.handle(), impatience }
    }

    fn set_to_work(&self) -> Vec<JoinHandle<()>> {
        let clients = (0..1 + self.world.random.below(3)).map(|_| {
            let requests = self.world.random.below(20);
            let pause = self.world.random.pick(&[10, 1_000, 6_000]);
            let client = self.client(self.world.faults.impatience);
            actix::spawn(client.work(requests, Duration::from_millis(pause)))
        });
        clients.collect()
    }

    /// Until something ends it: a crash at any moment, a loss of power at a commit, or an orderly stop.
    async fn badly(self) {
        let random = &self.world.random;
        self.world.brew(true, true);
        actix::spawn(gremlin::run(Arc::clone(&self.world), Arc::clone(&self.memory)));
        drop(self.set_to_work());
        if random.chance(4_000) {
            let fault = random.pick(&[Fault::Freeze, Fault::KeepThenFreeze]);
            self.memory.inject(1 + random.below(60), fault);
        }
        let longest = random.pick(&[50, 3_000, 120_000]);
        // Not before its actors have started.
        let end = Duration::from_millis(1) + random.up_to(Duration::from_millis(longest));
        tokio::select! {
            biased;
            () = self.crash.notified() => {}
            () = tokio::time::sleep(end) => {}
        }
        if random.chance(2_000) {
            note!(self.world.trace, "the server is told to stop");
            self.supervisor.shutdown().await;
        } else {
            note!(self.world.trace, "the server is killed");
        }
    }

    /// With all faults that are not fatal for a while, then without any; everything must come to its end.
    async fn well(self) {
        let world = &self.world;
        let client = self.client(0);
        world.brew(true, false);
        let gremlin = actix::spawn(gremlin::run(Arc::clone(world), Arc::clone(&self.memory)));
        let mut work = self.set_to_work();
        work.push(gremlin);
        tokio::time::sleep(world.random.up_to(Duration::from_secs(60))).await;
        work.iter().for_each(JoinHandle::abort);
        world.brew(false, false);
        world.engine.come_up();
        self.memory.refuse(None);
        world.time.set_wrong_by(*world.ahead.lock());
        note!(world.trace, "all is well from here on");
        let jobs = world.record.lock().jobs.len();
        for index in 0..jobs {
            // Nobody touches what dogwatch must see to by itself.
            while world.record.lock().jobs[index].ids.is_empty() {
                client.submit(index).await;
            }
            if !world.record.lock().jobs[index].script.ends() {
                client.cancel(index).await;
            }
        }
        let quiet = tokio::time::timeout(QUIET_WITHIN, until_over(&client, jobs)).await;
        if quiet.is_err() {
            let record = world.record.lock();
            let stuck: Vec<_> = record.jobs.iter().filter(|job| job.end.is_none()).cloned().collect();
            drop(record);
            let text =
                stuck.iter().map(|job| format!("{:?} {:?}", job.ids, job.history.last())).collect::<Vec<_>>();
            world.record.lock().breaks(format!("{} jobs are stuck: {}", stuck.len(), text.join("; ")));
            return;
        }
        let clean =
            tokio::time::timeout(CLEAN_WITHIN, world.engine.until(|engine| engine.present().is_empty()));
        if clean.await.is_err() {
            world.record.lock().breaks(format!("left over in the engine: {:?}", world.engine.present()));
        }
        check::everything(world, &self.supervisor.handle()).await;
    }
}

async fn until_over(client: &Client, jobs: usize) {
    loop {
        for index in 0..jobs {
            client.read(index);
            let suspended =
                |job: &Job| job.history.last().is_some_and(|last| last.state == JobState::Suspended);
            let suspended = suspended(&client.world.record.lock().jobs[index]);
            if suspended {
                client.command(index, Command::Resume).await;
            }
        }
        if client.world.record.lock().jobs[..jobs].iter().all(|job| job.end.is_some()) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

/// The disk: what was written becomes durable after a while.
pub(super) async fn sync(memory: Arc<MemoryStore>, written: Arc<Notify>, random: Random, longest: Duration) {
    loop {
        if memory.sync() == 0 {
            written.notified().await;
        }
        tokio::time::sleep(random.up_to(longest)).await;
    }
}
