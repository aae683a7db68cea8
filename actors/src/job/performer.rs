//! Performs a job's effects: passes them to the fleet and calls its service; translates reports into events.
//!
//! No business rules: every effect is one call, every report one event.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use super::effect::{Come, Effect};
use super::event::Event;
use super::planner::Planner;
use super::state::Job;
use crate::admission::{Claim, Rules, Ticket};
use crate::durable::Perform;
use crate::durable::host::{Host, WeakHost};
use crate::durable::published::Published;
use crate::fault::{self, Point};
use crate::files::ArtifactStore;
use crate::fleet::{Ahead, Drive, FleetHandle, Ledger, Report, Reports, Request, Standing};
use crate::id::{AttemptKey, JobId};
use crate::outbound::Network;
use crate::runtime::StartFault;
use crate::store;

/// The way back into the jobs' mailboxes; open once the host has started.
#[derive(Debug, Default)]
pub struct JobMail {
    /// Weak, because the host owns its performer and that this.
    host: OnceLock<WeakHost<Job>>,
}

impl JobMail {
    /// Opens the way. Later calls change nothing.
    pub fn open(&self, host: &Host<Job>) {
        drop(self.host.set(host.downgrade()));
    }

    fn tell(&self, job: JobId, event: Event) {
        // Before the host has started nothing is driven, so there is nothing to report.
        if let Some(host) = self.host.get().and_then(WeakHost::upgrade) {
            host.tell(job, event);
        }
    }
}

impl Reports for JobMail {
    fn report(&self, key: AttemptKey, report: Report) {
        let attempt = key.number;
        let event = match report {
            Report::Granted => Event::SlotGranted { attempt, ahead: false },
            Report::GrantedAhead => Event::SlotGranted { attempt, ahead: true },
            Report::Accepted => Event::PlaceAccepted { attempt },
            Report::Skipped { message } => Event::Skipped { attempt, message },
            Report::Displaced { by } => Event::Displaced { by },
            Report::Prepared => Event::AttemptPrepared { attempt },
            Report::Started(running) => Event::AttemptStarted { attempt, running },
            Report::Exited(exit) => Event::AttemptExited { attempt, exit },
            Report::Collected { exit, outputs } => Event::OutputsCollected { attempt, exit, outputs },
            Report::StartFailed { fault, message } => Event::AttemptStartFailed { attempt, fault, message },
            Report::NeverStarted => Event::AttemptNeverStarted { attempt },
            Report::Vanished => Event::AttemptVanished { attempt },
            Report::Trouble { message } => Event::TroubleSeen { attempt, message },
            Report::ProbeFailed { container, failures, message } => {
                Event::ProbeFailed { attempt, container, failures, message }
            }
            Report::ProbePassed { container } => Event::ProbePassed { attempt, container },
        };
        self.tell(key.job, event);
    }
}

/// What the jobs say of an attempt, from their durable states.
#[derive(Debug)]
pub struct JobLedger(pub Arc<Published<Job>>);

impl Ledger for JobLedger {
    fn standing(&self, key: AttemptKey) -> store::Result<Standing> {
        let job = self.0.read(key.job)?;
        let active = job.is_some_and(|job| job.has_attempt() && job.attempt == key.number);
        Ok(if active { Standing::Active } else { Standing::Over })
    }
}

/// The performer.
#[derive(Debug)]
pub struct JobPerformer {
    /// Who runs attempts.
    pub fleet: FleetHandle,
    /// Who makes their plans.
    pub planner: Planner,
    /// Who calls services.
    pub network: Arc<dyn Network>,
    /// Where what attempts leave is kept.
    pub artifacts: ArtifactStore,
    /// Where results go.
    pub mail: Arc<JobMail>,
    /// For whom jobs count.
    pub rules: Arc<Rules>,
}

