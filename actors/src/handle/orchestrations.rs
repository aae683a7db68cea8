//! What one may ask about orchestrations.
//!
//! As with jobs, a command resolves when it is durable, and reads show durable states only.

mod error;
mod listing;
mod record;
mod types;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use self::error::{Error, Result};
pub use self::record::Record;
pub use self::types::{
    FinishedFilter, Instance, InstanceFilter, InstancePage, Instances, Purged, Raise, Reads, StartOrder,
};
use super::{Handle, digest};
use crate::durable::batch::Terms;
use crate::durable::published::Wanted;
use crate::durable::{Machine, keys};
use crate::handle::FieldError;
use crate::id::Ids;
use crate::limits::{
    EVENT_KEPT_MAX, HISTORY_PAGE_MAX, ORCHESTRATION_NAME_CHARS_MAX, PURGE_BATCH_MAX, PURGE_PATIENCE,
    TAGS_MAX, WAIT_MAX,
};
use crate::orchestration::event::{Event, Start};
use crate::orchestration::executor::{Remote, stored};
use crate::orchestration::explain::{self, Explanation};
use crate::orchestration::history::{Action, Arrival, Entry, Outcome};
use crate::orchestration::id::DEFAULT_HUB;
use crate::orchestration::registry::is_small;
use crate::orchestration::state::{Orchestration, Phase};
use crate::orchestration::view::{HistoryEvent, InstanceView, events};
use crate::orchestration::{InstanceId, Payload, Status};
use crate::store::codec;

/// What one may ask about orchestrations. Every clone is of the same supervisor.
#[derive(Debug, Clone)]
pub struct Orchestrations {
    pub(super) handle: Handle,
}

impl Handle {
    /// What workers connect to, where [`Builder::workers`](crate::supervisor::Builder::workers) lets them.
    pub fn workers(&self) -> Option<&Remote> {
        self.inner().workers.as_ref()
    }

    /// What one may ask about orchestrations.
    pub fn orchestrations(&self) -> Orchestrations {
        Orchestrations { handle: self.clone() }
    }
}

impl Orchestrations {
    /// Starts an instance. Resolves when it is durable.
    pub async fn start(&self, order: StartOrder) -> Result<InstanceView> {
        self.handle.inner().open()?;
        let faults = faults(&order);
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        self.handle.inner().executor.knows(&order.name, order.version.as_deref())?;
        let id = order.id.map_or_else(|| self.random_id(DEFAULT_HUB), Ok)?;
        let event = Event::StartRequested(Box::new(Start {
            name: order.name,
            version: order.version,
            input: order.input,
            tags: order.tags,
            start_at: order.start_at,
            parent: None,
            parent_name: None,
            schedule: None,
            trigger: None,
            trace: order.trace,
            replaces: order.replaces,
        }));
        if !self.handle.has_task_hub(id.hub())? {
            return Err(Error::NoHub(id.hub().to_owned()));
        }
        let host = &self.handle.inner().orchestrations;
        let answer = match order.id {
            Some(_) => host.deliver(id, event, Terms::default()).await,
            None => host.create(id, event, Terms::default()).await,
        };
        let started = view(id, answer)?;
        self.handle.inner().counters.orchestrations.count();
        Ok(started)
    }

    /// An id that nobody has, in a task hub.
    pub fn random_id(&self, hub: &str) -> Result<InstanceId> {
        let mut bytes = [0; 16];
        let ids: &dyn Ids = self.handle.inner().ids.as_ref();
        ids.random(&mut bytes);
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        InstanceId::in_hub(hub, &text).map_err(|error| Error::of_id(&error))
    }

    fn state(&self, id: InstanceId) -> Result<Arc<Orchestration>> {
        let state = self.handle.inner().orchestrations.published().read(id)?;
        state.filter(|state| state.status().is_some()).ok_or(Error::NotFound(id))
    }

    /// One instance, with as much of it as is asked for.
    pub fn get(&self, id: InstanceId, reads: Reads) -> Result<InstanceView> {
        let instance = self.read(id, reads)?;
        instance.view().ok_or(Error::NotFound(id))
    }

    /// The same, as it is recorded.
    pub fn read(&self, id: InstanceId, reads: Reads) -> Result<Instance> {
        self.complete(self.state(id)?, reads)
    }

    /// A state with its input and output from its history.
    fn complete(&self, state: Arc<Orchestration>, reads: Reads) -> Result<Instance> {
        let (mut input, mut output) = (None, None);
        if reads.input
            && let Some(entry) = self.entry(&state, state.began)?
            && let Some(Arrival::Started(started)) = entry.arrivals.into_iter().next()
        {
            input = Some(started.input);
        }
        if reads.output && state.phase == Phase::Completed {
            output = self.output(&state)?;
        }
        Ok(Instance { state, input, output })
    }

