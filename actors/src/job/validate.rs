//! Whether a spec can be accepted: bounds, syntax and combinations.
//!
//! Pure: a function of the spec and the server's [`Policy`]. Not responsible for shapes (`parse.rs`), nor for
//! anything that only the world knows (does the image exist, does the host resolve).
//!
//! Invariants: every finding has a JSON pointer and says what to do; none repeats a secret; every list and
//! text of a spec is bounded by a documented limit.

mod admission;
mod command;
mod container;
mod files;
mod group;
mod lifecycle;
#[cfg(test)]
mod tests;
mod webhook;

pub use self::admission::{is_tenant, rate_faults};

use std::fmt;

use super::spec::{SecurityProfile, Spec};
use crate::handle::FieldError;
use crate::limits::{FIELD_ERRORS_MAX, SPAN_MAX};
use crate::outbound::guard::Guard;
use crate::shape::join;
use crate::units::Span;

/// What this server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The runtimes that there are.
    pub runtimes: Vec<String>,
    /// The weakest security profile that a container may ask for.
    pub weakest_security_profile: SecurityProfile,
    /// Where webhooks may go.
    pub webhooks: Guard,
    /// The runtimes that run groups of containers.
    pub group_runtimes: Vec<String>,
    /// The paths of the host that containers may be given, with what is below them.
    pub host_paths: Vec<String>,
    /// The concurrency keys that the operator declares.
    pub concurrency_keys: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            runtimes: vec!["docker".to_owned(), "process".to_owned()],
            weakest_security_profile: SecurityProfile::Baseline,
            webhooks: Guard::default(),
            group_runtimes: vec!["docker".to_owned()],
            host_paths: vec![],
            concurrency_keys: vec![],
        }
    }
}

/// Everything that stands against this spec, at most [`FIELD_ERRORS_MAX`]; empty when it can be accepted.
pub fn validate(spec: &Spec, policy: &Policy) -> Vec<FieldError> {
    let mut findings = Findings::default();
    admission::check(spec, policy, &mut findings);
    command::check(spec, &mut findings);
    container::check(spec, policy, &mut findings);
    files::check(spec, policy, &mut findings);
    group::check(spec, policy, &mut findings);
    lifecycle::check(spec, &mut findings);
    webhook::check(spec, policy, &mut findings);
    findings.refuse_if(
        spec.array.is_some(),
        "/array",
        "only what a client submits is an array; leave it out",
    );
    findings.0
}

/// The pointer to a member of an object or an item of a list, which is made only where something is found.
#[derive(Debug, Clone, Copy)]
struct At<'a, T>(&'a str, T);

impl<T: fmt::Display> fmt::Display for At<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join(self.0, &self.1.to_string()))
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<FieldError>);

impl Findings {
    fn add(&mut self, pointer: impl fmt::Display, message: impl Into<String>) {
        if self.0.len() < FIELD_ERRORS_MAX {
            self.0.push(FieldError { pointer: pointer.to_string(), message: message.into() });
        }
    }

    /// Adds the finding when `wrong`.
    fn refuse_if(&mut self, wrong: bool, pointer: impl fmt::Display, message: &str) {
        if wrong {
            self.add(pointer, message);
        }
    }

    /// A list of at most `max` items. When it is longer its items need not be looked at.
    fn count(&mut self, pointer: impl fmt::Display, count: usize, max: usize) -> bool {
        if count > max {
            self.add(pointer, format!("has {count} items; at most {max} are accepted"));
        }
        count <= max
    }

    /// A text of at most `max` bytes that can be handed to the operating system. The text is not repeated.
    fn text(&mut self, pointer: impl fmt::Display, text: &str, max: usize) {
        if text.len() > max {
            self.add(pointer, format!("is {} bytes long; at most {max} are accepted", text.len()));
        } else if text.contains('\0') {
            self.add(
                pointer,
                "contains a NUL character, which no argument, variable or path can hold; remove it",
            );
        }
    }

    /// A span that is neither nothing nor absurd.
    fn span(&mut self, pointer: impl fmt::Display, span: Option<Span>) {
        let Some(span) = span else { return };
        if span.as_millis() == 0 {
            self.add(pointer, "must be longer than 0; leave it out for none");
        } else if span.as_duration() > SPAN_MAX {
            self.add(pointer, "is longer than ten years; leave it out for none");
        }
    }
}
