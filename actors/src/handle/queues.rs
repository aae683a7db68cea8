//! What one may ask about queues.
//!
//! Not responsible for: what a worker has to know of its own queue (`queues/work.rs`), and dead letters
//! (`queues/dead.rs`).

mod dead;
mod types;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;

pub use self::types::{
    Acknowledge, AcknowledgeOne, Acknowledged, DeadPage, GiveBack, GivenBack, NewMessage, Receive,
    ReceivedMessage, Renew, Renewed, SentMessage,
};
pub use self::work::WorkerScope;
use super::{Error as AnyError, FieldError, Handle};
use crate::durable::batch::Terms;
use crate::durable::{Machine, MachineId, keys, shell};
use crate::limits::{NAME_CHARS_MAX, QUEUE_MESSAGES_MAX, QUEUES_MAX};
use crate::pool::{Pool, Source};
use crate::queue::desk::{Answer, Failure};
use crate::queue::{
    Body, Event, LastError, MessageState, MessageView, Names, Op, Outcome, ParseQueueIdError, Phase, Queue,
    QueueId, QueueView, Rejected, Settings, book,
};
use crate::store::{self, KeyRange, Order, codec};

/// What one may ask about queues. Every clone is of the same supervisor.
#[derive(Debug, Clone)]
pub struct Queues {
    handle: Handle,
}

/// What may be answered instead of what was asked about queues.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none of this name.
    #[error("there is no queue `{0}`; declare it with PUT /v1/queues/{0}")]
    NotFound(String),
    /// It cannot be the name of one.
    #[error(transparent)]
    Name(#[from] ParseQueueIdError),
    /// Something in what was sent cannot be accepted.
    #[error("the request is not valid: {}", .0.first().map_or("", |field| field.message.as_str()))]
    Invalid(Vec<FieldError>),
    /// Its state does not allow it.
    #[error(transparent)]
    Rejected(Rejected),
    /// There are too many.
    #[error("there are {QUEUES_MAX} queues, which is the limit; delete one first")]
    TooMany,
    /// A pool works on it.
    #[error("the pool `{0}` works on the queue; delete the pool first")]
    HasPool(String),
    /// It is full.
    #[error(
        "the queue holds {QUEUE_MESSAGES_MAX} messages, which is the limit; send again when some are done"
    )]
    Full,
    /// There is no such message (any more).
    #[error("there is no message `{0}` in the queue (any more)")]
    NoMessage(String),
    /// There is no such dead letter (any more).
    #[error("there is no dead letter `{0}` in the queue (any more)")]
    NoDeadLetter(String),
    /// The receipt is none of this message.
    #[error("this is not a receipt of message `{0}`; send the one that came with the message")]
    BadReceipt(String),
    /// The lease is over.
    #[error(
        "the lease of message `{0}` is over: it ran out, or was ended already; what was done with it may be done again by \
         another worker"
    )]
    StaleReceipt(String),
    /// The token is none, or that of a worker which may do nothing any more.
    #[error("the token of the worker is not valid: {0}")]
    Token(&'static str),
    /// What may be answered to any request.
    #[error(transparent)]
    Other(#[from] AnyError),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Other(AnyError::of_store(error))
    }
}

/// The result of a request about queues.
pub type Result<T> = std::result::Result<T, Error>;

impl Handle {
    /// What one may ask about queues.
    pub fn queues(&self) -> Queues {
        Queues { handle: self.clone() }
    }
}

impl Queues {
    /// Declares a queue: creates it, or gives it other settings. Resolves when it is durable; whether it is new.
    pub async fn declare(&self, name: &str, settings: Settings) -> Result<(QueueView, bool)> {
        let id: QueueId = name.parse()?;
        let inner = self.handle.inner();
        inner.open()?;
        let faults = settings.validate();
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        // One at a time: their number is counted, and pools look for them.
        let _declaring = inner.declaring.lock().await;
        let is_new = inner.queues.published().read(id)?.is_none();
        if is_new && self.all()?.len() >= QUEUES_MAX {
            return Err(Error::TooMany);
        }
        let incarnation = inner.ids.job_id(inner.clock.now());
        let event = Event::Declared { settings, incarnation };
        let receipt = inner.queues.deliver(id, event, Terms::default()).await;
        let receipt = receipt.map_err(|error| of_shell(name, error))?;
        let queue = receipt.state.ok_or_else(|| not_found(name))?;
        Ok((self.view(&queue)?, is_new))
    }

