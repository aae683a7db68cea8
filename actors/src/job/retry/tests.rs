//! Tables of what follows an end, and of the pauses.

use std::time::Duration;

use super::*;
use crate::id::JobId;
use crate::job::spec::ExitCodes;
use crate::units::Span;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const FREE: Decision = Decision::Retry { counted: false };
const AGAIN: Decision = Decision::Retry { counted: true };

fn decided(spec: &Spec, cause: Cause, exit_code: Option<i32>, spent: u32) -> Decision {
    let ending = Ending::new(cause, "");
    decide(spec, Facts { ending: &ending, exit_code, spent, failing_since: Some(NOW), now: NOW })
}

fn policy(restart_policy: RestartPolicy, max_attempts: Option<u32>) -> Spec {
    Spec { restart_policy, max_attempts, ..Spec::default() }
}

#[test]
fn the_policy_decides_by_cause() {
    use Decision::{Fail, Succeed};
    // always, on failure, never
    let table = [
        (Cause::Success, [AGAIN, Succeed, Succeed]),
        (Cause::ExitCode, [AGAIN, AGAIN, Fail]),
        (Cause::Signal, [AGAIN, AGAIN, Fail]),
        (Cause::Oom, [AGAIN, AGAIN, Fail]),
        (Cause::Timeout, [AGAIN, AGAIN, Fail]),
        (Cause::StartError, [Fail, Fail, Fail]),
        (Cause::InputFailed, [Fail, Fail, Fail]),
        (Cause::OutputFailed, [AGAIN, AGAIN, Fail]),
        (Cause::Unhealthy, [AGAIN, AGAIN, Fail]),
        (Cause::Canceled, [Fail, Fail, Fail]),
        (Cause::Preempted, [FREE, FREE, FREE]),
        (Cause::CallbackFailed, [AGAIN, AGAIN, Fail]),
        (Cause::Lost, [FREE, FREE, FREE]),
        (Cause::RuntimeUnavailable, [FREE, FREE, FREE]),
        (Cause::HostRestart, [FREE, FREE, FREE]),
        (Cause::Quarantined, [Fail, Fail, Fail]),
    ];
    for (cause, wanted) in table {
        let policies = [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never];
        for (restart_policy, wanted) in policies.into_iter().zip(wanted) {
            let spec = policy(restart_policy, Some(3));
            assert_eq!(decided(&spec, cause, None, 0), wanted, "{cause:?} under {restart_policy:?}");
        }
    }
}

#[test]
fn so_many_attempts_and_no_more() {
    let spec = policy(RestartPolicy::OnFailure, Some(3));
    let fails = |spec: &Spec, spent| decided(spec, Cause::ExitCode, Some(1), spent);
    assert_eq!(
        [0, 1, 2, 3].map(|spent| fails(&spec, spent)),
        [AGAIN, AGAIN, Decision::Exhausted, Decision::Exhausted]
    );
    assert_eq!(fails(&policy(RestartPolicy::OnFailure, Some(1)), 0), Decision::Exhausted);
    assert_eq!(fails(&policy(RestartPolicy::OnFailure, None), u32::MAX), AGAIN);
    let always = policy(RestartPolicy::Always, Some(2));
    assert_eq!(decided(&always, Cause::Success, Some(0), 0), AGAIN);
    assert_eq!(decided(&always, Cause::Success, Some(0), 1), Decision::Succeed, "the last one went well");
    assert_eq!(fails(&always, 1), Decision::Exhausted);
}

#[test]
fn faults_of_the_infrastructure_have_a_budget_of_time() {
    let ending = Ending::new(Cause::Lost, "");
    let spec = policy(RestartPolicy::Never, Some(1));
    let after = |elapsed: Duration| {
        let facts = Facts {
            ending: &ending,
            exit_code: None,
            spent: 7,
            failing_since: Some(NOW),
            now: NOW.after(elapsed),
        };
        decide(&spec, facts)
    };
    assert_eq!(after(Duration::ZERO), FREE);
    assert_eq!(after(INFRASTRUCTURE_BUDGET - Duration::from_millis(1)), FREE);
    assert_eq!(after(INFRASTRUCTURE_BUDGET), Decision::Fail);
}

