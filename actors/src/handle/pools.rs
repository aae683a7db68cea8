//! What one may ask about pools, and what the worker of an instance may do.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::orchestrations::Orchestrations;
use super::queues::WorkerScope;
use super::{Error as AnyError, FieldError, Handle};
use crate::durable::batch::Terms;
use crate::durable::published::Wanted;
use crate::durable::{Machine, MachineId, keys, shell};
use crate::id::{AttemptKey, JobId};
use crate::job::parent::Parent;
use crate::job::state::{Job, Phase as JobPhase};
use crate::limits::POOLS_MAX;
use crate::orchestration::executor::remote::{Bound, Holder};
use crate::orchestration::explain::Explanation;
use crate::orchestration::state::Orchestration;
use crate::pool::{self, Event, Given, ParsePoolIdError, Pool, PoolId, PoolView, Rejected, Source, Spec};
use crate::queue::{self, Queue, QueueId};
use crate::secret::{OpenError, Secret};
use crate::store::{self, KeyRange, Order};

/// What one may ask about pools. Every clone is of the same supervisor.
#[derive(Debug, Clone)]
pub struct Pools {
    handle: Handle,
}

/// What may be answered instead of what was asked about pools.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none of this name.
    #[error("there is no pool `{0}`; declare it with PUT /v1/pools/{0}")]
    NotFound(String),
    /// It cannot be the name of one.
    #[error(transparent)]
    Name(#[from] ParsePoolIdError),
    /// It cannot be accepted.
    #[error("the pool is not valid: {}", .0.first().map_or("", |field| field.message.as_str()))]
    Invalid(Vec<FieldError>),
    /// It goes.
    #[error("{}", Rejected::Deleting)]
    Deleting,
    /// There are too many.
    #[error("there are {POOLS_MAX} pools, which is the limit; delete one first")]
    TooMany,
    /// The supervisor takes no workers.
    #[error(
        "no workers can connect to this supervisor, so a pool would have nothing to do; let them connect"
    )]
    NoWorkers,
    /// The token is none, or that of a worker which may do nothing any more.
    #[error("the token of the worker is not valid: {0}")]
    Token(&'static str),
    /// What may be answered to any request.
    #[error(transparent)]
    Other(#[from] AnyError),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Other(AnyError::of_store(error))
    }
}

/// The result of a request about pools.
pub type Result<T> = std::result::Result<T, Error>;

/// What the worker of an instance may do: run these activities, for as long as its attempt runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    /// Its pool.
    pub pool: PoolId,
    /// Its attempt.
    pub key: AttemptKey,
    /// The activities that it runs, and of which task hub.
    pub bound: Bound,
    /// How many of them at the same time.
    pub limit: u32,
}

impl Handle {
    /// What one may ask about pools.
    pub fn pools(&self) -> Pools {
        Pools { handle: self.clone() }
    }
}

impl Pools {
    /// Declares a pool: creates it, or replaces what it was declared with. Secrets that are left empty stay what they
    /// were. Resolves when it is durable; whether it is new.
    pub async fn declare(&self, name: &str, spec: Spec) -> Result<(PoolView, bool)> {
        let id: PoolId = name.parse()?;
        let inner = self.handle.inner();
        inner.open()?;
        if inner.workers.is_none() && spec.queue.is_none() {
            return Err(Error::NoWorkers);
        }
        // One at a time: two that run the same are refused whichever comes first.
        let _declaring = inner.declaring.lock().await;
        let known = inner.pools.published().read(id)?;
        let given = self.given(spec, known.as_deref())?;
        self.check(id, &given, known.is_some())?;
        let answer =
            inner.pools.deliver(id, Event::Declared(Box::new(given.sealed(&self.handle))), Terms::default());
        let receipt = answer.await.map_err(of_shell)?;
        let pool = receipt.state.ok_or_else(|| Error::NotFound(name.to_owned()))?;
        Ok((self.view(&pool), known.is_none()))
    }

    /// What was sent, with the secrets that it leaves as they are.
    fn given(&self, mut spec: Spec, known: Option<&Pool>) -> Result<Unsealed> {
        let fresh = spec.job.take_secrets();
        let mut old = BTreeMap::new();
        if let Some(given) = known.map(Pool::given)
            && let Some(vault) = &given.vault
        {
            old = self.handle.inner().keyring.open(given.seed, vault).map_err(of_vault)?;
        }
        spec.job.put_secrets(old.clone());
        spec.job.put_secrets(fresh);
        Ok(Unsealed { spec, known: known.map(|pool| (Arc::clone(pool.given()), old)) })
    }

