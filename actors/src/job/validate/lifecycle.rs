//! How it lives: attempts, pauses, time limits, completion, the service.

use super::Findings;
use crate::job::cause::Cause;
use crate::job::spec::{Completion, Network, RetryRule, Service, Spec};
use crate::limits::{PATH_BYTES_MAX, RETRY_RULE_ITEMS_MAX, RETRY_RULES_MAX, STATUS_POLL_MIN, STOP_GRACE_MAX};

pub(super) fn check(spec: &Spec, findings: &mut Findings) {
    attempts(spec, findings);
    times(spec, findings);
    completion(spec, findings);
    if let Some(service) = &spec.service {
        self::service(service, spec, findings);
    }
}

fn attempts(spec: &Spec, findings: &mut Findings) {
    let none = spec.max_attempts == Some(0);
    findings.refuse_if(none, "/max_attempts", "must be at least 1; `null` means no limit");
    let backoff = &spec.backoff;
    // Written so that NaN is refused too.
    let factor = backoff.factor >= 1.0 && backoff.factor.is_finite();
    findings.refuse_if(!factor, "/backoff/factor", "must be a number of at least 1");
    let jitter = (0.0..=1.0).contains(&backoff.jitter);
    findings.refuse_if(!jitter, "/backoff/jitter", "must be between 0 and 1");
    findings.span("/backoff/initial", Some(backoff.initial));
    findings.span("/backoff/max", Some(backoff.max));
    findings.span("/backoff/reset_after", Some(backoff.reset_after));
    let less = backoff.max < backoff.initial;
    findings.refuse_if(less, "/backoff/max", "is shorter than `initial`; make it at least as long");
    if findings.count("/retry_rules", spec.retry_rules.len(), RETRY_RULES_MAX) {
        for (index, rule) in spec.retry_rules.iter().enumerate() {
            retry_rule(&format!("/retry_rules/{index}"), rule, findings);
        }
    }
}

fn retry_rule(pointer: &str, rule: &RetryRule, findings: &mut Findings) {
    let matches_nothing = rule.exit_codes.is_empty() && rule.causes.is_empty();
    findings.refuse_if(matches_nothing, pointer, "matches nothing; give it `exit_codes` or `causes`");
    let codes = format!("{pointer}/exit_codes");
    if findings.count(&codes, rule.exit_codes.len(), RETRY_RULE_ITEMS_MAX) {
        for (index, code) in rule.exit_codes.iter().enumerate() {
            let good = code.bounds().is_some_and(|(low, high)| low >= 0 && high <= 255);
            let message = "is no exit code or range; write 0 to 255, or a range such as \"64-78\"";
            findings.refuse_if(!good, format!("{codes}/{index}"), message);
        }
    }
    let causes = format!("{pointer}/causes");
    if findings.count(&causes, rule.causes.len(), RETRY_RULE_ITEMS_MAX) {
        for (index, cause) in rule.causes.iter().enumerate() {
            let never = matches!(cause, Cause::Canceled | Cause::Skipped | Cause::Quarantined);
            let message = "ends the job whatever the rules say; remove it from the rule";
            findings.refuse_if(never, format!("{causes}/{index}"), message);
        }
    }
}

fn times(spec: &Spec, findings: &mut Findings) {
    findings.span("/timeout", spec.timeout);
    findings.span("/attempt_timeout", spec.attempt_timeout);
    findings.span("/queue_timeout", spec.queue_timeout);
    findings.span("/ttl_after_finished", spec.ttl_after_finished.filter(|ttl| ttl.as_millis() > 0));
    let unreachable = spec.timeout.zip(spec.attempt_timeout).is_some_and(|(whole, one)| one > whole);
    let message = "is longer than `timeout`, so that it can never pass; make it shorter";
    findings.refuse_if(unreachable, "/attempt_timeout", message);
    let grace = spec.stop_grace.as_duration() > STOP_GRACE_MAX;
    findings.refuse_if(grace, "/stop_grace", "must be at most 1h");
}

fn completion(spec: &Spec, findings: &mut Findings) {
    let deaf = spec.network == Network::None;
    findings.refuse_if(
        deaf && spec.completion == Completion::Callback && spec.service.is_none(),
        "/completion",
        "without a network no callback can be made; set `network` to `default`, or `completion` to `exit`",
    );
    findings.refuse_if(
        spec.service.is_some() && spec.completion == Completion::Exit,
        "/completion",
        "a service says itself when its work is done; set it to `callback` or `either`",
    );
}

fn service(service: &Service, spec: &Spec, findings: &mut Findings) {
    findings.refuse_if(service.port == 0, "/service/port", "must be between 1 and 65535");
    findings.refuse_if(
        spec.network == Network::None,
        "/network",
        "a service without a network cannot be called; set it to `default`",
    );
    findings.span("/service/ready_timeout", Some(service.ready_timeout));
    if let Some(start) = &service.start {
        path("/service/start/path", &start.path, findings);
    }
    if let Some(status) = &service.status {
        path("/service/status/path", &status.path, findings);
        findings.span("/service/status/every", Some(status.every));
        let often = status.every.as_duration() < STATUS_POLL_MIN && status.every.as_millis() > 0;
        findings.refuse_if(often, "/service/status/every", "must be at least 100ms");
    }
}

pub(super) fn path(pointer: &str, path: &str, findings: &mut Findings) {
    findings.text(pointer, path, PATH_BYTES_MAX);
    findings.refuse_if(!path.starts_with('/'), pointer, "must begin with `/`");
    let inside = path.chars().all(|c| c.is_ascii_graphic() && c != '#');
    findings.refuse_if(!inside, pointer, "contains a character that must be percent-encoded in a path");
}
