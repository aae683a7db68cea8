//! Whether a pool can be accepted: bounds, and what a job cannot have as an instance of a pool. Pure.
//!
//! Not responsible for what only the store knows: the task hub, and the activities of other pools.

use std::collections::BTreeSet;

use super::spec::{Activity, Source, Spec};
use crate::handle::FieldError;
use crate::job;
use crate::job::spec::Network;
use crate::job::validate::Policy;
use crate::limits::{
    FIELD_ERRORS_MAX, ORCHESTRATION_NAME_CHARS_MAX, POOL_ACTIVITIES_MAX, POOL_INSTANCES_MAX,
    POOL_PER_INSTANCE_MAX, SPAN_MAX, VERSION_BYTES_MAX,
};
use crate::orchestration::id::is_hub;
use crate::queue::QueueId;

/// Everything that stands against this pool, at most [`FIELD_ERRORS_MAX`]; empty when it can be accepted.
pub(crate) fn validate(spec: &Spec, policy: &Policy) -> Vec<FieldError> {
    let mut findings = Vec::new();
    let mut refuse = |wrong: bool, pointer: &str, message: String| {
        if wrong {
            findings.push(FieldError { pointer: pointer.to_owned(), message });
        }
    };
    let (count, has_queue) = (spec.activities.len(), spec.queue.is_some());
    let message =
        format!("has {count} activities; a pool runs 1 to {POOL_ACTIVITIES_MAX}, or works on a `queue`");
    refuse(!has_queue && !(1..=POOL_ACTIVITIES_MAX).contains(&count), "/activities", message);
    let message = "a pool runs activities or works on a queue; leave one of them out".to_owned();
    refuse(has_queue && count > 0, "/queue", message);
    if let Some(Err(error)) = spec.queue.as_deref().map(str::parse::<QueueId>) {
        refuse(true, "/queue", error.to_string());
    }
    refuse(
        !is_hub(&spec.task_hub),
        "/task_hub",
        "is not the name of a task hub; use 1 to 64 letters, digits, - and _".to_owned(),
    );
    let message = format!("must be 1 to {POOL_INSTANCES_MAX}");
    refuse(!(1..=POOL_INSTANCES_MAX).contains(&spec.max), "/max", message);
    refuse(spec.min > spec.max, "/min", format!("is more than `max`, which is {}", spec.max));
    let message = format!("must be 1 to {POOL_PER_INSTANCE_MAX}");
    refuse(!(1..=POOL_PER_INSTANCE_MAX).contains(&spec.per_instance), "/per_instance", message);
    let is_good = spec.idle.as_millis() > 0 && spec.idle.as_duration() <= SPAN_MAX;
    refuse(!is_good, "/idle", "must be longer than 0 and at most ten years".to_owned());

    let job = &spec.job;
    let instead = "the pool itself decides when its instances start; leave it out".to_owned();
    refuse(job.start_at.is_some(), "/job/start_at", instead.clone());
    refuse(job.suspended, "/job/suspended", instead);
    let message = "an instance of a pool tells nobody of its end; look at the pool".to_owned();
    refuse(!job.on_complete.is_empty(), "/job/on_complete", message);
    let message = "without a network no worker connects; leave it out".to_owned();
    refuse(job.image.is_some() && job.network == Network::None, "/job/network", message);
    let prefixed = job::validate::validate(job, policy).into_iter();
    let prefixed = prefixed.map(|fault| FieldError { pointer: format!("/job{}", fault.pointer), ..fault });
    let named = spec.activities.iter().take(POOL_ACTIVITIES_MAX).enumerate();
    let names: Vec<FieldError> = named.filter_map(|(index, activity)| name_fault(index, activity)).collect();
    findings.extend(names);
    findings.extend(twice(&spec.activities));
    findings.extend(prefixed);
    findings.truncate(FIELD_ERRORS_MAX);
    findings
}

fn name_fault(index: usize, activity: &Activity) -> Option<FieldError> {
    let fault = |field: &str, message: String| {
        Some(FieldError { pointer: format!("/activities/{index}/{field}"), message })
    };
    if !(1..=ORCHESTRATION_NAME_CHARS_MAX).contains(&activity.name.chars().count()) {
        return fault("name", format!("has 1 to {ORCHESTRATION_NAME_CHARS_MAX} characters"));
    }
    match &activity.version {
        Some(version) if !(1..=VERSION_BYTES_MAX).contains(&version.len()) => fault(
            "version",
            format!("has 1 to {VERSION_BYTES_MAX} characters; leave it out for every version"),
        ),
        _ => None,
    }
}

