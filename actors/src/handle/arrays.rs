//! What one may ask about array jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Claim, Command, Error as AnyError, FieldError, Filter, Handle};
use crate::array::{self, Array, ArrayId, ArrayView, Event, Given, Rejected};
use crate::durable::batch::Terms;
use crate::durable::{Machine, MachineId as _, keys, shell};
use crate::id::JobId;
use crate::job::spec::Spec;
use crate::limits::{ARRAY_PAGE_MAX, LIST_PAGE_MAX};
use crate::store::{self, KeyRange, Order};

/// What one may ask about array jobs. Every clone is of the same supervisor.
#[derive(Debug, Clone)]
pub struct Arrays {
    handle: Handle,
}

/// What may be answered instead of what was asked about arrays.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such array (any more).
    #[error("there is no array {0}; it may have been purged")]
    NotFound(ArrayId),
    /// Its state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// What may be answered to any request.
    #[error(transparent)]
    Other(#[from] AnyError),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Other(AnyError::of_store(error))
    }
}

/// The result of a request about arrays.
pub type Result<T> = std::result::Result<T, Error>;

/// A page of arrays, newest first.
#[derive(Debug, Clone)]
pub struct ArrayPage {
    /// The arrays.
    pub arrays: Vec<ArrayView>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<ArrayId>,
}

impl Handle {
    /// What one may ask about array jobs.
    pub fn arrays(&self) -> Arrays {
        Arrays { handle: self.clone() }
    }
}

impl Arrays {
    /// Validates and commits an array: a spec whose `array` says how many children it has. Resolves when it is durable;
    /// whether it was submitted before with the same idempotency key.
    pub async fn submit(
        &self,
        mut spec: Spec,
        idempotency: Option<(String, Value)>,
    ) -> Result<(ArrayView, bool)> {
        let inner = self.handle.inner();
        self.handle.admit()?;
        let Some(array) = spec.array.take() else {
            let message = "is missing; give it a `size`".to_owned();
            return Err(
                AnyError::InvalidSpec(vec![FieldError { pointer: "/array".to_owned(), message }]).into()
            );
        };
        let faults = array::validate(&spec, &array, &inner.policy);
        if !faults.is_empty() {
            return Err(AnyError::InvalidSpec(faults).into());
        }
        let id = ArrayId::new(inner.ids.job_id(inner.clock.now()));
        let claim = idempotency.map(|(key, body)| self.handle.claim(id.seal(), &key, &body)).transpose()?;
        let secrets = spec.take_secrets();
        let vault =
            (!secrets.is_empty()).then(|| inner.keyring.seal(id.seal(), &secrets, inner.ids.as_ref()));
        let digest = claim.as_ref().map(|claim| claim.digest.clone());
        let given = Given { spec: Arc::new(spec), array, vault, claim: digest, fire: None };
        let terms = Terms { claim: claim.as_ref().map(Claim::row), ..Terms::default() };
        match inner.arrays.create(id, Event::Submitted(Box::new(given)), terms).await {
            Ok(receipt) => Ok((view(id, receipt)?, false)),
            Err(shell::Error::Claimed(row)) => Ok((self.replay(claim.as_ref(), &row)?, true)),
            Err(error) => Err(of_shell(id, error)),
        }
    }

    /// The key was used before: the same array when the body is the same.
    fn replay(&self, claim: Option<&Claim>, row: &[u8]) -> Result<ArrayView> {
        let (id, fingerprint) = row.split_first_chunk::<16>().ok_or(AnyError::Interrupted)?;
        let id = JobId::from_bytes(*id);
        if claim.is_none_or(|claim| claim.fingerprint != *fingerprint) {
            return Err(AnyError::IdempotencyMismatch(id).into());
        }
        match self.get(ArrayId::new(id)) {
            // The claim is durable a moment before the array is shown.
            Err(Error::NotFound(_)) => Err(AnyError::Interrupted.into()),
            found => found,
        }
    }

    fn state(&self, id: ArrayId) -> Result<Arc<Array>> {
        self.handle.inner().arrays.published().read(id)?.ok_or(Error::NotFound(id))
    }

