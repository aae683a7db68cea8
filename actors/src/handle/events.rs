//! The stream of all events: durable, numbered, resumable.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::watch;

use super::{Error, Handle, Result};
use crate::durable::batch::read_event_pointer;
use crate::durable::{Machine, MachineId, keys};
use crate::id::JobId;
use crate::job::state::Job;
use crate::job::view::{EventView, HistoryEntry};
use crate::store::{KeyRange, Log, Order, Rows, codec};

/// Events read at once.
const PAGE: usize = 256;

struct Follower {
    handle: Handle,
    after: u64,
    durable: watch::Receiver<u64>,
}

impl Handle {
    /// All events after number `after` (`None`: only new ones), for ever. Events of purged jobs are left out.
    pub fn events(&self, after: Option<u64>) -> BoxStream<'static, Result<EventView>> {
        let durable = self.inner().store.appended();
        let after = after.unwrap_or_else(|| *durable.borrow());
        let follower = Follower { handle: self.clone(), after, durable };
        stream::unfold(follower, |mut follower| async move {
            let page = follower.page().await?;
            Some((page, follower))
        })
        .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
    }

    fn event(&self, id: u64, pointer: &[u8]) -> Result<Option<EventView>> {
        let Some((Job::KIND, job, revision)) = read_event_pointer(pointer) else { return Ok(None) };
        let Some(job) = JobId::from_key(job) else { return Ok(None) };
        let key = keys::history_entry::<Job>(job, revision);
        let Some(row) = self.inner().store.get(&key)? else { return Ok(None) };
        let entry: HistoryEntry = codec::decode(&key, &row)?.parse(&key)?;
        let name = self.inner().jobs.published().read(job)?.and_then(|job| job.spec.name.clone());
        Ok(Some(EventView { id, job, name, entry }))
    }
}

impl Follower {
    /// The next events; `None` when the supervisor is gone.
    async fn page(&mut self) -> Option<Result<Vec<EventView>>> {
        loop {
            let durable = *self.durable.borrow_and_update();
            match self.rows(durable) {
                Err(error) => return Some(Err(error)),
                Ok(rows) if rows.is_empty() => {
                    self.after = self.after.max(durable);
                    self.durable.changed().await.ok()?;
                }
                Ok(rows) => return Some(self.views(rows)),
            }
        }
    }

    fn rows(&self, durable: u64) -> Result<Rows> {
        let range =
            KeyRange { from: Log::Events.key(self.after + 1), to: Some(Log::Events.key(durable + 1)) };
        if self.after >= durable {
            return Ok(vec![]);
        }
        self.handle.inner().store.scan(range, Order::Ascending, PAGE).map_err(Error::Store)
    }

    fn views(&mut self, rows: Rows) -> Result<Vec<EventView>> {
        let mut views = Vec::with_capacity(rows.len());
        for (key, pointer) in rows {
            let Some(seq) = Log::Events.seq(&key) else { continue };
            self.after = seq;
            views.extend(self.handle.event(seq, &pointer)?);
        }
        Ok(views)
    }
}
