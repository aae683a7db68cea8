//! The rules of a trigger: what each event does. Random lives with crashes are in `tests/lives.rs`, looks at real
//! directories in `tests/looks.rs`.

mod lives;
mod looks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::rows::READ_BACK;
use super::starts::filled;
use super::*;
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine, Message, Row, Step};
use crate::id::JobId;
use crate::job;
use crate::job::parent::TriggerParent;
use crate::job::validate::Policy;
use crate::job::view::JobState;
use crate::limits::{TRIGGER_DONE_MAX, TRIGGER_ITEMS_MAX, TRIGGER_STEP_MAX};
use crate::orchestration::event::Event as OrchestrationEvent;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn spec(more: &Value) -> Spec {
    let mut spec = json!({
        "directory": {"path": "/drop"}, "job": {"args": ["import", "{{object}}"]}, "parallelism": 2,
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn given(more: &Value) -> Given {
    let (spec, seed) = (Arc::new(spec(more)), JobId::from_bytes([9; 16]));
    Given { spec, vault: None, seed, origin: Origin::Api, root: None }
}

fn declared(more: &Value) -> Event {
    Event::Declared { given: Box::new(given(more)), incarnation: JobId::from_bytes([5; 16]) }
}

fn file(name: &str, version: u64) -> Object {
    Object {
        source: Kind::Directory,
        name: format!("/drop/{name}"),
        version: version.to_string(),
        size: 3,
        modified_at: None,
        content_type: None,
        body: None,
    }
}

fn request(name: &str, body: &str, is_kept: bool) -> Object {
    Object {
        source: Kind::Http,
        name: name.to_owned(),
        version: if is_kept { "kept".to_owned() } else { String::new() },
        size: body.len() as u64,
        modified_at: None,
        content_type: Some("application/json".to_owned()),
        body: Some(body.into()),
    }
}

fn found(objects: &[Object]) -> Event {
    Event::Looked { found: objects.to_vec(), gone: vec![], fault: None }
}

/// A trigger as the shell keeps it: a snapshot, what it was given, and rows, of which it is made anew before each event.
#[derive(Debug, Clone)]
struct Life {
    stored: Option<(Vec<u8>, Arc<Given>)>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    now: Timestamp,
    outbox: Vec<Message>,
    effects: Vec<Effect>,
}

/// What was submitted.
#[derive(Debug, Clone)]
struct Submitted {
    job: JobId,
    spec: job::spec::Spec,
    parent: TriggerParent,
}

impl Life {
    fn of(more: &Value) -> Self {
        let step = Trigger::create("drop".parse().unwrap(), &declared(more), START).unwrap().unwrap();
        let (rows, outbox, effects) = (BTreeMap::new(), vec![], vec![]);
        let mut life = Self { stored: None, rows, now: START, outbox, effects };
        life.take(step);
        life
    }

    fn trigger(&self) -> Trigger {
        let (snapshot, given) = self.stored.as_ref().expect("it is there");
        let trigger: Trigger = serde_json::from_slice(snapshot).unwrap();
        let mut trigger = Trigger { given: Some(Arc::clone(given)), ..trigger };
        for begins in READ_BACK {
            for (name, value) in self.rows.iter().filter(|(name, _)| name.starts_with(begins)) {
                trigger.read_row(name, value).unwrap();
                for companion in Trigger::companions(name, value) {
                    assert!(self.rows.contains_key(&companion), "a row is alone");
                }
            }
        }
        trigger.rows_read();
        assert_eq!(trigger.rows_faults(), Vec::<String>::new());
        trigger
    }

    fn take(&mut self, step: Step<Trigger>) {
        (self.outbox, self.effects) = (step.outbox, step.effects);
        match step.change {
            Change::None => assert!(self.outbox.is_empty()),
            Change::Purge => {
                self.stored = None;
                self.rows.clear();
            }
            Change::Next(mut next, _) => {
                for row in Arc::make_mut(&mut next).take_rows() {
                    match row {
                        Row::Put { name, value } => drop(self.rows.insert(name, value)),
                        Row::Delete { name } => drop(self.rows.remove(&name)),
                    }
                }
                let given = Arc::clone(next.given.as_ref().unwrap());
                self.stored = Some((serde_json::to_vec(&next).unwrap(), given));
            }
        }
    }

    fn tries(&mut self, event: &Event) -> Result<&mut Self, Rejected> {
        let step = self.trigger().apply(event, self.now)?;
        self.take(step);
        Ok(self)
    }

    fn does(&mut self, event: Event) -> &mut Self {
        self.tries(&event).unwrap_or_else(|error| panic!("{event:?}: {error}"))
    }

    fn after(&mut self, secs: u64) -> &mut Self {
        self.now = self.now.after(Duration::from_secs(secs));
        self
    }

    /// Its time comes.
    fn tick(&mut self) -> &mut Self {
        self.now = self.trigger().deadline().expect("it has a deadline");
        self.does(Event::Ticked)
    }

    fn submitted(&self) -> Vec<Submitted> {
        self.outbox.iter().map(submitted).collect()
    }

    fn ends(&mut self, submitted: &Submitted, state: JobState) -> &mut Self {
        let run = Box::new(Run::Job(submitted.job));
        let end = Box::new(End { state, message: Some("why".to_owned()) });
        self.does(Event::RunEnded { item: submitted.parent.item, run, end })
    }

    /// How many wait, run, are dead, are done.
    fn counts(&self) -> [u64; 4] {
        let counts = self.trigger().counts;
        [counts.pending, counts.running, counts.dead, counts.done]
    }
}

fn submitted(message: &Message) -> Submitted {
    assert_eq!(message.kind, "job");
    let event: job::event::Event = serde_json::from_value(message.event.clone()).unwrap();
    let job::event::Event::Submitted(given) = event else { panic!("{event:?}") };
    let parent = given.parent.as_ref().and_then(|parent| parent.trigger()).cloned().unwrap();
    let job = JobId::from_bytes(message.id.as_slice().try_into().unwrap());
    Submitted { job, spec: (*given.spec).clone(), parent }
}

#[test]
fn each_version_is_one_item_and_no_more_run_at_once_than_may() {
    let mut life = Life::of(&json!({}));
    assert_eq!(life.effects, [Effect::Watch]);
    let all = [file("a", 1), file("b", 1), file("c", 1)];
    let first = life.does(found(&all)).submitted();
    assert_eq!((first.len(), life.counts()), (2, [1, 2, 0, 0]));
    assert_eq!(first[0].spec.args, ["import", "/drop/a"]);
    assert_eq!(first[0].spec.labels["dogwatch.trigger"], "drop");
    assert_eq!(life.does(found(&all)).submitted().len(), 0, "it is known");
    let third = life.ends(&first[1], JobState::Succeeded).submitted();
    assert_eq!((third[0].parent.object.name.as_str(), life.counts()), ("/drop/c", [0, 2, 0, 1]));
    life.ends(&first[1], JobState::Failed);
    assert_eq!(life.counts(), [0, 2, 0, 1], "what is done is done");
    life.ends(&first[0], JobState::Succeeded).ends(&third[0], JobState::Succeeded);
    let newer = [file("a", 2), file("b", 1), file("c", 1)];
    assert_eq!(life.does(found(&newer)).submitted().len(), 1, "another version is another object");
    assert_eq!(life.trigger().view().arrived_total, 4);
}

#[test]
fn what_fails_is_tried_again_later_and_later_and_is_then_dead_until_people_say() {
    let mut life = Life::of(&json!({"max_deliveries": 3, "retry_delay": "10s"}));
    let mut run = life.does(found(&[file("a", 1)])).submitted().remove(0);
    for pause in [10, 20] {
        life.ends(&run, JobState::Failed);
        assert_eq!(life.trigger().deadline(), Some(life.now.after(Duration::from_secs(pause))));
        let again = life.tick().submitted().remove(0);
        assert_ne!(again.job, run.job, "each start has an id of its own");
        run = again;
    }
    assert_eq!(run.parent.delivery, 3);
    life.ends(&run, JobState::Failed);
    assert_eq!((life.counts(), life.trigger().deadline()), ([0, 0, 1, 0], None));
    let trigger = life.trigger();
    assert_eq!(trigger.book().unwrap().get(1).unwrap().error.as_deref(), Some("why"));
    assert_eq!(life.does(found(&[file("a", 1)])).submitted().len(), 0, "a dead letter is known");

    let again = life.does(Event::Requeued(Which::One(1))).submitted().remove(0);
    assert_eq!((again.parent.delivery, again.job != run.job), (1, true));
    life.ends(&again, JobState::Cancelled);
    assert_eq!(life.counts(), [0, 0, 1, 0], "what somebody cancelled is not tried again");
    // Somebody had the job itself retried, and it went well.
    life.ends(&again, JobState::Succeeded);
    assert_eq!(life.counts(), [0, 0, 0, 1]);

    let other = life.does(found(&[file("b", 1)])).submitted().remove(0);
    life.ends(&other, JobState::Cancelled);
    life.does(Event::Discarded(Which::First { most: 10, below: u64::MAX }));
    assert_eq!(life.counts(), [0, 0, 0, 1]);
    assert_eq!(life.does(found(&[file("b", 1)])).submitted().len(), 0, "its version stays known");
}

#[test]
fn what_is_gone_is_remembered_for_a_while() {
    let mut life = Life::of(&json!({"remember": "1h"}));
    let run = life.does(found(&[file("a", 1)])).submitted().remove(0);
    life.ends(&run, JobState::Succeeded);
    let gone = || Event::Looked { found: vec![], gone: vec![file("a", 1).key()], fault: None };
    life.does(gone()).after(3_599);
    assert_eq!(life.does(found(&[file("a", 1)])).submitted().len(), 0, "it was merely missed");
    assert_eq!(life.after(10_000).does(found(&[file("a", 1)])).submitted().len(), 0, "and is there again");
    life.does(gone()).after(3_601).does(Event::Ticked);
    assert_eq!(life.trigger().counts.known, 0);
    assert_eq!(life.does(found(&[file("a", 1)])).submitted().len(), 1, "it came back after so long");
}

#[test]
fn what_there_is_no_room_for_stays_where_it_is() {
    // Not read back each time: there are too many rows.
    let mut trigger = Life::of(&json!({})).trigger();
    let names: Vec<Object> = (0..TRIGGER_ITEMS_MAX + 5).map(|at| file(&at.to_string(), 1)).collect();
    for some in names.chunks(TRIGGER_ITEMS_MAX) {
        if let Change::Next(next, _) = trigger.apply(&found(some), START).unwrap().change {
            trigger = Arc::unwrap_or_clone(next);
        }
    }
    let Counts { pending, running, known, .. } = trigger.counts;
    assert_eq!([pending, running], [TRIGGER_ITEMS_MAX as u64 - 2, 2]);
    assert_eq!(known, TRIGGER_ITEMS_MAX as u64);

    let mut life = Life::of(&json!({"directory": null, "http": {}}));
    life.does(Event::PauseRequested);
    let body = "x".repeat(8 * 1024 * 1024);
    let called = (0..).take_while(|at| {
        let object = request(&format!("call-{at}"), &body, true);
        match life.tries(&Event::Called(Box::new(object))) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error, Rejected::Full);
                false
            }
        }
    });
    assert_eq!(called.count(), 3, "bodies take memory: 32 MiB of them, and their names");
}

