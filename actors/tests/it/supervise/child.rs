//! An actor that panics as ordered, and the trace it leaves.

use std::cell::{Cell, RefCell};
use std::panic::panic_any;
use std::rc::Rc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use actix::prelude::*;
use dogwatch_actors::supervise::ChildEvent;
use tokio::sync::Notify;

#[derive(Default)]
struct Notes {
    events: RefCell<Vec<ChildEvent>>,
    reported: Notify,
    started: Cell<u32>,
    restarting: Cell<u32>,
}

/// What happened to a child. Clones share one.
#[derive(Clone, Default)]
pub(super) struct Trace(Rc<Notes>);

impl Trace {
    pub(super) fn report(&self, event: ChildEvent) {
        self.0.events.borrow_mut().push(event);
        self.0.reported.notify_one();
    }

    pub(super) fn events(&self) -> Vec<ChildEvent> {
        self.0.events.borrow().clone()
    }

    pub(super) async fn until_events(&self, count: usize) {
        while self.0.events.borrow().len() < count {
            self.0.reported.notified().await;
        }
    }

    pub(super) fn started(&self) -> u32 {
        self.0.started.get()
    }

    pub(super) fn restarting(&self) -> u32 {
        self.0.restarting.get()
    }
}

pub(super) fn cause(event: &ChildEvent) -> String {
    match event {
        ChildEvent::Restarting { cause, .. } | ChildEvent::GaveUp { cause } => cause.clone(),
        ChildEvent::Stopped => String::new(),
    }
}

/// What a child does by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// How often `started` panics before it goes well.
    pub(super) panics_in_started: u32,
    /// How often `restarting` panics before it goes well.
    pub(super) panics_in_restarting: u32,
    /// Adds 1 this often.
    pub(super) adds_every: Option<Duration>,
}

pub(super) struct Child {
    trace: Trace,
    plan: Plan,
    sum: u32,
}

impl Child {
    pub(super) fn new(trace: Trace, plan: Plan) -> Self {
        Self { trace, plan, sum: 0 }
    }
}

/// Counts down; whether there was something to count.
fn spend(count: &mut u32) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}

impl Actor for Child {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.trace.0.started.set(self.trace.started() + 1);
        assert!(!spend(&mut self.plan.panics_in_started), "in started");
        if let Some(every) = self.plan.adds_every {
            ctx.run_interval(every, |this, _| this.sum += 1);
        }
    }
}

impl Supervised for Child {
    fn restarting(&mut self, _: &mut Self::Context) {
        assert!(!spend(&mut self.plan.panics_in_restarting), "in restarting");
        self.trace.0.restarting.set(self.trace.restarting() + 1);
        self.sum = 0;
    }
}

#[derive(Message)]
#[rtype(result = "u32")]
pub(super) struct Add(pub(super) u32);

impl Handler<Add> for Child {
    type Result = u32;

    fn handle(&mut self, Add(more): Add, _: &mut Self::Context) -> u32 {
        self.sum += more;
        self.sum
    }
}

#[derive(Message)]
#[rtype(result = "u32")]
pub(super) struct Get;

impl Handler<Get> for Child {
    type Result = u32;

    fn handle(&mut self, _: Get, _: &mut Self::Context) -> u32 {
        self.sum
    }
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Boom(pub(super) &'static str);

impl Handler<Boom> for Child {
    type Result = ();

    fn handle(&mut self, Boom(text): Boom, _: &mut Self::Context) {
        self.sum += 1_000_000; // half of a change
        panic!("{text}");
    }
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Quit;

impl Handler<Quit> for Child {
    type Result = ();

    fn handle(&mut self, _: Quit, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

pub(super) struct Where;

impl Message for Where {
    type Result = ThreadId;
}

impl Handler<Where> for Child {
    type Result = MessageResult<Where>;

    fn handle(&mut self, _: Where, _: &mut Self::Context) -> Self::Result {
        MessageResult(thread::current().id())
    }
}

/// Panic there.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) enum BoomIn {
    Handler,
    Timer,
    Interval,
    Spawned,
    Waited,
    Answer,
    /// In the handler, with something that is no text.
    Number,
}

impl Handler<BoomIn> for Child {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, place: BoomIn, ctx: &mut Self::Context) -> Self::Result {
        let later = Duration::from_millis(5);
        let boom = move || panic!("in {place:?}");
        let pause = tokio::time::sleep_until(tokio::time::Instant::now() + later);
        match place {
            BoomIn::Handler => boom(),
            BoomIn::Number => panic_any(7_u32),
            BoomIn::Timer => drop(ctx.run_later(later, move |_, _| boom())),
            BoomIn::Interval => drop(ctx.run_interval(later, move |_, _| boom())),
            BoomIn::Spawned => drop(ctx.spawn(pause.into_actor(self).map(move |(), _, _| boom()))),
            BoomIn::Waited => ctx.wait(pause.into_actor(self).map(move |(), _, _| boom())),
            BoomIn::Answer => return Box::pin(pause.into_actor(self).map(move |(), _, _| boom())),
        }
        Box::pin(fut::ready(()))
    }
}
