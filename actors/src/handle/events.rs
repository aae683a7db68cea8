//! The stream of all events: durable, numbered, resumable.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Error, Handle, Result};
use crate::durable::batch::read_event_pointer;
use crate::durable::{Machine, MachineId, keys};
use crate::id::JobId;
use crate::job::state::Job;
use crate::job::view::{EventView, HistoryEntry};
use crate::limits::EVENT_SETTLE_MAX;
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
        let name = self.inner().jobs.published().read(job)?.and_then(|job| job.given.spec.name.clone());
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
                Ok(rows) => return Some(self.views(rows).await),
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

    async fn views(&mut self, rows: Rows) -> Result<Vec<EventView>> {
        let mut views = Vec::with_capacity(rows.len());
        for (key, pointer) in rows {
            let Some(seq) = Log::Events.seq(&key) else { continue };
            self.after = seq;
            if let Some(view) = self.handle.event(seq, &pointer)? {
                self.settle(&view).await?;
                views.push(view);
            }
        }
        Ok(views)
    }

    /// Waits until the job itself shows what the event tells, so that whoever asks for it then is not told
    /// something older. Its actor publishes right after the commit that made the event durable.
    async fn settle(&self, view: &EventView) -> Result<()> {
        let published = self.handle.inner().jobs.published();
        let is_behind =
            || Ok::<_, Error>(published.read(view.job)?.is_some_and(|job| job.revision < view.entry.seq));
        if !is_behind()? {
            return Ok(());
        }
        let mut watching = published.watch(view.job);
        while is_behind()? {
            // An actor that panicked just now publishes when it is back; the event is true meanwhile.
            if timeout(EVENT_SETTLE_MAX, watching.changed()).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
