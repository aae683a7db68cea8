//! Measuring what containers use while they run: afterwards the engine knows nothing of it any more.
//!
//! Responsible for: one meter per running container of ours, from when it is first seen running until its attempt is
//! removed. Not responsible for: what is made of the readings, nor for containers that nobody looks at.
//!
//! On an engine of this host the kernel's accounts are read, and for the last time at the moment in which the kernel
//! says that the container's first process has ended: the engine takes milliseconds to clear them away. Elsewhere
//! the engine is asked, and what happens after the last answer is not counted.

use bollard::Docker;
use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::HashMap;
use std::fmt;
use std::future::pending;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::engine::One;
use super::errors::Fault;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::id::AttemptKey;
use crate::limits::{ENGINE_QUERY_TIMEOUT, USAGE_LAST_READING_MAX, USAGE_READ_EVERY_MAX, USAGE_READ_FIRST};
use crate::runtime::accounts::Accounts;
use crate::usage::Usage;
use crate::usage::readings::{Reading, Readings};

/// What reading comes to.
enum Answer {
    Reading(Reading),
    /// Not this time.
    Nothing,
    /// There is no such container any more.
    Gone,
}

/// Where readings come from.
pub(super) enum Source {
    /// The kernel's accounts, and the process whose end is the container's, where the kernel can tell of it.
    Kernel(Accounts, Option<AsyncFd<OwnedFd>>),
    /// The engine's answers about the container of this id.
    Engine(Docker, String),
}

impl Source {
    /// The accounts of the container whose first process this is, where they can be read from here.
    pub(super) fn of_process(pid: i64, container: &str) -> Option<Self> {
        let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
        // First of all, so that the process which is looked at is the one that is waited for.
        let ended = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let accounts = Accounts::of_process(u32::try_from(pid).ok()?, container)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types whose descriptor may change or be closed; that of an \
                      OwnedFd stays open and the same for as long as it is registered"
        )]
        let ended = ended.and_then(|ended| AsyncFd::new(ended).ok());
        Some(Self::Kernel(accounts, ended))
    }

    async fn read(&self) -> Answer {
        match self {
            Self::Kernel(accounts, _) => match accounts.read() {
                Some(reading) => Answer::Reading(reading),
                None if accounts.are_there() => Answer::Nothing,
                None => Answer::Gone,
            },
            Self::Engine(client, container) => {
                let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
                let mut answers = std::pin::pin!(client.stats(container, Some(options)));
                match timeout(ENGINE_QUERY_TIMEOUT, answers.next()).await {
                    Ok(Some(Ok(stats))) => reading(&stats).map_or(Answer::Nothing, Answer::Reading),
                    Ok(Some(Err(error))) => match Fault::from(error).is_absent() {
                        true => Answer::Gone,
                        false => Answer::Nothing,
                    },
                    _ => Answer::Nothing,
                }
            }
        }
    }

    /// Resolves when the container has ended, where that is told.
    async fn ended(&self) {
        match self {
            Self::Kernel(_, Some(process)) => drop(process.readable().await),
            _ => pending().await,
        }
    }

    const fn tells_end(&self) -> bool {
        matches!(self, Self::Kernel(_, Some(_)))
    }
}

/// An answer of the engine; of a container that does not run it has no figures.
fn reading(stats: &ContainerStatsResponse) -> Option<Reading> {
    let cpu_ns = stats.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage.filter(|ns| *ns > 0)?;
    let memory = stats.memory_stats.as_ref()?;
    let details = memory.stats.as_ref();
    // Each version of control groups has its own name for it.
    let inactive = ["total_inactive_file", "inactive_file"]
        .iter()
        .find_map(|name| details?.get(*name).copied())
        .unwrap_or(0);
    Some(Reading { cpu_us: cpu_ns / 1_000, memory_bytes: memory.usage?.saturating_sub(inactive) })
}

