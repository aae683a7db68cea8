//! Whether a schedule can be accepted: its times, its bounds, and what it starts. Pure.
//!
//! Not responsible for what only the supervisor knows: task hubs, and which orchestrations there are.

use super::plan::{Plan, PlanError};
use super::spec::{Overlap, ScheduledOrchestration, Spec};
use crate::array;
use crate::clock::Timestamp;
use crate::handle::FieldError;
use crate::job;
use crate::job::validate::Policy;
use crate::limits::{
    FIELD_ERRORS_MAX, KEY_CHARS_MAX, LABEL_VALUE_BYTES_MAX, ORCHESTRATION_NAME_CHARS_MAX,
    SCHEDULE_CATCH_UP_MAX, SCHEDULE_QUEUE_MAX, SPAN_MAX, TAGS_MAX, VERSION_BYTES_MAX,
};
use crate::name::OWN_LABELS;
use crate::orchestration::id::is_hub;
use crate::units::Span;

/// What a schedule writes on instances of orchestrations beside what it is told to.
const OWN_TAGS: usize = 3;

/// Everything that stands against this schedule, at most [`FIELD_ERRORS_MAX`]; empty when it can be accepted.
pub(crate) fn validate(name: &str, spec: &Spec, policy: &Policy, now: Timestamp) -> Vec<FieldError> {
    let mut faults = validate_times(name, spec, now);
    let mut refuse = |wrong: bool, pointer: &str, message: String| {
        if wrong {
            faults.push(FieldError { pointer: pointer.to_owned(), message });
        }
    };
    let message = format!("must be 1 to {SCHEDULE_QUEUE_MAX}");
    let is_good = (1..=SCHEDULE_QUEUE_MAX).contains(&spec.queue_max) || spec.overlap != Overlap::Queue;
    refuse(!is_good, "/queue_max", message);
    let message = format!("must be 0 to {SCHEDULE_CATCH_UP_MAX}");
    refuse(spec.catch_up.max > SCHEDULE_CATCH_UP_MAX, "/catch_up/max", message);
    refuse(!is_span(spec.catch_up.within), "/catch_up/within", not_a_span());
    let message = "a schedule starts one thing: give either `job` or `orchestration`".to_owned();
    refuse(spec.job.is_some() == spec.orchestration.is_some(), "", message);
    if let Some(job) = &spec.job {
        let instead = "the schedule itself decides when its jobs start; leave it out".to_owned();
        refuse(job.start_at.is_some(), "/job/start_at", instead.clone());
        refuse(job.suspended, "/job/suspended", instead);
        let mut single = (**job).clone();
        let of_job = match single.array.take() {
            Some(array) => array::validate(&single, &array, policy),
            None => job::validate::validate(&single, policy),
        };
        let of_job = of_job.into_iter();
        faults.extend(of_job.map(|fault| FieldError { pointer: format!("/job{}", fault.pointer), ..fault }));
    }
    faults.extend(spec.orchestration.iter().flat_map(|orchestration| validate_orchestration(orchestration)));
    faults.truncate(FIELD_ERRORS_MAX);
    faults
}

/// What stands against its times.
pub(crate) fn validate_times(name: &str, spec: &Spec, now: Timestamp) -> Vec<FieldError> {
    let fault = |pointer: &str, message: String| FieldError { pointer: pointer.to_owned(), message };
    let mut faults = Vec::new();
    match Plan::of(name, &unbounded(spec)) {
        Err(error @ PlanError::Zone(_)) => faults.push(fault("/time_zone", error.to_string())),
        Err(error @ PlanError::Seconds) => faults.push(fault("/seconds", error.to_string())),
        Err(error) => faults.push(fault("/cron", error.to_string())),
        Ok(plan) if plan.next_after(now).is_none() => {
            faults.push(fault("/cron", "never comes: no date is like this".to_owned()));
        }
        Ok(_) => {}
    }
    if !is_span(spec.jitter) {
        faults.push(fault("/jitter", not_a_span()));
    }
    if let (Some(start), Some(end)) = (spec.start_at, spec.end_at)
        && end < start
    {
        faults.push(fault("/end_at", format!("lies before `start_at`, which is {start}")));
    }
    faults
}

/// Its times without an end.
fn unbounded(spec: &Spec) -> Spec {
    Spec { end_at: None, job: None, orchestration: None, ..spec.clone() }
}

fn is_span(span: Option<Span>) -> bool {
    span.is_none_or(|span| span.as_duration() <= SPAN_MAX)
}

fn not_a_span() -> String {
    "must be at most ten years".to_owned()
}

/// What stands against what is started.
pub(crate) fn validate_orchestration(orchestration: &ScheduledOrchestration) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut refuse = |wrong: bool, field: &str, message: String| {
        if wrong {
            faults.push(FieldError { pointer: format!("/orchestration/{field}"), message });
        }
    };
    let ScheduledOrchestration { name, version, task_hub, tags, .. } = orchestration;
    let is_name =
        (1..=ORCHESTRATION_NAME_CHARS_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    refuse(
        !is_name,
        "name",
        format!("has 1 to {ORCHESTRATION_NAME_CHARS_MAX} bytes and no control characters"),
    );
    let is_version = version.as_ref().is_none_or(|version| (1..=VERSION_BYTES_MAX).contains(&version.len()));
    refuse(
        !is_version,
        "version",
        format!("has 1 to {VERSION_BYTES_MAX} characters; leave it out for the newest"),
    );
    let message = "is not the name of a task hub; use 1 to 64 letters, digits, - and _".to_owned();
    refuse(!is_hub(task_hub), "task_hub", message);
    let most = TAGS_MAX - OWN_TAGS;
    refuse(tags.len() > most, "tags", format!("has more than {most} tags"));
    for (key, value) in tags {
        let is_good = (1..=KEY_CHARS_MAX).contains(&key.len())
            && value.len() <= LABEL_VALUE_BYTES_MAX
            && !key.contains(['=', '/'])
            && !key.chars().chain(value.chars()).any(char::is_control);
        let message = format!(
            "keys have 1 to {KEY_CHARS_MAX} bytes without = and /, values at most {LABEL_VALUE_BYTES_MAX}, and no \
             control characters"
        );
        refuse(!is_good, "tags", message);
        let message =
            format!("begins with `{OWN_LABELS}`, which is kept for what dogwatch writes; use another name");
        refuse(key.starts_with(OWN_LABELS), "tags", message);
    }
    faults
}
