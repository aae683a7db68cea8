//! Puts the parts together: store, shell, fleet, performers, background work, recovery.
//!
//! Not responsible for: HTTP, configuration, the data directory. Holds no global: several supervisors live in
//! one process.
//!
//! The order of a start matters: first the attempts that may be running are driven again, so that the fleet
//! knows what is taken; then everything else that must be in memory is brought back; timers and messages
//! begin when the hosts are there. Requests are taken from the beginning: they meet durable state either way.

mod background;
mod hosts;
mod recovery;
mod trimming;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use self::background::{Background, Threads};
use self::hosts::Workshop;
use crate::admission::Rules;
use crate::bucket::Bucket;
use crate::clock::{Clock, SystemClock};
use crate::data_dir::DirLock;
use crate::entity::executor::{EntityExecutor, EntityParts};
use crate::fault::{self, Point};
use crate::files::ArtifactStore;
use crate::fleet::Budget;
use crate::handle::{Counters, DiskWaits, Handle, Inner};
use crate::id::{Ids, InstallationId, RandomIds};
use crate::job::validate::Policy;
use crate::limits::{JOBS_QUEUED_MAX, SHUTDOWN_CLEAR_MAX, SHUTDOWN_PATIENCE};
use crate::orchestration::Registry;
use crate::outbound::guard::Guard;
use crate::outbound::{self, HttpNetwork, Network};
use crate::runtime::Runtime;
use crate::secret::Keyring;
use crate::store::Store;
use crate::supervise::{Alarm, Intensity};
use crate::usage::ledger::Ledger;

/// Why a supervisor cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store is missing.
    #[error("a supervisor needs a store; give one with Builder::store")]
    NoStore,
    /// No runtime was given.
    #[error("a supervisor needs at least one runtime; give one with Builder::runtime")]
    NoRuntime,
    /// Two runtimes have the same name.
    #[error("there are two runtimes called {0}; each name may be given once")]
    SameName(String),
    /// It was called outside of an actix system.
    #[error(
        "a supervisor starts inside an actix system; use #[actix_web::main] or actix::System::new().block_on"
    )]
    NoSystem,
    /// The client for outgoing requests cannot be made.
    #[error("outgoing requests cannot be made: {0}")]
    Outbound(#[from] outbound::BuildError),
    /// The threads for the code of orchestrations cannot be started.
    #[error("the threads for orchestrations cannot be started: {0}")]
    Threads(std::io::Error),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

/// Builds a supervisor. Only the store, a runtime, the logs' directory and the keyring have no default.
pub struct Builder {
    store: Option<Arc<dyn Store>>,
    runtimes: Vec<Arc<dyn Runtime>>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    keyring: Keyring,
    installation: InstallationId,
    logs_dir: PathBuf,
    artifacts: Bucket,
    staging_dir: PathBuf,
    callback_urls: BTreeMap<String, String>,
    worker_urls: BTreeMap<String, String>,
    trigger_directories: Vec<PathBuf>,
    stores: Arc<BTreeMap<String, crate::bucket::Config>>,
    budget: Budget,
    rules: Rules,
    queued_max: usize,
    policy: Policy,
    network: Option<Arc<dyn Network>>,
    threads: usize,
    intensity: Intensity,
    lock: Option<DirLock>,
    registry: Registry,
    entity_executor: Option<MakeEntityExecutor>,
    workers: bool,
}

/// Makes the executor of entities of the parts that it works with.
type MakeEntityExecutor = Arc<dyn Fn(EntityParts) -> Arc<dyn EntityExecutor> + Send + Sync>;

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("runtimes", &self.runtimes).finish_non_exhaustive()
    }
}

impl Builder {
    /// Where everything is stored.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Something attempts can run on; may be given several times, under different names.
    #[must_use]
    pub fn runtime(mut self, runtime: Arc<dyn Runtime>) -> Self {
        self.runtimes.push(runtime);
        self
    }

