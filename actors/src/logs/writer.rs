//! Appending to the log of an attempt: cutting, stamping, rotating.
//!
//! Blocking, and meant for one writer at a time. Lines are handed to the system one call per line or batch, so
//! that a killed writer leaves at most half a line, which the next one cuts off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::line::{self, ENCODED_BYTES_MAX, Full};
use super::{Error, Result, predecessor};
use crate::limits::{LOG_FILE_BYTES_MAX, LOG_LINE_BYTES_MAX};
use crate::runtime::{LogLine, LogStream};

/// Appends to one log.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    last_nanos: Option<i128>,
    buffer: Vec<u8>,
}

impl LogWriter {
    /// Opens the log, makes it and its folder when there is none, and cuts off a last half-written line.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::open_capped(path.into(), LOG_FILE_BYTES_MAX)
    }

    fn open_capped(path: PathBuf, bytes_max: u64) -> Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(Error::io("written", dir))?;
        }
        let mut file = open_append(&path).map_err(Error::io("written", &path))?;
        let end = last_line(&mut file).map_err(Error::io("read", &path))?;
        file.set_len(end.bytes).map_err(Error::io("written", &path))?;
        let mut last_nanos = end.at_nanos;
        if last_nanos.is_none() {
            last_nanos = last_nanos_of(&predecessor(&path))?;
        }
        Ok(Self { path, file, bytes: end.bytes, bytes_max, last_nanos, buffer: Vec::new() })
    }

    /// The time of the last line: where an engine's stream is to be taken up again.
    pub const fn last_nanos(&self) -> Option<i128> {
        self.last_nanos
    }

    /// Appends a line. One that is too long is cut into pieces, one that holds line ends becomes several.
    /// A time that is not after the last one is moved behind it.
    pub fn append(&mut self, line: &LogLine) -> Result<()> {
        for part in line.bytes.split(|byte| *byte == b'\n') {
            self.append_part(line.at_nanos, line.stream, part)?;
        }
        self.flush()
    }

    fn append_part(&mut self, at_nanos: i128, stream: LogStream, part: &[u8]) -> Result<()> {
        let mut rest = part;
        while rest.len() > LOG_LINE_BYTES_MAX {
            let (piece, tail) = rest.split_at(LOG_LINE_BYTES_MAX);
            self.push(at_nanos, stream, Full::Piece, piece)?;
            rest = tail;
        }
        self.push(at_nanos, stream, Full::Yes, rest)
    }

    /// Buffers one line or piece of at most the longest line; [`LogWriter::flush`] writes it.
    pub(crate) fn push(&mut self, at_nanos: i128, stream: LogStream, full: Full, bytes: &[u8]) -> Result<()> {
        let room = u64::try_from(bytes.len() + 64 + self.buffer.len()).unwrap_or(u64::MAX);
        if self.bytes > 0 && self.bytes.saturating_add(room) > self.bytes_max {
            self.flush()?;
            self.rotate(at_nanos)?;
        }
        let at_nanos = self.stamp(at_nanos);
        line::encode(&mut self.buffer, at_nanos, stream, full, bytes);
        Ok(())
    }

    fn stamp(&mut self, at_nanos: i128) -> i128 {
        let at_nanos = self.last_nanos.map_or(at_nanos, |last| at_nanos.max(last.saturating_add(1)));
        self.last_nanos = Some(at_nanos);
        at_nanos
    }

    /// Hands what is buffered to the system in one call.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let written = self.file.write_all(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        // Half a line must not swallow the beginning of the next one.
        written.map_err(|error| {
            if let Ok(end) = last_line(&mut self.file) {
                self.bytes = end.bytes;
                drop(self.file.set_len(end.bytes));
            }
            Error::io("written", &self.path)(error)
        })
    }

    /// Moves the full file aside. When that drops one, the new file begins by saying so.
    fn rotate(&mut self, at_nanos: i128) -> Result<()> {
        let old = predecessor(&self.path);
        let drops = old.exists();
        fs::rename(&self.path, &old).map_err(Error::io("written", &old))?;
        self.file = open_append(&self.path).map_err(Error::io("written", &self.path))?;
        self.bytes = 0;
        if drops {
            let text = format!(
                "[dogwatch: older output was dropped; a log keeps its last {} to {} bytes]",
                self.bytes_max,
                self.bytes_max * 2
            );
            let at_nanos = self.stamp(at_nanos);
            line::encode(&mut self.buffer, at_nanos, LogStream::Stderr, Full::Yes, text.as_bytes());
        }
        Ok(())
    }
}

fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// The end of the complete lines of a file, and the time of the last readable one.
struct End {
    bytes: u64,
    at_nanos: Option<i128>,
}

fn last_nanos_of(path: &Path) -> Result<Option<i128>> {
    match File::open(path) {
        Ok(mut file) => Ok(last_line(&mut file).map_err(Error::io("read", path))?.at_nanos),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Looks at the end of the file only: two of the longest lines are enough to hold a whole one.
fn last_line(file: &mut File) -> io::Result<End> {
    let len = file.seek(SeekFrom::End(0))?;
    let from = len.saturating_sub(2 * ENCODED_BYTES_MAX as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(len - from).read_to_end(&mut tail)?;
    let Some(newline) = tail.iter().rposition(|byte| *byte == b'\n') else {
        return Ok(End { bytes: from, at_nanos: None });
    };
    let lines = tail[..newline].rsplit(|byte| *byte == b'\n');
    let at_nanos = lines.into_iter().find_map(line::decode).map(|line| line.at_nanos);
    Ok(End { bytes: from + newline as u64 + 1, at_nanos })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn line(at_nanos: i128, text: &str) -> LogLine {
        LogLine { at_nanos, stream: LogStream::Stdout, bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }

    #[test]
    fn a_half_written_line_is_cut_off_and_the_last_time_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job/1.log");
        let mut writer = LogWriter::open(&path).unwrap();
        assert_eq!(writer.last_nanos(), None);
        writer.append(&line(5, "one")).unwrap();
        writer.append(&line(9, "two")).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], b"1970-01-01T00:00:00.0000"].concat()).unwrap();
        let writer = LogWriter::open(&path).unwrap();
        assert_eq!(writer.last_nanos(), Some(9));
        assert_eq!(fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn times_rise_strictly() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.log");
        let mut writer = LogWriter::open(&path).unwrap();
        for at in [7, 7, 3] {
            writer.append(&line(at, "x")).unwrap();
        }
        assert_eq!(writer.last_nanos(), Some(9));
    }

    #[test]
    fn a_long_line_is_cut_and_a_line_end_inside_splits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.log");
        let mut writer = LogWriter::open(&path).unwrap();
        writer.append(&line(1, &"x".repeat(LOG_LINE_BYTES_MAX + 1))).unwrap();
        writer.append(&line(2, "a\nb")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let tags: Vec<&str> = text.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
        assert_eq!(tags, ["P", "F", "F", "F"]);
    }

    #[test]
    fn a_full_log_keeps_two_files_and_says_what_it_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.log");
        let mut writer = LogWriter::open_capped(path.clone(), 1_000).unwrap();
        for number in 0..200 {
            writer.append(&line(number, &format!("line {number}"))).unwrap();
        }
        let (old, new) = (fs::read(predecessor(&path)).unwrap(), fs::read_to_string(&path).unwrap());
        assert!(old.len() <= 1_000 && new.len() <= 1_100, "{} {}", old.len(), new.len());
        assert!(new.contains("older output was dropped"), "{new}");
        assert!(new.ends_with("line 199\n"), "{new}");
        // A predecessor alone still tells the last time.
        let last = LogWriter::open(&path).unwrap().last_nanos();
        fs::write(&path, "").unwrap();
        assert!(LogWriter::open(&path).unwrap().last_nanos() < last);
        assert!(LogWriter::open(&path).unwrap().last_nanos().is_some());
    }
}
