//! Whether an array can be accepted: its bounds, and what a child cannot have. Pure.

use super::spec::Spec;
use crate::handle::FieldError;
use crate::job;
use crate::job::validate::Policy;
use crate::limits::{ARRAY_PARALLELISM_MAX, ARRAY_SIZE_MAX, FIELD_ERRORS_MAX};

/// Everything that stands against this array, at most [`FIELD_ERRORS_MAX`]; empty when it can be accepted.
pub(crate) fn validate(spec: &job::spec::Spec, array: &Spec, policy: &Policy) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut refuse = |wrong: bool, pointer: &str, message: String| {
        if wrong {
            faults.push(FieldError { pointer: pointer.to_owned(), message });
        }
    };
    let message = format!("must be 1 to {ARRAY_SIZE_MAX}");
    refuse(!(1..=ARRAY_SIZE_MAX).contains(&array.size), "/array/size", message);
    let message = format!("must be 1 to {ARRAY_PARALLELISM_MAX}");
    refuse(!(1..=ARRAY_PARALLELISM_MAX).contains(&array.parallelism), "/array/parallelism", message);
    let success = array.success;
    let message = "give either `min_succeeded` or `max_failed`".to_owned();
    refuse(success.min_succeeded.is_some() && success.max_failed.is_some(), "/array/success", message);
    let message = format!("is more than `size`, which is {}", array.size);
    refuse(success.min_succeeded > Some(array.size), "/array/success/min_succeeded", message.clone());
    refuse(success.max_failed > Some(array.size), "/array/success/max_failed", message);
    let message = "each child would tell its own end; look at the array".to_owned();
    refuse(!spec.on_complete.is_empty(), "/on_complete", message);
    faults.extend(job::validate::validate(spec, policy));
    faults.truncate(FIELD_ERRORS_MAX);
    faults
}
