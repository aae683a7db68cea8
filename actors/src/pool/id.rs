//! The name of a pool, which is its identity.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::durable::MachineId;
use crate::limits::NAME_CHARS_MAX;

/// The name of a pool: a DNS-1123 label, so that it may stand in a path, a label and a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId {
    bytes: [u8; NAME_CHARS_MAX],
    length: u8,
}

/// The text is no name of a pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of a pool; use 1 to {NAME_CHARS_MAX} lower-case letters, digits and `-`, beginning and \
     ending with a letter or digit"
)]
pub struct ParsePoolIdError(String);

impl PoolId {
    /// The name.
    pub fn as_str(&self) -> &str {
        // Only ASCII was let in.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl FromStr for PoolId {
    type Err = ParsePoolIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (1..=NAME_CHARS_MAX).contains(&text.len())
            && text.bytes().all(inside)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if !good {
            return Err(ParsePoolIdError(text.chars().take(NAME_CHARS_MAX + 1).collect()));
        }
        let mut bytes = [0; NAME_CHARS_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length: u8::try_from(text.len()).unwrap_or(u8::MAX) })
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoolId({self})")
    }
}

impl Serialize for PoolId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for PoolId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What stands before and behind a name in keys, as with instances of orchestrations: no name contains them.
const OPENS: u8 = 1;
const CLOSES: u8 = 0;

impl MachineId for PoolId {
    fn to_key(self) -> Vec<u8> {
        [&[OPENS], self.as_str().as_bytes(), &[CLOSES]].concat()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        let text = bytes.strip_prefix(&[OPENS])?.strip_suffix(&[CLOSES])?;
        std::str::from_utf8(text).ok()?.parse().ok()
    }

    fn at_front(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == CLOSES)?;
        Self::from_key(&bytes[..=end])
    }

    fn at_end(bytes: &[u8]) -> Option<Self> {
        let start = bytes.iter().rposition(|byte| *byte == OPENS)?;
        Self::from_key(&bytes[start..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_texts_are_names_and_they_are_found_in_rows() {
        let longest = "x".repeat(NAME_CHARS_MAX);
        for good in ["a", "thumbnails-2", "0", longest.as_str()] {
            let id: PoolId = good.parse().unwrap();
            assert_eq!((id.as_str(), PoolId::from_key(&id.to_key())), (good, Some(id)));
            assert_eq!(PoolId::at_front(&[id.to_key(), b"/\x01x".to_vec()].concat()), Some(id));
            assert_eq!(PoolId::at_end(&[b"x/\x00".to_vec(), id.to_key()].concat()), Some(id));
            assert_eq!(serde_json::from_str::<PoolId>(&format!("\"{good}\"")).unwrap(), id);
        }
        let long = "x".repeat(NAME_CHARS_MAX + 1);
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "a_b", "ä", "a\0", long.as_str()] {
            assert!(bad.parse::<PoolId>().is_err(), "{bad:?}");
        }
    }
}
