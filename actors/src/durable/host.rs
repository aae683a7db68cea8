//! Where the machines of one kind live: shards of supervised actors, one shard per thread.
//!
//! A [`Host`] routes a delivery by the hash of the machine's id to the shard that owns it; the shard
//! hydrates the actor when it is not in memory, passes the delivery on, and lets go of actors that rest.
//! Every delivery to an actor goes through its shard, so that an actor is let go of only when it has settled
//! all that was sent to it, and there are never two for one machine.
//!
//! Not responsible for: what an event does; which machines must be hydrated at a start (`mod.rs` of the
//! supervisor asks for them).

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix::prelude::*;
use foldhash::fast::RandomState;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::batch::Terms;
use super::outbox::Outbox;
use super::published::Published;
use super::replies::Replies;
use super::shell::{Answer, Delivery, Error, Progress, Rouse, Shell};
use super::timers::Timers;
use super::{Machine, MachineId, Perform};
use crate::clock::Clock;
use crate::fault::{self, Point};
use crate::limits::{ACTOR_IDLE_MAX, DELIVERIES_IN_FLIGHT_MAX};
use crate::store::{Key, Store};
use crate::supervise::{Alarm, ChildEvent, Intensity, supervise};

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
    shards: Arc<[Addr<Shard<M>>]>,
    shared: Arc<Shared<M>>,
    admission: Arc<Semaphore>,
    alarm: Alarm,
}

impl<M: Machine> Clone for Host<M> {
    fn clone(&self) -> Self {
        Self {
            shards: Arc::clone(&self.shards),
            shared: Arc::clone(&self.shared),
            admission: Arc::clone(&self.admission),
            alarm: self.alarm.clone(),
        }
    }
}

/// The way to a host from what it owns itself, such as its performer: it keeps nothing of it alive.
pub struct WeakHost<M: Machine> {
    shards: Arc<[Addr<Shard<M>>]>,
    shared: Weak<Shared<M>>,
    admission: Arc<Semaphore>,
    alarm: Alarm,
}

impl<M: Machine> WeakHost<M> {
    /// The host, while somebody else still has it.
    pub fn upgrade(&self) -> Option<Host<M>> {
        let (shards, admission) = (Arc::clone(&self.shards), Arc::clone(&self.admission));
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
        let shared = Arc::new(shared);
        let alarm = Alarm::default();
        let mut shards = Vec::with_capacity(arbiters.len().max(1));
        for arbiter in arbiters {
            let (sender, receiver) = oneshot::channel();
            let shared = Arc::clone(&shared);
            let alarm = alarm.clone();
            let spawned = arbiter.spawn_fn(move || drop(sender.send(Shard::start(shared, alarm))));
            assert!(spawned, "the arbiters given outlive the start");
            shards.push(receiver.await.expect("a shard starts at once"));
        }
        if shards.is_empty() {
            shards.push(Shard::start(Arc::clone(&shared), alarm.clone()));
        }
        let admission = Arc::new(Semaphore::new(DELIVERIES_IN_FLIGHT_MAX));
        Self { shards: shards.into(), shared, admission, alarm }
    }

    /// Raised when one of its shards is gone.
    pub(crate) fn alarm(&self) -> Alarm {
        self.alarm.clone()
    }

    /// The way here for what this host itself owns.
    pub fn downgrade(&self) -> WeakHost<M> {
        let (shards, admission) = (Arc::clone(&self.shards), Arc::clone(&self.admission));
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
        let delivery = Delivery { event, terms, reply: Some(sender), permit: Some(permit), is_new };
        self.route(id, Work::Deliver(Box::new(delivery)));
        Box::pin(async move { receiver.await.unwrap_or(Err(Error::Lost)) })
    }

    /// Delivers an event of our own making, whose number is bounded by that of live machines.
    pub fn tell(&self, id: M::Id, event: M::Event) {
        self.route(id, Work::Deliver(Delivery::told(event)));
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
        self.route(id, Work::Deliver(delivery));
        receiver
    }