#[test]
fn a_call_is_kept_once_and_its_body_only_until_it_is_over() {
    let mut life = Life::of(&json!({"directory": null, "http": {}, "job": {"args": ["hello"]}}));
    assert_eq!((life.effects.as_slice(), life.trigger().liveness()), (&[][..], Liveness::Waiting));
    let call = |body: &str| Event::Called(Box::new(request("key-1", body, true)));
    let run = life.does(call("{\"n\":1}")).submitted().remove(0);
    assert_eq!(run.parent.object.body.as_deref(), Some("{\"n\":1}"));
    assert_eq!(life.does(call("{\"n\":1}")).submitted().len(), 0);
    assert_eq!(life.tries(&call("{\"n\":2}")).unwrap_err(), Rejected::Reused);
    life.ends(&run, JobState::Succeeded);
    let bodies = life.rows.values().filter(|value| String::from_utf8_lossy(value).contains("\\\"n\\\""));
    assert_eq!(bodies.count(), 0, "nobody needs it any more");
    life.after(86_401);
    assert_eq!(life.does(call("{\"n\":2}")).submitted().len(), 1, "a day later the key is free");
    // Without a key nothing is remembered, but whoever called can be told of it.
    let plain = Event::Called(Box::new(request("call-1", "", false)));
    life.does(plain.clone());
    let trigger = life.trigger();
    assert!(trigger.book().unwrap().known(&request("call-1", "", false).key()).is_some());
    assert_eq!(life.after(1).does(Event::Ticked).trigger().counts.known, 1);
}

