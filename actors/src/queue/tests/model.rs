//! Random lives beside a model that is as plain as it can be: a list that is searched. The queue is made anew of its
//! snapshot and its rows before every event.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// What may happen.
#[derive(Debug, Clone)]
enum Act {
    Send { priority: i8, delay: u64, id: Option<u8> },
    Receive { max: u32, lease: Option<u64>, holder: Option<u8> },
    Renew { which: u8, lease: u64 },
    Ack { which: u8 },
    Nack { which: u8, delay: u64 },
    Return { which: u8 },
    Abandon { holder: u8 },
    Requeue { all: bool, which: u8 },
    Discard { all: bool, which: u8 },
    Pass { secs: u64 },
    Tick,
}

fn act() -> impl Strategy<Value = Act> {
    let id = proptest::option::weighted(0.3, 0..4_u8);
    let lease = proptest::option::of(1..20_u64);
    let holder = proptest::option::of(0..3_u8);
    prop_oneof![
        5 => (-2..3_i8, prop_oneof![3 => Just(0), 1 => 1..10_u64], id)
            .prop_map(|(priority, delay, id)| Act::Send { priority, delay, id }),
        5 => (1..4_u32, lease, holder).prop_map(|(max, lease, holder)| Act::Receive { max, lease, holder }),
        1 => (any::<u8>(), 1..20_u64).prop_map(|(which, lease)| Act::Renew { which, lease }),
        3 => any::<u8>().prop_map(|which| Act::Ack { which }),
        2 => (any::<u8>(), 0..5_u64).prop_map(|(which, delay)| Act::Nack { which, delay }),
        1 => any::<u8>().prop_map(|which| Act::Return { which }),
        1 => (0..3_u8).prop_map(|holder| Act::Abandon { holder }),
        1 => (any::<bool>(), any::<u8>()).prop_map(|(all, which)| Act::Requeue { all, which }),
        1 => (any::<bool>(), any::<u8>()).prop_map(|(all, which)| Act::Discard { all, which }),
        4 => (0..15_u64).prop_map(|secs| Act::Pass { secs }),
        2 => Just(Act::Tick),
    ]
}

/// A message of the model.
#[derive(Debug, Clone)]
struct Message {
    seq: u64,
    priority: i8,
    sent_at: Timestamp,
    deliveries: u32,
    lease: u32,
    standing: Standing,
}

/// The plain model.
#[derive(Debug)]
struct Model {
    settings: Settings,
    messages: Vec<Message>,
    /// Ids outlive their messages.
    ids: Vec<(u8, u64, Timestamp)>,
    next: u64,
    now: Timestamp,
    acknowledged: u64,
}

impl Model {
    fn too_old(&self, message: &Message) -> bool {
        message.sent_at.after(self.settings.retention.as_duration()) <= self.now
    }

    /// A delivery of the message at this place ends without its being done.
    fn comes_back(&mut self, at: usize, back: Standing, cause: Cause) -> bool {
        let message = &self.messages[at];
        let cause = if message.deliveries >= self.settings.max_deliveries {
            Some(cause)
        } else {
            self.too_old(message).then_some(Cause::Expired)
        };
        self.messages[at].standing = cause.map_or(back, |cause| Standing::Dead(self.now, cause));
        cause.is_some()
    }

    fn due(&mut self) {
        let now = self.now;
        let keep = self.settings.keep_results.as_duration();
        self.messages
            .retain(|message| !matches!(message.standing, Standing::Done(at, _) if at.after(keep) <= now));
        for at in 0..self.messages.len() {
            if matches!(self.messages[at].standing, Standing::Leased(until, _) if until <= now) {
                self.comes_back(at, Standing::Ready, Cause::LeaseExpired);
            }
        }
        for at in 0..self.messages.len() {
            if matches!(self.messages[at].standing, Standing::Delayed(until) if until <= now) {
                self.messages[at].standing = Standing::Ready;
            }
            let waits = matches!(self.messages[at].standing, Standing::Ready | Standing::Delayed(_));
            if waits && self.too_old(&self.messages[at]) {
                self.messages[at].standing = Standing::Dead(now, Cause::Expired);
            }
        }
    }

    fn send(&mut self, priority: i8, delay: u64, id: Option<u8>) -> Sent {
        let window = self.settings.dedup_window.as_duration();
        let known = self.ids.iter().rev().find(|(known, _, _)| Some(*known) == id);
        if let Some((_, seq, _)) = known.filter(|(_, _, at)| at.after(window) > self.now) {
            return Sent { seq: *seq, duplicate: true };
        }
        let seq = self.next;
        self.next += 1;
        self.ids.extend(id.map(|id| (id, seq, self.now)));
        let standing = match delay {
            0 => Standing::Ready,
            secs => Standing::Delayed(self.now.after(Duration::from_secs(secs))),
        };
        let sent_at = self.now;
        self.messages.push(Message { seq, priority, sent_at, deliveries: 0, lease: 0, standing });
        Sent { seq, duplicate: false }
    }

