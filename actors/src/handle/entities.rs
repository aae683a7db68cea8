//! What one may ask about entities.
//!
//! As with jobs, a command resolves when it is durable, and reads show durable states only.

mod error;
mod listing;
mod types;

use std::sync::Arc;

use tokio::time::timeout;

pub use self::error::{Error, Result};
use self::listing::Scan;
pub use self::types::{Clean, Cleaned, EntityFilter, EntityPage, EntityView};
use super::{Handle, digest};
use crate::durable::batch::Terms;
use crate::durable::published::Published;
use crate::entity::event::{Caller, Event, PurgeCondition, Unlock};
use crate::entity::{Entity, EntityId, Signal, stored};
use crate::handle::{self, FieldError};
use crate::id::Ids;
use crate::limits::{ENTITY_BACKLOG_MAX, EVENT_SETTLE_MAX, ORCHESTRATION_NAME_CHARS_MAX};
use crate::orchestration::Payload;
use crate::orchestration::registry::is_small;
use crate::orchestration::state::Status;
use crate::store;

/// What one may ask about entities. Every clone is of the same supervisor.
#[derive(Debug, Clone)]
pub struct Entities {
    handle: Handle,
}

impl Handle {
    /// What one may ask about entities.
    pub fn entities(&self) -> Entities {
        Entities { handle: self.clone() }
    }
}

impl Entities {
    /// Has an entity do something, without an answer; it need not exist before. Resolves when that is durable. With a
    /// request id a repetition within [`crate::limits::ENTITY_REQUESTS_KEPT`] is applied once.
    pub async fn signal(&self, id: EntityId, signal: Signal) -> Result<()> {
        let faults = faults(&signal);
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        if !self.handle.has_task_hub(id.hub())? {
            return Err(Error::NoHub(id.hub().to_owned()));
        }
        if self.read(id)?.is_some_and(|entity| entity.backlog() >= ENTITY_BACKLOG_MAX) {
            let message = format!("{ENTITY_BACKLOG_MAX} operations wait at the entity `{id}` already");
            return Err(handle::Error::overloaded(message).into());
        }
        let digest = signal.request_id.as_ref().map(|own| digest(&["signal", own]));
        let operation = signal.requested(None, || self.random_request());
        let event = Event::OperationRequested(Box::new(operation));
        self.deliver(id, event, Terms { digest, ..Terms::default() }).await
    }

    /// A request id that nobody has.
    fn random_request(&self) -> String {
        let mut bytes = [0; 16];
        let ids: &dyn Ids = self.handle.inner().ids.as_ref();
        ids.random(&mut bytes);
        super::hex(&bytes)
    }

    async fn deliver(&self, id: EntityId, event: Event, terms: Terms) -> Result<()> {
        self.handle.inner().open()?;
        let answer = self.handle.inner().entities.deliver(id, event, terms).await;
        answer.map(drop).map_err(|error| Error::of(id, error))
    }

    fn published(&self) -> &Arc<Published<Entity>> {
        self.handle.inner().entities.published()
    }

    fn read(&self, id: EntityId) -> Result<Option<Arc<Entity>>> {
        Ok(self.published().read(id)?)
    }

    /// One entity, with its state where that is asked for; `None` where there is nothing to it: no state, nothing that
    /// waits, and nobody who holds it.
    pub async fn get(&self, id: EntityId, with_state: bool) -> Result<Option<EntityView>> {
        match self.read(id)?.filter(|entity| !entity.is_empty()) {
            Some(entity) => self.view(entity, with_state).await,
            None => Ok(None),
        }
    }

    async fn view(&self, entity: Arc<Entity>, with_state: bool) -> Result<Option<EntityView>> {
        if !with_state || entity.state.is_none() {
            return Ok(Some(EntityView::of(&entity, None)));
        }
        let read = self.with_state(entity).await?;
        Ok(read.map(|(entity, state)| EntityView::of(&entity, Some(state).filter(|state| !state.is_none()))))
    }

