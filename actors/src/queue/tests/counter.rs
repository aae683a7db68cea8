//! Gathering, waiting and waking, with a queue that is applied to by hand.

use futures_util::FutureExt as _;

use super::*;
use crate::queue::desk::{Desk, Failure, Turn};

/// A desk, and the queue behind it.
struct Counter {
    desk: Desk,
    life: Life,
}

fn orders() -> QueueId {
    "orders".parse().unwrap()
}

fn receive(holder: Option<JobId>) -> Op {
    Op::Receive { max: 1, lease: None, holder: holder.map(|job| AttemptKey::new(job, 1)) }
}

impl Counter {
    fn new() -> Self {
        Self { desk: Desk::default(), life: usual() }
    }

    fn ask(&self, op: Op, patient: bool) -> Turn {
        self.desk.ask(orders(), op, patient).unwrap()
    }

    /// Brings everything that was asked to the queue, and tells how many requests that were.
    fn work(&mut self) -> usize {
        let mut count = 0;
        loop {
            let taken = self.desk.take();
            if taken.is_empty() {
                return count;
            }
            for taken in taken {
                count += taken.requests.len();
                self.life.does(&Event::Asked(taken.requests.clone())).unwrap();
                self.perform();
                self.desk.settle(&taken, None);
            }
        }
    }

    fn perform(&mut self) {
        for effect in std::mem::take(&mut self.life.effects) {
            match effect {
                Effect::Answer(answers) => self.desk.answered(orders(), &answers),
                Effect::Ready(ready) => self.desk.ready(orders(), ready),
            }
        }
    }
}