    /// Where the time comes from. Default: the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where ids and nonces come from. Default: the system's random source.
    #[must_use]
    pub fn ids(mut self, ids: Arc<dyn Ids>) -> Self {
        self.ids = ids;
        self
    }

    /// The key of this installation's secrets and callback tokens. It must be the same at every start on the
    /// same store. Default: a random one, which suits only a store that does not outlive the process.
    #[must_use]
    pub fn keyring(mut self, keyring: Keyring) -> Self {
        self.keyring = keyring;
        self
    }

    /// Whose attempts these are; must be the same at every start on the same store. Default: random.
    #[must_use]
    pub fn installation(mut self, installation: InstallationId) -> Self {
        self.installation = installation;
        self
    }

    /// The directory of the attempts' logs. Default: `dogwatch-logs` in the system's temporary directory.
    #[must_use]
    pub fn logs_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.logs_dir = dir.into();
        self
    }

    /// Where what attempts leave is kept. It must be the same at every start on the same store. Default: memory, which
    /// suits only a store that does not outlive the process.
    #[must_use]
    pub fn artifacts(mut self, bucket: Bucket) -> Self {
        self.artifacts = bucket;
        self
    }

    /// The directory of inputs that are on their way; ours alone. Default: one in the system's temporary directory.
    #[must_use]
    pub fn staging_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.staging_dir = dir.into();
        self
    }

    /// The base address of the callback routes as attempts on `runtime` see it, such as
    /// `http://172.17.0.1:7071`. Without one, its attempts find no `DOGWATCH_CALLBACK_URL`.
    #[must_use]
    pub fn callback_url(mut self, runtime: impl Into<String>, base: impl Into<String>) -> Self {
        self.callback_urls.insert(runtime.into(), base.into().trim_end_matches('/').to_owned());
        self
    }

    /// Where the workers of pools connect, as attempts on `runtime` see it, such as `http://172.17.0.1:7072`. Pools
    /// whose instances would run on a runtime without one are refused.
    #[must_use]
    pub fn worker_url(mut self, runtime: impl Into<String>, url: impl Into<String>) -> Self {
        self.worker_urls.insert(runtime.into(), url.into().trim_end_matches('/').to_owned());
        self
    }

    /// The buckets that triggers may look at, by their names.
    #[must_use]
    pub fn stores(mut self, stores: BTreeMap<String, crate::bucket::Config>) -> Self {
        self.stores = Arc::new(stores);
        self
    }

    /// Below these directories clients may have triggers look for files; below none where nothing is said. Triggers of
    /// the configuration may look anywhere.
    #[must_use]
    pub fn trigger_directories(mut self, directories: Vec<PathBuf>) -> Self {
        self.trigger_directories = directories;
        self
    }

    /// What all attempts together may use. Default: see [`Budget`].
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Jobs that may wait for a slot: while there are more, submissions are refused. Default:
    /// [`JOBS_QUEUED_MAX`].
    #[must_use]
    pub fn queued_max(mut self, jobs: usize) -> Self {
        self.queued_max = jobs;
        self
    }

    /// The weakest security profile that a container may ask for.
    #[must_use]
    pub fn weakest_security_profile(mut self, profile: crate::job::spec::SecurityProfile) -> Self {
        self.policy.weakest_security_profile = profile;
        self
    }

    /// The paths of the host that containers may be given as volumes, with what is below them. Default: none.
    #[must_use]
    pub fn host_paths(mut self, paths: Vec<String>) -> Self {
        self.policy.host_paths = paths;
        self
    }

    /// Where webhooks may go. Default: public addresses only.
    #[must_use]
    pub fn webhook_guard(mut self, guard: Guard) -> Self {
        self.policy.webhooks = guard;
        self
    }

    /// What makes requests. Default: HTTP, with webhooks going where [`Builder::webhook_guard`] allows.
    #[must_use]
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = Some(network);
        self
    }

    /// The orchestrations and activities that this application knows. Default: none.
    #[must_use]
    pub fn orchestrations(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// What runs the code of entities, made of the parts that it works with. Default: nothing does, and what entities
    /// are to do waits.
    #[must_use]
    pub fn entity_executor(
        mut self,
        make: impl Fn(EntityParts) -> Arc<dyn EntityExecutor> + Send + Sync + 'static,
    ) -> Self {
        self.entity_executor = Some(Arc::new(make));
        self
    }

    /// Lets workers elsewhere run the orchestrations and activities that this application does not know: they connect
    /// by [`Handle::workers`]. An instance whose code nobody has waits for a worker. Default: no.
    #[must_use]
    pub fn workers(mut self, workers: bool) -> Self {
        self.workers = workers;
        self
    }

    /// Holds the lock of a data directory until the shutdown, or until the last handle is gone.
    #[must_use]
    pub fn lock(mut self, lock: DirLock) -> Self {
        self.lock = Some(lock);
        self
    }

    /// On how many threads of their own the jobs' actors live; 0 keeps everything on the caller's thread, as
    /// a simulation under virtual time wants it. Default: the number of cores.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Who of the jobs that wait is next. Default: one tenant, no limits.
    #[must_use]
    pub fn admission(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// How often an actor may panic before its job is quarantined.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// Starts it. Resolves when requests can be taken; what was live before is brought back meanwhile (see
    /// [`Handle::recovered`]).
    pub async fn start(self) -> Result<Supervisor, StartError> {
        actix::System::try_current().ok_or(StartError::NoSystem)?;
        let store = self.store.clone().ok_or(StartError::NoStore)?;
        let policy = self.checked_policy()?;
        let network = match &self.network {
            Some(network) => Arc::clone(network),
            None => Arc::new(HttpNetwork::new(self.policy.webhooks.clone())?),
        };
        let arbiters: Vec<Arbiter> = (0..self.threads).map(|_| Arbiter::new()).collect();
        let own: Vec<ArbiterHandle> = arbiters.iter().map(Arbiter::handle).collect();
        let home = own.first().cloned().unwrap_or_else(Arbiter::current);

        let shop = Workshop {
            store: Arc::clone(&store),
            clock: Arc::clone(&self.clock),
            timers: Arc::default(),
            outbox: Arc::default(),
            intensity: self.intensity,
        };
        let hosts = self.hosts(&shop, &policy, network, &own, &home).await?;
        let (router, desks, alarm) = (hosts.router(), hosts.desks(&store, &self.stores), Alarm::default());
        let fleet = hosts.fleet.clone();
        let ledger = Ledger::new(Arc::clone(&store), Arc::clone(&self.clock), self.rules.clone());
        let ledger = Arc::new(ledger);
        let (recovery_done, recovered) = watch::channel(false);
        let inner = Inner {
            alarms: hosts.alarms(&alarm),
            jobs: hosts.jobs,
            webhooks: hosts.webhooks,
            artifacts: ArtifactStore::new(self.artifacts),
            orchestrations: hosts.orchestrations,
            pools: hosts.pools,
            schedules: hosts.schedules,
            arrays: hosts.arrays,
            triggers: hosts.triggers,
            trigger_directories: self.trigger_directories,
            stores: self.stores,
            declaring: tokio::sync::Mutex::default(),
            worker_urls: self.worker_urls,
            callback_urls: self.callback_urls,
            queues: hosts.queues,
            desk: hosts.desk,
            entities: hosts.entities,
            executor: hosts.executor,
            workers: hosts.workers,
            store: Arc::clone(&store),
            fleet: hosts.fleet,
            clock: Arc::clone(&self.clock),
            ids: self.ids,
            keyring: self.keyring,
            installation: self.installation,
            policy,
            queued_max: self.queued_max,
            logs: hosts.logs,
            counters: Counters::default(),
            ledger: Arc::clone(&ledger),
            closing: Arc::default(),
            disk_waits: DiskWaits::default(),
            recovered,
            lock: Mutex::new(self.lock),
            threads: own,
            background: Mutex::new(None),
        };
        let handle = Handle::new(Arc::new(inner));
        fault::reach(Point::RecoveryAssembled);
        let tasks = shop.background(home, router, desks, (fleet, recovery_done), ledger, alarm);
        *handle.inner().background.lock() = Some(Background::new(tasks, arbiters));
        Ok(Supervisor { handle })
    }

    fn checked_policy(&self) -> Result<Policy, StartError> {
        let mut names: Vec<String> = self.runtimes.iter().map(|runtime| runtime.name().to_owned()).collect();
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(StartError::SameName(pair[0].clone()));
        }
        if names.is_empty() {
            return Err(StartError::NoRuntime);
        }
        let groups = self.runtimes.iter().filter(|runtime| runtime.runs_groups());
        let group_runtimes = groups.map(|runtime| runtime.name().to_owned()).collect();
        let concurrency_keys = self.rules.keys.keys().cloned().collect();
        Ok(Policy { runtimes: names, group_runtimes, concurrency_keys, ..self.policy.clone() })
    }
}

