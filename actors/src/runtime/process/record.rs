//! The directory of one attempt: its files, and how each is written so that a crash leaves it whole.
//!
//! | file | written by | says |
//! |---|---|---|
//! | `owner` | create | whose it is; a directory without it is not ours |
//! | `orders` | create | what to run, secrets included; taken away by the shim as soon as it has read it |
//! | `control` | create | a pipe: how the shim is told to stop |
//! | `started` | the shim, once | that the attempt is started and by whom; never written twice, whoever tries |
//! | `spawned` | the shim | the process |
//! | `end` | the shim; an observer when the shim is lost | how it ended |
//!
//! Nothing here waits for the disk, because a failure of power takes the processes too. What it may leave of these
//! files — none, some, or their names without their bytes — is of an earlier boot, which the `owner` says or by its
//! emptiness shows: then what is not recorded as ended counts as ended by the restart of the host, and nothing of it
//! is ever started. Only an `end` that nobody waits to take over is made durable (see [`Durable`]).

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, RenameFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::proc::Identity;
use crate::clock::Timestamp;
use crate::id::{AttemptKey, Ids as _, InstallationId, RandomIds};
use crate::limits::PROCESS_RECORD_BYTES_MAX;
use crate::runtime::{Exit, StartFault};

/// Whose the directory is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) installation: InstallationId,
    pub(super) key: AttemptKey,
    /// The port of a service.
    pub(super) port: Option<u16>,
    /// The boot in which it was created; absent in what older versions wrote.
    #[serde(default)]
    pub(super) boot: Option<String>,
}

/// What the file `owner` says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Owned {
    /// Whose it is.
    By(Owner),
    /// Nothing: its bytes were lost with the power. It is written before the directory has its name.
    Torn,
    /// It is not there, or no record of ours.
    Nobody,
}

/// Whether a record must outlive a failure of power by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// Nobody may come for it for long.
    Yes,
    /// It is taken over into the store at once.
    No,
}

impl Owner {
    /// Where a service is reached: it shares the host's network.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

/// What the shim is to run. Holds open secrets: no `Debug`.
#[derive(Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) working_dir: PathBuf,
    pub(super) log_path: PathBuf,
    pub(super) limits: Option<cgroup::Orders>,
}

/// The one start of the attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Started {
    pub(super) shim: Identity,
    pub(super) at: Timestamp,
}

/// The process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Spawned {
    pub(super) process: Identity,
    pub(super) at: Timestamp,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// It ran.
    Exited(Exit),
    /// It could not be started.
    Faulted {
        /// Which kind.
        fault: StartFault,
        /// What happened, and what to do.
        message: String,
    },
}

/// Whether a claim was won.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is ours alone.
    Won,
    /// Somebody had it before.
    Taken,
}

/// The directory of one attempt.
#[derive(Debug, Clone)]
pub(super) struct AttemptDir(PathBuf);

impl AttemptDir {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The pipe that the shim listens to.
    pub(super) fn control(&self) -> PathBuf {
        self.0.join("control")
    }

    /// What the shim said that nobody else heard; kept for people.
    pub(super) fn shim_output(&self) -> PathBuf {
        self.0.join("shim.stderr")
    }

    /// Makes the directory whole and in one step: prepared as `draft` beside it, then renamed. The name is the
    /// claim.
    pub(super) fn claim(&self, draft: &Path, owner: &Owner, orders: &Orders) -> io::Result<Claim> {
        DirBuilder::new().mode(0o700).create(draft)?;
        let prepared = Self::new(draft);
        let claimed = prepared.fill(owner, orders).and_then(|()| rename_new(draft, &self.0));
        if !matches!(claimed, Ok(Claim::Won)) {
            fs::remove_dir_all(draft)?;
        }
        claimed
    }

    fn fill(&self, owner: &Owner, orders: &Orders) -> io::Result<()> {
        write(&self.0.join("owner"), owner)?;
        write(&self.0.join("orders"), orders)?;
        Ok(rustix::fs::mkfifoat(CWD, self.control(), Mode::RUSR | Mode::WUSR)?)
    }

