//! The engine of a simulated world: the fake runtime behind calls that fail, hang, come late, lose their answer or
//! are the last thing the server does.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::id::AttemptKey;
use dogwatch_actors::job::spec::StopSignal;
use dogwatch_actors::runtime::fake::FakeRuntime;
use dogwatch_actors::runtime::{Error, Health, Hint, Observation, Plan, Result, Runtime, async_trait};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::Notify;

use super::trace::note;
use super::world::World;

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) fake: FakeRuntime,
    pub(super) world: Arc<World>,
    /// Told to end the server at once.
    pub(super) crash: Arc<Notify>,
}

impl Engine {
    async fn call<T>(
        &self,
        what: &str,
        key: Option<AttemptKey>,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (random, trace) = (&self.world.random, &self.world.trace);
        let named = key.map(|key| key.to_string()).unwrap_or_default();
        if random.chance(self.world.faults().call_slow) {
            let longest = random.pick(&[100, 3_000, 70_000]);
            // A call that is slow while all is well would be a fault, too.
            let slow = tokio::time::sleep(random.up_to(Duration::from_millis(longest)));
            tokio::select! {
                biased;
                () = slow => {}
                () = self.world.until_calm() => {}
            }
        }
        let faults = self.world.faults();
        if random.chance(faults.crash_at_call) {
            note!(trace, "crash before {what} {named}");
            self.crash.notify_one();
            return pending().await;
        }
        if random.chance(faults.call_fails) {
            note!(trace, "{what} {named} fails");
            let message = "as the seed wants it".to_owned();
            return Err(match random.below(2) {
                0 => Error::Unavailable { runtime: "sim".to_owned(), message },
                _ => Error::Transient { message },
            });
        }
        if random.chance(faults.call_hangs) {
            note!(trace, "{what} {named} hangs");
            self.world.until_calm().await;
            return Err(Error::Unavailable {
                runtime: "sim".to_owned(),
                message: "the connection broke".to_owned(),
            });
        }
        let answer = call.await;
        note!(trace, "{what} {named} {}", answer.as_ref().err().map(Error::to_string).unwrap_or_default());
        if random.chance(faults.crash_at_call) {
            note!(trace, "crash after {what} {named}");
            self.crash.notify_one();
            return pending().await;
        }
        if random.chance(faults.answer_lost) {
            note!(trace, "the answer to {what} {named} is lost");
            return Err(Error::Unavailable {
                runtime: "sim".to_owned(),
                message: "the answer is lost".to_owned(),
            });
        }
        answer
    }
}

#[async_trait]
impl Runtime for Engine {
    fn name(&self) -> &str {
        self.fake.name()
    }

    async fn create(&self, plan: &Plan) -> Result<()> {
        self.call("create", Some(plan.key), self.fake.create(plan)).await
    }

    async fn start(&self, key: AttemptKey) -> Result<()> {
        self.call("start", Some(key), self.fake.start(key)).await
    }

    async fn observe(&self, key: AttemptKey) -> Result<Observation> {
        self.call("observe", Some(key), self.fake.observe(key)).await
    }

    async fn wait(&self, key: AttemptKey, patience: Duration) {
        self.fake.wait(key, patience).await;
    }

    async fn stop(&self, key: AttemptKey, signal: StopSignal, grace: Duration) -> Result<()> {
        self.call("stop", Some(key), self.fake.stop(key, signal, grace)).await
    }

    async fn remove(&self, key: AttemptKey) -> Result<()> {
        self.call("remove", Some(key), self.fake.remove(key)).await
    }

    async fn list(&self) -> Result<Vec<(AttemptKey, Observation)>> {
        self.call("list", None, self.fake.list()).await
    }

    async fn hints(&self) -> Result<BoxStream<'static, Hint>> {
        let hints = self.call("hints", None, self.fake.hints()).await?;
        let world = Arc::clone(&self.world);
        let disturbed = hints.flat_map(move |hint| {
            let copies = match world.random.chance(world.faults().hints) {
                true => world.random.below(3) as usize,
                false => 1,
            };
            stream::iter(std::iter::repeat_n(hint, copies))
        });
        let world = Arc::clone(&self.world);
        let late = disturbed.then(move |hint| {
            let late = world
                .random
                .chance(world.faults().hints / 4)
                .then(|| world.random.up_to(Duration::from_secs(20)));
            async move {
                if let Some(late) = late {
                    tokio::time::sleep(late).await;
                }
                hint
            }
        });
        Ok(late.boxed())
    }

    fn keeps_logs(&self) -> bool {
        true
    }

    async fn health(&self) -> Result<Health> {
        self.fake.health().await
    }
}
