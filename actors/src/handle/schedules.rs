//! What one may ask about schedules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Error as AnyError, FieldError, Handle, REPLAY_PATIENCE};
use crate::clock::Timestamp;
use crate::durable::batch::Terms;
use crate::durable::published::{Published, Wanted};
use crate::durable::{Machine, MachineId, keys, shell};
use crate::limits::{SCHEDULE_PREVIEW_MAX, SCHEDULES_MAX};
use crate::schedule::{
    self, Event, FireView, Given, Origin, ParseScheduleIdError, Plan, Preview, Rejected, Run, Schedule,
    ScheduleId, ScheduleView, Spec,
};
use crate::secret::{OpenError, Secret};
use crate::store::{self, KeyRange, Order};

/// What one may ask about schedules. Every clone is of the same supervisor.
#[derive(Debug, Clone)]
pub struct Schedules {
    handle: Handle,
}

/// What may be answered instead of what was asked about schedules.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none of this name.
    #[error("there is no schedule `{0}`; declare it with PUT /v1/schedules/{0}")]
    NotFound(String),
    /// It cannot be the name of one.
    #[error(transparent)]
    Name(#[from] ParseScheduleIdError),
    /// It cannot be accepted.
    #[error("the schedule is not valid: {}", .0.first().map_or_else(String::new, |field| format!("{} {}", field.pointer, field.message)))]
    Invalid(Vec<FieldError>),
    /// Its actor kept panicking.
    #[error("{0}")]
    Quarantined(String),
    /// The configuration has it.
    #[error("the schedule `{0}` is declared in the configuration; change it there, and start dogwatch again")]
    OfConfig(ScheduleId),
    /// A client has it.
    #[error(
        "the schedule `{0}` of the configuration was declared by a client before; delete that one, or give this one another name"
    )]
    OfApi(ScheduleId),
    /// There are too many.
    #[error("there are {SCHEDULES_MAX} schedules, which is the limit; delete one first")]
    TooMany,
    /// What may be answered to any request.
    #[error(transparent)]
    Other(#[from] AnyError),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Other(AnyError::of_store(error))
    }
}

/// The result of a request about schedules.
pub type Result<T> = std::result::Result<T, Error>;

/// What came of a fire that somebody triggered.
#[derive(Debug, Clone)]
pub struct Triggered {
    /// The schedule.
    pub schedule: ScheduleView,
    /// The fire.
    pub fire: Option<FireView>,
}

impl Handle {
    /// What one may ask about schedules.
    pub fn schedules(&self) -> Schedules {
        Schedules { handle: self.clone() }
    }
}

impl Schedules {
    /// Declares a schedule: creates it, or replaces what it was declared with; its fires and whether it is paused stay.
    /// Secrets that are left empty stay what they were. Resolves when it is durable; whether it is new.
    pub async fn declare(&self, name: &str, spec: Spec) -> Result<(ScheduleView, bool)> {
        let id: ScheduleId = name.parse()?;
        self.handle.inner().open()?;
        let _declaring = self.handle.inner().declaring.lock().await;
        self.declare_as(id, spec, Origin::Api).await
    }

    /// Makes the schedules of the configuration those that are declared in it: puts each of them, and removes those that
    /// came from it and are gone. What clients declared is not touched; a name that one of them has is an error.
    pub async fn reconcile(&self, declared: BTreeMap<ScheduleId, Spec>) -> Result<()> {
        let inner = self.handle.inner();
        inner.open()?;
        let _declaring = inner.declaring.lock().await;
        let names: BTreeSet<ScheduleId> = declared.keys().copied().collect();
        for (id, spec) in declared {
            self.declare_as(id, spec, Origin::Config).await?;
        }
        let all = self.all()?;
        let of_config = all.iter().filter(|schedule| schedule.given().origin == Origin::Config);
        for gone in of_config.filter(|schedule| !names.contains(&schedule.id)) {
            tracing::info!(schedule = %gone.id, "removed: the configuration has it no more");
            let answer = inner.schedules.deliver(gone.id, Event::DeleteRequested, Terms::default());
            answer.await.map_err(|error| of_shell(gone.id.as_str(), error))?;
        }
        Ok(())
    }

