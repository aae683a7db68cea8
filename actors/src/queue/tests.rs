//! The rules of a queue; random lives beside a naive model are in `tests/model.rs`, gathering and waking in
//! `tests/counter.rs`.

mod counter;
mod model;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::book::{Entry, Standing};
use super::rows::READ_BACK;
use super::*;
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine, Row};
use crate::id::{AttemptKey, JobId};
use crate::limits::{QUEUE_DONE_MAX, QUEUE_DUE_PER_STEP, QUEUE_MESSAGES_MAX, QUEUE_RECEIVE_BYTES_MAX};
use crate::units::Span;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn secs(secs: u64) -> Span {
    Span::from_secs(secs)
}

fn fresh(priority: i8, delay: Span, id: Option<u8>) -> Fresh {
    let row = Arc::new(rows::encode(&"a body"));
    Fresh { priority, delay, id: id.map(|id| [id; 16]), bytes: 8, row }
}

fn plain() -> Fresh {
    fresh(0, secs(0), None)
}

/// A queue as the shell keeps it: a snapshot and rows, of which it is made anew before each event.
#[derive(Debug, Clone)]
struct Life {
    snapshot: Option<Vec<u8>>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    now: Timestamp,
    effects: Vec<Effect>,
}

impl Life {
    fn of(settings: Settings) -> Self {
        let event = Event::Declared { settings, incarnation: JobId::from_bytes([1; 16]) };
        let step = Queue::create("orders".parse().unwrap(), &event, START).unwrap().unwrap();
        let mut life = Self { snapshot: None, rows: BTreeMap::new(), now: START, effects: vec![] };
        life.take(step);
        life
    }

    fn queue(&self) -> Queue {
        let mut queue: Queue = serde_json::from_slice(self.snapshot.as_ref().expect("it is there")).unwrap();
        let is_read = |name: &[u8]| READ_BACK.iter().any(|begins| name.starts_with(begins));
        for (name, value) in self.rows.iter().filter(|(name, _)| is_read(name)) {
            queue.read_row(name, value).unwrap();
        }
        queue.rows_read();
        assert_eq!(queue.rows_faults(), Vec::<String>::new());
        queue
    }

    fn take(&mut self, step: crate::durable::Step<Queue>) {
        assert_eq!(step.outbox, []);
        self.effects = step.effects;
        match step.change {
            Change::None => return,
            Change::Purge => {
                self.snapshot = None;
                self.rows.clear();
                return;
            }
            Change::Next(mut next, _) => {
                for row in Arc::make_mut(&mut next).take_rows() {
                    match row {
                        Row::Put { name, value } => drop(self.rows.insert(name, value)),
                        Row::Delete { name } => drop(self.rows.remove(&name)),
                    }
                }
                self.snapshot = Some(serde_json::to_vec(&next).unwrap());
            }
        }
        self.check();
    }

    /// What is stored is whole: every row beside another is there, and no row is left over.
    fn check(&self) {
        let queue = self.queue();
        let book = queue.book().unwrap();
        let mut expected: Vec<Vec<u8>> = vec![];
        for (seq, entry) in book.messages() {
            expected.push(Names(seq).standing());
            expected.extend(Names(seq).of(&entry));
        }
        expected.sort();
        let found = self.rows.keys().filter(|name| name[0] != b'd');
        assert_eq!(found.cloned().collect::<Vec<_>>(), expected);
        assert_eq!(queue.holders, *book.holders());
        assert_eq!(queue.oldest_at, book.oldest().map(|(at, _)| at));
    }

    fn does(&mut self, event: &Event) -> Result<(), Rejected> {
        let step = self.queue().apply(event, self.now)?;
        self.take(step);
        Ok(())
    }

    fn asks(&mut self, ops: &[Op]) -> Vec<Outcome> {
        let requests = (0..).zip(ops).map(|(ticket, op)| Request { ticket, op: op.clone() });
        self.does(&Event::Asked(requests.collect())).unwrap();
        let Some(Effect::Answer(answers)) = self.effects.first() else { panic!("{:?}", self.effects) };
        assert_eq!(answers.len(), ops.len());
        answers.iter().map(|(_, outcome)| outcome.clone()).collect()
    }

