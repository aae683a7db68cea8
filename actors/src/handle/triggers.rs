//! What one may ask about triggers: declaring, looking, commanding.
//!
//! Not responsible for: calling one (`triggers/call.rs`), and its items (`triggers/items.rs`).

mod call;
mod items;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::call::Called;
pub use self::items::ItemPage;
use super::{Error as AnyError, FieldError, Handle};
use crate::bucket::Bucket;
use crate::durable::batch::Terms;
use crate::durable::{Machine, MachineId, keys, shell};
use crate::limits::{NAME_CHARS_MAX, TRIGGERS_MAX};
use crate::secret::{OpenError, Secret};
use crate::store::{self, KeyRange, Order};
use crate::trigger::{
    self, Event, Given, Origin, ParseTriggerIdError, Rejected, Spec, Trigger, TriggerId, TriggerView,
};

/// What one may ask about triggers. Every clone is of the same supervisor.
#[derive(Debug, Clone)]
pub struct Triggers {
    handle: Handle,
}

/// What may be answered instead of what was asked about triggers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none of this name.
    #[error("there is no trigger `{0}`; declare it with PUT /v1/triggers/{0}")]
    NotFound(String),
    /// It has no such item (any more).
    #[error("the trigger has no item `{0}` (any more)")]
    NoItem(String),
    /// It has no such dead letter (any more).
    #[error("there is no dead letter `{0}` at the trigger (any more)")]
    NoDeadLetter(String),
    /// It cannot be the name of one.
    #[error(transparent)]
    Name(#[from] ParseTriggerIdError),
    /// It cannot be accepted.
    #[error("the trigger is not valid: {}", .0.first().map_or_else(String::new, |field| format!("{} {}", field.pointer, field.message)))]
    Invalid(Vec<FieldError>),
    /// Its state does not allow it.
    #[error(transparent)]
    Rejected(Rejected),
    /// It is not called over HTTP.
    #[error("the trigger `{0}` has no `http`, and so no token")]
    NotCalled(TriggerId),
    /// The token is not that of this trigger; whether there is one is not said.
    #[error("this is not the token of the trigger; send it as `Authorization: Bearer <token>`")]
    Token,
    /// The configuration has it.
    #[error("the trigger `{0}` is declared in the configuration; change it there, and start dogwatch again")]
    OfConfig(TriggerId),
    /// A client has it.
    #[error(
        "the trigger `{0}` of the configuration was declared by a client before; delete that one, or give this one another name"
    )]
    OfApi(TriggerId),
    /// There are too many.
    #[error("there are {TRIGGERS_MAX} triggers, which is the limit; delete one first")]
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

/// The result of a request about triggers.
pub type Result<T> = std::result::Result<T, Error>;

/// A trigger that was declared.
#[derive(Debug, Clone)]
pub struct Declared {
    /// It.
    pub trigger: TriggerView,
    /// It was not there before.
    pub is_new: bool,
    /// Its token, where it is called over HTTP and was not before.
    pub token: Option<Secret>,
}

impl Handle {
    /// What one may ask about triggers.
    pub fn triggers(&self) -> Triggers {
        Triggers { handle: self.clone() }
    }
}

impl Triggers {
    /// Declares a trigger: creates it, or replaces what it was declared with; its items, what it remembers and whether it
    /// is paused stay. Secrets that are left empty stay what they were. Resolves when it is durable.
    pub async fn declare(&self, name: &str, spec: Spec) -> Result<Declared> {
        let id: TriggerId = name.parse()?;
        self.handle.inner().open()?;
        let _declaring = self.handle.inner().declaring.lock().await;
        self.declare_as(id, spec, Origin::Api).await
    }