fn told(turn: &mut Turn) -> Option<Vec<u64>> {
    match turn.answer().now_or_never()? {
        Ok(Outcome::Received(leased)) => Some(leased.iter().map(|leased| leased.seq).collect()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_asked_meanwhile_is_one_transition() {
    let counter = Counter::new();
    let first = counter.ask(Op::Send([plain()].into()), false);
    let under_way = counter.desk.take();
    assert_eq!(under_way[0].requests.len(), 1);
    let _turns: Vec<Turn> = (0..5).map(|_| counter.ask(Op::Send([plain()].into()), false)).collect();
    assert!(counter.desk.take().is_empty(), "one at a time");
    counter.desk.settle(&under_way[0], Some(&Failure::Lost));
    let mut first = first;
    assert!(matches!(first.answer().now_or_never(), Some(Err(Failure::Lost))));
    assert_eq!(counter.desk.take()[0].requests.len(), 5);
}

#[test]
fn a_patient_receive_hears_of_the_first_message() {
    let mut counter = Counter::new();
    let (mut first, mut second) = (counter.ask(receive(None), true), counter.ask(receive(None), true));
    counter.work();
    assert_eq!((told(&mut first), told(&mut second)), (None, None));
    assert_eq!(counter.desk.in_flight(), 0, "those who wait hold nothing up");
    let _sent = counter.ask(Op::Send([plain()].into()), false);
    counter.work();
    assert_eq!((told(&mut first), told(&mut second)), (Some(vec![1]), None));
    // A lease that runs out is a message again.
    counter.life.after(secs(30)).tick();
    counter.perform();
    counter.work();
    assert_eq!(told(&mut second), Some(vec![1]));
    let mut third = counter.ask(receive(None), false);
    counter.work();
    assert_eq!(told(&mut third), Some(vec![]), "without patience the answer is none");
}

#[test]
fn what_is_leased_to_somebody_who_has_gone_goes_back() {
    let mut counter = Counter::new();
    let _sent = counter.ask(Op::Send([plain()].into()), false);
    let gone = counter.ask(receive(None), true);
    drop(gone);
    counter.work();
    assert_eq!(counter.life.standing(1), Some(Standing::Ready));
    let mut next = counter.ask(receive(None), false);
    counter.work();
    let Some(Ok(Outcome::Received(leased))) = next.answer().now_or_never() else { panic!("it is there") };
    assert_eq!((leased[0].deliveries, leased[0].number), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn patience_ends() {
    let mut counter = Counter::new();
    let mut turn = counter.ask(receive(None), true);
    counter.work();
    let answer = turn.answer_within(Duration::from_secs(20)).await;
    assert!(matches!(answer, Ok(Outcome::Received(leased)) if leased.is_empty()));
    // One whose request is on its way then is given what comes of it.
    let mut turn = counter.ask(receive(None), true);
    counter.work();
    let _sent = counter.ask(Op::Send([plain()].into()), false);
    let taken = counter.desk.take().remove(0);
    counter.life.does(&Event::Asked(taken.requests.clone())).unwrap();
    counter.perform();
    counter.desk.settle(&taken, None);
    let mut late = Box::pin(turn.answer_within(Duration::from_millis(1)));
    assert!(futures_util::poll!(&mut late).is_pending());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(futures_util::poll!(&mut late).is_pending());
    counter.work();
    assert!(matches!(late.await, Ok(Outcome::Received(leased)) if leased.len() == 1));
}

#[test]
fn a_closed_desk_and_a_deleted_queue_keep_nobody_waiting() {
    let mut counter = Counter::new();
    let mut turn = counter.ask(receive(None), true);
    counter.work();
    counter.desk.gone(orders());
    assert!(matches!(turn.answer().now_or_never(), Some(Err(Failure::Missing))));
    let mut turn = counter.ask(receive(None), true);
    counter.work();
    counter.desk.close();
    assert_eq!(told(&mut turn), Some(vec![]));
    let mut turn = counter.ask(receive(None), true);
    counter.work();
    assert_eq!(told(&mut turn), Some(vec![]));
}

#[test]
fn a_retired_instance_is_given_nothing_and_that_is_certain_only_when_nothing_is_on_its_way() {
    let mut counter = Counter::new();
    let (pool, job) = ("workers".parse().unwrap(), JobId::from_bytes([5; 16]));
    counter.desk.bind(pool, orders());
    counter.desk.connect(pool, job);
    let mut parked = counter.ask(receive(Some(job)), true);
    counter.work();
    let mut on_its_way = counter.ask(receive(Some(job)), true);
    counter.desk.retire(pool, job);
    let seen = |counter: &Counter| {
        let queue = Arc::new(counter.life.queue());
        let demands = counter.desk.demands(|_| Some(Arc::clone(&queue)));
        (demands[0].1.waiting, demands[0].1.instances[&job])
    };
    assert!(!seen(&counter).1.retired);
    let _sent = counter.ask(Op::Send([plain(), plain()].into()), false);
    counter.work();
    // They are not woken any more, and the messages are there for others.
    assert_eq!((told(&mut parked), told(&mut on_its_way)), (None, None));
    assert_eq!((seen(&counter).0, seen(&counter).1.retired, seen(&counter).1.busy), (2, true, 0));
    let mut late = counter.ask(receive(Some(job)), false);
    counter.work();
    assert_eq!(told(&mut late), Some(vec![]));
    let mut other = counter.ask(receive(None), false);
    counter.work();
    assert_eq!(told(&mut other), Some(vec![1]));
    counter.desk.forget_instance(orders(), job);
    counter.work();
    counter.desk.unbind(pool);
    assert!(counter.desk.demands(|_| None).is_empty());
}

#[test]
fn what_an_instance_has_is_its_work() {
    let mut counter = Counter::new();
    let (pool, job) = ("workers".parse().unwrap(), JobId::from_bytes([5; 16]));
    counter.desk.bind(pool, orders());
    let _sent = counter.ask(Op::Send([plain(), plain(), plain()].into()), false);
    let mut turn = counter.ask(receive(Some(job)), false);
    counter.work();
    assert_eq!(told(&mut turn), Some(vec![1]));
    let queue = Arc::new(counter.life.queue());
    let (_, demand) = counter.desk.demands(|_| Some(Arc::clone(&queue))).remove(0);
    assert_eq!((demand.waiting, demand.running, demand.instances[&job].busy), (2, 1, 1));
    counter.desk.forget_instance(orders(), job);
    counter.work();
    assert_eq!(counter.life.queue().counts.ready, 3, "what it had is there for others at once");
}
