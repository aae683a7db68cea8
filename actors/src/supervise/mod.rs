//! Panic-safe supervision of an actix actor, which actix itself does not have.
//!
//! `actix::Supervisor` never sees a panic: the actor's task dies and its queued messages are lost (measured
//! on actix 0.13.5). [`supervise`] polls the actor's future itself, catches the panic, and restarts the actor
//! *on the same mailbox* after a growing pause, so that its address stays good and what was queued behind the
//! panicking message is handled. The actor's `restarting()` must throw away what it held in memory and reload
//! its last durable state.
//!
//! Not responsible for: what a restarted actor does (its own `started`), and who is told (the `report`).
//!
//! Invariants:
//! - one child, one budget: other actors on the thread do not notice a panic;
//! - more than `restarts_max` panics within `within` end the child: it is reported as given up with the last
//!   panic's text, and its address closes;
//! - a clean stop is final;
//! - a panic in a handler, a timer, a spawned future, `started` or `restarting` counts alike. A panic in
//!   `stopped` or in a destructor during unwinding aborts the process, so supervised actors keep those empty.

#[cfg(panic = "abort")]
compile_error!("supervision needs unwinding: remove `panic = \"abort\"` from the profile");

mod alarm;
mod restarts;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use actix::dev::{ContextFut, channel};
use actix::{Actor, Addr, ArbiterHandle, AsyncContext, Context, Supervised};
use tokio::time::Sleep;

pub use alarm::{Alarm, GaveUp};
pub(crate) use restarts::Restarts;

/// Senders that wait for a place in a mailbox when it is full: what actix itself gives a context.
const MAILBOX_CAPACITY: usize = 16;

/// How many restarts are allowed, and how they are spaced. The words are Erlang/OTP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    /// So many restarts within `within` are allowed; the next panic ends the child.
    pub restarts_max: u32,
    /// The sliding window over which restarts are counted.
    pub within: Duration,
    /// The pause before the first restart; doubles with each further one in the window.
    pub pause_first: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self {
            restarts_max: 5,
            within: Duration::from_secs(60),
            pause_first: Duration::from_millis(20),
            pause_max: Duration::from_secs(2),
        }
    }
}

/// What became of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildEvent {
    /// It panicked and will be restarted after a pause.
    Restarting {
        /// How many restarts there were in the window, this one included.
        count: u32,
        /// The panic's text.
        cause: String,
    },
    /// It stopped by itself.
    Stopped,
    /// It panicked too often and is gone.
    GaveUp {
        /// The last panic's text.
        cause: String,
    },
}

/// Starts an actor on the current arbiter under supervision.
///
/// `report` is called on this arbiter with every event; it must not panic.
///
/// # Panics
/// Outside of an actix system.
pub fn supervise<A, B, R>(intensity: Intensity, build: B, report: R) -> Addr<A>
where
    A: Actor<Context = Context<A>> + Supervised,
    B: FnOnce(&mut Context<A>) -> A,
    R: Fn(ChildEvent) + Unpin + 'static,
{
    let mut ctx = Context::new();
    let actor = build(&mut ctx);
    let addr = ctx.address();
    actix::spawn(Supervise::new(ctx.into_future(actor), intensity, report));
    addr
}

/// Starts an actor under supervision on the given arbiter. What is sent before it has started waits for it.
///
/// `report` is called on that arbiter with every event; it must not panic.
pub fn supervise_in<A, B, R>(arbiter: &ArbiterHandle, intensity: Intensity, build: B, report: R) -> Addr<A>
where
    A: Actor<Context = Context<A>> + Supervised,
    B: FnOnce(&mut Context<A>) -> A + Send + 'static,
    R: Fn(ChildEvent) + Unpin + Send + 'static,
{
    let (sender, receiver) = channel::channel(MAILBOX_CAPACITY);
    arbiter.spawn_fn(move || {
        let mut ctx = Context::with_receiver(receiver);
        let actor = build(&mut ctx);
        actix::spawn(Supervise::new(ctx.into_future(actor), intensity, report));
    });
    Addr::new(sender)
}

struct Supervise<A: Actor<Context = Context<A>> + Supervised, R> {
    child: Box<ContextFut<A, Context<A>>>,
    pause: Option<Pin<Box<Sleep>>>,
    restarts: Restarts,
    report: R,
}

impl<A: Actor<Context = Context<A>> + Supervised, R> fmt::Debug for Supervise<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervise").field("restarts", &self.restarts).finish_non_exhaustive()
    }
}

impl<A, R> Supervise<A, R>
where
    A: Actor<Context = Context<A>> + Supervised,
    R: Fn(ChildEvent) + 'static,
{
    fn new(child: ContextFut<A, Context<A>>, intensity: Intensity, report: R) -> Self {
        Self { child: Box::new(child), pause: None, restarts: Restarts::new(intensity), report }
    }

    /// Decides what a panic means: `Some(pause)` before a restart, `None` to give up.
    fn on_panic(&mut self, cause: String) -> Option<Duration> {
        let Some((count, pause)) = self.restarts.another() else {
            (self.report)(ChildEvent::GaveUp { cause });
            return None;
        };
        (self.report)(ChildEvent::Restarting { count, cause });
        Some(pause)
    }

    /// Arms the pause; `false` when the child is given up.
    fn after_panic(&mut self, panic: &(dyn Any + Send)) -> bool {
        let pause = self.on_panic(panic_text(panic));
        self.pause = pause.map(|length| Box::pin(tokio::time::sleep(length)));
        self.pause.is_some()
    }
}

impl<A, R> Future for Supervise<A, R>
where
    A: Actor<Context = Context<A>> + Supervised,
    R: Fn(ChildEvent) + Unpin + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
                match catch_unwind(AssertUnwindSafe(|| this.child.restart())) {
                    Ok(true) => {}
                    Ok(false) => {
                        (this.report)(ChildEvent::Stopped);
                        return Poll::Ready(());
                    }
                    Err(panic) if this.after_panic(panic.as_ref()) => continue,
                    Err(_) => return Poll::Ready(()),
                }
            }
            match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *this.child).poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => {
                    (this.report)(ChildEvent::Stopped);
                    return Poll::Ready(());
                }
                Err(panic) if this.after_panic(panic.as_ref()) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
    }
}

/// The text of a panic, where it has one.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}
