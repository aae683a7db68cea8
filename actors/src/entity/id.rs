//! What names an entity.
//!
//! An entity's id is chosen by whoever speaks to it, so it is checked before it reaches a key.

use std::str::FromStr;

use crate::hub::{DEFAULT_HUB, Text, hub_id, is_hub, split};
use crate::limits::{ENTITY_ID_BYTES_MAX, TASK_HUB_BYTES_MAX};

/// The longest text of an id.
const TEXT_BYTES_MAX: usize = TASK_HUB_BYTES_MAX + 1 + ENTITY_ID_BYTES_MAX;

/// The id of an entity: `@name@key`, as the Durable Task family has it. The name is not empty and has no `@`; the key
/// may be empty, and anything but control characters. One in a task hub that is not the default one has the hub's
/// name and a `/` in front: hubs are namespaces of their own.
///
/// Ids sort as their texts do, everywhere and for ever: it is the order in which sets of entities are locked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityId(Text<TEXT_BYTES_MAX>);

hub_id!(EntityId, TEXT_BYTES_MAX);

/// The text is no entity id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an entity id; use `@name@key`, at most {max} bytes without control characters and with a name, \
     and before them, where it is not the default one, the task hub and a /",
    max = ENTITY_ID_BYTES_MAX
)]
pub struct ParseEntityIdError(String);

impl ParseEntityIdError {
    fn of(text: &str) -> Self {
        Self(text.chars().take(128).collect())
    }
}

impl EntityId {
    /// The id of an entity in a task hub.
    pub fn in_hub(hub: &str, local: &str) -> Result<Self, ParseEntityIdError> {
        if !local.starts_with('@') {
            return Err(ParseEntityIdError::of(local));
        }
        format!("{hub}/{local}").parse()
    }

    /// What kind of entity it is: which code it has.
    pub fn name(&self) -> &str {
        name_and_key(self.local()).map_or("", |(name, _)| name)
    }

    /// Which of its kind.
    pub fn key(&self) -> &str {
        name_and_key(self.local()).map_or("", |(_, key)| key)
    }
}

fn name_and_key(local: &str) -> Option<(&str, &str)> {
    local.strip_prefix('@')?.split_once('@').filter(|(name, _)| !name.is_empty())
}

impl FromStr for EntityId {
    type Err = ParseEntityIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (hub, local) = split(text);
        let good = is_hub(hub)
            && local.len() <= ENTITY_ID_BYTES_MAX
            && name_and_key(local).is_some()
            && !local.chars().any(char::is_control);
        match good {
            true if hub == DEFAULT_HUB => Ok(Self(Text::of(local))),
            true => Ok(Self(Text::of(text))),
            false => Err(ParseEntityIdError::of(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::durable::MachineId as _;

    fn id(text: &str) -> EntityId {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn an_id_is_a_name_and_a_key() {
        let longest = format!("@n@{}", "x".repeat(ENTITY_ID_BYTES_MAX - 3));
        for (text, name, key) in [
            ("@counter@a", "counter", "a"),
            ("@counter@", "counter", ""),
            ("@schedule@my schedule/2027 (ä)", "schedule", "my schedule/2027 (ä)"),
            ("@mail@me@example.com", "mail", "me@example.com"),
            ("@a/b@c", "a/b", "c"),
            (longest.as_str(), "n", &longest[3..]),
        ] {
            let id = id(text);
            assert_eq!((id.as_str(), id.hub(), id.local()), (text, DEFAULT_HUB, text));
            assert_eq!((id.name(), id.key()), (name, key));
            assert_eq!(EntityId::from_key(&id.to_key()), Some(id));
        }
        let long = format!("{longest}x");
        for bad in
            ["", "@", "@@", "@@key", "@name", "name@key", "@n@k\n", "@n@\0", "@n\u{7f}@k", long.as_str()]
        {
            assert!(bad.parse::<EntityId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_what_stands_before_the_first_slash_and_before_the_name_is_a_hub() {
        let (plain, default) = (id("@counter@a/b"), id("default/@counter@a/b"));
        assert_eq!((plain, plain.hub(), plain.key()), (default, "default", "a/b"));
        let other = EntityId::in_hub("blue", "@counter@a/b").unwrap();
        assert_eq!(
            (other.as_str(), other.hub(), other.local()),
            ("blue/@counter@a/b", "blue", "@counter@a/b")
        );
        assert_ne!(other, plain);
        for bad in ["blue/red/@counter@a", "/@counter@a", "b@d/@counter@a", "blue/counter", "b l/@counter@a"]
        {
            assert!(bad.parse::<EntityId>().is_err(), "{bad:?}");
        }
        assert!(EntityId::in_hub("blue", "red/@counter@a").is_err());
    }

    proptest! {
        #[test]
        fn they_sort_as_their_texts_and_are_found_in_rows(one in "@[a-z]{1,3}@[ -~]{0,8}", other in "@[a-z]{1,3}@.{0,8}") {
            prop_assume!(!other.chars().any(char::is_control));
            let (a, b) = (id(&one), id(&other));
            prop_assert_eq!(a.cmp(&b), one.as_bytes().cmp(other.as_bytes()));
            prop_assert_eq!(a.to_key().cmp(&b.to_key()), a.cmp(&b));
            prop_assert!(a == b || !b.to_key().starts_with(&a.to_key()));
            let row = [a.to_key(), b"/rest\x01".to_vec()].concat();
            prop_assert_eq!(EntityId::at_front(&row), Some(a));
            let row = [b"all/\x01\x00".to_vec(), b.to_key()].concat();
            prop_assert_eq!(EntityId::at_end(&row), Some(b));
        }
    }
}
