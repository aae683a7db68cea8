//! What users ask for: cancel, suspend, resume, restart, retry, purge.

use serde_json::{Value, json};

use super::sample::{Life, at, every_phase, exit, hooked, spec};
use crate::job::cause::Cause;
use crate::job::effect::{Come, Effect};
use crate::job::event::Event;
use crate::job::spec::{Completion, Spec};
use crate::job::state::Phase;
use crate::job::transition::Rejected;
use crate::units::Span;

#[test]
fn a_cancelled_job_ends_only_when_its_attempt_has() {
    let mut life = Life::of(spec());
    life.running().apply(Event::CancelRequested);
    assert!(life.stops() && life.outcome().is_none());
    life.apply(Event::CancelRequested);
    assert_eq!(life.effects, [], "asking twice is asking once");
    life.exits(0);
    assert_eq!(life.outcome(), Some(("cancelled", Cause::Canceled)), "even when it exits well");
    assert_eq!(life.effects, [Effect::Discard { attempt: 1 }]);
    assert_eq!(life.job.attempts[0].exit_code, Some(0));
    assert_eq!(life.job.attempts[0].ending.as_ref().map(|ending| ending.cause), Some(Cause::Canceled));
}

#[test]
fn a_cancel_before_the_start_needs_no_attempt() {
    let mut life = Life::of(spec());
    life.apply(Event::CancelRequested);
    assert_eq!(life.effects, [Effect::Withdraw { attempt: 1 }]);
    assert_eq!(life.outcome(), Some(("cancelled", Cause::Canceled)));
    assert!(life.job.attempts.is_empty());
}

#[test]
fn a_cancel_overrules_what_a_stop_was_for() {
    for first in
        [Event::SuspendRequested, Event::RestartRequested, Event::Quarantined { reason: "boom".into() }]
    {
        let mut life = Life::of(spec());
        life.running().apply(first).apply(Event::CancelRequested);
        assert_eq!(life.effects, [], "the stop is under way");
        life.exits(143);
        assert_eq!(life.outcome(), Some(("cancelled", Cause::Canceled)));
    }
}

#[test]
fn a_cancel_does_not_wait_for_a_lingering_attempt() {
    let mut life = Life::of(spec());
    life.running().calls_back("failed", json!("no rows"));
    assert!(!life.stops());
    life.apply(Event::CancelRequested);
    assert!(life.stops());
    life.exits(143);
    assert_eq!(life.outcome(), Some(("cancelled", Cause::Canceled)));
}

#[test]
fn what_has_completed_cannot_be_cancelled() {
    let mut life = Life::of(spec());
    life.running().calls_back("completed", Value::Null);
    assert!(matches!(life.refuse(Event::CancelRequested), Rejected::Conflict { .. }));
    life.exits(0);
    let Rejected::Conflict { message, .. } = life.refuse(Event::CancelRequested) else {
        panic!("a conflict")
    };
    assert!(message.contains("succeeded"), "{message}");
}

#[test]
fn a_suspended_job_keeps_its_counts_and_goes_on() {
    let mut life = Life::of(spec());
    life.running().exits(1).tick().running().apply(Event::SuspendRequested);
    assert!(life.stops());
    life.exits(143);
    assert_eq!(life.job.phase, Phase::Suspended);
    assert_eq!((life.job.spent, life.job.attempt), (1, 2), "the suspended attempt does not count");
    assert_eq!(crate::durable::Machine::deadline(&life.job), None);
    life.apply_at(100, Event::ResumeRequested);
    assert_eq!(life.effects, [Effect::RequestSlot { attempt: 3, since: at(100) }]);
}

#[test]
fn a_suspension_takes_back_what_waits() {
    let mut life = Life::of(spec());
    life.apply(Event::SuspendRequested);
    assert_eq!(
        (&life.job.phase, life.effects.as_slice()),
        (&Phase::Suspended, &[Effect::Withdraw { attempt: 1 }][..])
    );
    let mut delayed = Life::of(Spec { start_at: Some(at(60)), ..spec() });
    delayed.apply(Event::SuspendRequested).apply(Event::ResumeRequested);
    assert_eq!(delayed.job.phase, Phase::Delayed { until: at(60) }, "its time has still not come");
    delayed.apply(Event::SuspendRequested).apply_at(61, Event::ResumeRequested);
    assert_eq!(delayed.job.phase, Phase::Queued { since: at(61) });
}

