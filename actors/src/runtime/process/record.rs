//! The record of one attempt: one file, and how each line comes into it so that a crash leaves it whole.
//!
//! | line | written by | says |
//! |---|---|---|
//! | `owner` | create | whose it is; a file without it is not ours |
//! | `orders` | create | what to run, secrets included; gone as soon as it is started |
//! | `started` | the shim, once | that the attempt is started and by whom; never written twice, whoever tries |
//! | `spawned` | the shim | the process, when it runs for longer than a moment |
//! | `end` | the shim; an observer when the shim is lost | how it ended; the first one counts |
//!
//! The first two come into the file before it has its name. The start writes `started` and blanks over `orders`, under a
//! lock that the shim holds for as long as it serves the attempt; a file that was removed has no name any more and is not
//! acted on; what was never started is removed under the lock. The shim writes the last two behind its own, over the
//! blanks; an observer, when there is no shim any more, at the end of the file. Each is one write. What is not a whole line
//! is not there. The file of a record that is over may become another one's (`spares.rs`).
//!
//! Nothing here waits for the disk, because a failure of power takes the processes too. What it may leave of a
//! record — nothing, less than there was, or what the file was before — is of an earlier boot, which `owner` says or its
//! emptiness shows: then what is not recorded as ended counts as ended by the restart of the host, and nothing of it is
//! ever started. Only an `end` that nobody waits to take over is made durable (see [`Durable`]).
//!
//! It is one file, and mostly a used one, because files are what costs: the fewer an attempt makes and removes, the
//! faster all of them run (ext4 without a journal even passes over every inode that was removed of late, one by one, to
//! make another: with two new files for each attempt, up to half of all CPU time went into that).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileExt as _, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock};
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::proc::Identity;
use crate::clock::Timestamp;
use crate::id::{AttemptKey, Ids as _, InstallationId, RandomIds};
use crate::limits::PROCESS_RECORD_BYTES_MAX;
use crate::runtime::{Exit, Running, StartFault};

/// Whose the attempt is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) installation: InstallationId,
    pub(super) key: AttemptKey,
    /// The port of a service.
    pub(super) port: Option<u16>,
    /// The boot in which it was created.
    pub(super) boot: String,
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

/// What most records fit in, so that they are read at once.
const RECORD_BYTES_USUAL: usize = 4096;

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

impl Spawned {
    /// What is told of it.
    pub(super) fn running(&self, owner: &Owner) -> Running {
        Running { runtime_id: self.process.pid.to_string(), started_at: self.at, address: owner.address() }
    }
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

/// Whether a line must outlive a failure of power by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// Nobody may come for it for long.
    Yes,
    /// It is taken over into the store at once.
    No,
}

/// One line.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Owner(&'a Owner),
    Orders(&'a Orders),
    Started(&'a Started),
    Spawned(&'a Spawned),
    End(&'a End),
}

/// One line as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Found {
    Owner(Owner),
    Orders(Box<Orders>),
    Started(Started),
    Spawned(Spawned),
    End(End),
}

/// What a record says. Holds open secrets until the start: no `Debug`.
#[derive(Default)]
pub(super) struct Record {
    pub(super) owner: Option<Owner>,
    pub(super) orders: Option<Box<Orders>>,
    pub(super) started: Option<Started>,
    pub(super) spawned: Option<Spawned>,
    pub(super) end: Option<End>,
    /// Nothing where its first line should be: its bytes were lost with the power.
    pub(super) torn: bool,
}

impl Record {
    /// Reads it; `None` when there is none. A line that is none of ours or not whole is passed over.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Self::read_from(&mut file).map(Some)
    }

    fn read_from(file: &mut File) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES_USUAL);
        match file.take(PROCESS_RECORD_BYTES_MAX).read_to_end(&mut bytes) {
            // It has our name, and is nobody's that we know.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Ok(Self::default()),
            read => read?,
        };
        let torn = matches!(bytes.first(), None | Some(0 | b'\n'));
        let mut record = Self { torn, ..Self::default() };
        for line in bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            match serde_json::from_slice(line) {
                Ok(Found::Owner(owner)) => record.owner = record.owner.or(Some(owner)),
                Ok(Found::Orders(orders)) => record.orders = Some(orders),
                Ok(Found::Started(started)) => record.started = Some(started),
                Ok(Found::Spawned(spawned)) => record.spawned = Some(spawned),
                Ok(Found::End(end)) => record.end = record.end.or(Some(end)),
                Err(_) => {}
            }
        }
        Ok(record)
    }
}

/// Where the record of one attempt is.
#[derive(Debug, Clone)]
pub(super) struct RecordFile(PathBuf);