    /// The result of the turn that was the last.
    fn output(&self, state: &Orchestration) -> Result<Option<Payload>> {
        // Nothing is recorded of an instance that is over.
        let last = self.entry(state, state.revision)?;
        let action = last.and_then(|entry| entry.turn).and_then(|mut turn| turn.actions.pop());
        Ok(match action {
            Some(Action::Complete(Outcome::Completed(output))) => Some(output),
            _ => None,
        })
    }

    fn entry(&self, state: &Orchestration, number: u64) -> Result<Option<Entry>> {
        let key = keys::history_entry::<Orchestration>(state.id, number);
        let Some(row) = self.handle.inner().store.get(&key)? else { return Ok(None) };
        Ok(Some(codec::decode(&key, &row)?.parse(&key)?))
    }

    /// The instance when it is over, or as it is after `patience` (at most [`WAIT_MAX`]).
    pub async fn wait(&self, id: InstanceId, patience: Duration) -> Result<InstanceView> {
        self.wait_for_status(id, patience, Status::is_terminal).await
    }

    /// The instance when its code has had its first turn, or as it is after `patience`.
    pub async fn wait_for_start(&self, id: InstanceId, patience: Duration) -> Result<InstanceView> {
        self.wait_for_status(id, patience, |status| status != Status::Pending).await
    }

    async fn wait_for_status(
        &self,
        id: InstanceId,
        patience: Duration,
        is_wanted: fn(Status) -> bool,
    ) -> Result<InstanceView> {
        let inner = self.handle.inner();
        // Where only events wait for it there is nobody to wait for.
        let is_wanted = move |state: &Orchestration| state.status().is_none_or(is_wanted);
        let state = inner.wait(inner.orchestrations.published(), id, patience, is_wanted).await?;
        self.waited(state.ok_or(Error::NotFound(id))?)
    }

    /// The instance when it is as wanted, or as it is after `patience` (at most [`WAIT_MAX`]); with its output. What is
    /// wanted may be anything: it is looked at after each change.
    pub async fn wait_for(
        &self,
        id: InstanceId,
        patience: Duration,
        is_wanted: impl Fn(&InstanceView) -> bool,
    ) -> Result<InstanceView> {
        let deadline = tokio::time::Instant::now() + patience.min(WAIT_MAX);
        let mut changes = self.handle.inner().orchestrations.published().watch(id);
        loop {
            let state = self.state(id)?;
            if state.view().is_some_and(|view| is_wanted(&view))
                || self.handle.inner().closing.load(Ordering::SeqCst)
                || tokio::time::timeout_at(deadline, changes.changed()).await.is_err()
            {
                return self.waited(self.state(id)?);
            }
        }
    }

    fn waited(&self, state: Arc<Orchestration>) -> Result<InstanceView> {
        let id = state.id;
        let instance = self.complete(state, Reads { input: false, output: true })?;
        instance.view().ok_or(Error::NotFound(id))
    }

    /// The instance, as it is recorded, once its status is as wanted, however long that takes, and whether there is one
    /// by then or not; with its input and output. For callers who give up by dropping it.
    pub async fn hold(&self, id: InstanceId, is_wanted: fn(Status) -> bool) -> Result<Instance> {
        let inner = self.handle.inner();
        let is_wanted = move |state: &Orchestration| state.status().is_some_and(is_wanted);
        let closing = Arc::clone(&inner.closing);
        let wanted: Wanted<Orchestration> =
            Arc::new(move |state| state.is_some_and(is_wanted) || closing.load(Ordering::SeqCst));
        loop {
            let until = inner.orchestrations.published().until(id, &wanted);
            let found = tokio::time::timeout(WAIT_MAX, until).await.ok().transpose()?.flatten();
            if let Some(state) = found.filter(|state| is_wanted(state)) {
                return self.complete(state, Reads::ALL);
            }
            inner.open()?;
        }
    }

    /// Raises an event. With an `id` of its own a repetition is applied once; with `keep` it waits for an instance
    /// that does not exist yet.
    pub async fn raise(&self, id: InstanceId, raise: Raise) -> Result<()> {
        if let Some(fault) = name_fault("/name", &raise.name) {
            return Err(Error::Invalid(vec![fault]));
        }
        is_small(&raise.data).map_err(|failure| Error::payload("/data", &failure))?;
        // An instance in the place of another one hears the same ids anew; the first one hears on what waited for it.
        let known = self.handle.inner().orchestrations.published().read(id)?;
        let started = known.map_or(1, |state| state.started.max(1)).to_string();
        let digest = raise.id.as_ref().map(|own| digest(&["raised", &started, own]));
        let now = self.handle.inner().clock.now();
        let keep_until = raise.keep.map(|keep| now.after(keep.min(EVENT_KEPT_MAX)));
        let event = Event::EventRaised { name: raise.name, data: raise.data, keep_until };
        self.deliver(id, event, Terms { digest, ..Terms::default() }).await.map(drop)
    }

