//! The envelope of every record: `[form][version][crc32c, little-endian][body]`.
//!
//! Responsible for telling damage from data and for carrying the version by which its owner upgrades it. Not
//! responsible for what is in the body, nor for which versions exist: the owner of a record matches on
//! [`Record::version`] and turns old bodies into the present type.
//!
//! A body is MessagePack, or JSON: the same tree of names and values in either, so that every type reads from both. MessagePack
//! takes a quarter of the instructions to write (2,200 against 8,900 for a running job) and a seventh less room. JSON is
//! what stores before format 3 hold, and what a body is written in that holds JSON of somebody else's as it is.
//!
//! There may be a second body behind the first, of the same owner and version: what belongs to one row is one record.
//!
//! Invariants: what decodes is what was encoded, bit for bit; nothing else decodes.

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{Error, Result};

/// What the body of a record is; another layout of the envelope would be a further one. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Form {
    Json = 1,
    MessagePack = 2,
    /// Two bodies, one behind the other.
    MessagePackTwice = 3,
}

impl Form {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Json),
            2 => Some(Self::MessagePack),
            3 => Some(Self::MessagePackTwice),
            _ => None,
        }
    }
}

const HEADER_BYTES: usize = 6;

/// What most records fit into, so that they are written without being moved as they grow.
const USUAL_BYTES: usize = 512;

/// A record whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The version of the body, as given to [`encode`].
    pub version: u8,
    form: Form,
    body: &'a [u8],
}

impl Record<'_> {
    /// The body as a `T`; `key` is for the error.
    pub fn parse<T: DeserializeOwned>(&self, key: &[u8]) -> Result<T> {
        self.read().map_err(|reason| self.unreadable(key, &reason))
    }

    /// The body as a `T`, and what is behind it as a `U`, where there is something; `key` is for the error.
    pub(crate) fn parse_both<T: DeserializeOwned, U: DeserializeOwned>(
        &self,
        key: &[u8],
    ) -> Result<(T, Option<U>)> {
        self.read_both().map_err(|reason| self.unreadable(key, &reason))
    }

    fn unreadable(&self, key: &[u8], reason: &str) -> Error {
        let version = self.version;
        let key = key.escape_ascii();
        Error::Corrupt(format!("the record {key} (version {version}) cannot be read: {reason}").into())
    }

    /// The same for who knows no key: the error is only the reason.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> std::result::Result<T, String> {
        self.read_both::<T, IgnoredAny>().map(|(first, _)| first)
    }

    fn read_both<T, U>(&self) -> std::result::Result<(T, Option<U>), String>
    where
        T: DeserializeOwned,
        U: DeserializeOwned,
    {
        if self.form == Form::Json {
            return serde_json::from_slice(self.body)
                .map(|body| (body, None))
                .map_err(|error| error.to_string());
        }
        let mut reader = rmp_serde::Deserializer::from_read_ref(self.body).with_human_readable();
        let first = T::deserialize(&mut reader).map_err(|error| error.to_string())?;
        if self.form == Form::MessagePack {
            return Ok((first, None));
        }
        let second = U::deserialize(&mut reader).map_err(|error| error.to_string())?;
        Ok((first, Some(second)))
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
/// When a part of `body` says that it cannot be written: a fault of the type, not of the data.
pub fn encode<T: Serialize + ?Sized>(version: u8, body: &T) -> Vec<u8> {
    sealed(Form::MessagePack, version, |record| write(record, body))
}

/// The stored form of `body` with `second` behind it.
///
/// # Panics
/// As [`encode`].
pub(crate) fn encode_both<T: Serialize + ?Sized, U: Serialize + ?Sized>(
    version: u8,
    body: &T,
    second: &U,
) -> Vec<u8> {
    sealed(Form::MessagePackTwice, version, |record| {
        write(record, body);
        write(record, second);
    })
}

fn write<T: Serialize + ?Sized>(record: &mut Vec<u8>, body: &T) {
    // Names stay, so that fields may come and go; times and ids are the texts that they are in JSON.
    let mut writer = rmp_serde::Serializer::new(record).with_struct_map().with_human_readable();
    body.serialize(&mut writer).expect("records have a form in MessagePack, and memory takes every write");
}

/// The stored form of a `body` that holds [raw JSON](serde_json::value::RawValue).
///
/// # Panics
/// When `body` has no JSON form (a map whose keys are no strings): a fault of the type, not of the data.
pub fn encode_json<T: Serialize + ?Sized>(version: u8, body: &T) -> Vec<u8> {
    sealed(Form::Json, version, |record| {
        serde_json::to_writer(record, body).expect("records have a JSON form, and memory takes every write");
    })
}

/// The envelope around what `write` adds.
fn sealed(form: Form, version: u8, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = Vec::with_capacity(USUAL_BYTES);
    record.resize(HEADER_BYTES, 0);
    write(&mut record);
    record[0] = form as u8;
    record[1] = version;
    let checksum = checksum(form, version, &record[HEADER_BYTES..]);
    record[2..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    record.shrink_to_fit();
    record
}

/// Opens the envelope of the value of `key`.
pub fn decode<'a>(key: &[u8], value: &'a [u8]) -> Result<Record<'a>> {
    let damaged = |what: &str| Error::Corrupt(format!("the record {} {what}", key.escape_ascii()).into());
    let (header, body) = value.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| damaged("is cut off"))?;
    let [form, version, expected @ ..] = *header;
    let Some(form) = Form::of(form) else {
        return Err(damaged("has an unknown format: it is damaged, or a newer dogwatch wrote it"));
    };
    if checksum(form, version, body) != u32::from_le_bytes(expected) {
        return Err(damaged(
            "does not match its checksum; see `dogwatch doctor --store`, then restore a backup",
        ));
    }
    Ok(Record { version, form, body })
}

