//! The job as a [`Machine`]: what the durable shell needs to know of it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::draft::Draft;
use super::effect::{Come, Effect};
use super::event::Event;
use super::state::{Given, Job, Phase, ServicePhase};
use super::transition::{self, Applied, Rejected};
use super::view::HistoryEntry;
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine, Message, Step, keys};
use crate::files::sweep;
use crate::id::JobId;
use crate::limits::INFRASTRUCTURE_BUDGET;
use crate::store::Key;
use crate::store::codec::Record;
use crate::usage::{Usage, charge};
use crate::webhook;

impl Machine for Job {
    const KIND: &'static str = "job";
    const VERSION: u8 = 2;
    const HAS_GIVEN: bool = true;

    type Id = JobId;
    type Event = Event;
    type Effect = Effect;
    type Record = HistoryEntry;
    type Given = Given;
    type Rejection = Rejected;

    fn create(id: JobId, event: &Event, now: Timestamp) -> Option<Result<Step<Self>, Rejected>> {
        let Event::Submitted(submitted) = event else { return None };
        let job = Self {
            id,
            revision: 0,
            given: Arc::new(Given {
                spec: Arc::clone(&submitted.spec),
                vault: submitted.vault.clone(),
                claim: submitted.claim.clone(),
                parent: submitted.parent.clone(),
            }),
            // The same moment by which it is found in the index of ids.
            created_at: id.made_at().unwrap_or(now),
            started_at: None,
            clock_from: None,
            phase: Phase::Suspended,
            attempts: vec![],
            attempt: 0,
            spent: 0,
            streak: 0,
            trouble: None,
            failing_probes: BTreeMap::new(),
            failing_since: None,
            progress: None,
            output: None,
            events_received: 0,
            place: None,
            usage: Usage::default(),
            charged: 0,
        };
        let mut draft = Draft::of(&job, now);
        if !job.given.spec.suspended {
            draft.admit();
        }
        Some(Ok(step(draft, event)))
    }

    fn apply(&self, event: &Event, now: Timestamp) -> Result<Step<Self>, Rejected> {
        Ok(match transition::apply(self, event, now)? {
            Applied::Unchanged(effects) => Step::unchanged(effects),
            Applied::Changed(draft) => step(*draft, event),
            Applied::Purge => Step { change: Change::Purge, effects: vec![], outbox: self.last_messages() },
        })
    }

    fn resume(&self) -> Vec<Effect> {
        self.resume_effects()
    }

    fn deadline(&self) -> Option<Timestamp> {
        let phase_due = match &self.phase {
            Phase::Delayed { until }
            | Phase::BackingOff { until }
            | Phase::AwaitingCallback { until, .. } => Some(*until),
            Phase::Queued { since } => {
                self.given.spec.queue_timeout.map(|limit| since.after(limit.as_duration()))
            }
            Phase::Starting => {
                self.trouble.as_ref().map(|trouble| trouble.since.after(INFRASTRUCTURE_BUDGET))
            }
            Phase::Running { service, .. } => {
                let service_due = service.as_ref().and_then(|service| match service {
                    ServicePhase::Starting { next_at, .. } => Some(*next_at),
                    ServicePhase::Started { poll_at, .. } => *poll_at,
                });
                earliest(service_due, self.attempt_timeout_at())
            }
            Phase::Stopping { stop_at, .. } => *stop_at,
            Phase::Suspended => None,
            Phase::Finished(outcome) => {
                self.given.spec.ttl_after_finished.map(|ttl| outcome.at.after(ttl.as_duration()))
            }
        };
        earliest(phase_due, self.timeout_at())
    }

    fn tick() -> Event {
        Event::Ticked
    }

    fn quarantine(reason: String) -> Event {
        Event::Quarantined { reason }
    }

    fn releases(event: &Event) -> bool {
        matches!(event, Event::RetryRequested)
    }

    fn given(&self) -> Option<&Given> {
        Some(&self.given)
    }

    fn with_given(mut self, given: Given) -> Self {
        self.given = Arc::new(given);
        self
    }

