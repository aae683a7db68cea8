//! The smallest machine that uses everything the shell offers: it counts, has a deadline, sends messages to
//! others of its kind, and panics as ordered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::durable::{Change, Liveness, Machine, MachineId, Message, Row, Step};
use dogwatch_actors::store::{self, Key, codec};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Number(pub(crate) u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl MachineId for Number {
    fn to_key(self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u64::from_be_bytes(bytes)))
    }

    fn at_front(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(|bytes| Self(u64::from_be_bytes(*bytes)))
    }

    fn at_end(bytes: &[u8]) -> Option<Self> {
        bytes.last_chunk().map(|bytes| Self(u64::from_be_bytes(*bytes)))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) revision: u64,
    pub(crate) count: u64,
    pub(crate) ticks: u64,
    pub(crate) due: Option<Timestamp>,
    pub(crate) is_live: bool,
    /// Panics even when it is quarantined.
    pub(crate) is_cursed: bool,
    pub(crate) quarantined: Option<String>,
    pub(crate) received: Vec<u64>,
    #[serde(skip)]
    beside: Beside,
}

/// What it keeps beside its snapshot: the last counts, of which the snapshot holds the newest alone, and what it was given.
#[derive(Debug, Clone, Default)]
struct Beside {
    given: String,
    counts: Vec<u64>,
    unwritten: Vec<Row>,
}

/// Readers of what rests see the snapshot alone, so that nobody compares it.
impl PartialEq for Beside {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// How many counts it keeps.
const COUNTS_KEPT: usize = 3;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    Opened,
    Added(u64),
    /// Applying it panics.
    Cursed(String),
    /// Its effect panics.
    Fumbled,
    /// What follows is a change that nobody wants to read about.
    Noted,
    /// Changes nothing, but has an effect.
    Asked,
    Refused,
    DueSet(Option<Timestamp>),
    LiveSet(bool),
    /// It is given something else.
    Given(String),
    /// From now on even a quarantine panics.
    CursedForEver,
    /// Sends these amounts to another one, each as a message of its own.
    Sent(Number, Vec<u64>),
    Received(u64),
    Ticked,
    Closed,
    Quarantined(String),
    /// Lifts the curse, and has it tried again.
    Released,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Say the count.
    Say(u64),
    /// Derived by `resume`.
    Resume(u64),
    Panic,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("refused")]
pub(crate) struct Refusal;

type Outcome = Result<Step<Counter>, Refusal>;

impl Counter {
    /// Keeps the count of a new state, and what it was given is what was kept of the old one.
    fn keep(&mut self, old: &Self) {
        assert_eq!(
            old.beside.counts.last().copied().unwrap_or(0),
            old.count,
            "its rows are those of its snapshot"
        );
        if self.count == old.count {
            return;
        }
        let name = |count: u64| [&b"c"[..], &count.to_be_bytes()].concat();
        self.beside.counts.push(self.count);
        let value = codec::encode(Self::VERSION, &self.count);
        self.beside.unwritten.push(Row::Put { name: name(self.count), value });
        if self.beside.counts.len() > COUNTS_KEPT {
            let gone = self.beside.counts.remove(0);
            self.beside.unwritten.push(Row::Delete { name: name(gone) });
        }
    }

    fn recorded(mut self, event: &Event, effects: Vec<Effect>) -> Step<Self> {
        self.revision += 1;
        Step::next(self, format!("{event:?}"), effects)
    }
}

