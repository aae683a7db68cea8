//! Callbacks, raised events, and services that are called.

use serde_json::{Value, json};

use super::sample::{Life, address, at, callback, exit, raised, seen, service_spec, spec};
use crate::durable::Machine as _;
use crate::job::cause::Cause;
use crate::job::effect::Effect;
use crate::job::event::Event;
use crate::job::spec::{Completion, Spec};
use crate::job::state::Phase;
use crate::job::transition::Rejected;
use crate::limits::{
    CALLBACK_GRACE, CALLBACK_LINGER, EVENTS_RECEIVED_MAX, SERVICE_ANSWER_SLACK, SERVICE_POLL_TIMEOUT,
    SERVICE_RETRY_EVERY, SERVICE_SILENCE_MAX, SERVICE_START_TIMEOUT,
};
use crate::runtime::{Exit, Running, Unseen};

#[test]
fn an_attempt_that_called_back_may_end_by_itself_first() {
    let mut life = Life::of(spec());
    life.running().calls_back("completed", json!(7));
    assert_eq!(life.effects, []);
    assert_eq!(life.job.deadline(), Some(life.now.after(CALLBACK_LINGER)));
    life.tick();
    assert!(life.stops());
    assert_eq!(life.job.deadline(), None);
    life.exits(143);
    assert_eq!(life.outcome(), Some(("succeeded", Cause::Success)), "the first terminal fact counts");
    assert_eq!(life.job.output, Some(json!(7)));
}

#[test]
fn a_late_callback_still_counts_where_only_callbacks_do() {
    let mut life = Life::of(Spec { completion: Completion::Callback, ..spec() });
    life.running().exits(0);
    assert_eq!(life.job.deadline(), Some(life.now.after(CALLBACK_GRACE)));
    life.calls_back("completed", Value::Null);
    assert_eq!(life.outcome(), Some(("succeeded", Cause::Success)));
}

#[test]
fn an_end_that_nobody_saw_owes_no_callback() {
    let mut life = Life::of(Spec { completion: Completion::Callback, ..spec() });
    let unseen = Exit { unseen: Some(Unseen::WatcherLost), ..exit(0) };
    life.running().apply(Event::AttemptExited { attempt: 1, exit: unseen });
    assert!(matches!(life.job.phase, Phase::BackingOff { .. }));
    assert_eq!(life.job.spent, 0);
}

#[test]
fn with_completion_by_exit_a_callback_is_only_noted() {
    let mut life = Life::of(Spec { completion: Completion::Exit, ..spec() });
    life.running().calls_back("completed", json!(7));
    assert_eq!((life.job.state().name(), life.job.output.clone()), ("running", Some(json!(7))));
    life.exits(3);
    assert!(matches!(life.job.phase, Phase::BackingOff { .. }));
}

#[test]
fn progress_replaces_progress() {
    let mut life = Life::of(spec());
    life.running().calls_back("progress", json!(1)).calls_back("progress", json!({ "pct": 2 }));
    assert_eq!((life.job.progress.clone(), life.job.events_received), (Some(json!({ "pct": 2 })), 2));
}

#[test]
fn the_number_of_events_is_bounded_and_the_end_is_taken_all_the_same() {
    let mut life = Life::of(spec());
    life.running();
    life.job.events_received = EVENTS_RECEIVED_MAX;
    assert_eq!(life.refuse(callback(1, "progress", json!(1))), Rejected::TooManyEvents);
    assert_eq!(life.refuse(raised("lunch")), Rejected::TooManyEvents);
    life.calls_back("completed", Value::Null).exits(0);
    assert_eq!(life.outcome(), Some(("succeeded", Cause::Success)));
    let mut by_exit = Life::of(Spec { completion: Completion::Exit, ..spec() });
    by_exit.running();
    by_exit.job.events_received = EVENTS_RECEIVED_MAX;
    assert_eq!(
        by_exit.refuse(callback(1, "completed", json!(1))),
        Rejected::TooManyEvents,
        "it ends nothing"
    );
}

fn start_fails(refused: bool) -> Event {
    Event::ServiceStartFailed { attempt: 1, message: "connection refused".into(), refused }
}

#[test]
fn a_service_is_told_to_start_once_at_a_time() {
    let mut life = Life::of(service_spec());
    life.running();
    let call = Effect::StartService { attempt: 1, address: address() };
    assert_eq!(life.effects, std::slice::from_ref(&call));
    let lost = SERVICE_START_TIMEOUT + SERVICE_ANSWER_SLACK;
    assert_eq!(life.job.deadline(), Some(life.now.after(lost)), "not before the answer is lost");
    let mut unanswered = life.clone();
    unanswered.tick();
    assert_eq!(unanswered.effects, std::slice::from_ref(&call));
    life.apply_at(1, start_fails(false));
    assert_eq!(life.job.deadline(), Some(at(1).after(SERVICE_RETRY_EVERY)));
    life.tick();
    assert_eq!(life.effects, [call]);
    life.apply(Event::ServiceStarted { attempt: 1, answer: json!({ "ok": true }) });
    assert_eq!(life.effects, []);
}

