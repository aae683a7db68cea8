//! What names an instance, one of its executions, and a task within one.
//!
//! An instance's id is chosen by whoever starts it, so it is checked before it reaches a key or a path.

use std::str::FromStr;

pub use crate::hub::{DEFAULT_HUB, is_hub};
use crate::hub::{Text, hub_id, split};
use crate::limits::{INSTANCE_ID_BYTES_MAX, TASK_HUB_BYTES_MAX};

/// A task within an execution: an activity, a timer, a child, a job, an event that was sent. Numbered from 1 in the
/// order in which the code asked for them, which is the same whenever it is replayed.
pub type TaskId = u64;

/// The longest text of an id.
const TEXT_BYTES_MAX: usize = TASK_HUB_BYTES_MAX + 1 + INSTANCE_ID_BYTES_MAX;

/// The id of an orchestration instance: 1 to 190 visible ASCII characters without `/`, `\`, `#` and `?`, and without
/// a leading `@`, as Durable Functions has it. One in a task hub that is not the default one has the hub's name and a
/// `/` in front: hubs are namespaces of their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Text<TEXT_BYTES_MAX>);

hub_id!(InstanceId, TEXT_BYTES_MAX);

/// The text is no instance id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an instance id; use 1 to {max} visible ASCII characters without / \\ # ? and without a leading @",
    max = INSTANCE_ID_BYTES_MAX
)]
pub struct ParseInstanceIdError(String);

impl ParseInstanceIdError {
    fn of(text: &str) -> Self {
        Self(text.chars().take(128).collect())
    }
}

impl InstanceId {
    /// The id of an instance in a task hub.
    pub fn in_hub(hub: &str, local: &str) -> Result<Self, ParseInstanceIdError> {
        if local.contains('/') {
            return Err(ParseInstanceIdError::of(local));
        }
        // What is wrong is wrong with what the caller wrote.
        format!("{hub}/{local}").parse().map_err(|_| ParseInstanceIdError::of(local))
    }

    /// The id of a child whose parent gave it none: the parent's and the task's number, as the Durable Task family
    /// has it; a short one made of its digest where that would be too long.
    pub fn of_child(parent: Self, execution: u32, task: TaskId) -> Self {
        let generation = if execution == 1 { String::new() } else { format!("{execution}.") };
        let text = format!("{parent}:{generation}{task:04x}");
        text.parse().unwrap_or_else(|_| {
            let digest = xxhash_rust::xxh3::xxh3_128(text.as_bytes());
            let local = format!("{digest:032x}");
            if parent.hub() == DEFAULT_HUB {
                Self(Text::of(&local))
            } else {
                Self(Text::of(&format!("{}/{local}", parent.hub())))
            }
        })
    }
}

impl FromStr for InstanceId {
    type Err = ParseInstanceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (hub, local) = split(text);
        let good = is_hub(hub)
            && (1..=INSTANCE_ID_BYTES_MAX).contains(&local.len())
            && local.bytes().all(|byte| byte.is_ascii_graphic() && !br"/\#?".contains(&byte))
            && !local.starts_with('@');
        match good {
            true if hub == DEFAULT_HUB => Ok(Self(Text::of(local))),
            true => Ok(Self(Text::of(text))),
            false => Err(ParseInstanceIdError::of(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::MachineId as _;

    #[test]
    fn only_safe_texts_are_ids() {
        let longest = "x".repeat(INSTANCE_ID_BYTES_MAX);
        for good in ["a", "order-17", "a:0001", "{0f}", longest.as_str()] {
            let id: InstanceId = good.parse().unwrap();
            assert_eq!(id.as_str(), good);
            assert_eq!(InstanceId::from_key(&id.to_key()), Some(id));
        }
        let long = "x".repeat(INSTANCE_ID_BYTES_MAX + 1);
        for bad in [
            "",
            "a b",
            "a/b/c",
            "/b",
            "a/",
            "a b/c",
            "hub/@c",
            "a\\b",
            "a#",
            "a?",
            "@entity@1",
            "ä",
            "a\n",
            "a\0",
            long.as_str(),
        ] {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hubs_are_namespaces() {
        let (plain, default): (InstanceId, InstanceId) = ("a".parse().unwrap(), "default/a".parse().unwrap());
        assert_eq!((plain, plain.hub(), plain.local()), (default, "default", "a"));
        let other = InstanceId::in_hub("blue", "a").unwrap();
        assert_eq!((other.as_str(), other.hub(), other.local()), ("blue/a", "blue", "a"));
        assert_ne!(other, plain);
        assert!(InstanceId::in_hub("blue", "a/b").is_err());
        let child = InstanceId::of_child(other, 1, 1);
        assert_eq!((child.hub(), child.local()), ("blue", "a:0001"));
    }

    #[test]
    fn no_key_is_the_beginning_of_another_and_ids_are_found_in_rows() {
        let (short, long): (InstanceId, InstanceId) = ("a".parse().unwrap(), "a!b".parse().unwrap());
        assert!(!long.to_key().starts_with(&short.to_key()));
        let row = [short.to_key(), b"/rest\x01".to_vec()].concat();
        assert_eq!(InstanceId::at_front(&row), Some(short));
        let row = [b"state/\x01\x00".to_vec(), long.to_key()].concat();
        assert_eq!(InstanceId::at_end(&row), Some(long));
    }

    #[test]
    fn children_have_ids_of_their_own_however_deep() {
        let mut id: InstanceId = "root".parse().unwrap();
        let mut seen = std::collections::BTreeSet::from([id]);
        for _ in 0..100 {
            id = InstanceId::of_child(id, 1, 1);
            assert!(seen.insert(id), "{id}");
        }
        assert_ne!(InstanceId::of_child(id, 1, 2), InstanceId::of_child(id, 2, 2));
    }
}