    fn check(&self, id: PoolId, given: &Unsealed, is_known: bool) -> Result<()> {
        let (inner, spec) = (self.handle.inner(), &given.spec);
        let mut faults = pool::validate(spec, &inner.policy);
        let mut fault = |pointer: String, message: String| faults.push(FieldError { pointer, message });
        if let Source::Queue(queue) = spec.source() {
            self.check_queue(queue, spec, &mut fault)?;
        } else {
            self.check_workers(spec, &mut fault)?;
        }
        let all = self.all()?;
        for other in all.iter().filter(|other| other.id != id) {
            if let Some(place) = pool::overlap(spec, other.spec()) {
                fault(
                    place,
                    format!("is the work of the pool `{}` already; name it in one of them", other.id),
                );
            }
        }
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        if !is_known && all.len() >= POOLS_MAX {
            return Err(Error::TooMany);
        }
        Ok(())
    }

    fn check_queue(&self, queue: QueueId, spec: &Spec, fault: &mut impl FnMut(String, String)) -> Result<()> {
        let inner = self.handle.inner();
        let is_active = |queue: Arc<Queue>| queue.phase == queue::Phase::Active;
        if !inner.queues.published().read(queue)?.is_some_and(is_active) {
            let message =
                format!("there is no queue `{queue}`; declare it with PUT /v1/queues/{queue} first");
            fault("/queue".to_owned(), message);
        }
        let runtime = spec.job.runtime_name();
        if !inner.callback_urls.contains_key(runtime) {
            let message = format!(
                "workers on the runtime `{runtime}` cannot reach the callback listener; see the section callback of the \
                 configuration"
            );
            fault("/job/runtime".to_owned(), message);
        }
        Ok(())
    }

    fn check_workers(&self, spec: &Spec, fault: &mut impl FnMut(String, String)) -> Result<()> {
        let inner = self.handle.inner();
        if !self.handle.has_task_hub(&spec.task_hub)? {
            let message = format!("there is no task hub `{}`; create it first", spec.task_hub);
            fault("/task_hub".to_owned(), message);
        }
        let runtime = spec.job.runtime_name();
        if !inner.worker_urls.contains_key(runtime) {
            let message = format!(
                "workers on the runtime `{runtime}` cannot reach the gRPC listener; see the sections grpc and callback \
                 of the configuration"
            );
            fault("/job/runtime".to_owned(), message);
        }
        Ok(())
    }

    pub(super) fn all(&self) -> Result<Vec<Arc<Pool>>> {
        let prefix = keys::snapshots(Pool::KIND);
        let rows = self.handle.inner().store.scan(
            KeyRange::prefix(prefix.clone()),
            Order::Ascending,
            // No more are let in.
            POOLS_MAX * 2,
        )?;
        let ids = rows.iter().filter_map(|(key, _)| PoolId::from_key(&key[prefix.len()..]));
        let mut pools = Vec::new();
        for id in ids {
            pools.extend(self.handle.inner().pools.published().read(id)?);
        }
        Ok(pools)
    }

    /// All of them, by name.
    pub fn list(&self) -> Result<Vec<PoolView>> {
        Ok(self.all()?.iter().map(|pool| self.view(pool)).collect())
    }

    /// One pool.
    pub fn get(&self, name: &str) -> Result<PoolView> {
        let id: PoolId = name.parse().map_err(|_| not_found(name))?;
        let pool = self.handle.inner().pools.published().read(id)?;
        pool.map(|pool| self.view(&pool)).ok_or_else(|| not_found(name))
    }

    /// Stops the instances of a pool, and then deletes it; the pool while that lasts. Resolves when it is durable.
    pub async fn delete(&self, name: &str) -> Result<Option<PoolView>> {
        let id: PoolId = name.parse().map_err(|_| not_found(name))?;
        let inner = self.handle.inner();
        inner.open()?;
        match inner.pools.deliver(id, Event::DeleteRequested, Terms::default()).await {
            Ok(receipt) => Ok(receipt.state.map(|pool| self.view(&pool))),
            Err(shell::Error::Missing) => Err(not_found(name)),
            Err(error) => Err(of_shell(error)),
        }
    }

    fn view(&self, pool: &Pool) -> PoolView {
        pool.view(|job| self.handle.job(job).ok())
    }

    /// What the worker may do that presents this token: run activities.
    pub fn admit(&self, token: &str) -> Result<Scope> {
        let (pool, key) = self.genuine(token)?;
        let spec = pool.spec();
        if let Source::Queue(_) = spec.source() {
            return Err(Error::Token("its pool works on a queue, and runs no activities"));
        }
        let bound = Bound { hub: spec.task_hub.clone(), takes: pool.names() };
        Ok(Scope { pool: pool.id, key, bound, limit: spec.per_instance })
    }

    /// What the worker may do that presents this token: work on a queue.
    pub(super) fn admit_to_queue(&self, token: &str) -> Result<WorkerScope> {
        let (pool, key) = self.genuine(token)?;
        match pool.spec().source() {
            Source::Queue(queue) => Ok(WorkerScope { pool: pool.id, key, queue }),
            Source::Activities { .. } => Err(Error::Token("its pool runs activities, and works on no queue")),
        }
    }

