//! The sequenced logs of a store, and the keys of their rows.
//!
//! Not responsible for giving numbers (`sequence.rs`).

use super::Key;

/// The sequenced logs of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Log {
    /// What happened, for everybody who follows events.
    Events,
    /// Messages from one machine to another, until they are consumed.
    Outbox,
}

impl Log {
    /// The log's name, the first segment of its keys.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Events => "e",
            Self::Outbox => "o",
        }
    }

    /// The key of row `seq`.
    pub fn key(self, seq: u64) -> Key {
        let mut key = self.prefix().as_bytes().to_vec();
        key.push(b'/');
        key.extend_from_slice(&seq.to_be_bytes());
        key
    }

    /// The number in a key made by [`Log::key`].
    pub fn seq(self, key: &[u8]) -> Option<u64> {
        self.behind_prefix(key)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// The log among whose rows this key is.
    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        [Self::Events, Self::Outbox].into_iter().find(|log| log.behind_prefix(key).is_some())
    }

    fn behind_prefix(self, key: &[u8]) -> Option<&[u8]> {
        key.strip_prefix(self.prefix().as_bytes())?.strip_prefix(b"/")
    }
}