#[test]
fn a_paused_one_starts_nothing_and_one_that_is_declared_anew_keeps_what_it_knows() {
    let mut life = Life::of(&json!({}));
    let first = life.does(found(&[file("a", 1), file("b", 1), file("c", 1)])).submitted();
    life.does(Event::PauseRequested);
    assert_eq!(
        (life.effects.as_slice(), life.trigger().liveness()),
        (&[Effect::Unwatch][..], Liveness::Waiting)
    );
    assert_eq!(life.does(found(&[file("d", 1)])).submitted().len(), 0, "a look that was under way");
    assert_eq!(life.ends(&first[0], JobState::Succeeded).submitted().len(), 0);
    life.does(declared(&json!({"parallelism": 5})));
    assert!(matches!(life.trigger().phase, Phase::Paused { .. }), "it stays paused");
    assert_eq!(life.does(Event::ResumeRequested).submitted().len(), 1);
    assert_eq!((life.effects.as_slice(), life.counts()), (&[Effect::Watch][..], [0, 2, 0, 1]));
    life.does(declared(&json!({"parallelism": 5})));
    assert_eq!(life.effects, [], "the same once more is nothing");
    life.does(declared(&json!({"directory": {"path": "/other"}})));
    assert_eq!(life.effects, [Effect::Watch], "another place to look at");
    let known = life.trigger().counts.known;
    life.after(8 * 86_400).does(Event::Ticked);
    assert_eq!((known, life.trigger().counts.known), (3, 0), "what was known of the old one fades");
}

