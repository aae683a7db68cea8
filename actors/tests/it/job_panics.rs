//! Real jobs on the fake runtime, one of which has an actor that panics: it goes on from its last commit, or is
//! quarantined, and the twenty others do not notice.
//!
//! The parts are put together here as the supervisor does it, but for a clock and a performer that panic as
//! ordered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dogwatch_actors::admission::Rules;
use dogwatch_actors::bucket::Bucket;
use dogwatch_actors::clock::{Clock, Timestamp, TokioClock};
use dogwatch_actors::durable::Perform;
use dogwatch_actors::durable::batch::Terms;
use dogwatch_actors::durable::host::{Host, Shared};
use dogwatch_actors::durable::outbox::Outbox;
use dogwatch_actors::durable::published::Published;
use dogwatch_actors::durable::shell;
use dogwatch_actors::durable::timers::Timers;
use dogwatch_actors::files::ArtifactStore;
use dogwatch_actors::fleet::{Budget, Fleet, NoFiles, Options};
use dogwatch_actors::id::{AttemptKey, InstallationId, JobId};
use dogwatch_actors::job::cause::Cause;
use dogwatch_actors::job::effect::Effect;
use dogwatch_actors::job::event::{Event, Submitted};
use dogwatch_actors::job::performer::{JobLedger, JobMail, JobPerformer};
use dogwatch_actors::job::planner::Planner;
use dogwatch_actors::job::spec::Spec;
use dogwatch_actors::job::state::{Job, Phase};
use dogwatch_actors::logs::LogStore;
use dogwatch_actors::outbound::HttpNetwork;
use dogwatch_actors::outbound::guard::Guard;
use dogwatch_actors::runtime::fake::{Behaviour, Ending, FakeRuntime};
use dogwatch_actors::secret::Keyring;
use dogwatch_actors::store::Store;
use dogwatch_actors::store::memory::MemoryStore;
use dogwatch_actors::supervise::Intensity;
use futures_util::future::join_all;
use parking_lot::Mutex;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const JOBS: u8 = 21;
const VICTIM: u8 = 7;

fn id(number: u8) -> JobId {
    JobId::from_bytes([number; 16])
}

fn key(number: u8) -> AttemptKey {
    AttemptKey::new(id(number), 1)
}

/// How often, and over which effects.
type Panics = (u32, fn(&Effect) -> bool);

/// The jobs' clock: panics when asked next, as a bad rule would.
struct Fuse {
    clock: TokioClock,
    lit: AtomicBool,
}

impl Clock for Fuse {
    fn now(&self) -> Timestamp {
        assert!(!self.lit.swap(false, Ordering::SeqCst), "a bad rule");
        self.clock.now()
    }
}

/// Writes down what is performed, and panics so often over the victim's effects of one kind.
struct Clumsy {
    inner: JobPerformer,
    performed: Mutex<Vec<(JobId, Effect)>>,
    panics: Mutex<Panics>,
}

impl Perform<Job> for Clumsy {
    fn perform(&self, job: JobId, state: &Job, effect: Effect) {
        self.performed.lock().push((job, effect.clone()));
        let (left, wanted) = &mut *self.panics.lock();
        if job == id(VICTIM) && *left > 0 && wanted(&effect) {
            *left -= 1;
            panic!("clumsy");
        }
        self.inner.perform(job, state, effect);
    }
}

struct World {
    jobs: Host<Job>,
    engine: FakeRuntime,
    fuse: Arc<Fuse>,
    performer: Arc<Clumsy>,
    _logs: tempfile::TempDir,
}

/// Runs a test with `JOBS` jobs submitted, in virtual time on one thread.
fn world(panics: Panics, test: impl AsyncFnOnce(&World)) {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().expect("a runtime of one thread")
    };
    actix::System::with_tokio_rt(runtime).block_on(async {
        let world = World::start(panics).await;
        for number in 1..=JOBS {
            let spec = Spec { runtime: Some("fake".into()), ..Spec::process(["work"]) };
            let submitted = Submitted { spec: spec.into(), vault: None, claim: None, parent: None };
            world.deliver(number, Event::Submitted(Box::new(submitted))).await.unwrap();
        }
        tokio::time::timeout(Duration::from_secs(86_400), test(&world)).await.expect("the test ends in time");
    });
}

