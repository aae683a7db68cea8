//! What runs in the attempts of a simulated world, as far as it calls back: each callback once or several times, out
//! of order, late, and again until it is answered.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::Handle;
use dogwatch_actors::handle::{Callback, Error};
use dogwatch_actors::id::AttemptKey;
use dogwatch_actors::runtime::fake::Ending;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde_json::json;

use super::script::Script;
use super::trace::note;
use super::world::World;

/// Brings the scripts of running attempts to life, for as long as the server lives.
pub(super) async fn run(world: Arc<World>, handle: Handle) {
    let alive: Mutex<BTreeSet<AttemptKey>> = Mutex::default();
    loop {
        world.engine.until(|engine| engine.running().iter().any(|key| !alive.lock().contains(key))).await;
        for key in world.engine.running() {
            let Some(plan) = world.engine.plan(key).filter(|_| alive.lock().insert(key)) else { continue };
            if let Script::Calls(progress, end) = Script::of(&plan) {
                let token = plan.env["DOGWATCH_CALLBACK_TOKEN"].expose().to_owned();
                let caller = Caller { world: Arc::clone(&world), handle: handle.clone(), key, token };
                actix::spawn(caller.run(progress, end));
            }
        }
    }
}

#[derive(Clone)]
struct Caller {
    world: Arc<World>,
    handle: Handle,
    key: AttemptKey,
    token: String,
}

impl Caller {
    async fn run(self, progress: u32, end: &'static str) {
        let random = self.world.random.clone();
        for number in 0..progress {
            tokio::time::sleep(random.up_to(Duration::from_secs(5))).await;
            let all_sent = (0..=random.below(3)).map(|_| self.clone().send(number, "progress"));
            let all_sent = futures_util::future::join_all(all_sent.collect::<Vec<_>>());
            match random.chance(5_000) {
                true => drop(all_sent.await),
                // The next one may overtake it.
                false => drop(actix::spawn(all_sent)),
            }
        }
        tokio::time::sleep(random.up_to(Duration::from_secs(5))).await;
        self.clone().send(progress, end).await;
        if random.chance(3_000) {
            // Once more, from somewhere on the way, when the attempt is long over.
            let late = self.clone();
            actix::spawn(async move {
                tokio::time::sleep(late.world.random.up_to(Duration::from_secs(60))).await;
                late.once(progress, end).await;
            });
        }
        self.world.engine.end(self.key, Ending::Code(0));
    }

    /// Until it is answered, or the attempt is over.
    async fn send(self, number: u32, event: &'static str) {
        loop {
            tokio::time::sleep(self.world.random.up_to(Duration::from_millis(500))).await;
            if self.once(number, event).await || !self.world.engine.running().contains(&self.key) {
                return;
            }
        }
    }

    /// Whether it was answered, one way or the other.
    async fn once(&self, number: u32, event: &str) -> bool {
        // Every other one is told from its repetition by its body.
        let id = number.is_multiple_of(2).then(|| format!("call-{number}"));
        let callback = Callback { event: event.to_owned(), id, data: json!({"n": number}) };
        let answer = self.handle.callback(self.key, &self.token, callback);
        let answer = AssertUnwindSafe(answer).catch_unwind().await;
        note!(self.world.trace, "callback {} {number} {event}: {:?}", self.key, answer.as_ref().ok());
        let mut record = self.world.record.lock();
        match answer {
            Ok(Ok(receipt)) => {
                let heard = record.callbacks.entry((self.key, number)).or_default();
                heard.acknowledged += 1;
                heard.fresh += u32::from(!receipt.duplicate);
                true
            }
            Ok(Err(Error::Conflict { .. } | Error::StaleAttempt { .. } | Error::TooManyEvents(_))) => true,
            Ok(Err(
                Error::Interrupted
                | Error::Store(_)
                | Error::ShuttingDown
                | Error::Overloaded { .. }
                | Error::Parked(..),
            ))
            | Err(_) => false,
            Ok(Err(other)) => {
                record.breaks(format!("callback {number} of {}: {other}", self.key));
                true
            }
        }
    }
}
