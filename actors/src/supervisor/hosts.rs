//! The hosts of all kinds of machines, with what performs their effects; and the work that goes on behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::ArbiterHandle;
use tokio::sync::watch;

use super::background::Tasks;
use super::recovery::Recovery;
use super::trimming::{trim_digests, trim_events};
use super::{Builder, StartError};
use crate::admission::Rules;
use crate::array::{Array, ArrayPerformer};
use crate::clock::Clock;
use crate::durable::host::{Dispatch, Host, Shared};
use crate::durable::outbox::Outbox;
use crate::durable::published::Published;
use crate::durable::timers::{Router, Timers};
use crate::durable::{Machine, Perform};
use crate::entity::Entity;
use crate::entity::executor::{EntityExecutor, EntityParts, EntityPerformer, NoWorkers};
use crate::files::sweep::{Sweep, SweepPerformer};
use crate::files::{ArtifactStore, Porter};
use crate::fleet::{self, Fleet, FleetHandle, LogSinks};
use crate::job::performer::{JobLedger, JobMail, JobPerformer};
use crate::job::planner::Planner;
use crate::job::state::Job;
use crate::job::validate::Policy;
use crate::logs::LogStore;
use crate::orchestration::executor::remote::RemoteParts;
use crate::orchestration::executor::{
    self, Executor, InProcess, Mixed, OrchestrationMail, OrchestrationPerformer, Remote,
};
use crate::orchestration::state::Orchestration;
use crate::outbound::Network;
use crate::outbound::fetch::Fetcher;
use crate::pool::{Pool, PoolPerformer, Watcher};
use crate::queue::{Clerk, Desk, Queue, QueuePerformer};
use crate::schedule::{Schedule, SchedulePerformer};
use crate::store::Store;
use crate::supervise::{Alarm, Intensity};
use crate::trigger::{self, Lookout, Trigger, TriggerPerformer};
use crate::usage::ledger::Ledger;
use crate::webhook::{Delivery, WebhookPerformer};

/// Where machines live, and what runs what they ask for.
pub(super) struct Hosts {
    pub(super) jobs: Host<Job>,
    pub(super) sweeps: Host<Sweep>,
    pub(super) webhooks: Host<Delivery>,
    pub(super) orchestrations: Host<Orchestration>,
    pub(super) pools: Host<Pool>,
    pub(super) queues: Host<Queue>,
    pub(super) desk: Desk,
    pub(super) schedules: Host<Schedule>,
    pub(super) arrays: Host<Array>,
    pub(super) triggers: Host<Trigger>,
    pub(super) lookout: Lookout,
    pub(super) entities: Host<Entity>,
    pub(super) executor: Arc<dyn Executor>,
    pub(super) workers: Option<Remote>,
    pub(super) fleet: FleetHandle,
    pub(super) logs: LogStore,
}

impl Hosts {
    /// Where ticks and messages for each kind go.
    pub(super) fn router(&self) -> Arc<Router> {
        Arc::new(BTreeMap::from([
            (Job::KIND, Arc::new(self.jobs.clone()) as Arc<dyn Dispatch>),
            (Sweep::KIND, Arc::new(self.sweeps.clone()) as Arc<dyn Dispatch>),
            (Delivery::KIND, Arc::new(self.webhooks.clone()) as Arc<dyn Dispatch>),
            (Orchestration::KIND, Arc::new(self.orchestrations.clone()) as Arc<dyn Dispatch>),
            (Pool::KIND, Arc::new(self.pools.clone()) as Arc<dyn Dispatch>),
            (Queue::KIND, Arc::new(self.queues.clone()) as Arc<dyn Dispatch>),
            (Schedule::KIND, Arc::new(self.schedules.clone()) as Arc<dyn Dispatch>),
            (Array::KIND, Arc::new(self.arrays.clone()) as Arc<dyn Dispatch>),
            (Trigger::KIND, Arc::new(self.triggers.clone()) as Arc<dyn Dispatch>),
            (Entity::KIND, Arc::new(self.entities.clone()) as Arc<dyn Dispatch>),
        ]))
    }

    /// What is raised when a part is gone; one of them is that of the background work.
    pub(super) fn alarms(&self, background: &Alarm) -> Vec<Alarm> {
        vec![
            background.clone(),
            self.fleet.alarm(),
            self.jobs.alarm(),
            self.sweeps.alarm(),
            self.webhooks.alarm(),
            self.orchestrations.alarm(),
            self.pools.alarm(),
            self.queues.alarm(),
            self.schedules.alarm(),
            self.arrays.alarm(),
            self.triggers.alarm(),
            self.entities.alarm(),
        ]
    }

    /// Who stands between clients and machines.
    pub(super) fn desks(
        &self,
        store: &Arc<dyn Store>,
        stores: &Arc<BTreeMap<String, crate::bucket::Config>>,
    ) -> Desks {
        let watcher = Watcher {
            remote: self.workers.clone(),
            desk: self.desk.clone(),
            queues: Arc::clone(self.queues.published()),
            pools: self.pools.clone(),
        };
        let sources = trigger::Watcher {
            lookout: self.lookout.clone(),
            triggers: self.triggers.clone(),
            desk: self.desk.clone(),
            queues: Arc::clone(self.queues.published()),
            store: Arc::clone(store),
            stores: Arc::clone(stores),
        };
        Desks { watcher, sources, clerk: Clerk { desk: self.desk.clone(), queues: self.queues.clone() } }
    }
}

