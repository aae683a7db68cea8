//! A server with nothing but instances and entities: the parts that a supervisor puts together, with a disk that takes
//! its time.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::clock::Clock;
use dogwatch_actors::durable::host::{Dispatch, Host, Shared};
use dogwatch_actors::durable::outbox::Outbox;
use dogwatch_actors::durable::published::Published;
use dogwatch_actors::durable::timers::{Router, Timers};
use dogwatch_actors::durable::{Machine, Perform, keys};
use dogwatch_actors::entity::Entity;
use dogwatch_actors::entity::executor::{EntityMail, EntityParts, EntityPerformer};
use dogwatch_actors::orchestration::executor::{OrchestrationMail, OrchestrationPerformer};
use dogwatch_actors::orchestration::state::Orchestration;
use dogwatch_actors::store::memory::MemoryStore;
use dogwatch_actors::store::{KeyRange, Order, Store};
use dogwatch_actors::supervise::Intensity;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::World;
use super::accounts::Accounts;
use super::callers::{Callers, Inner};
use crate::simulation::disk::Disk;
use crate::simulation::time::WallClock;
use crate::simulation::trace::Trace;
use crate::simulation::world::sync;

/// A running server: the hosts of instances and of accounts, with everything between them.
pub(super) struct Server {
    pub(super) instances: Host<Orchestration>,
    pub(super) entities: Host<Entity>,
    pub(super) store: Arc<dyn Store>,
}

impl Server {
    pub(super) async fn start(world: &Arc<World>, memory: &Arc<MemoryStore>) -> Self {
        let written = Arc::new(Notify::new());
        let disk = Disk {
            memory: Arc::clone(memory),
            trace: Trace::new(world.time.clone()),
            panics: world.panics.clone(),
            written: Arc::clone(&written),
        };
        let sync_takes =
            world.random.pick(&[Duration::ZERO, Duration::from_millis(3), Duration::from_millis(300)]);
        memory.hold();
        tokio::spawn(sync(Arc::clone(memory), written, world.random.clone(), sync_takes));
        let store: Arc<dyn Store> = Arc::new(disk);
        let clock: Arc<dyn Clock> =
            Arc::new(WallClock { time: world.time.clone(), panics: world.panics.clone() });
        let (timers, outbox) = (Arc::new(Timers::default()), Arc::new(Outbox::default()));

        let shop = Shop { store: Arc::clone(&store), clock, timers, outbox };
        let (seen, mail) = (shop.published::<Orchestration>(), Arc::new(OrchestrationMail::default()));
        let callers = Callers(Arc::new(Inner {
            world: Arc::clone(world),
            store: Arc::clone(&store),
            published: Arc::clone(&seen),
            mail: Arc::clone(&mail),
            busy: Mutex::default(),
        }));
        let performer = OrchestrationPerformer(Arc::new(callers));
        let instances = Host::start(shop.shared(seen, Arc::new(performer)), &[]).await;
        mail.open(&instances);

        let (seen, mail) = (shop.published::<Entity>(), Arc::new(EntityMail::default()));
        let parts = EntityParts {
            clock: Arc::clone(&shop.clock),
            store: Arc::clone(&store),
            published: Arc::clone(&seen),
            mail: Arc::clone(&mail),
        };
        let accounts = Accounts::new(Arc::clone(world), parts.clone());
        let performer = EntityPerformer::new(Arc::new(accounts), parts);
        let entities = Host::start(shop.shared(seen, Arc::new(performer)), &[]).await;
        mail.open(&entities);

        shop.begin(&instances, &entities);
        Self { instances, entities, store }
    }
}

/// What both hosts share.
struct Shop {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    timers: Arc<Timers>,
    outbox: Arc<Outbox>,
}

impl Shop {
    fn published<M: Machine>(&self) -> Arc<Published<M>> {
        Arc::new(Published::new(Arc::clone(&self.store)))
    }

    fn shared<M: Machine>(
        &self,
        published: Arc<Published<M>>,
        performer: Arc<dyn Perform<M> + Send + Sync>,
    ) -> Shared<M> {
        Shared {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            published,
            timers: Arc::clone(&self.timers),
            outbox: Arc::clone(&self.outbox),
            performer,
            intensity: Intensity::default(),
        }
    }

    /// Begins recovery, timers and messages, as the supervisor does: again after a panic.
    fn begin(self, instances: &Host<Orchestration>, entities: &Host<Entity>) {
        let router: Arc<Router> = Arc::new(BTreeMap::from([
            (Orchestration::KIND, Arc::new(instances.clone()) as Arc<dyn Dispatch>),
            (Entity::KIND, Arc::new(entities.clone()) as Arc<dyn Dispatch>),
        ]));
        let Self { store, clock, timers, outbox } = self;
        let (rows, hosts) = (Arc::clone(&store), Arc::clone(&router));
        again(move || recover(Arc::clone(&rows), Arc::clone(&hosts)));
        let (rows, hosts) = (Arc::clone(&store), Arc::clone(&router));
        again(move || Arc::clone(&timers).run(Arc::clone(&rows), Arc::clone(&clock), Arc::clone(&hosts)));
        again(move || Arc::clone(&outbox).run(Arc::clone(&store), Arc::clone(&router)));
    }
}

fn again<F: Future<Output = ()> + 'static>(work: impl Fn() -> F + 'static) {
    actix::spawn(async move { while AssertUnwindSafe(work()).catch_unwind().await.is_err() {} });
}

async fn recover(store: Arc<dyn Store>, router: Arc<Router>) {
    for (kind, host) in router.iter() {
        let prefix = keys::all_live(kind);
        let rows = store.scan(KeyRange::prefix(prefix.clone()), Order::Ascending, usize::MAX);
        for (key, _) in rows.expect("the store reads") {
            host.rouse(&key[prefix.len()..]).await;
        }
    }
}