impl World {
    async fn start(panics: Panics) -> Self {
        let clock = TokioClock::starting_at(START);
        let engine = FakeRuntime::new("fake", Arc::new(clock));
        engine.behave(Behaviour::runs());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let published = Arc::new(Published::<Job>::new(Arc::clone(&store)));
        let dir = tempfile::tempdir().unwrap();
        let (logs, mail) = (LogStore::new(dir.path()), Arc::new(JobMail::default()));
        let options = Options {
            runtimes: vec![Arc::new(engine.clone())],
            budget: Budget::default(),
            rules: Rules::default(),
            reports: Arc::<JobMail>::clone(&mail),
            ledger: Arc::new(JobLedger(Arc::clone(&published))),
            logs: Arc::new(logs.clone()),
            files: Arc::new(NoFiles),
            network: None,
            clock: Arc::new(clock),
        };
        let planner = Planner {
            keyring: Keyring::new([7; 32]),
            installation: InstallationId::from_bytes([9; 16]),
            logs,
            callback_urls: BTreeMap::new(),
            worker_urls: BTreeMap::new(),
        };
        let network = Arc::new(HttpNetwork::new(Guard::default()).unwrap());
        let inner = JobPerformer {
            fleet: Fleet::start(options, None),
            planner,
            network,
            artifacts: ArtifactStore::new(Bucket::in_memory("artifacts")),
            mail: Arc::clone(&mail),
            rules: Arc::default(),
        };
        let performer = Arc::new(Clumsy { inner, performed: Mutex::default(), panics: Mutex::new(panics) });
        let fuse = Arc::new(Fuse { clock, lit: AtomicBool::new(false) });
        let shared = Shared {
            store,
            clock: Arc::<Fuse>::clone(&fuse),
            published,
            timers: Arc::new(Timers::default()),
            outbox: Arc::new(Outbox::default()),
            performer: Arc::<Clumsy>::clone(&performer),
            intensity: Intensity::default(),
        };
        let jobs = Host::start(shared, &[]).await;
        mail.open(&jobs);
        Self { jobs, engine, fuse, performer, _logs: dir }
    }

    async fn deliver(&self, number: u8, event: Event) -> shell::Answer<Job> {
        self.jobs.deliver(id(number), event, Terms::default()).await
    }

    /// A panic in the handler of one job's next event.
    async fn panics(&self, number: u8) {
        self.fuse.lit.store(true, Ordering::SeqCst);
        let answer = self.deliver(number, raised()).await;
        assert!(matches!(answer, Err(shell::Error::Lost)), "{answer:?}");
    }

    fn job(&self, number: u8) -> Arc<Job> {
        self.jobs.published().read(id(number)).unwrap().expect("it was submitted")
    }

    async fn until(&self, number: u8, wanted: impl Fn(&Job) -> bool) -> Arc<Job> {
        let mut changes = self.jobs.published().watch(id(number));
        loop {
            let job = self.job(number);
            if wanted(&job) {
                return job;
            }
            let changed = tokio::time::timeout(Duration::from_secs(3_600), changes.changed()).await;
            assert!(changed.is_ok(), "it never came to be as wanted: {job:#?}");
        }
    }

    async fn until_running(&self, numbers: impl Iterator<Item = u8>) {
        join_all(numbers.map(|number| self.until(number, is_running))).await;
    }

    fn drives(&self, number: u8) -> usize {
        let performed = self.performer.performed.lock();
        performed.iter().filter(|(job, effect)| *job == id(number) && is_drive(effect)).count()
    }

    /// The others run, were never started again, and end well when their work does.
    async fn others_did_not_notice(&self) {
        for number in (1..=JOBS).filter(|number| *number != VICTIM) {
            assert!(is_running(&self.job(number)), "{number}");
            assert_eq!(self.drives(number), 1, "the actor of {number} was not started again");
            assert_eq!(self.engine.counts(key(number)).stops, (0, 0));
            self.engine.end(key(number), Ending::Code(0));
            let job = self.until(number, |job| job.outcome().is_some()).await;
            assert_eq!(job.outcome().map(|outcome| outcome.ending.cause), Some(Cause::Success));
            assert_eq!(job.attempt, 1);
        }
        assert_eq!(self.engine.starts_max(), 1);
    }
}

fn raised() -> Event {
    Event::EventRaised { name: "lunch".into(), data: serde_json::Value::Null }
}

fn is_running(job: &Job) -> bool {
    matches!(job.phase, Phase::Running { .. })
}

fn is_drive(effect: &Effect) -> bool {
    matches!(effect, Effect::Drive { .. })
}

fn never(_: &Effect) -> bool {
    false
}

