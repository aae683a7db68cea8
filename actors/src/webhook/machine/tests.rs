//! The rules of a delivery: every pair of phase and event, the schedule, the order, and random lives with
//! crashes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use super::*;
use crate::id::JobId;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const ID: WebhookId = WebhookId { job: JobId::from_bytes([7; 16]), target: 1 };

fn announced(number: u32) -> Event {
    Event::Announced(Box::new(Announcement {
        url: "https://receiver.example".into(),
        vault: None,
        sealed_for: None,
        message: message(number),
        kind: "dev.dogwatch.job.succeeded".into(),
        at: START,
        data: json!({ "number": number }),
    }))
}

fn message(number: u32) -> String {
    format!("message-{number}")
}

fn delivered(number: u32) -> Event {
    Event::Delivered { message: message(number), status: 204 }
}

fn failed(number: u32, permanent: bool) -> Event {
    Event::Failed { message: message(number), reason: "the receiver answered 503".into(), permanent }
}

/// A delivery that is driven through the rules.
#[derive(Debug, Clone)]
struct Life {
    delivery: Delivery,
    now: Timestamp,
    posts: Vec<String>,
}

impl Life {
    fn new() -> Self {
        let step = Delivery::create(ID, &announced(1), START).expect("created").expect("accepted");
        let Change::Next(delivery, Some(_)) = step.change else { panic!("an announcement is recorded") };
        Self { delivery: Arc::unwrap_or_clone(delivery), now: START, posts: names(&step.effects) }
    }

    fn apply(&mut self, event: Event) -> &mut Self {
        let step = self.delivery.apply(&event, self.now).unwrap_or_else(|error| panic!("{event:?}: {error}"));
        assert!(step.outbox.is_empty());
        match step.change {
            Change::Next(next, record) => {
                assert!(record.is_some() && next.revision == self.delivery.revision + 1);
                self.delivery = Arc::unwrap_or_clone(next);
            }
            Change::None => {}
            Change::Purge => panic!("{event:?} purges"),
        }
        self.posts = names(&step.effects);
        self
    }

    fn tick(&mut self) -> &mut Self {
        self.now = self.delivery.deadline().expect("a deadline");
        self.apply(Event::Ticked)
    }

    fn waiting(&self) -> Option<Duration> {
        match self.delivery.phase {
            Phase::Waiting { until } => Some(until.since(self.now)),
            _ => None,
        }
    }
}

fn names(posts: &[Post]) -> Vec<String> {
    posts.iter().map(|Post(announcement)| announcement.message.clone()).collect()
}

fn every_phase() -> Vec<(&'static str, Delivery)> {
    let with = |drive: fn(&mut Life) -> &mut Life| {
        let mut life = Life::new();
        drive(&mut life).delivery.clone()
    };
    vec![
        ("idle", with(|life| life.apply(delivered(1)))),
        ("sending", with(|life| life)),
        ("waiting", with(|life| life.apply(failed(1, false)))),
        ("parked", with(|life| life.apply(failed(1, true)))),
    ]
}

/// A cell is the phase that follows (with `*` when a request is made), `.` nothing at all, `no` refused.
const TABLE: &[(&str, [&str; 4])] = &[
    ("announced", ["sending*", "sending", "waiting", "parked"]),
    ("ticked", [".", ".", ".", "."]),
    ("ticked:due", [".", "sending*", "sending*", "."]),
    ("delivered", [".", "idle", ".", "."]),
    ("failed", [".", "waiting", ".", "."]),
    ("failed:permanent", [".", "parked", ".", "."]),
    ("delivered:other", [".", ".", ".", "."]),
    ("failed:other", [".", ".", ".", "."]),
    ("replay_requested", ["no", "no", "no", "sending*"]),
    ("job_purged", ["purge", "purge", "purge", "purge"]),
    ("quarantined", ["parked", "parked", "parked", "parked"]),
];

fn every_event() -> Vec<(&'static str, Event)> {
    vec![
        ("announced", announced(2)),
        ("ticked", Event::Ticked),
        ("ticked:due", Event::Ticked),
        ("delivered", delivered(1)),
        ("failed", failed(1, false)),
        ("failed:permanent", failed(1, true)),
        ("delivered:other", delivered(9)),
        ("failed:other", failed(9, true)),
        ("replay_requested", Event::ReplayRequested),
        ("job_purged", Event::JobPurged),
        ("quarantined", Event::Quarantined { reason: "boom".into() }),
    ]
}

fn word(phase: &Phase) -> &'static str {
    match phase {
        Phase::Idle => "idle",
        Phase::Sending { .. } => "sending",
        Phase::Waiting { .. } => "waiting",
        Phase::Parked => "parked",
    }
}

