//! The fake as a [`Runtime`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio_stream::wrappers::BroadcastStream;

use super::attempt::Attempt;
use super::{FakeRuntime, Operation};
use crate::files::Pattern;
use crate::id::AttemptKey;
use crate::job::spec::StopSignal;
use crate::runtime::files::{Pieces, Placed};
use crate::runtime::{Error, Health, Hint, LogLine, Observation, Plan, Result, Runtime};

#[async_trait]
impl Runtime for FakeRuntime {
    fn name(&self) -> &str {
        &self.inner.name
    }

    async fn create(&self, plan: &Plan) -> Result<()> {
        let takes = self.inner.engine.lock().behaviour(plan).create_takes;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let plan = plan.clone();
        self.operate(Operation::Create, |engine| {
            let key = plan.key;
            engine.counts(key).creates.0 += 1;
            if engine.foreign.contains(&key) {
                return Err(foreign(key));
            }
            if !engine.attempts.contains_key(&key) {
                engine.counts(key).creates.1 += 1;
                let behaviour = engine.behaviour(&plan);
                let attempt = Attempt::of_group(plan, behaviour, |its| engine.behaviour_of(its));
                engine.attempts.insert(key, attempt);
            }
            Ok(())
        })
        .await
    }

    async fn put_files(&self, plan: &Plan, files: &[Placed]) -> Result<()> {
        self.put(plan.key, files).await
    }

    async fn take_files(&self, plan: &Plan, patterns: &[Pattern]) -> Result<Pieces> {
        self.take(plan.key, patterns).await
    }

    async fn start(&self, key: AttemptKey) -> Result<()> {
        let (now, wall) = (self.inner.time.now(), self.inner.clock.now());
        let fake = self.clone();
        self.operate(Operation::Start, move |engine| {
            engine.counts(key).starts.0 += 1;
            if engine.foreign.contains(&key) {
                return Err(foreign(key));
            }
            let Some(attempt) = engine.attempts.get_mut(&key) else {
                return Err(Error::Transient { message: format!("attempt {key} was not created") });
            };
            let is_first = attempt.is_created();
            while let Some(next) = attempt.next(now) {
                if let Some(fault) = next.behaviour.fault {
                    let message = "the script says that it cannot start; change the script".into();
                    return Err(Error::Start { fault, message });
                }
                next.start(now, wall);
            }
            if is_first {
                engine.counts(key).starts.1 += 1;
                fake.announce_end(key);
            }
            Ok(())
        })
        .await
    }

    async fn observe(&self, key: AttemptKey) -> Result<Observation> {
        let now = self.inner.time.now();
        self.operate(Operation::Observe, |engine| {
            Ok(engine.attempts.get_mut(&key).map_or(Observation::Absent, |attempt| attempt.observe(now)))
        })
        .await
    }

    async fn wait(&self, key: AttemptKey, patience: Duration) {
        drop(tokio::time::timeout(patience, self.ended(key)).await);
    }

    async fn stop(&self, key: AttemptKey, signal: StopSignal, grace: Duration) -> Result<()> {
        let time = Arc::clone(&self.inner.time);
        let running = self
            .operate(Operation::Stop, |engine| {
                engine.counts(key).stops.0 += 1;
                let Some(attempt) = engine.attempts.get_mut(&key).filter(|attempt| !attempt.is_created())
                else {
                    return Ok(false);
                };
                let now = time.now();
                let running = attempt.is_running(now);
                attempt.signal(signal, grace, now);
                engine.counts(key).stops.1 += u32::from(running);
                Ok(running)
            })
            .await?;
        if running {
            self.all_ended(key).await;
            self.change(|engine| engine.attempts.get_mut(&key).map(Attempt::close));
        }
        Ok(())
    }

    async fn remove(&self, key: AttemptKey) -> Result<()> {
        let time = Arc::clone(&self.inner.time);
        self.operate(Operation::Remove, move |engine| {
            engine.counts(key).removes.0 += 1;
            let Some(attempt) = engine.attempts.get_mut(&key) else { return Ok(()) };
            if attempt.is_running(time.now()) {
                return Err(Error::Transient { message: format!("attempt {key} still runs; stop it first") });
            }
            engine.remove(key, time.now());
            engine.counts(key).removes.1 += 1;
            Ok(())
        })
        .await
    }

    async fn list(&self) -> Result<Vec<(AttemptKey, Observation)>> {
        let now = self.inner.time.now();
        self.operate(Operation::List, |engine| {
            Ok(engine.attempts.iter_mut().map(|(key, attempt)| (*key, attempt.observe(now))).collect())
        })
        .await
    }

    async fn hints(&self) -> Result<BoxStream<'static, Hint>> {
        let hints = self.operate(Operation::Hints, |engine| Ok(engine.hints.subscribe())).await?;
        Ok(BroadcastStream::new(hints).map(|hint| hint.unwrap_or(Hint::Everything)).boxed())
    }

    fn runs_groups(&self) -> bool {
        true
    }

    async fn runs(&self, key: AttemptKey, member: Option<&str>) -> Result<bool> {
        let now = self.inner.time.now();
        self.operate(Operation::Observe, |engine| {
            let part = engine.attempts.get_mut(&key).and_then(|attempt| attempt.part(member));
            Ok(part.is_some_and(|part| matches!(part.alone(now), Observation::Running(_))))
        })
        .await
    }

    async fn members(&self, key: AttemptKey) -> Result<Vec<String>> {
        self.operate(Operation::Observe, |engine| {
            Ok(engine.attempts.get_mut(&key).map(Attempt::names).unwrap_or_default())
        })
        .await
    }

    fn keeps_logs(&self) -> bool {
        false
    }

    async fn logs(
        &self,
        key: AttemptKey,
        after_nanos: Option<i128>,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        let lines = self
            .operate(Operation::Logs, |engine| Ok(engine.attempts.get(&key).map(printed).unwrap_or_default()))
            .await?;
        let new = lines.into_iter().filter(move |line| after_nanos.is_none_or(|after| line.at_nanos > after));
        let fake = self.clone();
        // Followed to the end of the attempt.
        let end = stream::once(async move { fake.ended(key).await }).filter_map(|()| async { None });
        Ok(stream::iter(new.map(Ok)).chain(end).boxed())
    }

    async fn member_logs(
        &self,
        key: AttemptKey,
        member: &str,
        after_nanos: Option<i128>,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        let lines = self
            .operate(Operation::Logs, |engine| {
                let part = engine.attempts.get_mut(&key).and_then(|attempt| attempt.part(Some(member)));
                Ok(part.map(|part| printed(part)).unwrap_or_default())
            })
            .await?;
        let new = lines.into_iter().filter(move |line| after_nanos.is_none_or(|after| line.at_nanos > after));
        Ok(stream::iter(new.map(Ok)).boxed())
    }

    async fn health(&self) -> Result<Health> {
        self.operate(Operation::Health, |_| {
            Ok(Health { version: "fake".into(), cpus: 8.0, memory_bytes: 16 << 30 })
        })
        .await
    }
}

fn foreign(key: AttemptKey) -> Error {
    Error::Foreign { name: key.name("fake") }
}

/// What it has printed: everything, once it was started.
fn printed(attempt: &Attempt) -> Vec<LogLine> {
    let Some(started_at) = attempt.started_at() else { return Vec::new() };
    let from = i128::from(started_at.as_millis()) * 1_000_000;
    let output = attempt.behaviour.output.iter().zip(from..);
    output
        .map(|((stream, text), at_nanos)| LogLine {
            at_nanos,
            stream: *stream,
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        })
        .collect()
}
