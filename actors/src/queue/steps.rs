//! A transition of a queue that is being made: what each request does, and what time does. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::book::{Book, Entry, Known, Standing};
use super::event::{
    Ack, Cause, Effect, Fresh, Leased, Op, Outcome, Rejected, Request, Return, Sent, Stale, Which,
};
use super::rows::{LastError, Names, encode, encode_entry, encode_json, encode_known, name_of_id};
use super::state::{Counts, Phase, Queue, Record};
use crate::clock::Timestamp;
use crate::durable::{Change, Row, Step};
use crate::id::{AttemptKey, JobId};
use crate::limits::{
    QUEUE_DONE_MAX, QUEUE_DUE_PER_STEP, QUEUE_MESSAGES_MAX, QUEUE_RECEIVE_BYTES_MAX, QUEUE_RECEIVE_MAX,
};
use crate::units::Span;

/// How long until the next transition, where one alone would be too large.
const NEXT_STEP: Span = Span::from_millis(1);

/// A transition that is being made.
pub(super) struct Draft {
    pub(super) queue: Queue,
    pub(super) now: Timestamp,
    book: Book,
    rows: Vec<Row>,
    touched: BTreeSet<u64>,
    answers: Vec<(u64, Outcome)>,
    texts: Vec<String>,
    /// Something is due that this transition does not see to.
    unfinished: bool,
}

impl Draft {
    pub(super) fn of(queue: &Queue, now: Timestamp) -> Self {
        let mut queue = queue.clone();
        // What is published was read with its rows by the shell; a snapshot alone is for readers.
        let book = queue.book.take().expect("a queue is changed only where its rows were read");
        let (rows, touched) = (vec![], BTreeSet::new());
        Self { queue, now, book, rows, touched, answers: vec![], texts: vec![], unfinished: false }
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.texts.push(text.into());
    }

    fn put(&mut self, seq: u64, entry: Entry) {
        self.book.put(seq, entry);
        self.touched.insert(seq);
    }

    fn write(&mut self, name: Vec<u8>, value: Vec<u8>) {
        self.rows.push(Row::Put { name, value });
    }

    fn delete(&mut self, name: Vec<u8>) {
        self.rows.push(Row::Delete { name });
    }

    /// Strikes a message out, with all its rows.
    fn remove(&mut self, seq: u64) {
        let Some(old) = self.book.remove(seq) else { return };
        self.touched.insert(seq);
        // Of one that is done, the rest went when it was.
        match old.standing {
            Standing::Done(_, false) => {}
            Standing::Done(_, true) => self.delete(Names(seq).result()),
            _ => self.forget_body(seq, &old),
        }
    }

    fn forget_body(&mut self, seq: u64, entry: &Entry) {
        self.delete(Names(seq).body());
        if entry.failed {
            self.delete(Names(seq).error());
        }
    }

    /// What each client asked, in their order.
    pub(super) fn asked(&mut self, requests: &[Request]) {
        for Request { ticket, op } in requests {
            let outcome = match self.queue.phase {
                Phase::Active => self.op(op),
                Phase::Deleting => Outcome::Refused(Rejected::Deleting),
                Phase::Quarantined { .. } => Outcome::Refused(Rejected::Quarantined),
            };
            self.answers.push((*ticket, outcome));
        }
    }

