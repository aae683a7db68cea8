//! The actor that hosts one machine.
//!
//! Its mailbox receives deliveries: timer ticks, reports of the fleet, completion events, commands. Each is
//! applied, committed, answered and performed before the next one is looked at.
//!
//! Not responsible for: finding, starting and ending actors (`host.rs`), any rule (the machine).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::batch::{self, Terms};
use super::host::Shared;
use super::replies::Replies;
use super::shard::{Idle, Shard};
use super::{Change, Liveness, Machine, Step, keys, published};
use crate::clock::Timestamp;
use crate::fault::{self, Point};
use crate::store::{self, Batch, KeyRange, Order};

/// Keys read at once when a machine is purged.
const PURGE_PAGE: usize = 1024;

/// What became of a delivery.
#[derive(Debug, Clone)]
pub struct Receipt<M: Machine> {
    /// The machine's durable state afterwards; `None` when it was purged.
    pub state: Option<Arc<M>>,
    /// The same event had been applied before, and was not applied again.
    pub duplicate: bool,
}

/// Why an event was not applied.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error<R: std::error::Error> {
    /// There is no such machine, and the event does not create one.
    #[error("there is no such machine")]
    Missing,
    /// The machine does not accept the event in its state.
    #[error(transparent)]
    Rejected(R),
    /// The claimed key is taken; this is its value.
    #[error("the claimed key is taken")]
    Claimed(Vec<u8>),
    /// The store refused.
    #[error(transparent)]
    Store(store::Error),
    /// The machine's actor panicked too often, even over its quarantine. It is not started again before somebody
    /// releases it ([`Machine::releases`]) or the process starts again.
    #[error("parked after repeated panics: {0}")]
    Parked(String),
    /// The actor died over the event. It may or may not have been applied.
    #[error("the actor was lost over the event")]
    Lost,
    /// Too many deliveries are waiting.
    #[error("too many requests are waiting")]
    Overloaded,
}

/// The answer to a delivery.
pub type Answer<M> = Result<Receipt<M>, Error<<M as Machine>::Rejection>>;

/// One event for one machine. In a box, because it goes from hand to hand.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Delivery<M: Machine> {
    pub(super) event: M::Event,
    pub(super) terms: Terms,
    pub(super) reply: Option<oneshot::Sender<Answer<M>>>,
    /// Whoever waits for the answer is on the thread of the machine.
    pub(super) is_near: bool,
    /// Held until the delivery is settled: what bounds the mailboxes.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// The machine's id was made for this delivery, so that nothing is stored of it.
    pub(super) is_new: bool,
}

impl<M: Machine> Delivery<M> {
    /// An event of our own making: nobody waits for the answer.
    pub(super) fn told(event: M::Event) -> Box<Self> {
        let terms = Terms::default();
        Box::new(Self { event, terms, reply: None, is_near: false, permit: None, is_new: false })
    }

    #[expect(clippy::boxed_local, reason = "it comes in a box, and to take it out would move all of it")]
    pub(super) fn settle(self: Box<Self>, answer: Answer<M>, replies: &Replies<Answer<M>>) {
        match self.reply {
            // Whoever asked may be gone; the event is applied all the same.
            Some(reply) if self.is_near => drop(reply.send(answer)),
            Some(reply) => replies.send(reply, answer),
            None => {}
        }
        drop(self.permit);
    }
}

/// How far an actor is with what it was sent. Its shard lets go of it only when it took everything and is not
/// busy with any of it; a panic over a delivery ends that delivery too.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) taken: Cell<u64>,
    pub(super) busy: Cell<bool>,
    /// It is there only to be quarantined: it must not repeat the effects that killed it.
    pub(super) last_chance: Cell<bool>,
}

/// What the actor holds of its machine.
enum Held<M: Machine> {
    /// Not read yet.
    Unread,
    /// There is none: its id was made a moment ago.
    New,
    /// Its last durable state; `None` when there is no such machine.
    State(Option<Arc<M>>),
    /// It cannot be read.
    Broken(store::Error),
}