    /// Brings the machine into memory, and resolves when it has resumed.
    pub fn rouse(&self, id: M::Id) -> BoxFuture<'static, ()> {
        let (sender, receiver) = oneshot::channel();
        self.route(id, Work::Rouse(Rouse(sender)));
        Box::pin(receiver.map(|_| ()))
    }

    /// Deliveries from outside that are under way.
    pub fn in_flight(&self) -> usize {
        DELIVERIES_IN_FLIGHT_MAX - self.admission.available_permits()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "bounded by the admission permits and by the number of live machines"
    )]
    fn route(&self, id: M::Id, work: Work<M>) {
        let hash = crc32c::crc32c(&id.to_key()) as usize;
        self.shards[hash % self.shards.len()].do_send(Routed { id, work });
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

enum Work<M: Machine> {
    Deliver(Box<Delivery<M>>),
    Rouse(Rouse),
}

#[derive(Message)]
#[rtype(result = "()")]
struct Routed<M: Machine> {
    id: M::Id,
    work: Work<M>,
}

/// An actor has settled what it knew of and rests.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Idle<M: Machine>(pub(super) M::Id);

#[derive(Message)]
#[rtype(result = "()")]
struct Child<M: Machine> {
    id: M::Id,
    event: ChildEvent,
}

struct Resident<M: Machine> {
    addr: Addr<Shell<M>>,
    sent: u64,
    progress: Rc<Progress>,
    used_at: Instant,
}

/// How an actor begins, when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Birth {
    /// With what is stored.
    Usual,
    /// With nothing, which is what is stored.
    New,
    /// Only to be quarantined.
    LastChance,
}

/// The actors of one kind on one thread.
pub(super) struct Shard<M: Machine> {
    shared: Arc<Shared<M>>,
    residents: HashMap<M::Id, Resident<M>, RandomState>,
    /// Machines that cannot even be quarantined, with the last panic's text.
    parked: HashMap<M::Id, String>,
    replies: Replies<Answer<M>>,
}

impl<M: Machine> Shard<M> {
    fn start(shared: Arc<Shared<M>>, alarm: Alarm) -> Addr<Self> {
        let intensity = shared.intensity;
        supervise(
            intensity,
            |_| Self {
                shared,
                residents: HashMap::default(),
                parked: HashMap::new(),
                replies: Replies::default(),
            },
            move |event| match event {
                ChildEvent::Restarting { count, cause } => {
                    tracing::error!(kind = M::KIND, count, cause, "a shard panicked: please report this");
                }
                ChildEvent::GaveUp { cause } => alarm.raise("a shard of the actors", cause),
                ChildEvent::Stopped => {}
            },
        )
    }

    fn resident(&mut self, id: M::Id, birth: Birth, ctx: &mut Context<Self>) -> &mut Resident<M> {
        let (shared, shard, replies) = (&self.shared, ctx.address(), &self.replies);
        self.residents.entry(id).or_insert_with(|| {
            let progress = Rc::new(Progress::default());
            progress.last_chance.set(birth == Birth::LastChance);
            let (shared, seen, parent) = (Arc::clone(shared), Rc::clone(&progress), shard.clone());
            let (intensity, replies) = (shared.intensity, replies.clone());
            let addr = supervise(
                intensity,
                move |_| Shell::new(id, shared, shard, seen, replies, birth == Birth::New),
                move |event| report_child(&parent, id, event),
            );
            Resident { addr, sent: 0, progress, used_at: Instant::now() }
        })
    }

    fn send(resident: &mut Resident<M>, delivery: Box<Delivery<M>>) {
        resident.sent += 1;
        resident.used_at = Instant::now();
        #[expect(clippy::disallowed_methods, reason = "bounded as the shard's own mailbox is")]
        resident.addr.do_send(delivery);
    }

    fn let_go(&mut self, id: M::Id) {
        let Some(resident) = self.residents.get(&id) else { return };
        if resident.sent == resident.progress.taken.get() && !resident.progress.busy.get() {
            fault::reach_of(Point::ActorLetGo, id);
            self.residents.remove(&id);
            self.shared.published.retire(id);
        }
    }

