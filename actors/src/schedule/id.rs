//! The name of a schedule, which is its identity.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::durable::MachineId;
use crate::hub::{self, Text};
use crate::limits::NAME_CHARS_MAX;

/// The name of a schedule: a DNS-1123 label, so that it may stand in a path, a label and an id. Not `preview`, which is
/// a route.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleId(Text<NAME_CHARS_MAX>);

/// The text is no name of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of a schedule; use 1 to {NAME_CHARS_MAX} lower-case letters, digits and `-`, beginning and \
     ending with a letter or digit, and not the word `preview`"
)]
pub struct ParseScheduleIdError(String);

impl ScheduleId {
    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for ScheduleId {
    type Err = ParseScheduleIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (1..=NAME_CHARS_MAX).contains(&text.len())
            && text.bytes().all(inside)
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text != "preview";
        if good {
            Ok(Self(Text::of(text)))
        } else {
            Err(ParseScheduleIdError(text.chars().take(NAME_CHARS_MAX + 1).collect()))
        }
    }
}

impl fmt::Display for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScheduleId({self})")
    }
}

impl Serialize for ScheduleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ScheduleId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl MachineId for ScheduleId {
    fn to_key(self) -> Vec<u8> {
        hub::key(self.as_str())
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        hub::text_of(bytes)?.parse().ok()
    }

    fn at_front(bytes: &[u8]) -> Option<Self> {
        Self::from_key(hub::front(bytes)?)
    }

    fn at_end(bytes: &[u8]) -> Option<Self> {
        Self::from_key(hub::end(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_texts_are_names_and_they_are_found_in_rows() {
        let longest = "x".repeat(NAME_CHARS_MAX);
        for good in ["a", "nightly-import", "0", longest.as_str()] {
            let id: ScheduleId = good.parse().unwrap();
            assert_eq!((id.as_str(), ScheduleId::from_key(&id.to_key())), (good, Some(id)));
            assert_eq!(ScheduleId::at_front(&[id.to_key(), b"/\x01x".to_vec()].concat()), Some(id));
            assert_eq!(ScheduleId::at_end(&[b"x/\x00".to_vec(), id.to_key()].concat()), Some(id));
            assert_eq!(serde_json::from_str::<ScheduleId>(&format!("\"{good}\"")).unwrap(), id);
        }
        let long = "x".repeat(NAME_CHARS_MAX + 1);
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "a_b", "ä", "a\0", "preview", long.as_str()] {
            assert!(bad.parse::<ScheduleId>().is_err(), "{bad:?}");
        }
    }
}
