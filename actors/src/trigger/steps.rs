//! A transition of a trigger that is being made: what arrives, what is over, what people want. Pure.
//!
//! Not responsible for: what is started for an item, and how (`starts.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::book::{Book, Entry, Known, Standing};
use super::machine::counts;
use super::object::{Key, Kind, Object};
use super::rows;
use super::state::{Effect, End, Given, Phase, Record, Rejected, Run, Trigger, Which};
use crate::clock::Timestamp;
use crate::durable::{Change, Message, Row, Step};
use crate::job::view::JobState;
use crate::limits::{
    TRIGGER_DONE_MAX, TRIGGER_ERROR_CHARS_MAX, TRIGGER_ITEM_BYTES_MAX, TRIGGER_ITEMS_MAX, TRIGGER_KNOWN_MAX,
    TRIGGER_RETRY_DELAY_MAX, TRIGGER_STEP_MAX,
};
use crate::units::Span;

/// How long until the next transition, where one alone would be too large.
const NEXT_STEP: Span = Span::from_millis(1);

/// A transition that is being made.
pub(super) struct Draft {
    pub(super) trigger: Trigger,
    pub(super) now: Timestamp,
    pub(super) book: Book,
    pub(super) outbox: Vec<Message>,
    rows: Vec<Row>,
    touched: BTreeSet<u64>,
    texts: Vec<String>,
    /// Something else in the snapshot is another than it was.
    pub(super) is_changed: bool,
    /// Something is due that this transition does not see to.
    unfinished: bool,
}

impl Draft {
    pub(super) fn of(trigger: &Trigger, now: Timestamp) -> Self {
        let mut trigger = trigger.clone();
        // What is published was read with its rows by the shell; a snapshot alone is for readers.
        let book = trigger.book.take().expect("a trigger is changed only where its rows were read");
        let (rows, touched, texts) = (vec![], BTreeSet::new(), vec![]);
        let (outbox, is_changed, unfinished) = (vec![], false, false);
        Self { trigger, now, book, outbox, rows, touched, texts, is_changed, unfinished }
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.texts.push(text.into());
    }

    pub(super) fn put(&mut self, item: u64, entry: Entry) {
        self.book.put(item, entry);
        self.touched.insert(item);
    }

    fn write(&mut self, name: Vec<u8>, value: Vec<u8>) {
        self.rows.push(Row::Put { name, value });
    }

    fn remove(&mut self, item: u64) {
        if self.book.remove(item).is_some() {
            self.touched.insert(item);
            self.rows.push(Row::Delete { name: rows::object(item) });
        }
    }

    fn learn(&mut self, key: Key, known: Known) {
        self.book.learn(key, known);
        self.write(rows::known(&key), rows::encode(&known));
    }

    fn forget(&mut self, key: Key) {
        self.book.forget(&key);
        self.rows.push(Row::Delete { name: rows::known(&key) });
    }

    /// With another source, what was remembered of the old one fades.
    pub(super) fn declared(&mut self, given: &Given) {
        let old = Arc::clone(self.trigger.given());
        let was_quarantined = matches!(self.trigger.phase, Phase::Quarantined { .. });
        if *old == *given && !was_quarantined {
            return;
        }
        self.trigger.given = Some(Arc::new(given.clone()));
        self.trigger.generation += 1;
        self.trigger.updated_at = self.now;
        self.is_changed = true;
        if was_quarantined {
            self.trigger.phase = Phase::Active;
        }
        if old.spec.source() != given.spec.source() {
            self.trigger.fault = None;
            let until = Some(self.now.after(old.spec.remembers().as_duration()));
            let stay = self.book.all_known().filter(|(_, known)| known.until.is_none());
            let stay: Vec<(Key, Known)> = stay.map(|(key, known)| (*key, *known)).collect();
            for (key, known) in stay {
                self.learn(key, Known { until, ..known });
            }
        }
        self.say("declared anew");
    }

    /// What is at the source, as far as there is room for it; what there is none for is found again.
    pub(super) fn looked(&mut self, found: &[Object], gone: &[Key], fault: Option<&str>) {
        if self.trigger.phase != Phase::Active {
            return;
        }
        let until = Some(self.now.after(self.trigger.spec().remembers().as_duration()));
        for key in gone {
            if let Some(known) = self.book.known(key).filter(|known| known.until.is_none()) {
                self.learn(*key, Known { until, ..known });
            }
        }
        for object in found {
            let key = object.key();
            match self.book.known(&key) {
                // It was missed for a while.
                Some(known) if known.until.is_some() => self.learn(key, Known { until: None, ..known }),
                Some(_) => {}
                None if self.has_room(object) => self.arrive(key, object, None),
                None => break,
            }
        }
        if self.trigger.fault.as_deref() != fault {
            self.trigger.fault = fault.map(str::to_owned);
            self.is_changed = true;
            self.say(match fault {
                Some(fault) => format!("its source cannot be looked at: {fault}"),
                None => "its source is looked at again".to_owned(),
            });
        }
    }