    async fn deliver(&self, id: InstanceId, event: Event, terms: Terms) -> Result<Option<InstanceView>> {
        self.handle.inner().open()?;
        match self.handle.inner().orchestrations.deliver(id, event, terms).await {
            Ok(receipt) => Ok(receipt.state.and_then(|state| state.view())),
            Err(error) => Err(Error::of(id, error)),
        }
    }

    async fn command(&self, id: InstanceId, event: Event) -> Result<InstanceView> {
        self.deliver(id, event, Terms::default()).await?.ok_or(Error::NotFound(id))
    }

    /// Lets an instance pause: what arrives is kept until it is resumed. What it started goes on.
    pub async fn suspend(&self, id: InstanceId, reason: Option<String>) -> Result<InstanceView> {
        self.command(id, Event::SuspendRequested { reason }).await
    }

    /// Lets a suspended instance go on.
    pub async fn resume(&self, id: InstanceId, reason: Option<String>) -> Result<InstanceView> {
        self.command(id, Event::ResumeRequested { reason }).await
    }

    /// Ends an instance: its activities and jobs are stopped, with `recursive` its children are terminated, too. It is
    /// `terminated` once nothing of that runs any more.
    pub async fn terminate(
        &self,
        id: InstanceId,
        reason: Option<String>,
        recursive: bool,
    ) -> Result<InstanceView> {
        self.command(id, Event::TerminateRequested { reason, recursive }).await
    }

    /// Lets a failed instance go on from before its last failure; children that failed, too.
    pub async fn rewind(&self, id: InstanceId, reason: Option<String>) -> Result<InstanceView> {
        self.command(id, Event::RewindRequested { reason, start: None }).await
    }

    /// Tries what is blocked or parked again.
    pub async fn release(&self, id: InstanceId) -> Result<InstanceView> {
        self.command(id, Event::ReleaseRequested).await
    }

    /// Starts an instance that is over again, with the same input: under an id of its own, or in place of the old one.
    pub async fn restart(&self, id: InstanceId, with_new_id: bool) -> Result<InstanceView> {
        let Instance { state: old, input, .. } = self.read(id, Reads { input: true, output: false })?;
        let status = old.status().ok_or(Error::NotFound(id))?;
        if !status.is_terminal() {
            let message = "it is not over; terminate it first";
            return Err(Error::Conflict { id, status, message });
        }
        self.start(StartOrder {
            id: Some(if with_new_id { self.random_id(id.hub())? } else { id }),
            version: old.version.clone(),
            tags: old.tags.clone(),
            replaces: vec![Status::Completed, Status::Failed, Status::Terminated],
            ..StartOrder::new(old.name.clone(), input.unwrap_or_default())
        })
        .await
    }

    /// Deletes an instance that is over, with its children that are.
    pub async fn purge(&self, id: InstanceId) -> Result<u64> {
        self.purge_one(id, true).await
    }

    /// Deletes an instance that is over, `recursive` with its children that are.
    pub async fn purge_one(&self, id: InstanceId, recursive: bool) -> Result<u64> {
        self.state(id)?;
        let mut purged = 0;
        let mut left = vec![id];
        while let Some(next) = left.pop() {
            let children = if recursive { self.children(next)? } else { vec![] };
            match self.deliver(next, Event::PurgeRequested, Terms::default()).await {
                Ok(_) => purged += 1,
                // A child that goes on by itself stays.
                Err(Error::NotFound(_) | Error::Conflict { .. }) if next != id => continue,
                Err(error) => return Err(error),
            }
            left.extend(children);
        }
        Ok(purged)
    }

    /// Deletes those that are over and fit; as many as there is time for. Call it until it is complete.
    pub async fn purge_many(&self, filter: &InstanceFilter) -> Result<Purged> {
        self.purge_by(filter, true, None).await
    }

