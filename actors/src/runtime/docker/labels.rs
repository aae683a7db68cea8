//! The labels by which a container is known to be ours, and to be which attempt.
//!
//! Responsible for: writing them over the user's, and deciding whether a container found by name is the one
//! it should be. Not responsible for: what is done with a foreign one (nothing, ever).
//!
//! Invariants: a user's label never has our prefix; a container counts as an attempt's only when the
//! installation, the job and the number all match.

use std::collections::{BTreeMap, HashMap};

use crate::id::{AttemptKey, InstallationId};

/// Every label of ours begins so; a user's label that does is not copied.
const RESERVED: &str = "dev.dogwatch.";
/// The installation that created the container.
pub(super) const INSTALLATION: &str = "dev.dogwatch.installation";
const JOB: &str = "dev.dogwatch.job";
const ATTEMPT: &str = "dev.dogwatch.attempt";
/// The host's boot during which it was created; see `observe.rs`.
pub(super) const BOOT: &str = "dev.dogwatch.boot";
/// Which container of its attempt it is, beside the main one; of a volume too, which volume.
pub(super) const PART: &str = "dev.dogwatch.part";
/// On a main container: what stands beside it; see `group/label.rs`.
pub(super) const GROUP: &str = "dev.dogwatch.group";
/// Marks a container that is no attempt, with what it is for.
pub(super) const PURPOSE: &str = "dev.dogwatch.purpose";

/// The labels of an attempt's container: the user's, and ours over them.
pub(super) fn of_attempt(
    user: &BTreeMap<String, String>,
    installation: InstallationId,
    key: AttemptKey,
    boot: Option<&str>,
) -> HashMap<String, String> {
    let copied = user.iter().filter(|(name, _)| !name.starts_with(RESERVED));
    let mut labels: HashMap<String, String> = copied.map(|(k, v)| (k.clone(), v.clone())).collect();
    labels.insert(INSTALLATION.into(), installation.to_string());
    labels.insert(JOB.into(), key.job.to_string());
    labels.insert(ATTEMPT.into(), key.number.to_string());
    if let Some(boot) = boot {
        labels.insert(BOOT.into(), boot.to_owned());
    }
    labels
}

/// The attempt that these labels name, when they are this installation's.
pub(super) fn attempt(
    labels: Option<&HashMap<String, String>>,
    installation: InstallationId,
) -> Option<AttemptKey> {
    let labels = labels?;
    if *labels.get(INSTALLATION)? != installation.to_string() {
        return None;
    }
    let number: u32 = labels.get(ATTEMPT)?.parse().ok().filter(|number| *number > 0)?;
    Some(AttemptKey::new(labels.get(JOB)?.parse().ok()?, number))
}

/// The filter of everything of one attempt.
pub(super) fn filter_of(installation: InstallationId, key: AttemptKey) -> HashMap<&'static str, Vec<String>> {
    let labels = vec![
        format!("{INSTALLATION}={installation}"),
        format!("{JOB}={}", key.job),
        format!("{ATTEMPT}={}", key.number),
    ];
    HashMap::from([("label", labels)])
}

/// The filter of the engine's lists and events for this installation.
pub(super) fn filter(installation: InstallationId) -> HashMap<&'static str, Vec<String>> {
    HashMap::from([("label", vec![format!("{INSTALLATION}={installation}")])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::{Ids, RandomIds};

    #[test]
    fn a_user_cannot_write_our_labels() {
        let key = AttemptKey::new(RandomIds.job_id(Timestamp::from_millis(1)), 3);
        let ours = RandomIds.installation_id();
        let user = BTreeMap::from([
            (INSTALLATION.to_owned(), "someone".to_owned()),
            (ATTEMPT.to_owned(), "9".to_owned()),
            ("dev.dogwatch.purpose".to_owned(), "x".to_owned()),
            ("team".to_owned(), "data".to_owned()),
        ]);
        let labels = of_attempt(&user, ours, key, None);
        assert_eq!(labels.len(), 4, "{labels:?}");
        assert_eq!(labels["team"], "data");
        assert_eq!(attempt(Some(&labels), ours), Some(key));
    }

    #[test]
    fn every_label_must_match() {
        let key = AttemptKey::new(RandomIds.job_id(Timestamp::from_millis(1)), 3);
        let ours = RandomIds.installation_id();
        let labels = of_attempt(&BTreeMap::new(), ours, key, Some("boot"));
        assert_eq!(attempt(Some(&labels), RandomIds.installation_id()), None);
        for name in [INSTALLATION, JOB, ATTEMPT] {
            let mut without = labels.clone();
            without.remove(name);
            assert_eq!(attempt(Some(&without), ours), None, "{name}");
        }
        assert_eq!(attempt(None, ours), None);
    }
}