/// A running supervisor: what [`Builder::start`] gives.
///
/// Its background work goes on for as long as this or any [`Handle`] is there; then it ends, and every attempt
/// is left running.
#[derive(Debug)]
pub struct Supervisor {
    handle: Handle,
}

impl Supervisor {
    /// Begins to build one.
    pub fn builder() -> Builder {
        let mut key = [0; 32];
        RandomIds.random(&mut key);
        Builder {
            store: None,
            runtimes: vec![],
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            keyring: Keyring::new(key),
            installation: RandomIds.installation_id(),
            logs_dir: std::env::temp_dir().join("dogwatch-logs"),
            artifacts: Bucket::in_memory("artifacts"),
            staging_dir: std::env::temp_dir()
                .join(format!("dogwatch-staging-{}", RandomIds.installation_id())),
            callback_urls: BTreeMap::new(),
            worker_urls: BTreeMap::new(),
            trigger_directories: vec![],
            stores: Arc::default(),
            budget: Budget::default(),
            rules: Rules::default(),
            queued_max: JOBS_QUEUED_MAX,
            policy: Policy::default(),
            network: None,
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            intensity: Intensity::default(),
            lock: None,
            registry: Registry::new(),
            entity_executor: None,
            workers: false,
        }
    }

    /// What one asks of it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// See [`Handle::shutdown`].
    pub async fn shutdown(self) {
        self.handle.shutdown().await;
    }
}

