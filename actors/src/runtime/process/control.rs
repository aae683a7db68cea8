//! How a shim is told to stop its attempt: one line in a named pipe.
//!
//! The shim, as the parent, signals without the danger of an id that was used again, and keeps to the grace even
//! when whoever asked dies meanwhile.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Signal the process, and kill everything after the grace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StopOrder {
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
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                return Ok(Sent::NobodyListens);
            }
            Err(error) => return Err(error),
        };
        match pipe.write_all(format!("{} {}\n", self.signal, self.grace.as_millis()).as_bytes()) {
            // Full of orders that it does not read: as good as nobody.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Sent::NobodyListens),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Sent::NobodyListens),
            written => written.map(|()| Sent::Yes),
        }
    }

    /// Reads an order.
    pub(super) fn decode(line: &[u8]) -> Option<Self> {
        let (signal, grace) = std::str::from_utf8(line).ok()?.trim_end().split_once(' ')?;
        Some(Self { signal: signal.parse().ok()?, grace: Duration::from_millis(grace.parse().ok()?) })
    }
}
