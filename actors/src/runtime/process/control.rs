//! How a shim is told to stop its attempt: one line in a named pipe. Each shim has one, for all that it serves one
//! after the other; a line names the attempt, and counts for no other.
//!
//! The shim, as the parent, signals without the danger of an id that was used again, and keeps to the grace even
//! when whoever asked dies meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::proc::Identity;

/// What the pipes' names begin with.
const PREFIX: &str = ".control";

/// The pipe of a shim whose attempts' records are in `root`.
pub(super) fn path(root: &Path, shim: &Identity) -> PathBuf {
    root.join(format!("{PREFIX}-{}-{}", shim.pid, shim.start_ticks))
}

/// The shim that a file is the pipe of, by its name; `None` when it is no pipe of a shim.
pub(super) fn shim_of(name: &str, boot: &str) -> Option<Identity> {
    let (pid, ticks) = name.strip_prefix(PREFIX)?.strip_prefix('-')?.split_once('-')?;
    Some(Identity { pid: pid.parse().ok()?, start_ticks: ticks.parse().ok()?, boot: boot.to_owned() })
}

/// Makes the pipe, for its shim to listen to.
pub(super) fn listen(path: &Path) -> io::Result<File> {
    match rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR) {
        // Of a shim of an earlier boot, of the same id.
        Err(Errno::EXIST) => {}
        made => made?,
    }
    // Readable and writable, so that it never reads as closed between two writers.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of open is an int");
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

/// Signal the process, and kill everything after the grace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StopOrder {
    /// The name of the attempt's record.
    pub(super) name: String,
    /// The number of the signal.
    pub(super) signal: i32,
    /// How long it has.
    pub(super) grace: Duration,
}

/// Whether the order reached a shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is in the pipe of a living shim.
    Yes,
    /// Nobody listens: the shim is not there yet, or gone.
    NobodyListens,
}

impl StopOrder {
    /// Writes the order into the pipe. Far below the size that pipes take in one piece.
    pub(super) fn send(&self, control: &Path) -> io::Result<Sent> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of open is an int");
        let mut pipe = match OpenOptions::new().write(true).custom_flags(flags).open(control) {
            Ok(pipe) => pipe,
            Err(error)
                if error.raw_os_error() == Some(Errno::NXIO.raw_os_error())
                    || error.kind() == io::ErrorKind::NotFound =>
            {
                return Ok(Sent::NobodyListens);
            }
            Err(error) => return Err(error),
        };
        match pipe.write_all(format!("{} {} {}\n", self.name, self.signal, self.grace.as_millis()).as_bytes())
        {
            // Full of orders that it does not read: as good as nobody.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Sent::NobodyListens),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Sent::NobodyListens),
            written => written.map(|()| Sent::Yes),
        }
    }

    /// Reads an order.
    pub(super) fn decode(line: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let (name, signal, grace) = (words.next()?.to_owned(), words.next()?, words.next()?);
        Some(Self { name, signal: signal.parse().ok()?, grace: Duration::from_millis(grace.parse().ok()?) })
    }
}