    fn op(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Send(messages) => self.send(messages),
            Op::Receive { max, lease, holder } => Outcome::Received(self.receive(*max, *lease, *holder)),
            Op::Renew { seq, number, lease } => Outcome::Renewed(self.renew(*seq, *number, *lease)),
            Op::Ack(acks) => Outcome::Acked(acks.iter().map(|ack| self.ack(ack)).collect()),
            Op::Nack { seq, number, delay, error } => {
                Outcome::Nacked(self.nack(*seq, *number, *delay, error.as_deref()))
            }
            Op::Return(returns) => Outcome::Moved(self.take_back(returns)),
            Op::Abandon { holder } => Outcome::Moved(self.abandon(*holder, u32::MAX)),
            Op::Requeue(which) => Outcome::Moved(self.requeue(*which)),
            Op::Discard(which) => Outcome::Moved(self.discard(*which)),
        }
    }

    fn send(&mut self, messages: &[Fresh]) -> Outcome {
        if self.count().held() as usize + messages.len() > QUEUE_MESSAGES_MAX {
            return Outcome::Full;
        }
        Outcome::Sent(messages.iter().map(|message| self.send_one(message)).collect())
    }

    fn send_one(&mut self, message: &Fresh) -> Sent {
        let known = message.id.and_then(|id| self.book.known(&id)).filter(|known| known.until > self.now);
        if let Some(known) = known {
            return Sent { seq: known.seq, duplicate: true };
        }
        let seq = self.queue.next;
        self.queue.next += 1;
        self.queue.totals.sent += 1;
        let standing = match message.delay.as_millis() {
            0 => Standing::Ready,
            _ => Standing::Delayed(self.now.after(message.delay.as_duration())),
        };
        let (sent_at, priority, bytes) = (self.now, message.priority, message.bytes);
        let entry = Entry { sent_at, priority, deliveries: 0, lease: 0, bytes, failed: false, standing };
        self.put(seq, entry);
        self.write(Names(seq).body(), message.row.as_ref().clone());
        let window = self.queue.settings.dedup_window.as_duration();
        if let Some(id) = message.id.filter(|_| !window.is_zero()) {
            let known = Known { seq, until: self.now.after(window) };
            self.book.learn(id, known);
            self.write(name_of_id(&id), encode_known(&known));
        }
        Sent { seq, duplicate: false }
    }

    fn receive(&mut self, max: u32, lease: Option<Span>, holder: Option<AttemptKey>) -> Vec<Leased> {
        if let Some(AttemptKey { job, number }) = holder
            && self.book.newest_attempt(job).is_some_and(|newest| newest < number)
        {
            self.abandon(job, number);
        }
        let until = self.now.after(lease.unwrap_or(self.queue.settings.lease).as_duration());
        let (mut leased, mut bytes) = (Vec::new(), 0);
        for _ in 0..max.min(QUEUE_RECEIVE_MAX) {
            let next = self.book.next_ready().and_then(|seq| Some((seq, self.book.get(seq)?)));
            let Some((seq, mut entry)) = next else { break };
            bytes += u64::from(entry.bytes);
            if bytes > QUEUE_RECEIVE_BYTES_MAX && !leased.is_empty() {
                break;
            }
            entry.deliveries += 1;
            entry.lease += 1;
            entry.standing = Standing::Leased(until, holder);
            self.put(seq, entry);
            self.queue.totals.delivered += 1;
            let Entry { deliveries, lease: number, priority, sent_at, .. } = entry;
            leased.push(Leased { seq, number, until, deliveries, priority, sent_at });
        }
        leased
    }

    /// The message, while this lease of it is good.
    fn leased(&self, seq: u64, number: u32) -> Result<Entry, Stale> {
        let entry = self.book.get(seq).filter(|entry| entry.lease == number).ok_or(Stale)?;
        match entry.standing {
            Standing::Leased(until, _) if until > self.now => Ok(entry),
            _ => Err(Stale),
        }
    }

    fn renew(&mut self, seq: u64, number: u32, lease: Option<Span>) -> Result<Timestamp, Stale> {
        let entry = self.leased(seq, number)?;
        let until = self.now.after(lease.unwrap_or(self.queue.settings.lease).as_duration());
        let Standing::Leased(_, holder) = entry.standing else { return Err(Stale) };
        self.put(seq, Entry { standing: Standing::Leased(until, holder), ..entry });
        Ok(until)
    }

    fn ack(&mut self, ack: &Ack) -> Result<(), Stale> {
        let entry = match self.leased(ack.seq, ack.number) {
            Ok(entry) => entry,
            Err(stale) => {
                // Said again by whoever said it first.
                let done = self.book.get(ack.seq).filter(|entry| entry.lease == ack.number);
                let is_done = done.is_some_and(|entry| matches!(entry.standing, Standing::Done(..)));
                return if is_done { Ok(()) } else { Err(stale) };
            }
        };
        let standing = Standing::Done(self.now, ack.result.is_some());
        self.put(ack.seq, Entry { standing, failed: false, ..entry });
        self.forget_body(ack.seq, &entry);
        if let Some(result) = &ack.result {
            // It is JSON already.
            let result = RawValue::from_string(result.as_ref().to_owned());
            self.write(Names(ack.seq).result(), encode_json(&result.ok()));
        }
        self.queue.totals.acknowledged += 1;
        Ok(())
    }

    fn nack(&mut self, seq: u64, number: u32, delay: Span, error: Option<&str>) -> Result<bool, Stale> {
        let mut entry = self.leased(seq, number)?;
        self.queue.totals.returned += 1;
        if let Some(text) = error {
            self.fail(seq, &mut entry, text.to_owned());
        }
        let back = match delay.as_millis() {
            0 => Standing::Ready,
            _ => Standing::Delayed(self.now.after(delay.as_duration())),
        };
        Ok(self.come_back(seq, entry, back, Cause::Failed))
    }

    fn fail(&mut self, seq: u64, entry: &mut Entry, text: String) {
        entry.failed = true;
        self.write(Names(seq).error(), encode(&LastError { at: self.now, text }));
    }

    /// A delivery is over and the message is not done: whether it is a dead letter now.
    fn come_back(&mut self, seq: u64, entry: Entry, back: Standing, cause: Cause) -> bool {
        let is_poisonous = entry.deliveries >= self.queue.settings.max_deliveries;
        let cause = if is_poisonous { Some(cause) } else { None };
        let cause = cause.or_else(|| self.is_too_old(&entry).then_some(Cause::Expired));
        match cause {
            Some(cause) => self.bury(seq, entry, cause),
            None => self.put(seq, Entry { standing: back, ..entry }),
        }
        cause.is_some()
    }

    fn is_too_old(&self, entry: &Entry) -> bool {
        entry.sent_at.after(self.queue.settings.retention.as_duration()) <= self.now
    }

    fn bury(&mut self, seq: u64, entry: Entry, cause: Cause) {
        self.put(seq, Entry { standing: Standing::Dead(self.now, cause), ..entry });
        self.queue.totals.dead_lettered += 1;
        let deliveries = entry.deliveries;
        self.say(match cause {
            Cause::Failed => format!("message {seq} is a dead letter: it failed {deliveries} times"),
            Cause::LeaseExpired => {
                format!("message {seq} is a dead letter: its lease ran out, delivered {deliveries} times")
            }
            Cause::Expired => format!("message {seq} is a dead letter: no worker did it in time"),
        });
    }

    fn take_back(&mut self, returns: &[Return]) -> u32 {
        let mut moved = 0;
        for Return { seq, number } in returns {
            let Ok(mut entry) = self.leased(*seq, *number) else { continue };
            // Nobody was given it. The number of the lease is not given again.
            entry.deliveries = entry.deliveries.saturating_sub(1);
            self.put(*seq, Entry { standing: Standing::Ready, ..entry });
            moved += 1;
        }
        moved
    }

    /// What attempts have that came before the one of this number: they are over.
    fn abandon(&mut self, job: JobId, number: u32) -> u32 {
        let held: Vec<u64> = self.book.held_before(job, number).take(QUEUE_DUE_PER_STEP).collect();
        for seq in &held {
            self.lose(*seq, "its worker ended without a word".to_owned());
        }
        u32::try_from(held.len()).unwrap_or(u32::MAX)
    }

    /// A lease is over without a word of whoever had it.
    fn lose(&mut self, seq: u64, text: String) {
        let Some(mut entry) = self.book.get(seq) else { return };
        self.queue.totals.lease_expired += 1;
        self.fail(seq, &mut entry, text);
        self.come_back(seq, entry, Standing::Ready, Cause::LeaseExpired);
    }

    fn dead(&self, which: Which) -> Vec<u64> {
        match which {
            Which::One(seq) => {
                let is_dead = |entry: &Entry| matches!(entry.standing, Standing::Dead(..));
                self.book.get(seq).filter(is_dead).map(|_| seq).into_iter().collect()
            }
            Which::First { most, below } => {
                let most = (most as usize).min(QUEUE_DUE_PER_STEP);
                self.book.dead_after(0).take_while(|seq| *seq < below).take(most).collect()
            }
        }
    }

    fn requeue(&mut self, which: Which) -> u32 {
        let dead = self.dead(which);
        for seq in &dead {
            let Some(entry) = self.book.get(*seq) else { continue };
            // It is given all its time and its deliveries once more.
            self.put(*seq, Entry { sent_at: self.now, deliveries: 0, standing: Standing::Ready, ..entry });
        }
        self.moved(dead.len(), "taken back from the dead letters")
    }

    fn discard(&mut self, which: Which) -> u32 {
        let dead = self.dead(which);
        for seq in &dead {
            self.remove(*seq);
        }
        self.moved(dead.len(), "deleted from the dead letters")
    }

    fn moved(&mut self, count: usize, what: &str) -> u32 {
        if count > 0 {
            self.say(format!("{count} messages were {what}"));
        }
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Everything whose time has come, as far as one transition goes.
    pub(super) fn see_to_what_is_due(&mut self) {
        let mut room = QUEUE_DUE_PER_STEP;
        self.forget(&mut room);
        if self.queue.phase == Phase::Active {
            self.end_leases(&mut room);
            self.end_delays(&mut room);
            self.expire(&mut room);
        }
        self.unfinished |= room == 0;
    }

    fn end_leases(&mut self, room: &mut usize) {
        while *room > 0
            && let Some((until, seq)) = self.book.next_lease()
            && until <= self.now
        {
            *room -= 1;
            self.lose(seq, format!("its lease ran out at {until}"));
        }
    }

    fn end_delays(&mut self, room: &mut usize) {
        while *room > 0
            && let Some((until, seq)) = self.book.next_delayed()
            && until <= self.now
        {
            *room -= 1;
            let Some(entry) = self.book.get(seq) else { continue };
            self.put(seq, Entry { standing: Standing::Ready, ..entry });
        }
    }

    fn expire(&mut self, room: &mut usize) {
        while *room > 0
            && let Some((_, seq)) = self.book.oldest()
            && let Some(entry) = self.book.get(seq)
            && self.is_too_old(&entry)
        {
            *room -= 1;
            self.bury(seq, entry, Cause::Expired);
        }
    }

    /// What need not be remembered any more. Nothing waits for that, so no timer is armed for it.
    fn forget(&mut self, room: &mut usize) {
        let keep = self.queue.settings.keep_results.as_duration();
        while *room > 0
            && let Some((at, seq)) = self.book.first_done()
            && (at.after(keep) <= self.now || self.book.lengths()[4] as usize > QUEUE_DONE_MAX)
        {
            *room -= 1;
            self.remove(seq);
        }
        while *room > 0
            && let Some((until, id)) = self.book.next_forgotten()
            && until <= self.now
        {
            *room -= 1;
            self.book.forget(&id);
            self.delete(name_of_id(&id));
        }
    }

    /// Deletes some of everything; whether nothing is left.
    pub(super) fn dissolve(&mut self) -> bool {
        for _ in 0..QUEUE_DUE_PER_STEP {
            match (self.book.first(), self.book.next_forgotten()) {
                (Some(seq), _) => self.remove(seq),
                (None, Some((_, id))) => {
                    self.book.forget(&id);
                    self.delete(name_of_id(&id));
                }
                (None, None) => break,
            }
        }
        self.unfinished = true;
        self.book.is_empty()
    }

    pub(super) fn count(&self) -> Counts {
        let [ready, leased, delayed, dead, done] = self.book.lengths();
        Counts { ready, leased, delayed, dead, done }
    }

    /// When something is due next.
    fn due(&self) -> Option<Timestamp> {
        if self.unfinished {
            return Some(self.now.after(NEXT_STEP.as_duration()));
        }
        let Phase::Active = self.queue.phase else { return None };
        let retention = self.queue.settings.retention.as_duration();
        let lease = self.book.next_lease().map(|(until, _)| until);
        let delayed = self.book.next_delayed().map(|(until, _)| until);
        let expiry = self.book.oldest().map(|(sent_at, _)| sent_at.after(retention));
        [lease, delayed, expiry].into_iter().flatten().min()
    }

    /// The timer: armed for something that was done meanwhile it is left as it is, for it costs a row each time.
    fn wake_at(&self) -> Option<Timestamp> {
        let (due, armed) = (self.due(), self.queue.wake_at.filter(|armed| *armed > self.now));
        match (due, armed) {
            (Some(due), Some(armed)) => Some(due.min(armed)),
            (due, armed) => due.or(armed),
        }
    }

    pub(super) fn step(mut self, old: Option<&Queue>) -> Step<Queue> {
        let mut effects = Vec::new();
        if !self.answers.is_empty() {
            effects.push(Effect::Answer(Arc::from(std::mem::take(&mut self.answers))));
        }
        let counts = self.count();
        if counts.ready > 0 && self.queue.phase == Phase::Active {
            effects.push(Effect::Ready(counts.ready));
        }
        for seq in std::mem::take(&mut self.touched) {
            match self.book.get(seq) {
                Some(entry) => self.write(Names(seq).standing(), encode_entry(&entry)),
                None => self.delete(Names(seq).standing()),
            }
        }
        self.queue.wake_at = self.wake_at();
        let is_same = self.rows.is_empty()
            && self.texts.is_empty()
            && old.is_some_and(|old| old.wake_at == self.queue.wake_at);
        if is_same {
            return Step::unchanged(effects);
        }
        self.queue.counts = counts;
        self.queue.oldest_at = self.book.oldest().map(|(sent_at, _)| sent_at);
        self.queue.holders = self.book.holders().clone();
        // What happens to single messages is told by the numbers; that some died, or what people did, is history.
        let record = (!self.texts.is_empty()).then(|| {
            self.queue.revision += 1;
            Record { at: self.now, text: in_short(&self.texts) }
        });
        self.queue.unwritten = self.rows;
        self.queue.book = Some(self.book);
        Step { change: Change::Next(Arc::new(self.queue), record), effects, outbox: vec![] }
    }
}

/// The most texts that one entry of the history names.
const TEXTS_MAX: usize = 20;

fn in_short(texts: &[String]) -> String {
    let said = texts.iter().take(TEXTS_MAX).cloned().collect::<Vec<_>>().join("; ");
    match texts.len().saturating_sub(TEXTS_MAX) {
        0 => said,
        more => format!("{said}; and {more} more"),
    }
}
