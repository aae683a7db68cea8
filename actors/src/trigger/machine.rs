//! The trigger as a [`Machine`]: what each event does. How it is done is in `steps.rs` and `starts.rs`. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::book::Book;
use super::id::TriggerId;
use super::rows::{self, READ_BACK, ReadBack};
use super::spec::Source;
use super::state::{Counts, Effect, Event, Given, Phase, Record, Rejected, Totals, Trigger};
use super::steps::Draft;
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine, Row, Step};
use crate::id::JobId;
use crate::store::{self, Key};

impl Machine for Trigger {
    const KIND: &'static str = "trigger";
    const VERSION: u8 = 1;
    const HAS_GIVEN: bool = true;
    const ROWS: &'static [&'static [u8]] = READ_BACK;

    type Id = TriggerId;
    type Event = Event;
    type Effect = Effect;
    type Record = Record;
    type Given = Given;
    type Rejection = Rejected;

    fn create(id: TriggerId, event: &Event, now: Timestamp) -> Option<Result<Step<Self>, Rejected>> {
        let Event::Declared { given, incarnation } = event else { return None };
        let trigger = Self::new(id, given.as_ref().clone(), *incarnation, now);
        let mut draft = Draft::of(&trigger, now);
        draft.say("declared");
        Some(Ok(draft.step(None)))
    }

    fn apply(&self, event: &Event, now: Timestamp) -> Result<Step<Self>, Rejected> {
        let mut draft = Draft::of(self, now);
        match event {
            Event::Declared { .. } if self.phase == Phase::Deleting => return Err(Rejected::Deleting),
            Event::Declared { given, .. } => draft.declared(given),
            Event::RunEnded { item, run, end } => draft.ended(*item, **run, end),
            Event::DeleteRequested => draft.delete(),
            Event::Ticked => {}
            Event::Quarantined { reason } => draft.quarantine(reason),
            Event::Looked { found, gone, fault } => draft.looked(found, gone, fault.as_deref()),
            asked => {
                match &self.phase {
                    Phase::Quarantined { reason } => return Err(Rejected::Quarantined(reason.clone())),
                    Phase::Deleting => return Err(Rejected::Deleting),
                    Phase::Active | Phase::Paused { .. } => {}
                }
                match asked {
                    Event::PauseRequested => draft.pause(),
                    Event::ResumeRequested => draft.resume(),
                    Event::TokenRotated => draft.rotate(),
                    Event::Requeued(which) => draft.requeue(*which),
                    Event::Discarded(which) => draft.discard(*which),
                    Event::Called(object) => draft.called(object)?,
                    // Seen to above.
                    _ => {}
                }
            }
        }
        if draft.trigger.phase == Phase::Deleting && draft.dissolve() {
            return Ok(Step { change: Change::Purge, effects: vec![Effect::Unwatch], outbox: vec![] });
        }
        Ok(draft.step(Some(self)))
    }

    fn resume(&self) -> Vec<Effect> {
        if self.is_watching() { vec![Effect::Watch] } else { vec![] }
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

    fn given(&self) -> Option<&Given> {
        self.given.as_deref()
    }

    fn with_given(self, given: Given) -> Self {
        Self { given: Some(Arc::new(given)), ..self }
    }

    fn is_given_anew(&self, old: &Self) -> bool {
        match (&self.given, &old.given) {
            (Some(new), Some(old)) => !Arc::ptr_eq(new, old),
            _ => true,
        }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    /// The stream of all events is one of jobs.
    fn is_announced(_: &Record) -> bool {
        false
    }

    /// One that looks at its source has to be there for that; of the others, messages and timers wake them.
    fn liveness(&self) -> Liveness {
        match self.phase {
            Phase::Active if self.is_watching() => Liveness::Live,
            Phase::Active | Phase::Paused { .. } | Phase::Deleting => Liveness::Waiting,
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
            ReadBack::Object(item, object) => drop(self.unread.insert(item, Arc::new(object))),
            ReadBack::Known(key, known) => book.learn(key, known),
            ReadBack::Standing(item, row) => {
                let missing =
                    || store::Error::Corrupt(format!("what arrived as item {item} is missing").into());
                book.put(item, row.with(self.unread.remove(&item).ok_or_else(missing)?));
            }
        }
        Ok(())
    }

    fn rows_read(&mut self) {
        self.book.get_or_insert_default();
    }

    fn rows_faults(&self) -> Vec<String> {
        let found = self.book.as_ref().map(counts).unwrap_or_default();
        let mut faults = Vec::new();
        if found != self.counts {
            faults.push(format!("there should be {:?}, and there are {found:?}", self.counts));
        }
        faults.extend(self.unread.keys().map(|item| format!("item {item} stands nowhere")));
        faults
    }

    fn companions(name: &[u8], value: &[u8]) -> Vec<Vec<u8>> {
        match rows::read(name, value) {
            Ok(ReadBack::Standing(item, _)) => vec![rows::object(item)],
            Ok(ReadBack::Object(item, _)) => vec![rows::standing(item)],
            _ => vec![],
        }
    }
}

/// How many items there are.
pub(super) fn counts(book: &Book) -> Counts {
    let [pending, running, dead, done] = book.lengths();
    Counts { pending, running, dead, done, known: book.known_len() as u64 }
}

impl Trigger {
    fn new(id: TriggerId, given: Given, incarnation: JobId, now: Timestamp) -> Self {
        Self {
            id,
            revision: 0,
            given: Some(Arc::new(given)),
            incarnation,
            token: 1,
            created_at: now,
            updated_at: now,
            generation: 1,
            phase: Phase::Active,
            next: 1,
            counts: Counts::default(),
            totals: Totals::default(),
            fault: None,
            wake_at: None,
            book: Some(Book::default()),
            unread: BTreeMap::new(),
            unwritten: vec![],
        }
    }

    /// Whether somebody has to look at its source.
    pub(super) fn is_watching(&self) -> bool {
        let is_looked_at =
            matches!(self.spec().source(), Some(Source::Directory(_) | Source::Bucket(_) | Source::Queue(_)));
        self.phase == Phase::Active && is_looked_at
    }
}
