//! Which sources are to be looked at, as far as this process knows: what triggers say of themselves when they come into
//! memory, and whenever that changes.
//!
//! Not responsible for: looking (`watcher.rs`). Locks are held for one map operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::id::TriggerId;
use super::state::Given;
use crate::id::JobId;

/// What is to be looked at for a trigger.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    /// Tells the trigger from an earlier one of its name.
    pub(super) incarnation: JobId,
    /// Tells what it was declared with from what it was before.
    pub(super) generation: u64,
    /// What it was declared with.
    pub(super) given: Arc<Given>,
}

impl Post {
    /// Whether it is the same that is to be looked at.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.incarnation, self.generation) == (other.incarnation, other.generation)
    }
}

/// The list. Every clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lookout(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    posts: Mutex<BTreeMap<TriggerId, Post>>,
    changed: Notify,
}

impl Lookout {
    /// From now on the source of this trigger is looked at.
    pub(super) fn watch(&self, id: TriggerId, post: Post) {
        self.0.posts.lock().insert(id, post);
        self.0.changed.notify_one();
    }

    /// It is looked at no more.
    pub(super) fn unwatch(&self, id: TriggerId) {
        self.0.posts.lock().remove(&id);
        self.0.changed.notify_one();
    }

    /// Everything that is to be looked at.
    pub(super) fn posts(&self) -> BTreeMap<TriggerId, Post> {
        self.0.posts.lock().clone()
    }

    /// Resolves when that is something else.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
