//! Where the machines of one kind live: shards of supervised actors, one shard per thread.
//!
//! A delivery goes to the shard that the hash of the machine's id names; the shard hydrates the actor when it is not in
//! memory, passes the delivery on, and lets go of actors that rest. Every delivery to an actor goes through its shard, so
//! that an actor is let go of only when it has settled all that was sent to it, and there are never two for one machine.
//!
//! Not responsible for: how many deliveries there may be (`host.rs`); what an event does (the machine).

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use actix::prelude::*;
use foldhash::fast::RandomState;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::host::Shared;
use super::replies::Replies;
use super::shell::{Answer, Delivery, Error, Progress, Rouse, Shell};
use super::{Machine, MachineId};
use crate::fault::{self, Point};
use crate::limits::{ACTOR_IDLE_MAX, DELIVERIES_IN_FLIGHT_MAX};
use crate::supervise::{Alarm, ChildEvent, supervise};

/// Ids made per shard in search of one that lives here: of twenty searches one finds none.
const IDS_TRIED: usize = 3;

/// A shard and the thread it is on.
struct Place<M: Machine> {
    shard: Addr<Shard<M>>,
    thread: ThreadId,
}

impl<M: Machine> Place<M> {
    /// A new shard on this thread.
    fn here(shared: Arc<Shared<M>>, alarm: Alarm) -> Self {
        Self { shard: Shard::start(shared, alarm), thread: thread::current().id() }
    }
}

/// All shards of one kind. Cheap to clone.
pub(super) struct Shards<M: Machine>(Arc<[Place<M>]>);

impl<M: Machine> Clone for Shards<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Machine> Shards<M> {
    /// One on each of these arbiters, or one on the current thread when there are none.
    pub(super) async fn start(shared: &Arc<Shared<M>>, alarm: &Alarm, arbiters: &[ArbiterHandle]) -> Self {
        let mut places = Vec::with_capacity(arbiters.len().max(1));
        for arbiter in arbiters {
            let (sender, receiver) = oneshot::channel();
            let (shared, alarm) = (Arc::clone(shared), alarm.clone());
            let spawned = arbiter.spawn_fn(move || drop(sender.send(Place::here(shared, alarm))));
            assert!(spawned, "the arbiters given outlive the start");
            places.push(receiver.await.expect("a shard starts at once"));
        }
        if places.is_empty() {
            places.push(Place::here(Arc::clone(shared), alarm.clone()));
        }
        Self(places.into())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// One of the ids that `make` makes: the first one, or one whose machine lives on this thread where that `is_wanted`.
    pub(super) fn fresh(&self, mut make: impl FnMut() -> M::Id, is_wanted: bool) -> M::Id {
        let first = make();
        let here = thread::current().id();
        let is_here = |id: M::Id| self.home(id).thread == here;
        let is_ours = || is_wanted && self.0.len() > 1 && self.0.iter().any(|place| place.thread == here);
        if is_here(first) || !is_ours() {
            return first;
        }
        let mut others = std::iter::repeat_with(make).take(IDS_TRIED * self.0.len());
        others.find(|id| is_here(*id)).unwrap_or(first)
    }

    /// Whether the machine lives on this thread.
    pub(super) fn is_near(&self, id: M::Id) -> bool {
        self.home(id).thread == thread::current().id()
    }

    /// Where the machine lives.
    fn home(&self, id: M::Id) -> &Place<M> {
        &self.0[crc32c::crc32c(&id.to_key()) as usize % self.0.len()]
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "bounded by the admission permits and by the number of live machines"
    )]
    pub(super) fn send(&self, id: M::Id, work: Work<M>) {
        self.home(id).shard.do_send(Routed { id, work });
    }
}

/// What a machine is sent.
pub(super) enum Work<M: Machine> {
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
