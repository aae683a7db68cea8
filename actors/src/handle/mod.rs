//! What one may ask of a running supervisor: the whole API without HTTP.
//!
//! A [`Handle`] is cheap to clone and goes everywhere. Commands are on their way when the call is made and
//! resolve when they are durable; dropping the future does not recall them. Reads show durable states only.

pub mod arrays;
mod artifacts;
mod candidates;
pub mod entities;
mod error;
mod events;
pub mod hubs;
mod listing;
mod logs;
mod metrics;
pub mod orchestrations;
pub mod pools;
pub mod queues;
mod reading;
pub mod schedules;
pub mod triggers;
mod types;
mod usage;
mod waiting;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

pub use self::error::{Error, FieldError, Result};
pub use self::metrics::Counters;
pub(crate) use self::reading::DiskWaits;
pub use self::types::{Callback, CallbackReceipt, Command, Filter, LogQuery, Page, Submission, Submitted};

use crate::admission::AdmissionView;
use crate::array::Array;
use crate::backup;
use crate::clock::Clock;
use crate::data_dir::DirLock;
use crate::durable::batch::Terms;
use crate::durable::host::Host;
use crate::durable::keys;
use crate::durable::shell;
use crate::entity::Entity;
use crate::examine;
use crate::fault::{self, Point};
use crate::files::ArtifactStore;
use crate::fleet::{FleetHandle, FleetView};
use crate::id::{AttemptKey, Ids, InstallationId, JobId};
use crate::job::event::{Event, Submitted as SubmittedEvent};
use crate::job::explain::explain;
use crate::job::spec::{Spec, WebhookTarget};
use crate::job::state::{Job, Phase};
use crate::job::validate::{Policy, validate};
use crate::job::view::{HistoryEntry, JobState, JobView};
use crate::limits::CLIENT_KEY_CHARS_MAX;
use crate::logs::LogStore;
use crate::orchestration::executor::{Executor, Remote};
use crate::orchestration::explain::Explanation;
use crate::orchestration::state::Orchestration;
use crate::pool::Pool;
use crate::queue::{Desk, Queue};
use crate::schedule::Schedule;
use crate::secret::Keyring;
use crate::store::{self, KeyRange, Order, Store, codec};
use crate::supervise::{Alarm, GaveUp};
use crate::supervisor::{Background, Threads};
use crate::trigger::Trigger;
use crate::usage::ledger::Ledger;
use crate::webhook::{self, Delivery, WebhookId, WebhookView};

/// What a handle is made of.
pub(crate) struct Inner {
    pub(crate) jobs: Host<Job>,
    pub(crate) webhooks: Host<Delivery>,
    pub(crate) orchestrations: Host<Orchestration>,
    pub(crate) pools: Host<Pool>,
    pub(crate) schedules: Host<Schedule>,
    pub(crate) arrays: Host<Array>,
    pub(crate) triggers: Host<Trigger>,
    /// Below which clients may have triggers look at directories.
    pub(crate) trigger_directories: Vec<std::path::PathBuf>,
    /// The buckets that triggers may look at.
    pub(crate) stores: Arc<std::collections::BTreeMap<String, crate::bucket::Config>>,
    /// Held while a pool, a schedule or a trigger is declared: what it runs, and how many there are, is compared with the others.
    pub(crate) declaring: tokio::sync::Mutex<()>,
    /// Where workers of pools connect, by runtime.
    pub(crate) worker_urls: std::collections::BTreeMap<String, String>,
    /// The base address of the callback listener, by runtime.
    pub(crate) callback_urls: std::collections::BTreeMap<String, String>,
    pub(crate) queues: Host<Queue>,
    pub(crate) desk: Desk,
    pub(crate) entities: Host<Entity>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) workers: Option<Remote>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) disk_waits: DiskWaits,
    pub(crate) fleet: FleetHandle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) keyring: Keyring,
    pub(crate) installation: InstallationId,
    pub(crate) policy: Policy,
    pub(crate) queued_max: usize,
    pub(crate) logs: LogStore,
    pub(crate) artifacts: ArtifactStore,
    pub(crate) counters: Counters,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) closing: Arc<AtomicBool>,
    /// Set while the jobs that were live before are brought back.
    pub(crate) recovered: watch::Receiver<bool>,
    /// Raised when a part that everything needs is gone.
    pub(crate) alarms: Vec<Alarm>,
    /// The lock of the data directory, where there is one: nobody else may use it as long as we are here.
    pub(crate) lock: Mutex<Option<DirLock>>,
    /// Where the actors live.
    pub(crate) threads: Threads,
    /// What ends with the last handle.
    pub(crate) background: Mutex<Option<Background>>,
}