    fn receive(&mut self, max: u32, lease: Option<u64>, holder: Option<AttemptKey>) -> Vec<(u64, u32, u32)> {
        let lease = lease.map_or(self.settings.lease.as_duration(), Duration::from_secs);
        let until = self.now.after(lease);
        let mut given = vec![];
        for _ in 0..max {
            let ready = self.messages.iter_mut().filter(|message| message.standing == Standing::Ready);
            let Some(message) = ready.min_by_key(|message| (-message.priority, message.seq)) else { break };
            message.deliveries += 1;
            message.lease += 1;
            message.standing = Standing::Leased(until, holder);
            given.push((message.seq, message.lease, message.deliveries));
        }
        given
    }

    /// Where the message is that this receipt is good for.
    fn leased(&self, (seq, number): (u64, u32)) -> Option<usize> {
        self.messages.iter().position(|message| {
            let is_held = matches!(message.standing, Standing::Leased(until, _) if until > self.now);
            message.seq == seq && message.lease == number && is_held
        })
    }

    fn ack(&mut self, receipt: (u64, u32)) -> bool {
        if let Some(at) = self.leased(receipt) {
            self.messages[at].standing = Standing::Done(self.now, false);
            self.acknowledged += 1;
            return true;
        }
        let is_same = |message: &&Message| (message.seq, message.lease) == receipt;
        let done = self.messages.iter().find(is_same);
        done.is_some_and(|message| matches!(message.standing, Standing::Done(..)))
    }

    fn dead(&self, all: bool, seq: u64) -> Vec<usize> {
        let is_meant =
            |message: &Message| matches!(message.standing, Standing::Dead(..)) && (all || message.seq == seq);
        let places = self.messages.iter().enumerate();
        places.filter(|(_, message)| is_meant(message)).map(|(at, _)| at).collect()
    }

    fn abandon(&mut self, holder: JobId) -> u32 {
        let mut count = 0;
        for at in 0..self.messages.len() {
            if matches!(self.messages[at].standing, Standing::Leased(_, Some(by)) if by.job == holder) {
                self.comes_back(at, Standing::Ready, Cause::LeaseExpired);
                count += 1;
            }
        }
        count
    }
}

/// The queue, the model, and every receipt that was ever given.
struct World {
    life: Life,
    model: Model,
    receipts: Vec<(u64, u32)>,
}

fn attempt(holder: u8) -> AttemptKey {
    AttemptKey::new(job(holder), 1)
}

fn job(holder: u8) -> JobId {
    JobId::from_bytes([holder; 16])
}

impl World {
    fn new() -> Self {
        let settings = Settings {
            lease: secs(8),
            max_deliveries: 3,
            retention: secs(60),
            dedup_window: secs(20),
            keep_results: secs(30),
        };
        let model = Model {
            settings: settings.clone(),
            messages: vec![],
            ids: vec![],
            next: 1,
            now: START,
            acknowledged: 0,
        };
        Self { life: Life::of(settings), model, receipts: vec![] }
    }

    fn receipt(&self, which: u8) -> (u64, u32) {
        match self.receipts.len() {
            0 => (1, 1),
            count => self.receipts[usize::from(which) % count],
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Pass { secs } => {
                self.life.now = self.life.now.after(Duration::from_secs(*secs));
                self.model.now = self.life.now;
                return;
            }
            Act::Tick => {
                self.life.tick();
                self.model.due();
            }
            _ => {
                let outcome = self.life.ask(self.op(act));
                self.model.due();
                self.compare(act, outcome);
            }
        }
        self.check();
    }

    fn op(&self, act: &Act) -> Op {
        let which = |all: bool, which: u8| match all {
            true => Which::First { most: 100, below: u64::MAX },
            false => Which::One(self.receipt(which).0),
        };
        match *act {
            Act::Send { priority, delay, id } => Op::Send([fresh(priority, secs(delay), id)].into()),
            Act::Receive { max, lease, holder } => {
                Op::Receive { max, lease: lease.map(secs), holder: holder.map(attempt) }
            }
            Act::Renew { which, lease } => {
                let (seq, number) = self.receipt(which);
                Op::Renew { seq, number, lease: Some(secs(lease)) }
            }
            Act::Ack { which } => {
                let (seq, number) = self.receipt(which);
                Op::Ack([Ack { seq, number, result: None }].into())
            }
            Act::Nack { which, delay } => {
                let (seq, number) = self.receipt(which);
                Op::Nack { seq, number, delay: secs(delay), error: None }
            }
            Act::Return { which } => {
                let (seq, number) = self.receipt(which);
                Op::Return(vec![Return { seq, number }])
            }
            Act::Abandon { holder } => Op::Abandon { holder: job(holder) },
            Act::Requeue { all, which: seq } => Op::Requeue(which(all, seq)),
            Act::Discard { all, which: seq } => Op::Discard(which(all, seq)),
            Act::Pass { .. } | Act::Tick => unreachable!("asks nothing"),
        }
    }

