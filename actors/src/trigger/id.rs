//! The name of a trigger, which is its identity.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::durable::MachineId;
use crate::limits::NAME_CHARS_MAX;
use crate::pool::PoolId;

/// The name of a trigger: a DNS-1123 label, as that of a pool is, so that it may stand in a path, a label and a metric.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TriggerId(PoolId);

/// The text is no name of a trigger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of a trigger; use 1 to {NAME_CHARS_MAX} lower-case letters, digits and `-`, beginning and \
     ending with a letter or digit"
)]
pub struct ParseTriggerIdError(String);

impl TriggerId {
    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for TriggerId {
    type Err = ParseTriggerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(NAME_CHARS_MAX + 1).collect();
        text.parse().map(Self).map_err(|_| ParseTriggerIdError(shown()))
    }
}

impl fmt::Display for TriggerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TriggerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TriggerId({self})")
    }
}

impl MachineId for TriggerId {
    fn to_key(self) -> Vec<u8> {
        self.0.to_key()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        PoolId::from_key(bytes).map(Self)
    }

    fn at_front(bytes: &[u8]) -> Option<Self> {
        PoolId::at_front(bytes).map(Self)
    }

    fn at_end(bytes: &[u8]) -> Option<Self> {
        PoolId::at_end(bytes).map(Self)
    }
}