    /// All of them, by name.
    pub fn list(&self) -> Result<Vec<QueueView>> {
        let (pools, now) = (self.pools()?, self.handle.inner().clock.now());
        let view = |queue: &Arc<Queue>| queue.view(now, pools.get(&queue.id).cloned());
        Ok(self.all()?.iter().map(view).collect())
    }

    /// One queue.
    pub fn get(&self, name: &str) -> Result<QueueView> {
        self.view(self.known(name)?.as_ref())
    }

    /// Deletes a queue; with `force` also one that holds messages. The queue while its messages are being deleted.
    pub async fn delete(&self, name: &str, force: bool) -> Result<Option<QueueView>> {
        let id = self.known(name)?.id;
        let inner = self.handle.inner();
        inner.open()?;
        let _declaring = inner.declaring.lock().await;
        if let Some(pool) = self.pools()?.remove(&id) {
            return Err(Error::HasPool(pool));
        }
        let answer = inner.queues.deliver(id, Event::DeleteRequested { force }, Terms::default()).await;
        let receipt = answer.map_err(|error| of_shell(name, error))?;
        receipt.state.map(|queue| self.view(&queue)).transpose()
    }

    /// One message, with its body.
    pub async fn message(&self, name: &str, message: &str) -> Result<MessageView> {
        let queue = self.whole(name).await?;
        let missing = || Error::NoMessage(shown(message));
        let seq = number(message).ok_or_else(missing)?;
        let entry = queue.book().and_then(|book| book.get(seq)).ok_or_else(missing)?;
        let (state, until) = match entry.standing {
            book::Standing::Ready => (MessageState::Ready, None),
            book::Standing::Delayed(until) => (MessageState::Delayed, Some(until)),
            book::Standing::Leased(until, _) => (MessageState::Leased, Some(until)),
            book::Standing::Dead(..) => (MessageState::Dead, None),
            book::Standing::Done(..) => (MessageState::Done, None),
        };
        let body: Option<Body> = self.row(queue.id, Names(seq).body())?;
        let error: Option<LastError> = self.row(queue.id, Names(seq).error())?;
        let result = self.row(queue.id, Names(seq).result())?;
        let (dedup_id, headers, body) = match body {
            Some(Body { id, headers, body }) => (id, headers, Some(body)),
            None => Default::default(),
        };
        Ok(MessageView {
            id: seq.to_string(),
            state,
            sent_at: entry.sent_at,
            until,
            priority: entry.priority,
            deliveries: entry.deliveries,
            dedup_id,
            headers,
            body,
            last_error: error.map(|error| error.text),
            result,
        })
    }

    pub(super) fn all(&self) -> Result<Vec<Arc<Queue>>> {
        let inner = self.handle.inner();
        let prefix = keys::snapshots(Queue::KIND);
        // No more are let in.
        let rows = inner.store.scan(KeyRange::prefix(prefix.clone()), Order::Ascending, QUEUES_MAX * 2)?;
        let ids = rows.iter().filter_map(|(key, _)| QueueId::from_key(&key[prefix.len()..]));
        let mut queues = Vec::new();
        for id in ids {
            queues.extend(inner.queues.published().read(id)?);
        }
        Ok(queues)
    }

    fn view(&self, queue: &Queue) -> Result<QueueView> {
        let pool = self.pools()?.remove(&queue.id);
        Ok(queue.view(self.handle.inner().clock.now(), pool))
    }

    /// The pools whose instances work on queues.
    fn pools(&self) -> Result<BTreeMap<QueueId, String>> {
        let pools = self.handle.pools().all().map_err(|error| match error {
            super::pools::Error::Other(error) => error,
            _ => AnyError::Interrupted,
        })?;
        let on = |pool: &Arc<Pool>| match pool.spec().source() {
            Source::Queue(queue) => Some((queue, pool.id.to_string())),
            Source::Activities { .. } => None,
        };
        Ok(pools.iter().filter_map(on).collect())
    }

    /// A queue by what is published of it: quick, but its messages may not be in memory.
    fn known(&self, name: &str) -> Result<Arc<Queue>> {
        let id: QueueId = name.parse().map_err(|_| not_found(name))?;
        self.handle.inner().queues.published().read(id)?.ok_or_else(|| not_found(name))
    }

