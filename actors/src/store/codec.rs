//! The envelope of every record: `[format][version][crc32c, little-endian][JSON]`.
//!
//! Responsible for telling damage from data and for carrying the version by which its owner upgrades it. Not
//! responsible for what is in the JSON, nor for which versions exist: the owner of a record matches on
//! [`Record::version`] and turns old bodies into the present type.
//!
//! Invariants: what decodes is what was encoded, bit for bit; nothing else decodes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, Result};

/// The layout of the envelope itself; another one would get the next number.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 6;

/// What most records fit into, so that they are written without being moved as they grow.
const USUAL_BYTES: usize = 512;

/// A record whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The version of the body, as given to [`encode`].
    pub version: u8,
    /// The body: JSON.
    pub body: &'a [u8],
}

impl Record<'_> {
    /// The body as a `T`; `key` is for the error.
    pub fn parse<T: DeserializeOwned>(&self, key: &[u8]) -> Result<T> {
        serde_json::from_slice(self.body).map_err(|error| {
            let version = self.version;
            let key = key.escape_ascii();
            Error::Corrupt(format!("the record {key} (version {version}) cannot be read: {error}").into())
        })
    }

    /// The error for a version that the reader does not know.
    pub fn unknown_version(&self, key: &[u8]) -> Error {
        let version = self.version;
        let key = key.escape_ascii();
        Error::Corrupt(
            format!("the record {key} has version {version}, which a newer dogwatch wrote; use that one")
                .into(),
        )
    }
}

/// The stored form of `body`.
///
/// # Panics
/// When `body` has no JSON form (a map whose keys are no strings): a fault of the type, not of the data.
pub fn encode<T: Serialize + ?Sized>(version: u8, body: &T) -> Vec<u8> {
    let mut record = Vec::with_capacity(USUAL_BYTES);
    record.resize(HEADER_BYTES, 0);
    serde_json::to_writer(&mut record, body).expect("records have a JSON form, and memory takes every write");
    record[0] = FORMAT;
    record[1] = version;
    let checksum = checksum(version, &record[HEADER_BYTES..]);
    record[2..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    record.shrink_to_fit();
    record
}

/// Opens the envelope of the value of `key`.
pub fn decode<'a>(key: &[u8], value: &'a [u8]) -> Result<Record<'a>> {
    let damaged = |what: &str| Error::Corrupt(format!("the record {} {what}", key.escape_ascii()).into());
    let (header, body) = value.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| damaged("is cut off"))?;
    let [format, version, expected @ ..] = *header;
    if format != FORMAT {
        return Err(damaged("has an unknown format: it is damaged, or a newer dogwatch wrote it"));
    }
    if checksum(version, body) != u32::from_le_bytes(expected) {
        return Err(damaged(
            "does not match its checksum; see `dogwatch doctor --store`, then restore a backup",
        ));
    }
    Ok(Record { version, body })
}

fn checksum(version: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[FORMAT, version]), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let stored = encode(3, &vec!["a", "b"]);
        let record = decode(b"k", &stored).unwrap();
        assert_eq!(record.version, 3);
        assert_eq!(record.parse::<Vec<String>>(b"k").unwrap(), ["a", "b"]);
    }

    #[test]
    fn the_layout_is_fixed() {
        let stored = encode(1, &7);
        assert_eq!(stored, [1, 1, 0x29, 0x84, 0xae, 0x32, b'7']);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found_and_the_key_named() {
        let stored = encode(1, &serde_json::json!({"state": "running", "attempt": 2}));
        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = decode(b"j/1", &damaged).unwrap_err();
            assert!(matches!(&error, Error::Corrupt(text) if text.contains("j/1")), "bit {bit}: {error}");
        }
        for length in 0..stored.len() {
            assert!(matches!(decode(b"k", &stored[..length]), Err(Error::Corrupt(_))), "length {length}");
        }
    }

    #[test]
    fn a_body_of_another_shape_is_an_error_that_names_the_key() {
        let stored = encode(1, "text");
        let error = decode(b"k9", &stored).unwrap().parse::<u64>(b"k9").unwrap_err();
        assert!(error.to_string().contains("k9"), "{error}");
    }
}
