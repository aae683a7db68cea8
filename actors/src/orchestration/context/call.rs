//! What the code awaits: activities, children, jobs, timers. All of them are one [`Call`].

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::super::failure::{Failure, Result};
use super::super::history::{ActivityCall, ChildCall, JobOutcome, Outcome};
use super::super::id::{InstanceId, TaskId};
use super::super::payload::Payload;
use super::core::{Ask, Core};
use super::read;
use super::retry::RetryPolicy;
use crate::clock::Timestamp;
use crate::job::spec::Spec;
use crate::units::Span;

/// What is asked for, each time it is.
#[derive(Debug, Clone)]
pub(super) enum Template {
    Activity(Box<ActivityCall>),
    Child { call: Box<ChildCall>, named: bool },
    Job(Box<Spec>),
    Timer { fire_at: Timestamp },
}

impl Template {
    fn ask(&self, task: TaskId) -> Ask {
        match self.clone() {
            Self::Activity(mut call) => {
                call.task = task;
                Ask::Activity(call)
            }
            Self::Child { mut call, named } => {
                call.task = task;
                Ask::Child { call, named }
            }
            Self::Job(spec) => Ask::Job { task, spec },
            Self::Timer { fire_at } => Ask::Timer { task, fire_at },
        }
    }

    fn what(&self) -> String {
        match self {
            Self::Activity(call) => format!("the output of the activity `{}`", call.name),
            Self::Child { call, .. } => format!("the output of the child `{}`", call.name),
            Self::Job(_) => "the outcome of the job".to_owned(),
            Self::Timer { .. } => "a timer".to_owned(),
        }
    }
}

#[derive(Debug)]
enum Stage {
    /// Nothing was asked for.
    Idle,
    /// An attempt runs.
    Running(TaskId),
    /// The next attempt waits for a timer.
    Pausing(TaskId),
    /// It is over.
    Over,
}

/// Something that was asked for, with its retries.
#[derive(Debug)]
struct Call {
    core: Arc<Core>,
    template: std::result::Result<Template, Failure>,
    retry: Option<RetryPolicy>,
    stage: Stage,
    attempts: u32,
    since: Timestamp,
}

impl Call {
    fn new(core: Arc<Core>, template: std::result::Result<Template, serde_json::Error>) -> Self {
        let template = template.map_err(|error| Failure::from(error).non_retriable());
        let since = Timestamp::from_millis(0);
        Self { core, template, retry: None, stage: Stage::Idle, attempts: 0, since }
    }

    fn begin(&mut self) {
        if self.attempts == 0 {
            self.since = self.core.state.lock().now;
        }
        self.attempts += 1;
        let task = self.core.ask(|task| match &self.template {
            Ok(template) => template.ask(task),
            Err(failure) => Ask::Refused { task, failure: failure.clone() },
        });
        self.stage = Stage::Running(task);
    }

