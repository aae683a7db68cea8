//! The shapes of questions and answers about entities.

use crate::clock::Timestamp;
use crate::entity::{Entity, EntityId};
use crate::orchestration::{InstanceId, Payload};

/// One entity.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityView {
    /// Which.
    pub id: EntityId,
    /// Whether it has a state: without one it exists only while something waits for it or somebody holds it.
    pub has_state: bool,
    /// The state, where it was asked for.
    pub state: Option<Payload>,
    /// When its code last ran.
    pub last_modified: Timestamp,
    /// How many operations and lock requests wait; those that are being run among them, those that wait for their time
    /// not.
    pub backlog: u64,
    /// The orchestration that has it for itself.
    pub locked_by: Option<InstanceId>,
    /// Why nothing of it is run: its actor kept panicking. Releasing it lets it go on.
    pub quarantined: Option<String>,
}

impl EntityView {
    pub(super) fn of(entity: &Entity, state: Option<Payload>) -> Self {
        Self {
            id: entity.id,
            has_state: entity.state.is_some(),
            state,
            last_modified: entity.modified_at,
            backlog: entity.backlog(),
            locked_by: entity.lock.as_ref().map(|lock| lock.owner.instance),
            quarantined: entity.quarantined.clone(),
        }
    }
}

/// Which entities to list. All given conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct EntityFilter {
    /// In this task hub; without one in the default one.
    pub hub: Option<String>,
    /// Whose id within the hub begins so, as `@counter@a`.
    pub id_prefix: Option<String>,
    /// Last modified at this time or later.
    pub modified_from: Option<Timestamp>,
    /// Last modified before this time.
    pub modified_before: Option<Timestamp>,
    /// Those without a state, too: locked, with something that waits for them, or deleted not long ago.
    pub include_transient: bool,
    /// With their states.
    pub include_state: bool,
    /// At most so many (1 to [`crate::limits::LIST_PAGE_MAX`]); 0 means the default.
    pub limit: usize,
    /// Only those behind this one. Any id is a cursor.
    pub cursor: Option<String>,
}

/// A page of entities, sorted by id.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityPage {
    /// The entities.
    pub entities: Vec<EntityView>,
    /// Give it as the cursor for the next page; `None` on the last.
    pub next: Option<String>,
}

/// What is to be cleaned.
#[derive(Debug, Clone, Default)]
pub struct Clean {
    /// In this task hub; without one in the default one.
    pub hub: Option<String>,
    /// Delete those without anything to them at once, and not only after [`crate::limits::ENTITY_EMPTY_KEPT`].
    pub remove_empty: bool,
    /// Take those from their owners that are locked by one that is gone or over.
    pub release_orphaned_locks: bool,
    /// Only those behind this one.
    pub cursor: Option<String>,
}

/// What cleaning came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// How many entities were deleted.
    pub removed: u64,
    /// How many locks were released.
    pub released: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}
