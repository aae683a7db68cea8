//! What a job is told of its attempt, and how often. Reports are fire and forget, so what matters is said
//! again until it is acted on.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::orders::{Orders, until};
use super::{Report, Reports};
use crate::id::AttemptKey;
use crate::limits;
use crate::runtime::Running;

/// The voice of one attempt.
pub(super) struct Teller {
    key: AttemptKey,
    reports: Arc<dyn Reports>,
    started: Option<Running>,
    trouble: Option<(String, Instant)>,
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Teller {
    /// A voice that has said nothing yet.
    pub(super) fn new(key: AttemptKey, reports: Arc<dyn Reports>) -> Self {
        Self { key, reports, started: None, trouble: None }
    }

    /// The attempt runs; told when that is news.
    pub(super) fn started(&mut self, running: &Running) {
        self.trouble = None;
        if self.started.as_ref() != Some(running) {
            self.started = Some(running.clone());
            self.say(Report::Started(running.clone()));
        }
    }

    /// Nothing can be known at the moment; told when the message is another one, and now and then.
    pub(super) fn trouble(&mut self, message: String) {
        let repeated = self
            .trouble
            .as_ref()
            .is_some_and(|(last, told_at)| *last == message && told_at.elapsed() < limits::TROUBLE_REPEAT);
        if !repeated {
            tracing::debug!(attempt = %self.key, message, "the state of an attempt is unknown");
            self.trouble = Some((message.clone(), Instant::now()));
            self.say(Report::Trouble { message });
        }
    }

    /// Says again what is known now.
    pub(super) fn again(&self) {
        if let Some(running) = &self.started {
            self.say(Report::Started(running.clone()));
        }
        if let Some((message, _)) = &self.trouble {
            self.say(Report::Trouble { message: message.clone() });
        }
    }

    /// Says `report` now, when asked to, and again and again, until the task is cancelled.
    pub(super) async fn repeat(&self, report: Report, orders: &mut watch::Receiver<Orders>) {
        for times in 0.. {
            self.say(report.clone());
            let tells = orders.borrow_and_update().tells;
            tokio::select! {
                biased;
                () = until(orders, |orders| orders.tells != tells) => {}
                () = tokio::time::sleep(Backoff::REPORT.pause(times, self.key)) => {}
            }
        }
    }

    fn say(&self, report: Report) {
        self.reports.report(self.key, report);
    }
}
