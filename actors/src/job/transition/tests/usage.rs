//! What ended attempts are charged with: each that ran once, whatever ended it.

use super::sample::{Life, at, exit, spec, start_fails, started};
use crate::durable::Machine as _;
use crate::job::event::Event;
use crate::job::spec::{Completion, RestartPolicy, Spec};
use crate::job::state::Job;
use crate::limits::ATTEMPTS_KEPT_MAX;
use crate::runtime::{Exit, Unseen};
use crate::usage::Usage;

const MEASURED: Usage = Usage { running_ms: 4_000, cpu_us: 700, memory_kib_s: 9, unmeasured_ms: 0 };

fn once() -> Spec {
    Spec { max_attempts: Some(1), ..spec() }
}

fn running(spec: Spec) -> Life {
    let mut sample = Life::of(spec);
    sample.apply_at(10, Event::SlotGranted { attempt: 1, ahead: false }).started();
    sample
}

/// The attempt ends at 14 s.
fn exits(sample: &mut Life, more: Exit) -> &mut Life {
    sample.apply_at(14, Event::AttemptExited { attempt: 1, exit: Exit { finished_at: Some(at(14)), ..more } })
}

fn charged(job: &Job) -> (u32, Usage) {
    (job.charged, job.usage)
}

fn unmeasured(secs: u64) -> Usage {
    Usage::unmeasured(std::time::Duration::from_secs(secs))
}

#[test]
fn each_end_of_an_attempt_that_ran_is_charged_once() {
    let mut measured = running(once());
    exits(&mut measured, Exit { usage: Some(MEASURED), ..exit(0) });
    assert_eq!(charged(&measured.job), (1, MEASURED));
    assert_eq!(measured.job.view().attempts[0].usage, Some(MEASURED.view()));

    let mut not_measured = running(once());
    exits(&mut not_measured, exit(1));
    assert_eq!(charged(&not_measured.job), (1, unmeasured(4)));

    let mut vanished = running(once());
    vanished.apply_at(17, Event::AttemptVanished { attempt: 1 });
    assert_eq!(charged(&vanished.job), (1, unmeasured(7)));

    let mut with_host = running(once());
    exits(&mut with_host, Exit { unseen: Some(Unseen::HostRestart), usage: Some(MEASURED), ..exit(0) });
    assert_eq!(charged(&with_host.job), (1, Usage::default()), "nobody knows when the host went down");

    let mut called_back = running(Spec { completion: Completion::Callback, ..once() });
    exits(&mut called_back, Exit { usage: Some(MEASURED), ..exit(0) });
    assert_eq!(called_back.job.charged, 0, "it may still be retried as that attempt");
    called_back.apply_at(20, Event::CancelRequested);
    assert_eq!(charged(&called_back.job), (1, MEASURED));

    let mut stopped = running(once());
    stopped.apply_at(12, Event::CancelRequested);
    assert_eq!(stopped.job.charged, 0);
    exits(&mut stopped, Exit { usage: Some(MEASURED), ..exit(143) });
    assert_eq!(charged(&stopped.job), (1, MEASURED));
}

#[test]
fn what_never_ran_is_charged_nothing() {
    let mut faulted = Life::of(once());
    faulted.granted();
    faulted.apply(start_fails(1));
    assert!(faulted.outcome().is_some());
    assert_eq!(charged(&faulted.job), (0, Usage::default()));
    assert_eq!(faulted.job.view().attempts[0].usage, None);

    let mut cancelled = Life::of(once());
    cancelled.apply(Event::CancelRequested);
    assert_eq!(charged(&cancelled.job), (0, Usage::default()));
}

#[test]
fn an_engine_whose_clock_is_wrong_does_not_make_a_run_of_years() {
    let mut sample = Life::of(once());
    sample.apply_at(10, Event::SlotGranted { attempt: 1, ahead: false });
    let long_ago = crate::clock::Timestamp::from_millis(0);
    sample.apply(started(1, long_ago));
    sample.apply_at(15, Event::AttemptVanished { attempt: 1 });
    assert_eq!(charged(&sample.job), (1, unmeasured(5)));
}

#[test]
fn attempts_that_are_kept_no_more_stay_in_the_total() {
    let mut sample = Life::of(Spec { max_attempts: None, restart_policy: RestartPolicy::Always, ..spec() });
    let attempts = u32::try_from(ATTEMPTS_KEPT_MAX).unwrap() + 3;
    for attempt in 1..=attempts {
        sample.running();
        let exit = Exit { finished_at: Some(sample.now), usage: Some(MEASURED), ..exit(0) };
        sample.apply(Event::AttemptExited { attempt, exit });
        sample.tick();
    }
    assert_eq!(sample.job.attempts.len(), ATTEMPTS_KEPT_MAX);
    assert_eq!((sample.job.charged, sample.job.usage.cpu_us), (attempts, 700 * u64::from(attempts)));
}

#[test]
fn a_charge_goes_with_the_transition_that_ends_an_attempt_and_with_no_other() {
    let mut sample = running(once());
    let before = sample.job.clone();
    assert_eq!(Job::charge(None, &before, at(14)), None);
    exits(&mut sample, Exit { usage: Some(MEASURED), ..exit(0) });
    let (key, _) = Job::charge(Some(&before), &sample.job, at(14)).expect("it ended");
    assert_eq!(Job::charge(Some(&sample.job), &sample.job, at(15)), None);
    // The same end told to another life of the server is the same row.
    assert_eq!(Job::charge(Some(&before), &sample.job, at(14)).expect("it ended").0, key);
}