/// The actor.
pub(super) struct Shell<M: Machine> {
    id: M::Id,
    held: Held<M>,
    /// What the machine was given has a row of its own.
    has_given_row: bool,
    /// It was started again after a panic.
    revived: bool,
    shared: Arc<Shared<M>>,
    shard: Addr<Shard<M>>,
    /// What the shard looks at before it lets go.
    progress: Rc<Progress>,
    replies: Replies<Answer<M>>,
}

impl<M: Machine> Shell<M> {
    pub(super) fn new(
        id: M::Id,
        shared: Arc<Shared<M>>,
        shard: Addr<Shard<M>>,
        progress: Rc<Progress>,
        replies: Replies<Answer<M>>,
        is_new: bool,
    ) -> Self {
        let held = if is_new { Held::New } else { Held::Unread };
        Self { id, held, has_given_row: false, revived: false, shared, shard, progress, replies }
    }

    fn hydrate(&mut self) {
        let loaded = match self.held {
            Held::New => Ok(None),
            _ => self.load(),
        };
        self.held = match loaded {
            Ok(stored) => {
                self.has_given_row = stored.as_ref().is_some_and(|stored| stored.has_given_row);
                Held::State(stored.map(|stored| Arc::new(stored.machine)))
            }
            Err(error) => {
                tracing::error!(kind = M::KIND, id = %self.id, %error, "a stored machine cannot be read");
                Held::Broken(error)
            }
        };
        let Held::State(state) = &self.held else { return };
        self.shared.published.show(self.id, state.clone());
        if self.revived || self.progress.last_chance.get() {
            // Who died may have done so between the commit of a deadline and this.
            self.arm(state.as_deref());
        }
        fault::reach_of(Point::ActorHydrated, self.id);
        if let Some(state) = state.clone()
            && !self.progress.last_chance.get()
        {
            self.perform(&state, state.resume());
        }
        fault::reach_of(Point::ActorResumed, self.id);
    }

    /// What is stored, with the rows beside the snapshot.
    fn load(&self) -> store::Result<Option<published::Stored<M>>> {
        let store = &self.shared.store;
        let stored = published::load::<M>(self.id, |key| store.get(key))?;
        let Some(mut stored) = stored else { return Ok(None) };
        published::load_rows(self.id, &mut stored.machine, |range, limit| {
            store.scan(range, Order::Ascending, limit)
        })?;
        Ok(Some(stored))
    }

    fn arm(&self, state: Option<&M>) {
        if let Some(due) = state.and_then(Machine::deadline) {
            self.shared.timers.arm::<M>(due, self.id);
        }
    }

    fn perform(&self, state: &M, effects: Vec<M::Effect>) {
        for effect in effects {
            tracing::debug!(kind = M::KIND, id = %self.id, ?effect, "performing");
            fault::reach_of(Point::StepPerforming, self.id);
            self.shared.performer.perform(self.id, state, effect);
        }
    }

    /// A delivery is settled: tells the shard when nothing keeps the actor in memory.
    fn finish(&self) {
        self.progress.busy.set(false);
        let rests = match &self.held {
            Held::State(Some(state)) => state.liveness() != Liveness::Live,
            _ => true,
        };
        if rests {
            self.shared.tell_shard(&self.shard, Idle(self.id));
        }
    }

    /// Applies an event to what is held.
    fn decide(
        &self,
        state: Option<&M>,
        delivery: &Delivery<M>,
        now: Timestamp,
    ) -> Result<Step<M>, Answer<M>> {
        if let Some(digest) = &delivery.terms.digest {
            match self.shared.store.get(&keys::digest::<M>(self.id, digest)) {
                Ok(None) => {}
                Ok(Some(_)) => {
                    let state = self.current();
                    return Err(Ok(Receipt { state, duplicate: true }));
                }
                Err(error) => return Err(Err(Error::Store(error))),
            }
        }
        let outcome = match state {
            Some(machine) => machine.apply(&delivery.event, now),
            None => M::create(self.id, &delivery.event, now).ok_or(Err(Error::Missing))?,
        };
        outcome.map_err(|rejection| Err(Error::Rejected(rejection)))
    }

    fn current(&self) -> Option<Arc<M>> {
        match &self.held {
            Held::State(state) => state.clone(),
            _ => None,
        }
    }