    /// Whose it is.
    pub(super) fn owner(&self) -> io::Result<Owned> {
        let bytes = match read_bytes(&self.0.join("owner")) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Owned::Nobody),
            // A file where the directory should be is not ours either.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Owned::Nobody),
            Err(error) => return Err(error),
        };
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Owned::Torn);
        }
        Ok(serde_json::from_slice(&bytes).map_or(Owned::Nobody, Owned::By))
    }

    /// Reads the orders and takes them away, so that their secrets are no longer on the disk.
    pub(super) fn take_orders(&self) -> io::Result<Orders> {
        let path = self.0.join("orders");
        let orders = read(&path)?.ok_or(io::ErrorKind::NotFound)?;
        fs::remove_file(&path)?;
        Ok(orders)
    }

    /// Claims the one start of the attempt.
    pub(super) fn claim_start(&self, started: &Started) -> io::Result<Claim> {
        let draft = self.0.join(format!("started.{}", started.shim.pid));
        write(&draft, started)?;
        let linked = fs::hard_link(&draft, self.0.join("started"));
        fs::remove_file(&draft)?;
        match linked {
            Ok(()) => Ok(Claim::Won),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Claim::Taken),
            Err(error) => Err(error),
        }
    }

    pub(super) fn started(&self) -> io::Result<Option<Started>> {
        read(&self.0.join("started"))
    }

    /// Records the process.
    pub(super) fn record_spawned(&self, spawned: &Spawned) -> io::Result<()> {
        let draft = self.0.join("spawned.new");
        fs::write(&draft, encode(spawned)?)?;
        fs::rename(&draft, self.0.join("spawned"))
    }

    pub(super) fn spawned(&self) -> io::Result<Option<Spawned>> {
        read(&self.0.join("spawned"))
    }

    /// Records the end.
    pub(super) fn record_end(&self, end: &End, durable: Durable) -> io::Result<()> {
        let draft = self.0.join(fresh_name("end"));
        if let Err(error) = write(&draft, end).and_then(|()| sync(&draft, durable)) {
            // It is tried again, on a full disk for as long as that lasts.
            fs::remove_file(&draft)?;
            return Err(error);
        }
        fs::rename(&draft, self.0.join("end"))?;
        sync(&self.0, durable)
    }

    pub(super) fn end(&self) -> io::Result<Option<End>> {
        read(&self.0.join("end"))
    }

    /// Takes the whole directory away: first its name, in one step, then what is in it.
    pub(super) fn remove(&self, doomed: &Path) -> io::Result<()> {
        fs::rename(&self.0, doomed)?;
        fs::remove_dir_all(doomed)
    }
}

/// A name beside `name` that nobody else uses.
pub(super) fn fresh_name(name: &str) -> String {
    let mut random = [0; 8];
    RandomIds.random(&mut random);
    format!("{name}.{:016x}", u64::from_be_bytes(random))
}

/// Renames a directory to a name that must be free.
fn rename_new(from: &Path, to: &Path) -> io::Result<Claim> {
    let renamed = match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can. A plain rename does not replace a directory that holds something either.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if fs::symlink_metadata(to).is_err() => {
            fs::rename(from, to)
        }
        renamed => renamed.map_err(io::Error::from),
    };
    match renamed {
        Ok(()) => Ok(Claim::Won),
        Err(error) => match error.kind() {
            io::ErrorKind::AlreadyExists
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::NotADirectory => Ok(Claim::Taken),
            _ => Err(error),
        },
    }
}

fn encode<T: Serialize>(record: &T) -> io::Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn write<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&encode(record)?)
}

fn sync(path: &Path, durable: Durable) -> io::Result<()> {
    match durable {
        Durable::Yes => File::open(path)?.sync_all(),
        Durable::No => Ok(()),
    }
}

/// Reads a record; `None` when there is none. The text of a record that cannot be read is not repeated in the
/// error: it may be a secret.
fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let Some(bytes) = read_bytes(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|_| {
        let message = format!("{} holds no valid record", path.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

fn read_bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(PROCESS_RECORD_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
