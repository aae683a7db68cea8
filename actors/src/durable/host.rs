//! The way to the machines of one kind: who delivers to them, and how many deliveries may be under way.
//!
//! Not responsible for: where machines live (`shard.rs`); what an event does; which machines must be hydrated at a start
//! (the recovery of the supervisor asks for them).

use std::sync::{Arc, Weak};

use actix::prelude::*;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use super::batch::Terms;
use super::outbox::Outbox;
use super::published::Published;
use super::shard::{Idle, Shard, Shards, Work};
use super::shell::{Answer, Delivery, Error, Rouse};
use super::timers::Timers;
use super::{Machine, MachineId, Perform};
use crate::clock::Clock;
use crate::limits::{DELIVERIES_IN_FLIGHT_MAX, DELIVERIES_SPREAD_MAX};
use crate::store::{Key, Store};
use crate::supervise::{Alarm, Intensity};

/// What all actors of one kind use.
pub struct Shared<M: Machine> {
    /// Where they are stored.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What readers see.
    pub published: Arc<Published<M>>,
    /// Whom to tell of an earlier deadline.
    pub timers: Arc<Timers>,
    /// Whom to tell of messages.
    pub outbox: Arc<Outbox>,
    /// Who performs effects.
    pub performer: Arc<dyn Perform<M> + Send + Sync>,
    /// How often an actor may panic.
    pub intensity: Intensity,
}

impl<M: Machine> std::fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("kind", &M::KIND).finish_non_exhaustive()
    }
}

impl<M: Machine> Shared<M> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the shard outlives its actors, and each sends one such message per delivery"
    )]
    pub(super) fn tell_shard(&self, shard: &Addr<Shard<M>>, idle: Idle<M>) {
        shard.do_send(idle);
    }
}

/// The machines of one kind. Cheap to clone.
pub struct Host<M: Machine> {
    shards: Shards<M>,
    shared: Arc<Shared<M>>,
    admission: Arc<Semaphore>,
    alarm: Alarm,
}

impl<M: Machine> Clone for Host<M> {
    fn clone(&self) -> Self {
        Self {
            shards: self.shards.clone(),
            shared: Arc::clone(&self.shared),
            admission: Arc::clone(&self.admission),
            alarm: self.alarm.clone(),
        }
    }
}

/// The way to a host from what it owns itself, such as its performer: it keeps nothing of it alive.
pub struct WeakHost<M: Machine> {
    shards: Shards<M>,
    shared: Weak<Shared<M>>,
    admission: Arc<Semaphore>,
    alarm: Alarm,
}

impl<M: Machine> WeakHost<M> {
    /// The host, while somebody else still has it.
    pub fn upgrade(&self) -> Option<Host<M>> {
        let (shards, admission) = (self.shards.clone(), Arc::clone(&self.admission));
        let alarm = self.alarm.clone();
        self.shared.upgrade().map(|shared| Host { shards, shared, admission, alarm })
    }
}

impl<M: Machine> std::fmt::Debug for WeakHost<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakHost").field("kind", &M::KIND).finish_non_exhaustive()
    }
}

impl<M: Machine> std::fmt::Debug for Host<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("kind", &M::KIND).field("shards", &self.shards.len()).finish()
    }
}

impl<M: Machine> Host<M> {
    /// Starts one shard on each of these arbiters, or one on the current thread when there are none.
    pub async fn start(shared: Shared<M>, arbiters: &[ArbiterHandle]) -> Self {
        let (shared, alarm) = (Arc::new(shared), Alarm::default());
        let shards = Shards::start(&shared, &alarm, arbiters).await;
        let admission = Arc::new(Semaphore::new(DELIVERIES_IN_FLIGHT_MAX));
        Self { shards, shared, admission, alarm }
    }

    /// Raised when one of its shards is gone.
    pub(crate) fn alarm(&self) -> Alarm {
        self.alarm.clone()
    }

    /// The way here for what this host itself owns.
    pub fn downgrade(&self) -> WeakHost<M> {
        let (shards, admission) = (self.shards.clone(), Arc::clone(&self.admission));
        WeakHost { shards, shared: Arc::downgrade(&self.shared), admission, alarm: self.alarm.clone() }
    }

    /// What readers see.
    pub fn published(&self) -> &Arc<Published<M>> {
        &self.shared.published
    }

