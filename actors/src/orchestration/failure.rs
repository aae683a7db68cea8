//! Why a task or an orchestration failed: what code returns, what history keeps, what clients are shown.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::limits::FAILURE_TEXT_BYTES_MAX;

/// The `kind` of a failure that is not made by user code.
pub mod kinds {
    /// The code panicked.
    pub const PANIC: &str = "panic";
    /// It took longer than its timeout.
    pub const TIMEOUT: &str = "timeout";
    /// It did not send a heartbeat in time.
    pub const HEARTBEAT: &str = "heartbeat_missed";
    /// It was cancelled.
    pub const CANCELLED: &str = "cancelled";
    /// A child or the instance was terminated.
    pub const TERMINATED: &str = "terminated";
    /// No activity or orchestration of this name is known.
    pub const UNKNOWN: &str = "unknown_name";
    /// The input or output is not what the code expects.
    pub const PAYLOAD: &str = "payload";
    /// A child with this id exists already.
    pub const EXISTS: &str = "instance_exists";
    /// The job's spec is not valid.
    pub const INVALID_SPEC: &str = "invalid_spec";
    /// The job did not succeed.
    pub const JOB: &str = "job_failed";
    /// The code asks for something else than its history says.
    pub const NON_DETERMINISM: &str = "non_determinism";
    /// The machine's own actor kept panicking.
    pub const QUARANTINED: &str = "quarantined";
}

/// Why a task or an orchestration failed.
///
/// Every error type becomes one by `?`. It is deliberately no [`std::error::Error`] itself, which is what makes that
/// possible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// What kind of failure, for programs: the name of the error's type, or one of [`kinds`].
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened, for people.
    pub message: String,
    /// Where it happened, for people: a stack trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// What else is known of it, for programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub properties: BTreeMap<String, Value>,
    /// Trying again is of no use: no retry policy does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub non_retriable: bool,
    /// What caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub cause: Option<Box<Failure>>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            message: cut(message.into()),
            stack: None,
            properties: BTreeMap::new(),
            non_retriable: false,
            cause: None,
        }
    }

    /// The same, which no retry policy tries again.
    #[must_use]
    pub fn non_retriable(mut self) -> Self {
        self.non_retriable = true;
        self
    }

    /// The same with what caused it.
    #[must_use]
    pub fn caused_by(mut self, cause: Self) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl<E: StdError> From<E> for Failure {
    fn from(error: E) -> Self {
        let name = std::any::type_name::<E>();
        let name = name.split('<').next().unwrap_or(name).rsplit("::").next().unwrap_or(name);
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            message = format!("{message}: {error}");
            source = error.source();
        }
        Self::new(name, message)
    }
}

/// The result of an activity, of a child, of an orchestration.
pub type Result<T> = std::result::Result<T, Failure>;

fn cut(mut text: String) -> String {
    if text.len() > FAILURE_TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(FAILURE_TEXT_BYTES_MAX));
        text.push_str(" …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_becomes_a_failure_with_its_name_and_its_causes() {
        let failure: Failure = "x".parse::<u8>().unwrap_err().into();
        assert_eq!(failure.kind, "ParseIntError");
        assert!(failure.to_string().contains("invalid digit"));
        let long = Failure::new("x", "ä".repeat(FAILURE_TEXT_BYTES_MAX));
        assert!(long.message.len() < FAILURE_TEXT_BYTES_MAX + 8);
    }
}
