//! The one way into the fleet's actor, for its handle and for its own tasks.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Message};
use tokio::sync::oneshot;

use super::actor::FleetActor;
use super::reconcile::Listed;
use super::roster::Seen;
use super::{Drive, Report, Request};
use crate::admission::{AdmissionView, Stand, Ticket};
use crate::id::{AttemptKey, JobId};
use crate::job::spec::StopSignal;
use crate::runtime::Plan;

/// What the fleet's actor is told.
#[derive(Debug)]
pub(super) enum Input {
    /// A job asks for a slot.
    Request(Request),
    /// A job gives up its request or its slot.
    Withdraw(AttemptKey),
    /// A job has its attempt started or watched.
    Drive { plan: Arc<Plan>, runtime: String, phase: Drive, ticket: Ticket },
    /// A job holds its place under its key.
    Hold { job: JobId, ticket: Ticket },
    /// A job lives no more under this key.
    Leave { job: JobId, key: String },
    /// Everybody of an earlier life is known.
    Open,
    /// A token has come for which something may wait.
    Due,
    /// Somebody wants to know where an attempt stands.
    Stand { key: AttemptKey, answer: Answer<Option<Stand>> },
    /// Somebody wants to know who waits and who runs.
    Admission { answer: Answer<AdmissionView> },
    /// A job has made durable that its attempt may be started.
    Start(AttemptKey),
    /// A job has its attempt ended.
    Stop { key: AttemptKey, signal: StopSignal, grace: Duration },
    /// A job has recorded the end of its attempt.
    Discard(AttemptKey),
    /// The supervisor is about to shut down: nothing new gets a slot.
    Close,
    /// The supervisor shuts down.
    Halt,
    /// A driver lacks nothing but a slot to start its attempt, which never was.
    Ready(AttemptKey),
    /// A driver saw something new.
    Seen { key: AttemptKey, seen: Seen },
    /// A driver saw the end, and collects what the attempt left before it says so.
    Exited(AttemptKey),
    /// A driver saw the end.
    Ended { key: AttemptKey, report: Report },
    /// A driver panicked.
    Crashed { key: AttemptKey, cause: String },
    /// A runtime hinted at a change.
    Hinted(AttemptKey),
    /// A runtime listed what it knows.
    Listed { runtime: String, listed: Vec<Listed> },
    /// A runtime cannot be asked.
    Unreachable { runtime: String, message: String },
    /// A lookout panicked.
    Blind { runtime: String },
    /// Nothing is left of an attempt.
    Removed(AttemptKey),
}

/// Where the answer to a question goes, once.
pub(super) struct Answer<T>(Cell<Option<oneshot::Sender<T>>>);

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

impl<T> Answer<T> {
    /// To whoever holds the other end.
    pub(super) const fn new(to: oneshot::Sender<T>) -> Self {
        Self(Cell::new(Some(to)))
    }

    /// Answers, unless that was done. Whoever asked may have gone, which is their affair.
    pub(super) fn give(&self, value: T) {
        if let Some(to) = self.0.take() {
            drop(to.send(value));
        }
    }
}

impl Message for Input {
    type Result = ();
}

/// Where inputs go.
#[derive(Debug, Clone)]
pub(super) struct Mailbox(Addr<FleetActor>);

impl Mailbox {
    /// Into this actor's mailbox.
    pub(super) const fn new(addr: Addr<FleetActor>) -> Self {
        Self(addr)
    }

    /// Hands over one input; never waits. After the actor's end it goes nowhere, as it should.
    #[expect(
        clippy::disallowed_methods,
        reason = "bounded elsewhere: jobs send a few inputs per step and are bounded by admission, drivers and \
                  removals one per change they see"
    )]
    pub(super) fn post(&self, input: Input) {
        self.0.do_send(input);
    }

    /// Hands over one input and waits until it was handled: for senders whose pace is somebody else's.
    pub(super) async fn deliver(&self, input: Input) {
        if self.0.send(input).await.is_err() {
            tracing::debug!("the fleet went away or was restarted while it was told something");
        }
    }
}
