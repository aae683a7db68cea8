//! Everything around a fleet: the engine, the jobs' ears, the ledger and the log files, all in memory and in
//! virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dogwatch_actors::admission::{Rules, Ticket};
use dogwatch_actors::clock::{Timestamp, TokioClock};
use dogwatch_actors::fleet::{
    Ahead, Budget, Drive, Fleet, FleetHandle, Ledger, LogSink, LogSinks, NoFiles, Options, Report, Reports,
    Request, Standing,
};
use dogwatch_actors::id::{AttemptKey, InstallationId, JobId};
use dogwatch_actors::job::spec::{Network, Resources, SecurityProfile, StopSignal};
use dogwatch_actors::runtime::{LogLine, Plan};
use dogwatch_actors::store;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::engine::Engine;

/// How long any condition may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(7_200);

/// The jobs' ears.
#[derive(Default)]
pub(crate) struct Ears {
    /// Whom to let start what is prepared, as jobs do.
    fleet: Mutex<Option<FleetHandle>>,
    heard: Mutex<Vec<(Instant, AttemptKey, Report)>>,
    panics: AtomicBool,
}

impl Reports for Ears {
    fn report(&self, key: AttemptKey, report: Report) {
        if report == Report::Prepared {
            if let Some(fleet) = &*self.fleet.lock() {
                fleet.start(key);
            }
            return;
        }
        self.heard.lock().push((Instant::now(), key, report));
        assert!(!self.panics.swap(false, Ordering::SeqCst), "a job's mailbox panicked, as ordered");
    }
}

/// Everything is active but what is said to be over.
#[derive(Default)]
pub(crate) struct Books {
    over: Mutex<BTreeSet<AttemptKey>>,
    damaged: AtomicBool,
}

impl Ledger for Books {
    fn standing(&self, key: AttemptKey) -> store::Result<Standing> {
        if self.damaged.load(Ordering::SeqCst) {
            return Err(store::Error::Corrupt("as ordered".into()));
        }
        Ok(if self.over.lock().contains(&key) { Standing::Over } else { Standing::Active })
    }
}

/// Log files in memory.
#[derive(Default)]
pub(crate) struct Files(Arc<Mutex<BTreeMap<AttemptKey, Vec<LogLine>>>>);

struct File(AttemptKey, Arc<Mutex<BTreeMap<AttemptKey, Vec<LogLine>>>>);

impl LogSinks for Files {
    fn open(&self, key: AttemptKey) -> io::Result<Option<Box<dyn LogSink>>> {
        Ok(Some(Box::new(File(key, Arc::clone(&self.0)))))
    }
}

impl LogSink for File {
    fn last_nanos(&self) -> Option<i128> {
        self.1.lock().get(&self.0)?.last().map(|line| line.at_nanos)
    }

    fn append(&mut self, line: &LogLine) -> io::Result<()> {
        self.1.lock().entry(self.0).or_default().push(line.clone());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) fleet: FleetHandle,
    pub(crate) budget: Budget,
    ears: Arc<Ears>,
    books: Arc<Books>,
    files: Arc<Files>,
}

/// Runs a test in a world of its own, in virtual time on one thread.
pub(crate) fn world<T: Future<Output = ()>>(slots: usize, test: impl FnOnce(World) -> T) {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().expect("a runtime of one thread")
    };
    actix::System::with_tokio_rt(runtime).block_on(async move {
        let engine = Engine::new();
        let budget = Budget { attempts_max: slots, ..Budget::default() };
        let (ears, books, files) = (Arc::<Ears>::default(), Arc::default(), Arc::default());
        let fleet = Fleet::start(options(&engine, budget, &ears, &books, &files), None);
        *ears.fleet.lock() = Some(fleet.clone());
        test(World { engine, fleet, budget, ears, books, files }).await;
    });
}

/// What a fleet over `engine` alone is made of; nobody listens to it.
pub(crate) fn quiet(engine: &Arc<Engine>) -> Options {
    options(engine, Budget::default(), &Arc::default(), &Arc::default(), &Arc::default())
}

fn options(
    engine: &Arc<Engine>,
    budget: Budget,
    ears: &Arc<Ears>,
    books: &Arc<Books>,
    files: &Arc<Files>,
) -> Options {
    Options {
        runtimes: vec![Arc::clone(engine) as _],
        budget,
        rules: Rules::default(),
        reports: Arc::clone(ears) as _,
        ledger: Arc::clone(books) as _,
        logs: Arc::clone(files) as _,
        files: Arc::new(NoFiles),
        network: None,
        clock: Arc::new(TokioClock::starting_at(Timestamp::from_millis(1_800_000_000_000))),
    }
}

pub(crate) fn key(job: u8) -> AttemptKey {
    AttemptKey::new(JobId::from_bytes([job; 16]), 1)
}

