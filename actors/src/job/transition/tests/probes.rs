//! What failing and passing probes do to a job, and what a failed init container does.

use super::sample::{Life, exit, probe_failed, spec};
use crate::job::cause::Cause;
use crate::job::event::Event;
use crate::job::explain::explain;
use crate::job::group::{Container, OnUnhealthy, Probe};
use crate::job::spec::{ExitCodes, RetryAction, RetryRule, Spec};
use crate::job::state::{Phase, Then};
use crate::runtime::{Exit, Unseen};

fn probed(on_unhealthy: OnUnhealthy) -> Spec {
    let probe = Probe { exec: vec!["ok".into()], failures: 3, on_unhealthy, ..Probe::default() };
    Spec { probe: Some(probe), ..spec() }
}

#[test]
fn enough_failures_in_a_row_end_the_attempt_and_policy_or_the_job_follows() {
    for (on_unhealthy, state) in [(OnUnhealthy::Restart, "backing_off"), (OnUnhealthy::Fail, "failed")] {
        let mut life = Life::of(probed(on_unhealthy));
        life.running().apply(probe_failed(1, 1)).apply(probe_failed(1, 2));
        assert!(matches!(life.job.phase, Phase::Running { .. }), "two are not enough");
        assert!(life.message().contains("the probe of `main` fails: it is ill"), "{}", life.message());
        assert!(explain(&life.job, None).sentence.contains("it is ill"));
        life.apply(probe_failed(1, 3));
        assert!(life.stops(), "{on_unhealthy:?}");
        life.exits(0);
        assert_eq!(life.job.state().name(), state, "an exit code of 0 changes nothing");
        let ending =
            life.job.attempts.last().and_then(|attempt| attempt.ending.clone()).expect("it has ended");
        assert_eq!(ending.cause, Cause::Unhealthy);
        assert!(ending.message.contains("it is ill (3 times in a row)"), "{}", ending.message);
        assert!(life.job.failing_probes.is_empty());
    }
}

#[test]
fn what_passes_again_is_forgotten_and_only_news_are_noted() {
    let mut life = Life::of(probed(OnUnhealthy::Restart));
    life.running();
    let passed = || Event::ProbePassed { attempt: 1, container: "main".into() };
    let revision = life.job.revision;
    life.apply(passed());
    assert_eq!(life.job.revision, revision, "that all is well is no news");
    life.apply(probe_failed(1, 1));
    assert_eq!(life.job.revision, revision + 1);
    life.apply(probe_failed(1, 2));
    assert_eq!(life.job.revision, revision + 1, "the same again is no news");
    life.apply(passed());
    assert_eq!(life.job.revision, revision + 2);
    assert!(life.job.failing_probes.is_empty());
    // Of a container that has no probe nothing is believed, and a new attempt begins without what was.
    let stranger = Event::ProbeFailed {
        attempt: 1,
        container: "other".into(),
        failures: 9,
        message: "it is ill".into(),
    };
    life.apply(stranger);
    assert!(matches!(life.job.phase, Phase::Running { .. }));
    life.apply(probe_failed(1, 1)).exits(1).tick().running();
    assert!(life.job.failing_probes.is_empty());
    life.apply(Event::CancelRequested).apply(probe_failed(2, 9));
    assert!(matches!(life.job.phase, Phase::Stopping { then: Then::Cancel, .. }));
}

#[test]
fn a_failed_init_container_has_a_cause_of_its_own() {
    let init = Container { name: "fetch".into(), ..Container::default() };
    let grouped = |rules| Spec { init_containers: vec![init.clone()], retry_rules: rules, ..spec() };
    let ended = |code, oom_killed, unseen| Event::AttemptExited {
        attempt: 1,
        exit: Exit { code, oom_killed, unseen, container: Some("fetch".into()), ..exit(0) },
    };
    let table = [
        (Some(3), false, None, Cause::InitFailed, "`fetch` exited with code 3"),
        (Some(137), true, None, Cause::InitFailed, "for want of memory"),
        (None, false, None, Cause::InitFailed, "in an unknown way"),
        (None, false, Some(Unseen::HostRestart), Cause::HostRestart, "the host restarted"),
    ];
    for (code, oom, unseen, cause, text) in table {
        let mut life = Life::of(grouped(vec![]));
        life.running().apply(ended(code, oom, unseen));
        let record = life.job.attempts.last().expect("there is one");
        let ending = record.ending.clone().expect("it has ended");
        assert_eq!((ending.cause, record.exit_code), (cause, code), "{text}");
        assert!(ending.message.contains(text), "{}", ending.message);
        assert_eq!(life.job.state().name(), "backing_off", "the policy decides");
    }
    let rule = RetryRule {
        exit_codes: vec![ExitCodes::One(3)],
        causes: vec![Cause::InitFailed],
        action: RetryAction::Fail,
    };
    let mut life = Life::of(grouped(vec![rule]));
    life.running().apply(ended(Some(3), false, None));
    assert_eq!(life.outcome(), Some(("failed", Cause::InitFailed)));
}