impl RecordFile {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What shims said that went wrong beside; made when there is something to say.
    pub(super) fn complaints(&self) -> PathBuf {
        self.0.with_extension("complaints")
    }

    /// What it says; `None` when it is not there.
    pub(super) fn read(&self) -> io::Result<Option<Record>> {
        Record::read(&self.0)
    }

    /// Makes the record, whole and in one step: prepared as `draft` beside it, which may be there, then renamed. The name
    /// is the claim.
    pub(super) fn claim(&self, draft: &Path, owner: &Owner, orders: &Orders) -> io::Result<Claim> {
        let lines = [encode(&Line::Owner(owner))?, encode(&Line::Orders(orders))?].concat();
        let claimed = write_whole(draft, &lines).and_then(|()| rename_new(draft, &self.0));
        if !matches!(claimed, Ok(Claim::Won)) {
            fs::remove_file(draft)?;
        }
        claimed
    }

    /// Claims the one start of the attempt, and takes its orders off the disk.
    pub(super) fn claim_start(&self, started: &Started) -> io::Result<Option<(Hold, Owner, Box<Orders>)>> {
        let Some(mut hold) = self.hold()? else { return Ok(None) };
        let Record { owner: Some(owner), orders: Some(orders), started: None, end: None, .. } =
            Record::read_from(&mut hold.file)?
        else {
            return Ok(None);
        };
        if owner.boot != started.shim.boot {
            return Ok(None);
        }
        let lines = [encode(&Line::Owner(&owner))?, encode(&Line::Started(started))?].concat();
        if let Err(error) = hold.begin_anew(lines) {
            // As far as anybody can read it is started: then it is.
            hold.file.rewind()?;
            if Record::read_from(&mut hold.file)?.started.as_ref() != Some(started) {
                return Err(error);
            }
        }
        Ok(Some((hold, owner, orders)))
    }

    /// Records an end that nobody saw. On a line of its own, whatever a failure of power has left before it.
    pub(super) fn close(&self, end: &End) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(&self.0)?;
        file.write_all(&[b"\n", &encode(&Line::End(end))?[..]].concat())
    }

    /// Takes it away, unless somebody starts it meanwhile.
    pub(super) fn withdraw(&self) -> io::Result<Claim> {
        let Some(Hold { mut file, .. }) = self.hold()? else { return Ok(Claim::Taken) };
        match Record::read_from(&mut file)?.started {
            None => self.remove().map(|()| Claim::Won),
            Some(_) => Ok(Claim::Taken),
        }
    }

    /// Takes it away.
    pub(super) fn remove(&self) -> io::Result<()> {
        is_done(fs::remove_file(self.complaints()))?;
        is_done(fs::remove_file(&self.0)).map(drop)
    }

    /// Takes it away and keeps its file as `spare`; false when there was none.
    pub(super) fn move_to(&self, spare: &Path) -> io::Result<bool> {
        is_done(fs::remove_file(self.complaints()))?;
        is_done(fs::rename(&self.0, spare))
    }

    /// Locks it; `None` when somebody else has, or it is not there (any more).
    fn hold(&self) -> io::Result<Option<Hold>> {
        let file = match OpenOptions::new().read(true).write(true).open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            locked => locked?,
        }
        // Removed before it was locked, perhaps to be another attempt's?
        let (held, named) = (file.metadata()?, fs::metadata(&self.0));
        let is_named = |named: fs::Metadata| (named.dev(), named.ino()) == (held.dev(), held.ino());
        Ok(named.is_ok_and(is_named).then(|| Hold { file, end: held.len() }))
    }
}

/// The locked record of an attempt: for as long as this is, nobody else starts or removes it.
#[derive(Debug)]
pub(super) struct Hold {
    file: File,
    /// Where the next line belongs.
    end: u64,
}

impl Hold {
    /// Leaves nothing in it but these lines, the first of which it has begun with all along. What they do not cover is
    /// blank, and taken by the lines to come: to cut it off would cost more than all that is written.
    fn begin_anew(&mut self, mut lines: Vec<u8>) -> io::Result<()> {
        let length = lines.len();
        let before = usize::try_from(self.end).unwrap_or(length);
        lines.resize(before.max(length), b' ');
        self.end = length as u64;
        self.file.write_all_at(&lines, 0)
    }

    /// Records the process.
    pub(super) fn record_spawned(&mut self, spawned: &Spawned) -> io::Result<()> {
        self.add(&Line::Spawned(spawned))
    }