#[test]
fn a_fault_is_told_once_and_a_quarantined_one_rests() {
    let mut life = Life::of(&json!({}));
    let broken =
        || Event::Looked { found: vec![], gone: vec![], fault: Some("no such directory".to_owned()) };
    let revision = life.does(broken()).trigger().revision;
    assert!(life.trigger().view().message.contains("no such directory"));
    assert_eq!(life.does(broken()).trigger().revision, revision);
    assert_eq!(life.does(found(&[])).trigger().fault, None);
    life.does(Trigger::quarantine("boom".to_owned()));
    assert_eq!(
        (life.effects.as_slice(), life.trigger().liveness()),
        (&[Effect::Unwatch][..], Liveness::Terminal)
    );
    assert!(life.tries(&Event::ResumeRequested).unwrap_err().to_string().contains("boom"));
    assert!(Trigger::releases(&declared(&json!({}))));
    assert_eq!(life.does(declared(&json!({}))).effects, [Effect::Watch]);
}

#[test]
fn it_goes_in_steps_and_what_ends_meanwhile_is_nobodys() {
    let mut life = Life::of(&json!({}));
    let objects: Vec<Object> = (0..TRIGGER_STEP_MAX).map(|at| file(&at.to_string(), 1)).collect();
    let run = life.does(found(&objects)).submitted().remove(0);
    life.does(Event::DeleteRequested);
    assert_eq!(life.effects, [Effect::Unwatch]);
    assert_eq!(life.tries(&declared(&json!({}))).unwrap_err(), Rejected::Deleting);
    life.ends(&run, JobState::Succeeded);
    assert!(life.outbox.is_empty());
    while life.stored.is_some() {
        life.tick();
    }
    assert!(life.rows.is_empty());
}

#[test]
fn what_is_over_is_shown_for_a_while() {
    // Not read back each time: there are too many rows.
    let mut trigger = Life::of(&json!({"parallelism": 1})).trigger();
    for at in 0..TRIGGER_DONE_MAX + 3 {
        let step = trigger.apply(&found(&[file(&at.to_string(), 1)]), START).unwrap();
        let run = submitted(&step.outbox[0]);
        let Change::Next(next, _) = step.change else { panic!("no change") };
        let event = Event::RunEnded {
            item: run.parent.item,
            run: Box::new(Run::Job(run.job)),
            end: Box::new(End { state: JobState::Succeeded, message: None }),
        };
        let Change::Next(next, _) = next.apply(&event, START).unwrap().change else { panic!("no change") };
        trigger = Arc::unwrap_or_clone(next);
    }
    let Counts { pending, running, done, known, .. } = trigger.counts;
    assert_eq!([pending, running, done], [0, 0, TRIGGER_DONE_MAX as u64]);
    assert_eq!(known, TRIGGER_DONE_MAX as u64 + 3, "but known it is");
}

