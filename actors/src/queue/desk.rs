//! Where clients hand in what they ask of queues, and wait for the answer.
//!
//! While one transition of a queue is being committed, what is asked meanwhile is gathered; the next transition takes it
//! all. A receive that finds nothing stays here until there is something, its time is over, or its client has gone.
//!
//! Responsible for: bounds, gathering, waking, and for giving back what nobody is there to receive. Not responsible for:
//! what a request does (the machine), and for bringing it there (`clerk.rs`).
//!
//! Invariants: nothing here is needed after a crash; at most one transition of a queue is under way; a receive is parked
//! and woken only where its queue's effects are performed, one after the other, so that none sleeps beside a message;
//! what is leased and cannot be handed over goes back.

mod instances;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use self::instances::{Instance, is_retired};
use super::event::{Fresh, Op, Outcome, Request, Return};
use super::id::QueueId;
use crate::id::JobId;
use crate::limits::{
    QUEUE_BYTES_PER_STEP, QUEUE_BYTES_WAITING_MAX, QUEUE_MESSAGES_PER_STEP, QUEUE_REQUESTS_PER_STEP,
    QUEUE_REQUESTS_WAITING_MAX, QUEUE_WAITERS_MAX,
};
use crate::pool::PoolId;
use crate::store;

/// Why a request has no outcome.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// There is no such queue.
    Missing,
    /// Too much is asked of it.
    Overloaded(&'static str),
    /// The answer was lost.
    Lost,
    /// The store refused.
    Store(store::Error),
    /// Its actor panics even where it is to be quarantined.
    Parked,
}

/// The answer to a request.
pub(crate) type Answer = Result<Outcome, Failure>;

/// The desk. Every clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    /// Rung when something is asked.
    asked: Notify,
    /// Rung when a message comes that nobody waits for, for the pools.
    unserved: Notify,
}

#[derive(Debug, Default)]
struct State {
    tickets: u64,
    closed: bool,
    queues: HashMap<QueueId, Counter>,
    /// Which queue a pool works on.
    pools: BTreeMap<PoolId, QueueId>,
    /// The instances that have asked for something, or are to be given nothing.
    instances: BTreeMap<JobId, Instance>,
}

/// What is asked of one queue.
#[derive(Debug, Default)]
struct Counter {
    pending: VecDeque<Request>,
    bytes: usize,
    waiting: HashMap<u64, Waiting>,
    /// Receives that found nothing. Some may have gone.
    parked: VecDeque<u64>,
    /// A transition is under way.
    busy: bool,
}

/// Somebody who waits.
#[derive(Debug)]
struct Waiting {
    reply: oneshot::Sender<Answer>,
    /// What he asks again when there is something.
    again: Option<Op>,
    parked: bool,
    holder: Option<JobId>,
}

/// What one transition takes.
pub(super) struct Taken {
    pub(super) queue: QueueId,
    pub(super) requests: Arc<[Request]>,
}

/// Somebody's turn: dropped, nobody waits any more.
#[derive(Debug)]
pub(crate) struct Turn {
    desk: Desk,
    queue: QueueId,
    ticket: u64,
    reply: oneshot::Receiver<Answer>,
}

impl Turn {
    /// The answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        (&mut self.reply).await.unwrap_or(Err(Failure::Lost))
    }

    /// The answer, or nothing where there is none in time.
    pub(crate) async fn answer_within(&mut self, patience: std::time::Duration) -> Answer {
        if let Ok(answer) = tokio::time::timeout(patience, self.answer()).await {
            return answer;
        }
        // What is on its way is waited for: it may bring messages.
        if self.desk.lose_patience(self.queue, self.ticket) {
            return Ok(Outcome::Received(vec![]));
        }
        self.answer().await
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.desk.0.state.lock();
        if let Some(counter) = state.queues.get_mut(&self.queue) {
            counter.waiting.remove(&self.ticket);
            if counter.rests() {
                state.queues.remove(&self.queue);
            }
        }
    }
}

