//! Whether a trigger can be accepted: its source, its bounds, and what it starts. Pure.
//!
//! Not responsible for what only the supervisor knows: directories, stores, queues, task hubs, and which orchestrations there
//! are.

use super::pattern::Pattern;
use super::spec::{Directory, Objects, Source, Spec};
use super::starts::PLACEHOLDERS;
use crate::handle::FieldError;
use crate::job;
use crate::job::validate::Policy;
use crate::limits::{
    FIELD_ERRORS_MAX, SPAN_MAX, TRIGGER_BODY_BYTES_MAX, TRIGGER_BUCKET_POLL_MIN, TRIGGER_DELIVERIES_MAX,
    TRIGGER_OBJECT_BYTES_MAX, TRIGGER_PARALLELISM_MAX, TRIGGER_PATTERNS_MAX, TRIGGER_PLACEHOLDERS_MAX,
    TRIGGER_POLL_MAX, TRIGGER_POLL_MIN, TRIGGER_RETRY_DELAY_MAX, TRIGGER_SETTLE_MAX,
};
use crate::schedule::{ScheduledOrchestration, validate_orchestration};

/// Everything that stands against this trigger, at most [`FIELD_ERRORS_MAX`]; empty when it can be accepted.
pub(crate) fn validate(spec: &Spec, policy: &Policy) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut refuse = |wrong: bool, pointer: &str, message: &str| {
        if wrong {
            faults.push(FieldError { pointer: pointer.to_owned(), message: message.to_owned() });
        }
    };
    let sources =
        [spec.directory.is_some(), spec.bucket.is_some(), spec.http.is_some(), spec.queue.is_some()];
    let is_one = sources.iter().filter(|is_there| **is_there).count() == 1;
    refuse(!is_one, "", "a trigger has one source: give one of `directory`, `bucket`, `http` and `queue`");
    let message = "a trigger starts one thing: give either `job` or `orchestration`";
    refuse(spec.job.is_some() == spec.orchestration.is_some(), "", message);
    let message = format!("must be 1 to {TRIGGER_PARALLELISM_MAX}");
    refuse(!(1..=TRIGGER_PARALLELISM_MAX).contains(&spec.parallelism), "/parallelism", &message);
    let message = format!("must be 1 to {TRIGGER_DELIVERIES_MAX}");
    refuse(!(1..=TRIGGER_DELIVERIES_MAX).contains(&spec.max_deliveries), "/max_deliveries", &message);
    let message = format!("must be at most {TRIGGER_RETRY_DELAY_MAX}");
    refuse(spec.retry_delay > TRIGGER_RETRY_DELAY_MAX, "/retry_delay", &message);
    let is_long = spec.remember.is_some_and(|remember| remember.as_duration() > SPAN_MAX);
    refuse(is_long, "/remember", "must be at most ten years");
    match spec.source() {
        Some(Source::Directory(directory)) => of_directory(directory, &mut refuse),
        Some(Source::Bucket(bucket)) => of_bucket(bucket, &mut refuse),
        Some(Source::Http(http)) => {
            let message = format!("must be at most {TRIGGER_BODY_BYTES_MAX}");
            refuse(http.body_max > TRIGGER_BODY_BYTES_MAX, "/http/body_max", &message);
        }
        Some(Source::Queue(_)) | None => {}
    }
    if let Some(job) = &spec.job {
        faults.extend(of_job(job, policy));
    }
    if let Some(orchestration) = &spec.orchestration {
        let orchestration = orchestration.as_ref().clone();
        faults.extend(validate_orchestration(&ScheduledOrchestration {
            name: orchestration.name,
            version: orchestration.version,
            task_hub: orchestration.task_hub,
            input: orchestration.input,
            envelope: true,
            tags: orchestration.tags,
        }));
    }
    faults.truncate(FIELD_ERRORS_MAX);
    faults
}

fn of_directory(directory: &Directory, refuse: &mut impl FnMut(bool, &str, &str)) {
    let Directory { path, patterns, settle, poll, .. } = directory;
    let is_path = path.starts_with('/') && path.len() <= TRIGGER_OBJECT_BYTES_MAX && !path.contains('\0');
    let message = "must be the absolute path of a directory of the server";
    refuse(!is_path, "/directory/path", message);
    of_patterns(patterns, "/directory/patterns", refuse);
    let message = format!("must be at most {TRIGGER_SETTLE_MAX}");
    refuse(*settle > TRIGGER_SETTLE_MAX, "/directory/settle", &message);
    let message = format!("must be {TRIGGER_POLL_MIN} to {TRIGGER_POLL_MAX}");
    refuse(!(TRIGGER_POLL_MIN..=TRIGGER_POLL_MAX).contains(poll), "/directory/poll", &message);
}

fn of_bucket(bucket: &Objects, refuse: &mut impl FnMut(bool, &str, &str)) {
    let Objects { prefix, patterns, poll, .. } = bucket;
    let is_good = prefix.len() <= TRIGGER_OBJECT_BYTES_MAX && !prefix.chars().any(char::is_control);
    refuse(!is_good, "/bucket/prefix", "is too long, or has control characters");
    of_patterns(patterns, "/bucket/patterns", refuse);
    let message = format!("must be {TRIGGER_BUCKET_POLL_MIN} to {TRIGGER_POLL_MAX}");
    refuse(!(TRIGGER_BUCKET_POLL_MIN..=TRIGGER_POLL_MAX).contains(poll), "/bucket/poll", &message);
}

fn of_patterns(patterns: &[String], pointer: &str, refuse: &mut impl FnMut(bool, &str, &str)) {
    let message = format!("has more than {TRIGGER_PATTERNS_MAX} patterns");
    refuse(patterns.len() > TRIGGER_PATTERNS_MAX, pointer, &message);
    for (at, pattern) in patterns.iter().enumerate() {
        if let Err(error) = Pattern::parse(pattern) {
            refuse(true, &format!("{pointer}/{at}"), &error.to_string());
        }
    }
}

fn of_job(job: &job::spec::Spec, policy: &Policy) -> Vec<FieldError> {
    let fault = |pointer: &str, message: String| FieldError { pointer: pointer.to_owned(), message };
    let mut faults = Vec::new();
    let instead = "the trigger itself decides when its jobs start; leave it out".to_owned();
    if job.start_at.is_some() {
        faults.push(fault("/job/start_at", instead.clone()));
    }
    if job.suspended {
        faults.push(fault("/job/suspended", instead));
    }
    if job.array.is_some() {
        faults
            .push(fault("/job/array", "a trigger submits one job for each object; leave it out".to_owned()));
    }
    let count: usize = job
        .args
        .iter()
        .map(|arg| PLACEHOLDERS.iter().map(|placeholder| arg.matches(placeholder).count()).sum::<usize>())
        .sum();
    if count > TRIGGER_PLACEHOLDERS_MAX {
        let message = format!("has more than {TRIGGER_PLACEHOLDERS_MAX} placeholders");
        faults.push(fault("/job/args", message));
    }
    let of_spec = job::validate::validate(job, policy).into_iter();
    faults.extend(of_spec.map(|fault| FieldError { pointer: format!("/job{}", fault.pointer), ..fault }));
    faults
}
