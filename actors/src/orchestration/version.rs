//! Versions of orchestrations: how they sort, and which one an instance gets. Pure.

use std::collections::BTreeMap;

/// The version of an orchestration that is registered without one.
pub const DEFAULT_VERSION: &str = "1.0.0";

/// Which code an instance that has begun goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VersionPolicy {
    /// That of the version with which it began, and no other.
    #[default]
    Pinned,
    /// That of the newest version with the same first number, if it is not older. The author promises that it takes
    /// the same way through the histories of the older ones.
    NewestCompatible,
}

/// A version as it sorts: by its numbers, then as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    numbers: Vec<u64>,
    text: String,
}

impl Version {
    pub(super) fn new(text: &str) -> Self {
        let mut numbers: Vec<u64> = text.split('.').map_while(|part| part.parse().ok()).collect();
        // 1.0 and 1.0.0 are as new.
        while numbers.len() > 1 && numbers.last() == Some(&0) {
            numbers.pop();
        }
        Self { numbers, text: text.to_owned() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn major(&self) -> Option<u64> {
        self.numbers.first().copied()
    }
}

/// The code for an instance that begins: of the version asked for, or of the newest.
pub(super) fn to_begin<'a, T>(
    codes: &'a BTreeMap<Version, T>,
    asked: Option<&str>,
) -> Option<(&'a Version, &'a T)> {
    match asked {
        Some(asked) => codes.iter().find(|(version, _)| version.text == asked),
        None => codes.last_key_value(),
    }
}

/// The code for an instance that goes on.
pub(super) fn to_go_on<'a, T>(
    codes: &'a BTreeMap<Version, T>,
    began: &str,
    policy: VersionPolicy,
) -> Option<(&'a Version, &'a T)> {
    let exact = || codes.iter().find(|(version, _)| version.text == began);
    match policy {
        VersionPolicy::Pinned => exact(),
        VersionPolicy::NewestCompatible => {
            let began = Version::new(began);
            let fits = |version: &Version| version.major() == began.major() && *version >= began;
            codes.iter().rev().find(|(version, _)| fits(version)).or_else(exact)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(versions: &[&str]) -> BTreeMap<Version, ()> {
        versions.iter().map(|version| (Version::new(version), ())).collect()
    }

    #[test]
    fn versions_sort_by_their_numbers() {
        let codes = codes(&["1.2.0", "1.10.0", "1.9.1"]);
        assert_eq!(to_begin(&codes, None).unwrap().0.text(), "1.10.0");
        assert_eq!(to_begin(&codes, Some("1.9.1")).unwrap().0.text(), "1.9.1");
        assert!(to_begin(&codes, Some("2.0.0")).is_none());
    }

    #[test]
    fn an_instance_keeps_its_version_or_takes_a_compatible_one() {
        use VersionPolicy::{NewestCompatible, Pinned};
        let codes = codes(&["1.0.0", "1.2.0", "2.0.0"]);
        for (began, policy, expected) in [
            ("1.0.0", Pinned, Some("1.0.0")),
            ("1.1.0", Pinned, None),
            ("1.0.0", NewestCompatible, Some("1.2.0")),
            ("1.1.0", NewestCompatible, Some("1.2.0")),
            ("1.3.0", NewestCompatible, None),
            ("2.0.0", NewestCompatible, Some("2.0.0")),
            ("3.0.0", NewestCompatible, None),
        ] {
            let chosen = to_go_on(&codes, began, policy).map(|(version, ())| version.text());
            assert_eq!(chosen, expected, "{began} {policy:?}");
        }
    }
}