impl Handle {
    /// The threads on which the actors live, for who wants to ask them without waking another thread; none when they live on
    /// that of whoever started the supervisor. They end with it.
    pub fn threads(&self) -> Vec<ArbiterHandle> {
        self.inner().threads.clone()
    }

    /// Takes no more work, waits for what is being committed and until what is over has been removed, leaves every
    /// attempt running, closes the store. Once is enough; afterwards every request is refused.
    pub async fn shutdown(&self) {
        let inner = self.inner();
        inner.closing.store(true, Ordering::SeqCst);
        if let Some(workers) = &inner.workers {
            workers.close();
        }
        inner.desk.close();
        let Some(background) = inner.background.lock().take() else { return };
        inner.fleet.close();
        let settled = async {
            while inner.in_flight() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(SHUTDOWN_PATIENCE, settled).await.is_err() {
            tracing::warn!(
                "some requests were still being committed at the shutdown; repeat them after the start"
            );
        }
        inner.fleet.cleared(SHUTDOWN_CLEAR_MAX).await;
        inner.fleet.shutdown();
        let has_threads = background.has_threads();
        background.end().await;
        let store = Arc::clone(&inner.store);
        if !has_threads {
            // Everything is on the caller's thread, and in virtual time: another thread would not be.
            store.close();
        } else if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
            tracing::error!("closing the store panicked; what was acknowledged is durable all the same");
        }
        inner.lock.lock().take();
    }
}
