//! Attempts as processes of this host.
//!
//! Responsible for: everything that [`Runtime`] promises, without an engine. Not responsible for isolation: an
//! attempt runs as our own user and sees the host. Limits hold where control groups may be made (see
//! [`Runtime::health`]).
//!
//! Each attempt that runs has a [`Shim`] to itself, a small process that starts it, writes its log and records its
//! end (`shims.rs` says which), and a file `<dir>/<installation>/dogwatch-<job>-<attempt>` with its record (`record.rs`). What
//! is true stands in that and `/proc` alone, so that a new supervisor knows exactly what the old one did; what we or our
//! shims have just written there is not read again.
//!
//! Invariants beyond those of the trait:
//! - our end, orderly or not, neither stops an attempt nor loses its exit code (under systemd this needs
//!   `KillMode=process`, or the whole unit's processes are killed with us);
//! - a process id is believed only together with its start time and its boot;
//! - nothing of an attempt outlives its first process, as in a container;
//! - secrets are on the disk only between create and start, readable by our user alone.

mod attempt;
mod cgroup;
mod control;
mod files;
mod kill;
mod proc;
mod record;
mod shim;
mod shim_end;
mod shims;
mod spares;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::time::Instant;

use self::attempt::{Attempt, PREFIX, Phase, outcome};
use self::control::{Sent, StopOrder};
use self::record::{Claim, Orders, Owner};
use self::shims::{Known, Shims, Stage};
use self::spares::Spares;
use crate::files::Pattern;
use crate::id::{AttemptKey, InstallationId};
use crate::job::spec::StopSignal;
use crate::limits::{PROCESS_KILL_MAX, PROCESS_START_MAX};
use crate::runtime::files::{Pieces, Placed, given_by};
use crate::runtime::{Error, Health, Hint, LogLine, Observation, Plan, Result, Runtime, StartFault};

pub use shim::Shim;

/// How often is looked for a change that nothing announces.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The variables of our own environment that attempts get: what programs need to run at all, and nothing that
/// could be a secret of ours.
const INHERITED: [&str; 10] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];

/// How a [`ProcessRuntime`] is set up.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// The folder of the attempts' records; made when it is not there.
    pub dir: PathBuf,
    /// Whose attempts these are.
    pub installation: InstallationId,
    /// The variables of our own environment that attempts get too; the job's own win. Default: `PATH`, `HOME`
    /// and the like, nothing that could be a secret.
    pub inherited_env: Vec<String>,
}

impl ProcessOptions {
    /// The defaults.
    pub fn new(dir: impl Into<PathBuf>, installation: InstallationId) -> Self {
        Self { dir: dir.into(), installation, inherited_env: INHERITED.map(String::from).to_vec() }
    }
}

/// The runtime of processes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ProcessRuntime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    options: ProcessOptions,
    /// The present boot.
    boot: Arc<str>,
    shims: Shims,
    spares: Arc<Spares>,
    groups: Option<cgroup::Groups>,
}

impl ProcessRuntime {
    /// Opens the runtime: makes its folder and clears away what a crash left half made.
    pub fn new(options: ProcessOptions, shim: Shim) -> Result<Self> {
        let unavailable = |message| Error::Unavailable { runtime: "process".into(), message };
        let boot = proc::boot_id()
            .map_err(|error| unavailable(format!("the boot is unknown: {error}; mount /proc")))?;
        let root = open_root(&options, &boot).map_err(|error| {
            unavailable(format!("{} cannot be used: {error}; check its permissions", options.dir.display()))
        })?;
        files::clear(&root);
        let groups = cgroup::Groups::detect(options.installation).ok();
        let (shims, spares) = (Shims::new(shim, root.clone()), Arc::new(Spares::new(&root)));
        Ok(Self { inner: Arc::new(Inner { root, options, boot: boot.into(), shims, spares, groups }) })
    }

    fn attempt(&self, key: AttemptKey) -> Attempt {
        let inner = &self.inner;
        Attempt::new(inner.root.clone(), inner.options.installation, Arc::clone(&inner.boot), key)
    }

    async fn phase(&self, key: AttemptKey) -> Result<Phase> {
        let attempt = self.attempt(key);
        blocking(move || attempt.phase()).await
    }