    /// A queue with its messages in memory.
    async fn whole(&self, name: &str) -> Result<Arc<Queue>> {
        let queue = self.known(name)?;
        if queue.book().is_some() {
            return Ok(queue);
        }
        self.handle.inner().queues.rouse(queue.id).await;
        let queue = self.known(name)?;
        // It went to rest in this moment; who asks again finds it.
        if queue.book().is_none() { Err(AnyError::Interrupted.into()) } else { Ok(queue) }
    }

    /// A queue that takes requests.
    fn active(&self, name: &str) -> Result<Arc<Queue>> {
        self.handle.inner().open()?;
        let queue = self.known(name)?;
        match queue.phase {
            Phase::Active => Ok(queue),
            Phase::Deleting => Err(Error::Rejected(Rejected::Deleting)),
            Phase::Quarantined { .. } => Err(Error::Rejected(Rejected::Quarantined)),
        }
    }

    async fn ask(&self, queue: &Queue, op: Op) -> Result<Outcome> {
        let turn = self.handle.inner().desk.ask(queue.id, op, false);
        let mut turn = turn.map_err(|failure| of_failure(queue.id, failure))?;
        outcome(queue.id, turn.answer().await)
    }

    fn row<T: serde::de::DeserializeOwned>(&self, id: QueueId, name: Vec<u8>) -> Result<Option<T>> {
        let key = keys::row::<Queue>(id, &name);
        let Some(row) = self.handle.inner().store.get(&key)? else { return Ok(None) };
        Ok(Some(codec::decode(&key, &row)?.parse(&key)?))
    }

    /// What a lease is proved with: only who was given the message has it.
    fn receipt(&self, queue: &Queue, seq: u64, lease: u32) -> String {
        use base64::Engine as _;
        let message = [
            &queue.incarnation.as_bytes()[..],
            queue.id.as_str().as_bytes(),
            &seq.to_be_bytes(),
            &lease.to_be_bytes(),
        ]
        .concat();
        let mac = self.handle.inner().keyring.digest("queue-receipt", &message);
        format!("{lease}.{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&mac[..16]))
    }

    /// The message and the lease that are meant.
    fn proved(&self, queue: &Queue, message: &str, receipt: &str) -> Result<(u64, u32)> {
        let seq = number(message).ok_or_else(|| Error::NoMessage(shown(message)))?;
        let bad = || Error::BadReceipt(shown(message));
        let lease = receipt.split_once('.').and_then(|(lease, _)| lease.parse().ok()).ok_or_else(bad)?;
        let expected = self.receipt(queue, seq, lease);
        let is_genuine: bool = expected.as_bytes().ct_eq(receipt.as_bytes()).into();
        if is_genuine { Ok((seq, lease)) } else { Err(bad()) }
    }
}

/// The number of a message, in the one way of writing it.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|seq: &u64| seq.to_string() == text)
}

/// As much of what was asked for as an answer repeats.
fn shown(text: &str) -> String {
    text.chars().take(NAME_CHARS_MAX).collect()
}

fn not_found(name: &str) -> Error {
    Error::NotFound(shown(name))
}

fn outcome(queue: QueueId, answer: Answer) -> Result<Outcome> {
    match answer {
        Ok(Outcome::Refused(rejected)) => Err(Error::Rejected(rejected)),
        Ok(Outcome::Full) => Err(Error::Full),
        Ok(outcome) => Ok(outcome),
        Err(failure) => Err(of_failure(queue, failure)),
    }
}

fn of_failure(queue: QueueId, failure: Failure) -> Error {
    match failure {
        Failure::Missing => not_found(queue.as_str()),
        Failure::Overloaded(message) => AnyError::overloaded(message).into(),
        Failure::Lost => AnyError::Interrupted.into(),
        Failure::Store(error) => error.into(),
        Failure::Parked => Error::Rejected(Rejected::Quarantined),
    }
}

fn of_shell(name: &str, error: shell::Error<Rejected>) -> Error {
    match error {
        shell::Error::Missing => not_found(name),
        shell::Error::Rejected(rejected) => Error::Rejected(rejected),
        shell::Error::Store(error) => error.into(),
        shell::Error::Overloaded => AnyError::overloaded("too many requests are waiting").into(),
        shell::Error::Parked(_) => Error::Rejected(Rejected::Quarantined),
        _ => AnyError::Interrupted.into(),
    }
}
