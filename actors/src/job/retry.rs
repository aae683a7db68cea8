//! What follows the end of an attempt: rules first, then the infrastructure's budget, then the policy. Pure.

use std::time::Duration;

use super::cause::Cause;
use super::spec::{Backoff, RestartPolicy, RetryAction, RetryRule, Spec};
use super::state::Ending;
use crate::clock::Timestamp;
use crate::id::AttemptKey;
use crate::limits::INFRASTRUCTURE_BUDGET;

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The job succeeds.
    Succeed,
    /// The job fails.
    Fail,
    /// The job fails: its attempts are used up.
    Exhausted,
    /// Another attempt.
    Retry {
        /// Whether the ended one counts against `max_attempts`.
        counted: bool,
    },
}

/// The facts a decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// How the attempt ended.
    pub ending: &'a Ending,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// Attempts counted before this one.
    pub spent: u32,
    /// Since when attempts end by faults of the infrastructure.
    pub failing_since: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// Decides what follows.
pub fn decide(spec: &Spec, facts: Facts<'_>) -> Decision {
    let cause = facts.ending.cause;
    if let Some(rule) = spec.retry_rules.iter().find(|rule| matches(rule, cause, facts.exit_code)) {
        return match rule.action {
            RetryAction::Retry => counted(spec, facts),
            RetryAction::RetryFree => Decision::Retry { counted: false },
            RetryAction::Fail => Decision::Fail,
            RetryAction::Succeed => Decision::Succeed,
        };
    }
    if cause.is_infrastructure() {
        let since = facts.failing_since.unwrap_or(facts.now);
        let within_budget = facts.now.since(since) < INFRASTRUCTURE_BUDGET;
        return if within_budget { Decision::Retry { counted: false } } else { Decision::Fail };
    }
    match (spec.restart_policy, cause) {
        (RestartPolicy::Always, Cause::Success) => match counted(spec, facts) {
            Decision::Exhausted => Decision::Succeed,
            decision => decision,
        },
        (_, Cause::Success) => Decision::Succeed,
        // What cannot start will not start the next time either.
        (RestartPolicy::Never, _)
        | (_, Cause::StartError | Cause::InputFailed | Cause::Canceled | Cause::Quarantined) => {
            Decision::Fail
        }
        _ => counted(spec, facts),
    }
}

fn counted(spec: &Spec, facts: Facts<'_>) -> Decision {
    match spec.max_attempts {
        Some(max) if facts.spent.saturating_add(1) >= max => Decision::Exhausted,
        _ => Decision::Retry { counted: true },
    }
}

fn matches(rule: &RetryRule, cause: Cause, exit_code: Option<i32>) -> bool {
    let code = rule.exit_codes.is_empty()
        || exit_code.is_some_and(|code| rule.exit_codes.iter().any(|codes| codes.contains(code)));
    let cause = rule.causes.is_empty() || rule.causes.contains(&cause);
    code && cause
}

/// The pause before the attempt after `key`, where `streak` retries went before it.
///
/// `initial · factor^streak`, at most `max`, shortened by a random share of up to `jitter`. The share is a
/// hash of the attempt, so that the same history always gives the same pause.
pub fn pause(backoff: &Backoff, streak: u32, key: AttemptKey) -> Duration {
    let exponent = i32::try_from(streak).unwrap_or(i32::MAX);
    let initial = backoff.initial.as_millis() as f64;
    if initial == 0.0 {
        return Duration::ZERO;
    }
    let full = (initial * backoff.factor.powi(exponent)).min(backoff.max.as_millis() as f64);
    let share = f64::from(hash(key)) / f64::from(u32::MAX);
    let millis = full * (1.0 - backoff.jitter * share);
    Duration::from_millis(if millis.is_finite() { millis.max(0.0) as u64 } else { backoff.max.as_millis() })
}

fn hash(key: AttemptKey) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key.job.as_bytes()), &key.number.to_be_bytes())
}

#[cfg(test)]
mod tests;
