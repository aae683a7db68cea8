//! Texts that name something within a task hub: what the ids of orchestrations and of entities share.
//!
//! Hubs are namespaces. What is in the default one is named without it; in any other the hub's name and a `/` stand in
//! front. The text of an id lies in the id itself, so that ids are copied as numbers are.
//!
//! Not responsible for: which texts are ids of what.
//!
//! Invariant: no text holds a control character, so that [`key`] can set it off by two of them.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use crate::limits::TASK_HUB_BYTES_MAX;

/// The task hub of those that name none.
pub const DEFAULT_HUB: &str = "default";

/// Whether a text may be the name of a task hub: 1 to 64 letters, digits, `-` and `_`.
pub fn is_hub(text: &str) -> bool {
    (1..=TASK_HUB_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The hub and the id within it. The name of a hub has no `@`, with which ids of entities begin.
pub(crate) fn split(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((hub, local)) if !text.starts_with('@') => (hub, local),
        _ => (DEFAULT_HUB, text),
    }
}

/// A short text, by value. Most are much shorter than what there is room for, and ids are looked up all the time: only the
/// text is compared and hashed.
#[derive(Clone, Copy)]
pub(crate) struct Text<const BYTES_MAX: usize> {
    bytes: [u8; BYTES_MAX],
    length: u8,
}

impl<const BYTES_MAX: usize> PartialEq for Text<BYTES_MAX> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const BYTES_MAX: usize> Eq for Text<BYTES_MAX> {}

impl<const BYTES_MAX: usize> PartialOrd for Text<BYTES_MAX> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const BYTES_MAX: usize> Ord for Text<BYTES_MAX> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl<const BYTES_MAX: usize> Hash for Text<BYTES_MAX> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
        state.write_u8(u8::MAX);
    }
}

impl<const BYTES_MAX: usize> Text<BYTES_MAX> {
    /// The text; what is too long for it is cut off, so its length is checked before.
    pub(crate) fn of(text: &str) -> Self {
        let (mut bytes, text) = ([0; BYTES_MAX], text.as_bytes());
        let length = text.len().min(BYTES_MAX);
        bytes[..length].copy_from_slice(&text[..length]);
        Self { bytes, length: u8::try_from(length).unwrap_or(u8::MAX) }
    }

    pub(crate) fn as_str(&self) -> &str {
        // Only texts were let in.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// What stands before and behind an id in keys: no id contains them, so that no key of one is the beginning of a key
/// of another, and an id is found at the end of a row as well as at its front.
const OPENS: u8 = 1;
const CLOSES: u8 = 0;

/// An id as it stands in keys.
pub(crate) fn key(text: &str) -> Vec<u8> {
    let mut key = key_prefix(text);
    key.push(CLOSES);
    key
}

/// How the keys of all ids begin that begin with `text`.
pub(crate) fn key_prefix(text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len() + 2);
    key.push(OPENS);
    key.extend_from_slice(text.as_bytes());
    key
}

/// The text in a key.
pub(crate) fn text_of(key: &[u8]) -> Option<&str> {
    let text = key.strip_prefix(&[OPENS])?.strip_suffix(&[CLOSES])?;
    std::str::from_utf8(text).ok()
}

/// The key at the front of a row's key.
pub(crate) fn front(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == CLOSES)?;
    bytes.get(..=end)
}

/// The key at the end of a row's key.
pub(crate) fn end(bytes: &[u8]) -> Option<&[u8]> {
    let start = bytes.iter().rposition(|byte| *byte == OPENS)?;
    bytes.get(start..)
}

/// What every id that is a text is: a text to people, to JSON, to an OpenAPI document and, set off, in keys. For a tuple
/// struct of one [`Text`] that is parsed by `FromStr`.
macro_rules! text_id {
    ($id:ident, $bytes_max:expr) => {
        impl $id {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl std::fmt::Display for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::fmt::Debug for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($id), "({})"), self.as_str())
            }
        }

        impl serde::Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl utoipa::PartialSchema for $id {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .max_length(Some($bytes_max))
                    .into()
            }
        }

        impl utoipa::ToSchema for $id {}

        impl $crate::durable::MachineId for $id {
            fn to_key(self) -> Vec<u8> {
                $crate::hub::key(self.as_str())
            }

            fn from_key(bytes: &[u8]) -> Option<Self> {
                $crate::hub::text_of(bytes)?.parse().ok()
            }

            fn at_front(bytes: &[u8]) -> Option<Self> {
                Self::from_key($crate::hub::front(bytes)?)
            }

            fn at_end(bytes: &[u8]) -> Option<Self> {
                Self::from_key($crate::hub::end(bytes)?)
            }
        }
    };
}
pub(crate) use text_id;

/// The same of an id within a hub.
macro_rules! hub_id {
    ($id:ident, $bytes_max:expr) => {
        impl $id {
            /// The task hub that it belongs to.
            pub fn hub(&self) -> &str {
                $crate::hub::split(self.as_str()).0
            }

            /// The id within its task hub.
            pub fn local(&self) -> &str {
                $crate::hub::split(self.as_str()).1
            }
        }

        $crate::hub::text_id!($id, $bytes_max);
    };
}
pub(crate) use hub_id;