    /// Delivers an event from outside: bounded, and refused when too many are under way. The event is on its
    /// way when this returns; dropping the future does not recall it.
    pub fn deliver(&self, id: M::Id, event: M::Event, terms: Terms) -> BoxFuture<'static, Answer<M>> {
        self.admit(id, event, terms, false)
    }

    /// The same for the event that creates a machine whose `id` was made for it: nothing can be stored of it, and so
    /// nothing is looked for.
    pub fn create(&self, id: M::Id, event: M::Event, terms: Terms) -> BoxFuture<'static, Answer<M>> {
        self.admit(id, event, terms, true)
    }

    fn admit(&self, id: M::Id, event: M::Event, terms: Terms, is_new: bool) -> BoxFuture<'static, Answer<M>> {
        let Ok(permit) = Arc::clone(&self.admission).try_acquire_owned() else {
            return Box::pin(std::future::ready(Err(Error::Overloaded)));
        };
        let (sender, receiver) = oneshot::channel();
        let is_near = self.shards.is_near(id);
        let delivery = Delivery { event, terms, reply: Some(sender), is_near, permit: Some(permit), is_new };
        self.shards.send(id, Work::Deliver(Box::new(delivery)));
        Box::pin(async move { receiver.await.unwrap_or(Err(Error::Lost)) })
    }

    /// Delivers an event of our own making, whose number is bounded by that of live machines.
    pub fn tell(&self, id: M::Id, event: M::Event) {
        self.shards.send(id, Work::Deliver(Delivery::told(event)));
    }

    /// Delivers an event of our own making and waits for the answer.
    pub(crate) async fn ask(&self, id: M::Id, event: M::Event) -> Answer<M> {
        self.ask_on(id, event, Terms::default()).await
    }

    /// The same on terms.
    pub(crate) async fn ask_on(&self, id: M::Id, event: M::Event, terms: Terms) -> Answer<M> {
        self.tell_for_answer(id, event, terms).await.unwrap_or(Err(Error::Lost))
    }

    fn tell_for_answer(&self, id: M::Id, event: M::Event, terms: Terms) -> oneshot::Receiver<Answer<M>> {
        let (sender, receiver) = oneshot::channel();
        let mut delivery = Delivery::told(event);
        (delivery.terms, delivery.reply) = (terms, Some(sender));
        self.shards.send(id, Work::Deliver(delivery));
        receiver
    }

    /// Brings the machine into memory, and resolves when it has resumed.
    pub fn rouse(&self, id: M::Id) -> BoxFuture<'static, ()> {
        let (sender, receiver) = oneshot::channel();
        self.shards.send(id, Work::Rouse(Rouse(sender)));
        Box::pin(receiver.map(|_| ()))
    }

    /// The id of a new machine, one of those that `make` makes. Under load it is one whose machine lives on the thread of
    /// whoever asks: what is sent there wakes no other thread. Without load the thread is left to chance, so that what comes
    /// over one connection is spread over all of them.
    pub fn fresh(&self, make: impl FnMut() -> M::Id) -> M::Id {
        let is_loaded = self.in_flight() >= DELIVERIES_SPREAD_MAX * self.shards.len();
        self.shards.fresh(make, is_loaded)
    }

    /// Deliveries from outside that are under way.
    pub fn in_flight(&self) -> usize {
        DELIVERIES_IN_FLIGHT_MAX - self.admission.available_permits()
    }
}

/// What became of a tick or a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Applied, or refused for good.
    Done,
    /// There is no such machine.
    Missing,
    /// To be tried again.
    Retry,
}

/// A host without its type: what the timers and the outbox need of it.
pub trait Dispatch: Send + Sync {
    /// Delivers a tick.
    fn tick(&self, id: &[u8]) -> BoxFuture<'static, Fate>;

    /// Delivers a message of another machine, whose row is `consume`.
    fn message(&self, id: &[u8], event: Value, consume: Key) -> BoxFuture<'static, Fate>;

    /// Brings a machine into memory, and resolves when it has resumed.
    fn rouse(&self, id: &[u8]) -> BoxFuture<'static, ()>;
}

impl<M: Machine> Dispatch for Host<M> {
    fn tick(&self, id: &[u8]) -> BoxFuture<'static, Fate> {
        let Some(id) = M::Id::from_key(id) else { return Box::pin(std::future::ready(Fate::Missing)) };
        let answer = self.tell_for_answer(id, M::tick(), Terms::default());
        Box::pin(async move { fate::<M>(answer.await.unwrap_or(Err(Error::Lost))) })
    }

    fn message(&self, id: &[u8], event: Value, consume: Key) -> BoxFuture<'static, Fate> {
        let parsed = M::Id::from_key(id).zip(serde_json::from_value(event).ok());
        let Some((id, event)) = parsed else { return Box::pin(std::future::ready(Fate::Missing)) };
        let answer = self.tell_for_answer(id, event, Terms { consume: Some(consume), ..Terms::default() });
        Box::pin(async move { fate::<M>(answer.await.unwrap_or(Err(Error::Lost))) })
    }

    fn rouse(&self, id: &[u8]) -> BoxFuture<'static, ()> {
        match M::Id::from_key(id) {
            Some(id) => Self::rouse(self, id),
            None => Box::pin(std::future::ready(())),
        }
    }
}

fn fate<M: Machine>(answer: Answer<M>) -> Fate {
    match answer {
        Ok(_) | Err(Error::Rejected(_) | Error::Claimed(_)) => Fate::Done,
        Err(Error::Missing) => Fate::Missing,
        Err(Error::Store(_) | Error::Parked(_) | Error::Lost | Error::Overloaded) => Fate::Retry,
    }
}