impl Builder {
    /// Starts the hosts, each with the way back into its mailboxes.
    pub(super) async fn hosts(
        &self,
        shop: &Workshop,
        policy: &Policy,
        network: Arc<dyn Network>,
        own: &[ArbiterHandle],
        home: &ArbiterHandle,
    ) -> Result<Hosts, StartError> {
        let (seen, mail) = (shop.published::<Job>(), Arc::new(JobMail::default()));
        let logs = LogStore::new(&self.logs_dir);
        let artifacts = ArtifactStore::new(self.artifacts.clone());
        let ledger = JobLedger(Arc::clone(&seen));
        let porter = self.porter(policy, artifacts.clone(), &seen)?;
        let fleet = Fleet::start(self.fleet_options(ledger, &mail, &logs, porter, &network), Some(home));
        let performer = JobPerformer {
            fleet: fleet.clone(),
            planner: self.planner(&logs),
            network: Arc::clone(&network),
            artifacts: artifacts.clone(),
            mail: Arc::clone(&mail),
            rules: Arc::new(self.rules.clone()),
        };
        let sweeps = sweeps_host(shop, artifacts, own).await;
        let jobs = Host::start(shop.shared(seen, Arc::new(performer)), own).await;
        mail.open(&jobs);

        let source = format!("urn:dogwatch:{}", self.installation);
        let poster = WebhookPerformer::new(network, self.keyring.clone(), Arc::clone(&self.clock), source);
        let webhooks = Host::start(shop.shared(shop.published(), Arc::new(poster.clone())), own).await;
        poster.open(&webhooks);

        let (seen, mail) = (shop.published::<Orchestration>(), Arc::new(OrchestrationMail::default()));
        // Without any code there is nothing to be run.
        let threads = if self.registry.is_empty() && !self.workers { 0 } else { self.threads };
        let parts = self.executor_parts(policy, &shop.store, &seen, &mail);
        let entities = self.entity_parts(shop);
        let workers = self.workers.then(|| self.remote(&shop.store, &seen, &mail, &entities));
        let local = InProcess::new(parts, threads).map_err(StartError::Threads)?;
        let executor: Arc<dyn Executor> = match &workers {
            Some(remote) => Arc::new(Mixed::new(local, remote.clone())),
            None => Arc::new(local),
        };
        let performer = OrchestrationPerformer(Arc::clone(&executor));
        let orchestrations = Host::start(shop.shared(seen, Arc::new(performer)), own).await;
        mail.open(&orchestrations);
        let desk = Desk::default();
        let performer = Arc::new(QueuePerformer(desk.clone()));
        let queues = Host::start(shop.shared(shop.published(), performer), own).await;
        let performer = Arc::new(PoolPerformer { remote: workers.clone(), desk: desk.clone() });
        let pools = Host::start(shop.shared(shop.published(), performer), own).await;
        let arrays = Host::start(shop.shared(shop.published(), Arc::new(ArrayPerformer)), own).await;
        let performer = Arc::new(SchedulePerformer);
        let schedules = Host::start(shop.shared(shop.published(), performer), own).await;
        let lookout = Lookout::default();
        let performer = Arc::new(TriggerPerformer(lookout.clone()));
        let triggers = Host::start(shop.shared(shop.published(), performer), own).await;
        let entities = self.entities_host(shop, entities, workers.as_ref(), own).await;
        Ok(Hosts {
            jobs,
            sweeps,
            webhooks,
            orchestrations,
            entities,
            pools,
            queues,
            desk,
            schedules,
            arrays,
            triggers,
            lookout,
            executor,
            workers,
            fleet,
            logs,
        })
    }

    fn entity_parts(&self, shop: &Workshop) -> EntityParts {
        EntityParts {
            clock: Arc::clone(&self.clock),
            store: Arc::clone(&shop.store),
            published: shop.published::<Entity>(),
            mail: Arc::default(),
        }
    }

    async fn entities_host(
        &self,
        shop: &Workshop,
        parts: EntityParts,
        workers: Option<&Remote>,
        own: &[ArbiterHandle],
    ) -> Host<Entity> {
        let executor: Arc<dyn EntityExecutor> = match (&self.entity_executor, workers) {
            (Some(make), _) => make(parts.clone()),
            (None, Some(remote)) => Arc::new(remote.clone()),
            (None, None) => Arc::new(NoWorkers),
        };
        let (seen, mail) = (Arc::clone(&parts.published), Arc::clone(&parts.mail));
        let entities =
            Host::start(shop.shared(seen, Arc::new(EntityPerformer::new(executor, parts))), own).await;
        mail.open(&entities);
        entities
    }

