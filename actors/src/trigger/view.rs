//! A trigger and its items as the public contract shows them. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::book::{Entry, Standing};
use super::object::Object;
use super::spec::{Source, Spec};
use super::state::{Origin, Phase, Run, Trigger};
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::limits::{TRIGGER_ITEMS_MAX, TRIGGER_KNOWN_MAX};
use crate::orchestration::InstanceId;

/// The states of a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerState {
    /// It starts something for what arrives.
    Active,
    /// It starts nothing for now.
    Paused,
    /// It goes when what is kept of it is deleted.
    Deleting,
    /// Its supervisor kept failing; declare it again to have it tried.
    Quarantined,
}

/// One trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TriggerView {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: TriggerState,
    /// Who declared it.
    pub origin: Origin,
    /// The spec; secrets are `null`.
    #[schema(value_type = Spec)]
    pub spec: Arc<Spec>,
    /// Counts the declarations that changed something.
    pub generation: u64,
    /// When it was first declared.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last declared.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Items that wait for room, or for their time.
    pub pending: u64,
    /// Items for which something runs.
    pub running: u64,
    /// Items that are dead letters.
    pub dead: u64,
    /// Versions of objects that are remembered, so that they do not fire again.
    pub known: u64,
    /// Items that ever arrived.
    pub arrived_total: u64,
    /// Jobs and instances that were ever started.
    pub started_total: u64,
    /// Items that were ever done.
    pub done_total: u64,
    /// Starts that ever came to nothing.
    pub failed_total: u64,
    /// Items that ever became dead letters.
    pub dead_lettered_total: u64,
    /// What is wrong with its source, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What it does now, in a sentence.
    pub message: String,
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TriggerItemState)]
pub enum ItemState {
    /// It waits for room.
    Pending,
    /// It waits for its time.
    Delayed,
    /// What was started for it is not over.
    Running,
    /// It is a dead letter.
    Dead,
    /// What was started for it ended well.
    Done,
}

/// An item of a trigger: a version of an object, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = TriggerItem)]
pub struct ItemView {
    /// Its number.
    pub id: u64,
    /// Where it stands.
    pub state: ItemState,
    /// What arrived, without its body.
    pub object: Object,
    /// When it arrived.
    #[schema(value_type = String, format = DateTime)]
    pub arrived_at: Timestamp,
    /// Until when it waits, or since when it is over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// How often something was started for it, since it was last taken back from the dead.
    pub deliveries: u32,
    /// The job that was submitted last.
    #[schema(value_type = Option<String>)]
    pub job: Option<JobId>,
    /// The instance that was started last.
    #[schema(value_type = Option<String>)]
    pub instance: Option<InstanceId>,
    /// How that failed.
    pub last_error: Option<String>,
}

impl Trigger {
    /// The trigger in the shape of the public contract.
    pub fn view(&self) -> TriggerView {
        let given = self.given();
        TriggerView {
            name: self.id.to_string(),
            state: match self.phase {
                Phase::Active => TriggerState::Active,
                Phase::Paused { .. } => TriggerState::Paused,
                Phase::Deleting => TriggerState::Deleting,
                Phase::Quarantined { .. } => TriggerState::Quarantined,
            },
            origin: given.origin,
            spec: Arc::clone(&given.spec),
            generation: self.generation,
            created_at: self.created_at,
            updated_at: self.updated_at,
            pending: self.counts.pending,
            running: self.counts.running,
            dead: self.counts.dead,
            known: self.counts.known,
            arrived_total: self.totals.arrived,
            started_total: self.totals.started,
            done_total: self.totals.done,
            failed_total: self.totals.failed,
            dead_lettered_total: self.totals.dead_lettered,
            fault: self.fault.clone(),
            message: self.sentence(),
        }
    }

    /// What it does now.
    fn sentence(&self) -> String {
        let counts = &self.counts;
        let held = counts.pending + counts.running + counts.dead;
        match &self.phase {
            Phase::Quarantined { reason } => {
                return format!(
                    "rests after repeated internal faults: {reason}; declare it again to have it tried"
                );
            }
            Phase::Deleting => return "is being deleted".to_owned(),
            Phase::Paused { since } => {
                return format!("is paused since {since}, and starts nothing; {} wait", counts.pending);
            }
            Phase::Active => {}
        }
        if let Some(fault) = &self.fault {
            return format!("cannot look at its source: {fault}");
        }
        if held >= TRIGGER_ITEMS_MAX as u64 {
            return format!("holds {held} items, as many as it may: see to its {} dead letters", counts.dead);
        }
        if counts.known >= TRIGGER_KNOWN_MAX as u64 {
            return format!(
                "remembers {} versions, as many as it may: remove from its source what is done",
                counts.known
            );
        }
        let waits = match self.spec().source() {
            Some(Source::Directory(directory)) => format!("looks at {}", directory.path),
            Some(Source::Bucket(bucket)) => format!("looks at the store `{}`", bucket.store),
            Some(Source::Http(_)) => "waits for requests".to_owned(),
            Some(Source::Queue(queue)) => format!("takes messages from the queue `{}`", queue.name),
            None => "has no source".to_owned(),
        };
        format!("{waits}; {} run, {} wait, {} are dead", counts.running, counts.pending, counts.dead)
    }
}

impl Entry {
    /// The item in the shape of the public contract.
    pub fn view(&self, id: u64) -> ItemView {
        let (state, at) = match self.standing {
            Standing::Pending => (ItemState::Pending, None),
            Standing::Delayed(until) => (ItemState::Delayed, Some(until)),
            Standing::Running => (ItemState::Running, None),
            Standing::Dead(at) => (ItemState::Dead, Some(at)),
            Standing::Done(at) => (ItemState::Done, Some(at)),
        };
        let (mut job, mut instance) = (None, None);
        match self.run {
            Some(Run::Job(id)) => job = Some(id),
            Some(Run::Instance(id)) => instance = Some(id),
            // A trigger submits no arrays.
            Some(Run::Array(_)) | None => {}
        }
        ItemView {
            id,
            state,
            object: self.object.without_body(),
            arrived_at: self.arrived_at,
            at,
            deliveries: self.deliveries,
            job,
            instance,
            last_error: self.error.as_ref().map(|error| error.to_string()),
        }
    }
}