impl Desk {
    /// Hands a request in. A patient receive is answered when there is something.
    pub(crate) fn ask(&self, queue: QueueId, op: Op, patient: bool) -> Result<Turn, Failure> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.0.state.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        let turn = Turn { desk: self.clone(), queue, ticket, reply: answer };
        let holder = holder(&op);
        let op = if state.is_retired(holder) { nothing(op) } else { op };
        let again = (patient && !state.closed).then(|| op.clone());
        let counter = state.queues.entry(queue).or_default();
        let bytes = bytes(&op);
        let is_full = counter.pending.len() >= QUEUE_REQUESTS_WAITING_MAX
            || (counter.bytes > 0 && counter.bytes + bytes > QUEUE_BYTES_WAITING_MAX);
        if is_full || (again.is_some() && !counter.has_a_place()) {
            drop(state);
            return Err(Failure::Overloaded(if is_full {
                "too many requests wait for this queue"
            } else {
                "too many receives wait at this queue"
            }));
        }
        counter.waiting.insert(ticket, Waiting { reply, again, parked: false, holder });
        counter.push(Request { ticket, op });
        state.count_receive(holder, 1);
        drop(state);
        self.0.asked.notify_one();
        Ok(turn)
    }

    /// Asks for what nobody waits for.
    fn tell(state: &mut State, queue: QueueId, op: Op) {
        state.tickets += 1;
        let ticket = state.tickets;
        state.queues.entry(queue).or_default().push(Request { ticket, op });
    }

    /// A receive is to be answered now, with nothing where it is parked: whether it was.
    fn lose_patience(&self, queue: QueueId, ticket: u64) -> bool {
        let mut state = self.0.state.lock();
        let waiting = state.queues.get_mut(&queue).and_then(|counter| counter.waiting.get_mut(&ticket));
        let Some(waiting) = waiting else { return false };
        waiting.again = None;
        waiting.parked
    }

    /// The requests of every queue that has no transition under way.
    pub(super) fn take(&self) -> Vec<Taken> {
        let mut state = self.0.state.lock();
        let mut taken = Vec::new();
        for (queue, counter) in &mut state.queues {
            if !counter.busy && !counter.pending.is_empty() {
                counter.busy = true;
                taken.push(Taken { queue: *queue, requests: counter.next_step() });
            }
        }
        taken
    }

    /// Resolves when something was asked.
    pub(super) async fn asked(&self) {
        self.0.asked.notified().await;
    }

    /// The transition is over; those whom nobody has answered are told why.
    pub(super) fn settle(&self, taken: &Taken, failure: Option<&Failure>) {
        let mut state = self.0.state.lock();
        if let Some(failure) = failure {
            for Request { ticket, op } in taken.requests.iter() {
                state.count_receive(holder(op), -1);
                let counter = state.queues.get_mut(&taken.queue);
                if let Some(waiting) = counter.and_then(|counter| counter.waiting.remove(ticket)) {
                    drop(waiting.reply.send(Err(failure.clone())));
                }
            }
        }
        if let Some(counter) = state.queues.get_mut(&taken.queue) {
            counter.busy = false;
            if counter.rests() {
                state.queues.remove(&taken.queue);
            }
        }
    }

    /// Whoever brought requests to the queues has begun anew: nothing is under way for him.
    pub(super) fn begin_anew(&self) {
        for counter in self.0.state.lock().queues.values_mut() {
            counter.busy = false;
        }
        self.0.asked.notify_one();
    }

    /// These requests are done, durably.
    pub(super) fn answered(&self, queue: QueueId, answers: &[(u64, Outcome)]) {
        let mut state = self.0.state.lock();
        let mut returns = Vec::new();
        for (ticket, outcome) in answers {
            let Some(counter) = state.queues.get_mut(&queue) else { break };
            let Some(mut waiting) = counter.waiting.remove(ticket) else {
                give_back(outcome, &mut returns);
                continue;
            };
            let holder = waiting.holder;
            let found_nothing = matches!(outcome, Outcome::Received(leased) if leased.is_empty());
            if found_nothing && waiting.again.is_some() && !waiting.reply.is_closed() {
                waiting.parked = true;
                counter.waiting.insert(*ticket, waiting);
                counter.parked.push_back(*ticket);
            } else if let Err(unheard) = waiting.reply.send(Ok(outcome.clone()))
                && let Ok(outcome) = unheard
            {
                give_back(&outcome, &mut returns);
            }
            state.count_receive(holder, -1);
        }
        let has_returns = !returns.is_empty();
        if has_returns {
            Self::tell(&mut state, queue, Op::Return(returns));
        }
        drop(state);
        if has_returns {
            self.0.asked.notify_one();
        }
    }

    /// So many messages wait: those who wait for them ask again.
    pub(super) fn ready(&self, queue: QueueId, ready: u64) {
        let mut guard = self.0.state.lock();
        let state = &mut *guard;
        let mut left = ready;
        let mut woken = Vec::new();
        if let Some(counter) = state.queues.get_mut(&queue) {
            while left > 0
                && let Some(ticket) = counter.parked.pop_front()
            {
                let Some(waiting) = counter.waiting.get_mut(&ticket) else { continue };
                // One that is given nothing any more sleeps until its patience ends.
                let is_retired = is_retired(&state.instances, waiting.holder);
                let Some(op) = waiting.again.clone().filter(|_| waiting.parked && !is_retired) else {
                    continue;
                };
                waiting.parked = false;
                left = left.saturating_sub(u64::from(most(&op)));
                woken.push(waiting.holder);
                counter.push(Request { ticket, op });
            }
        }
        let has_woken = !woken.is_empty();
        woken.into_iter().for_each(|holder| state.count_receive(holder, 1));
        let is_unserved = left > 0 && state.pools.values().any(|of| *of == queue);
        drop(guard);
        if has_woken {
            self.0.asked.notify_one();
        }
        if is_unserved {
            self.0.unserved.notify_one();
        }
    }

    /// A queue is gone, and whoever waits there waits in vain.
    pub(super) fn gone(&self, queue: QueueId) {
        let parked = {
            let mut state = self.0.state.lock();
            state.queues.get_mut(&queue).map(|counter| counter.dismissed(|_| true)).unwrap_or_default()
        };
        for waiting in parked {
            drop(waiting.reply.send(Err(Failure::Missing)));
        }
    }

    /// Nobody waits for messages any more: what is asked is answered at once.
    pub(crate) fn close(&self) {
        let parked: Vec<Waiting> = {
            let mut state = self.0.state.lock();
            state.closed = true;
            state.queues.values_mut().flat_map(|counter| counter.dismissed(|_| true)).collect()
        };
        parked.into_iter().for_each(dismiss);
    }

    /// Requests that are on their way.
    pub(crate) fn in_flight(&self) -> usize {
        let state = self.0.state.lock();
        let of = |counter: &Counter| counter.waiting.values().filter(|waiting| !waiting.parked).count();
        state.queues.values().map(of).sum()
    }
}

