//! Pieces of work: what names them, where they stand, what is known of those that are out. Data only.

use std::sync::Arc;

use tokio::time::Instant;

use super::chronicle::{Chronicle, Dated};
use super::ready::{Kind, Need, WorkerId};
use crate::clock::Timestamp;
use crate::entity::EntityId;
use crate::entity::batch::Batch;
use crate::orchestration::history::{ActivityCall, Arrival};
use crate::orchestration::id::{InstanceId, TaskId};

/// One activity of one execution.
pub(super) type ActivityKey = (InstanceId, u32, TaskId);

/// A number that no other piece of work that was handed out has.
pub(super) type Token = u64;

/// A piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The next turn of an instance.
    Turn(InstanceId),
    /// An activity.
    Activity(ActivityKey),
    /// The next operations of an entity.
    Batch(EntityId),
}

impl Key {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Turn(_) => Kind::Orchestration,
            Self::Activity(_) => Kind::Activity,
            Self::Batch(_) => Kind::Entity,
        }
    }
}

/// A turn as it was handed out.
#[derive(Debug, Clone)]
pub(super) struct OutTurn {
    pub(super) execution: u32,
    pub(super) number: u32,
    pub(super) upto: u64,
    pub(super) now: Timestamp,
    /// How often the execution was rewound: numbers of tasks are of one such epoch.
    pub(super) rewinds: u32,
    pub(super) saw: Vec<Dated>,
    pub(super) chronicle: Arc<Chronicle>,
}

/// What was handed out.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) key: Key,
    pub(super) worker: WorkerId,
    pub(super) load: Load,
    pub(super) since: Instant,
}

/// What of it is needed when it ends.
#[derive(Debug)]
pub(super) enum Load {
    /// A turn.
    Turn(Box<OutTurn>),
    /// An activity: its key says it all.
    Activity,
    /// Operations of an entity.
    Batch(Arc<Batch>),
}

/// Where a piece of work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is nothing to do.
    Idle,
    /// It waits; the token of a worker that has gone still counts.
    Ready(Option<Token>),
    /// It is being put together.
    Preparing,
    /// A worker has it.
    Out(Token),
    /// What came of it is being recorded.
    Ending,
}

/// What is to be done for an instance.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) need: Need,
    pub(super) standing: Standing,
    /// The history may hold what the code has not seen.
    pub(super) look: bool,
    /// Arrivals: of which execution, which number, what.
    pub(super) fresh: Vec<(u32, u64, Dated)>,
    /// How often it was given back in a row.
    pub(super) returns: u32,
    /// How often its worker went with it in a row.
    pub(super) lost: u32,
}

/// An activity.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) call: Arc<ActivityCall>,
    pub(super) need: Need,
    pub(super) standing: Standing,
    pub(super) returns: u32,
}

/// The operations of an entity that come next.
#[derive(Debug)]
pub(super) struct Operations {
    /// The number of the batch.
    pub(super) number: u64,
    pub(super) need: Need,
    pub(super) standing: Standing,
    /// How often it was given back in a row.
    pub(super) returns: u32,
}

/// The last chronicle of an instance, and of which execution it is.
pub(super) type Kept = (u32, Arc<Chronicle>);

/// What a worker is to be given.
pub(super) enum Taken {
    /// A turn that has to be put together.
    Turn { id: InstanceId, kept: Option<Kept>, look: bool, fresh: Vec<(u32, u64, Dated)> },
    /// Operations of an entity that have to be read.
    Batch { id: EntityId, number: u64 },
    /// An activity, under this token.
    Activity { key: ActivityKey, call: Arc<ActivityCall>, token: Token },
}

/// The arrivals of a request, numbered.
pub(super) fn numbered(
    execution: u32,
    before: u64,
    at: Timestamp,
    fresh: Vec<Arrival>,
) -> impl Iterator<Item = (u32, u64, Dated)> {
    (before + 1..).zip(fresh).map(move |(number, arrival)| (execution, number, (at, arrival)))
}
