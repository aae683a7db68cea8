//! Probes one container of an attempt, again and again, for as long as the attempt runs.
//!
//! Responsible for: when a probe is made, counting failures in a row, and telling them. Not responsible for: what follows
//! from them, which is the job's.
//!
//! Invariants: only an answer counts; an engine that cannot be asked is neither a failure nor a success. Told are the
//! first failure of a row and every one from the limit on, so that a lost report delays what follows and never loses it;
//! and the first success after a failure. No secret of the job is in what is told.

use std::sync::Arc;

use tokio::time::{sleep, timeout};

use super::task::Task;
use super::{Report, Reports};
use crate::id::AttemptKey;
use crate::limits::{PROBE_EVERY_MIN, QUOTE_CHARS_MAX};
use crate::outbound::Network;
use crate::runtime::group::Probed;
use crate::runtime::{Error, Plan, Runtime};

/// What is known of the health of a container at one moment.
enum Health {
    Passed,
    Failed(String),
    Unknown,
}

/// Probes one container.
pub(super) struct Prober {
    key: AttemptKey,
    probed: Probed,
    plan: Arc<Plan>,
    runtime: Arc<dyn Runtime>,
    network: Option<Arc<dyn Network>>,
    reports: Arc<dyn Reports>,
}

impl Prober {
    /// Begins to probe every container of this plan that is to be; ends when the tasks are dropped.
    pub(super) fn spawn_all(
        plan: &Arc<Plan>,
        runtime: &Arc<dyn Runtime>,
        network: Option<&Arc<dyn Network>>,
        reports: &Arc<dyn Reports>,
    ) -> Vec<Task> {
        let probes = plan.group.probes.iter().map(|probed| {
            let prober = Self {
                key: plan.key,
                probed: probed.clone(),
                plan: Arc::clone(plan),
                runtime: Arc::clone(runtime),
                network: network.cloned(),
                reports: Arc::clone(reports),
            };
            let key = plan.key;
            Task::spawn(prober.run(), move |panic| {
                tracing::error!(attempt = %key, panic, "probing an attempt panicked; it is probed no more");
            })
        });
        probes.collect()
    }

    async fn run(self) {
        let every = self.probed.probe.every.as_duration().max(PROBE_EVERY_MIN);
        // One that waits for the init containers is not unhealthy.
        while !matches!(self.runtime.runs(self.key, self.probed.member.as_deref()).await, Ok(true)) {
            sleep(PROBE_EVERY_MIN).await;
        }
        sleep(self.probed.probe.initial_delay.as_duration()).await;
        let (mut failures, mut told_at_all) = (0u32, false);
        loop {
            let container = self.probed.name.clone();
            match self.look().await {
                Health::Unknown => {}
                Health::Passed => {
                    if failures > 0 || !told_at_all {
                        self.reports.report(self.key, Report::ProbePassed { container });
                    }
                    (failures, told_at_all) = (0, true);
                }
                Health::Failed(message) => {
                    failures = failures.saturating_add(1);
                    let message = self.shown(&message);
                    tracing::debug!(attempt = %self.key, container, failures, message, "a probe failed");
                    if failures == 1 || failures >= self.probed.probe.failures {
                        self.reports.report(self.key, Report::ProbeFailed { container, failures, message });
                    }
                    told_at_all = true;
                }
            }
            sleep(every).await;
        }
    }

    async fn look(&self) -> Health {
        let probe = &self.probed.probe;
        let limit = probe.timeout.as_duration();
        let Some(http) = &probe.http else {
            let member = self.probed.member.as_deref();
            return match self.runtime.exec(self.key, member, &probe.exec, limit).await {
                Ok(done) if done.code == 0 => Health::Passed,
                Ok(done) if done.output.is_empty() => {
                    Health::Failed(format!("the command exited with code {}", done.code))
                }
                Ok(done) => {
                    Health::Failed(format!("the command exited with code {}: {}", done.code, done.output))
                }
                Err(Error::Unavailable { .. }) => Health::Unknown,
                Err(error) => Health::Failed(error.to_string()),
            };
        };
        let address = match self.runtime.address(self.key, http.port).await {
            Ok(Some(address)) => address,
            Ok(None) => return Health::Failed("it has no address".to_owned()),
            Err(Error::Unavailable { .. }) => return Health::Unknown,
            Err(error) => return Health::Failed(error.to_string()),
        };
        let Some(network) = &self.network else { return Health::Unknown };
        match timeout(limit, network.poll_service(address, &http.path)).await {
            Ok(Ok(_)) => Health::Passed,
            Ok(Err(error)) => Health::Failed(format!("port {}: {}", http.port, error.message)),
            Err(_) => {
                Health::Failed(format!("port {} did not answer within {} ms", http.port, limit.as_millis()))
            }
        }
    }

    /// The message as it may be shown: bounded, and without the job's secrets.
    fn shown(&self, message: &str) -> String {
        let hidden = self
            .plan
            .group
            .secrets
            .iter()
            .fold(message.to_owned(), |text, secret| text.replace(secret.expose(), "[redacted]"));
        hidden.chars().map(|c| if c.is_control() { ' ' } else { c }).take(QUOTE_CHARS_MAX).collect()
    }
}