    async fn declare_as(&self, id: ScheduleId, spec: Spec, origin: Origin) -> Result<(ScheduleView, bool)> {
        let inner = self.handle.inner();
        let known = inner.schedules.published().read(id)?;
        match known.as_ref().map(|known| known.given().origin) {
            Some(Origin::Config) if origin == Origin::Api => return Err(Error::OfConfig(id)),
            Some(Origin::Api) if origin == Origin::Config => return Err(Error::OfApi(id)),
            _ => {}
        }
        let unsealed = self.unsealed(spec, known.as_deref())?;
        self.check(id, &unsealed.spec, origin)?;
        if known.is_none() && self.all()?.len() >= SCHEDULES_MAX {
            return Err(Error::TooMany);
        }
        let event = Event::Declared(Box::new(unsealed.sealed(&self.handle, origin)));
        let receipt = inner.schedules.deliver(id, event, Terms::default()).await;
        let receipt = receipt.map_err(|error| of_shell(id.as_str(), error))?;
        let schedule = receipt.state.ok_or_else(|| not_found(id.as_str()))?;
        Ok((schedule.view(), known.is_none()))
    }

    /// What was sent, with the secrets that it leaves as they are.
    fn unsealed(&self, mut spec: Spec, known: Option<&Schedule>) -> Result<Unsealed> {
        let mut old = BTreeMap::new();
        if let Some(given) = known.map(Schedule::given)
            && let Some(vault) = &given.vault
        {
            old = self.handle.inner().keyring.open(given.seed, vault).map_err(of_vault)?;
        }
        if let Some(job) = &mut spec.job {
            let fresh = job.take_secrets();
            job.put_secrets(old.clone());
            job.put_secrets(fresh);
        }
        Ok(Unsealed { spec, known: known.map(|schedule| (Arc::clone(schedule.given()), old)) })
    }

