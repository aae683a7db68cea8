//! How it is admitted: tenant, priority, concurrency key, rate.

use super::{Findings, Policy};
use crate::admission::{Concurrency, Rate};
use crate::job::spec::Spec;
use crate::limits::{
    CONCURRENCY_KEY_CHARS_MAX, CONCURRENCY_LIMIT_MAX, PRIORITY_MAX, RATE_LIMIT_MAX, RATE_PER_MAX,
    TENANT_CHARS_MAX,
};

pub(super) fn check(spec: &Spec, policy: &Policy, findings: &mut Findings) {
    if let Some(tenant) = &spec.tenant
        && !is_tenant(tenant)
    {
        let message = format!("must be 1 to {TENANT_CHARS_MAX} letters, digits, `-`, `_`, `.`, `/` or `@`");
        findings.add("/tenant", message);
    }
    if spec.priority.unsigned_abs() > PRIORITY_MAX.unsigned_abs() {
        findings.add("/priority", format!("must be between -{PRIORITY_MAX} and {PRIORITY_MAX}"));
    }
    if let Some(asked) = &spec.concurrency {
        concurrency(asked, policy, findings);
    }
}

/// Whether this can be the name of a tenant.
pub fn is_tenant(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '@');
    (1..=TENANT_CHARS_MAX).contains(&name.len()) && name.chars().all(plain)
}

fn concurrency(asked: &Concurrency, policy: &Policy, findings: &mut Findings) {
    let length = asked.key.chars().count();
    if length == 0 || length > CONCURRENCY_KEY_CHARS_MAX || asked.key.chars().any(char::is_control) {
        let message =
            format!("must be 1 to {CONCURRENCY_KEY_CHARS_MAX} characters, none of them a control character");
        findings.add("/concurrency/key", message);
    }
    if asked.limit.is_some_and(|limit| limit == 0 || limit > CONCURRENCY_LIMIT_MAX) {
        findings.add("/concurrency/limit", format!("must be between 1 and {CONCURRENCY_LIMIT_MAX}"));
    }
    let known = policy.concurrency_keys.contains(&asked.key);
    if asked.limit.is_none() && asked.rate.is_none() && !known {
        let message =
            "is missing: the configuration declares no such key, so say how many jobs may live at once";
        findings.add("/concurrency/limit", message);
    }
    if let Some(rate) = &asked.rate {
        for (field, message) in rate_faults(rate) {
            findings.add(format!("/concurrency/rate/{field}"), message);
        }
    }
}

/// What stands against a rate: the field, and what to do.
pub fn rate_faults(rate: &Rate) -> Vec<(&'static str, String)> {
    let mut faults = vec![];
    let outside = |number: u32| number == 0 || number > RATE_LIMIT_MAX;
    if outside(rate.limit) {
        faults.push(("limit", format!("must be between 1 and {RATE_LIMIT_MAX}")));
    }
    if rate.burst.is_some_and(outside) {
        faults.push(("burst", format!("must be between 1 and {RATE_LIMIT_MAX}")));
    }
    if rate.per.as_millis() == 0 || rate.per.as_duration() > RATE_PER_MAX {
        faults.push(("per", "must be longer than 0 and at most 31 days".to_owned()));
    }
    faults
}
