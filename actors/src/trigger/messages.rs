//! Takes messages from a queue for a trigger: what is taken becomes the trigger's item, and is then done for the queue.
//!
//! A message is noted as an item before it is acknowledged. Who dies in between finds it leased, is given it once more
//! when the lease has run out, and the trigger knows it. It is forgotten once the queue has forgotten it.
//!
//! Not responsible for: what is started, trying that again, and dead letters of it: those are the trigger's.

use std::sync::Arc;
use std::time::Duration;

use super::book::Book;
use super::id::TriggerId;
use super::object::{Key, Kind, Object};
use super::state::{Event, Trigger};
use super::watcher::Watcher;
use crate::durable::keys;
use crate::id::JobId;
use crate::limits::{
    TRIGGER_BODY_BYTES_MAX, TRIGGER_ITEM_BYTES_MAX, TRIGGER_ITEMS_MAX, TRIGGER_KNOWN_MAX, TRIGGER_LEASE,
    TRIGGER_RECEIVE_MAX, TRIGGER_RECEIVE_WAIT, TRIGGER_RETRY_LOOK,
};
use crate::queue::desk::Failure;
use crate::queue::{Ack, Body, Leased, Names, Op, Outcome, Queue, QueueId};
use crate::store::{self, codec};
use crate::units::Span;

/// One queue, and the trigger that takes its messages.
pub(super) struct Feed {
    pub(super) id: TriggerId,
    pub(super) queue: QueueId,
    /// Of the trigger.
    pub(super) incarnation: JobId,
    pub(super) watcher: Watcher,
}

/// Why no messages were taken.
enum Trouble {
    /// What is wrong, for people.
    Fault(String),
    /// The trigger is gone.
    Gone,
}

impl Feed {
    /// Takes messages, for ever.
    pub(super) async fn run(self) {
        let mut changes = self.watcher.triggers.published().watch(self.id);
        // Those that were taken and are not known to be gone from the queue: of an earlier life.
        let mut is_first = true;
        loop {
            let Some(trigger) = self.watcher.whole(self.id).await else { return };
            if trigger.incarnation != self.incarnation {
                return;
            }
            let room = room(&trigger);
            if room == 0 {
                changes.changed().await;
                continue;
            }
            if std::mem::take(&mut is_first) {
                self.forget_acknowledged(&trigger).await;
            }
            match self.take(room).await {
                Ok(()) if trigger.fault.is_some() => self.tell(vec![], vec![], None).await,
                Ok(()) => {}
                Err(Trouble::Gone) => return,
                Err(Trouble::Fault(fault)) => {
                    if trigger.fault.as_ref() != Some(&fault) {
                        self.tell(vec![], vec![], Some(fault)).await;
                    }
                    tokio::time::sleep(TRIGGER_RETRY_LOOK).await;
                }
            }
        }
    }