    /// Records the end.
    pub(super) fn record_end(&mut self, end: &End, durable: Durable) -> io::Result<()> {
        self.add(&Line::End(end))?;
        match durable {
            Durable::Yes => self.file.sync_all(),
            Durable::No => Ok(()),
        }
    }

    /// Adds a line in one write. What a full disk left of one that it cut short is covered by the next.
    fn add(&mut self, line: &Line<'_>) -> io::Result<()> {
        let line = encode(line)?;
        self.file.write_all_at(&line, self.end)?;
        self.end += line.len() as u64;
        Ok(())
    }
}

/// A name beside `name` that nobody else uses.
pub(super) fn fresh_name(name: &str) -> String {
    let mut random = [0; 8];
    RandomIds.random(&mut random);
    format!("{name}.{:016x}", u64::from_be_bytes(random))
}

/// Renames a file to a name that must be free.
fn rename_new(from: &Path, to: &Path) -> io::Result<Claim> {
    let renamed = match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can. A link does not replace either.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
        }
        renamed => renamed.map_err(io::Error::from),
    };
    match renamed {
        Ok(()) => Ok(Claim::Won),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Claim::Taken),
        Err(error) => Err(error),
    }
}

/// Makes a file, or writes over what is there.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.write_all_at(bytes, 0)?;
    if file.metadata()?.len() > bytes.len() as u64 { file.set_len(bytes.len() as u64) } else { Ok(()) }
}

/// False when there was nothing to be done.
fn is_done(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        done => done.map(|()| true),
    }
}

fn encode(line: &Line<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    /// A record that was just made, of a command with so long an argument.
    fn created(dir: &Path, argument: usize) -> (RecordFile, Started) {
        let (boot, now) = ("this boot".to_owned(), SystemClock.now());
        let key = AttemptKey::new(RandomIds.job_id(now), 1);
        let installation = RandomIds.installation_id();
        let owner = Owner { installation, key, port: None, boot: boot.clone() };
        let orders = Orders {
            argv: vec!["secret".repeat(argument)],
            env: BTreeMap::new(),
            working_dir: "/".into(),
            log_path: "/log".into(),
            limits: None,
        };
        let record = RecordFile::new(dir.join("record"));
        assert_eq!(record.claim(&dir.join("draft"), &owner, &orders).unwrap(), Claim::Won);
        (record, Started { shim: Identity { pid: 7, start_ticks: 8, boot }, at: now })
    }

    #[test]
    fn a_start_takes_the_place_of_the_orders_in_the_same_file() {
        for argument in [0, 1, 10, 10_000] {
            let dir = tempfile::tempdir().unwrap();
            let (record, started) = created(dir.path(), argument);
            let inode = || fs::metadata(record.path()).unwrap().ino();
            let made = inode();
            let (mut hold, owner, orders) = record.claim_start(&started).unwrap().unwrap();
            assert_eq!(orders.argv, ["secret".repeat(argument)]);
            assert!(record.claim_start(&started).unwrap().is_none(), "it is held");
            let spawned = Spawned { process: started.shim.clone(), at: started.at };
            hold.record_spawned(&spawned).unwrap();
            drop(hold);
            assert!(record.claim_start(&started).unwrap().is_none(), "it was started");
            assert_eq!(record.withdraw().unwrap(), Claim::Taken);
            let lines = [Line::Owner(&owner), Line::Started(&started), Line::Spawned(&spawned)];
            let expected: Vec<u8> = lines.iter().flat_map(|line| encode(line).unwrap()).collect();
            let found = fs::read(record.path()).unwrap();
            let (written, blanks) = found.split_at(expected.len());
            assert_eq!(written, expected);
            assert!(blanks.iter().all(|byte| *byte == b' '), "nothing is left of the orders");
            let end = End::Exited(Exit::of(&spawned.running(&owner), started.at));
            record.close(&end).unwrap();
            let closed = record.read().unwrap().unwrap();
            assert!(closed.spawned == Some(spawned) && closed.end == Some(end) && !closed.torn);
            assert_eq!(inode(), made);
        }
    }

    #[test]
    fn nothing_is_started_that_was_withdrawn_or_is_of_an_earlier_boot() {
        let dir = tempfile::tempdir().unwrap();
        let (record, mut started) = created(dir.path(), 1);
        started.shim.boot = "another boot".to_owned();
        assert!(record.claim_start(&started).unwrap().is_none());
        assert!(record.read().unwrap().unwrap().orders.is_some(), "it is as it was");
        assert_eq!(record.withdraw().unwrap(), Claim::Won);
        started.shim.boot = "this boot".to_owned();
        assert!(record.claim_start(&started).unwrap().is_none());
    }
}
