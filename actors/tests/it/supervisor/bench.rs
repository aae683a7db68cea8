//! A supervisor over real processes in a temporary directory, which can be stopped and started again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::handle::Handle;
use dogwatch_actors::id::{AttemptKey, Ids as _, InstallationId, JobId, RandomIds};
use dogwatch_actors::job::spec::Spec;
use dogwatch_actors::job::view::JobView;
use dogwatch_actors::orchestration::Registry;
use dogwatch_actors::runtime::process::{ProcessOptions, ProcessRuntime, Shim};
use dogwatch_actors::secret::Keyring;
use dogwatch_actors::store::{self, Kind};
use dogwatch_actors::supervisor::Supervisor;

/// How long anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Bench {
    dir: tempfile::TempDir,
    keyring: Keyring,
    installation: InstallationId,
}

impl Bench {
    /// Runs a test inside an actix system.
    pub(crate) fn run(test: impl AsyncFnOnce(&Self)) {
        let dir = tempfile::tempdir().unwrap();
        let bench = Self { dir, keyring: Keyring::new([7; 32]), installation: RandomIds.installation_id() };
        actix::System::new().block_on(async {
            tokio::time::timeout(PATIENCE * 2, test(&bench)).await.expect("the test ends in time");
        });
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn dir(&self) -> String {
        self.dir.path().display().to_string()
    }

    /// Starts a supervisor on the directory.
    pub(crate) async fn start(&self) -> Supervisor {
        self.start_with(Registry::new()).await
    }

    /// Starts a supervisor that knows these orchestrations.
    pub(crate) async fn start_with(&self, registry: Registry) -> Supervisor {
        self.start_as(registry, false).await
    }

    /// Starts one whose other code workers have.
    pub(crate) async fn start_for_workers(&self, registry: Registry) -> Supervisor {
        self.start_as(registry, true).await
    }

    async fn start_as(&self, registry: Registry, workers: bool) -> Supervisor {
        let options = ProcessOptions::new(self.path("attempts"), self.installation);
        let runtime = ProcessRuntime::new(options, Shim::executable(shim())).unwrap();
        Supervisor::builder()
            .store(store::open(&self.path("store"), Kind::Sled).unwrap())
            .runtime(Arc::new(runtime))
            .keyring(self.keyring.clone())
            .installation(self.installation)
            .logs_dir(self.path("logs"))
            .orchestrations(registry)
            .workers(workers)
            .start()
            .await
            .unwrap()
    }

    /// The token that the attempt finds in its environment.
    pub(crate) fn token(&self, job: JobId, attempt: u32) -> (AttemptKey, String) {
        let key = AttemptKey::new(job, attempt);
        (key, self.keyring.callback_token(key).expose().to_owned())
    }

    /// Waits until something is so that nothing tells of.
    pub(crate) async fn until_true(&self, is_it: impl Fn() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !is_it() {
            assert!(tokio::time::Instant::now() < deadline, "it never came to be so");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the job is as wanted.
    pub(crate) async fn until(
        &self,
        handle: &Handle,
        id: JobId,
        wanted: impl Fn(&JobView) -> bool,
    ) -> JobView {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let job = handle.job(id).unwrap();
            if wanted(&job) {
                return job;
            }
            assert!(tokio::time::Instant::now() < deadline, "the job never came to be as wanted: {job:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A process job that runs a shell script.
pub(crate) fn shell(script: &str) -> Spec {
    Spec::process(["/bin/sh", "-c", script])
}

fn shim() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_dogwatch-shim")).to_path_buf()
}
