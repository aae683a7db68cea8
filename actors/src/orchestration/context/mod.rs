//! What an orchestration's code sees: everything that it may await, know or tell.
//!
//! Code that uses nothing else is deterministic, and can be replayed. All that is asked for is durable before it is
//! done; awaiting something else (a tokio timer, a channel, a socket) is noticed and reported.
//!
//! Not responsible for: when the code runs, and comparing it with its history (`executor`).

mod call;
mod core;
mod event;
mod retry;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use self::call::Template;
pub use self::call::{Activity, Child, JobRun, Timer};
pub(super) use self::core::{Ask, Core};
pub use self::event::{EventWait, EventWithin};
pub use self::retry::RetryPolicy;
use super::failure::{Failure, Result};
use super::history::{ActivityCall, ChildCall};
use super::id::InstanceId;
use super::payload::Payload;
use crate::clock::Timestamp;
use crate::job::spec::Spec;

/// What an orchestration's code sees of the world. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct OrchestrationContext {
    core: Arc<Core>,
}

impl fmt::Debug for OrchestrationContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrchestrationContext").field("instance", &self.core.instance).finish_non_exhaustive()
    }
}

impl OrchestrationContext {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The id of this instance.
    pub fn instance_id(&self) -> InstanceId {
        self.core.instance
    }

    /// What time it is for the code: when its turn began, the same whenever it is replayed.
    pub fn now(&self) -> Timestamp {
        self.core.now()
    }

    /// A UUID that is the same whenever the code is replayed.
    pub fn new_uuid(&self) -> Uuid {
        self.core.new_uuid()
    }

    /// Whether this has all been before. For what must be done once use an activity, not this.
    pub fn is_replaying(&self) -> bool {
        self.core.state.lock().replaying
    }

    /// Runs an activity. Nothing is asked for before it is awaited or [started](Activity::start); dropping it cancels
    /// the activity.
    pub fn activity<O: DeserializeOwned>(&self, name: &str, input: impl Serialize) -> Activity<O> {
        let template = to_payload(input).map(|input| {
            Template::Activity(Box::new(ActivityCall {
                task: 0,
                name: name.to_owned(),
                version: None,
                input,
                timeout: None,
                heartbeat: None,
                tags: Default::default(),
                trace: None,
            }))
        });
        Activity::new(Arc::clone(&self.core), template)
    }

    /// Waits. It survives everything, and costs nothing while it waits.
    pub fn timer(&self, pause: Duration) -> Timer {
        self.timer_at(self.now().after(pause))
    }

    /// Waits until `fire_at`.
    pub fn timer_at(&self, fire_at: Timestamp) -> Timer {
        Timer::new(Arc::clone(&self.core), Ok(Template::Timer { fire_at }))
    }

    /// Waits for an event of this name. Events of one name are taken in the order in which they were raised, each by
    /// one waiter; those that nobody waits for yet are kept.
    pub fn event<T: DeserializeOwned>(&self, name: &str) -> EventWait<T> {
        EventWait::new(Arc::clone(&self.core), name)
    }

    /// Starts another orchestration and waits for its end. Dropping it lets the child go on by itself.
    pub fn child<O: DeserializeOwned>(&self, name: &str, input: impl Serialize) -> Child<O> {
        let template = to_payload(input).map(|input| {
            let (name, instance) = (name.to_owned(), self.core.instance);
            Template::Child {
                call: Box::new(ChildCall {
                    task: 0,
                    instance,
                    name,
                    version: None,
                    input,
                    tags: Default::default(),
                    trace: None,
                }),
                named: false,
            }
        });
        Child::new(Arc::clone(&self.core), template)
    }

    /// Submits a job, a container or a process, and waits for its end. Dropping it cancels the job.
    pub fn job(&self, spec: Spec) -> JobRun {
        JobRun::new(Arc::clone(&self.core), Ok(Template::Job(Box::new(spec))))
    }

    /// Raises an event to another instance. It is lost when there is no such instance.
    pub fn send_event(&self, instance: InstanceId, name: &str, data: impl Serialize) -> Result<()> {
        let data = to_payload(data)?;
        self.core.ask(|task| Ask::Event { task, instance, name: name.to_owned(), data });
        Ok(())
    }

    /// Shows `status` to whoever asks for the instance, until another one is set.
    pub fn set_custom_status(&self, status: impl Serialize) -> Result<()> {
        let status = to_payload(status)?;
        if status.len() > crate::limits::CUSTOM_STATUS_BYTES_MAX {
            let message =
                format!("a custom status has at most {} bytes", crate::limits::CUSTOM_STATUS_BYTES_MAX);
            return Err(Failure::new(super::failure::kinds::PAYLOAD, message).non_retriable());
        }
        self.core.state.lock().custom_status = Some(status);
        Ok(())
    }

    /// Ends this execution and begins another with `input` and an empty history; events that were not taken are
    /// carried over. Return what it gives: `return ctx.continue_as_new(input);`.
    pub fn continue_as_new<O>(&self, input: impl Serialize) -> Result<O> {
        let input = to_payload(input)?;
        Err(self.core.continue_as_new(input, None))
    }

    /// The same, as another version of the orchestration.
    pub fn continue_as_version<O>(&self, version: &str, input: impl Serialize) -> Result<O> {
        let input = to_payload(input)?;
        Err(self.core.continue_as_new(input, Some(version.to_owned())))
    }

    /// Writes a line to the log, once: not when the code is replayed.
    pub fn log(&self, message: impl fmt::Display) {
        if !self.is_replaying() {
            tracing::info!(instance = %self.core.instance, orchestration = %self.core.name, "{message}");
        }
    }
}

/// The one of two that comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first.
    First(A),
    /// The second.
    Second(B),
}

/// Waits for whichever of two comes first, and drops the other. When both are there, `first` wins. Use it instead of
/// a `select!` macro: those choose at random, which no replay can repeat.
pub async fn select<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    std::future::poll_fn(|cx| {
        if let std::task::Poll::Ready(done) = first.as_mut().poll(cx) {
            return std::task::Poll::Ready(Either::First(done));
        }
        second.as_mut().poll(cx).map(Either::Second)
    })
    .await
}

/// Waits for all, in the order given; for ten thousand as cheaply for each as for one.
pub use futures_util::future::join_all;
/// Waits for all, or for the first failure, and then drops the others.
pub use futures_util::future::try_join_all;

fn to_payload(value: impl Serialize) -> serde_json::Result<Payload> {
    serde_json::to_value(value).map(Payload::from)
}

/// Reads a payload as what the code expects.
pub(super) fn read<T: DeserializeOwned>(what: &str, payload: Payload) -> Result<T> {
    serde_json::from_value(payload.into_value()).map_err(|error| {
        Failure::new(super::failure::kinds::PAYLOAD, format!("{what} cannot be read: {error}"))
            .non_retriable()
    })
}