    /// The phase once a shim that is just starting the attempt has reported.
    async fn settled(&self, key: AttemptKey) -> Result<Phase> {
        let until = Instant::now() + PROCESS_START_MAX;
        loop {
            match self.phase(key).await? {
                Phase::Starting(_) if Instant::now() < until => tokio::time::sleep(LOOK_EVERY / 2).await,
                phase => return Ok(phase),
            }
        }
    }

    /// Waits until the phase shows an end; false when it does not by then.
    async fn ends_by(&self, key: AttemptKey, until: Instant) -> Result<bool> {
        loop {
            if !matches!(self.phase(key).await?, Phase::Starting(_) | Phase::Running(..)) {
                // Its shim says so in a moment, and until then the last that it said is that it runs.
                self.wait(key, until.saturating_duration_since(Instant::now())).await;
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.wait(key, left).await;
        }
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn name(&self) -> &str {
        "process"
    }

    async fn create(&self, plan: &Plan) -> Result<()> {
        if !plan.group.is_plain() {
            let message =
                "a process has no containers or volumes beside it; run the job on `docker`".to_owned();
            return Err(Error::Start { fault: StartFault::Rejected, message });
        }
        let attempt = self.attempt(plan.key);
        let owner = Owner {
            installation: self.inner.options.installation,
            key: plan.key,
            port: plan.service_port,
            boot: self.inner.boot.to_string(),
        };
        let orders = self.inner.orders(plan, attempt.mark())?;
        let draft = self.inner.spares.draft();
        let claimed = blocking(move || {
            let claimed = attempt.record.claim(&draft, &owner, &orders);
            match claimed.map_err(|error| attempt.unavailable(&error))? {
                Claim::Won => Ok(Claim::Won),
                // By whom? Ours is ours, however it came to be.
                Claim::Taken => match attempt.phase()? {
                    Phase::Foreign => Err(foreign(&attempt)),
                    _ => Ok(Claim::Taken),
                },
            }
        });
        if claimed.await? == Claim::Won {
            self.inner.shims.created(plan.key);
        }
        Ok(())
    }

    async fn put_files(&self, plan: &Plan, files: &[Placed]) -> Result<()> {
        let (directory, placed) = (files::directory(&self.inner.root, plan.key), files.to_vec());
        blocking(move || files::put(&directory, &placed)).await
    }

    async fn take_files(&self, plan: &Plan, patterns: &[Pattern]) -> Result<Pieces> {
        let (directory, patterns) = (files::directory(&self.inner.root, plan.key), patterns.to_vec());
        Ok(given_by(move |outlet| files::take(&directory, &patterns, outlet)))
    }

    async fn start(&self, key: AttemptKey) -> Result<()> {
        let attempt = self.attempt(key);
        let is_created = matches!(self.inner.shims.known(key), Some(Known::Created))
            || matches!(self.phase(key).await?, Phase::Created);
        if is_created {
            let stage = self.inner.shims.launch(&attempt).await?;
            match (stage, self.inner.shims.known(key)) {
                (Stage::Started(_), _) => return Ok(()),
                // Over before there was anything to tell.
                (_, Some(Known::Ended(end))) => return outcome(end).map(drop),
                _ => {}
            }
        }
        match self.settled(key).await? {
            Phase::Absent => {
                let message = format!("attempt {key} is not there to be started; create it first");
                Err(Error::Transient { message })
            }
            Phase::Foreign => Err(foreign(&attempt)),
            Phase::Created => Err(Error::Transient { message: shim_end::complaint(&attempt) }),
            Phase::Starting(_) => Err(attempt.unavailable(&"its start takes too long")),
            Phase::Running(..) => Ok(()),
            Phase::Ended(_) | Phase::Lost(..) | Phase::Outlived(..) => self.observe(key).await.map(drop),
        }
    }

    async fn observe(&self, key: AttemptKey) -> Result<Observation> {
        match self.inner.shims.known(key) {
            Some(Known::Created) => return Ok(Observation::Created),
            Some(Known::Running(running)) => return Ok(Observation::Running(running)),
            Some(Known::Ended(end)) => return outcome(end),
            None => {}
        }
        let until = Instant::now() + PROCESS_START_MAX;
        loop {
            let attempt = self.attempt(key);
            let looked = blocking(move || match attempt.phase()? {
                Phase::Starting(_) => Ok(None),
                phase => attempt.observation(phase).map(Some),
            });
            match looked.await? {
                Some(observation) => return Ok(observation),
                None if Instant::now() < until => tokio::time::sleep(LOOK_EVERY / 2).await,
                None => return Err(self.attempt(key).unavailable(&"it is just being started")),
            }
        }
    }

    async fn wait(&self, key: AttemptKey, patience: Duration) {
        let until = Instant::now().checked_add(patience);
        let shim = loop {
            // Asked before the phase: once ours does not serve it any more, its end is recorded.
            if let Some(mut stage) = self.inner.shims.serving(key) {
                let left = until.map_or(MONTH, |until| until.saturating_duration_since(Instant::now()));
                let over = stage.wait_for(|stage| *stage == Stage::Over);
                match tokio::time::timeout(left, over).await {
                    // Nobody listens to it any more, so that it ends with the attempt.
                    Ok(Err(_)) => {}
                    Ok(Ok(_)) | Err(_) => return,
                }
            }
            match self.phase(key).await {
                Ok(Phase::Starting(started) | Phase::Running(_, started, _)) => break started.shim,
                // It may be started any moment, and end.
                Ok(Phase::Created) | Err(_) if until.is_none_or(|until| Instant::now() < until) => {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                _ => return,
            }
        };
        drop(tokio::time::timeout(patience, shim_end::ended(&shim, &self.inner.boot)).await);
    }

    async fn stop(&self, key: AttemptKey, signal: StopSignal, grace: Duration) -> Result<()> {
        let attempt = self.attempt(key);
        let started = match self.settled(key).await? {
            Phase::Starting(started) | Phase::Running(_, started, _) => started,
            Phase::Lost(..) | Phase::Outlived(..) => return self.observe(key).await.map(drop),
            Phase::Absent | Phase::Foreign | Phase::Created | Phase::Ended(_) => return Ok(()),
        };
        let grace = if signal == StopSignal::Sigkill { Duration::ZERO } else { grace };
        let order = StopOrder { name: key.name(PREFIX), signal: signal.number(), grace };
        let control = attempt.control(&started);
        let sent = blocking(move || Ok(order.send(&control))).await?;
        if matches!(sent, Ok(Sent::Yes)) {
            let patience = grace.saturating_add(PROCESS_KILL_MAX);
            let until = Instant::now().checked_add(patience).unwrap_or_else(|| Instant::now() + MONTH);
            if self.ends_by(key, until).await? {
                return Ok(());
            }
        }
        // The shim does not obey: gone meanwhile, or sick. Then without it, and looked at once more: it may have
        // finished a moment ago, and until it was dismissed could have had another attempt by now.
        self.inner.shims.dismiss(key);
        let (started, spawned) = match self.phase(key).await? {
            Phase::Starting(started) => (started, None),
            Phase::Running(_, started, spawned) => (started, Some(spawned)),
            _ => return self.observe(key).await.map(drop),
        };
        let doomed = attempt.clone();
        blocking(move || doomed.kill(&started, spawned.as_ref()).map_err(|error| doomed.unavailable(&error)))
            .await?;
        match self.observe(key).await {
            Ok(Observation::Running(_)) => Err(attempt.unavailable(&"it survives being killed")),
            Ok(_) | Err(Error::Start { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, key: AttemptKey) -> Result<()> {
        let attempt = self.attempt(key);
        let has_ended = matches!(self.inner.shims.known(key), Some(Known::Ended(_)));
        self.inner.shims.forget(key);
        let (directory, spares) = (files::directory(&self.inner.root, key), Arc::clone(&self.inner.spares));
        blocking(move || {
            // First what only the record leads to.
            let files = || files::remove(&directory);
            if has_ended {
                files().and_then(|()| attempt.remove_ended(&spares))
            } else {
                attempt.remove(files)
            }
        })
        .await
    }

    fn removes_at_once(&self) -> bool {
        true
    }

    /// Leaves out what cannot be read just now, with a warning: one sick attempt must not hide all others. What is
    /// not listed is not thereby absent; observe it.
    async fn list(&self) -> Result<Vec<(AttemptKey, Observation)>> {
        let runtime = self.clone();
        let keys = blocking(move || runtime.inner.keys()).await?;
        let mut listed = Vec::with_capacity(keys.len());
        for key in keys {
            match self.observe(key).await {
                Ok(Observation::Absent) => {}
                Ok(observation) => listed.push((key, observation)),
                // It exists, and never ran.
                Err(Error::Start { .. }) => listed.push((key, Observation::Created)),
                Err(error) => tracing::warn!(attempt = %key, %error, "an attempt cannot be observed"),
            }
        }
        Ok(listed)
    }

    /// There are none to give: [`Runtime::wait`] is exact here.
    async fn hints(&self) -> Result<BoxStream<'static, Hint>> {
        Ok(stream::pending().boxed())
    }

    async fn address(&self, _: AttemptKey, port: u16) -> Result<Option<SocketAddr>> {
        Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
    }

    fn keeps_logs(&self) -> bool {
        true
    }

    async fn logs(
        &self,
        key: AttemptKey,
        _after_nanos: Option<i128>,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        let message = format!("the log of attempt {key} is in its file; read it there");
        Err(Error::Transient { message })
    }

    async fn health(&self) -> Result<Health> {
        let kernel = rustix::system::uname();
        let memory = rustix::system::sysinfo();
        let enforced = self.inner.groups.as_ref().map(cgroup::Groups::enforced).unwrap_or_default();
        let limits = if enforced.is_empty() {
            "limits of cpu, memory and pids are not enforced: no control group may be made here".to_owned()
        } else {
            format!("limits enforced: {}", enforced.join(", "))
        };
        Ok(Health {
            version: format!("Linux {} ({limits})", kernel.release().to_string_lossy()),
            cpus: std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64),
            memory_bytes: u64::from(memory.mem_unit).saturating_mul(memory.totalram),
        })
    }
}

/// Longer than anybody waits, short enough to be added to any time.
const MONTH: Duration = Duration::from_secs(30 * 86_400);

impl Inner {
    /// What the shim is to do for a plan.
    fn orders(&self, plan: &Plan, mark: String) -> Result<Orders> {
        let rejected = |message: &str| Error::Start { fault: StartFault::Rejected, message: message.into() };
        if plan.image.is_some() {
            return Err(rejected(
                "the process runtime runs no images; choose another runtime, or drop `image`",
            ));
        }
        let argv: Vec<String> = plan.entrypoint.iter().chain(&plan.args).cloned().collect();
        if argv.is_empty() {
            return Err(rejected("there is no command; give `entrypoint` or `args`"));
        }
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .map_err(|_| rejected("a relative path cannot be resolved: the current directory is gone"))
        };
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        for name in &self.options.inherited_env {
            env.extend(std::env::var(name).ok().map(|value| (name.clone(), value)));
        }
        env.extend(plan.env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())));
        env.extend(plan.service_port.map(|port| ("PORT".to_owned(), port.to_string())));
        env.insert(kill::MARK.to_owned(), mark);
        // An attempt with files starts among them, unless it is told where to start.
        let own = (!plan.files.is_empty()).then(|| files::directory(&self.root, plan.key));
        env.extend(own.iter().map(|own| (files::VARIABLE.to_owned(), own.display().to_string())));
        let own = own.unwrap_or_else(|| ".".into());
        let groups = self.groups.as_ref();
        Ok(Orders {
            argv,
            env,
            working_dir: absolute(plan.working_dir.as_ref().map_or(&own, |dir| Path::new(dir)))?,
            log_path: absolute(&plan.log_path)?,
            limits: groups.and_then(|groups| groups.orders(&plan.key.name(PREFIX), &plan.resources)),
        })
    }

    fn keys(&self) -> Result<Vec<AttemptKey>> {
        let names = || -> io::Result<Vec<AttemptKey>> {
            let mut keys = Vec::new();
            for entry in fs::read_dir(&self.root)? {
                keys.extend(entry?.file_name().to_str().and_then(|name| AttemptKey::from_name(PREFIX, name)));
            }
            Ok(keys)
        };
        names().map_err(|error| Error::Unavailable { runtime: "process".into(), message: error.to_string() })
    }
}

fn open_root(options: &ProcessOptions, boot: &str) -> io::Result<PathBuf> {
    let root = std::path::absolute(&options.dir)?.join(options.installation.to_string());
    DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
    for entry in fs::read_dir(&root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Only what `Spares::draft` names, which holds secrets perhaps, and the pipes of shims that were killed.
        let lost = match control::shim_of(&name, boot) {
            Some(shim) => !shim.is_alive(boot)?,
            None => name.starts_with(&format!(".{PREFIX}.")),
        };
        if lost {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(root)
}

fn foreign(attempt: &Attempt) -> Error {
    Error::Foreign { name: attempt.record.path().display().to_string() }
}

/// Runs blocking work beside the actors' threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::Unavailable { runtime: "process".into(), message: format!("interrupted: {error}") })
    })
}