/// A supervisor. Every clone is the same supervisor.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("jobs", &self.inner.jobs).finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Validates, commits and queues a job. Resolves when it is durable.
    pub async fn submit(&self, submission: impl Into<Submission>) -> Result<Submitted> {
        let Submission { mut spec, idempotency } = submission.into();
        self.admit()?;
        let faults = validate(&spec, &self.inner.policy);
        if !faults.is_empty() {
            return Err(Error::InvalidSpec(faults));
        }
        let now = self.inner.clock.now();
        let id = self.inner.jobs.fresh(|| self.inner.ids.job_id(now));
        let claim = idempotency.map(|(key, body)| self.claim(id, &key, &body)).transpose()?;
        let secrets = spec.take_secrets();
        let vault =
            (!secrets.is_empty()).then(|| self.inner.keyring.seal(id, &secrets, self.inner.ids.as_ref()));
        let event = Event::Submitted(Box::new(SubmittedEvent {
            spec: Arc::new(spec),
            vault,
            claim: claim.as_ref().map(|claim| claim.digest.clone()),
            parent: None,
        }));
        let terms = Terms { claim: claim.as_ref().map(Claim::row), ..Terms::default() };
        fault::check(Point::SubmitAdmitted, || Error::Interrupted)?;
        match self.inner.jobs.create(id, event, terms).await {
            Ok(receipt) => {
                self.inner.counters.submitted.count();
                fault::check(Point::SubmitCommitted, || Error::Interrupted)?;
                Ok(Submitted { job: view(receipt, id)?, replayed: false })
            }
            Err(shell::Error::Claimed(row)) => self.replay(claim.as_ref(), &row).await,
            Err(error) => Err(Error::of_job(id, error)),
        }
    }

    fn admit(&self) -> Result<()> {
        self.inner.open()?;
        let most = self.inner.queued_max;
        if self.inner.fleet.waiting() >= most {
            return Err(Error::overloaded(format!("{most} jobs are queued already")));
        }
        Ok(())
    }

    fn claim(&self, id: JobId, key: &str, body: &Value) -> Result<Claim> {
        if key.is_empty() || key.chars().count() > CLIENT_KEY_CHARS_MAX {
            let message = format!("an idempotency key has 1 to {CLIENT_KEY_CHARS_MAX} characters");
            return Err(Error::InvalidSpec(vec![FieldError { pointer: String::new(), message }]));
        }
        let digest = hex(&self.inner.keyring.digest("idempotency-key", key.as_bytes()));
        // The body may hold secrets, so only a keyed hash of it is stored. serde_json sorts an object's keys.
        let fingerprint = self.inner.keyring.digest("submission", body.to_string().as_bytes());
        Ok(Claim { id, digest, fingerprint })
    }

    /// The key was used before: the same job when the body is the same.
    async fn replay(&self, claim: Option<&Claim>, row: &[u8]) -> Result<Submitted> {
        fault::check(Point::SubmitReplayed, || Error::Interrupted)?;
        let (id, fingerprint) = row.split_at_checked(16).ok_or(Error::Interrupted)?;
        let id = JobId::from_bytes(id.try_into().map_err(|_| Error::Interrupted)?);
        if claim.is_none_or(|claim| claim.fingerprint != *fingerprint) {
            return Err(Error::IdempotencyMismatch(id));
        }
        let mut changes = self.inner.jobs.published().watch(id);
        loop {
            match self.job(id) {
                // The claim is durable a moment before the job is shown.
                Err(Error::NotFound(_)) => {}
                job => return Ok(Submitted { job: job?, replayed: true }),
            }
            if tokio::time::timeout(REPLAY_PATIENCE, changes.changed()).await.is_err() {
                return Err(Error::Interrupted);
            }
        }
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Result<JobView> {
        Ok(self.state(id)?.view())
    }

    /// Why a job is not finished.
    pub async fn explain(&self, id: JobId) -> Result<Explanation> {
        let job = self.state(id)?;
        let stand = match job.phase {
            Phase::Queued { .. } => self.inner.fleet.stand(AttemptKey::new(id, job.attempt + 1)).await,
            _ => None,
        };
        Ok(explain(&job, stand.as_ref()))
    }

    /// Who waits and who runs, by tenant and by concurrency key.
    pub async fn admission(&self) -> Result<AdmissionView> {
        self.inner.fleet.admission().await.ok_or(Error::Interrupted)
    }

    fn state(&self, id: JobId) -> Result<Arc<Job>> {
        self.inner.jobs.published().read(id)?.ok_or(Error::NotFound(id))
    }

    /// The job when it is over, or as it is after `patience` (at most [`WAIT_MAX`](crate::limits::WAIT_MAX)).
    pub async fn wait(&self, id: JobId, patience: Duration) -> Result<JobView> {
        let is_over = |job: &Job| job.state().is_terminal();
        let job = self.inner.wait(self.inner.jobs.published(), id, patience, is_over).await?;
        Ok(job.ok_or(Error::NotFound(id))?.view())
    }

    /// Commits a command to a job. Resolves when it is durable.
    pub async fn command(&self, id: JobId, command: Command) -> Result<JobView> {
        let event = match command {
            Command::Cancel => Event::CancelRequested,
            Command::Suspend => Event::SuspendRequested,
            Command::Resume => Event::ResumeRequested,
            Command::Restart => Event::RestartRequested,
            Command::Retry => Event::RetryRequested,
        };
        let cancels = command == Command::Cancel;
        if cancels {
            fault::check(Point::CancelAdmitted, || Error::Interrupted)?;
        }
        let receipt = self.deliver(id, event, Terms::default()).await?;
        if cancels {
            fault::check(Point::CancelCommitted, || Error::Interrupted)?;
        }
        view(receipt, id)
    }

    async fn deliver(&self, id: JobId, event: Event, terms: Terms) -> Result<shell::Receipt<Job>> {
        self.inner.open()?;
        let answer = self.inner.jobs.deliver(id, event, terms).await;
        answer.map_err(|error| Error::of_job(id, error))
    }

    /// The entries of a job's history with a number greater than `after`, at most `limit`.
    pub fn history(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<HistoryEntry>> {
        let durable = self.state(id)?.revision;
        let range = KeyRange::prefix(keys::history::<Job>(id))
            .after(&keys::history_entry::<Job>(id, after))
            .before(&keys::history_entry::<Job>(id, durable + 1));
        let rows = self.inner.store.scan(range, Order::Ascending, limit)?;
        rows.iter().map(|(key, row)| Ok(codec::decode(key, row)?.parse(key)?)).collect()
    }

    /// Raises an event to a job from outside: recorded in its history. `completed`, `failed` and `progress`
    /// mean what they mean in a callback of its newest attempt. With an `id` a repetition is applied once.
    pub async fn raise(&self, id: JobId, event: Callback) -> Result<CallbackReceipt> {
        let digest = event.id.as_ref().map(|own| digest(&["raised", own]));
        let event = Event::EventRaised { name: event.event, data: event.data };
        let receipt = self.deliver(id, event, Terms { digest, ..Terms::default() }).await?;
        receipt_of(receipt, id)
    }

    /// Applies a callback of an attempt. Resolves when it is durable.
    ///
    /// The same one again (the same `id`; without one the same event and data) is answered the same and
    /// changes nothing, for the life of the job.
    pub async fn callback(
        &self,
        key: AttemptKey,
        token: &str,
        callback: Callback,
    ) -> Result<CallbackReceipt> {
        if !self.inner.keyring.is_callback_token(key, token) {
            return Err(Error::BadToken);
        }
        fault::check(Point::CallbackAuthenticated, || Error::Interrupted)?;
        let attempt = key.number.to_string();
        let digest = match &callback.id {
            Some(own) => digest(&["id", &attempt, own]),
            None => digest(&["body", &attempt, &callback.event, &callback.data.to_string()]),
        };
        let event =
            Event::CallbackReceived { attempt: key.number, name: callback.event, data: callback.data };
        let receipt =
            self.deliver(key.job, event, Terms { digest: Some(digest), ..Terms::default() }).await?;
        self.inner.counters.callbacks.count();
        fault::check(Point::CallbackCommitted, || Error::Interrupted)?;
        receipt_of(receipt, key.job)
    }

    /// Deletes a job that is over, with all that was kept of it.
    pub async fn purge(&self, id: JobId) -> Result<()> {
        self.deliver(id, Event::PurgeRequested, Terms::default()).await.map(drop)
    }

    /// The deliveries of a job's webhooks.
    pub fn webhooks(&self, id: JobId) -> Result<Vec<WebhookView>> {
        let job = self.state(id)?;
        let view = |(target, webhook): (u16, &WebhookTarget)| {
            let delivery = self.inner.webhooks.published().read(WebhookId { job: id, target })?;
            Ok(delivery.map_or_else(|| WebhookView::idle(target, &webhook.url), |delivery| delivery.view()))
        };
        (0..).zip(&job.given.spec.on_complete).map(view).collect()
    }

    /// Tries a parked webhook again.
    pub async fn replay_webhook(&self, id: JobId, target: u16) -> Result<()> {
        self.inner.open()?;
        let job = self.state(id)?;
        if usize::from(target) >= job.given.spec.on_complete.len() {
            return Err(Error::NoWebhook { job: id, target });
        }
        let delivery = WebhookId { job: id, target };
        let answer =
            self.inner.webhooks.deliver(delivery, webhook::Event::ReplayRequested, Terms::default()).await;
        match answer {
            Ok(_) => Ok(()),
            Err(shell::Error::Missing) => {
                let message = "the job has told nothing yet; it does when it is over".to_owned();
                Err(Error::Conflict { state: job.state(), message })
            }
            Err(shell::Error::Rejected(rejected)) => {
                Err(Error::Conflict { state: job.state(), message: rejected.to_string() })
            }
            Err(shell::Error::Store(error)) => Err(Error::Store(error)),
            Err(_) => Err(Error::Interrupted),
        }
    }

    /// The attempts and the runtimes as they are now.
    pub fn fleet(&self) -> FleetView {
        self.inner.fleet.snapshot()
    }

    /// Why the supervisor is not ready to take work; empty when it is.
    pub fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.inner.closing.load(Ordering::SeqCst) {
            reasons.push("shutting down".to_owned());
        }
        if !*self.inner.recovered.borrow() {
            reasons.push("bringing back the jobs that were running".to_owned());
        }
        if let Err(error) = self.inner.store.health() {
            reasons.push(error.to_string());
        }
        reasons.extend(self.inner.alarms.iter().filter_map(Alarm::now).map(|gave_up| gave_up.to_string()));
        reasons
    }

    /// Resolves when the jobs that were live before the start are back.
    pub async fn recovered(&self) {
        // The sender is dropped only after it has sent.
        let mut recovered = self.inner.recovered.clone();
        let _seen = recovered.wait_for(|done| *done).await;
    }

    /// Resolves when a part that everything needs panicked too often and is gone: from then on some of what is
    /// accepted would never be done. An application should end, or start a new supervisor; every attempt runs on.
    pub async fn failed(&self) -> GaveUp {
        let alarms = self.inner.alarms.iter().map(|alarm| Box::pin(alarm.raised()));
        futures_util::future::select_all(alarms).await.0
    }

    /// Resolves when the store failed for good: from then on nothing is accepted, and nothing becomes durable
    /// before another supervisor opens it. An application should end, or start a new supervisor. A full disk
    /// does not count; it is among the reasons of [`Handle::unready`] for as long as it lasts.
    pub async fn store_failed(&self) -> store::Error {
        let mut failure = self.inner.store.failure();
        loop {
            if let Some(error) = failure.borrow_and_update().clone() {
                return error;
            }
            if failure.changed().await.is_err() {
                // The store is closed, or of a kind that never fails.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Begins a backup of everything durable (see [`backup`]). One at a time.
    pub fn backup(&self) -> Result<backup::Stream> {
        self.inner.open()?;
        let subject = backup::Subject {
            store: Arc::clone(&self.inner.store),
            keyring: self.inner.keyring.clone(),
            installation: self.inner.installation,
        };
        backup::start(subject, self.inner.clock.as_ref()).map_err(|error| match error {
            backup::Error::Store(store::Error::Busy) => Error::overloaded("a backup is being made already"),
            backup::Error::Store(error) => Error::Store(error),
            _ => Error::Interrupted,
        })
    }

    /// Looks whether everything in the store fits together (see [`examine`]). Reads all of it.
    pub async fn examine(&self) -> Result<examine::Report> {
        let store = Arc::clone(&self.inner.store);
        let examining = tokio::task::spawn_blocking(move || examine::online(store.as_ref()));
        examining.await.map_err(|_| Error::Interrupted)
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl Inner {
    fn open(&self) -> Result<()> {
        if self.closing.load(Ordering::SeqCst) { Err(Error::ShuttingDown) } else { Ok(()) }
    }

    /// Requests that are being committed.
    pub(crate) fn in_flight(&self) -> usize {
        let jobs = self.jobs.in_flight() + self.webhooks.in_flight() + self.pools.in_flight();
        let jobs = jobs + self.schedules.in_flight() + self.arrays.in_flight() + self.triggers.in_flight();
        let queues = self.queues.in_flight() + self.desk.in_flight();
        jobs + queues + self.orchestrations.in_flight() + self.entities.in_flight()
    }
}

/// How long a repeated submission waits for the first one to be shown.
const REPLAY_PATIENCE: Duration = Duration::from_secs(5);

/// A client's idempotency key, as it is stored.
struct Claim {
    id: JobId,
    digest: String,
    fingerprint: [u8; 32],
}

impl Claim {
    fn row(&self) -> (store::Key, Vec<u8>) {
        (keys::claim(self.digest.as_bytes()), [&self.id.as_bytes()[..], &self.fingerprint].concat())
    }
}

fn view(receipt: shell::Receipt<Job>, id: JobId) -> Result<JobView> {
    receipt.state.map(|job| job.view()).ok_or(Error::NotFound(id))
}

fn receipt_of(receipt: shell::Receipt<Job>, id: JobId) -> Result<CallbackReceipt> {
    let state: JobState = receipt.state.as_ref().ok_or(Error::NotFound(id))?.state();
    Ok(CallbackReceipt { state, duplicate: receipt.duplicate })
}

/// 16 bytes that stand for these parts, unambiguously.
fn digest(parts: &[&str]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize()[..16].to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl From<Spec> for Submission {
    fn from(spec: Spec) -> Self {
        Self { spec, idempotency: None }
    }
}