    fn ask(&mut self, op: Op) -> Outcome {
        self.asks(&[op]).remove(0)
    }

    fn send(&mut self, messages: &[Fresh]) -> Vec<Sent> {
        match self.ask(Op::Send(messages.into())) {
            Outcome::Sent(sent) => sent,
            other => panic!("{other:?}"),
        }
    }

    fn receive(&mut self, max: u32) -> Vec<Leased> {
        match self.ask(Op::Receive { max, lease: None, holder: None }) {
            Outcome::Received(leased) => leased,
            other => panic!("{other:?}"),
        }
    }

    fn ack(&mut self, seq: u64, number: u32) -> bool {
        match self.ask(Op::Ack([Ack { seq, number, result: None }].into())) {
            Outcome::Acked(done) => done[0].is_ok(),
            other => panic!("{other:?}"),
        }
    }

    fn nack(&mut self, seq: u64, number: u32, delay: Span) -> Result<bool, Stale> {
        match self.ask(Op::Nack { seq, number, delay, error: Some("no".into()) }) {
            Outcome::Nacked(done) => done,
            other => panic!("{other:?}"),
        }
    }

    fn after(&mut self, span: Span) -> &mut Self {
        self.now = self.now.after(span.as_duration());
        self
    }

    fn tick(&mut self) {
        self.does(&Event::Ticked).unwrap();
        assert!(self.queue().deadline().is_none_or(|due| due > self.now), "it ticks for ever");
    }

    fn standing(&self, seq: u64) -> Option<Standing> {
        self.queue().book().unwrap().get(seq).map(|entry| entry.standing)
    }

    fn order(&mut self) -> Vec<u64> {
        self.receive(100).iter().map(|leased| leased.seq).collect()
    }
}

fn usual() -> Life {
    Life::of(Settings { max_deliveries: 3, ..Settings::default() })
}

#[test]
fn the_highest_priority_comes_first_and_then_what_was_sent_first() {
    let mut life = usual();
    life.send(&[fresh(0, secs(0), None), fresh(-5, secs(0), None), fresh(9, secs(0), None), plain()]);
    life.send(&[fresh(9, secs(0), None)]);
    assert_eq!(life.order(), [3, 5, 1, 4, 2]);
    assert_eq!(life.receive(5), []);
}

#[test]
fn a_message_is_nobody_elses_until_its_lease_is_over_and_then_the_old_receipt_changes_nothing() {
    let mut life = usual();
    life.send(&[plain()]);
    let first = life.receive(1)[0];
    assert_eq!((first.seq, first.number, first.deliveries), (1, 1, 1));
    assert_eq!(first.until, START.after(Duration::from_secs(30)));
    assert_eq!(life.after(Span::from_millis(29_999)).receive(1), []);
    let second = life.after(Span::from_millis(1)).receive(1)[0];
    assert_eq!((second.seq, second.number, second.deliveries), (1, 2, 2));
    let before = life.rows.clone();
    assert!(!life.ack(1, 1));
    assert_eq!(life.nack(1, 1, secs(0)), Err(Stale));
    let renew = Op::Renew { seq: 1, number: 1, lease: None };
    assert_eq!(life.ask(renew), Outcome::Renewed(Err(Stale)));
    assert_eq!(life.rows, before);
    assert!(life.ack(1, 2));
    // The same again is the same; another one is not.
    assert!(life.ack(1, 2));
    assert!(!life.ack(1, 1));
    let queue = life.queue();
    assert_eq!((queue.totals.acknowledged, queue.counts.done, queue.counts.held()), (1, 1, 0));
}

#[test]
fn a_lease_is_over_at_its_time_even_where_nobody_has_looked_yet() {
    let mut life = usual();
    life.send(&[plain(), plain()]);
    life.receive(2);
    life.after(secs(30));
    assert!(!life.ack(1, 1));
    assert_eq!(life.standing(2), Some(Standing::Ready));
    let Outcome::Renewed(renewed) = life.ask(Op::Renew { seq: 2, number: 1, lease: None }) else { panic!() };
    assert_eq!(renewed, Err(Stale));
}