    /// The pool and the attempt of a worker, while that runs.
    fn genuine(&self, token: &str) -> Result<(Arc<Pool>, AttemptKey)> {
        let inner = self.handle.inner();
        let (name, key) = inner
            .keyring
            .read_worker_token(token)
            .ok_or(Error::Token("it is not one that was given here"))?;
        let job = inner.jobs.published().read(key.job)?.ok_or(Error::Token("its job is gone"))?;
        let of = job.given.parent.as_ref().and_then(Parent::pool).map(|parent| parent.pool);
        let pool = of.filter(|pool| pool.as_str() == name).ok_or(Error::Token("its job is of no pool"))?;
        if !runs(&job, key) {
            return Err(Error::Token("its attempt is over"));
        }
        let state = inner.pools.published().read(pool)?.ok_or(Error::Token("its pool is gone"))?;
        Ok((state, key))
    }

    /// The worker of an instance is about to take work; an error when the pool gives it none any more. Resolves when
    /// it is durable that it came.
    pub async fn connect(&self, scope: &Scope) -> Result<()> {
        self.tell_connected(scope.pool, scope.key.job).await
    }

    pub(super) async fn tell_connected(&self, pool: PoolId, job: JobId) -> Result<()> {
        let event = Event::InstanceConnected { job };
        match self.handle.inner().pools.deliver(pool, event, Terms::default()).await {
            Ok(_) => Ok(()),
            Err(shell::Error::Rejected(_) | shell::Error::Missing) => {
                Err(Error::Token("its instance is being stopped"))
            }
            Err(error) => Err(of_shell(error)),
        }
    }

    /// Whether the worker may tell what came of the work that a completion token stands for. One that stands for
    /// nothing any more harms nobody.
    pub fn may_complete(&self, scope: &Scope, token: &str) -> bool {
        let holder = |remote: &crate::orchestration::executor::Remote| {
            remote.holder(token, scope.key.job, &scope.bound)
        };
        self.handle.inner().workers.as_ref().map(holder) != Some(Holder::Other)
    }

    /// Resolves when the attempt of a worker is over.
    pub async fn attempt_over(&self, key: AttemptKey) {
        let published = self.handle.inner().jobs.published();
        let over: Wanted<Job> = Arc::new(move |job| !job.is_some_and(|job| runs(job, key)));
        let mut changes = published.watch(key.job);
        while let Err(error) = published.until(key.job, &over).await {
            // What cannot be read may be readable again; the next call is checked anyway.
            tracing::warn!(attempt = %key, %error, "the job of a worker cannot be read");
            changes.changed().await;
        }
    }
}

/// Whether the attempt may have a worker that runs.
fn runs(job: &Job, key: AttemptKey) -> bool {
    let may_run =
        matches!(job.phase, JobPhase::Starting | JobPhase::Running { .. } | JobPhase::Stopping { .. });
    may_run && job.attempt == key.number
}

/// What a pool is to be given, with its secrets in the open.
struct Unsealed {
    spec: Spec,
    /// What it was given, and its secrets.
    known: Option<(Arc<Given>, BTreeMap<String, Secret>)>,
}

impl Unsealed {
    /// With its secrets sealed; in the old seal when they are the same, so that nothing is another one for it.
    fn sealed(mut self, handle: &Handle) -> Given {
        let secrets = self.spec.job.take_secrets();
        let inner = handle.inner();
        if let Some((known, old)) = self.known
            && old == secrets
        {
            return Given { spec: self.spec.into(), vault: known.vault.clone(), seed: known.seed };
        }
        let seed = inner.ids.job_id(inner.clock.now());
        let vault = (!secrets.is_empty()).then(|| inner.keyring.seal(seed, &secrets, inner.ids.as_ref()));
        Given { spec: self.spec.into(), vault, seed }
    }
}

impl Orchestrations {
    /// What the pools do that run what an instance waits for.
    pub(super) fn explain_pools(&self, state: &Orchestration, explanation: &mut Explanation) {
        let pools = self.handle.pools();
        let Some(remote) = self.handle.workers() else { return };
        for id in remote.pools_for(state) {
            let Ok(view) = pools.get(id.as_str()) else { continue };
            let sentence = format!("the pool `{id}` {}", view.message);
            explanation.sentence = format!("{} ({sentence})", explanation.sentence);
            explanation.workers.push(sentence);
        }
    }
}

fn not_found(name: &str) -> Error {
    Error::NotFound(name.chars().take(crate::limits::NAME_CHARS_MAX).collect())
}

fn of_vault(error: OpenError) -> Error {
    let pointer = "/job/secrets".to_owned();
    Error::Invalid(vec![FieldError { pointer, message: error.to_string() }])
}

fn of_shell(error: shell::Error<Rejected>) -> Error {
    match error {
        shell::Error::Rejected(_) => Error::Deleting,
        shell::Error::Store(error) => error.into(),
        shell::Error::Overloaded => AnyError::overloaded("too many requests are waiting").into(),
        _ => AnyError::Interrupted.into(),
    }
}