#[test]
fn a_panic_in_a_handler_costs_its_job_one_event() {
    world((0, never), async |world| {
        world.until_running(1..=JOBS).await;
        let before = world.job(VICTIM);
        world.panics(VICTIM).await;
        assert_eq!(world.job(VICTIM), before, "the last commit stands");
        let after = world.deliver(VICTIM, raised()).await.unwrap().state.unwrap();
        assert_eq!((after.revision, after.events_received), (before.revision + 1, 1));
        assert_eq!(world.drives(VICTIM), 2, "its actor was started again and resumed");
        assert_eq!(world.engine.counts(key(VICTIM)).starts, (1, 1), "its attempt was not");
        world.engine.end(key(VICTIM), Ending::Code(0));
        let job = world.until(VICTIM, |job| job.outcome().is_some()).await;
        assert_eq!(job.outcome().map(|outcome| outcome.ending.cause), Some(Cause::Success));
        world.others_did_not_notice().await;
    });
}

#[test]
fn a_job_whose_handler_keeps_panicking_is_quarantined_and_its_attempt_is_gone() {
    world((0, never), async |world| {
        world.until_running(1..=JOBS).await;
        // What the fleet reports after each restart may be what panics instead.
        for _ in 0..=Intensity::default().restarts_max {
            world.fuse.lit.store(true, Ordering::SeqCst);
            while world.fuse.lit.load(Ordering::SeqCst) {
                let _lost_or_late = world.deliver(VICTIM, raised()).await;
            }
        }
        let job = world.until(VICTIM, |job| job.outcome().is_some()).await;
        let outcome = job.outcome().unwrap();
        assert_eq!((outcome.state.name(), outcome.ending.cause), ("failed", Cause::Quarantined));
        assert!(outcome.ending.message.contains("a bad rule"), "{}", outcome.ending.message);
        world.engine.until(|engine| !engine.present().contains(&key(VICTIM))).await;
        world.others_did_not_notice().await;
    });
}

#[test]
fn a_panic_while_an_attempt_is_started_neither_loses_nor_repeats_it() {
    world((3, is_drive), async |world| {
        world.until_running(1..=JOBS).await;
        assert_eq!(world.drives(VICTIM), 4, "three panics, and one that went well");
        assert_eq!(world.engine.counts(key(VICTIM)).starts, (1, 1));
        assert_eq!(world.job(VICTIM).attempt, 1);
        world.others_did_not_notice().await;
    });
}

#[test]
fn a_panic_after_the_end_is_recorded_changes_nothing_of_it() {
    world((1, |effect| matches!(effect, Effect::Discard { .. })), async |world| {
        world.until_running(1..=JOBS).await;
        world.engine.end(key(VICTIM), Ending::Code(0));
        world.until(VICTIM, |job| job.outcome().is_some()).await;
        // The fleet repeats the report, and is told again that the attempt may go.
        world.engine.until(|engine| !engine.present().contains(&key(VICTIM))).await;
        let job = world.job(VICTIM);
        assert_eq!(
            (job.outcome().map(|outcome| outcome.ending.cause), job.attempts.len()),
            (Some(Cause::Success), 1)
        );
        world.others_did_not_notice().await;
    });
}

#[test]
fn a_job_whose_every_effect_panics_is_over_and_not_stopping_for_ever() {
    world((0, never), async |world| {
        world.until_running(1..=JOBS).await;
        *world.performer.panics.lock() = (u32::MAX, |_| true);
        world.deliver(VICTIM, Event::CancelRequested).await.unwrap();
        let job = world.until(VICTIM, |job| job.outcome().is_some()).await;
        assert_eq!(
            job.outcome().map(|outcome| outcome.ending.cause),
            Some(Cause::Canceled),
            "as was answered"
        );
        // Nobody told the fleet to: it asks what became of the job.
        world.engine.until(|engine| !engine.present().contains(&key(VICTIM))).await;
        world.others_did_not_notice().await;
    });
}

#[test]
fn a_quarantined_job_says_how_it_is_released_and_runs_again() {
    world((0, never), async |world| {
        world.until_running(1..=JOBS).await;
        *world.performer.panics.lock() = (u32::MAX, |_| true);
        world.panics(VICTIM).await;
        let job = world.until(VICTIM, |job| job.outcome().is_some()).await;
        let outcome = job.outcome().unwrap();
        assert_eq!((outcome.state.name(), outcome.ending.cause), ("failed", Cause::Quarantined));
        assert!(outcome.ending.message.contains("retry the job"), "{}", outcome.ending.message);
        world.engine.until(|engine| !engine.present().contains(&key(VICTIM))).await;
        world.others_did_not_notice().await;

        *world.performer.panics.lock() = (0, never);
        world.deliver(VICTIM, Event::RetryRequested).await.unwrap();
        let second = AttemptKey::new(id(VICTIM), 2);
        world.until(VICTIM, |job| is_running(job) && job.attempt == 2).await;
        world.engine.end(second, Ending::Code(0));
        let job = world.until(VICTIM, |job| job.outcome().is_some()).await;
        assert_eq!(job.outcome().map(|outcome| outcome.ending.cause), Some(Cause::Success));
    });
}
