//! From the pipes of a process to the lines of its log.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::say;
use crate::clock::{Clock, SystemClock};
use crate::limits::{LOG_BLOCK_BYTES, LOG_LINE_BYTES_MAX};
use crate::logs::{Full, LogWriter};
use crate::runtime::LogStream;

/// The log of the attempt, which is made with its first line: most processes that say nothing need none.
pub(super) struct Log {
    path: PathBuf,
    /// `None` inside when it could not be opened, which was said.
    writer: OnceCell<Option<LogWriter>>,
}

impl Log {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), writer: OnceCell::new() }
    }

    fn writer(&mut self) -> Option<&mut LogWriter> {
        self.writer.get_or_init(|| LogWriter::open(&self.path).map_err(|error| say(&error)).ok());
        self.writer.get_mut()?.as_mut()
    }
}

/// One of the two pipes.
pub(super) struct Pump<R> {
    pipe: Option<R>,
    stream: LogStream,
    partial: Vec<u8>,
}

impl<R: AsFd> Pump<R> {
    pub(super) fn new(pipe: Option<R>, stream: LogStream) -> Self {
        Self { pipe, stream, partial: Vec::new() }
    }

    /// What to poll; `None` once the pipe is closed.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    pub(super) const fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// Moves what is in the pipe to the log; call it when there is something. A log that cannot be written loses
    /// the output and never stops the process.
    pub(super) fn pump(&mut self, log: &mut Log) {
        let Some(pipe) = &mut self.pipe else { return };
        self.partial.reserve(LOG_BLOCK_BYTES);
        // Into memory that nothing has touched yet: most pipes are only closed.
        let read = match rustix::io::read(pipe.as_fd(), rustix::buffer::spare_capacity(&mut self.partial)) {
            Ok(read) => read,
            Err(rustix::io::Errno::INTR) => return,
            Err(_) => 0,
        };
        if read == 0 {
            self.pipe = None;
        }
        self.write(log);
    }

    /// Writes what is left of a last line without an end, and reads no more.
    pub(super) fn close(&mut self, log: &mut Log) {
        self.pipe = None;
        self.write(log);
    }

    fn write(&mut self, log: &mut Log) {
        let at_nanos = i128::from(SystemClock.now().as_millis()) * 1_000_000;
        let mut rest = &self.partial[..];
        let mut pieces = Vec::new();
        loop {
            let line_end = rest.iter().position(|byte| *byte == b'\n');
            let piece = match line_end {
                Some(end) if end <= LOG_LINE_BYTES_MAX => (Full::Yes, end, end + 1),
                _ if rest.len() > LOG_LINE_BYTES_MAX => (Full::Piece, LOG_LINE_BYTES_MAX, LOG_LINE_BYTES_MAX),
                _ if self.pipe.is_none() && !rest.is_empty() => (Full::Yes, rest.len(), rest.len()),
                _ => break,
            };
            pieces.push((piece.0, &rest[..piece.1]));
            rest = &rest[piece.2..];
        }
        let left = rest.len();
        if !pieces.is_empty()
            && let Some(log) = log.writer()
        {
            for (full, bytes) in pieces {
                if log.push(at_nanos, self.stream, full, bytes).is_err() {
                    break;
                }
            }
            drop(log.flush());
        }
        self.partial.drain(..self.partial.len() - left);
    }
}