    /// Makes the triggers of the configuration those that are declared in it: puts each of them, and removes those that
    /// came from it and are gone. What clients declared is not touched; a name that one of them has is an error.
    pub async fn reconcile(&self, declared: BTreeMap<TriggerId, Spec>) -> Result<()> {
        let inner = self.handle.inner();
        inner.open()?;
        let _declaring = inner.declaring.lock().await;
        let names: BTreeSet<TriggerId> = declared.keys().copied().collect();
        for (id, spec) in declared {
            self.declare_as(id, spec, Origin::Config).await?;
        }
        let all = self.all()?;
        let of_config = all.iter().filter(|trigger| trigger.given().origin == Origin::Config);
        for gone in of_config.filter(|trigger| !names.contains(&trigger.id)) {
            tracing::info!(trigger = %gone.id, "removed: the configuration has it no more");
            let answer = inner.triggers.deliver(gone.id, Event::DeleteRequested, Terms::default());
            answer.await.map_err(|error| of_shell(gone.id.as_str(), error))?;
        }
        Ok(())
    }

    async fn declare_as(&self, id: TriggerId, spec: Spec, origin: Origin) -> Result<Declared> {
        let inner = self.handle.inner();
        let known = inner.triggers.published().read(id)?;
        match known.as_ref().map(|known| known.given().origin) {
            Some(Origin::Config) if origin == Origin::Api => return Err(Error::OfConfig(id)),
            Some(Origin::Api) if origin == Origin::Config => return Err(Error::OfApi(id)),
            _ => {}
        }
        let unsealed = self.unsealed(spec, known.as_deref())?;
        let root = self.check(&unsealed.spec, origin)?;
        if known.is_none() && self.all()?.len() >= TRIGGERS_MAX {
            return Err(Error::TooMany);
        }
        let given = Box::new(unsealed.sealed(&self.handle, origin, root));
        let incarnation = inner.ids.job_id(inner.clock.now());
        let was_called = known.as_ref().is_some_and(|known| known.spec().http.is_some());
        let event = Event::Declared { given, incarnation };
        let receipt = inner.triggers.deliver(id, event, Terms::default()).await;
        let receipt = receipt.map_err(|error| of_shell(id.as_str(), error))?;
        let trigger = receipt.state.ok_or_else(|| not_found(id.as_str()))?;
        let is_called = trigger.spec().http.is_some() && !was_called;
        let token = is_called.then(|| self.token(&trigger));
        Ok(Declared { trigger: trigger.view(), is_new: known.is_none(), token })
    }

    /// What was sent, with the secrets that it leaves as they are.
    fn unsealed(&self, mut spec: Spec, known: Option<&Trigger>) -> Result<Unsealed> {
        let mut old = BTreeMap::new();
        if let Some(given) = known.map(Trigger::given)
            && let Some(vault) = &given.vault
        {
            old = self.handle.inner().keyring.open(given.seed, vault).map_err(of_vault)?;
        }
        if let Some(job) = &mut spec.job {
            let fresh = job.take_secrets();
            job.put_secrets(old.clone());
            job.put_secrets(fresh);
        }
        Ok(Unsealed { spec, known: known.map(|trigger| (Arc::clone(trigger.given()), old)) })
    }

