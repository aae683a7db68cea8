//! One attempt, as its directory and `/proc` tell together. Blocking.

use std::io;
use std::path::PathBuf;

use tokio::time::Instant;

use super::kill::Remains;
use super::proc;
use super::record::{AttemptDir, End, Owner, Spawned, Started, fresh_name};
use crate::id::{AttemptKey, InstallationId};
use crate::limits::PROCESS_KILL_MAX;
use crate::runtime::{Error, Exit, Observation, Result, Running, Unseen};

/// What attempts' directories are called: `dogwatch-<job>-<attempt>`.
pub(super) const PREFIX: &str = "dogwatch";

/// How long to let the kernel carry out a kill before looking again.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(5);

/// One attempt of this installation.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) key: AttemptKey,
    installation: InstallationId,
    root: PathBuf,
    pub(super) dir: AttemptDir,
}

/// Where an attempt is in its life.
#[derive(Debug)]
pub(super) enum Phase {
    /// There is nothing of that name.
    Absent,
    /// The name is taken by something else.
    Foreign,
    /// Never started.
    Created,
    /// A shim has claimed the start and has not reported yet.
    Starting(Started),
    /// Its shim watches it.
    Running(Owner, Started, Spawned),
    /// Its end is recorded.
    Ended(End),
    /// Its shim is gone without a record.
    Lost(Started, Option<Spawned>),
}

impl Attempt {
    pub(super) fn new(root: PathBuf, installation: InstallationId, key: AttemptKey) -> Self {
        let dir = AttemptDir::new(root.join(key.name(PREFIX)));
        Self { key, installation, root, dir }
    }

    /// What marks the processes of this attempt.
    pub(super) fn mark(&self) -> String {
        format!("{}/{}", self.installation, self.key)
    }

    pub(super) fn phase(&self) -> Result<Phase> {
        self.read_phase().map_err(|error| self.unavailable(&error))
    }

    fn read_phase(&self) -> io::Result<Phase> {
        let owner = match self.dir.owner()? {
            Some(owner) if owner.installation == self.installation && owner.key == self.key => owner,
            None if !self.dir.path().try_exists()? => return Ok(Phase::Absent),
            _ => return Ok(Phase::Foreign),
        };
        if let Some(end) = self.dir.end()? {
            return Ok(Phase::Ended(end));
        }
        let Some(started) = self.dir.started()? else {
            return Ok(Phase::Created);
        };
        let alive = started.shim.is_alive()?;
        let spawned = self.dir.spawned()?;
        if !alive {
            // It may have recorded the end between our two looks.
            return Ok(self.dir.end()?.map_or(Phase::Lost(started, spawned), Phase::Ended));
        }
        Ok(match spawned {
            Some(spawned) => Phase::Running(owner, started, spawned),
            None => Phase::Starting(started),
        })
    }

    /// What is known now. Ends what a lost shim left running, and records that its end was not seen.
    pub(super) fn observe(&self) -> Result<Observation> {
        match self.phase()? {
            Phase::Absent | Phase::Foreign => Ok(Observation::Absent),
            Phase::Created => Ok(Observation::Created),
            Phase::Starting(_) => Err(self.unavailable(&"it is just being started")),
            Phase::Running(owner, _, spawned) => Ok(Observation::Running(Running {
                runtime_id: spawned.process.pid.to_string(),
                started_at: spawned.at,
                address: owner.address(),
            })),
            Phase::Ended(end) => outcome(end),
            Phase::Lost(started, spawned) => self.bury(&started, spawned.as_ref()).and_then(outcome),
        }
    }

    fn bury(&self, started: &Started, spawned: Option<&Spawned>) -> Result<End> {
        let buried = self.try_bury(started, spawned);
        buried.map_err(|error| self.unavailable(&error))
    }

    fn try_bury(&self, started: &Started, spawned: Option<&Spawned>) -> io::Result<End> {
        let rebooted = started.shim.boot != proc::boot_id()?;
        let pid = spawned.map_or(started.shim.pid, |spawned| spawned.process.pid);
        let end = End::Exited(Exit {
            runtime_id: pid.to_string(),
            code: None,
            signal: None,
            oom_killed: false,
            unseen: Some(if rebooted { Unseen::HostRestart } else { Unseen::WatcherLost }),
            started_at: Some(spawned.map_or(started.at, |spawned| spawned.at)),
            finished_at: None,
        });
        if !rebooted {
            self.kill(started, spawned)?;
        }
        self.dir.record_end(&end)?;
        Ok(end)
    }

    /// Kills whatever there is of the attempt, its shim too, until nothing is left.
    pub(super) fn kill(&self, started: &Started, spawned: Option<&Spawned>) -> io::Result<()> {
        let remains = Remains {
            shim: started.shim.clone(),
            process: spawned.map(|spawned| spawned.process.clone()),
            mark: self.mark(),
        };
        let until = Instant::now() + PROCESS_KILL_MAX;
        while remains.kill()? > 0 {
            if Instant::now() >= until {
                let message = "something of it survives being killed; is one of its disks or mounts hanging?";
                return Err(io::Error::other(message));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Removes what is left of it, unless it runs.
    pub(super) fn remove(&self) -> Result<()> {
        match self.phase()? {
            Phase::Absent | Phase::Foreign => return Ok(()),
            Phase::Starting(_) | Phase::Running(..) => {
                let message = format!("attempt {} still runs; stop it before it is removed", self.key);
                return Err(Error::Transient { message });
            }
            Phase::Lost(started, spawned) => drop(self.bury(&started, spawned.as_ref())?),
            Phase::Created | Phase::Ended(_) => {}
        }
        match self.dir.remove(&self.draft()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|error| self.unavailable(&error)),
        }
    }

    /// A name beside the directory for one that is being made or removed. Begins with a dot, which no attempt's
    /// name does.
    pub(super) fn draft(&self) -> PathBuf {
        self.root.join(fresh_name(&format!(".{}", self.key.name(PREFIX))))
    }

    pub(super) fn unavailable(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Unavailable { runtime: "process".into(), message: format!("attempt {}: {error}", self.key) }
    }
}

fn outcome(end: End) -> Result<Observation> {
    match end {
        End::Exited(exit) => Ok(Observation::Exited(exit)),
        End::Faulted { fault, message } => Err(Error::Start { fault, message }),
    }
}
