//! One line of a log file, in the CRI log format: `<RFC 3339 with nanoseconds> <stdout|stderr> <F|P> <bytes>`.
//!
//! `F` ends a full line, `P` is a piece of one that was cut at [`LOG_LINE_BYTES_MAX`]. Pure: bytes in and out.

use bytes::Bytes;

use crate::limits::LOG_LINE_BYTES_MAX;
use crate::runtime::{LogLine, LogStream};

/// The longest encoded line without its newline: the longest time (a sign, six digits of year), the stream and
/// the tag stand before the bytes.
pub(super) const ENCODED_BYTES_MAX: usize = LOG_LINE_BYTES_MAX + 64;

/// Appends the line to `out`, newline included. `full` says that the line ends here.
pub(super) fn encode(out: &mut Vec<u8>, at_nanos: i128, stream: LogStream, full: Full, bytes: &[u8]) {
    let time = jiff::Timestamp::from_nanosecond(at_nanos).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let tag = match full {
        Full::Yes => "F",
        Full::Piece => "P",
    };
    out.extend_from_slice(format!("{time:.9} {} {tag} ", name(stream)).as_bytes());
    out.extend_from_slice(bytes);
    out.push(b'\n');
}

/// Whether a line ends where its bytes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// It does.
    Yes,
    /// More of it follows.
    Piece,
}

/// Reads one line, given without its newline. `None`: it is no such line, and is skipped by every reader.
pub(super) fn decode(line: &[u8]) -> Option<LogLine> {
    let (time, rest) = split_word(line)?;
    let (stream, rest) = split_word(rest)?;
    let (tag, bytes) = split_word(rest)?;
    if !matches!(tag, b"F" | b"P") {
        return None;
    }
    let time: jiff::Timestamp = std::str::from_utf8(time).ok()?.parse().ok()?;
    Some(LogLine {
        at_nanos: time.as_nanosecond(),
        stream: stream_named(stream)?,
        bytes: Bytes::copy_from_slice(bytes),
    })
}

/// The stream of an encoded line of which the beginning is enough.
pub(super) fn stream_of(line: &[u8]) -> Option<LogStream> {
    let (_, rest) = split_word(line)?;
    stream_named(split_word(rest)?.0)
}

fn split_word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    Some((&bytes[..space], &bytes[space + 1..]))
}

const fn name(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    }
}

fn stream_named(name: &[u8]) -> Option<LogStream> {
    match name {
        b"stdout" => Some(LogStream::Stdout),
        b"stderr" => Some(LogStream::Stderr),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_and_looks_like_cri() {
        let at = 1_795_229_674_123_456_789;
        let mut out = Vec::new();
        encode(&mut out, at, LogStream::Stderr, Full::Yes, b"a b \xff");
        assert_eq!(out, b"2026-11-21T02:54:34.123456789Z stderr F a b \xff\n");
        let line = decode(&out[..out.len() - 1]).unwrap();
        assert_eq!((line.at_nanos, line.stream, &line.bytes[..]), (at, LogStream::Stderr, &b"a b \xff"[..]));
    }

    #[test]
    fn an_empty_line_keeps_its_space() {
        let mut out = Vec::new();
        encode(&mut out, 0, LogStream::Stdout, Full::Piece, b"");
        assert_eq!(decode(&out[..out.len() - 1]).unwrap().bytes.len(), 0);
    }

    #[test]
    fn what_is_no_line_is_none() {
        for bad in [
            &b""[..],
            b"x",
            b"2026-11-21T02:54:34Z stdout",
            b"yesterday stdout F x",
            b"2026-11-21T02:54:34Z stdin F x",
        ] {
            assert_eq!(decode(bad), None);
        }
    }
}