#[test]
fn every_pair_does_what_the_table_says() {
    for ((name, event), (row, wanted)) in every_event().into_iter().zip(TABLE) {
        assert_eq!(name, *row);
        for ((phase, delivery), wanted) in every_phase().into_iter().zip(wanted) {
            assert_eq!(word(&delivery.phase), phase);
            let now = if name == "ticked:due" { START.after(Duration::from_secs(86_400)) } else { START };
            let cell = match delivery.apply(&event, now) {
                Err(Rejected::NotParked) => "no".to_owned(),
                Ok(Step { change: Change::Purge, .. }) => "purge".to_owned(),
                Ok(Step { change: Change::None, effects, .. }) if effects.is_empty() => ".".to_owned(),
                Ok(Step { change: Change::None, .. }) => "?".to_owned(),
                Ok(Step { change: Change::Next(next, _), effects, .. }) => {
                    word(&next.phase).to_owned() + &"*".repeat(effects.len())
                }
            };
            assert_eq!(cell, *wanted, "{name} in {phase}");
        }
    }
    assert_eq!(TABLE.len(), every_event().len());
}

#[test]
fn every_phase_has_a_column_and_every_event_a_row() {
    fn variants<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> BTreeSet<String> {
        let error = serde_json::from_str::<T>("\"no_such_variant\"").expect_err("there is none").to_string();
        let listed = error.split_once("expected").expect("serde lists what it expects").1;
        listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }
    let phases: BTreeSet<String> = every_phase().iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(phases, variants::<Phase>());
    let heads = TABLE.iter().map(|(name, _)| name.split(':').next().unwrap_or(name).to_owned());
    assert_eq!(heads.collect::<BTreeSet<_>>(), variants::<Event>());
}

#[test]
fn tries_are_spaced_as_the_standard_recommends_and_then_end() {
    let mut life = Life::new();
    assert_eq!(life.posts, [message(1)]);
    let secs = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    for (tries, pause) in (1..).zip(secs.map(Duration::from_secs)) {
        life.apply(failed(1, false));
        let waiting = life.waiting().expect("it waits");
        assert!(waiting >= pause && waiting <= pause.mul_f64(1.0 + JITTER), "try {tries}: {waiting:?}");
        assert_eq!((life.delivery.tries, life.posts.len()), (tries, 0));
        life.tick();
        assert_eq!(life.posts, [message(1)]);
    }
    life.apply(failed(1, false));
    assert_eq!(life.delivery.phase, Phase::Parked);
    assert_eq!((life.delivery.deadline(), life.delivery.queue.len()), (None, 1));
    assert_eq!(life.delivery.liveness(), Liveness::Terminal);
    assert_eq!(life.delivery.index(), [b"parked".to_vec()]);
}

#[test]
fn the_pauses_of_different_messages_differ() {
    let pause = |number: u32| {
        let mut life = Life::new();
        life.apply(delivered(1)).apply(announced(number)).apply(failed(number, false));
        life.waiting()
    };
    assert!((2..40).map(pause).collect::<BTreeSet<_>>().len() > 20);
}

#[test]
fn a_success_starts_the_schedule_anew() {
    let mut life = Life::new();
    life.apply(failed(1, false)).tick().apply(failed(1, false)).tick().apply(delivered(1));
    let delivery = &life.delivery;
    assert_eq!((delivery.tries, delivery.delivered, delivery.last_error.clone()), (0, 1, None));
    life.apply(announced(2)).apply(failed(2, false));
    assert!(life.waiting() < Some(Duration::from_secs(6)));
}

#[test]
fn messages_to_one_target_keep_their_order() {
    let mut life = Life::new();
    life.apply(announced(2)).apply(announced(3));
    assert_eq!(life.posts, Vec::<String>::new(), "the first is under way");
    life.apply(failed(1, false)).tick();
    assert_eq!(life.posts, [message(1)], "what failed goes first");
    life.apply(delivered(1));
    assert_eq!(life.posts, [message(2)]);
    life.apply(delivered(1));
    assert_eq!(life.posts, Vec::<String>::new(), "an answer that comes twice");
    life.apply(delivered(2));
    assert_eq!(life.posts, [message(3)], "in the same millisecond");
    life.apply(delivered(3));
    assert_eq!((&life.delivery.phase, life.delivery.delivered), (&Phase::Idle, 3));
}

#[test]
fn a_lost_answer_makes_the_request_again() {
    let mut life = Life::new();
    let due = life.delivery.deadline().expect("an answer is waited for");
    assert!(due.since(START) > crate::limits::WEBHOOK_TIMEOUT);
    life.tick();
    assert_eq!((life.posts.as_slice(), life.delivery.tries), ([message(1)].as_slice(), 0));
    assert!(life.delivery.deadline() > Some(due));
}