    fn batch(
        &self,
        old: Option<&M>,
        step: &mut Step<M>,
        terms: &Terms,
        now: Timestamp,
    ) -> store::Result<(Batch, bool)> {
        let mut batch = Batch::new();
        terms.write::<M>(self.id, now, &mut batch);
        let has_given_row = match &mut step.change {
            Change::None => self.has_given_row,
            Change::Next(new, record) => {
                // Nobody else has it yet.
                batch::rows::<M>(self.id, Arc::make_mut(new).take_rows(), &mut batch);
                let new: &M = new;
                batch::transition(self.id, old, new, record.as_ref(), &mut batch);
                if let Some((key, charge)) = M::charge(old, new, now) {
                    batch.put(key, charge);
                }
                batch::snapshot(self.id, old, new, self.has_given_row, &mut batch)
            }
            Change::Purge => {
                self.purge_batch(old, &mut batch)?;
                false
            }
        };
        batch::outbox(&step.outbox, &mut batch);
        Ok((batch, has_given_row))
    }

    fn purge_batch(&self, old: Option<&M>, batch: &mut Batch) -> store::Result<()> {
        let Some(old) = old else { return Ok(()) };
        batch.delete(keys::snapshot::<M>(self.id)).delete(keys::live::<M>(self.id));
        if self.has_given_row {
            batch.delete(keys::given::<M>(self.id));
        }
        if let Some(due) = old.deadline() {
            batch.delete(keys::timer::<M>(due, self.id));
        }
        for text in old.index() {
            batch.delete(keys::index::<M>(&text, self.id));
        }
        for key in old.owned_keys() {
            batch.delete(key);
        }
        let rows = (!M::ROWS.is_empty()).then(|| keys::rows::<M>(self.id));
        let prefixes = [keys::history::<M>(self.id), keys::digests::<M>(self.id)];
        for prefix in prefixes.into_iter().chain(rows) {
            let mut range = KeyRange::prefix(prefix);
            loop {
                let rows = self.shared.store.scan(range.clone(), Order::Ascending, PURGE_PAGE)?;
                let Some((last, _)) = rows.last() else { break };
                range = range.after(last);
                for (key, _) in rows {
                    batch.delete(key);
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, delivery: Box<Delivery<M>>, ctx: &mut Context<Self>) {
        self.progress.taken.set(self.progress.taken.get() + 1);
        self.progress.busy.set(true);
        fault::reach_of(Point::StepTaken, self.id);
        if matches!(self.held, Held::Broken(_)) {
            // What could not be read may be readable again.
            self.hydrate();
        }
        let old = match &self.held {
            Held::State(state) => state.clone(),
            Held::Broken(error) => return self.answer(delivery, Err(Error::Store(error.clone()))),
            Held::Unread | Held::New => return self.answer(delivery, Err(Error::Lost)),
        };
        let now = self.shared.clock.now();
        let mut step = match self.decide(old.as_deref(), &delivery, now) {
            Ok(step) => step,
            Err(answer) => return self.refuse(delivery, answer, ctx),
        };
        if matches!(step.change, Change::None) && step.outbox.is_empty() && delivery.terms.is_empty() {
            return self.conclude(delivery, old, step.effects);
        }
        let batch = self.batch(old.as_deref(), &mut step, &delivery.terms, now);
        let (batch, has_given_row) = match batch
            .and_then(|batch| fault::check(Point::StepDecided, || store::Error::Busy).map(|()| batch))
        {
            Ok(batch) => batch,
            Err(error) => return self.answer(delivery, Err(Error::Store(error))),
        };
        let (has_outbox, effects) = (!step.outbox.is_empty(), step.effects);
        let (new, purged) = match step.change {
            Change::None => (old, false),
            Change::Next(new, _) => (Some(new), false),
            Change::Purge => (None, true),
        };
        let how = Committed { has_outbox, purged, has_given_row };
        let mut commit = self.shared.store.commit(batch);
        // A store without a disk has answered already: nothing to wait for, and nothing to keep meanwhile.
        match (&mut commit).now_or_never() {
            Some(outcome) => self.settled(outcome, delivery, new, effects, how),
            None => ctx.wait(commit.into_actor(self).map(move |outcome, this, _| {
                this.settled(outcome, delivery, new, effects, how);
            })),
        }
    }

    /// Whether the commit was made is known.
    fn settled(
        &mut self,
        outcome: store::Result<store::Committed>,
        delivery: Box<Delivery<M>>,
        new: Option<Arc<M>>,
        effects: Vec<M::Effect>,
        how: Committed,
    ) {
        match outcome {
            Ok(_) => self.committed(delivery, new, effects, how),
            Err(error) => self.answer(delivery, self.refused_commit(error)),
        }
    }

    fn refused_commit(&self, error: store::Error) -> Answer<M> {
        match error {
            store::Error::Precondition { existing: Some(value), .. } => Err(Error::Claimed(value)),
            // The outbox row is gone: the message was applied before.
            store::Error::Precondition { existing: None, .. } => {
                Ok(Receipt { state: self.current(), duplicate: true })
            }
            error => Err(Error::Store(error)),
        }
    }

    fn committed(
        &mut self,
        delivery: Box<Delivery<M>>,
        new: Option<Arc<M>>,
        effects: Vec<M::Effect>,
        how: Committed,
    ) {
        fault::reach_of(Point::StepCommitted, self.id);
        self.has_given_row = how.has_given_row;
        self.held = Held::State(new.clone());
        self.shared.published.show(self.id, new.clone());
        fault::reach_of(Point::StepPublished, self.id);
        self.arm(new.as_deref());
        if how.has_outbox {
            self.shared.outbox.nudge();
        }
        self.conclude(delivery, new, effects);
        if how.purged {
            self.shared.performer.purged(self.id);
        }
    }

    /// Replies, then performs: a fault in an effect must not swallow the answer to what is durable.
    fn conclude(&mut self, delivery: Box<Delivery<M>>, state: Option<Arc<M>>, effects: Vec<M::Effect>) {
        delivery.settle(Ok(Receipt { state: state.clone(), duplicate: false }), &self.replies);
        fault::reach_of(Point::StepReplied, self.id);
        if let Some(state) = state {
            self.perform(&state, effects);
        }
        fault::reach_of(Point::StepPerformed, self.id);
        self.finish();
    }

    /// Answers without a change. A message from another machine is consumed even when it is refused: it would
    /// be refused for ever.
    fn refuse(&mut self, delivery: Box<Delivery<M>>, answer: Answer<M>, ctx: &mut Context<Self>) {
        let Some(row) = delivery.terms.consume.clone().filter(|_| !matches!(answer, Err(Error::Store(_))))
        else {
            return self.answer(delivery, answer);
        };
        let mut batch = Batch::new();
        batch.delete(row);
        let commit = self.shared.store.commit(batch).into_actor(self);
        ctx.wait(commit.map(move |outcome, this, _| {
            let answer = outcome.map_err(Error::Store).and(answer);
            this.answer(delivery, answer);
        }));
    }

    fn answer(&mut self, delivery: Box<Delivery<M>>, answer: Answer<M>) {
        delivery.settle(answer, &self.replies);
        self.finish();
    }
}

struct Committed {
    has_outbox: bool,
    purged: bool,
    has_given_row: bool,
}

impl<M: Machine> Actor for Shell<M> {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.hydrate();
    }
}

impl<M: Machine> Supervised for Shell<M> {
    /// After a panic nothing in memory is trusted: `started` reads the last durable state.
    fn restarting(&mut self, _: &mut Self::Context) {
        self.held = Held::Unread;
        self.revived = true;
        self.progress.busy.set(false);
    }
}

impl<M: Machine> Handler<Box<Delivery<M>>> for Shell<M> {
    type Result = ();

    fn handle(&mut self, delivery: Box<Delivery<M>>, ctx: &mut Self::Context) {
        self.receive(delivery, ctx);
    }
}

/// Answered once the actor has started, and so has resumed its machine.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Rouse(pub(super) oneshot::Sender<()>);

impl<M: Machine> Handler<Rouse> for Shell<M> {
    type Result = ();

    fn handle(&mut self, Rouse(roused): Rouse, _: &mut Self::Context) {
        // That nobody is waiting any more changes nothing.
        let _unheard: Result<(), ()> = roused.send(());
    }
}