    /// A request. The same one once more is the same item.
    pub(super) fn called(&mut self, object: &Object) -> Result<(), Rejected> {
        let (key, tag) = (object.key(), tag(object));
        if let Some(known) =
            self.book.known(&key).filter(|known| known.until.is_none_or(|end| end > self.now))
        {
            return if known.tag == tag { Ok(()) } else { Err(Rejected::Reused) };
        }
        if !self.has_room(object) {
            return Err(Rejected::Full);
        }
        // One that its caller gave no name is not asked for again, but whoever made it is told of it by its name.
        let remembers = match object.version.as_str() {
            "" => Span::from_secs(0),
            _ => self.trigger.spec().remembers(),
        };
        self.arrive(key, object, Some(self.now.after(remembers.as_duration())));
        Ok(())
    }

    /// Whether one more can be held and remembered; makes room where something is remembered that is long gone.
    fn has_room(&mut self, object: &Object) -> bool {
        let [pending, running, dead, _] = self.book.lengths();
        let bytes = self.book.bytes() + object.bytes();
        if pending + running + dead >= TRIGGER_ITEMS_MAX as u64 || bytes > TRIGGER_ITEM_BYTES_MAX {
            return false;
        }
        if self.book.known_len() < TRIGGER_KNOWN_MAX {
            return true;
        }
        let Some((_, key)) = self.book.next_forgotten() else { return false };
        self.forget(key);
        true
    }

    fn arrive(&mut self, key: Key, object: &Object, until: Option<Timestamp>) {
        let item = self.trigger.next;
        self.trigger.next += 1;
        self.trigger.totals.arrived += 1;
        self.write(rows::object(item), rows::encode(object));
        self.learn(key, Known { item, tag: tag(object), until });
        let entry = Entry {
            arrived_at: self.now,
            object: Arc::new(object.clone()),
            deliveries: 0,
            starts: 0,
            run: None,
            error: None,
            standing: Standing::Pending,
        };
        self.put(item, entry);
    }

    /// What was started is over. What somebody ran once more by itself counts, too, where it came to a good end.
    pub(super) fn ended(&mut self, item: u64, run: Run, end: &End) {
        let Some(entry) = self.book.get(item).filter(|entry| entry.run == Some(run)) else { return };
        let (mut entry, now) = (Entry::clone(entry), self.now);
        if matches!(entry.standing, Standing::Done(_)) {
            return;
        }
        if end.state == JobState::Succeeded {
            self.trigger.totals.done += 1;
            if entry.object.body.is_some() {
                entry.object = Arc::new(entry.object.without_body());
                self.write(rows::object(item), rows::encode(entry.object.as_ref()));
            }
            return self.put(item, Entry { standing: Standing::Done(now), error: None, ..entry });
        }
        if entry.standing != Standing::Running {
            return;
        }
        self.trigger.totals.failed += 1;
        let said = end.message.as_deref().unwrap_or_else(|| end.state.name());
        entry.error = Some(said.chars().take(TRIGGER_ERROR_CHARS_MAX).collect::<String>().into());
        let is_last = entry.deliveries >= self.trigger.spec().max_deliveries;
        if is_last || end.state == JobState::Cancelled {
            self.trigger.totals.dead_lettered += 1;
            self.say(format!("item {item} is a dead letter: {run} {}: {said}", end.state.name()));
            return self.put(item, Entry { standing: Standing::Dead(now), ..entry });
        }
        let pause = self.pause_behind(entry.deliveries);
        self.put(item, Entry { standing: Standing::Delayed(now.after(pause.as_duration())), ..entry });
    }

    /// The pause behind so many deliveries.
    fn pause_behind(&self, deliveries: u32) -> Span {
        let first = self.trigger.spec().retry_delay.as_millis();
        let doubled = first.saturating_mul(1_u64 << deliveries.saturating_sub(1).min(32));
        Span::from_millis(doubled).min(TRIGGER_RETRY_DELAY_MAX.max(Span::from_millis(first)))
    }

    pub(super) fn pause(&mut self) {
        if self.trigger.phase == Phase::Active {
            self.trigger.phase = Phase::Paused { since: self.now };
            self.say("paused");
        }
    }

    pub(super) fn resume(&mut self) {
        if let Phase::Paused { .. } = self.trigger.phase {
            self.trigger.phase = Phase::Active;
            self.say("resumed");
        }
    }

    pub(super) fn rotate(&mut self) {
        self.trigger.token += 1;
        self.say("its token is another one");
    }

    pub(super) fn delete(&mut self) {
        if self.trigger.phase != Phase::Deleting {
            self.trigger.phase = Phase::Deleting;
            self.say("deleted");
        }
    }

    pub(super) fn quarantine(&mut self, reason: &str) {
        self.trigger.phase = Phase::Quarantined { reason: reason.to_owned() };
        self.say(format!(
            "its supervisor panicked again and again: {reason}; declare it again to have it tried"
        ));
    }