    /// Asks for it, unless that was done.
    fn start(&mut self) {
        if matches!(self.stage, Stage::Idle) {
            self.begin();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Payload>> {
        loop {
            match self.stage {
                Stage::Idle => self.begin(),
                Stage::Running(task) => {
                    let Some(outcome) = self.core.poll_task(task, cx.waker()) else { return Poll::Pending };
                    let failure = match outcome {
                        Outcome::Completed(output) => {
                            self.stage = Stage::Over;
                            return Poll::Ready(Ok(output));
                        }
                        Outcome::Failed(failure) => failure,
                    };
                    let now = self.core.state.lock().now;
                    let next = self
                        .retry
                        .as_ref()
                        .and_then(|retry| retry.next(&failure, self.attempts, self.since, now));
                    let Some(fire_at) = next else {
                        self.stage = Stage::Over;
                        return Poll::Ready(Err(failure));
                    };
                    self.stage = Stage::Pausing(self.core.ask(|task| Ask::Timer { task, fire_at }));
                }
                Stage::Pausing(timer) => {
                    if self.core.poll_task(timer, cx.waker()).is_none() {
                        return Poll::Pending;
                    }
                    self.begin();
                }
                // Polled after its end, which is a fault of the code that polls.
                Stage::Over => return Poll::Pending,
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let cancels = !matches!(self.template, Ok(Template::Child { .. }));
        match self.stage {
            Stage::Running(task) => self.core.drop_task(task, cancels),
            Stage::Pausing(timer) => self.core.drop_task(timer, true),
            Stage::Idle | Stage::Over => {}
        }
    }
}

/// Defines a typed call.
macro_rules! call {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[must_use = "nothing is asked for before it is awaited or started"]
        #[derive(Debug)]
        pub struct $name<O> {
            call: Call,
            output: PhantomData<fn() -> O>,
        }

        impl<O: DeserializeOwned> $name<O> {
            pub(super) fn new(
                core: Arc<Core>,
                template: std::result::Result<Template, serde_json::Error>,
            ) -> Self {
                Self { call: Call::new(core, template), output: PhantomData }
            }

            /// Tries again by this policy.
            pub fn retry(mut self, policy: RetryPolicy) -> Self {
                self.call.retry = Some(policy);
                self
            }

            /// Asks for it now, and not only when it is awaited.
            pub fn start(mut self) -> Self {
                self.call.start();
                self
            }
        }

        impl<O: DeserializeOwned> Future for $name<O> {
            type Output = Result<O>;

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let Poll::Ready(output) = self.call.poll(cx) else { return Poll::Pending };
                let what = || self.call.template.as_ref().map_or_else(|_| String::new(), Template::what);
                Poll::Ready(output.and_then(|output| read(&what(), output)))
            }
        }
    };
}

call! {
    /// An activity that is asked for.
    Activity
}

call! {
    /// A child that is asked for.
    Child
}

impl<O: DeserializeOwned> Activity<O> {
    fn with(mut self, change: impl FnOnce(&mut ActivityCall)) -> Self {
        if let Ok(Template::Activity(call)) = &mut self.call.template {
            change(call);
        }
        self
    }

    /// How long it may take each time it is started.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|call| call.timeout = Some(span(timeout)))
    }

    /// How often it must send a heartbeat.
    pub fn heartbeat(self, every: Duration) -> Self {
        self.with(|call| call.heartbeat = Some(span(every)))
    }

    /// A tag, for whoever routes it.
    pub fn tag(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|call| drop(call.tags.insert(key.into(), value.into())))
    }
}

impl<O: DeserializeOwned> Child<O> {
    fn with(mut self, change: impl FnOnce(&mut ChildCall, &mut bool)) -> Self {
        if let Ok(Template::Child { call, named }) = &mut self.call.template {
            change(call, named);
        }
        self
    }

    /// Its id; without one it gets one made of this instance's.
    pub fn id(self, instance: InstanceId) -> Self {
        self.with(|call, named| (call.instance, *named) = (instance, true))
    }

    /// Its version; without one the newest.
    pub fn version(self, version: impl Into<String>) -> Self {
        self.with(|call, _| call.version = Some(version.into()))
    }
}

/// A job that is asked for. It is `Ok` however the job ends: see [`JobOutcome::success`].
#[must_use = "nothing is asked for before it is awaited or started"]
#[derive(Debug)]
pub struct JobRun(Call);

impl JobRun {
    pub(super) fn new(core: Arc<Core>, template: std::result::Result<Template, serde_json::Error>) -> Self {
        Self(Call::new(core, template))
    }

    /// Asks for it now, and not only when it is awaited.
    pub fn start(mut self) -> Self {
        self.0.start();
        self
    }
}

impl Future for JobRun {
    type Output = Result<JobOutcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map(|outcome| outcome.and_then(|outcome| read("the outcome of the job", outcome)))
    }
}

/// A timer. Dropping it disarms it.
#[must_use = "a timer runs from when it is awaited or started"]
#[derive(Debug)]
pub struct Timer(Call);

impl Timer {
    pub(super) fn new(core: Arc<Core>, template: std::result::Result<Template, serde_json::Error>) -> Self {
        Self(Call::new(core, template))
    }

    /// Arms it now, and not only when it is awaited.
    pub fn start(mut self) -> Self {
        self.0.start();
        self
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map(drop)
    }
}

fn span(duration: Duration) -> Span {
    Span::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