    fn sweep(&mut self) {
        let idle = |resident: &Resident<M>| resident.used_at.elapsed() >= ACTOR_IDLE_MAX;
        let resting: Vec<M::Id> =
            self.residents.iter().filter(|(_, resident)| idle(resident)).map(|(id, _)| *id).collect();
        for id in resting {
            self.let_go(id);
        }
    }

    fn gave_up(&mut self, id: M::Id, cause: String, ctx: &mut Context<Self>) {
        let Some(gone) = self.residents.remove(&id) else { return };
        if gone.progress.last_chance.get() {
            tracing::error!(kind = M::KIND, %id, %cause, "parked: its actor panics even when it is quarantined");
            self.shared.published.retire(id);
            self.parked.insert(id, cause);
            return;
        }
        tracing::error!(kind = M::KIND, %id, %cause, "quarantined: its actor keeps panicking");
        Self::quarantine(self.resident(id, Birth::LastChance, ctx), cause);
    }

    fn quarantine(resident: &mut Resident<M>, cause: String) {
        Self::send(resident, Delivery::told(M::quarantine(cause)));
    }

    /// Somebody wants it to be tried again: it is an actor as any other from now on.
    fn release(&mut self, id: M::Id) {
        if self.parked.remove(&id).is_some() {
            tracing::info!(kind = M::KIND, %id, "released: its actor is started again");
        }
        if let Some(resident) = self.residents.get(&id) {
            resident.progress.last_chance.set(false);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "one message per panic or end of a child")]
fn report_child<M: Machine>(shard: &Addr<Shard<M>>, id: M::Id, event: ChildEvent) {
    shard.do_send(Child { id, event });
}

impl<M: Machine> Actor for Shard<M> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The mailbox is bounded by admission; its own capacity only costs wake-ups.
        ctx.set_mailbox_capacity(DELIVERIES_IN_FLIGHT_MAX);
        ctx.run_interval(sweep_every(), |this, _| this.sweep());
    }
}

const fn sweep_every() -> Duration {
    ACTOR_IDLE_MAX
}

impl<M: Machine> Supervised for Shard<M> {}

impl<M: Machine> Handler<Routed<M>> for Shard<M> {
    type Result = ();

    fn handle(&mut self, Routed { id, work }: Routed<M>, ctx: &mut Self::Context) {
        fault::reach_of(Point::StepRouted, id);
        if matches!(&work, Work::Deliver(delivery) if M::releases(&delivery.event)) {
            self.release(id);
        }
        if let Some(cause) = self.parked.get(&id) {
            if let Work::Deliver(delivery) = work {
                delivery.settle(Err(Error::Parked(cause.clone())), &self.replies);
            }
            return;
        }
        let is_new = matches!(&work, Work::Deliver(delivery) if delivery.is_new);
        let resident = self.resident(id, if is_new { Birth::New } else { Birth::Usual }, ctx);
        match work {
            Work::Deliver(delivery) => Self::send(resident, delivery),
            #[expect(clippy::disallowed_methods, reason = "one per live machine at a start")]
            Work::Rouse(rouse) => resident.addr.do_send(rouse),
        }
    }
}

impl<M: Machine> Handler<Idle<M>> for Shard<M> {
    type Result = ();

    fn handle(&mut self, Idle(id): Idle<M>, _: &mut Self::Context) {
        self.let_go(id);
    }
}

impl<M: Machine> Handler<Child<M>> for Shard<M> {
    type Result = ();

    fn handle(&mut self, Child { id, event }: Child<M>, ctx: &mut Self::Context) {
        match event {
            ChildEvent::Restarting { count, cause } => {
                tracing::error!(kind = M::KIND, %id, count, %cause, "an actor panicked and is restarted");
                // What the quarantine asked for panicked too: it is told again, and asks for less.
                let doomed = self.residents.get_mut(&id).filter(|it| it.progress.last_chance.get());
                if let Some(resident) = doomed {
                    Self::quarantine(resident, cause);
                }
            }
            ChildEvent::GaveUp { cause } => self.gave_up(id, cause, ctx),
            ChildEvent::Stopped => {}
        }
    }
}
