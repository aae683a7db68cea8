//! Time limits, attempts and pauses.

use serde_json::Value;

use super::sample::{Life, at, exit, spec, start_fails};
use crate::durable::Machine as _;
use crate::job::cause::Cause;
use crate::job::effect::{Come, Effect};
use crate::job::event::Event;
use crate::job::spec::{Backoff, Completion, RestartPolicy, RetryAction, RetryRule, Spec};
use crate::job::state::{Job, Phase};
use crate::job::view::JobState;
use crate::limits::{ATTEMPTS_KEPT_MAX, INFRASTRUCTURE_BUDGET};
use crate::runtime::{Exit, Unseen};
use crate::units::Span;

#[test]
fn policies_and_completion_modes_decide_together() {
    use Completion::{Callback, Either, Exit as ByExit};
    use RestartPolicy::{Always, Never, OnFailure};
    // What the only attempt does (an exit code, or a callback and then exit 0), and what becomes of the job.
    let table = [
        (ByExit, Never, "0", "succeeded"),
        (ByExit, Never, "1", "failed"),
        (ByExit, OnFailure, "1", "backing_off"),
        (ByExit, Always, "0", "backing_off"),
        (ByExit, OnFailure, "failed", "succeeded"),
        (ByExit, OnFailure, "completed", "succeeded"),
        (Callback, OnFailure, "0", "backing_off"),
        (Callback, Never, "0", "failed"),
        (Callback, OnFailure, "completed", "succeeded"),
        (Callback, OnFailure, "failed", "backing_off"),
        (Callback, Never, "failed", "failed"),
        (Callback, Always, "completed", "backing_off"),
        (Either, OnFailure, "0", "succeeded"),
        (Either, OnFailure, "1", "backing_off"),
        (Either, OnFailure, "completed", "succeeded"),
        (Either, OnFailure, "failed", "backing_off"),
        (Either, Never, "failed", "failed"),
        (Either, Always, "0", "backing_off"),
        (Either, Always, "completed", "backing_off"),
    ];
    for (completion, restart_policy, does, becomes) in table {
        let mut life = Life::of(Spec { completion, restart_policy, ..spec() });
        life.running();
        if let Ok(code) = does.parse() {
            life.exits(code);
        } else {
            life.calls_back(does, Value::Null).exits(0);
        }
        if matches!(life.job.phase, Phase::AwaitingCallback { .. }) {
            life.tick();
        }
        assert_eq!(life.job.state().name(), becomes, "{completion:?} {restart_policy:?} {does}");
    }
}