    /// An entity with its state. What a snapshot names is gone once a newer one is about to take its place: then that
    /// is waited for.
    async fn with_state(&self, mut entity: Arc<Entity>) -> Result<Option<(Arc<Entity>, Payload)>> {
        let id = entity.id;
        let mut changes = self.published().watch(id);
        loop {
            if let Some(state) = stored::state(self.handle.inner().store.as_ref(), &entity)? {
                return Ok(Some((entity, state)));
            }
            let mut is_late = false;
            let newer = loop {
                match self.read(id)? {
                    None => return Ok(None),
                    Some(newer) if newer.state != entity.state => break newer,
                    Some(_) if is_late => {
                        let lost =
                            format!("the state of the entity {id} is missing; see `dogwatch doctor --store`");
                        return Err(store::Error::Corrupt(lost.into()).into());
                    }
                    Some(_) => is_late = timeout(EVENT_SETTLE_MAX, changes.changed()).await.is_err(),
                }
            };
            entity = newer;
        }
    }

    /// Deletes an entity with its state and the signals that wait for their time. One that is in use is not deleted,
    /// unless its actor kept panicking: then what waits goes with it, and calls among that are never answered.
    pub async fn purge(&self, id: EntityId) -> Result<()> {
        self.deliver(id, Event::PurgeRequested { condition: PurgeCondition::Idle }, Terms::default()).await
    }

    /// Deletes all entities of a task hub, whatever they do.
    pub async fn clear(&self, hub: &str) -> Result<()> {
        let mut cursor = None;
        loop {
            let Scan { ids, next } = self.scan(Some(hub), None, cursor.as_deref())?;
            for id in ids {
                let event = Event::PurgeRequested { condition: PurgeCondition::Always };
                match self.deliver(id, event, Terms::default()).await {
                    Ok(()) | Err(Error::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            match next {
                Some(last) => cursor = Some(last.to_string()),
                None => return Ok(()),
            }
        }
    }

    /// Lets an entity go on whose actor kept panicking.
    pub async fn release(&self, id: EntityId) -> Result<()> {
        self.deliver(id, Event::ReleaseRequested, Terms::default()).await
    }

    /// Deletes entities without anything to them, and takes entities from owners that are gone or over. As many as
    /// there is time for: call it with the cursor that it gives until it gives none.
    pub async fn clean(&self, clean: &Clean) -> Result<Cleaned> {
        let scan = self.scan(clean.hub.as_deref(), None, clean.cursor.as_deref())?;
        let mut cleaned = Cleaned { next: scan.next.map(|id| id.to_string()), ..Cleaned::default() };
        for id in scan.ids {
            let Some(entity) = self.read(id)? else { continue };
            if let Some(lock) = entity.lock.as_ref().filter(|_| clean.release_orphaned_locks)
                && self.is_gone(lock.owner)?
            {
                let unlock = Unlock { section: lock.section.clone(), owner: lock.owner, follows: true };
                self.deliver(id, Event::OwnerGone(Box::new(unlock)), Terms::default()).await?;
                cleaned.released += 1;
            }
            if clean.remove_empty && self.read(id)?.is_some_and(|entity| entity.is_empty()) {
                let event = Event::PurgeRequested { condition: PurgeCondition::Empty };
                match self.deliver(id, event, Terms::default()).await {
                    Ok(()) => cleaned.removed += 1,
                    // Somebody needs it after all, or was faster.
                    Err(Error::InUse(_) | Error::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(cleaned)
    }

    /// Whether an execution is over, or was never heard of.
    fn is_gone(&self, caller: Caller) -> Result<bool> {
        let instance = self.handle.inner().orchestrations.published().read(caller.instance)?;
        Ok(instance.is_none_or(|instance| {
            (instance.created_at, instance.execution) != (caller.created_at, caller.execution)
                || instance.status().is_none_or(Status::is_terminal)
        }))
    }
}

fn faults(signal: &Signal) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let is_name = (1..=ORCHESTRATION_NAME_CHARS_MAX).contains(&signal.operation.len())
        && !has_control(&signal.operation);
    let mut fault = |pointer: &str, message: String| {
        faults.push(FieldError { pointer: pointer.to_owned(), message });
    };
    if !is_name {
        let most = ORCHESTRATION_NAME_CHARS_MAX;
        fault(
            "/operation",
            format!("an operation has a name of 1 to {most} bytes and no control characters"),
        );
    }
    if let Err(failure) = is_small(&signal.input) {
        fault("/input", failure.message);
    }
    faults
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}
