//! The queue as a [`Machine`]: what each event does, and what the durable shell needs to know of it. Pure.

use super::book::Book;
use super::event::{Effect, Event, Rejected};
use super::id::QueueId;
use super::rows::{self, Names, READ_BACK, ReadBack};
use super::settings::Settings;
use super::state::{Counts, Phase, Queue, Record, Totals};
use super::steps::Draft;
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine, Row, Step};
use crate::id::JobId;
use crate::store::{self, Key};

impl Machine for Queue {
    const KIND: &'static str = "queue";
    const VERSION: u8 = 1;
    const ROWS: &'static [&'static [u8]] = READ_BACK;

    type Id = QueueId;
    type Event = Event;
    type Effect = Effect;
    type Record = Record;
    type Given = ();
    type Rejection = Rejected;

    fn create(id: QueueId, event: &Event, now: Timestamp) -> Option<Result<Step<Self>, Rejected>> {
        let Event::Declared { settings, incarnation } = event else { return None };
        let mut draft = Draft::of(&Self::new(id, settings.clone(), *incarnation, now), now);
        draft.say("declared");
        Some(Ok(draft.step(None)))
    }

    fn apply(&self, event: &Event, now: Timestamp) -> Result<Step<Self>, Rejected> {
        let mut draft = Draft::of(self, now);
        match event {
            Event::Declared { .. } if self.phase == Phase::Deleting => return Err(Rejected::Deleting),
            Event::Declared { settings, .. } => self.declare(&mut draft, settings),
            Event::Asked(requests) => {
                draft.see_to_what_is_due();
                draft.asked(requests);
            }
            Event::DeleteRequested { force } => {
                let held = self.counts.held();
                if held > 0 && !force && self.phase != Phase::Deleting {
                    return Err(Rejected::NotEmpty(held));
                }
                if self.phase != Phase::Deleting {
                    draft.queue.phase = Phase::Deleting;
                    draft.say("deleted");
                }
            }
            Event::Ticked => draft.see_to_what_is_due(),
            Event::Quarantined { reason } => {
                draft.queue.phase = Phase::Quarantined { reason: reason.clone() };
                draft.say(format!(
                    "its supervisor panicked again and again: {reason}; declare it again to have it tried"
                ));
            }
        }
        if draft.queue.phase == Phase::Deleting && draft.dissolve() {
            let answers = draft.step(Some(self)).effects;
            return Ok(Step { change: Change::Purge, effects: answers, outbox: vec![] });
        }
        Ok(draft.step(Some(self)))
    }

    fn resume(&self) -> Vec<Effect> {
        match self.counts.ready {
            0 => vec![],
            ready => vec![Effect::Ready(ready)],
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.wake_at
    }

    fn tick() -> Event {
        Event::Ticked
    }

    fn quarantine(reason: String) -> Event {
        Event::Quarantined { reason }
    }

    fn releases(event: &Event) -> bool {
        matches!(event, Event::Declared { .. })
    }

    fn given(&self) -> Option<&()> {
        None
    }

    fn with_given(self, (): ()) -> Self {
        self
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    /// The stream of all events is one of jobs.
    fn is_announced(_: &Record) -> bool {
        false
    }

    /// Its messages are read once, and not for each request.
    fn liveness(&self) -> Liveness {
        match self.phase {
            Phase::Active | Phase::Deleting => Liveness::Live,
            Phase::Quarantined { .. } => Liveness::Terminal,
        }
    }

    fn index(&self) -> Vec<Vec<u8>> {
        vec![]
    }

    fn is_listed_as(&self, _: &Self) -> bool {
        true
    }

    fn owned_keys(&self) -> Vec<Key> {
        vec![]
    }

    fn take_rows(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.unwritten)
    }

    fn read_row(&mut self, name: &[u8], value: &[u8]) -> Result<(), store::Error> {
        let book = self.book.get_or_insert_default();
        match rows::read(name, value)? {
            ReadBack::Entry(seq, entry) => book.put(seq, entry),
            ReadBack::Known(id, known) => book.learn(id, known),
        }
        Ok(())
    }

    fn rows_read(&mut self) {
        self.book.get_or_insert_default();
    }

    fn rows_faults(&self) -> Vec<String> {
        let book = self.book.clone().unwrap_or_default();
        let [ready, leased, delayed, dead, done] = book.lengths();
        let found = Counts { ready, leased, delayed, dead, done };
        let mut faults = Vec::new();
        if found != self.counts {
            let Counts { ready, leased, delayed, dead, done } = self.counts;
            faults.push(format!(
                "there should be {ready} ready, {leased} leased, {delayed} delayed, {dead} dead and {done} done messages, \
                 and there are {}, {}, {}, {} and {}",
                found.ready, found.leased, found.delayed, found.dead, found.done
            ));
        }
        faults
    }

    fn companions(name: &[u8], value: &[u8]) -> Vec<Vec<u8>> {
        match rows::read(name, value) {
            Ok(ReadBack::Entry(seq, entry)) => Names(seq).of(&entry),
            _ => vec![],
        }
    }
}

impl Queue {
    fn new(id: QueueId, settings: Settings, incarnation: JobId, now: Timestamp) -> Self {
        Self {
            id,
            revision: 0,
            settings,
            incarnation,
            created_at: now,
            updated_at: now,
            phase: Phase::Active,
            next: 1,
            counts: Counts::default(),
            totals: Totals::default(),
            oldest_at: None,
            wake_at: None,
            holders: std::collections::BTreeMap::new(),
            book: Some(Book::default()),
            unwritten: vec![],
        }
    }

    fn declare(&self, draft: &mut Draft, settings: &Settings) {
        if self.settings == *settings && self.phase == Phase::Active {
            return;
        }
        draft.queue.settings = settings.clone();
        draft.queue.phase = Phase::Active;
        draft.queue.updated_at = draft.now;
        draft.say("declared anew");
    }
}