impl Perform<Job> for JobPerformer {
    fn perform(&self, id: JobId, job: &Job, effect: Effect) {
        match effect {
            Effect::RequestSlot { attempt, since } => self.fleet.request(Request {
                key: AttemptKey::new(id, attempt),
                runtime: job.given.spec.runtime_name().to_owned(),
                resources: job.given.spec.demand(),
                since,
                ahead: if job.may_go_ahead() { Ahead::Yes } else { Ahead::No },
                ticket: self.ticket(job),
            }),
            Effect::HoldPlace => self.fleet.hold(job.attempt_key(), self.ticket(job)),
            Effect::LeavePlace => {
                if let Some(concurrency) = &job.given.spec.concurrency {
                    self.fleet.leave(id, &concurrency.key);
                }
            }
            Effect::Withdraw { attempt } => self.fleet.withdraw(AttemptKey::new(id, attempt)),
            Effect::Drive { come, .. } => self.drive(job, come),
            Effect::Start { attempt } => self.fleet.start(AttemptKey::new(id, attempt)),
            Effect::Stop { attempt, signal, grace } => {
                self.fleet.stop(AttemptKey::new(id, attempt), signal, grace)
            }
            Effect::Discard { attempt } => self.fleet.discard(AttemptKey::new(id, attempt)),
            Effect::DropArtifacts { attempt } => self.drop_artifacts(AttemptKey::new(id, attempt)),
            Effect::StartService { attempt, address } => self.start_service(job, attempt, address),
            Effect::PollService { attempt, address } => self.poll_service(job, attempt, address),
        }
    }

    fn purged(&self, id: JobId) {
        let logs = self.planner.logs.clone();
        // Removing files may take a while, and nobody waits for it.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = logs.remove(id) {
                tracing::warn!(job = %id, %error, "the logs of a purged job cannot be removed");
            }
        });
    }
}

impl JobPerformer {
    /// Once: what a failure leaves behind goes when the job is purged.
    fn drop_artifacts(&self, key: AttemptKey) {
        let artifacts = self.artifacts.clone();
        tokio::spawn(async move {
            if let Err(error) = artifacts.remove_attempt(key).await {
                tracing::warn!(attempt = %key, %error, "artifacts that are listed no more cannot be removed");
            }
        });
    }

    /// What its attempts are admitted by.
    fn ticket(&self, job: &Job) -> Ticket {
        let spec = &job.given.spec;
        let claim = spec.concurrency.as_ref().zip(job.place).map(|(concurrency, place)| Claim {
            concurrency: Arc::new(concurrency.clone()),
            since: place.since,
            accepted: place.accepted,
            held: place.held,
        });
        Ticket { tenant: Arc::from(self.rules.tenant_of(spec)), priority: spec.priority, claim }
    }

    fn drive(&self, job: &Job, come: Come) {
        let phase = match come {
            Come::Intended => Drive::Start,
            Come::LetStart => Drive::MayHaveStarted,
            Come::Seen => Drive::Attach,
        };
        match self.planner.plan(job) {
            Ok(plan) => {
                fault::reach_of(Point::AttemptPlanned, job.id);
                let runtime = job.given.spec.runtime_name().to_owned();
                self.fleet.drive_with(self.ticket(job), Arc::new(plan), runtime, phase);
            }
            Err(error) => self.mail.tell(
                job.id,
                Event::AttemptStartFailed {
                    attempt: job.attempt,
                    fault: StartFault::Rejected,
                    message: error.to_string(),
                },
            ),
        }
    }

    fn start_service(&self, job: &Job, attempt: u32, address: SocketAddr) {
        let Some(start) = job.given.spec.service.as_ref().and_then(|service| service.start.clone()) else {
            return;
        };
        let (network, mail, id) = (Arc::clone(&self.network), Arc::clone(&self.mail), job.id);
        tokio::spawn(async move {
            let key = AttemptKey::new(id, attempt).to_string();
            let event = match network.start_service(address, &start.path, &start.body, key).await {
                Ok(answer) => Event::ServiceStarted { attempt, answer },
                Err(error) => {
                    Event::ServiceStartFailed { attempt, message: error.message, refused: error.refused }
                }
            };
            mail.tell(id, event);
        });
    }

    fn poll_service(&self, job: &Job, attempt: u32, address: SocketAddr) {
        let Some(status) = job.given.spec.service.as_ref().and_then(|service| service.status.clone()) else {
            return;
        };
        let (network, mail, id) = (Arc::clone(&self.network), Arc::clone(&self.mail), job.id);
        tokio::spawn(async move {
            let event = match network.poll_service(address, &status.path).await {
                Ok(answer) => Event::ServicePolled { attempt, answer },
                Err(error) => Event::ServicePollFailed { attempt, message: error.message },
            };
            mail.tell(id, event);
        });
    }
}