#[test]
fn the_third_failure_is_the_last() {
    let mut life = Life::of(spec());
    for attempt in 1..=2 {
        life.running().exits(3);
        assert!(matches!(life.job.phase, Phase::BackingOff { .. }));
        life.tick();
        assert_eq!(life.effects, [Effect::RequestSlot { attempt: attempt + 1, since: life.now }]);
    }
    life.running().exits(3);
    assert_eq!(life.outcome(), Some(("failed", Cause::ExitCode)));
    assert!(life.message().contains("all 3 attempts are used up"), "{}", life.message());
    assert_eq!(life.job.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn what_cannot_start_is_not_tried_again() {
    let mut life = Life::of(spec());
    life.granted().apply(start_fails(1));
    assert_eq!(life.outcome(), Some(("failed", Cause::StartError)));
}

#[test]
fn the_pauses_double_and_a_healthy_attempt_resets_them() {
    let mut life = Life::of(Spec { max_attempts: None, ..spec() });
    let pause = |life: &Life| life.job.deadline().map(|due| due.since(life.now).as_secs());
    for wanted in [1, 2, 4, 8] {
        life.running().exits(1);
        assert_eq!(pause(&life), Some(wanted));
        life.tick();
    }
    life.running();
    life.now = life.now.after(Backoff::default().reset_after.as_duration());
    life.exits(1);
    assert_eq!(pause(&life), Some(1), "ten minutes of health");
    life.tick().running();
    life.now = at(100_000);
    let short = Exit {
        finished_at: Some(
            life.job.attempts[5].started_at.expect("it ran").after(std::time::Duration::from_secs(599)),
        ),
        ..exit(1)
    };
    life.apply(Event::AttemptExited { attempt: 6, exit: short });
    assert_eq!(pause(&life), Some(2), "not quite: what counts is when it ended, not when that was seen");
}

#[test]
fn a_service_that_is_always_restarted_after_success_does_not_slow_down() {
    let mut life = Life::of(Spec { restart_policy: RestartPolicy::Always, max_attempts: None, ..spec() });
    for _ in 0..5 {
        life.running().exits(0);
        assert_eq!(life.job.deadline(), Some(life.now.after(std::time::Duration::from_secs(1))));
        life.tick();
    }
}

fn lost(life: &mut Life) {
    let unseen = Exit { unseen: Some(Unseen::HostRestart), ..exit(255) };
    life.apply(Event::AttemptExited { attempt: life.job.attempt, exit: unseen });
}

#[test]
fn faults_of_the_infrastructure_cost_time_and_no_attempts() {
    let mut life = Life::of(Spec { max_attempts: Some(1), restart_policy: RestartPolicy::Never, ..spec() });
    let first = life.now;
    while life.now.since(first) < INFRASTRUCTURE_BUDGET {
        life.running();
        lost(&mut life);
        assert!(matches!(life.job.phase, Phase::BackingOff { .. }), "{:?}", life.job.phase);
        assert_eq!(life.job.spent, 0);
        life.tick();
    }
    life.running();
    lost(&mut life);
    assert_eq!(life.outcome(), Some(("failed", Cause::HostRestart)));
}

#[test]
fn an_end_of_the_attempts_own_renews_the_budget() {
    let mut life = Life::of(Spec { max_attempts: None, ..spec() });
    life.running();
    lost(&mut life);
    life.tick().running().exits(1);
    assert_eq!(life.job.failing_since, None);
    life.now = at(90_000);
    life.apply(Event::Ticked).running();
    lost(&mut life);
    assert!(matches!(life.job.phase, Phase::BackingOff { .. }));
}

#[test]
fn rules_see_the_exit_code_of_the_attempt() {
    let rule = |codes: &str, action| RetryRule {
        exit_codes: vec![crate::job::spec::ExitCodes::Range(codes.into())],
        causes: vec![],
        action,
    };
    let rules = vec![
        rule("2", RetryAction::Fail),
        rule("75", RetryAction::RetryFree),
        rule("9", RetryAction::Succeed),
    ];
    let ended = |code| {
        let mut life = Life::of(Spec { retry_rules: rules.clone(), ..spec() });
        life.running().exits(code);
        (life.job.state().name(), life.job.spent)
    };
    assert_eq!(ended(2), ("failed", 0));
    assert_eq!(ended(75), ("backing_off", 0));
    assert_eq!(ended(9), ("succeeded", 0));
    assert_eq!(ended(1), ("backing_off", 1));
}

#[test]
fn the_time_of_an_attempt_is_bounded_and_policy_decides_what_follows() {
    let mut life =
        Life::of(Spec { attempt_timeout: Some(Span::from_secs(30)), max_attempts: Some(2), ..spec() });
    life.running();
    assert_eq!(life.job.deadline(), Some(at(30)));
    life.tick();
    assert!(life.stops());
    life.exits(0);
    assert!(
        matches!(life.job.phase, Phase::BackingOff { .. }),
        "a timeout is a failure, even when it exits well"
    );
    life.tick().running().tick().exits(143);
    assert_eq!(life.outcome(), Some(("failed", Cause::Timeout)));
    assert!(life.message().starts_with("attempt_timeout of 30s passed"), "{}", life.message());
}

#[test]
fn the_time_of_the_job_is_bounded_pauses_included() {
    let limited = || Life::of(Spec { timeout: Some(Span::from_secs(10)), max_attempts: None, ..spec() });
    let mut waiting = limited();
    assert_eq!(waiting.job.deadline(), None, "it counts from the first start");
    waiting.now = at(1_000);
    waiting.running();
    assert_eq!(waiting.job.deadline(), Some(at(1_010)));
    let mut running = waiting.clone();
    running.tick();
    assert!(running.stops());
    running.exits(0);
    assert_eq!(running.outcome(), Some(("failed", Cause::Timeout)), "whatever the policy says");
    assert!(running.message().starts_with("timeout of 10s"), "{}", running.message());
    for _ in 0..3 {
        waiting.exits(1).tick().running();
    }
    waiting.exits(1);
    assert!(matches!(waiting.job.phase, Phase::BackingOff { until } if until > at(1_010)));
    waiting.tick();
    assert_eq!((waiting.now, waiting.outcome()), (at(1_010), Some(("failed", Cause::Timeout))));
}

#[test]
fn the_time_of_the_job_ends_the_wait_for_a_callback() {
    let timeout = Some(Span::from_secs(3));
    let mut life = Life::of(Spec { completion: Completion::Callback, timeout, ..spec() });
    life.running().exits(0).tick();
    assert_eq!((life.now, life.outcome()), (at(3), Some(("failed", Cause::Timeout))));
    assert_eq!(life.effects, [Effect::Discard { attempt: 1 }]);
}

#[test]
fn the_wait_for_a_slot_is_bounded() {
    let mut life = Life::of(Spec { queue_timeout: Some(Span::from_secs(20)), ..spec() });
    life.tick();
    assert_eq!((life.now, life.outcome()), (at(20), Some(("failed", Cause::Timeout))));
    assert_eq!(life.effects, [Effect::Withdraw { attempt: 1 }]);
    assert!(life.message().starts_with("queue_timeout of 20s"), "{}", life.message());
    assert!(!life.job.may_go_ahead(), "prepared ahead, it would wait where nothing bounds it");
}

#[test]
fn what_is_prepared_ahead_is_queued_to_its_user_until_it_runs() {
    let mut life = Life::of(spec());
    assert!(life.job.may_go_ahead());
    life.apply(Event::SlotGranted { attempt: 1, ahead: true });
    assert_eq!((life.job.state(), life.job.attempt), (JobState::Queued, 1));
    assert_eq!(life.effects, [Effect::Drive { attempt: 1, come: Come::Intended }]);
    life.apply(Event::AttemptPrepared { attempt: 1 });
    assert_eq!(
        (life.job.state(), life.effects.as_slice()),
        (JobState::Queued, &[Effect::Start { attempt: 1 }][..])
    );
    life.started();
    assert_eq!(life.job.state(), JobState::Running);
    assert!(!life.job.attempts[0].ahead, "of no interest any more");
    life.exits(1).tick().granted();
    assert_eq!(life.job.state(), JobState::Starting, "the next one was granted its slot");
}

#[test]
fn what_is_prepared_ahead_can_be_cancelled() {
    let mut life = Life::of(spec());
    life.apply(Event::SlotGranted { attempt: 1, ahead: true }).apply(Event::CancelRequested);
    assert!(life.stops());
    life.apply(Event::AttemptNeverStarted { attempt: 1 });
    assert_eq!(life.outcome(), Some(("cancelled", Cause::Canceled)));
}

#[test]
fn a_start_that_the_runtime_cannot_make_is_bounded() {
    let mut life = Life::of(spec());
    let trouble = |message: &str| Event::TroubleSeen { attempt: 1, message: message.into() };
    life.granted();
    assert_eq!(life.job.deadline(), None, "a long pull is no trouble");
    life.apply_at(10, trouble("no answer")).apply_at(900, trouble("connection refused"));
    assert_eq!(life.message(), "connection refused");
    assert_eq!(
        life.job.deadline(),
        Some(at(10).after(INFRASTRUCTURE_BUDGET)),
        "it counts from the first trouble"
    );
    let mut over = life.clone();
    over.tick();
    assert!(over.stops() && over.outcome().is_none(), "an attempt that is not known to have ended has not");
    over.apply(Event::AttemptNeverStarted { attempt: 1 });
    assert_eq!(over.outcome(), Some(("failed", Cause::RuntimeUnavailable)));
    life.started();
    assert_eq!((life.job.deadline(), life.job.trouble.as_ref()), (None, None));
}

#[test]
fn trouble_while_running_changes_nothing_and_is_forgotten_at_the_end() {
    let mut life = Life::of(spec());
    life.running().apply(Event::TroubleSeen { attempt: 1, message: "no answer".into() });
    assert_eq!(
        (life.job.state().name(), life.message().as_str(), life.job.deadline()),
        ("running", "no answer", None)
    );
    let (mut gone, mut back) = (life.clone(), life.clone());
    assert_eq!(back.started().job.trouble, None, "it is seen again, as it was");
    life.exits(1);
    assert!(life.message().contains("code 1"), "{}", life.message());
    gone.apply(Event::AttemptVanished { attempt: 1 });
    assert!(gone.message().contains("removed"), "{}", gone.message());
}

#[test]
fn a_finished_job_is_purged_in_time() {
    let mut life = Life::of(Spec { ttl_after_finished: Some(Span::from_secs(60)), ..spec() });
    life.running().exits(0);
    assert_eq!(life.job.deadline(), Some(at(60)));
    life.now = at(60);
    let step = life.try_apply(&Event::Ticked).expect("a tick");
    assert!(matches!(step.change, crate::durable::Change::Purge));
    let mut kept = Life::of(Spec { ttl_after_finished: None, ..spec() });
    kept.running().exits(0);
    assert_eq!(kept.job.deadline(), None);
}

#[test]
fn a_job_that_is_not_to_be_kept_goes_with_the_next_tick() {
    let mut life = Life::of(Spec { ttl_after_finished: Some(Span::from_millis(0)), ..spec() });
    life.running().exits(0);
    assert_eq!(life.job.deadline(), Some(life.now));
    let step = life.try_apply(&Event::Ticked).expect("a tick");
    assert!(matches!(step.change, crate::durable::Change::Purge));
}

#[test]
fn only_the_newest_records_of_attempts_are_kept() {
    let mut life = Life::of(Spec { max_attempts: None, ..spec() });
    for _ in 0..ATTEMPTS_KEPT_MAX + 3 {
        life.running().exits(1).tick();
    }
    let job: &Job = &life.job;
    assert_eq!((job.attempts.len(), job.attempts[0].number), (ATTEMPTS_KEPT_MAX, 4));
}