#[test]
fn a_job_may_be_submitted_suspended() {
    let mut life = Life::of(Spec { suspended: true, start_at: Some(at(60)), ..spec() });
    assert_eq!((&life.job.phase, life.effects.len()), (&Phase::Suspended, 0));
    life.apply(Event::ResumeRequested);
    assert_eq!(life.job.phase, Phase::Delayed { until: at(60) });
    life.tick();
    assert_eq!(life.job.phase, Phase::Queued { since: at(60) });
}

#[test]
fn a_restart_makes_a_new_attempt_that_is_not_counted() {
    let mut life = Life::of(Spec { max_attempts: Some(1), ..spec() });
    life.running().apply(Event::RestartRequested);
    assert!(life.stops());
    life.exits(0);
    assert_eq!(
        life.effects,
        [Effect::Discard { attempt: 1 }, Effect::RequestSlot { attempt: 2, since: life.now }]
    );
    assert_eq!(life.job.spent, 0);
    life.running().exits(0);
    assert_eq!(life.outcome(), Some(("succeeded", Cause::Success)));
    assert_eq!(life.job.attempt, 2);
}

#[test]
fn a_restart_ends_every_pause() {
    for (word, mut life) in every_phase() {
        if !matches!(word, "delayed" | "suspended" | "backing_off" | "awaiting_callback") {
            continue;
        }
        let next = life.job.attempt + 1;
        life.apply(Event::RestartRequested);
        let asks = Effect::RequestSlot { attempt: next, since: life.now };
        assert_eq!(life.effects.last(), Some(&asks), "{word}");
    }
}

#[test]
fn a_pause_by_the_user_does_not_use_up_the_time() {
    for command in [Event::ResumeRequested, Event::RestartRequested] {
        let mut life = Life::of(Spec { timeout: Some(Span::from_secs(100)), ..spec() });
        life.running().apply(Event::SuspendRequested).exits(143);
        life.apply_at(5_000, command);
        assert_eq!(life.job.timeout_at(), Some(at(5_100)));
        life.running();
        assert_eq!(crate::durable::Machine::deadline(&life.job), Some(at(5_100)));
    }
}

#[test]
fn a_pause_by_the_user_does_not_use_up_the_budget_of_the_infrastructure() {
    let mut life = Life::of(spec());
    life.running().apply(Event::AttemptVanished { attempt: 1 }).apply(Event::SuspendRequested);
    life.apply_at(90_000, Event::ResumeRequested).running().apply(Event::AttemptVanished { attempt: 2 });
    assert!(matches!(life.job.phase, Phase::BackingOff { .. }), "{:?}", life.job.phase);
}

#[test]
fn a_retry_starts_over_with_the_next_number() {
    let mut life = Life::of(Spec { max_attempts: Some(1), timeout: Some(Span::from_secs(50)), ..spec() });
    life.running().calls_back("progress", json!(80)).calls_back("failed", json!("no rows")).exits(1);
    assert_eq!(life.outcome(), Some(("failed", Cause::CallbackFailed)));
    assert!(life.job.output.is_some());
    life.apply_at(500, Event::RetryRequested);
    assert_eq!(life.effects, [Effect::RequestSlot { attempt: 2, since: at(500) }]);
    let job = &life.job;
    assert_eq!(
        (job.spent, job.streak, job.clock_from, job.output.clone(), job.progress.clone()),
        (0, 0, None, None, None)
    );
    life.running();
    assert_eq!(life.job.timeout_at(), Some(at(550)), "the time limit counts from the new start");
    life.exits(0);
    assert_eq!(life.outcome(), Some(("succeeded", Cause::Success)));
    assert!(matches!(life.refuse(Event::RetryRequested), Rejected::Conflict { .. }), "it has succeeded");
}

#[test]
fn a_retried_job_has_all_its_attempts_again() {
    let mut life = Life::of(spec());
    for _ in 0..2 {
        life.running().exits(1).tick();
    }
    life.running().exits(1).apply(Event::RetryRequested);
    for pause in [1, 2] {
        life.running().exits(1);
        let until = life.now.after(std::time::Duration::from_secs(pause));
        assert_eq!(life.job.phase, Phase::BackingOff { until });
        life.tick();
    }
    life.running().exits(1);
    assert_eq!((life.outcome(), life.job.attempt), (Some(("failed", Cause::ExitCode)), 6));
}

#[test]
fn a_cancelled_job_may_be_retried() {
    let mut life = Life::of(spec());
    life.apply(Event::CancelRequested).apply(Event::RetryRequested).running().exits(0);
    assert_eq!(life.outcome(), Some(("succeeded", Cause::Success)));
}

