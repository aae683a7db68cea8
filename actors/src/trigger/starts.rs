//! What a trigger starts for its items: which, how many, with which id and what they are given. Pure.

use std::sync::Arc;

use serde_json::{Value, json};

use super::book::{Entry, Standing};
use super::object::{Kind, Object};
use super::spec::TriggeredOrchestration;
use super::state::{Phase, Run, Trigger};
use super::steps::Draft;
use crate::durable::Message;
use crate::id::JobId;
use crate::job;
use crate::job::parent::{Parent, TriggerParent};
use crate::orchestration::event::{Event as OrchestrationEvent, Start, TriggerLink};
use crate::orchestration::state::Orchestration;
use crate::orchestration::{InstanceId, Payload};

/// The labels and tags by which what a trigger started is found. Users cannot set them: their namespace is kept.
const LABEL: &str = "dogwatch.trigger";
const LABEL_ITEM: &str = "dogwatch.item";

/// What arguments may be made of.
pub(super) const PLACEHOLDERS: [&str; 5] =
    ["{{object}}", "{{object_name}}", "{{object_version}}", "{{trigger}}", "{{item}}"];

impl Draft {
    /// Starts what waits, as far as there is room.
    pub(super) fn start_what_may(&mut self) {
        let most = u64::from(self.trigger.spec().parallelism);
        while self.trigger.phase == Phase::Active
            && self.book.lengths()[1] < most
            && let Some(item) = self.book.next_pending()
            && let Some(entry) = self.book.get(item).map(|entry| Entry::clone(entry))
        {
            self.start(item, entry);
        }
    }

    /// Starts what the trigger starts for this item. With this commit it is on its way.
    fn start(&mut self, item: u64, mut entry: Entry) {
        entry.starts += 1;
        entry.deliveries += 1;
        let given = Arc::clone(self.trigger.given());
        let run = match (&given.spec.job, &given.spec.orchestration) {
            (Some(job), _) => Some(Run::Job(self.submit(job, item, &entry))),
            (None, Some(orchestration)) => {
                self.start_instance(orchestration, item, &entry).map(Run::Instance)
            }
            (None, None) => None,
        };
        let Some(run) = run else {
            let error = "what is to be started for it was accepted once and cannot be started any more";
            self.trigger.totals.dead_lettered += 1;
            self.say(format!("item {item} is a dead letter: {error}"));
            let standing = Standing::Dead(self.now);
            return self.put(item, Entry { standing, error: Some(error.into()), ..entry });
        };
        self.trigger.totals.started += 1;
        self.put(item, Entry { run: Some(run), standing: Standing::Running, ..entry });
    }

    fn submit(&mut self, spec: &job::spec::Spec, item: u64, entry: &Entry) -> JobId {
        let (id, given) = (self.trigger.id, Arc::clone(self.trigger.given()));
        let job = self.job_id(item, entry.starts);
        let mut spec = spec.clone();
        spec.name.get_or_insert_with(|| id.to_string());
        spec.labels.insert(LABEL.to_owned(), id.to_string());
        spec.labels.insert(LABEL_ITEM.to_owned(), item.to_string());
        for arg in &mut spec.args {
            *arg = filled(arg, &self.trigger, item, &entry.object);
        }
        let parent = TriggerParent {
            trigger: id,
            item,
            delivery: entry.deliveries,
            object: Arc::clone(&entry.object),
            sealed_for: given.seed,
        };
        let event = job::event::Event::Submitted(Box::new(job::event::Submitted {
            spec: spec.into(),
            vault: given.vault.clone(),
            claim: None,
            parent: Some(Parent::Trigger(Box::new(parent))),
        }));
        self.outbox.push(Message::to::<job::state::Job>(job, &event));
        job
    }

    /// The id of what is submitted: of the trigger, the item, and how often something was started for that.
    fn job_id(&self, item: u64, starts: u32) -> JobId {
        let parts = [
            self.trigger.id.as_str().as_bytes(),
            self.trigger.incarnation.as_bytes(),
            &item.to_be_bytes(),
            &starts.to_be_bytes(),
        ];
        let tail = xxhash_rust::xxh3::xxh3_128(&parts.concat()).to_be_bytes();
        JobId::made_of(self.now, tail.first_chunk().expect("16 bytes are more than 10"))
    }

    /// The same for an instance: a text that says what it is. `None` where the task hub cannot be one.
    fn start_instance(
        &mut self,
        orchestration: &TriggeredOrchestration,
        item: u64,
        entry: &Entry,
    ) -> Option<InstanceId> {
        let id = self.trigger.id;
        let local = format!("{id}:{}:{item}:{}", self.trigger.incarnation, entry.starts);
        let instance = InstanceId::in_hub(&orchestration.task_hub, &local).ok()?;
        let object = entry.object.without_body();
        let input = json!({
            "trigger": id.as_str(), "item": item, "delivery": entry.deliveries, "object": object,
            "body": body(&entry.object), "input": orchestration.input,
        });
        let mut tags = orchestration.tags.clone();
        tags.insert(LABEL.to_owned(), id.to_string());
        tags.insert(LABEL_ITEM.to_owned(), item.to_string());
        let event = OrchestrationEvent::StartRequested(Box::new(Start {
            name: orchestration.name.clone(),
            version: orchestration.version.clone(),
            input: Payload::from(input),
            tags,
            start_at: None,
            parent: None,
            parent_name: None,
            schedule: None,
            trigger: Some(TriggerLink { trigger: id, item }),
            trace: None,
            replaces: vec![],
        }));
        self.outbox.push(Message::to::<Orchestration>(instance, &event));
        Some(instance)
    }
}

/// A body as JSON: what it says, or where it is none, its text.
fn body(object: &Object) -> Value {
    let Some(text) = &object.body else { return Value::Null };
    let is_json = object.source == Kind::Queue
        || object.content_type.as_ref().is_none_or(|kind| kind.to_ascii_lowercase().contains("json"));
    let parsed = is_json.then(|| serde_json::from_str(text).ok()).flatten();
    parsed.unwrap_or_else(|| Value::String(text.to_string()))
}

/// An argument with what its placeholders stand for. It is looked at once: what comes from an object is no placeholder.
pub(super) fn filled(arg: &str, trigger: &Trigger, item: u64, object: &Object) -> String {
    let (mut out, mut rest) = (String::new(), arg);
    while let Some(at) = rest.find("{{") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let found = PLACEHOLDERS.iter().position(|placeholder| from.starts_with(placeholder));
        let Some(found) = found else {
            out.push_str("{{");
            rest = &from[2..];
            continue;
        };
        match found {
            0 => out.push_str(&object.name),
            1 => out.push_str(object.short_name()),
            2 => out.push_str(&object.version),
            3 => out.push_str(trigger.id.as_str()),
            _ => out.push_str(&item.to_string()),
        }
        rest = &from[PLACEHOLDERS[found].len()..];
    }
    out.push_str(rest);
    out
}
