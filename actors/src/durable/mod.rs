//! The one durable shell: apply → commit → reply → perform, for every kind of machine.
//!
//! A [`Machine`] is a pure value: `(state, event, now) → (state', effects)`. The shell ([`shell`]) is the
//! actix actor that hosts one of them: it turns messages into events, makes the new state durable together
//! with its history entry, index rows, timer row and messages to other machines as ONE batch, then replies,
//! then performs the effects. A [`host::Host`] finds, hydrates, supervises and passivates the actors of one
//! kind; [`timers`] turns due timer rows into ticks; [`outbox`] carries messages between machines.
//!
//! Not responsible for: any rule of any machine, and what an effect does (a [`Perform`]).
//!
//! Invariants:
//! - an effect is performed, and a reply given, only after the state implying it is durable;
//! - [`Machine::resume`] is called on every start of an actor: the first, after a panic, after a restart of
//!   the process, after passivation. There is no other recovery path;
//! - at most one event of a machine is in flight at a time;
//! - what is in memory is never needed: every actor may die at any await.

mod ahead;
pub mod batch;
pub mod host;
pub mod keys;
pub mod outbox;
pub mod published;
mod replies;
mod shard;
pub mod shell;
pub mod timers;

use std::error::Error as StdError;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::limits::HISTORY_EVENTS_MAX;
use crate::store;
use crate::store::codec::Record;

/// The identity of a machine within its kind.
pub trait MachineId: Copy + Eq + Hash + fmt::Display + fmt::Debug + Send + Sync + Unpin + 'static {
    /// The bytes in keys: they sort as listings should, and none is the prefix of another.
    fn to_key(self) -> Vec<u8>;

    /// Reads what [`MachineId::to_key`] wrote.
    fn from_key(bytes: &[u8]) -> Option<Self>;

    /// The id at the front of a row's key, behind which more follows.
    fn at_front(bytes: &[u8]) -> Option<Self>;

    /// The id at the end of a row's key.
    fn at_end(bytes: &[u8]) -> Option<Self>;

    /// The job that it belongs to, where it is one or belongs to one.
    fn job(self) -> Option<crate::id::JobId> {
        None
    }
}

impl MachineId for crate::id::JobId {
    fn to_key(self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_bytes)
    }

    fn at_front(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self::from_bytes)
    }

    fn at_end(bytes: &[u8]) -> Option<Self> {
        bytes.last_chunk().copied().map(Self::from_bytes)
    }

    fn job(self) -> Option<Self> {
        Some(self)
    }
}

/// Where a machine stands between events: what must happen when the process starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Something in the world must hold: it is hydrated at every start so that `resume` can see to it.
    Live,
    /// Only a timer or a message can move it: it costs disk and no memory.
    Waiting,
    /// Nothing more happens but a command or its purge.
    Terminal,
}

/// A message from one machine to another, written in the same batch as the state that implies it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The kind of machine it is for.
    pub kind: &'static str,
    /// That machine's id in key form.
    pub id: Vec<u8>,
    /// Its event as JSON.
    pub event: serde_json::Value,
}

impl Message {
    /// A message to machine `id`.
    pub fn to<M: Machine>(id: M::Id, event: &M::Event) -> Self {
        let event = serde_json::to_value(event).expect("an event is made of JSON types");
        Self { kind: M::KIND, id: id.to_key(), event }
    }
}

/// A row that a machine keeps beside its snapshot: for a kind with so many parts that no transition should write them
/// all. Names are unique within the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Sets it.
    Put {
        /// Its name.
        name: Vec<u8>,
        /// Its value, in the envelope of [`store::codec`].
        value: Vec<u8>,
    },
    /// Removes it; nothing happens where there is none.
    Delete {
        /// Its name.
        name: Vec<u8>,
    },
}

/// An entry of a history that people read: what happened, in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

/// What applying an event comes to.
#[derive(Debug, Clone)]
pub struct Step<M: Machine> {
    /// What is to be stored.
    pub change: Change<M>,
    /// What is to be done once that is durable, in this order.
    pub effects: Vec<M::Effect>,
    /// Messages to other machines.
    pub outbox: Vec<Message>,
}

/// The durable part of a [`Step`].
#[derive(Debug, Clone)]
pub enum Change<M: Machine> {
    /// Nothing: the event had no consequence, as a tick that came early.
    None,
    /// The new state, with its history entry. Entries are numbered by [`Machine::revision`]; a change without
    /// an entry (bookkeeping nobody wants to read about) leaves the number as it is.
    Next(Arc<M>, Option<M::Record>),
    /// The machine and everything kept of it is deleted.
    Purge,
}

impl<M: Machine> Step<M> {
    /// No change, but these effects.
    pub fn unchanged(effects: Vec<M::Effect>) -> Self {
        Self { change: Change::None, effects, outbox: Vec::new() }
    }

    /// A new state.
    pub fn next(state: M, record: M::Record, effects: Vec<M::Effect>) -> Self {
        Self { change: Change::Next(Arc::new(state), Some(record)), effects, outbox: Vec::new() }
    }
}