    /// The same, `recursive` with their children, and for as long as `patience` lasts.
    pub async fn purge_by(
        &self,
        filter: &InstanceFilter,
        recursive: bool,
        patience: Option<Duration>,
    ) -> Result<Purged> {
        let until = tokio::time::Instant::now() + patience.unwrap_or(PURGE_PATIENCE).min(PURGE_PATIENCE);
        let over = [Status::Completed, Status::Failed, Status::Terminated];
        let mut filter = filter.clone();
        filter.statuses.retain(|status| status.is_terminal());
        if filter.statuses.is_empty() {
            filter.statuses.extend(over);
        }
        let (mut deleted, mut cursor) = (0, None);
        while deleted < PURGE_BATCH_MAX as u64 && tokio::time::Instant::now() < until {
            let page = self.list(&InstanceFilter { cursor, ..filter.clone() })?;
            for instance in &page.instances {
                match self.purge_one(instance.id, recursive).await {
                    Ok(purged) => deleted += purged,
                    // Gone with its parent, or started again meanwhile.
                    Err(Error::NotFound(_) | Error::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(Purged { deleted, is_complete: true });
            }
        }
        Ok(Purged { deleted, is_complete: false })
    }

    /// The events of the current execution with a number greater than `after`, at most `limit`.
    pub fn history(&self, id: InstanceId, after: u64, limit: usize) -> Result<Vec<HistoryEvent>> {
        let state = self.state(id)?;
        let mut found = Vec::new();
        for entry in self.entries(&state, self.seek(&state, after)?) {
            let entry = entry?;
            found.extend(events(&entry).into_iter().filter(|event| event.seq > after));
            if found.len() >= limit.min(HISTORY_PAGE_MAX) {
                found.truncate(limit.min(HISTORY_PAGE_MAX));
                break;
            }
        }
        Ok(found)
    }

    /// The number of the first entry with an event behind `after`: numbers of events rise with those of entries.
    fn seek(&self, state: &Orchestration, after: u64) -> Result<u64> {
        let (mut low, mut high) = (state.began, state.revision + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let is_behind =
                self.entry(state, middle)?.is_some_and(|entry| entry.first + entry.len() > after + 1);
            if is_behind { high = middle } else { low = middle + 1 }
        }
        Ok(low)
    }

    /// The entries of the current execution from this number on.
    fn entries(&self, state: &Orchestration, from: u64) -> impl Iterator<Item = Result<Entry>> {
        stored::entries(&self.handle.inner().store, state, from).map(|entry| entry.map_err(Error::from))
    }

    /// Why an instance is not finished.
    pub fn explain(&self, id: InstanceId) -> Result<Explanation> {
        let state = self.state(id)?;
        let entries = self.entries(&state, state.began).collect::<Result<Vec<Entry>>>()?;
        let status = state.status().ok_or(Error::NotFound(id))?;
        let workers = self.handle.inner().executor.explain(&state);
        let mut explanation = explain::explain(&state, status, &entries, workers);
        self.explain_pools(&state, &mut explanation);
        Ok(explanation)
    }
}

fn view(id: InstanceId, answer: crate::durable::shell::Answer<Orchestration>) -> Result<InstanceView> {
    let receipt = answer.map_err(|error| Error::of(id, error))?;
    receipt.state.and_then(|state| state.view()).ok_or(Error::NotFound(id))
}

fn faults(order: &StartOrder) -> Vec<FieldError> {
    let mut faults: Vec<FieldError> = name_fault("/name", &order.name).into_iter().collect();
    let mut fault = |pointer: &str, message: String| {
        faults.push(FieldError { pointer: pointer.to_owned(), message });
    };
    if let Err(failure) = is_small(&order.input) {
        fault("/input", failure.message);
    }
    if order.version.as_ref().is_some_and(|version| version.is_empty() || version.len() > 64) {
        fault("/version", "a version has 1 to 64 characters".to_owned());
    }
    if order.tags.len() > TAGS_MAX {
        fault("/tags", format!("there are at most {TAGS_MAX} tags"));
    }
    for (key, value) in &order.tags {
        let is_good = (1..=crate::limits::KEY_CHARS_MAX).contains(&key.len())
            && value.len() <= crate::limits::LABEL_VALUE_BYTES_MAX
            && !key.contains(['=', '/'])
            && !key.chars().chain(value.chars()).any(char::is_control);
        if !is_good {
            let key: String = key.chars().take(64).collect();
            fault(
                "/tags",
                format!(
                    "the tag `{key}` is not valid: keys have 1 to {} bytes without = and /, values at most {}, and no control characters",
                    crate::limits::KEY_CHARS_MAX,
                    crate::limits::LABEL_VALUE_BYTES_MAX
                ),
            );
        }
    }
    faults
}

fn name_fault(pointer: &str, name: &str) -> Option<FieldError> {
    let is_good =
        (1..=ORCHESTRATION_NAME_CHARS_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    let message = format!("a name has 1 to {ORCHESTRATION_NAME_CHARS_MAX} bytes and no control characters");
    (!is_good).then(|| FieldError { pointer: pointer.to_owned(), message })
}

/// The kind under which instances are stored.
const KIND: &str = Orchestration::KIND;