    fn check(&self, id: ScheduleId, spec: &Spec, origin: Origin) -> Result<()> {
        let (inner, now) = (self.handle.inner(), self.handle.inner().clock.now());
        let mut faults = schedule::validate(id.as_str(), spec, &inner.policy, now);
        let mut fault = |pointer: &str, message: String| {
            faults.push(FieldError { pointer: pointer.to_owned(), message });
        };
        let is_over = |plan: Plan| plan.next_after(now).is_none();
        // In the configuration it may stand on when its last time has come.
        if origin == Origin::Api && spec.end_at.is_some() && Plan::of(id.as_str(), spec).is_ok_and(is_over) {
            fault("/end_at", "no time lies before it any more".to_owned());
        }
        if let Some(orchestration) = &spec.orchestration {
            if !self.handle.has_task_hub(&orchestration.task_hub)? {
                let message = format!("there is no task hub `{}`; create it first", orchestration.task_hub);
                fault("/orchestration/task_hub", message);
            }
            if let Err(unknown) = inner.executor.knows(&orchestration.name, orchestration.version.as_deref())
            {
                fault("/orchestration/name", unknown.to_string());
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
    }

    /// Their states, by name.
    pub(super) fn all(&self) -> Result<Vec<Arc<Schedule>>> {
        let prefix = keys::snapshots(Schedule::KIND);
        let inner = self.handle.inner();
        // No more are let in.
        let rows = inner.store.scan(KeyRange::prefix(prefix.clone()), Order::Ascending, SCHEDULES_MAX * 2)?;
        let ids = rows.iter().filter_map(|(key, _)| ScheduleId::from_key(&key[prefix.len()..]));
        let mut schedules = Vec::new();
        for id in ids {
            schedules.extend(inner.schedules.published().read(id)?);
        }
        Ok(schedules)
    }

    /// All of them, by name.
    pub fn list(&self) -> Result<Vec<ScheduleView>> {
        Ok(self.all()?.iter().map(|schedule| schedule.view()).collect())
    }

    /// One schedule.
    pub fn get(&self, name: &str) -> Result<ScheduleView> {
        let id: ScheduleId = name.parse().map_err(|_| not_found(name))?;
        let schedule = self.handle.inner().schedules.published().read(id)?;
        schedule.map(|schedule| schedule.view()).ok_or_else(|| not_found(name))
    }

    /// Deletes a schedule; what it started goes on. Resolves when it is durable.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let id: ScheduleId = name.parse().map_err(|_| not_found(name))?;
        let _declaring = self.handle.inner().declaring.lock().await;
        let known = self.handle.inner().schedules.published().read(id)?;
        if known.is_some_and(|known| known.given().origin == Origin::Config) {
            return Err(Error::OfConfig(id));
        }
        self.command(name, Event::DeleteRequested).await.map(drop)
    }

    /// Lets a schedule fire no more at its times.
    pub async fn pause(&self, name: &str) -> Result<ScheduleView> {
        let schedule = self.command(name, Event::PauseRequested).await?;
        schedule.map(|schedule| schedule.view()).ok_or_else(|| not_found(name))
    }

    /// Lets a schedule fire at its times again; those that it had meanwhile are not made up for.
    pub async fn resume(&self, name: &str) -> Result<ScheduleView> {
        let schedule = self.command(name, Event::ResumeRequested).await?;
        schedule.map(|schedule| schedule.view()).ok_or_else(|| not_found(name))
    }

    /// Fires now, also while it is paused. What runs is looked at as at any other time.
    pub async fn trigger(&self, name: &str) -> Result<Triggered> {
        let schedule = self.command(name, Event::Triggered).await?.ok_or_else(|| not_found(name))?;
        let newest = schedule.fires.iter().find(|fire| fire.number == schedule.number);
        if let Some(run) = newest.and_then(schedule::Fire::run) {
            self.until_there(run).await?;
        }
        Ok(Triggered { fire: newest.map(schedule::Fire::view), schedule: schedule.view() })
    }

    /// What was started is on its way durably; whoever is told its id shall find it.
    async fn until_there(&self, run: Run) -> Result<()> {
        let inner = self.handle.inner();
        let there = async {
            match run {
                Run::Job(id) => until_read(inner.jobs.published(), id).await,
                Run::Array(id) => until_read(inner.arrays.published(), id).await,
                Run::Instance(id) => until_read(inner.orchestrations.published(), id).await,
            }
        };
        // It comes later than usual, but it comes.
        tokio::time::timeout(REPLAY_PATIENCE, there).await.unwrap_or(Ok(())).map_err(Error::from)
    }

    async fn command(&self, name: &str, event: Event) -> Result<Option<Arc<Schedule>>> {
        let id: ScheduleId = name.parse().map_err(|_| not_found(name))?;
        let inner = self.handle.inner();
        inner.open()?;
        let answer = inner.schedules.deliver(id, event, Terms::default()).await;
        answer.map(|receipt| receipt.state).map_err(|error| of_shell(name, error))
    }

    /// The first `count` times (at most [`SCHEDULE_PREVIEW_MAX`]) that a schedule of this name would have behind
    /// `after`, by default from now on. What it starts may be left out.
    pub fn preview(
        &self,
        name: &str,
        spec: &Spec,
        after: Option<Timestamp>,
        count: usize,
    ) -> Result<Preview> {
        let now = self.handle.inner().clock.now();
        let faults = schedule::validate_times(name, spec, now);
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        let plan = Plan::of(name, spec).map_err(|error| {
            Error::Invalid(vec![FieldError { pointer: "/cron".to_owned(), message: error.to_string() }])
        })?;
        Ok(Preview { next: plan.upcoming(after.unwrap_or(now), count.min(SCHEDULE_PREVIEW_MAX)) })
    }
}

/// Resolves when there is such a machine.
async fn until_read<M: Machine>(published: &Arc<Published<M>>, id: M::Id) -> store::Result<()> {
    let wanted: Wanted<M> = Arc::new(|machine| machine.is_some());
    published.until(id, &wanted).await.map(drop)
}

/// What a schedule is to be given, with its secrets in the open.
struct Unsealed {
    spec: Spec,
    /// What it was given, and its secrets.
    known: Option<(Arc<Given>, BTreeMap<String, Secret>)>,
}

impl Unsealed {
    /// With its secrets sealed; in the old seal when they are the same, so that nothing is another one for it.
    fn sealed(mut self, handle: &Handle, origin: Origin) -> Given {
        let secrets = self.spec.job.as_mut().map(|job| job.take_secrets()).unwrap_or_default();
        let inner = handle.inner();
        if let Some((known, old)) = self.known
            && old == secrets
        {
            return Given { spec: self.spec.into(), vault: known.vault.clone(), seed: known.seed, origin };
        }
        let seed = inner.ids.job_id(inner.clock.now());
        let vault = (!secrets.is_empty()).then(|| inner.keyring.seal(seed, &secrets, inner.ids.as_ref()));
        Given { spec: self.spec.into(), vault, seed, origin }
    }
}

fn not_found(name: &str) -> Error {
    Error::NotFound(name.chars().take(crate::limits::NAME_CHARS_MAX).collect())
}

fn of_vault(error: OpenError) -> Error {
    let pointer = "/job/secrets".to_owned();
    Error::Invalid(vec![FieldError { pointer, message: error.to_string() }])
}

fn of_shell(name: &str, error: shell::Error<Rejected>) -> Error {
    match error {
        shell::Error::Missing => not_found(name),
        shell::Error::Rejected(rejected) => Error::Quarantined(rejected.to_string()),
        shell::Error::Store(error) => error.into(),
        shell::Error::Overloaded => AnyError::overloaded("too many requests are waiting").into(),
        _ => AnyError::Interrupted.into(),
    }
}