/// A pure, durable state machine.
///
/// Everything here is a function of its arguments: no clock, no randomness, no I/O.
pub trait Machine: Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + Unpin + 'static {
    /// The first segment of its keys; unique among kinds, never changed.
    const KIND: &'static str;
    /// The version of its stored form.
    const VERSION: u8;
    /// Whether it has a row for what it was given.
    const HAS_GIVEN: bool = false;
    /// For a kind that keeps rows beside its snapshot: what the names of those begin with that are read back when it
    /// comes into memory. Readers of what rests see the snapshot alone.
    const ROWS: &'static [&'static [u8]] = &[];

    /// Its identity.
    type Id: MachineId;
    /// What can happen to it. Stored only in the outbox.
    type Event: Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Unpin + 'static;
    /// What it asks of the world. Performing one twice must be the same as once.
    type Effect: fmt::Debug + Clone + Send + Unpin + 'static;
    /// One entry of its history.
    type Record: fmt::Debug + Clone + Serialize + DeserializeOwned + Send + Unpin + 'static;
    /// What it was given when it was created, and seldom or never is again: stored in a row of its own, so that no
    /// transition writes it again, but for as long as the machine [rests](Machine::rests). `()` for a kind that has none.
    type Given: Serialize + DeserializeOwned;
    /// Why an event cannot be accepted.
    type Rejection: StdError + Clone + Send + Sync + Unpin + 'static;

    /// What `event` does where no machine of this id exists: `None` when it does not create one.
    fn create(
        id: Self::Id,
        event: &Self::Event,
        now: Timestamp,
    ) -> Option<Result<Step<Self>, Self::Rejection>>;

    /// What `event` does to this state.
    fn apply(&self, event: &Self::Event, now: Timestamp) -> Result<Step<Self>, Self::Rejection>;

    /// Every effect that must hold in this state, derived from the state alone.
    fn resume(&self) -> Vec<Self::Effect>;

    /// When [`Machine::tick`] is due. After a tick at or past it, the next deadline lies later.
    fn deadline(&self) -> Option<Timestamp>;

    /// The event of a due deadline.
    fn tick() -> Self::Event;

    /// The event that ends a machine whose actor keeps panicking.
    fn quarantine(reason: String) -> Self::Event;

    /// Whether `event` is somebody's wish that a machine which panicked too often be tried again.
    fn releases(event: &Self::Event) -> bool {
        let _ = event;
        false
    }

    /// What it was given, where [`Machine::HAS_GIVEN`].
    fn given(&self) -> Option<&Self::Given>;

    /// Whether it stays as it is for long, as a rule: what it was given is then stored with it, for who reads it. Only for a kind
    /// that has something given.
    fn rests(&self) -> bool {
        false
    }

    /// Whether it was given something else than it was in `old`: the row is written again. Only for a kind that can be.
    fn is_given_anew(&self, old: &Self) -> bool {
        let _ = old;
        false
    }

    /// Puts back what its snapshot does not hold.
    #[must_use]
    fn with_given(self, given: Self::Given) -> Self;

    /// How many events were applied: the number of its newest history entry.
    fn revision(&self) -> u64;

    /// The oldest history entry that is kept.
    fn history_from(&self) -> u64 {
        self.revision().saturating_sub(HISTORY_EVENTS_MAX) + 1
    }

    /// The history entries that are kept, as ranges in ascending order. What is kept no more is never kept again.
    fn kept(&self) -> Vec<(u64, u64)> {
        let (first, last) = (self.history_from(), self.revision());
        if first > last { vec![] } else { vec![(first, last)] }
    }

    /// A row that goes with the transition and outlives the machine: what is charged for it.
    fn charge(old: Option<&Self>, new: &Self, now: Timestamp) -> Option<(store::Key, Vec<u8>)> {
        let _ = (old, new, now);
        None
    }

    /// Whether an entry is told in the stream of all events.
    fn is_announced(record: &Self::Record) -> bool {
        let _ = record;
        true
    }

    /// What must happen to it at a start.
    fn liveness(&self) -> Liveness;

    /// Its secondary index: texts under which listings find it.
    fn index(&self) -> Vec<Vec<u8>>;

    /// Whether [`Machine::index`] of both is the same: asked at every transition, so that a quick answer is worth one.
    fn is_listed_as(&self, other: &Self) -> bool {
        self.index() == other.index()
    }

    /// Further keys that belong to it and go when it is purged.
    fn owned_keys(&self) -> Vec<store::Key>;

    /// Hands over the rows that are written and deleted with this new state. Asked once, before anybody sees it.
    fn take_rows(&mut self) -> Vec<Row> {
        vec![]
    }

    /// Takes back one of [`Machine::ROWS`]; they come in the order of their names.
    fn read_row(&mut self, name: &[u8], value: &[u8]) -> store::Result<()> {
        let _ = (name, value);
        Ok(())
    }

    /// All rows were read back.
    fn rows_read(&mut self) {}

    /// What does not fit together in a machine whose rows were read back.
    fn rows_faults(&self) -> Vec<String> {
        vec![]
    }

    /// The rows that there must be beside this one.
    fn companions(name: &[u8], value: &[u8]) -> Vec<Vec<u8>> {
        let _ = (name, value);
        vec![]
    }

    /// Reads a stored record of an older version.
    fn upgrade(record: &Record<'_>) -> Result<Self, String> {
        let version = record.version;
        Err(format!("version {version} of a {} record is not known here; use a newer dogwatch", Self::KIND))
    }
}

/// Does what a machine asks for. Must return at once: what takes time is started, not awaited, and its result
/// comes back as an event.
pub trait Perform<M: Machine>: 'static {
    /// Performs one effect of a machine that is durably in `state`.
    fn perform(&self, id: M::Id, state: &M, effect: M::Effect);

    /// Removes what the world still holds of a machine that was purged.
    fn purged(&self, id: M::Id) {
        let _ = id;
    }
}