/// Reads until the container has ended or its accounts are gone.
async fn measure(source: Source, tell: watch::Sender<Readings>) {
    let mut pause = USAGE_READ_FIRST;
    loop {
        match source.read().await {
            Answer::Reading(reading) => {
                tell.send_modify(|readings| readings.add(SystemClock.now(), reading));
            }
            // It may be had again.
            Answer::Nothing => {}
            Answer::Gone => return,
        }
        tokio::select! {
            () = source.ended() => break,
            () = sleep(pause) => pause = (pause * 2).min(USAGE_READ_EVERY_MAX),
        }
    }
    if let Source::Kernel(accounts, _) = &source
        && let Some(cpu_us) = accounts.cpu_us()
    {
        tell.send_modify(|readings| readings.end(cpu_us));
    }
}

struct Meter {
    container: String,
    readings: watch::Receiver<Readings>,
    tells_end: bool,
    task: AbortHandle,
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The meters, by attempt and container.
#[derive(Default)]
pub(super) struct Meters(Mutex<HashMap<AttemptKey, HashMap<Option<String>, Meter>>>);

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meters(of {} attempts)", self.0.lock().len())
    }
}

impl Meters {
    /// Whether this container is measured.
    pub(super) fn has(&self, one: &One, container: &str) -> bool {
        let meters = self.0.lock();
        let meter = meters.get(&one.key).and_then(|of| of.get(&one.part));
        meter.is_some_and(|meter| meter.container == container)
    }

    /// Measures a container that runs.
    pub(super) fn add(&self, one: &One, container: &str, source: Source) {
        let mut meters = self.0.lock();
        let of_attempt = meters.entry(one.key).or_default();
        if of_attempt.get(&one.part).is_some_and(|meter| meter.container == container) {
            return;
        }
        let (tell, readings) = watch::channel(Readings::default());
        let tells_end = source.tells_end();
        let task = tokio::spawn(measure(source, tell)).abort_handle();
        let meter = Meter { container: container.to_owned(), readings, tells_end, task };
        of_attempt.insert(one.part.clone(), meter);
    }

    /// What a container used that ran in this time; `None` where it was not measured.
    pub(super) async fn used(
        &self,
        one: &One,
        container: &str,
        (from, to): (Timestamp, Timestamp),
    ) -> Option<Usage> {
        let (mut readings, tells_end) = {
            let meters = self.0.lock();
            let meter = meters.get(&one.key)?.get(&one.part).filter(|meter| meter.container == container)?;
            if !meter.tells_end {
                meter.task.abort();
            }
            (meter.readings.clone(), meter.tells_end)
        };
        if tells_end {
            // Until the meter has ended, which closes the channel.
            let ended = async { while readings.changed().await.is_ok() {} };
            drop(timeout(USAGE_LAST_READING_MAX, ended).await);
        }
        let readings = *readings.borrow();
        Some(readings.usage(to.since(from), to))
    }

    /// Forgets a container that is not there any more.
    pub(super) fn drop_one(&self, one: &One) {
        let mut meters = self.0.lock();
        if let Some(of_attempt) = meters.get_mut(&one.key) {
            of_attempt.remove(&one.part);
            if of_attempt.is_empty() {
                meters.remove(&one.key);
            }
        }
    }

    /// Forgets an attempt.
    pub(super) fn forget(&self, key: AttemptKey) {
        self.0.lock().remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_of_the_engine_is_read_in_either_version() {
        let read = |stats: serde_json::Value| {
            let answer =
                json!({"cpu_stats": {"cpu_usage": {"total_usage": 5_000_000}}, "memory_stats": stats});
            reading(&serde_json::from_value(answer).unwrap())
        };
        let one = json!({"usage": 900, "stats": {"total_inactive_file": 100, "inactive_file": 7}});
        assert_eq!(read(one), Some(Reading { cpu_us: 5_000, memory_bytes: 800 }));
        let two = json!({"usage": 900, "stats": {"inactive_file": 300}});
        assert_eq!(read(two), Some(Reading { cpu_us: 5_000, memory_bytes: 600 }));
        assert_eq!(read(json!({"usage": 900})), Some(Reading { cpu_us: 5_000, memory_bytes: 900 }));
        assert_eq!(read(json!({})), None);
    }

    #[test]
    fn a_container_that_does_not_run_has_no_figures() {
        let stopped = json!({"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}});
        assert_eq!(reading(&serde_json::from_value(stopped).unwrap()), None);
    }
}
