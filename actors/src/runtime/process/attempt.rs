//! One attempt, as its record and `/proc` tell together. Blocking.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;

use super::control;
use super::kill::Remains;
use super::record::{Claim, End, Owner, Record, RecordFile, Spawned, Started};
use super::spares::Spares;
use crate::id::{AttemptKey, InstallationId};
use crate::limits::PROCESS_KILL_MAX;
use crate::runtime::{Error, Exit, Observation, Result, Unseen};

/// What attempts' records are called: `dogwatch-<job>-<attempt>`.
pub(super) const PREFIX: &str = "dogwatch";

/// How long to let the kernel carry out a kill before looking again.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(5);

/// One attempt of this installation.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) key: AttemptKey,
    installation: InstallationId,
    root: PathBuf,
    /// The present boot.
    boot: Arc<str>,
    pub(super) record: RecordFile,
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
    /// It is of an earlier boot, which left no record of its end: whether it was started is not known.
    Outlived(Option<Started>, Option<Spawned>),
}

impl Attempt {
    pub(super) fn new(root: PathBuf, installation: InstallationId, boot: Arc<str>, key: AttemptKey) -> Self {
        let record = RecordFile::new(root.join(key.name(PREFIX)));
        Self { key, installation, root, boot, record }
    }

    /// What marks the processes of this attempt.
    pub(super) fn mark(&self) -> String {
        format!("{}/{}", self.installation, self.key)
    }

    pub(super) fn phase(&self) -> Result<Phase> {
        self.read_phase().map_err(|error| self.unavailable(&error))
    }

    fn read_phase(&self) -> io::Result<Phase> {
        match self.record.read()? {
            Some(record) => self.phase_of(record),
            None => Ok(Phase::Absent),
        }
    }

    fn phase_of(&self, record: Record) -> io::Result<Phase> {
        let Record { owner, started, spawned, end, torn, .. } = record;
        let owner = match owner {
            Some(owner) if owner.installation == self.installation && owner.key == self.key => owner,
            // What the file was before it was this one's: its own lines were lost with the power.
            Some(owner) if owner.installation == self.installation && *owner.boot != *self.boot => {
                return Ok(Phase::Outlived(None, None));
            }
            None if torn => return Ok(end.map_or(Phase::Outlived(None, None), Phase::Ended)),
            _ => return Ok(Phase::Foreign),
        };
        if let Some(end) = end {
            return Ok(Phase::Ended(end));
        }
        if *owner.boot != *self.boot {
            return Ok(Phase::Outlived(started, spawned));
        }
        let Some(started) = started else { return Ok(Phase::Created) };
        if !started.shim.is_alive(&self.boot)? {
            // It may have recorded the end between our two looks.
            let end = self.record.read()?.and_then(|record| record.end);
            return Ok(end.map_or(Phase::Lost(started, spawned), Phase::Ended));
        }
        Ok(match spawned {
            Some(spawned) => Phase::Running(owner, started, spawned),
            None => Phase::Starting(started),
        })
    }

    /// What a phase that was just read says. Ends what a lost shim left running, and records that its end was not
    /// seen.
    pub(super) fn observation(&self, phase: Phase) -> Result<Observation> {
        match phase {
            Phase::Absent | Phase::Foreign => Ok(Observation::Absent),
            Phase::Created => Ok(Observation::Created),
            Phase::Starting(_) => Err(self.unavailable(&"it is just being started")),
            Phase::Running(owner, _, spawned) => Ok(Observation::Running(spawned.running(&owner))),
            Phase::Ended(end) => outcome(end),
            Phase::Lost(started, spawned) => self.bury(&started, spawned.as_ref()).and_then(outcome),
            Phase::Outlived(started, spawned) => {
                self.close(started.as_ref(), spawned.as_ref(), Unseen::HostRestart).and_then(outcome)
            }
        }
    }

    fn bury(&self, started: &Started, spawned: Option<&Spawned>) -> Result<End> {
        if *started.shim.boot != *self.boot {
            return self.close(Some(started), spawned, Unseen::HostRestart);
        }
        self.kill(started, spawned).map_err(|error| self.unavailable(&error))?;
        self.close(Some(started), spawned, Unseen::WatcherLost)
    }

    /// Records that nobody saw the end.
    fn close(&self, started: Option<&Started>, spawned: Option<&Spawned>, unseen: Unseen) -> Result<End> {
        let process =
            spawned.map(|spawned| &spawned.process).or_else(|| started.map(|started| &started.shim));
        let end = End::Exited(Exit {
            runtime_id: process.map_or_else(|| self.key.name(PREFIX), |process| process.pid.to_string()),
            code: None,
            signal: None,
            oom_killed: false,
            container: None,
            unseen: Some(unseen),
            started_at: spawned.map(|spawned| spawned.at).or_else(|| started.map(|started| started.at)),
            finished_at: None,
            usage: None,
        });
        // Found again if it is lost: what it says follows from what is there.
        let recorded = self.record.close(&end);
        recorded.map(|()| end).map_err(|error| self.unavailable(&error))
    }

    /// Kills whatever there is of the attempt, its shim too, until nothing is left.
    pub(super) fn kill(&self, started: &Started, spawned: Option<&Spawned>) -> io::Result<()> {
        let remains = Remains {
            shim: started.shim.clone(),
            process: spawned.map(|spawned| spawned.process.clone()),
            mark: self.mark(),
            boot: Arc::clone(&self.boot),
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

    /// Removes what is left of it, unless it runs: first by `files` what is beside the record.
    pub(super) fn remove(&self, files: impl FnOnce() -> Result<()>) -> Result<()> {
        let runs = || {
            let message = format!("attempt {} still runs; stop it before it is removed", self.key);
            Err(Error::Transient { message })
        };
        let removed = match self.phase()? {
            Phase::Absent | Phase::Foreign => return Ok(()),
            Phase::Starting(_) | Phase::Running(..) => return runs(),
            Phase::Created => match self.record.withdraw() {
                Ok(Claim::Taken) => return runs(),
                Ok(Claim::Won) => return files(),
                Err(error) => Err(error),
            },
            Phase::Lost(started, spawned) => {
                drop(self.bury(&started, spawned.as_ref())?);
                files()?;
                self.record.remove()
            }
            Phase::Ended(_) | Phase::Outlived(..) => {
                files()?;
                self.record.remove()
            }
        };
        removed.map_err(|error| self.unavailable(&error))
    }

    /// Removes what is left of it: its end was recorded by a shim of ours.
    pub(super) fn remove_ended(&self, spares: &Spares) -> Result<()> {
        spares.retire(&self.record).map_err(|error| self.unavailable(&error))
    }

    /// How its shim is told to stop.
    pub(super) fn control(&self, started: &Started) -> PathBuf {
        control::path(&self.root, &started.shim)
    }

    pub(super) fn unavailable(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Unavailable { runtime: "process".into(), message: format!("attempt {}: {error}", self.key) }
    }
}

/// What an end says.
pub(super) fn outcome(end: End) -> Result<Observation> {
    match end {
        End::Exited(exit) => Ok(Observation::Exited(exit)),
        End::Faulted { fault, message } => Err(Error::Start { fault, message }),
    }
}