#[test]
fn a_renewed_lease_goes_on_from_now() {
    let mut life = usual();
    life.send(&[plain()]);
    life.receive(1);
    life.after(secs(20));
    let until = START.after(Duration::from_secs(80));
    let renewed = life.ask(Op::Renew { seq: 1, number: 1, lease: Some(secs(60)) });
    assert_eq!(renewed, Outcome::Renewed(Ok(until)));
    life.after(secs(59)).tick();
    assert!(life.ack(1, 1));
}

#[test]
fn what_fails_comes_back_after_its_delay_and_is_a_dead_letter_in_the_end() {
    let mut life = usual();
    life.send(&[plain()]);
    for round in 1..=3 {
        let leased = life.receive(1);
        assert_eq!((leased[0].number, leased[0].deliveries), (round, round));
        assert_eq!(life.nack(1, round, secs(5)), Ok(round == 3));
        assert_eq!(life.receive(1), [], "not before its time");
        life.after(secs(5));
    }
    let dead = Standing::Dead(START.after(Duration::from_secs(10)), Cause::Failed);
    assert_eq!(life.standing(1), Some(dead));
    assert_eq!(life.queue().totals.dead_lettered, 1);
    assert_eq!(life.ask(Op::Requeue(Which::One(2))), Outcome::Moved(0));
    assert_eq!(life.ask(Op::Requeue(Which::One(1))), Outcome::Moved(1));
    let again = life.receive(1)[0];
    assert_eq!((again.number, again.deliveries), (4, 1), "no receipt of before is good again");
    for _ in 0..3 {
        life.after(secs(30)).tick();
        life.receive(1);
    }
    assert!(matches!(life.standing(1), Some(Standing::Dead(_, Cause::LeaseExpired))));
    assert_eq!(life.ask(Op::Discard(Which::First { most: 10, below: 2 })), Outcome::Moved(1));
    assert_eq!((life.standing(1), life.rows.len()), (None, 0));
}

#[test]
fn a_message_with_the_id_of_one_that_is_remembered_is_that_one() {
    let mut life = usual();
    let message = fresh(0, secs(0), Some(7));
    let sent = life.send(&[message.clone(), message.clone()]);
    assert_eq!(sent, [Sent { seq: 1, duplicate: false }, Sent { seq: 1, duplicate: true }]);
    life.receive(1);
    assert!(life.ack(1, 1));
    life.after(Span::from_millis(599_999));
    assert_eq!(
        life.send(std::slice::from_ref(&message)),
        [Sent { seq: 1, duplicate: true }],
        "also when it is done"
    );
    life.after(Span::from_millis(1));
    assert_eq!(life.send(&[message]), [Sent { seq: 2, duplicate: false }]);
    assert_eq!(life.queue().totals.sent, 2);
    let mut careless = Life::of(Settings { dedup_window: secs(0), ..Settings::default() });
    assert_eq!(careless.send(&[fresh(0, secs(0), Some(7)), fresh(0, secs(0), Some(7))])[1].seq, 2);
}

#[test]
fn what_no_worker_does_in_time_is_a_dead_letter() {
    let mut life = Life::of(Settings { retention: secs(100), ..Settings::default() });
    life.send(&[plain(), fresh(0, secs(1_000), None), plain()]);
    life.receive(1);
    assert_eq!(life.queue().deadline(), Some(START.after(Duration::from_secs(30))));
    life.after(secs(80));
    assert_eq!(life.receive(1)[0].seq, 1, "its lease ran out");
    life.after(secs(20)).tick();
    assert!(matches!(life.standing(2), Some(Standing::Dead(_, Cause::Expired))));
    assert!(matches!(life.standing(3), Some(Standing::Dead(_, Cause::Expired))));
    assert!(matches!(life.standing(1), Some(Standing::Leased(..))), "who has it may end it");
    assert_eq!(life.nack(1, 2, secs(0)), Ok(true));
}