    fn porter(
        &self,
        policy: &Policy,
        artifacts: ArtifactStore,
        jobs: &Arc<Published<Job>>,
    ) -> Result<Porter, StartError> {
        let fetcher = Fetcher::new(policy.webhooks.clone())?;
        Ok(Porter::new(artifacts, fetcher, Arc::clone(jobs), self.staging_dir.clone()))
    }

    fn fleet_options(
        &self,
        ledger: JobLedger,
        mail: &Arc<JobMail>,
        logs: &LogStore,
        porter: Porter,
        network: &Arc<dyn Network>,
    ) -> fleet::Options {
        fleet::Options {
            runtimes: self.runtimes.clone(),
            budget: self.budget,
            rules: Rules { recovering: true, ..self.rules.clone() },
            reports: Arc::<JobMail>::clone(mail),
            ledger: Arc::new(ledger),
            logs: Arc::new(logs.clone()) as Arc<dyn LogSinks>,
            files: Arc::new(porter),
            network: Some(Arc::clone(network)),
            clock: Arc::clone(&self.clock),
        }
    }

    fn executor_parts(
        &self,
        policy: &Policy,
        store: &Arc<dyn Store>,
        published: &Arc<Published<Orchestration>>,
        mail: &Arc<OrchestrationMail>,
    ) -> executor::Parts {
        executor::Parts {
            registry: self.registry.clone(),
            policy: policy.clone(),
            keyring: self.keyring.clone(),
            ids: Arc::clone(&self.ids),
            clock: Arc::clone(&self.clock),
            store: Arc::clone(store),
            published: Arc::clone(published),
            mail: Arc::clone(mail),
            workers: self.workers,
        }
    }

    fn remote(
        &self,
        store: &Arc<dyn Store>,
        published: &Arc<Published<Orchestration>>,
        mail: &Arc<OrchestrationMail>,
        entities: &EntityParts,
    ) -> Remote {
        let mut nonce = [0; 8];
        self.ids.random(&mut nonce);
        let parts = RemoteParts {
            clock: Arc::clone(&self.clock),
            store: Arc::clone(store),
            published: Arc::clone(published),
            mail: Arc::clone(mail),
            entities: entities.clone(),
        };
        Remote::new(parts, u64::from_le_bytes(nonce))
    }

    fn planner(&self, logs: &LogStore) -> Planner {
        Planner {
            keyring: self.keyring.clone(),
            installation: self.installation,
            logs: logs.clone(),
            callback_urls: self.callback_urls.clone(),
            worker_urls: self.worker_urls.clone(),
        }
    }
}

async fn sweeps_host(shop: &Workshop, artifacts: ArtifactStore, own: &[ArbiterHandle]) -> Host<Sweep> {
    let sweeper = SweepPerformer::new(artifacts);
    let sweeps = Host::start(shop.shared(shop.published(), Arc::new(sweeper.clone())), own).await;
    sweeper.open(&sweeps);
    sweeps
}

/// Who stands between clients and machines.
pub(super) struct Desks {
    pub(super) watcher: Watcher,
    pub(super) sources: trigger::Watcher,
    pub(super) clerk: Clerk,
}

/// What all hosts share, and the work that goes on behind them.
pub(super) struct Workshop {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timers: Arc<Timers>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) intensity: Intensity,
}

impl Workshop {
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
            intensity: self.intensity,
        }
    }

    /// Begins recovery, timers, messages and trimming.
    pub(super) fn background(
        self,
        home: ArbiterHandle,
        router: Arc<Router>,
        desks: Desks,
        (fleet, done): (FleetHandle, watch::Sender<bool>),
        ledger: Arc<Ledger>,
        alarm: Alarm,
    ) -> Tasks {
        let Self { store, clock, timers, outbox, .. } = self;
        let mut tasks = Tasks::new(home, alarm);
        let recovery = Recovery { store: Arc::clone(&store), router: Arc::clone(&router), fleet, done };
        tasks.run("the recovery", move || recovery.clone().run());
        let digest_clock = Arc::clone(&clock);
        let (timer_store, timer_router) = (Arc::clone(&store), Arc::clone(&router));
        tasks.run("the timers", move || {
            Arc::clone(&timers).run(Arc::clone(&timer_store), Arc::clone(&clock), Arc::clone(&timer_router))
        });
        let outbox_store = Arc::clone(&store);
        tasks.run("the outbox", move || {
            Arc::clone(&outbox).run(Arc::clone(&outbox_store), Arc::clone(&router))
        });
        let Desks { watcher, sources, clerk } = desks;
        tasks.run("the watcher of triggers", move || sources.clone().run());
        tasks.run("the watcher of pools", move || watcher.clone().run());
        tasks.run("the clerk of queues", move || clerk.clone().run());
        let digest_store = Arc::clone(&store);
        tasks.run("the trimming of request ids", move || {
            trim_digests(Arc::clone(&digest_store), Arc::clone(&digest_clock))
        });
        tasks.run("the books of usage", move || Arc::clone(&ledger).run());
        tasks.run("the trimming of events", move || trim_events(Arc::clone(&store)));
        tasks
    }
}
