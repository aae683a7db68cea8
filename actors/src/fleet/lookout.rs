//! Keeps an eye on one runtime as a whole: its stream of hints, taken up again whenever it ends, and the list
//! of everything it knows: at the start, after every interruption, and at a fixed pace.
//!
//! Not responsible for: what follows from a list (`reconcile.rs`) or a hint (the driver looks).

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Ledger;
use super::backoff::Backoff;
use super::call::within;
use super::mailbox::{Input, Mailbox};
use super::reconcile::Listed;
use super::task::Task;
use crate::limits;
use crate::runtime::{Hint, Runtime};

/// How long a stream of hints must live for its end to count as a first failure again.
const STREAM_IS_STABLE: Duration = limits::RECONCILE_EVERY;

/// One runtime's lookout.
pub(super) struct Lookout {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) mailbox: Mailbox,
    /// Notified when a list is wanted before its time.
    pub(super) wanted: Arc<Notify>,
}

impl Lookout {
    /// Looks out from after `pause` until the task is dropped.
    pub(super) fn spawn(self, pause: Duration) -> Task {
        let (mailbox, runtime) = (self.mailbox.clone(), self.runtime.name().to_owned());
        let work = async move {
            tokio::time::sleep(pause).await;
            self.run().await;
        };
        Task::spawn(work, move |panic| {
            tracing::error!(runtime, panic, "the lookout of a runtime panicked and is started again");
            mailbox.post(Input::Blind { runtime });
        })
    }

    async fn run(self) {
        let mut failures: u32 = 0;
        let mut list_at = Instant::now();
        loop {
            let began = Instant::now();
            let hints = self.runtime.hints();
            match within(&*self.runtime, "hints", limits::SUBSCRIBE_DEADLINE, hints).await {
                Ok(hints) => {
                    self.follow(hints).await;
                    // A runtime that went away is asked once more, so that it is known to be away.
                    list_at = Instant::now();
                    if began.elapsed() >= STREAM_IS_STABLE {
                        failures = 0;
                    }
                }
                // An engine may list and yet give no hints: the pace is kept in any case.
                Err(error) => {
                    tracing::debug!(runtime = self.runtime.name(), %error, "no hints from a runtime");
                    if Instant::now() >= list_at {
                        list_at = self.list().await;
                    }
                }
            }
            tokio::time::sleep(Backoff::REACH.pause(failures, self.runtime.name())).await;
            failures = failures.saturating_add(1);
        }
    }

    /// Follows one stream to its end. Subscribed first and listed then: no change falls between the two.
    async fn follow(&self, mut hints: BoxStream<'static, Hint>) {
        let mut list_at = self.list().await;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(list_at) => list_at = self.list().await,
                () = self.wanted.notified() => list_at = self.soon(list_at),
                hint = hints.next() => match hint {
                    Some(Hint::Attempt(key)) => self.mailbox.deliver(Input::Hinted(key)).await,
                    Some(Hint::Everything) => list_at = self.soon(list_at),
                    None => return,
                },
            }
        }
    }

    fn soon(&self, list_at: Instant) -> Instant {
        list_at.min(Instant::now() + limits::LIST_PAUSE)
    }

    /// Lists once and answers when the next list is due.
    async fn list(&self) -> Instant {
        let runtime = self.runtime.name().to_owned();
        let list = self.runtime.list();
        match within(&*self.runtime, "list", limits::LIST_DEADLINE, list).await {
            Ok(rows) => {
                let mut listed = Vec::with_capacity(rows.len());
                for (key, observation) in rows {
                    let standing = self.ledger.standing(key);
                    let standing = standing
                        .inspect_err(
                            |error| tracing::warn!(attempt = %key, %error, "the ledger cannot be read"),
                        )
                        .ok();
                    listed.push(Listed { key, observation, standing });
                    // Reads of the store are quick, but a list may be long and the thread is shared.
                    tokio::task::yield_now().await;
                }
                self.mailbox.deliver(Input::Listed { runtime, listed }).await;
            }
            Err(error) => {
                self.mailbox.deliver(Input::Unreachable { runtime, message: error.to_string() }).await;
            }
        }
        Instant::now() + limits::RECONCILE_EVERY
    }
}