#[test]
fn what_nobody_was_there_to_receive_is_as_it_was() {
    let mut life = usual();
    life.send(&[plain(), plain()]);
    let before = life.standing(1);
    life.receive(1);
    assert_eq!(life.ask(Op::Return(vec![Return { seq: 1, number: 1 }])), Outcome::Moved(1));
    assert_eq!(life.standing(1), before);
    assert_eq!(life.ask(Op::Return(vec![Return { seq: 1, number: 1 }])), Outcome::Moved(0));
    assert!(!life.ack(1, 1));
    let again = life.receive(1)[0];
    assert_eq!((again.seq, again.number, again.deliveries), (1, 2, 1));
}

#[test]
fn what_an_instance_had_goes_to_others_when_it_is_over() {
    let mut life = usual();
    life.send(&[plain(), plain(), plain()]);
    let (one, other) = (JobId::from_bytes([1; 16]), JobId::from_bytes([2; 16]));
    let receive = |max: u32, job: JobId, number: u32| {
        let holder = Some(AttemptKey::new(job, number));
        Op::Receive { max, lease: None, holder }
    };
    life.ask(receive(2, one, 1));
    life.ask(receive(2, other, 1));
    assert_eq!(life.queue().holders, BTreeMap::from([(one, 2), (other, 1)]));
    assert_eq!(life.ask(Op::Abandon { holder: one }), Outcome::Moved(2));
    assert_eq!(life.queue().holders, BTreeMap::from([(other, 1)]));
    // Another attempt of an instance says that the one before is over.
    let Outcome::Received(leased) = life.ask(receive(3, other, 2)) else { panic!() };
    assert_eq!(leased.iter().map(|leased| leased.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(life.queue().holders, BTreeMap::from([(other, 3)]));
}

#[test]
fn a_receive_is_bounded_in_bytes_but_gives_one() {
    let mut life = usual();
    let large = Fresh { bytes: u32::try_from(QUEUE_RECEIVE_BYTES_MAX).unwrap(), ..plain() };
    life.send(&[large.clone(), large, plain()]);
    assert_eq!(life.receive(10).len(), 1);
    assert_eq!(life.receive(10).len(), 1);
    assert_eq!(life.receive(10).len(), 1);
}

#[test]
fn many_that_are_due_at_once_are_seen_to_a_part_at_a_time() {
    let mut life = usual();
    let many: Vec<Fresh> = (0..QUEUE_DUE_PER_STEP).map(|_| fresh(0, secs(5), None)).collect();
    life.send(&many);
    life.send(&many[..10]);
    life.after(secs(5)).tick();
    assert_eq!(life.queue().counts.ready as usize, QUEUE_DUE_PER_STEP);
    life.now = life.queue().deadline().unwrap();
    life.tick();
    assert_eq!(life.queue().counts.ready as usize, QUEUE_DUE_PER_STEP + 10);
}

#[test]
fn a_timer_is_left_armed_for_what_is_done() {
    let mut life = usual();
    life.send(&[plain(), plain()]);
    life.receive(1);
    let armed = life.queue().deadline();
    life.after(secs(1)).receive(1);
    assert!(life.ack(1, 1) && life.ack(2, 1));
    assert_eq!(life.queue().deadline(), armed);
    life.after(secs(29)).tick();
    assert_eq!(life.queue().deadline(), None);
}

#[test]
fn what_is_done_is_remembered_for_a_while_and_of_the_last_only() {
    let mut life = usual();
    life.send(&[plain(), plain()]);
    life.receive(2);
    let result = Ack { seq: 1, number: 1, result: Some("{\"rows\":3}".into()) };
    assert_eq!(life.ask(Op::Ack([result].into())), Outcome::Acked(vec![Ok(())]));
    assert!(life.rows.contains_key(&Names(1).result()));
    life.after(secs(3_600));
    assert!(!life.ack(1, 1), "forgotten");
    assert!(!life.rows.contains_key(&Names(1).result()));
    assert_eq!(life.queue().counts.done, 0);

    // Beyond the limit the first go.
    let mut queue = life.queue();
    let entry = Entry {
        sent_at: life.now,
        priority: 0,
        deliveries: 1,
        lease: 1,
        bytes: 1,
        failed: false,
        standing: Standing::Done(life.now, false),
    };
    let book = queue.book.as_mut().unwrap();
    (1_000..1_000 + QUEUE_DONE_MAX as u64 + 3).for_each(|seq| book.put(seq, entry));
    let Change::Next(next, _) = queue.apply(&Event::Ticked, life.now).unwrap().change else { panic!() };
    assert_eq!(next.counts.done as usize, QUEUE_DONE_MAX);
    assert_eq!(next.book().unwrap().first_done().map(|(_, seq)| seq), Some(1_003));
}

#[test]
fn a_full_queue_takes_all_of_a_batch_or_nothing() {
    let mut queue = usual().queue();
    let book = queue.book.as_mut().unwrap();
    let entry = Entry {
        sent_at: START,
        priority: 0,
        deliveries: 0,
        lease: 0,
        bytes: 1,
        failed: false,
        standing: Standing::Ready,
    };
    (1..QUEUE_MESSAGES_MAX as u64).for_each(|seq| book.put(seq, entry));
    queue.next = QUEUE_MESSAGES_MAX as u64;
    let send = |count: usize| {
        let op = Op::Send(vec![plain(); count].into());
        let event = Event::Asked([Request { ticket: 1, op }].into());
        match &queue.apply(&event, START).unwrap().effects[0] {
            Effect::Answer(answers) => answers[0].1.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(send(2), Outcome::Full);
    assert!(matches!(send(1), Outcome::Sent(_)));
}

#[test]
fn a_queue_that_is_deleted_goes_a_part_at_a_time_and_takes_nothing_more() {
    let mut life = usual();
    life.send(&vec![fresh(0, secs(0), Some(1)); 2]);
    life.send(&vec![plain(); QUEUE_DUE_PER_STEP]);
    let held = life.queue().counts.held();
    assert_eq!(life.does(&Event::DeleteRequested { force: false }), Err(Rejected::NotEmpty(held)));
    life.does(&Event::DeleteRequested { force: true }).unwrap();
    assert_eq!(life.queue().liveness(), Liveness::Live);
    let declared = Event::Declared { settings: Settings::default(), incarnation: JobId::from_bytes([2; 16]) };
    assert_eq!(life.does(&declared), Err(Rejected::Deleting));
    life.now = life.queue().deadline().unwrap();
    life.does(&Event::Ticked).unwrap();
    assert_eq!((life.snapshot.is_none(), life.rows.len()), (true, 0));
    // An empty one goes at once.
    let mut empty = usual();
    empty.does(&Event::DeleteRequested { force: false }).unwrap();
    assert!(empty.snapshot.is_none());
}

#[test]
fn a_quarantined_queue_is_tried_again_when_it_is_declared() {
    let mut life = usual();
    life.send(&[plain()]);
    life.does(&Queue::quarantine("a fault".to_owned())).unwrap();
    assert_eq!(life.queue().liveness(), Liveness::Terminal);
    assert_eq!(life.ask(Op::Send([plain()].into())), Outcome::Refused(Rejected::Quarantined));
    let declared = Event::Declared { settings: Settings::default(), incarnation: JobId::from_bytes([2; 16]) };
    assert!(Queue::releases(&declared));
    life.does(&declared).unwrap();
    assert_eq!(life.queue().incarnation, JobId::from_bytes([1; 16]), "receipts stay good");
    assert_eq!(life.order(), [1]);
}

#[test]
fn whoever_waits_is_told_when_there_is_something() {
    let mut life = usual();
    life.send(&[plain()]);
    assert!(life.effects.contains(&Effect::Ready(1)));
    assert_eq!(life.queue().resume(), [Effect::Ready(1)]);
    life.receive(1);
    assert_eq!(life.effects.len(), 1);
    life.after(secs(30)).tick();
    assert_eq!(life.effects, [Effect::Ready(1)]);
}