    /// In version 1 what a job was given stood in its snapshot.
    fn upgrade(record: &Record<'_>) -> Result<Self, String> {
        let version = record.version;
        if version != 1 {
            return Err(format!("version {version} of a job is not known here; use a newer dogwatch"));
        }
        let unreadable = |reason: String| format!("a job of version 1 cannot be read: {reason}");
        let job: Self = record.read().map_err(unreadable)?;
        Ok(job.with_given(record.read().map_err(unreadable)?))
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn rests(&self) -> bool {
        matches!(self.phase, Phase::Delayed { .. } | Phase::Suspended | Phase::Finished(_))
    }

    fn liveness(&self) -> Liveness {
        match self.phase {
            Phase::Finished(_) => Liveness::Terminal,
            // It must be known at a start that it holds its place.
            Phase::BackingOff { .. } if self.place.is_some() => Liveness::Live,
            Phase::Delayed { .. } | Phase::Suspended | Phase::BackingOff { .. } => Liveness::Waiting,
            _ => Liveness::Live,
        }
    }

    fn index(&self) -> Vec<Vec<u8>> {
        let mut texts = vec![index_by_state(self.state().name())];
        texts.extend(self.given.spec.name.as_deref().map(index_by_name));
        texts.extend(self.given.spec.labels.iter().map(|(key, value)| index_by_label(key, value)));
        texts
    }

    /// All but the state is as it was given.
    fn is_listed_as(&self, other: &Self) -> bool {
        self.state() == other.state()
    }

    fn charge(old: Option<&Self>, new: &Self, now: Timestamp) -> Option<(Key, Vec<u8>)> {
        charge::of_transition(old, new, now)
    }

    fn owned_keys(&self) -> Vec<Key> {
        self.given.claim.iter().map(|digest| keys::claim(digest.as_bytes())).collect()
    }
}

/// Under which jobs in this state are listed.
pub fn index_by_state(state: &str) -> Vec<u8> {
    format!("state/{state}").into_bytes()
}

/// Under which jobs of this name are listed.
pub fn index_by_name(name: &str) -> Vec<u8> {
    format!("name/{name}").into_bytes()
}

/// Under which jobs with this label are listed.
pub fn index_by_label(key: &str, value: &str) -> Vec<u8> {
    format!("label/{key}={value}").into_bytes()
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

fn step(mut draft: Draft, event: &Event) -> Step<Job> {
    let record = (!draft.quiet).then(|| {
        draft.job.revision += 1;
        HistoryEntry {
            seq: draft.job.revision,
            at: draft.now,
            kind: event.name().to_owned(),
            state: draft.job.state(),
            attempt: draft.attempt,
            message: draft.message,
            data: if draft.data == json!({}) { Value::Null } else { draft.data },
        }
    });
    Step { change: Change::Next(Arc::new(draft.job), record), effects: draft.effects, outbox: draft.outbox }
}

impl Job {
    /// When `timeout` passes, where it counts now.
    pub(super) fn timeout_at(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Suspended | Phase::Stopping { .. } | Phase::Finished(_) => None,
            _ => Some(self.clock_from?.after(self.given.spec.timeout?.as_duration())),
        }
    }

    /// When `attempt_timeout` passes, where it counts now.
    pub(super) fn attempt_timeout_at(&self) -> Option<Timestamp> {
        let running = matches!(self.phase, Phase::Running { .. });
        let started_at = self.attempts.last()?.started_at?;
        let limit = self.given.spec.attempt_timeout?.as_duration();
        running.then(|| started_at.after(limit))
    }

    /// The request to stop the newest attempt.
    pub(super) fn stop_effect(&self) -> Effect {
        Effect::Stop {
            attempt: self.attempt,
            signal: self.given.spec.stop_signal,
            grace: self.given.spec.stop_grace.as_duration(),
        }
    }

    /// Everything that must hold in the world in this state.
    pub(super) fn resume_effects(&self) -> Vec<Effect> {
        let attempt = self.attempt;
        let come = match self.attempts.last() {
            Some(record) if record.runtime_id.is_some() => Come::Seen,
            Some(record) if record.let_start => Come::LetStart,
            _ => Come::Intended,
        };
        let drive = Effect::Drive { attempt, come };
        match &self.phase {
            Phase::Queued { since } => vec![Effect::RequestSlot { attempt: attempt + 1, since: *since }],
            Phase::Starting | Phase::Running { .. } | Phase::AwaitingCallback { .. } => vec![drive],
            // The stop goes first, so that what was never started is not started now.
            Phase::Stopping { stop_at: None, .. } => vec![self.stop_effect(), drive],
            Phase::Stopping { .. } => vec![drive],
            Phase::BackingOff { .. } if self.place.is_some() => vec![Effect::HoldPlace],
            Phase::Suspended | Phase::Finished(_) if self.given.spec.concurrency.is_some() => {
                vec![Effect::LeavePlace]
            }
            Phase::Delayed { .. } | Phase::Suspended | Phase::BackingOff { .. } | Phase::Finished(_) => {
                vec![]
            }
        }
    }

    /// What others must be told when the job is deleted: its webhooks' deliveries go with it, and its artifacts.
    fn last_messages(&self) -> Vec<Message> {
        let targets = 0..u16::try_from(self.given.spec.on_complete.len()).unwrap_or(u16::MAX);
        let webhooks = targets
            .map(|target| webhook::WebhookId { job: self.id, target })
            .map(|id| Message::to::<webhook::Delivery>(id, &webhook::Event::JobPurged));
        let left = !self.given.spec.outputs.is_empty();
        let sweep = left.then(|| Message::to::<sweep::Sweep>(self.id, &sweep::Event::JobPurged));
        webhooks.chain(sweep).collect()
    }
}