#[test]
fn each_end_is_announced_to_each_target_once() {
    let mut life = Life::of(Spec { on_complete: hooked(2), max_attempts: Some(1), ..spec() });
    life.running();
    assert_eq!(life.outbox, []);
    life.exits(3);
    let first: Vec<Value> =
        life.outbox.iter().map(|message| message.event["announced"]["message"].clone()).collect();
    assert_eq!(life.outbox.len(), 2);
    assert_eq!(life.outbox[0].event["announced"]["data"]["cause"], "exit_code");
    assert_eq!(life.outbox[0].event["announced"]["data"]["exit_code"], 3);
    let late = Event::AttemptExited { attempt: 1, exit: exit(3) };
    assert_eq!(life.apply(late).outbox, [], "the same end again is none");
    life.apply(Event::RetryRequested).running().exits(0);
    assert_eq!(life.outbox.len(), 2);
    assert!(life.outbox.iter().all(|message| !first.contains(&message.event["announced"]["message"])));
    assert_eq!(life.outbox[0].event["announced"]["kind"], "dev.dogwatch.job.succeeded");
    let mut idle = Life::of(Spec { on_complete: hooked(1), ..spec() });
    let mut name = || {
        idle.apply(Event::CancelRequested);
        let name = idle.outbox[0].event["announced"]["message"].clone();
        idle.apply(Event::RetryRequested);
        name
    };
    assert_ne!(name(), name(), "two ends without an attempt in between");
}

#[test]
fn the_announcement_of_a_callback_has_its_output() {
    for completion in [Completion::Callback, Completion::Either] {
        let mut life = Life::of(Spec { on_complete: hooked(1), completion, ..spec() });
        life.running();
        if completion == Completion::Callback {
            life.exits(0).calls_back("completed", json!({ "rows": 7 }));
        } else {
            life.calls_back("completed", json!({ "rows": 7 })).exits(0);
        }
        assert_eq!(
            life.outbox[0].event["announced"]["data"]["output"],
            json!({ "rows": 7 }),
            "{completion:?}"
        );
    }
}

#[test]
fn a_purge_takes_the_deliveries_along() {
    let mut life = Life::of(Spec { on_complete: hooked(3), ..spec() });
    life.running().exits(0);
    let step = life.try_apply(&Event::PurgeRequested).expect("it is over");
    assert!(matches!(step.change, crate::durable::Change::Purge));
    assert_eq!(step.outbox.iter().filter(|message| message.event == "job_purged").count(), 3);
}

#[test]
fn a_quarantined_job_stops_its_attempt_and_watches_it_end() {
    let mut life = Life::of(spec());
    life.running().apply(Event::Quarantined { reason: "boom".into() });
    let drives = |effect: &Effect| *effect == Effect::Drive { attempt: 1, come: Come::Seen };
    assert!(life.stops() && life.effects.iter().any(drives), "{:?}", life.effects);
    life.exits(0);
    assert_eq!(life.outcome(), Some(("failed", Cause::Quarantined)));
    assert!(life.message().contains("boom"), "{}", life.message());
    assert!(life.message().contains("retry the job"), "{}", life.message());
    let mut waiting = Life::of(spec());
    waiting.apply(Event::Quarantined { reason: "boom".into() });
    assert_eq!(waiting.effects, [Effect::Withdraw { attempt: 1 }]);
    assert_eq!(waiting.outcome(), Some(("failed", Cause::Quarantined)));
}

#[test]
fn a_job_whose_stop_panics_too_is_over_at_once_and_what_is_left_is_removed() {
    for (first, end) in [
        (Event::Quarantined { reason: "boom".into() }, ("failed", Cause::Quarantined)),
        (Event::CancelRequested, ("cancelled", Cause::Canceled)),
        (Event::SuspendRequested, ("failed", Cause::Quarantined)),
        (Event::RestartRequested, ("failed", Cause::Quarantined)),
    ] {
        let mut life = Life::of(spec());
        life.running().apply(first).apply(Event::Quarantined { reason: "boom".into() });
        assert_eq!(life.outcome(), Some(end));
        assert_eq!(life.effects, [Effect::Discard { attempt: 1 }]);
    }
    let mut life = Life::of(spec());
    life.running().calls_back("completed", serde_json::json!(7));
    life.apply(Event::Quarantined { reason: "boom".into() });
    assert_eq!(life.outcome(), Some(("succeeded", Cause::Success)), "what was answered 2xx counts");
}
