//! The form of the file: a magic number, then frames `[kind][length][crc32c of kind, place and content][content]`,
//! numbers little-endian.
//!
//! Invariant: a frame that is changed, missing, doubled or in another place does not read; nor does a file that was
//! cut off, because its last frame is missing.

use std::io::{self, Read};

use crate::limits::BACKUP_FRAME_BYTES_MAX;
use crate::store::Changes;

/// What a file begins with.
pub(super) const MAGIC: &[u8; 12] = b"dogwatch-b1\n";

/// What is in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The first: what the file says of itself.
    Header = b'h',
    /// The key of the secrets.
    Key = b'k',
    /// Rows as they were read, or as a group of commits left them.
    Rows = b'r',
    /// The last.
    End = b'e',
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Header, Self::Key, Self::Rows, Self::End].into_iter().find(|kind| *kind as u8 == byte)
    }
}

const HEAD_BYTES: usize = 9;

/// A frame at this place of the file.
pub(super) fn encode(kind: Kind, place: u64, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a page of rows and a group of commits are far smaller");
    let mut frame = Vec::with_capacity(HEAD_BYTES + content.len());
    frame.push(kind as u8);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&checksum(kind, place, content).to_le_bytes());
    frame.extend_from_slice(content);
    frame
}

fn checksum(kind: Kind, place: u64, content: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&[kind as u8]);
    crc32c::crc32c_append(crc32c::crc32c_append(sum, &place.to_le_bytes()), content)
}

/// The next frame, which must be at this place. The error is what is wrong.
pub(super) fn read(file: &mut impl Read, place: u64) -> io::Result<Result<(Kind, Vec<u8>), String>> {
    let damaged = |what: &str| Ok(Err(format!("its part {place} {what}")));
    let mut head = [0; HEAD_BYTES];
    match file.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return damaged("is missing"),
        done => done?,
    }
    let [byte, a, b, c, d, ..] = head;
    let (Some(kind), length) = (Kind::of(byte), u32::from_le_bytes([a, b, c, d])) else {
        return damaged("is of no known kind");
    };
    if length > BACKUP_FRAME_BYTES_MAX {
        return damaged("is too long");
    }
    let mut content = Vec::new();
    file.take(u64::from(length)).read_to_end(&mut content)?;
    if content.len() as u64 != u64::from(length) {
        return damaged("is cut off");
    }
    let expected = head.last_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    if checksum(kind, place, &content) != expected {
        return damaged("does not match its checksum");
    }
    Ok(Ok((kind, content)))
}

/// Rows in the form of a frame's content.
pub(super) fn encode_rows<'a>(rows: impl Iterator<Item = (&'a Vec<u8>, Option<&'a Vec<u8>>)>) -> Vec<u8> {
    let mut content = Vec::new();
    let mut push = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).expect("keys and values are far smaller");
        content.extend_from_slice(&length.to_le_bytes());
        content.extend_from_slice(bytes);
    };
    for (key, value) in rows {
        push(key);
        match value {
            // The tag tells an empty value from none.
            Some(value) => push(&[&[1], value.as_slice()].concat()),
            None => push(&[]),
        }
    }
    content
}

/// Reads what [`encode_rows`] made.
pub(super) fn decode_rows(mut content: &[u8]) -> Option<Changes> {
    let mut take = || {
        let (length, rest) = content.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        content = rest;
        Some((bytes, rest.is_empty()))
    };
    let mut rows = Changes::default();
    loop {
        let (key, _) = take()?;
        let (value, is_last) = take()?;
        rows.insert(key.to_vec(), value.split_first().map(|(_, value)| value.to_vec()));
        if is_last {
            return Some(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_and_nothing_else_does() {
        let frame = encode(Kind::Rows, 3, b"content");
        assert_eq!(read(&mut frame.as_slice(), 3).unwrap(), Ok((Kind::Rows, b"content".to_vec())));
        assert!(read(&mut frame.as_slice(), 4).unwrap().is_err(), "in another place");
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&mut damaged.as_slice(), 3).unwrap().is_err(), "bit {bit}");
        }
        for length in 0..frame.len() {
            assert!(read(&mut &frame[..length], 3).unwrap().is_err(), "cut off at {length}");
        }
    }

    #[test]
    fn rows_read_back() {
        let rows = Changes::from_iter([
            (b"a".to_vec(), Some(b"value".to_vec())),
            (b"b".to_vec(), Some(Vec::new())),
            (b"c".to_vec(), None),
        ]);
        let content = encode_rows(rows.iter().map(|(key, value)| (key, value.as_ref())));
        assert_eq!(decode_rows(&content), Some(rows));
    }
}