impl Counter {
    fn push(&mut self, request: Request) {
        self.bytes += bytes(&request.op);
        self.pending.push_back(request);
    }

    /// Whether nobody asks or waits, so that nothing need be kept of it.
    fn rests(&self) -> bool {
        !self.busy && self.pending.is_empty() && self.waiting.is_empty()
    }

    /// Whether one more may be parked.
    fn has_a_place(&mut self) -> bool {
        if self.parked.len() >= QUEUE_WAITERS_MAX {
            // Those who have gone are struck out here, and not one by one.
            self.parked.retain(|parked| self.waiting.get(parked).is_some_and(|waiting| waiting.parked));
        }
        self.parked.len() < QUEUE_WAITERS_MAX
    }

    /// The requests of the next transition.
    fn next_step(&mut self) -> Arc<[Request]> {
        let (mut step, mut messages, mut size) = (Vec::new(), 0, 0);
        while step.len() < QUEUE_REQUESTS_PER_STEP
            && messages < QUEUE_MESSAGES_PER_STEP
            && size < QUEUE_BYTES_PER_STEP
            && let Some(request) = self.pending.pop_front()
        {
            messages += weight(&request.op);
            size += bytes(&request.op);
            step.push(request);
        }
        self.bytes = self.bytes.saturating_sub(size);
        step.into()
    }

    /// Takes out those of the parked for whom this holds.
    fn dismissed(&mut self, is_meant: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let meant =
            |(ticket, waiting): (&u64, &Waiting)| (waiting.parked && is_meant(waiting)).then_some(*ticket);
        let tickets: Vec<u64> = self.waiting.iter().filter_map(meant).collect();
        tickets.into_iter().filter_map(|ticket| self.waiting.remove(&ticket)).collect()
    }
}

fn dismiss(waiting: Waiting) {
    // Whoever has gone has not been given anything.
    drop(waiting.reply.send(Ok(Outcome::Received(vec![]))));
}

fn give_back(outcome: &Outcome, returns: &mut Vec<Return>) {
    if let Outcome::Received(leased) = outcome {
        returns.extend(leased.iter().map(|leased| Return { seq: leased.seq, number: leased.number }));
    }
}

const fn holder(op: &Op) -> Option<JobId> {
    match op {
        Op::Receive { holder: Some(key), .. } => Some(key.job),
        _ => None,
    }
}

/// A receive of one that is given nothing any more; that it asks still says that its earlier attempts are over.
fn nothing(op: Op) -> Op {
    match op {
        Op::Receive { lease, holder, .. } => Op::Receive { max: 0, lease, holder },
        other => other,
    }
}

/// How many messages a receive may take.
const fn most(op: &Op) -> u32 {
    match op {
        Op::Receive { max, .. } => *max,
        _ => 0,
    }
}

/// How many messages a request is about.
fn weight(op: &Op) -> usize {
    match op {
        Op::Send(messages) => messages.len(),
        Op::Receive { max, .. } => *max as usize,
        Op::Ack(acks) => acks.len(),
        Op::Return(returns) => returns.len(),
        Op::Requeue(_) | Op::Discard(_) | Op::Abandon { .. } => QUEUE_MESSAGES_PER_STEP,
        Op::Renew { .. } | Op::Nack { .. } => 1,
    }
}

/// How many bytes a request brings.
fn bytes(op: &Op) -> usize {
    match op {
        Op::Send(messages) => messages.iter().map(|message: &Fresh| message.row.len()).sum(),
        Op::Ack(acks) => acks.iter().filter_map(|ack| ack.result.as_ref()).map(|result| result.len()).sum(),
        _ => 0,
    }
}