    /// One array.
    pub fn get(&self, id: ArrayId) -> Result<ArrayView> {
        Ok(self.state(id)?.view())
    }

    /// The array when it is over, or as it is after `patience` (at most [`WAIT_MAX`](crate::limits::WAIT_MAX)).
    pub async fn wait(&self, id: ArrayId, patience: Duration) -> Result<ArrayView> {
        let inner = self.handle.inner();
        let is_over = |array: &Array| array.state().is_terminal();
        let array = inner.wait(inner.arrays.published(), id, patience, is_over).await?;
        Ok(array.ok_or(Error::NotFound(id))?.view())
    }

    /// A page of arrays, newest first: those behind `before`.
    pub fn list(&self, before: Option<ArrayId>, limit: usize) -> Result<ArrayPage> {
        let (inner, limit) = (self.handle.inner(), limit.clamp(1, ARRAY_PAGE_MAX));
        let prefix = keys::snapshots(Array::KIND);
        let mut range = KeyRange::prefix(prefix.clone());
        if let Some(before) = before {
            range = range.before(&keys::snapshot::<Array>(before));
        }
        let rows = inner.store.scan(range, Order::Descending, limit + 1)?;
        let ids: Vec<ArrayId> =
            rows.iter().filter_map(|(key, _)| ArrayId::from_key(&key[prefix.len()..])).collect();
        let mut arrays = Vec::new();
        for id in ids.iter().take(limit) {
            arrays.extend(inner.arrays.published().read(*id)?.map(|array| array.view()));
        }
        let next = ids.get(limit - 1).copied().filter(|_| ids.len() > limit);
        Ok(ArrayPage { arrays, next })
    }

    /// Commits a command to an array; `restart` is none of them. Resolves when it is durable.
    pub async fn command(&self, id: ArrayId, command: Command) -> Result<ArrayView> {
        let event = match command {
            Command::Cancel => Event::CancelRequested,
            Command::Suspend => Event::SuspendRequested,
            Command::Resume => Event::ResumeRequested,
            Command::Retry => Event::RetryRequested,
            Command::Restart => {
                return Err(Error::Conflict(
                    "an array is not restarted; retry it when it is over".to_owned(),
                ));
            }
        };
        view(id, self.deliver(id, event).await?)
    }

    async fn deliver(&self, id: ArrayId, event: Event) -> Result<shell::Receipt<Array>> {
        self.handle.inner().open()?;
        let answer = self.handle.inner().arrays.deliver(id, event, Terms::default()).await;
        answer.map_err(|error| of_shell(id, error))
    }

    /// Deletes an array that is over, with its children and all that was kept of them.
    pub async fn purge(&self, id: ArrayId) -> Result<()> {
        if !self.state(id)?.state().is_terminal() {
            return Err(Error::Conflict("the array is not over; cancel it first".to_owned()));
        }
        let labels = BTreeMap::from([(array::LABEL.to_owned(), id.to_string())]);
        let mut before = None;
        loop {
            let filter = Filter { labels: labels.clone(), limit: LIST_PAGE_MAX, before, ..Filter::default() };
            let page = self.handle.list(&filter)?;
            for job in page.jobs {
                match self.handle.purge(job.id).await {
                    Ok(()) | Err(AnyError::NotFound(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        self.deliver(id, Event::PurgeRequested).await.map(drop)
    }
}

fn view(id: ArrayId, receipt: shell::Receipt<Array>) -> Result<ArrayView> {
    receipt.state.map(|array| array.view()).ok_or(Error::NotFound(id))
}

fn of_shell(id: ArrayId, error: shell::Error<Rejected>) -> Error {
    match error {
        shell::Error::Missing => Error::NotFound(id),
        shell::Error::Rejected(rejected) => Error::Conflict(rejected.to_string()),
        shell::Error::Store(error) => error.into(),
        shell::Error::Overloaded => AnyError::overloaded("too many requests are waiting").into(),
        shell::Error::Parked(cause) => AnyError::Parked(id.seal(), cause).into(),
        shell::Error::Claimed(_) | shell::Error::Lost => AnyError::Interrupted.into(),
    }
}