    fn compare(&mut self, act: &Act, outcome: Outcome) {
        match (act, outcome) {
            (Act::Send { priority, delay, id }, Outcome::Sent(sent)) => {
                assert_eq!(sent, [self.model.send(*priority, *delay, *id)]);
            }
            (Act::Receive { max, lease, holder }, Outcome::Received(leased)) => {
                let given = self.model.receive(*max, *lease, holder.map(attempt));
                let found: Vec<_> =
                    leased.iter().map(|leased| (leased.seq, leased.number, leased.deliveries)).collect();
                assert_eq!(found, given);
                for (seq, number, _) in given {
                    assert!(!self.receipts.contains(&(seq, number)), "a receipt is given once");
                    self.receipts.push((seq, number));
                }
            }
            (Act::Renew { which, lease }, Outcome::Renewed(renewed)) => {
                let at = self.model.leased(self.receipt(*which));
                assert_eq!(renewed.is_ok(), at.is_some());
                if let Some(at) = at
                    && let Standing::Leased(_, holder) = self.model.messages[at].standing
                {
                    let until = self.model.now.after(Duration::from_secs(*lease));
                    self.model.messages[at].standing = Standing::Leased(until, holder);
                }
            }
            (Act::Ack { which }, Outcome::Acked(done)) => {
                assert_eq!(done[0].is_ok(), self.model.ack(self.receipt(*which)));
            }
            (Act::Nack { which, delay }, Outcome::Nacked(done)) => {
                let expected = self.model.leased(self.receipt(*which)).map(|at| {
                    let back = match delay {
                        0 => Standing::Ready,
                        secs => Standing::Delayed(self.model.now.after(Duration::from_secs(*secs))),
                    };
                    self.model.comes_back(at, back, Cause::Failed)
                });
                assert_eq!(done.ok(), expected);
            }
            (act, Outcome::Moved(moved)) => assert_eq!(moved, self.moves(act)),
            (act, outcome) => panic!("{act:?} was answered {outcome:?}"),
        }
    }

    fn moves(&mut self, act: &Act) -> u32 {
        let places = match act {
            Act::Return { which } => {
                let Some(at) = self.model.leased(self.receipt(*which)) else { return 0 };
                self.model.messages[at].deliveries -= 1;
                self.model.messages[at].standing = Standing::Ready;
                return 1;
            }
            Act::Abandon { holder } => return self.model.abandon(job(*holder)),
            Act::Requeue { all, which } | Act::Discard { all, which } => {
                self.model.dead(*all, self.receipt(*which).0)
            }
            other => panic!("{other:?} moves nothing"),
        };
        let now = self.model.now;
        for at in places.iter().rev() {
            if let Act::Discard { .. } = act {
                self.model.messages.remove(*at);
            } else {
                let message = &mut self.model.messages[*at];
                (message.sent_at, message.deliveries, message.standing) = (now, 0, Standing::Ready);
            }
        }
        u32::try_from(places.len()).unwrap()
    }

    fn check(&self) {
        let queue = self.life.queue();
        let found: Vec<_> = queue
            .book()
            .unwrap()
            .messages()
            .map(|(seq, entry)| (seq, entry.priority, entry.deliveries, entry.lease, entry.standing))
            .collect();
        let expected: Vec<_> = self
            .model
            .messages
            .iter()
            .map(|it| (it.seq, it.priority, it.deliveries, it.lease, it.standing))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(queue.totals.acknowledged, self.model.acknowledged);
        let due = |message: &Message| match message.standing {
            Standing::Leased(until, _) | Standing::Delayed(until) => until,
            Standing::Ready => message.sent_at.after(Duration::from_secs(60)),
            Standing::Dead(..) | Standing::Done(..) => Timestamp::from_millis(i64::MAX),
        };
        let first = self.model.messages.iter().map(due).min();
        let first = first.filter(|first| first.as_millis() < i64::MAX);
        assert!(
            first.is_none_or(|first| queue.deadline().is_some_and(|armed| armed <= first)),
            "nothing is due before it is looked at: {first:?} {:?}",
            queue.deadline()
        );
    }
}

#[test]
fn a_queue_does_what_a_plain_list_does_whenever_it_is_read_back() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]);
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let tried = runner.run(&proptest::collection::vec(act(), 0..80), |acts| {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        Ok(())
    });
    tried.unwrap();
}