    async fn take(&self, room: u32) -> Result<(), Trouble> {
        let queue = self.queue()?;
        let op = Op::Receive { max: room, lease: Some(TRIGGER_LEASE), holder: None };
        let Outcome::Received(leased) = self.ask(op, Some(TRIGGER_RECEIVE_WAIT)).await? else {
            return Err(Trouble::Fault("it gives no messages".to_owned()));
        };
        let (mut taken, mut acks, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for leased in leased {
            let Some(object) = self.object(&queue, &leased)? else { continue };
            if object.size > TRIGGER_BODY_BYTES_MAX as u64 {
                refused.push(leased);
                continue;
            }
            acks.push((object.key(), Ack { seq: leased.seq, number: leased.number, result: None }));
            taken.push(object);
        }
        for Leased { seq, number, .. } in refused {
            let error = format!("a trigger takes messages of at most {TRIGGER_BODY_BYTES_MAX} bytes");
            let delay = Span::from_secs(0);
            self.ask(Op::Nack { seq, number, delay, error: Some(error.into()) }, None).await?;
        }
        if taken.is_empty() {
            return Ok(());
        }
        let event = Event::Looked { found: taken, gone: vec![], fault: None };
        let receipt = self.watcher.triggers.ask(self.id, event).await;
        let receipt = receipt.map_err(|error| Trouble::Fault(error.to_string()))?;
        let state = receipt.state.ok_or(Trouble::Gone)?;
        // What there was no room for stays leased, and comes again.
        let is_noted = |key: &Key| state.book().is_some_and(|book| book.known(key).is_some());
        acks.retain(|(key, _)| is_noted(key));
        let (keys, acks): (Vec<Key>, Vec<Ack>) = acks.into_iter().unzip();
        if acks.is_empty() {
            return Ok(());
        }
        let Outcome::Acked(done) = self.ask(Op::Ack(acks.into()), None).await? else { return Ok(()) };
        let gone = keys.into_iter().zip(done).filter(|(_, done)| done.is_ok()).map(|(key, _)| key).collect();
        self.tell(vec![], gone, None).await;
        Ok(())
    }

    /// What was noted and acknowledged, but not told to be gone from the queue, because somebody died in between.
    async fn forget_acknowledged(&self, trigger: &Trigger) {
        let Ok(queue) = self.queue() else { return };
        let Some(book) = trigger.book() else { return };
        let stays = book.all_known().filter(|(_, known)| known.until.is_none());
        let prefix = prefix(&queue);
        let mut gone = Vec::new();
        for (key, known) in stays {
            let name = book.get(known.item).map(|entry| entry.object.name.clone());
            // Of one whose item is long gone only its key is known, and that is small.
            let Some(name) = name else { continue };
            let seq = name.strip_prefix(&prefix).and_then(|seq| seq.parse::<u64>().ok());
            // In another queue, or one that was deleted meanwhile, there is nothing any more that could come again.
            let is_there = seq.is_some_and(|seq| matches!(self.body(&queue, seq), Ok(Some(_)) | Err(_)));
            if !is_there {
                gone.push(*key);
            }
        }
        if !gone.is_empty() {
            self.tell(vec![], gone, trigger.fault.clone()).await;
        }
    }

    async fn tell(&self, found: Vec<Object>, gone: Vec<Key>, fault: Option<String>) {
        let event = Event::Looked { found, gone, fault };
        if let Err(error) = self.watcher.triggers.ask(self.id, event).await {
            tracing::warn!(trigger = %self.id, %error, "a trigger cannot be told of its queue; trying again");
        }
    }

    fn queue(&self) -> Result<Arc<Queue>, Trouble> {
        let missing = || Trouble::Fault(format!("there is no queue `{}` any more", self.queue));
        self.watcher.queues.read(self.queue).map_err(of_store)?.ok_or_else(missing)
    }

    async fn ask(&self, op: Op, patience: Option<Duration>) -> Result<Outcome, Trouble> {
        let failed = |failure| Trouble::Fault(format!("the queue `{}`: {failure}", self.queue));
        let turn = self.watcher.desk.ask(self.queue, op, patience.is_some());
        let mut turn = turn.map_err(|failure| failed(words(&failure)))?;
        let answer = match patience {
            Some(patience) => turn.answer_within(patience).await,
            None => turn.answer().await,
        };
        match answer.map_err(|failure| failed(words(&failure)))? {
            Outcome::Refused(rejected) => Err(Trouble::Fault(rejected.to_string())),
            outcome => Ok(outcome),
        }
    }

    /// A message as an object; `None` where its lease ran out and somebody else was quicker.
    fn object(&self, queue: &Queue, leased: &Leased) -> Result<Option<Object>, Trouble> {
        let Some(body) = self.body(queue, leased.seq).map_err(of_store)? else { return Ok(None) };
        let text = body.body.get();
        Ok(Some(Object {
            source: Kind::Queue,
            name: format!("{}{}", prefix(queue), leased.seq),
            version: body.id.unwrap_or_default(),
            size: text.len() as u64,
            modified_at: Some(leased.sent_at),
            content_type: None,
            body: Some(text.into()),
        }))
    }

    fn body(&self, queue: &Queue, seq: u64) -> store::Result<Option<Body>> {
        let key = keys::row::<Queue>(queue.id, &Names(seq).body());
        let Some(row) = self.watcher.store.get(&key)? else { return Ok(None) };
        Ok(Some(codec::decode(&key, &row)?.parse(&key)?))
    }
}

/// What the name of a message begins with: its queue, which is another one when it is deleted and declared again.
fn prefix(queue: &Queue) -> String {
    format!("{}/{}/", queue.id, queue.incarnation)
}

/// How many messages may be taken: what waits in the queue is not also to wait in the trigger.
fn room(trigger: &Trigger) -> u32 {
    let counts = trigger.counts;
    let busy = counts.pending + counts.running;
    let free = u64::from(trigger.spec().parallelism).saturating_sub(busy);
    // A message that is taken and cannot be kept is delivered once more for nothing.
    let held = trigger.book().map_or(0, Book::bytes);
    let free = free.min((TRIGGER_ITEMS_MAX as u64).saturating_sub(busy + counts.dead));
    let free = free.min((TRIGGER_KNOWN_MAX as u64).saturating_sub(counts.known));
    let free = free.min(TRIGGER_ITEM_BYTES_MAX.saturating_sub(held) / (2 * TRIGGER_BODY_BYTES_MAX as u64));
    u32::try_from(free).unwrap_or(u32::MAX).min(TRIGGER_RECEIVE_MAX)
}

fn of_store(error: store::Error) -> Trouble {
    Trouble::Fault(error.to_string())
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::Missing => "it is gone".to_owned(),
        Failure::Overloaded(message) => (*message).to_owned(),
        Failure::Lost => "the answer was lost".to_owned(),
        Failure::Store(error) => error.to_string(),
        Failure::Parked => "it is stopped after repeated internal faults; declare it again".to_owned(),
    }
}