    fn dead(&self, which: Which) -> Vec<u64> {
        match which {
            Which::One(item) => {
                let is_dead = |entry: &&Arc<Entry>| matches!(entry.standing, Standing::Dead(_));
                self.book.get(item).filter(is_dead).map(|_| item).into_iter().collect()
            }
            Which::First { most, below } => {
                let most = (most as usize).min(TRIGGER_STEP_MAX);
                self.book.dead_after(0).take_while(|item| *item < below).take(most).collect()
            }
        }
    }

    pub(super) fn requeue(&mut self, which: Which) {
        let dead = self.dead(which);
        for item in &dead {
            let Some(entry) = self.book.get(*item).map(|entry| Entry::clone(entry)) else { continue };
            self.put(*item, Entry { deliveries: 0, standing: Standing::Pending, ..entry });
        }
        self.say_moved(dead.len(), "taken back from the dead letters");
    }

    /// Its version stays known, so that what is still there does not arrive once more.
    pub(super) fn discard(&mut self, which: Which) {
        let dead = self.dead(which);
        for item in &dead {
            self.remove(*item);
        }
        self.say_moved(dead.len(), "deleted from the dead letters");
    }

    fn say_moved(&mut self, count: usize, what: &str) {
        if count > 0 {
            self.say(format!("{count} items were {what}"));
        }
    }

    /// Deletes some of everything; whether nothing is left.
    pub(super) fn dissolve(&mut self) -> bool {
        for _ in 0..TRIGGER_STEP_MAX {
            match (self.book.first(), self.book.any_known()) {
                (Some(item), _) => self.remove(item),
                (None, Some(key)) => self.forget(key),
                (None, None) => break,
            }
        }
        self.unfinished = true;
        self.book.is_empty()
    }

    /// Everything whose time has come, as far as one transition goes.
    fn see_to_what_is_due(&mut self) {
        let mut room = TRIGGER_STEP_MAX;
        while room > 0
            && let Some((until, key)) = self.book.next_forgotten()
            && until < self.now
        {
            room -= 1;
            self.forget(key);
        }
        while room > 0 && self.book.lengths()[3] as usize > TRIGGER_DONE_MAX {
            let Some((_, item)) = self.book.first_done() else { break };
            room -= 1;
            self.remove(item);
        }
        while room > 0
            && self.trigger.phase == Phase::Active
            && let Some((until, item)) = self.book.next_delayed()
            && until <= self.now
        {
            room -= 1;
            let Some(entry) = self.book.get(item).map(|entry| Entry::clone(entry)) else { break };
            self.put(item, Entry { standing: Standing::Pending, ..entry });
        }
        self.unfinished |= room == 0;
    }

    fn wake_at(&self) -> Option<Timestamp> {
        if self.unfinished {
            return Some(self.now.after(NEXT_STEP.as_duration()));
        }
        let Phase::Active = self.trigger.phase else { return None };
        self.book.next_delayed().map(|(until, _)| until)
    }

    /// What became of the event.
    pub(super) fn step(mut self, old: Option<&Trigger>) -> Step<Trigger> {
        if self.trigger.phase != Phase::Deleting {
            self.see_to_what_is_due();
            self.start_what_may();
        }
        let effects = self.effects(old);
        for item in std::mem::take(&mut self.touched) {
            let name = rows::standing(item);
            match self.book.get(item).map(|entry| rows::encode_entry(entry)) {
                Some(value) => self.write(name, value),
                None => self.rows.push(Row::Delete { name }),
            }
        }
        self.trigger.wake_at = self.wake_at();
        let is_same = self.rows.is_empty()
            && self.texts.is_empty()
            && !self.is_changed
            && old.is_some_and(|old| old.wake_at == self.trigger.wake_at);
        if is_same {
            return Step::unchanged(effects);
        }
        self.trigger.counts = counts(&self.book);
        // What happens to single items is told by the items; that some died, or what people did, is history.
        let record = (!self.texts.is_empty()).then(|| {
            self.trigger.revision += 1;
            Record { at: self.now, text: in_short(&self.texts) }
        });
        self.trigger.unwritten = self.rows;
        self.trigger.book = Some(self.book);
        Step { change: Change::Next(Arc::new(self.trigger), record), effects, outbox: self.outbox }
    }

    /// Whether its source is to be looked at from now on, or no more.
    fn effects(&self, old: Option<&Trigger>) -> Vec<Effect> {
        let was = old.filter(|old| old.is_watching()).map(|old| old.generation);
        let is = self.trigger.is_watching().then_some(self.trigger.generation);
        match (was, is) {
            (was, is) if was == is => vec![],
            (_, Some(_)) => vec![Effect::Watch],
            (_, None) => vec![Effect::Unwatch],
        }
    }
}

/// Tells what came under the same name.
fn tag(object: &Object) -> u64 {
    match object.source {
        Kind::Http => xxhash_rust::xxh3::xxh3_64(object.body.as_deref().unwrap_or_default().as_bytes()),
        Kind::Directory | Kind::Bucket | Kind::Queue => 0,
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