pub(crate) fn plan(key: AttemptKey) -> Arc<Plan> {
    Arc::new(Plan {
        key,
        installation: InstallationId::from_bytes([9; 16]),
        image: Some("busybox".to_owned()),
        entrypoint: Vec::new(),
        args: Vec::new(),
        env: BTreeMap::new(),
        working_dir: None,
        labels: BTreeMap::new(),
        resources: Resources::default(),
        network: Network::default(),
        security_profile: SecurityProfile::default(),
        user: None,
        read_only_root: false,
        registry_credentials: Vec::new(),
        stop_signal: StopSignal::default(),
        service_port: None,
        log_path: PathBuf::new(),
        files: Default::default(),
        group: dogwatch_actors::runtime::Group::default(),
    })
}

impl World {
    /// A new fleet over the same engine, jobs and files, after the old one has ended.
    pub(crate) async fn restart(&mut self) {
        let mut view = self.fleet.watch();
        self.fleet.shutdown();
        while view.changed().await.is_ok() {}
        self.forget_reports();
        self.fleet =
            Fleet::start(options(&self.engine, self.budget, &self.ears, &self.books, &self.files), None);
        *self.ears.fleet.lock() = Some(self.fleet.clone());
    }

    pub(crate) fn start(&self, key: AttemptKey) {
        self.fleet.drive(plan(key), "fake".to_owned(), Drive::Start);
    }

    pub(crate) fn attach(&self, key: AttemptKey) {
        self.fleet.drive(plan(key), "fake".to_owned(), Drive::Attach);
    }

    pub(crate) fn request(&self, key: AttemptKey, since: i64) {
        self.request_ahead(key, since, Ahead::No);
    }

    pub(crate) fn request_ahead(&self, key: AttemptKey, since: i64, ahead: Ahead) {
        let (runtime, since) = ("fake".to_owned(), Timestamp::from_millis(since));
        self.fleet.request(Request {
            key,
            runtime,
            resources: Resources::default(),
            since,
            ahead,
            ticket: Ticket::default(),
        });
    }

    pub(crate) fn stop(&self, key: AttemptKey, grace_seconds: u64) {
        self.fleet.stop(key, StopSignal::Sigterm, Duration::from_secs(grace_seconds));
    }

    pub(crate) fn finish(&self, key: AttemptKey) {
        self.books.over.lock().insert(key);
    }

    pub(crate) fn damage_ledger(&self, damaged: bool) {
        self.books.damaged.store(damaged, Ordering::SeqCst);
    }

    pub(crate) fn panic_at_next_report(&self) {
        self.ears.panics.store(true, Ordering::SeqCst);
    }

    pub(crate) fn forget_reports(&self) {
        self.ears.heard.lock().clear();
    }

    /// What the attempt's job has heard.
    pub(crate) fn heard(&self, key: AttemptKey) -> Vec<Report> {
        self.heard_at(key).into_iter().map(|(_, report)| report).collect()
    }

    /// The same, with the moments.
    pub(crate) fn heard_at(&self, key: AttemptKey) -> Vec<(Instant, Report)> {
        let heard = self.ears.heard.lock();
        heard.iter().filter(|(_, of, _)| *of == key).map(|(at, _, report)| (*at, report.clone())).collect()
    }

    /// The saved log of an attempt.
    pub(crate) fn log(&self, key: AttemptKey) -> Vec<String> {
        let files = self.files.0.lock();
        let lines = files.get(&key).map_or(&[][..], Vec::as_slice);
        lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
    }

    /// Lets virtual time pass until `condition` holds.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            assert!(began.elapsed() < PATIENCE, "never came to pass: {what}; {:?}", self.fleet.snapshot());
            // Fine steps at first, for what is measured; coarse ones later, so that a failure comes quickly.
            let fine = began.elapsed() < Duration::from_secs(60);
            self.pass(Duration::from_millis(if fine { 5 } else { 1_000 })).await;
        }
    }

    /// Lets virtual time pass until the job hears a report, and answers the first such.
    pub(crate) async fn hears(
        &self,
        key: AttemptKey,
        what: &str,
        wanted: impl Fn(&Report) -> bool,
    ) -> Report {
        self.until(what, |world| world.heard(key).iter().any(&wanted)).await;
        self.heard(key).into_iter().find(wanted).expect("it was heard just now")
    }

    pub(crate) async fn hears_started(&self, key: AttemptKey) {
        self.hears(key, "started", |report| matches!(report, Report::Started(_))).await;
    }

    pub(crate) async fn hears_end(&self, key: AttemptKey) -> Report {
        self.hears(key, "an end", Report::is_terminal).await
    }

    /// Lets virtual time pass.
    pub(crate) async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}