#[test]
fn a_service_that_does_not_start_is_unhealthy() {
    let mut refused = Life::of(service_spec());
    refused.running().apply(start_fails(true));
    assert!(refused.stops());
    let mut slow = Life::of(service_spec());
    slow.running().apply_at(59, start_fails(false));
    assert!(!slow.stops());
    slow.tick().apply_at(60, start_fails(false));
    assert!(slow.stops());
    for mut life in [refused, slow] {
        life.exits(143);
        assert!(matches!(life.job.phase, Phase::BackingOff { .. }));
        assert_eq!(life.job.attempts[0].ending.as_ref().map(|ending| ending.cause), Some(Cause::Unhealthy));
    }
}

fn polling() -> Life {
    let mut life = Life::of(service_spec());
    life.running().apply(Event::ServiceStarted { attempt: 1, answer: Value::Null });
    life
}

#[test]
fn a_service_is_polled_after_each_answer() {
    let mut life = polling();
    assert_eq!(life.job.deadline(), Some(at(5)));
    life.tick();
    assert_eq!(life.effects, [Effect::PollService { attempt: 1, address: address() }]);
    assert_eq!(life.job.deadline(), Some(at(5).after(SERVICE_POLL_TIMEOUT + SERVICE_ANSWER_SLACK)));
    let revision = life.job.revision;
    life.apply_at(8, Event::ServicePolled { attempt: 1, answer: json!({ "percent": 1 }) });
    assert_eq!(
        (life.job.deadline(), life.job.progress.clone()),
        (Some(at(13)), Some(json!({ "percent": 1 })))
    );
    assert_eq!(life.job.revision, revision + 1);
    life.tick().apply(Event::ServicePolled { attempt: 1, answer: json!({ "percent": 1 }) });
    assert_eq!(life.job.revision, revision + 1, "the same again is no news");
}

#[test]
fn an_answer_in_the_shape_of_a_callback_is_one() {
    let answers = [
        (json!({ "event": "completed", "data": 7 }), "stopping", Some(json!(7)), None),
        (json!({ "event": "failed" }), "stopping", None, None),
        (json!({ "event": "progress", "data": 3 }), "running", None, Some(json!(3))),
        (json!({ "event": "lunch" }), "running", None, Some(json!({ "event": "lunch" }))),
        (json!("busy"), "running", None, Some(json!("busy"))),
    ];
    for (answer, state, output, progress) in answers {
        let mut life = polling();
        life.tick().apply(Event::ServicePolled { attempt: 1, answer });
        assert_eq!(
            (life.job.state().name(), life.job.output.clone(), life.job.progress.clone()),
            (state, output, progress)
        );
        assert_eq!(life.stops(), state == "stopping", "a service does not end by itself");
    }
}

#[test]
fn a_service_that_falls_silent_is_unhealthy() {
    let mut life = polling();
    let failed = || Event::ServicePollFailed { attempt: 1, message: "no answer".into() };
    life.tick().apply(failed());
    let since = life.now;
    life.tick().apply(Event::ServicePolled { attempt: 1, answer: Value::Null }).tick().apply(failed());
    assert!(life.now > since, "an answer in between starts the count anew");
    let since = life.now;
    while !life.stops() {
        assert!(life.now.since(since) < SERVICE_SILENCE_MAX);
        life.tick().apply(failed());
    }
    assert!(life.now.since(since) >= SERVICE_SILENCE_MAX);
    life.exits(143);
    assert_eq!(life.job.attempts[0].ending.as_ref().map(|ending| ending.cause), Some(Cause::Unhealthy));
}

#[test]
fn a_service_without_an_address_is_called_when_it_has_one_and_is_unhealthy_otherwise() {
    let running = |address| Running { address, ..seen(1, at(0)) };
    let hidden = |address| Event::AttemptStarted { attempt: 1, running: running(address) };
    let mut life = Life::of(service_spec());
    life.granted().apply(hidden(None));
    assert_eq!(life.effects, []);
    life.tick();
    assert!(life.job.deadline() > Some(life.now));
    let mut found = life.clone();
    found.apply(hidden(Some(address()))).tick();
    assert_eq!(found.effects, [Effect::StartService { attempt: 1, address: address() }]);
    while !life.stops() {
        assert!(life.now < at(70));
        life.tick();
    }
    let mut moved = polling();
    moved.apply(hidden(None));
    while !moved.stops() {
        assert!(moved.now < at(80));
        moved.tick();
    }
}