    /// Whether it can be accepted; where its directory really is.
    fn check(&self, spec: &Spec, origin: Origin) -> Result<Option<String>> {
        let inner = self.handle.inner();
        let mut faults = trigger::validate(spec, &inner.policy);
        let mut fault = |pointer: &str, message: String| {
            faults.push(FieldError { pointer: pointer.to_owned(), message });
        };
        let mut root = None;
        if let Some(directory) = &spec.directory {
            let allowed = (origin == Origin::Api).then_some(inner.trigger_directories.as_slice());
            match real(&directory.path, allowed) {
                Ok(real) => root = Some(real),
                Err(message) => fault("/directory/path", message),
            }
        }
        if let Some(bucket) = &spec.bucket {
            let opened = inner.stores.get(&bucket.store).map(|config| Bucket::open(&bucket.store, config));
            match opened {
                None => fault(
                    "/bucket/store",
                    format!("there is no store `{}`; declare it in the configuration", shown(&bucket.store)),
                ),
                Some(Err(error)) => fault("/bucket/store", error.to_string()),
                Some(Ok(_)) => {}
            }
        }
        if let Some(queue) = &spec.queue {
            let id = queue.name.parse();
            let is_there = id.is_ok_and(|id| matches!(inner.queues.published().read(id), Ok(Some(_))));
            if !is_there {
                fault("/queue/name", format!("there is no queue `{}`; declare it first", shown(&queue.name)));
            }
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
        if faults.is_empty() { Ok(root) } else { Err(Error::Invalid(faults)) }
    }

    /// Their states, by name.
    pub(super) fn all(&self) -> Result<Vec<Arc<Trigger>>> {
        let prefix = keys::snapshots(Trigger::KIND);
        let inner = self.handle.inner();
        // No more are let in.
        let rows = inner.store.scan(KeyRange::prefix(prefix.clone()), Order::Ascending, TRIGGERS_MAX * 2)?;
        let ids = rows.iter().filter_map(|(key, _)| TriggerId::from_key(&key[prefix.len()..]));
        let mut triggers = Vec::new();
        for id in ids {
            triggers.extend(inner.triggers.published().read(id)?);
        }
        Ok(triggers)
    }

    /// All of them, by name.
    pub fn list(&self) -> Result<Vec<TriggerView>> {
        Ok(self.all()?.iter().map(|trigger| trigger.view()).collect())
    }

    /// One trigger.
    pub fn get(&self, name: &str) -> Result<TriggerView> {
        self.known(name).map(|trigger| trigger.view())
    }

    /// Deletes a trigger; what it started goes on. The trigger while what is kept of it is being deleted.
    pub async fn delete(&self, name: &str) -> Result<Option<TriggerView>> {
        let _declaring = self.handle.inner().declaring.lock().await;
        let known = self.known(name)?;
        if known.given().origin == Origin::Config {
            return Err(Error::OfConfig(known.id));
        }
        let left = self.command(name, Event::DeleteRequested).await?;
        Ok(left.map(|trigger| trigger.view()))
    }

    /// Lets a trigger start nothing, and look at its source no more. What is called is kept.
    pub async fn pause(&self, name: &str) -> Result<TriggerView> {
        let trigger = self.command(name, Event::PauseRequested).await?;
        trigger.map(|trigger| trigger.view()).ok_or_else(|| not_found(name))
    }

    /// Lets a trigger go on, with what arrived meanwhile.
    pub async fn resume(&self, name: &str) -> Result<TriggerView> {
        let trigger = self.command(name, Event::ResumeRequested).await?;
        trigger.map(|trigger| trigger.view()).ok_or_else(|| not_found(name))
    }

    /// Gives a trigger another token; the old one is good no more.
    pub async fn rotate(&self, name: &str) -> Result<Secret> {
        let known = self.known(name)?;
        if known.spec().http.is_none() {
            return Err(Error::NotCalled(known.id));
        }
        let trigger = self.command(name, Event::TokenRotated).await?.ok_or_else(|| not_found(name))?;
        Ok(self.token(&trigger))
    }

    async fn command(&self, name: &str, event: Event) -> Result<Option<Arc<Trigger>>> {
        let id: TriggerId = name.parse().map_err(|_| not_found(name))?;
        let inner = self.handle.inner();
        inner.open()?;
        let answer = inner.triggers.deliver(id, event, Terms::default()).await;
        answer.map(|receipt| receipt.state).map_err(|error| of_shell(name, error))
    }

    /// A trigger by what is published of it: quick, but its items may not be in memory.
    fn known(&self, name: &str) -> Result<Arc<Trigger>> {
        let id: TriggerId = name.parse().map_err(|_| not_found(name))?;
        self.handle.inner().triggers.published().read(id)?.ok_or_else(|| not_found(name))
    }

    /// A trigger with its items in memory.
    async fn whole(&self, name: &str) -> Result<Arc<Trigger>> {
        let trigger = self.known(name)?;
        if trigger.book().is_some() {
            return Ok(trigger);
        }
        self.handle.inner().triggers.rouse(trigger.id).await;
        let trigger = self.known(name)?;
        // It went to rest in this moment; who asks again finds it.
        if trigger.book().is_none() { Err(AnyError::Interrupted.into()) } else { Ok(trigger) }
    }
}

/// Where a directory really is, when it is there and may be looked at.
fn real(path: &str, allowed: Option<&[PathBuf]>) -> std::result::Result<String, String> {
    let shown = || path.chars().take(NAME_CHARS_MAX * 4).collect::<String>();
    let refused = || {
        format!(
            "`{}` is not below a directory of `security.trigger_directories`; name one there, or declare the trigger in the \
             configuration",
            shown()
        )
    };
    // What is elsewhere is not told apart from what is not there.
    let below = |path: &Path| {
        let is_below =
            |allowed: &PathBuf| allowed.canonicalize().is_ok_and(|allowed| path.starts_with(allowed));
        allowed.is_none_or(|allowed| allowed.iter().any(is_below))
    };
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if allowed.is_none() => return Err(format!("`{}`: {error}", shown())),
        Err(_) => {
            let is_named =
                |allowed: &[PathBuf]| allowed.iter().any(|allowed| Path::new(path).starts_with(allowed));
            let is_named = allowed.is_some_and(is_named);
            return Err(if is_named {
                format!("`{}` is no directory that is there", shown())
            } else {
                refused()
            });
        }
    };
    if !below(&real) {
        return Err(refused());
    }
    if !real.is_dir() {
        return Err(format!("`{}` is no directory", shown()));
    }
    real.into_os_string().into_string().map_err(|_| format!("`{}` has a name that is no UTF-8", shown()))
}

