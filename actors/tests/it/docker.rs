//! The docker runtime on a real engine.
//!
//! They need an engine and the image `dogwatch-test`, which `cargo xtask test` makes ready. Without an engine
//! they fail; `cargo xtask test --without-docker` leaves them out by the name of this module.

mod conformance;
mod engine_away;
mod life;
mod logs;
mod network;
mod registry;
mod start_faults;
mod usage;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use dogwatch_actors::clock::{Clock as _, SystemClock};
use dogwatch_actors::id::{AttemptKey, Ids as _, InstallationId, RandomIds};
use dogwatch_actors::job::spec::{Network, Resources, SecurityProfile, StopSignal};
use dogwatch_actors::runtime::docker::{DockerOptions, DockerRuntime};
use dogwatch_actors::runtime::{Exit, Observation, Plan, Result, Runtime as _};

/// The image that `cargo xtask test` imports.
const IMAGE: &str = "dogwatch-test:latest";
/// What marks a container as the foreign one of a rig, so that it can be cleared away.
const FOREIGN: &str = "dogwatch-test-foreign";
/// Long enough for a loaded machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// One installation on the engine. Everything it created is removed in the end, also after a failure.
struct Rig {
    installation: InstallationId,
    docker: DockerRuntime,
}

impl Rig {
    async fn new() -> Self {
        let installation = RandomIds.installation_id();
        let docker = connect(installation);
        let health = docker.health().await;
        assert!(health.is_ok(), "a container engine is needed; run `cargo xtask test`: {health:?}");
        Self { installation, docker }
    }

    /// A plan of a new attempt that runs `script` in a shell.
    fn plan(&self, script: &str) -> Plan {
        self.plan_of(["sh", "-c", script])
    }

    fn plan_of<const N: usize>(&self, args: [&str; N]) -> Plan {
        Plan {
            key: AttemptKey::new(RandomIds.job_id(SystemClock.now()), 1),
            installation: self.installation,
            image: Some(IMAGE.into()),
            entrypoint: Vec::new(),
            args: args.map(str::to_owned).to_vec(),
            env: BTreeMap::new(),
            working_dir: None,
            labels: BTreeMap::new(),
            resources: Resources::default(),
            // Without a network an engine starts a container in half the time.
            network: Network::None,
            security_profile: SecurityProfile::Baseline,
            user: None,
            read_only_root: false,
            registry_credentials: Vec::new(),
            stop_signal: StopSignal::Sigterm,
            service_port: None,
            log_path: "/nowhere".into(),
            files: Default::default(),
            group: dogwatch_actors::runtime::Group::default(),
        }
    }

    /// Creates and starts.
    async fn start(&self, plan: &Plan) -> Result<()> {
        self.docker.create(plan).await?;
        self.docker.start(plan.key).await
    }

    /// Waits for the end.
    async fn exit(&self, key: AttemptKey) -> Exit {
        let ended = async {
            loop {
                self.docker.wait(key, PATIENCE).await;
                if let Observation::Exited(exit) = self.docker.observe(key).await.expect("the engine answers")
                {
                    return exit;
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("it ends in time")
    }

    /// A container of somebody else, where this attempt would be; its id.
    fn make_foreign(&self, key: AttemptKey) -> String {
        let label = format!("{FOREIGN}={}", self.installation);
        docker(&["create", "--name", &name_of(key), "--label", &label, IMAGE, "true"])
    }

    /// Runs it to its end.
    async fn run(&self, plan: &Plan) -> Exit {
        self.start(plan).await.expect("it starts");
        self.exit(plan.key).await
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for label in ["dev.dogwatch.installation", FOREIGN] {
            let filter = format!("label={label}={}", self.installation);
            let list = docker(&["ps", "--all", "--quiet", "--filter", &filter]);
            for id in list.split_whitespace() {
                docker(&["rm", "--force", "--volumes", id]);
            }
        }
    }
}

fn connect(installation: InstallationId) -> DockerRuntime {
    DockerRuntime::connect(options(installation)).expect("the address is usable")
}

fn options(installation: InstallationId) -> DockerOptions {
    DockerOptions { name_prefix: "dogwatch-it".into(), ..DockerOptions::new(installation) }
}

fn name_of(key: AttemptKey) -> String {
    key.name("dogwatch-it")
}

/// What the engine's own client prints; empty when it fails.
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("the docker client is installed");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
