//! What must be true in the end, as sentences. What must be true at every moment is in `record.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::Handle;
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::handle::Filter;
use dogwatch_actors::id::AttemptKey;
use dogwatch_actors::job::cause::Cause;
use dogwatch_actors::job::view::{JobState, JobView};
use dogwatch_actors::runtime::Observation;
use dogwatch_actors::usage::report::Question;
use serde_json::Value;

use super::record::{Done, Heard, Job, Record};
use super::world::World;

/// How long the deliveries of webhooks may take, with their growing pauses and with those that were parked told to
/// go on.
const DELIVERED_WITHIN: Duration = Duration::from_secs(4 * 3_600);

pub(super) async fn everything(world: &Arc<World>, handle: &Handle) {
    let jobs = world.record.lock().jobs.clone();
    let views: Vec<JobView> = jobs.iter().map(|job| handle.job(*job.ids.first().unwrap()).unwrap()).collect();
    if tokio::time::timeout(DELIVERED_WITHIN, webhooks_are_delivered(handle, &views)).await.is_err() {
        world.record.lock().breaks("webhooks are not delivered".to_owned());
    }
    let books = the_books_agree(handle, &views).await;
    let mut record = world.record.lock();
    let mut broken = vec![];
    broken.extend(books);
    broken.extend(every_submission_is_one_job(&jobs, handle));
    for (job, view) in jobs.iter().zip(&views) {
        broken.extend(the_end_is_true(world, &record, job, view));
        broken.extend(what_was_told_of_attempts_is_true(world, view));
        broken.extend(the_end_was_told(world, job, view));
    }
    broken.extend(each_callback_counts_once(&record));
    let started_twice: Vec<AttemptKey> = world
        .engine
        .ever_created()
        .into_iter()
        .filter(|key| world.engine.counts(*key).starts.1 > 1)
        .collect();
    if !started_twice.is_empty() {
        broken.push(format!("attempts were started twice: {started_twice:?}"));
    }
    broken.into_iter().for_each(|what| record.breaks(what));
}

/// Every attempt that ran is in the books once, with what it used.
async fn the_books_agree(handle: &Handle, views: &[JobView]) -> Option<String> {
    // The clock of this world jumps.
    let (since, until) = (Timestamp::from_millis(0), Timestamp::from_millis(1 << 43));
    let question = Question { since: Some(since), until: Some(until), ..Question::default() };
    let books = handle.usage(&question).await.expect("the books can be read").total;
    let ended = views.iter().flat_map(|view| &view.attempts).filter_map(|attempt| attempt.usage);
    let (mut attempts, mut running) = (0, 0.0);
    for usage in ended {
        attempts += 1;
        running += usage.container_seconds;
    }
    let of_jobs: f64 = views.iter().map(|view| view.usage.container_seconds).sum();
    let agree = |one: f64, other: f64| (one - other).abs() < 1e-6 * one.max(1.0);
    let is_true = books.attempts == attempts
        && agree(books.usage.container_seconds, running)
        && agree(of_jobs, running);
    (!is_true).then(|| {
        format!("{attempts} attempts ran {running} s, their jobs {of_jobs} s, the books say {books:?}")
    })
}

fn every_submission_is_one_job(jobs: &[Job], handle: &Handle) -> Option<String> {
    let ids: BTreeSet<_> = jobs.iter().flat_map(|job| job.ids.iter().copied()).collect();
    let mut listed = BTreeSet::new();
    let mut filter = Filter { limit: 100, ..Filter::default() };
    loop {
        let page = handle.list(&filter).expect("jobs are listed");
        listed.extend(page.jobs.iter().map(|job| job.id));
        filter.before = page.next;
        if filter.before.is_none() {
            break;
        }
    }
    (ids != listed || ids.len() != jobs.len())
        .then(|| format!("{} submissions made {ids:?}, and {listed:?} are listed", jobs.len()))
}

/// A job succeeded because its attempt did, failed because it failed, was cancelled because somebody said so.
fn the_end_is_true(world: &World, record: &Record, job: &Job, view: &JobView) -> Vec<String> {
    let mut broken = vec![];
    let mut claim = |holds: bool, what: &str| {
        if !holds {
            broken.push(format!("{what}: {job:?}: {view:?}"));
        }
    };
    claim(view.state != JobState::Cancelled || job.cancelled != Done::No, "cancelled, but nobody wished it");
    claim(
        job.cancelled != Done::Yes || job.retried || view.state == JobState::Cancelled,
        "a cancel was lost",
    );
    let last = AttemptKey::new(view.id, view.attempt);
    let truth = world.engine.truth(last);
    let code = match &truth {
        Observation::Exited(exit) => exit.code,
        _ => None,
    };
    let called = |end: &str| {
        let calls = record.callbacks.keys().filter(|(key, _)| *key == last).map(|(_, number)| *number);
        let own_end = matches!(&job.script, super::script::Script::Calls(_, known) if *known == end);
        own_end && (calls.count() > 0 || heard_in_history(job, last.number, end))
    };
    match (view.state, view.cause) {
        (JobState::Succeeded, _) => {
            claim(code == Some(0) || called("completed"), &format!("succeeded, but in truth {truth:?}"));
        }
        (JobState::Failed, Some(Cause::ExitCode)) => {
            claim(
                code.is_some_and(|code| code != 0) || job.body["completion"] == "callback",
                &format!("an exit code, but in truth {truth:?}"),
            );
        }
        (JobState::Failed, Some(Cause::Timeout)) => {
            let limited = ["timeout", "attempt_timeout"].iter().any(|limit| job.body.get(limit).is_some());
            claim(limited, "timed out without a limit");
        }
        (JobState::Failed, Some(Cause::CallbackFailed)) => claim(called("failed"), "failed by no callback"),
        (JobState::Failed, Some(Cause::Success)) | (JobState::Failed, None) => {
            claim(false, "failed without a cause")
        }
        _ => {}
    }
    broken
}

