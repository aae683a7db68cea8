//! What the committer does when the disk runs full in the middle of a group: the database refuses everything
//! until it is opened again, and the group may or may not be in it.
//!
//! Not responsible for refusing groups beforehand (`space.rs`); that is the rule, this the exception: others
//! write to the same disk.
//!
//! Invariants:
//! - the group is answered only once it is known whether the database holds it: it is whole or not there;
//! - only a write may have run out of space. When a *sync* did, nobody knows what the disk holds, and that is
//!   fatal as every failed sync;
//! - closing the store ends the wait; the group is then answered as failed.

use super::{Backend, Committer, Error, Result, Sequence};
use crate::limits::STORE_REOPEN_EVERY;

impl<B: Backend> Committer<B> {
    /// Opens the database again as soon as that can be, and says whether the group that follows `before` is
    /// in it and durable.
    pub(super) fn is_there_after_reopening(&self, before: Sequence, why: &str) -> Result<bool> {
        // Before anybody is told that the disk is full: they would come again, to a server that ends.
        self.shared.backend.check_synced()?;
        tracing::error!(
            error = why,
            "the disk ran full amid a write; nothing is written until there is space"
        );
        *self.shared.full.lock() = Some(Error::Full(why.into()));
        self.shared.tees.break_all();
        let found = self.reopen(before);
        *self.shared.full.lock() = None;
        if let Ok(is_there) = found {
            tracing::warn!(is_there, "the database is open again after the disk was full");
        }
        found
    }

    fn reopen(&self, before: Sequence) -> Result<bool> {
        let backend = &self.shared.backend;
        loop {
            if backend.reopens_when_full() || (self.shared.room)().is_ok() {
                match backend.reopen().and_then(|()| self.settle(before)) {
                    Err(Error::Full(_)) => {}
                    settled => return settled,
                }
            }
            let mut closing = self.shared.closing.lock();
            if !*closing {
                self.shared.closed.wait_for(&mut closing, STORE_REOPEN_EVERY);
            }
            if *closing {
                let why = "the store was closed while the disk was full; what was being written may be there";
                return Err(Error::Failed(why.into()));
            }
        }
    }

    /// Whether the open database holds the group, which is then made durable.
    fn settle(&self, before: Sequence) -> Result<bool> {
        let found = Sequence::recover(&self.shared.backend)?;
        self.mark.check(found.groups())?;
        if found == before {
            return Ok(false);
        }
        if found.groups() != before.groups() + 1 {
            return Err(Error::Corrupt(
                "the database holds groups of commits that were never written".into(),
            ));
        }
        self.shared.backend.sync()?;
        self.mark.record(found.groups())?;
        Ok(true)
    }
}