fn checksum(form: Form, version: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[form as u8, version]), body)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::Timestamp;

    /// Every way in which our types tell one kind of thing from another.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Everything {
        id: uuid::Uuid,
        at: Timestamp,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        none: Option<u8>,
        numbers: BTreeMap<u64, i64>,
        ways: Vec<Way>,
        tagged: Vec<Tagged>,
        loose: Vec<Loose>,
        #[serde(flatten)]
        inner: Inner,
        value: Value,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        since: Timestamp,
        by: uuid::Uuid,
        way: Way,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Way {
        Unit,
        New(f64),
        Pair(u32, String),
        Named { at: Timestamp },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Tagged {
        Plain,
        Timed { at: Timestamp, id: uuid::Uuid },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Loose {
        Timed { at: Timestamp, id: uuid::Uuid },
        Text(String),
    }

    fn everything(at: i64, id: u128, value: Value) -> Everything {
        let (at, id) = (Timestamp::from_millis(at), uuid::Uuid::from_u128(id));
        let ways = || vec![Way::Unit, Way::New(0.1), Way::Pair(7, "\"é\n".to_owned()), Way::Named { at }];
        Everything {
            id,
            at,
            none: None,
            numbers: BTreeMap::from([(0, -1), (u64::MAX, i64::MIN)]),
            ways: ways(),
            tagged: vec![Tagged::Plain, Tagged::Timed { at, id }],
            loose: vec![Loose::Timed { at, id }, Loose::Text(String::new())],
            inner: Inner { since: at, by: id, way: Way::Named { at } },
            value,
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            // Eighths: of others the last digit may be another when JSON is read quickly.
            any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let fields = proptest::collection::btree_map(any::<String>(), inner.clone(), 0..6);
            prop_oneof![
                proptest::collection::vec(inner, 0..6).prop_map(Value::from),
                fields.prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_type_reads_back_from_either_form(at in any::<i64>(), id in any::<u128>(), value in any_value()) {
            let body = everything(at.rem_euclid(253_402_207_200_000), id, value);
            for stored in [encode(2, &body), encode_json(2, &body)] {
                let record = decode(b"k", &stored).unwrap();
                prop_assert_eq!(&record.parse::<Everything>(b"k").unwrap(), &body);
            }
            // It is one tree, but for keys that are numbers: what is read without its type is the same in either.
            let part = (&body.ways, &body.tagged, &body.loose, &body.inner, &body.value);
            let tree = serde_json::to_value(part).unwrap();
            prop_assert_eq!(decode(b"k", &encode(2, &part)).unwrap().parse::<Value>(b"k").unwrap(), tree);
        }
    }

    #[test]
    fn a_record_reads_back() {
        let stored = encode(3, &vec!["a", "b"]);
        let record = decode(b"k", &stored).unwrap();
        assert_eq!(record.version, 3);
        assert_eq!(record.parse::<Vec<String>>(b"k").unwrap(), ["a", "b"]);
    }

    #[test]
    fn two_bodies_read_back_and_one_is_read_without_the_other() {
        let (first, second) = (vec!["a", "b"], json!({"c": [1, null]}));
        let stored = encode_both(3, &first, &second);
        let record = decode(b"k", &stored).unwrap();
        let both = record.parse_both::<Vec<String>, Value>(b"k").unwrap();
        assert_eq!(both, (record.parse(b"k").unwrap(), Some(second)));
        assert_eq!(both.0, first);
        let error = record.parse_both::<Vec<String>, u8>(b"k9").unwrap_err();
        assert!(error.to_string().contains("k9"), "{error}");
        for single in [encode(3, &first), encode_json(3, &first)] {
            let read = decode(b"k", &single).unwrap().parse_both::<Vec<String>, Value>(b"k").unwrap();
            assert_eq!(read, (both.0.clone(), None));
        }
    }

    #[test]
    fn the_layout_is_fixed() {
        assert_eq!(encode_json(1, &7), [1, 1, 0x29, 0x84, 0xae, 0x32, b'7']);
        assert_eq!(encode(1, &7), [2, 1, 0xeb, 0x0d, 0x63, 0xe8, 7]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found_and_the_key_named() {
        let stored = encode(1, &json!({"state": "running", "attempt": 2}));
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