impl Machine for Counter {
    const KIND: &'static str = "counter";
    const VERSION: u8 = 1;
    const HAS_GIVEN: bool = true;
    const ROWS: &'static [&'static [u8]] = &[b"c"];

    type Id = Number;
    type Event = Event;
    type Effect = Effect;
    type Record = String;
    type Given = String;
    type Rejection = Refusal;

    fn create(_: Number, event: &Event, now: Timestamp) -> Option<Outcome> {
        let fresh = Self {
            revision: 0,
            count: 0,
            ticks: 0,
            due: None,
            is_live: true,
            is_cursed: false,
            quarantined: None,
            received: vec![],
            beside: Beside { given: "given".to_owned(), ..Beside::default() },
        };
        match event {
            Event::Opened => Some(Ok(fresh.recorded(event, vec![Effect::Say(0)]))),
            Event::Added(_) | Event::Sent(..) => Some(fresh.apply(event, now)),
            _ => None,
        }
    }

    fn apply(&self, event: &Event, now: Timestamp) -> Outcome {
        assert!(!self.beside.given.is_empty(), "what it was given is with it");
        let mut next = self.clone();
        let mut outbox = vec![];
        match event {
            Event::Opened | Event::Refused => return Err(Refusal),
            Event::Added(more) => next.count += more,
            Event::Cursed(text) => panic!("{text}"),
            Event::Quarantined(reason) => {
                assert!(!self.is_cursed, "cursed for ever");
                next.quarantined = Some(reason.clone());
            }
            Event::CursedForEver => next.is_cursed = true,
            Event::Released => next.is_cursed = false,
            Event::Fumbled => {
                next.count += 1;
                next.keep(self);
                return Ok(next.recorded(event, vec![Effect::Panic]));
            }
            Event::Noted => {
                next.count += 1;
                next.keep(self);
                let change = Change::Next(Arc::new(next), None);
                return Ok(Step { change, effects: vec![], outbox: vec![] });
            }
            Event::Asked => return Ok(Step::unchanged(vec![Effect::Say(self.count)])),
            Event::DueSet(due) => next.due = *due,
            Event::LiveSet(is_live) => next.is_live = *is_live,
            Event::Given(given) => next.beside.given.clone_from(given),
            Event::Sent(to, amounts) => {
                outbox = amounts
                    .iter()
                    .map(|amount| Message::to::<Self>(*to, &Event::Received(*amount)))
                    .collect();
            }
            // Every seventh is one that the receiver does not accept.
            Event::Received(amount) if amount.is_multiple_of(7) => return Err(Refusal),
            // Another one panics until something was added.
            Event::Received(13) => {
                assert!(self.count > 0, "not yet");
                next.received.push(13);
            }
            Event::Received(amount) => next.received.push(*amount),
            Event::Ticked if self.due.is_some_and(|due| due <= now) => {
                next.ticks += 1;
                // Every deadline but that at a full minute is the last one.
                next.due = self.due.filter(|due| due.as_millis() % 60_000 == 0);
                next.due = next.due.map(|due| due.after(Duration::from_secs(60)));
            }
            Event::Ticked => return Ok(Step::unchanged(vec![])),
            Event::Closed => return Ok(Step { change: Change::Purge, effects: vec![], outbox: vec![] }),
        }
        next.keep(self);
        let effects = vec![Effect::Say(next.count)];
        Ok(Step { outbox, ..next.recorded(event, effects) })
    }

    fn resume(&self) -> Vec<Effect> {
        vec![Effect::Resume(self.count)]
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.due
    }

    fn tick() -> Event {
        Event::Ticked
    }

    fn quarantine(reason: String) -> Event {
        Event::Quarantined(reason)
    }

    fn releases(event: &Event) -> bool {
        *event == Event::Released
    }

    fn given(&self) -> Option<&String> {
        Some(&self.beside.given)
    }

    fn with_given(mut self, given: String) -> Self {
        self.beside.given = given;
        self
    }

    fn is_given_anew(&self, old: &Self) -> bool {
        self.beside.given != old.beside.given
    }

    fn rests(&self) -> bool {
        !self.is_live
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn liveness(&self) -> Liveness {
        if self.is_live { Liveness::Live } else { Liveness::Waiting }
    }

    fn index(&self) -> Vec<Vec<u8>> {
        vec![if self.count.is_multiple_of(2) { b"even".to_vec() } else { b"odd".to_vec() }]
    }

    fn owned_keys(&self) -> Vec<Key> {
        vec![b"own/counter".to_vec()]
    }

    fn take_rows(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.beside.unwritten)
    }

    fn read_row(&mut self, name: &[u8], value: &[u8]) -> store::Result<()> {
        self.beside.counts.push(codec::decode(name, value)?.parse(name)?);
        Ok(())
    }

    fn rows_read(&mut self) {
        let counts = self.beside.counts.len();
        assert!(counts <= COUNTS_KEPT, "{counts} rows are kept: those that were deleted are there");
    }
}