/// What a trigger is to be given, with its secrets in the open.
struct Unsealed {
    spec: Spec,
    /// What it was given, and its secrets.
    known: Option<(Arc<Given>, BTreeMap<String, Secret>)>,
}

impl Unsealed {
    /// With its secrets sealed; in the old seal when they are the same, so that nothing is another one for it.
    fn sealed(mut self, handle: &Handle, origin: Origin, root: Option<String>) -> Given {
        let secrets = self.spec.job.as_mut().map(|job| job.take_secrets()).unwrap_or_default();
        let inner = handle.inner();
        if let Some((known, old)) = self.known
            && old == secrets
        {
            return Given {
                spec: self.spec.into(),
                vault: known.vault.clone(),
                seed: known.seed,
                origin,
                root,
            };
        }
        let seed = inner.ids.job_id(inner.clock.now());
        let vault = (!secrets.is_empty()).then(|| inner.keyring.seal(seed, &secrets, inner.ids.as_ref()));
        Given { spec: self.spec.into(), vault, seed, origin, root }
    }
}

/// As much of what was asked for as an answer repeats.
fn shown(text: &str) -> String {
    text.chars().take(NAME_CHARS_MAX).collect()
}

fn not_found(name: &str) -> Error {
    Error::NotFound(shown(name))
}

fn of_vault(error: OpenError) -> Error {
    let pointer = "/job/secrets".to_owned();
    Error::Invalid(vec![FieldError { pointer, message: error.to_string() }])
}

fn of_shell(name: &str, error: shell::Error<Rejected>) -> Error {
    match error {
        shell::Error::Missing => not_found(name),
        shell::Error::Rejected(rejected) => Error::Rejected(rejected),
        shell::Error::Store(error) => error.into(),
        shell::Error::Overloaded => AnyError::overloaded("too many requests are waiting").into(),
        _ => AnyError::Interrupted.into(),
    }
}
