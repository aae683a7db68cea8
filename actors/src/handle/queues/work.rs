//! Sending messages, and what workers do with them.

use std::sync::Arc;

use super::types::{
    Acknowledge, AcknowledgeOne, Acknowledged, GiveBack, GivenBack, NewMessage, Receive, ReceivedMessage,
    Renew, Renewed, SentMessage,
};
use super::{Error, Queues, Result, number, of_failure, outcome};
use crate::durable::Machine as _;
use crate::handle::{Error as AnyError, FieldError, digest, pools};
use crate::id::AttemptKey;
use crate::limits::{
    CLIENT_KEY_CHARS_MAX, FIELD_ERRORS_MAX, KEY_CHARS_MAX, QUEUE_BATCH_BYTES_MAX, QUEUE_BATCH_MAX,
    QUEUE_BODY_BYTES_MAX, QUEUE_DELAY_MAX, QUEUE_ERROR_CHARS_MAX, QUEUE_HEADER_BYTES_MAX, QUEUE_HEADERS_MAX,
    QUEUE_PRIORITY_MAX, QUEUE_RECEIVE_MAX, QUEUE_RESULT_BYTES_MAX, QUEUE_WAIT_MAX,
};
use crate::pool::PoolId;
use crate::queue::settings::{is_lease, lease_message};
use crate::queue::{Ack, Body, Fresh, Leased, Names, Op, Outcome, Queue, QueueId};
use crate::store::codec;
use crate::units::Span;

/// What the worker of an instance of a pool may do: work on this queue, for as long as its attempt runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerScope {
    /// Its pool.
    pub pool: PoolId,
    /// Its attempt.
    pub key: AttemptKey,
    /// The queue.
    pub queue: QueueId,
}

impl Queues {
    /// What the worker may do that presents this token at this queue.
    pub fn admit(&self, token: &str, name: &str) -> Result<WorkerScope> {
        let scope = self.handle.pools().admit_to_queue(token).map_err(of_pools)?;
        if scope.queue.as_str() != name {
            return Err(Error::Token("it is for another queue"));
        }
        Ok(scope)
    }

    /// Keeps messages, all or none. Resolves when they are durable.
    pub async fn send(&self, name: &str, messages: Vec<NewMessage>) -> Result<Vec<SentMessage>> {
        let queue = self.active(name)?;
        let op = Op::Send(fresh(messages)?.into());
        let Outcome::Sent(sent) = self.ask(&queue, op).await? else {
            return Err(AnyError::Interrupted.into());
        };
        let view =
            |sent: &crate::queue::Sent| SentMessage { id: sent.seq.to_string(), duplicate: sent.duplicate };
        Ok(sent.iter().map(view).collect())
    }

    /// Leases messages to a worker; none where there is none in time. Dropped, it leases nothing.
    pub async fn receive(
        &self,
        name: &str,
        asked: &Receive,
        by: Option<&WorkerScope>,
    ) -> Result<Vec<ReceivedMessage>> {
        let queue = self.active(name)?;
        check_receive(asked)?;
        if let Some(scope) = by {
            self.connect(scope).await?;
        }
        let holder = by.map(|scope| scope.key);
        let op = Op::Receive { max: asked.max, lease: asked.lease, holder };
        let patience = asked.wait.as_duration();
        let turn = self.handle.inner().desk.ask(queue.id, op, !patience.is_zero());
        let mut turn = turn.map_err(|failure| of_failure(queue.id, failure))?;
        let answer =
            if patience.is_zero() { turn.answer().await } else { turn.answer_within(patience).await };
        let Outcome::Received(leased) = outcome(queue.id, answer)? else {
            return Err(AnyError::Interrupted.into());
        };
        let mut messages = Vec::with_capacity(leased.len());
        for leased in leased {
            messages.extend(self.received(&queue, leased)?);
        }
        Ok(messages)
    }

    /// The worker of an instance shows itself: its pool is told once.
    async fn connect(&self, scope: &WorkerScope) -> Result<()> {
        let inner = self.handle.inner();
        inner.desk.connect(scope.pool, scope.key.job);
        let pool = inner.pools.published().read(scope.pool)?;
        let is_new = pool.is_some_and(|pool| {
            let instance = pool.instances.get(&scope.key.job);
            instance.is_some_and(|instance| instance.connected_at.is_none())
        });
        if !is_new {
            return Ok(());
        }
        match self.handle.pools().tell_connected(scope.pool, scope.key.job).await {
            // One that is being stopped is given nothing, and hears it so.
            Ok(()) | Err(pools::Error::Token(_)) => Ok(()),
            Err(error) => Err(of_pools(error)),
        }
    }