fn twice(activities: &[Activity]) -> Option<FieldError> {
    let mut seen = BTreeSet::new();
    let mut named = activities.iter().take(POOL_ACTIVITIES_MAX);
    let index = named.position(|activity| !seen.insert((&activity.name, &activity.version)))?;
    let message = "is there twice; name it once".to_owned();
    Some(FieldError { pointer: format!("/activities/{index}"), message })
}

/// Where `spec` does what `other` does already.
pub(crate) fn overlap(spec: &Spec, other: &Spec) -> Option<String> {
    if let (Source::Queue(queue), Source::Queue(others)) = (spec.source(), other.source()) {
        return (queue == others).then(|| "/queue".to_owned());
    }
    activity_of_both(spec, other).map(|place| format!("/activities/{place}"))
}

/// The place of the first activity of `spec` that `other` runs too.
fn activity_of_both(spec: &Spec, other: &Spec) -> Option<usize> {
    let meets = |one: &Activity, other: &Activity| {
        one.name == other.name
            && (one.version.is_none() || other.version.is_none() || one.version == other.version)
    };
    let is_taken = |activity: &Activity| other.activities.iter().any(|other| meets(activity, other));
    (spec.task_hub == other.task_hub).then(|| spec.activities.iter().position(is_taken)).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(more: serde_json::Value) -> Spec {
        let mut spec = json!({"activities": [{"name": "resize"}], "job": {"args": ["worker"]}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn what_cannot_be_is_refused_and_it_is_said_where() {
        assert_eq!(validate(&spec(json!({})), &Policy::default()), []);
        let long = "x".repeat(ORCHESTRATION_NAME_CHARS_MAX + 1);
        for (more, pointer) in [
            (json!({"activities": []}), "/activities"),
            (json!({"queue": "orders"}), "/queue"),
            (json!({"activities": [], "queue": "No Name"}), "/queue"),
            (json!({"activities": [{"name": ""}]}), "/activities/0/name"),
            (json!({"activities": [{"name": long}]}), "/activities/0/name"),
            (json!({"activities": [{"name": "a", "version": ""}]}), "/activities/0/version"),
            (json!({"activities": [{"name": "a"}, {"name": "a"}]}), "/activities/1"),
            (json!({"task_hub": "a/b"}), "/task_hub"),
            (json!({"max": 0}), "/max"),
            (json!({"max": POOL_INSTANCES_MAX + 1}), "/max"),
            (json!({"min": 5}), "/min"),
            (json!({"per_instance": 0}), "/per_instance"),
            (json!({"idle": "0s"}), "/idle"),
            (json!({"job": {}}), "/job"),
            (json!({"job": {"args": ["x"], "suspended": true}}), "/job/suspended"),
            (json!({"job": {"args": ["x"], "start_at": "2030-01-01T00:00:00Z"}}), "/job/start_at"),
            (
                json!({"job": {"args": ["x"], "on_complete": [{"url": "https://a.example"}]}}),
                "/job/on_complete",
            ),
            (json!({"job": {"image": "x", "network": "none"}}), "/job/network"),
            (json!({"job": {"args": ["x"], "env": {"DOGWATCH_X": "1"}}}), "/job/env/DOGWATCH_X"),
        ] {
            let faults = validate(&spec(more.clone()), &Policy::default());
            assert!(faults.iter().any(|fault| fault.pointer == pointer), "{more}: {faults:?}");
        }
    }

    #[test]
    fn two_pools_meet_in_a_hub_where_they_run_the_same() {
        let of = |hub: &str, name: &str, version: Option<&str>| {
            spec(
                json!({"task_hub": hub, "activities": [{"name": "own"}, {"name": name, "version": version}]}),
            )
        };
        let other = spec(json!({"activities": [{"name": "resize", "version": "1"}, {"name": "crop"}]}));
        for (hub, name, version, expected) in [
            ("default", "resize", Some("1"), Some(1_usize)),
            ("default", "resize", None, Some(1)),
            ("default", "resize", Some("2"), None),
            ("default", "crop", Some("7"), Some(1)),
            ("default", "Crop", None, None),
            ("blue", "crop", None, None),
        ] {
            let expected = expected.map(|place| format!("/activities/{place}"));
            assert_eq!(overlap(&of(hub, name, version), &other), expected, "{hub} {name} {version:?}");
        }
        let on = |queue: &str| spec(json!({"activities": [], "queue": queue}));
        assert_eq!(validate(&on("orders"), &Policy::default()), []);
        assert_eq!(overlap(&on("orders"), &on("orders")), Some("/queue".to_owned()));
        assert_eq!(overlap(&on("orders"), &on("letters")), None);
        assert_eq!(overlap(&on("orders"), &other), None);
    }
}
