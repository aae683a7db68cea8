//! What runs the code of entities.
//!
//! The machine decides what comes next; an [`EntityExecutor`] has it run, and tells what came of it. What is not an
//! operation, a lock request or an unlock, is no affair of any executor: it is read and told to the machine here.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;

use super::batch::Gate;
use super::event::{Effect, Event};
use super::id::EntityId;
use super::state::Entity;
use super::stored;
use crate::clock::Clock;
use crate::durable::Perform;
use crate::durable::host::{Host, WeakHost};
use crate::durable::published::Published;
use crate::durable::shell::{Answer, Error};
use crate::store::{self, Store};
use crate::supervise::panic_text;

/// The pause before what could not be read or stored is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Entries that are read before others have their turn.
const PAGE: usize = 256;

/// What runs the code of entities. Every method returns at once; what comes of it comes back as an event.
///
/// A batch is read with [`stored::batch`] from the state that is published, run, and told with [`EntityMail::insist`]
/// as [`Event::BatchEnded`]. One that cannot be run now is kept, and tried again later: it is asked for anew only when
/// the process starts again.
pub trait EntityExecutor: fmt::Debug + Send + Sync + 'static {
    /// Runs the operations that come next, as batch `number`. May be asked again for the same one, and must not run it
    /// twice at the same time; a higher number says that the lower ones are over.
    fn run_batch(&self, id: EntityId, number: u64);

    /// Lets go of what is in memory of an entity's batch: nobody wants to hear of it any more.
    fn forget(&self, id: EntityId);
}

/// What an executor works with.
#[derive(Clone)]
pub struct EntityParts {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where histories are.
    pub store: Arc<dyn Store>,
    /// The durable states.
    pub published: Arc<Published<Entity>>,
    /// The way back.
    pub mail: Arc<EntityMail>,
}

impl fmt::Debug for EntityParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityParts").finish_non_exhaustive()
    }
}

/// The executor of those who have no code: what is to be done waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWorkers;

impl EntityExecutor for NoWorkers {
    fn run_batch(&self, _: EntityId, _: u64) {}

    fn forget(&self, _: EntityId) {}
}

/// The way back into the entities' mailboxes; open once the host has started.
#[derive(Debug, Default)]
pub struct EntityMail {
    /// Weak, because the host owns its performer and that the executor.
    host: OnceLock<WeakHost<Entity>>,
}

impl EntityMail {
    /// Opens the way. Later calls change nothing.
    pub fn open(&self, host: &Host<Entity>) {
        drop(self.host.set(host.downgrade()));
    }

    /// Tells an entity something and waits until it is durable; `None` when everything ends.
    pub async fn ask(&self, id: EntityId, event: Event) -> Option<Answer<Entity>> {
        let host = self.host.get().and_then(WeakHost::upgrade)?;
        Some(host.ask(id, event).await)
    }

    /// The same, again and again until it is durable or refused for good; its state afterwards, where there is one. For
    /// what may be told twice, as the end of a batch.
    pub async fn insist(&self, id: EntityId, event: Event) -> Option<Arc<Entity>> {
        loop {
            match self.ask(id, event.clone()).await? {
                Ok(receipt) => return receipt.state,
                Err(Error::Missing | Error::Rejected(_) | Error::Parked(_)) => return None,
                Err(Error::Store(error)) => {
                    tracing::error!(entity = %id, %error, "the store refuses; trying again");
                }
                Err(Error::Lost | Error::Overloaded | Error::Claimed(_)) => {}
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}

/// Performs what entities ask for, by an executor.
#[derive(Debug, Clone)]
pub struct EntityPerformer {
    executor: Arc<dyn EntityExecutor>,
    parts: EntityParts,
}

impl EntityPerformer {
    /// A performer for `executor`, over the same parts.
    pub fn new(executor: Arc<dyn EntityExecutor>, parts: EntityParts) -> Self {
        Self { executor, parts }
    }

    /// Finds out what comes next, again and again until it is known.
    fn look(&self, id: EntityId, number: u64) {
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                match AssertUnwindSafe(this.look_once(id, number)).catch_unwind().await {
                    Ok(Ok(true)) => return,
                    Ok(Ok(false)) => {}
                    Ok(Err(error)) => {
                        tracing::error!(entity = %id, %error, "the store refuses; trying again");
                    }
                    Err(panic) => {
                        let cause = panic_text(&*panic);
                        tracing::error!(entity = %id, cause, "looking for what comes next panicked; trying again");
                    }
                }
                tokio::time::sleep(RETRY_AFTER).await;
            }
        });
    }

    /// Whether there is nothing more to find out.
    async fn look_once(&self, id: EntityId, number: u64) -> store::Result<bool> {
        let EntityParts { store, published, mail, .. } = &self.parts;
        let Some(entity) = published.read(id)?.filter(|entity| entity.runs(number)) else { return Ok(true) };
        let event = if entity.unsearched.is_empty() {
            match stored::gate(store.as_ref(), &entity)? {
                Some(Gate::Open) => {
                    self.executor.run_batch(id, number);
                    return Ok(true);
                }
                Some(Gate::Lock(entry, request)) => Event::LockReached { number, entry, request },
                Some(Gate::Unlock(entry, unlock)) => Event::UnlockReached { number, entry, unlock },
                // A newer state is about to be published.
                None => return Ok(false),
            }
        } else {
            match self.search(&entity).await? {
                Some(entries) => Event::OwnFound { number, entries },
                None => return Ok(false),
            }
        };
        drop(mail.insist(id, event).await);
        Ok(true)
    }

    /// What of the lock's owner came before the owner had the lock; `None` when it is gone.
    async fn search(&self, entity: &Entity) -> store::Result<Option<Vec<u64>>> {
        let (Some(lock), mut found) = (&entity.lock, Vec::new()) else { return Ok(Some(vec![])) };
        let entries: Vec<u64> = entity.unsearched.iter().collect();
        for page in entries.chunks(PAGE) {
            let Some(own) = stored::own(self.parts.store.as_ref(), entity, lock, page)? else {
                return Ok(None);
            };
            found.extend(own);
            tokio::task::yield_now().await;
        }
        Ok(Some(found))
    }
}

impl Perform<Entity> for EntityPerformer {
    fn perform(&self, id: EntityId, entity: &Entity, effect: Effect) {
        match effect {
            Effect::RunBatch { number } if entity.meets_gate() => self.look(id, number),
            Effect::RunBatch { number } => self.executor.run_batch(id, number),
            Effect::Forget => self.executor.forget(id),
        }
    }

    fn purged(&self, id: EntityId) {
        self.executor.forget(id);
    }
}