#[test]
fn an_orchestration_is_given_what_arrived() {
    let orchestration =
        json!({"name": "import", "task_hub": "blue", "input": {"region": "eu"}, "tags": {"team": "x"}});
    let mut life =
        Life::of(&json!({"directory": null, "http": {}, "job": null, "orchestration": orchestration}));
    life.does(Event::Called(Box::new(request("key-1", "{\"n\":1}", true))));
    let message = life.outbox[0].clone();
    let OrchestrationEvent::StartRequested(start) = serde_json::from_value(message.event).unwrap() else {
        panic!("{:?}", life.outbox)
    };
    let input: Value = serde_json::to_value(&start.input).unwrap();
    let input: Value =
        input.as_str().map_or_else(|| input.clone(), |text| serde_json::from_str(text).unwrap());
    assert_eq!((&input["body"], &input["input"]), (&json!({"n": 1}), &json!({"region": "eu"})), "{input}");
    assert_eq!((&input["trigger"], &input["object"]["name"]), (&json!("drop"), &json!("key-1")));
    assert_eq!(start.tags["dogwatch.trigger"], "drop");
    let link = start.trigger.unwrap();
    let trigger = life.trigger();
    let run = trigger.book().unwrap().get(link.item).unwrap().run.unwrap();
    assert!(run.to_string().contains("blue/drop:"), "{run}");
    let end = Box::new(End { state: JobState::Failed, message: None });
    life.does(Event::RunEnded { item: link.item, run: Box::new(run), end });
    assert_eq!(life.counts(), [0, 0, 1, 0]);
}

#[test]
fn placeholders_are_filled_once() {
    let (life, object) = (Life::of(&json!({})), file("in/{{item}}.csv", 7));
    for (arg, expected) in [
        ("--file={{object}}", "--file=/drop/in/{{item}}.csv"),
        ("{{object_name}}@{{object_version}}", "{{item}}.csv@7"),
        ("{{trigger}}-{{item}}", "drop-3"),
        ("{{nothing}} {{ {", "{{nothing}} {{ {"),
    ] {
        assert_eq!(filled(arg, &life.trigger(), 3, &object), expected);
    }
}

#[test]
fn what_cannot_be_is_refused_and_it_is_said_where() {
    let faults = |more: &Value| validate(&spec(more), &Policy::default());
    assert_eq!(faults(&json!({})), []);
    for (more, pointer, message) in [
        (json!({"directory": null}), "", "one source"),
        (json!({"http": {}}), "", "one source"),
        (json!({"job": null}), "", "one thing"),
        (json!({"orchestration": {"name": "x"}}), "", "one thing"),
        (json!({"job": null, "orchestration": {"name": ""}}), "/orchestration/name", "1 to"),
        (json!({"parallelism": 0}), "/parallelism", "1 to 1000"),
        (json!({"max_deliveries": 101}), "/max_deliveries", "1 to 100"),
        (json!({"retry_delay": "2h"}), "/retry_delay", "at most"),
        (json!({"remember": "40000d"}), "/remember", "ten years"),
        (json!({"directory": {"path": "drop"}}), "/directory/path", "absolute"),
        (json!({"directory": {"path": "/a\u{0}"}}), "/directory/path", "absolute"),
        (json!({"directory": {"path": "/a", "patterns": ["["]}}), "/directory/patterns/0", "`[`"),
        (json!({"directory": {"path": "/a", "settle": "2h"}}), "/directory/settle", "at most"),
        (json!({"directory": {"path": "/a", "poll": "1ms"}}), "/directory/poll", "100ms"),
        (json!({"directory": null, "http": {"body_max": 70_000}}), "/http/body_max", "65536"),
        (json!({"job": {"args": ["x"], "suspended": true}}), "/job/suspended", "itself"),
        (json!({"job": {"args": ["x"], "array": {"size": 2}}}), "/job/array", "one job"),
        (json!({"job": {"args": ["{{object}}".repeat(17)]}}), "/job/args", "placeholders"),
        (json!({"job": {}}), "/job", ""),
    ] {
        let faults = faults(&more);
        let found = faults.iter().any(|fault| fault.pointer == pointer && fault.message.contains(message));
        assert!(found, "{more}: {faults:?}");
    }
}
