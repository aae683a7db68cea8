//! Makes a backup of a store in use.
//!
//! Invariants: what is in memory is bounded, a page of rows and what the tee keeps; the store never waits for
//! whoever reads the backup.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::frame::{self, Kind};
use super::{End, Error, Header};
use crate::clock::Clock;
use crate::id::InstallationId;
use crate::limits::{BACKUP_PAGE, BACKUP_PARTS_AHEAD};
use crate::secret::Keyring;
use crate::store::{self, Batch, Changes, FORMAT, KeyRange, Order, Store, Tee};

/// The parts of the file, in order. Without an error at its end it is whole.
pub type Stream = mpsc::Receiver<Result<Vec<u8>, Error>>;

/// What a backup is made of.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The keyring that its secrets are sealed with.
    pub keyring: Keyring,
    /// Whose store it is.
    pub installation: InstallationId,
}

/// Begins a backup. It goes on for as long as somebody takes its parts.
pub fn start(subject: Subject, clock: &dyn Clock) -> Result<Stream, Error> {
    let header = Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        installation: subject.installation,
        made_at: clock.now(),
    };
    let tee = subject.store.tee()?;
    let (parts, stream) = mpsc::channel(BACKUP_PARTS_AHEAD);
    let writer = Writer { store: subject.store, tee, parts, place: 0, last: 0 };
    tokio::spawn(async move {
        let parts = writer.parts.clone();
        if let Err(Stop::Failed(error)) = writer.run(&header, subject.keyring.key()).await {
            tracing::warn!(%error, "a backup was broken off");
            // Whoever read it may be gone by now.
            drop(parts.send(Err(error)).await);
        }
    });
    Ok(stream)
}

/// Why a backup ends early.
enum Stop {
    /// It cannot go on.
    Failed(Error),
    /// Nobody reads it any more.
    Unread,
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Self::Failed(Error::Store(error))
    }
}

struct Writer {
    store: Arc<dyn Store>,
    tee: Tee,
    parts: mpsc::Sender<Result<Vec<u8>, Error>>,
    place: u64,
    /// The highest sequence number in what was written.
    last: u64,
}

impl Writer {
    async fn run(mut self, header: &Header, key: &[u8; 32]) -> Result<(), Stop> {
        // What was under way when the tee was opened is durable, and so seen by the scan, after this.
        self.store.commit(Batch::new()).await?;
        self.last = *self.store.appended().borrow();
        self.send(frame::MAGIC.to_vec()).await?;
        self.frame(Kind::Header, &serde_json::to_vec(header).expect("plain fields are JSON")).await?;
        self.frame(Kind::Key, key).await?;
        let mut range = KeyRange::prefix("");
        loop {
            let page = self.store.scan(range.clone(), Order::Ascending, BACKUP_PAGE)?;
            let Some((last, _)) = page.last() else { break };
            range = range.after(last);
            let rows = frame::encode_rows(page.iter().map(|(key, value)| (key, Some(value))));
            self.frame(Kind::Rows, &rows).await?;
            self.groups().await?;
        }
        // A group that the scan saw before it was durable is in the tee after this.
        self.store.commit(Batch::new()).await?;
        self.groups().await?;
        let end = End { last_sequence: self.last };
        self.frame(Kind::End, &serde_json::to_vec(&end).expect("plain fields are JSON")).await
    }

    async fn groups(&mut self) -> Result<(), Stop> {
        let groups = self.tee.take().map_err(|error| match error {
            store::Error::Busy => Stop::Failed(Error::TooSlow),
            error => error.into(),
        })?;
        for group in groups {
            self.last = self.last.max(store::last_sequence_in(&group));
            let rows: Changes = group.into_iter().filter(|(key, _)| store::is_visible(key)).collect();
            if !rows.is_empty() {
                let rows = frame::encode_rows(rows.iter().map(|(key, value)| (key, value.as_ref())));
                self.frame(Kind::Rows, &rows).await?;
            }
        }
        Ok(())
    }

    async fn frame(&mut self, kind: Kind, content: &[u8]) -> Result<(), Stop> {
        let frame = frame::encode(kind, self.place, content);
        self.place += 1;
        self.send(frame).await
    }

    async fn send(&self, part: Vec<u8>) -> Result<(), Stop> {
        self.parts.send(Ok(part)).await.map_err(|_| Stop::Unread)
    }
}