fn rule(exit_codes: &[ExitCodes], causes: &[Cause], action: RetryAction) -> RetryRule {
    RetryRule { exit_codes: exit_codes.to_vec(), causes: causes.to_vec(), action }
}

fn range(text: &str) -> ExitCodes {
    ExitCodes::Range(text.to_owned())
}

#[test]
fn rules_come_before_the_policy_and_the_first_match_wins() {
    let rules = vec![
        rule(&[ExitCodes::One(2), range("64-78")], &[], RetryAction::Fail),
        rule(&[], &[Cause::Oom, Cause::Lost], RetryAction::RetryFree),
        rule(&[ExitCodes::One(3)], &[Cause::ExitCode], RetryAction::Succeed),
        rule(&[range("2-9")], &[], RetryAction::Retry),
    ];
    let spec = Spec { retry_rules: rules, ..policy(RestartPolicy::Never, Some(2)) };
    let table = [
        (Cause::ExitCode, Some(2), 0, Decision::Fail),
        (Cause::ExitCode, Some(64), 0, Decision::Fail),
        (Cause::ExitCode, Some(78), 0, Decision::Fail),
        (Cause::Oom, Some(70), 0, Decision::Fail),
        (Cause::Oom, Some(137), 0, FREE),
        (Cause::Oom, Some(137), 99, FREE),
        (Cause::ExitCode, Some(3), 0, Decision::Succeed),
        // Both parts of a rule have to match.
        (Cause::CallbackFailed, Some(3), 0, AGAIN),
        (Cause::ExitCode, Some(9), 0, AGAIN),
        (Cause::ExitCode, Some(9), 1, Decision::Exhausted),
        // No rule matches: the policy, which is `Never`.
        (Cause::ExitCode, Some(10), 0, Decision::Fail),
        (Cause::ExitCode, Some(63), 0, Decision::Fail),
        (Cause::Timeout, None, 0, Decision::Fail),
        (Cause::Success, Some(0), 0, Decision::Succeed),
    ];
    for (cause, code, spent, wanted) in table {
        assert_eq!(decided(&spec, cause, code, spent), wanted, "{cause:?} {code:?} after {spent}");
    }
    let ending = Ending::new(Cause::Lost, "");
    let late = Facts {
        ending: &ending,
        exit_code: None,
        spent: 0,
        failing_since: Some(NOW),
        now: NOW.after(INFRASTRUCTURE_BUDGET * 9),
    };
    assert_eq!(decide(&spec, late), FREE, "a rule overrules the budget too");
}

fn key(number: u32) -> AttemptKey {
    AttemptKey::new(JobId::from_bytes([7; 16]), number)
}

#[test]
fn the_pause_grows_by_the_factor_up_to_the_longest() {
    let backoff = Backoff { jitter: 0.0, ..Backoff::default() };
    let secs = |streak| pause(&backoff, streak, key(1)).as_secs_f64();
    assert_eq!([0, 1, 2, 3, 8, 9, 4_000].map(secs), [1.0, 2.0, 4.0, 8.0, 256.0, 300.0, 300.0]);
    let even = Backoff { factor: 1.0, ..backoff.clone() };
    assert_eq!(pause(&even, 77, key(1)), Duration::from_secs(1));
    let none = Backoff { initial: Span::from_millis(0), ..backoff };
    assert_eq!([0, 5, 4_000].map(|streak| pause(&none, streak, key(1))), [Duration::ZERO; 3]);
}

#[test]
fn jitter_shortens_by_its_share_and_is_repeatable() {
    let backoff = Backoff { jitter: 0.25, ..Backoff::default() };
    let pauses: Vec<u128> = (1..200).map(|number| pause(&backoff, 3, key(number)).as_millis()).collect();
    assert!(pauses.iter().all(|millis| (6_000..=8_000).contains(millis)), "{pauses:?}");
    let (least, most) = (pauses.iter().min().copied(), pauses.iter().max().copied());
    assert!(least < Some(6_100) && most > Some(7_900), "they are spread out: {least:?} to {most:?}");
    assert_eq!(pause(&backoff, 3, key(5)), pause(&backoff, 3, key(5)), "the same history, the same pause");
    let whole = Backoff { jitter: 1.0, ..backoff };
    assert!((1..200).all(|number| pause(&whole, 0, key(number)) <= Duration::from_secs(1)));
}