fn heard_in_history(job: &Job, attempt: u32, event: &str) -> bool {
    job.history.iter().any(|entry| {
        entry.kind == "callback_received" && entry.attempt == Some(attempt) && entry.data["event"] == event
    })
}

/// Unknown is not exited, and not gone: what was told of an attempt's end is what happened to it.
fn what_was_told_of_attempts_is_true(world: &World, view: &JobView) -> Vec<String> {
    let mut broken = vec![];
    for attempt in &view.attempts {
        let key = AttemptKey::new(view.id, attempt.number);
        let truth = world.engine.truth(key);
        let (exited, unseen) = match &truth {
            Observation::Exited(exit) => {
                (exit.code.or_else(|| exit.signal.map(|signal| 128 + signal)), exit.unseen.is_some())
            }
            _ => (None, false),
        };
        // What cannot be started has no exit, but the code that shells give it.
        let never_started = world.engine.counts(key).starts.1 == 0;
        let code_is_true =
            attempt.exit_code.is_none_or(|code| exited == Some(code) || (never_started && code == 127));
        let usage_is_true = match (&truth, attempt.usage) {
            (Observation::Exited(exit), Some(told))
                if exit.unseen.is_none() && attempt.exit_code.is_some() =>
            {
                exit.usage.is_none_or(|used| used.view() == told)
            }
            _ => true,
        };
        // What ran is charged, and nothing else.
        let is_over = attempt.finished_at.is_some();
        let usage_is_true =
            usage_is_true && (!is_over || attempt.started_at.is_some() == attempt.usage.is_some());
        let cause_is_true = match attempt.cause {
            Some(Cause::Lost) => world.vanished.lock().contains(&key),
            Some(Cause::HostRestart) => unseen,
            Some(Cause::Signal) => exited.is_some_and(|code| code > 128),
            Some(Cause::StartError) => never_started,
            Some(Cause::Oom | Cause::Unhealthy | Cause::Preempted) => false,
            _ => true,
        };
        if !code_is_true || !cause_is_true || !usage_is_true {
            broken.push(format!("told {attempt:?} of {}, but in truth {truth:?}", view.id));
        }
    }
    broken
}

/// A callback that was acknowledged is in the history once; one that was not, at most once.
fn each_callback_counts_once(record: &Record) -> Vec<String> {
    let mut applied: BTreeMap<(AttemptKey, u32), u32> = BTreeMap::new();
    for job in &record.jobs {
        for entry in job.history.iter().filter(|entry| entry.kind == "callback_received") {
            let number = entry.data["data"]["n"].as_u64().expect("every callback has a number") as u32;
            let attempt = entry.attempt.expect("a callback is of an attempt");
            *applied.entry((AttemptKey::new(*job.ids.first().unwrap(), attempt), number)).or_default() += 1;
        }
    }
    let twice = applied.iter().filter(|(_, count)| **count > 1);
    let twice =
        twice.map(|((key, number), count)| format!("callback {number} of {key} was applied {count} times"));
    let lost =
        record.callbacks.iter().filter(|(call, heard)| heard.acknowledged > 0 && !applied.contains_key(call));
    let lost = lost.map(|((key, number), Heard { acknowledged, .. })| {
        format!("callback {number} of {key} was acknowledged {acknowledged} times and is not recorded")
    });
    let fresh = record.callbacks.iter().filter(|(_, heard)| heard.fresh > 1);
    let fresh = fresh
        .map(|((key, number), heard)| format!("callback {number} of {key} was new {} times", heard.fresh));
    twice.chain(lost).chain(fresh).collect()
}

async fn webhooks_are_delivered(handle: &Handle, views: &[JobView]) {
    for view in views.iter().filter(|view| !view.spec.on_complete.is_empty()) {
        loop {
            let state = handle.webhooks(view.id).unwrap().remove(0);
            if state.delivered > 0 && state.pending == 0 {
                break;
            }
            if state.state == "parked" {
                handle.replay_webhook(view.id, 0).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }
}

/// Whoever wanted to be told of the end was told, of this very end and of none that was not.
fn the_end_was_told(world: &World, job: &Job, view: &JobView) -> Option<String> {
    let told: Vec<(String, Value)> = {
        let accepted = world.receiver.accepted.lock();
        let of_this = accepted.iter().filter(|(_, bodies)| bodies[0]["subject"] == view.id.to_string());
        of_this.map(|(id, bodies)| (id.clone(), bodies[0].clone())).collect()
    };
    let wanted = !view.spec.on_complete.is_empty();
    let ends = job.history.iter().enumerate().filter(|(index, entry)| {
        entry.state.is_terminal() && (*index == 0 || !job.history[index - 1].state.is_terminal())
    });
    let ends = if wanted { ends.count() } else { 0 };
    let last = told.iter().map(|(_, body)| body).max_by_key(|body| body["time"].as_str().map(str::to_owned));
    let last_state = last.map(|body| body["data"]["state"].clone());
    let right =
        told.len() == ends && (!wanted || last_state == Some(Value::from(view.state.name())) || ends > 1);
    (!right)
        .then(|| format!("{} ends of {} were told as {told:?}; it is {}", ends, view.id, view.state.name()))
}