    fn received(&self, queue: &Queue, leased: Leased) -> Result<Option<ReceivedMessage>> {
        // Without it the lease has run out and somebody else was quicker.
        let Some(body) = self.row::<Body>(queue.id, Names(leased.seq).body())? else { return Ok(None) };
        Ok(Some(ReceivedMessage {
            id: leased.seq.to_string(),
            receipt: self.receipt(queue, leased.seq, leased.number),
            body: body.body,
            headers: body.headers,
            priority: leased.priority,
            deliveries: leased.deliveries,
            sent_at: leased.sent_at,
            leased_until: leased.until,
            dedup_id: body.id,
        }))
    }

    /// Leases a message longer.
    pub async fn renew(&self, name: &str, message: &str, renew: &Renew) -> Result<Renewed> {
        let queue = self.active(name)?;
        check_lease(renew.lease)?;
        let (seq, number) = self.proved(&queue, message, &renew.receipt)?;
        match self.ask(&queue, Op::Renew { seq, number, lease: renew.lease }).await? {
            Outcome::Renewed(Ok(leased_until)) => Ok(Renewed { leased_until }),
            Outcome::Renewed(Err(_)) => Err(Error::StaleReceipt(seq.to_string())),
            _ => Err(AnyError::Interrupted.into()),
        }
    }

    /// A message is done. The same receipt again is the same as once, for as long as that is remembered.
    pub async fn ack(&self, name: &str, message: &str, ack: Acknowledge) -> Result<Acknowledged> {
        let queue = self.active(name)?;
        let (seq, number) = self.proved(&queue, message, &ack.receipt)?;
        let result = result(ack.result, "/result")?;
        match self.ask(&queue, Op::Ack([Ack { seq, number, result }].into())).await? {
            Outcome::Acked(done) if done == [Ok(())] => {
                Ok(Acknowledged { id: seq.to_string(), acknowledged: true })
            }
            Outcome::Acked(_) => Err(Error::StaleReceipt(seq.to_string())),
            _ => Err(AnyError::Interrupted.into()),
        }
    }

    /// Messages are done; which of them by these receipts.
    pub async fn ack_many(&self, name: &str, acks: Vec<AcknowledgeOne>) -> Result<Vec<Acknowledged>> {
        let queue = self.active(name)?;
        check_count(acks.len())?;
        let ids: Vec<String> = acks.iter().map(|ack| super::shown(&ack.id)).collect();
        let mut op = Vec::with_capacity(acks.len());
        for (index, ack) in acks.into_iter().enumerate() {
            let fault = |field: &str, error: &Error| {
                let pointer = format!("/messages/{index}/{field}");
                Error::Invalid(vec![FieldError { pointer, message: error.to_string() }])
            };
            number(&ack.id).ok_or_else(|| fault("id", &Error::NoMessage(super::shown(&ack.id))))?;
            let proved = self.proved(&queue, &ack.id, &ack.receipt);
            let (seq, number) = proved.map_err(|error| fault("receipt", &error))?;
            let result = result(ack.result, &format!("/messages/{index}/result"))?;
            op.push(Ack { seq, number, result });
        }
        let Outcome::Acked(done) = self.ask(&queue, Op::Ack(op.into())).await? else {
            return Err(AnyError::Interrupted.into());
        };
        let told = ids.into_iter().zip(done);
        Ok(told.map(|(id, done)| Acknowledged { id, acknowledged: done.is_ok() }).collect())
    }

    /// A message could not be done: it is delivered again, or is a dead letter.
    pub async fn nack(&self, name: &str, message: &str, back: GiveBack) -> Result<GivenBack> {
        let queue = self.active(name)?;
        let (seq, number) = self.proved(&queue, message, &back.receipt)?;
        let mut faults = Faults::default();
        faults
            .refuse(back.delay > QUEUE_DELAY_MAX, "/delay", || format!("must be at most {QUEUE_DELAY_MAX}"));
        let is_long = back.error.as_ref().is_some_and(|text| text.chars().count() > QUEUE_ERROR_CHARS_MAX);
        faults.refuse(is_long, "/error", || format!("must be at most {QUEUE_ERROR_CHARS_MAX} characters"));
        faults.check()?;
        let error = back.error.map(Arc::from);
        match self.ask(&queue, Op::Nack { seq, number, delay: back.delay, error }).await? {
            Outcome::Nacked(Ok(dead)) => Ok(GivenBack { dead }),
            Outcome::Nacked(Err(_)) => Err(Error::StaleReceipt(seq.to_string())),
            _ => Err(AnyError::Interrupted.into()),
        }
    }
}

/// What is wrong with a request.
#[derive(Debug, Default)]
struct Faults(Vec<FieldError>);

impl Faults {
    fn refuse(&mut self, wrong: bool, pointer: &str, message: impl FnOnce() -> String) {
        if wrong && self.0.len() < FIELD_ERRORS_MAX {
            self.0.push(FieldError { pointer: pointer.to_owned(), message: message() });
        }
    }