#[test]
fn what_fails_for_good_is_parked_until_a_replay() {
    let mut life = Life::new();
    life.apply(failed(1, true)).apply(announced(2));
    assert_eq!((&life.delivery.phase, life.posts.len()), (&Phase::Parked, 0));
    life.apply(Event::ReplayRequested);
    assert_eq!((life.posts.as_slice(), life.delivery.tries), ([message(1)].as_slice(), 0));
    life.apply(delivered(1));
    assert_eq!(life.posts, [message(2)]);
    assert_eq!(life.delivery.apply(&Event::ReplayRequested, START).err(), Some(Rejected::NotParked));
}

#[test]
fn a_quarantined_delivery_keeps_its_messages() {
    let mut life = Life::new();
    life.apply(Event::Quarantined { reason: "boom".into() });
    assert_eq!((&life.delivery.phase, life.delivery.queue.len()), (&Phase::Parked, 1));
    let said = life.delivery.last_error.as_deref().unwrap_or_default();
    assert!(said.contains("boom") && said.contains("replay it"), "{said}");
    assert_eq!(life.delivery.view().state, "parked", "it is seen");
}

#[test]
fn a_delivery_quarantined_at_rest_is_seen_and_can_be_released() {
    let mut life = Life::new();
    life.apply(delivered(1)).apply(Event::Quarantined { reason: "boom".into() });
    let view = life.delivery.view();
    assert_eq!((view.state.as_str(), view.pending), ("parked", 0));
    life.apply(announced(2)).apply(Event::ReplayRequested);
    assert_eq!(life.posts, [message(2)]);
    let mut life = Life::new();
    life.apply(delivered(1))
        .apply(Event::Quarantined { reason: "boom".into() })
        .apply(Event::ReplayRequested);
    assert_eq!(
        (&life.delivery.phase, life.delivery.view().last_error),
        (&Phase::Idle, None),
        "nothing is left to say"
    );
}

#[test]
fn only_an_announcement_makes_a_delivery() {
    for (name, event) in every_event() {
        assert_eq!(Delivery::create(ID, &event, START).is_some(), name == "announced", "{name}");
    }
}

/// One step of a random life: which of the things that may happen, and whether the process dies after the
/// commit and before the request is made.
fn steps() -> impl Strategy<Value = Vec<(u8, bool)>> {
    prop::collection::vec((0..7u8, any::<bool>()), 1..60)
}

#[test]
fn messages_arrive_in_order_whatever_dies() {
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let most = std::cell::Cell::new(0);
    runner
        .run(&steps(), |steps| {
            let (mut life, mut last, mut arrived) = (Life::new(), 1, Vec::new());
            for (what, dies) in steps {
                // The number of the message under way, from what the world was last asked for.
                let under_way =
                    life.posts.first().and_then(|name| name.strip_prefix("message-")?.parse().ok());
                let event = match (what, under_way) {
                    (0 | 1, Some(number)) => {
                        arrived.push(number);
                        delivered(number)
                    }
                    (2, Some(number)) => failed(number, false),
                    (3, Some(number)) => failed(number, true),
                    (4, _) => {
                        last += 1;
                        announced(last)
                    }
                    (_, _) if life.delivery.phase == Phase::Parked => Event::ReplayRequested,
                    _ => {
                        life.now = life.delivery.deadline().unwrap_or(life.now);
                        Event::Ticked
                    }
                };
                let before = life.posts.clone();
                life.apply(event);
                let bytes = serde_json::to_vec(&life.delivery).unwrap();
                let stored: Delivery = serde_json::from_slice(&bytes).unwrap();
                prop_assert_eq!(&stored, &life.delivery);
                if dies {
                    life.posts = names(&stored.resume());
                } else if life.posts.is_empty() && matches!(life.delivery.phase, Phase::Sending { .. }) {
                    life.posts = before; // still under way
                }
                let queued: Vec<String> = stored.queue.iter().map(|queued| queued.message.clone()).collect();
                let delivered = stored.delivered;
                prop_assert_eq!(queued, (delivered + 1..=last).map(message).collect::<Vec<_>>());
                prop_assert!(stored.phase == Phase::Idle || !stored.queue.is_empty());
                prop_assert!(stored.phase != Phase::Idle || stored.queue.is_empty(), "nothing wakes it up");
            }
            prop_assert_eq!(&arrived, &(1..=life.delivery.delivered).collect::<Vec<_>>());
            most.set(most.get().max(arrived.len()));
            Ok(())
        })
        .unwrap();
    assert!(most.get() > 10, "the lives get somewhere");
}
