//! Brings what is asked of queues to their machines: one transition of each queue at a time, with all that was asked
//! while the one before was being committed.
//!
//! Not responsible for: answering, which is an effect of the transition; only whoever cannot be answered so is told here.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::desk::{Desk, Failure, Taken};
use super::event::{Event, Rejected};
use super::state::Queue;
use crate::durable::host::Host;
use crate::durable::shell::Error;

/// The clerk.
#[derive(Clone)]
pub(crate) struct Clerk {
    /// Where requests are handed in.
    pub(crate) desk: Desk,
    /// Where they go.
    pub(crate) queues: Host<Queue>,
}

impl Clerk {
    /// Brings what is asked, for ever.
    pub(crate) async fn run(self) {
        self.desk.begin_anew();
        let mut under_way = FuturesUnordered::new();
        loop {
            for taken in self.desk.take() {
                under_way.push(self.clone().bring(taken));
            }
            tokio::select! {
                biased;
                Some((taken, failure)) = under_way.next() => self.desk.settle(&taken, failure.as_ref()),
                () = self.desk.asked() => {}
            }
        }
    }

    async fn bring(self, taken: Taken) -> (Taken, Option<Failure>) {
        let event = Event::Asked(taken.requests.clone());
        let failure = self.queues.ask(taken.queue, event).await.err().map(of_shell);
        (taken, failure)
    }
}

fn of_shell(error: Error<Rejected>) -> Failure {
    match error {
        Error::Missing => Failure::Missing,
        Error::Store(error) => Failure::Store(error),
        Error::Parked(_) => Failure::Parked,
        Error::Overloaded => Failure::Overloaded("too many requests are waiting"),
        Error::Rejected(_) | Error::Claimed(_) | Error::Lost => Failure::Lost,
    }
}