    fn check(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}

fn check_count(count: usize) -> Result<()> {
    let mut faults = Faults::default();
    let is_good = (1..=QUEUE_BATCH_MAX).contains(&count);
    faults.refuse(!is_good, "/messages", || format!("has {count}; send 1 to {QUEUE_BATCH_MAX} at once"));
    faults.check()
}

fn check_lease(lease: Option<Span>) -> Result<()> {
    let mut faults = Faults::default();
    faults.refuse(lease.is_some_and(|lease| !is_lease(lease)), "/lease", lease_message);
    faults.check()
}

fn check_receive(asked: &Receive) -> Result<()> {
    let mut faults = Faults::default();
    let is_good = (1..=QUEUE_RECEIVE_MAX).contains(&asked.max);
    faults.refuse(!is_good, "/max", || format!("must be 1 to {QUEUE_RECEIVE_MAX}"));
    faults.refuse(asked.lease.is_some_and(|lease| !is_lease(lease)), "/lease", lease_message);
    let is_long = asked.wait.as_duration() > QUEUE_WAIT_MAX;
    faults.refuse(is_long, "/wait", || format!("must be at most {} seconds", QUEUE_WAIT_MAX.as_secs()));
    faults.check()
}

fn result(result: Option<serde_json::Value>, pointer: &str) -> Result<Option<Arc<str>>> {
    let Some(result) = result else { return Ok(None) };
    let text = result.to_string();
    let mut faults = Faults::default();
    let is_long = text.len() > QUEUE_RESULT_BYTES_MAX;
    faults.refuse(is_long, pointer, || {
        format!("must be at most {QUEUE_RESULT_BYTES_MAX} bytes; pass larger data by reference")
    });
    faults.check()?;
    Ok(Some(text.into()))
}

/// Messages as the queue keeps them. A single one is the document itself.
fn fresh(messages: Vec<NewMessage>) -> Result<Vec<Fresh>> {
    check_count(messages.len())?;
    let is_single = messages.len() == 1;
    let (mut faults, mut all, mut bytes) = (Faults::default(), Vec::with_capacity(messages.len()), 0);
    for (index, message) in messages.into_iter().enumerate() {
        let at =
            |field: &str| if is_single { format!("/{field}") } else { format!("/messages/{index}/{field}") };
        let body = serde_json::value::to_raw_value(&message.body).map_err(|_| AnyError::Interrupted)?;
        let size = body.get().len();
        bytes += size;
        faults.refuse(size > QUEUE_BODY_BYTES_MAX, &at("body"), || {
            format!(
                "has {size} bytes; at most {QUEUE_BODY_BYTES_MAX} are taken, pass larger data by reference"
            )
        });
        let good = |id: &String| {
            (1..=CLIENT_KEY_CHARS_MAX).contains(&id.chars().count()) && !id.contains(char::is_control)
        };
        faults.refuse(!message.id.as_ref().is_none_or(good), &at("id"), || {
            format!("must be 1 to {CLIENT_KEY_CHARS_MAX} characters without control characters")
        });
        faults.refuse(message.delay > QUEUE_DELAY_MAX, &at("delay"), || {
            format!("must be at most {QUEUE_DELAY_MAX}")
        });
        let range = -QUEUE_PRIORITY_MAX..=QUEUE_PRIORITY_MAX;
        faults.refuse(!range.contains(&message.priority), &at("priority"), || {
            format!("must be -{QUEUE_PRIORITY_MAX} to {QUEUE_PRIORITY_MAX}")
        });
        let is_good = |(name, value): (&String, &String)| {
            (1..=KEY_CHARS_MAX).contains(&name.chars().count()) && value.len() <= QUEUE_HEADER_BYTES_MAX
        };
        let are_good = message.headers.len() <= QUEUE_HEADERS_MAX && message.headers.iter().all(is_good);
        faults.refuse(!are_good, &at("headers"), || {
            format!(
                "has at most {QUEUE_HEADERS_MAX} members, with names of 1 to {KEY_CHARS_MAX} characters and values of up \
                 to {QUEUE_HEADER_BYTES_MAX} bytes"
            )
        });
        let id = message.id.as_ref().and_then(|id| digest(&["message", id]).try_into().ok());
        let body = Body { id: message.id, headers: message.headers, body };
        all.push(Fresh {
            priority: message.priority,
            delay: message.delay,
            id,
            bytes: u32::try_from(size).unwrap_or(u32::MAX),
            row: Arc::new(codec::encode_json(Queue::VERSION, &body)),
        });
    }
    faults.refuse(bytes > QUEUE_BATCH_BYTES_MAX, "/messages", || {
        format!("have {bytes} bytes together; at most {QUEUE_BATCH_BYTES_MAX} are taken at once")
    });
    faults.check()?;
    Ok(all)
}

fn of_pools(error: pools::Error) -> Error {
    match error {
        pools::Error::Token(why) => Error::Token(why),
        pools::Error::Other(error) => error.into(),
        _ => AnyError::Interrupted.into(),
    }
}
