//! The whole engine, from a submission to its end, on real processes and a real store.

pub(crate) mod bench;

use std::time::Duration;

use dogwatch_actors::handle::{Callback, Command, Error, Filter, LogQuery, Submission};
use dogwatch_actors::job::cause::Cause;
use dogwatch_actors::job::spec::{Completion, Spec};
use dogwatch_actors::job::view::JobState;
use dogwatch_actors::units::Span;
use futures_util::StreamExt as _;
use serde_json::json;

use bench::{Bench, shell};

#[test]
fn a_process_runs_and_its_exit_is_recorded() {
    Bench::run(async |bench| {
        let handle = bench.start().await.handle();
        let job = handle.submit(shell("echo hello; echo oops >&2; exit 0")).await.unwrap().job;
        assert_eq!(job.state, JobState::Queued);
        let job = handle.wait(job.id, Duration::from_secs(20)).await.unwrap();
        assert_eq!((job.state, job.cause), (JobState::Succeeded, Some(Cause::Success)), "{job:?}");
        assert_eq!(job.attempts.len(), 1);
        assert_eq!(job.attempts[0].exit_code, Some(0));
        let lines: Vec<_> = handle.logs(job.id, LogQuery::default()).unwrap().collect().await;
        let mut texts: Vec<String> = lines
            .into_iter()
            .map(|line| String::from_utf8_lossy(&line.unwrap().bytes).into_owned())
            .collect();
        texts.sort();
        assert_eq!(texts, ["hello", "oops"]);
        let mut kinds: Vec<String> =
            handle.history(job.id, 0, 100).unwrap().into_iter().map(|entry| entry.kind).collect();
        // It may be over before anybody saw it run.
        kinds.retain(|kind| kind != "attempt_started");
        assert_eq!(kinds, ["submitted", "slot_granted", "attempt_exited"]);
    });
}

#[test]
fn a_failing_process_is_tried_again_and_then_fails() {
    Bench::run(async |bench| {
        let handle = bench.start().await.handle();
        let mut spec = shell("exit 3");
        spec.max_attempts = Some(2);
        spec.backoff.initial = Span::from_millis(50);
        let job = handle.submit(spec).await.unwrap().job;
        let job = handle.wait(job.id, Duration::from_secs(20)).await.unwrap();
        assert_eq!((job.state, job.cause), (JobState::Failed, Some(Cause::ExitCode)));
        assert_eq!(
            job.attempts.iter().map(|attempt| attempt.exit_code).collect::<Vec<_>>(),
            [Some(3), Some(3)]
        );
    });
}

#[test]
fn a_running_job_is_cancelled_and_its_process_is_gone() {
    Bench::run(async |bench| {
        let handle = bench.start().await.handle();
        let job = handle.submit(shell("sleep 600")).await.unwrap().job;
        bench.until(&handle, job.id, |job| job.state == JobState::Running).await;
        handle.command(job.id, Command::Cancel).await.unwrap();
        let job = handle.wait(job.id, Duration::from_secs(20)).await.unwrap();
        assert_eq!((job.state, job.cause), (JobState::Cancelled, Some(Cause::Canceled)));
        let again = handle.command(job.id, Command::Cancel).await;
        assert!(matches!(again, Err(Error::Conflict { state: JobState::Cancelled, .. })), "{again:?}");
    });
}

#[test]
fn a_callback_completes_a_job_exactly_once() {
    Bench::run(async |bench| {
        let handle = bench.start().await.handle();
        let mut spec = shell("sleep 600");
        spec.completion = Completion::Callback;
        let job = handle.submit(spec).await.unwrap().job;
        let job = bench.until(&handle, job.id, |job| job.state == JobState::Running).await;
        let (key, token) = bench.token(job.id, 1);
        let callback = |event: &str, data| Callback { event: event.to_owned(), id: None, data };
        let progress = handle.callback(key, &token, callback("progress", json!({"pct": 50}))).await.unwrap();
        assert!(!progress.duplicate);
        let wrong = handle.callback(key, "dwc_x", callback("completed", json!(1))).await;
        assert!(matches!(wrong, Err(Error::BadToken)));
        let first = handle.callback(key, &token, callback("completed", json!({"rows": 7}))).await.unwrap();
        assert_eq!((first.state, first.duplicate), (JobState::Stopping, false));
        let again = handle.callback(key, &token, callback("completed", json!({"rows": 7}))).await.unwrap();
        assert!(again.duplicate);
        let job = handle.wait(job.id, Duration::from_secs(20)).await.unwrap();
        assert_eq!(
            (job.state, job.output, job.progress),
            (JobState::Succeeded, Some(json!({"rows": 7})), Some(json!({"pct": 50})))
        );
        let late = handle.callback(key, &token, callback("completed", json!({"rows": 7}))).await.unwrap();
        assert!(late.duplicate, "the same callback is answered the same after the end");
        let other = handle.callback(key, &token, callback("failed", json!(null))).await;
        assert!(matches!(other, Err(Error::Conflict { state: JobState::Succeeded, .. })), "{other:?}");
    });
}

#[test]
fn the_same_idempotency_key_makes_one_job() {
    Bench::run(async |bench| {
        let handle = bench.start().await.handle();
        let submission = |text: &str| Submission {
            spec: shell("true"),
            idempotency: Some(("key-1".to_owned(), json!({"args": [text]}))),
        };
        let many = (0..8).map(|_| handle.submit(submission("a")));
        let answers = futures_util::future::join_all(many).await;
        let first = answers[0].as_ref().unwrap().job.id;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().job.id == first));
        assert_eq!(answers.iter().filter(|answer| !answer.as_ref().unwrap().replayed).count(), 1);
        let other = handle.submit(submission("b")).await;
        assert!(matches!(other, Err(Error::IdempotencyMismatch(id)) if id == first), "{other:?}");
        handle.wait(first, Duration::from_secs(20)).await.unwrap();
        handle.purge(first).await.unwrap();
        assert!(matches!(handle.job(first), Err(Error::NotFound(_))));
        assert!(!handle.submit(submission("b")).await.unwrap().replayed, "a purge frees the key");
    });
}

#[test]
fn running_attempts_survive_a_restart_of_the_supervisor() {
    Bench::run(async |bench| {
        let supervisor = bench.start().await;
        let handle = supervisor.handle();
        let go = bench.path("go");
        let script = format!(
            "echo run >> {0}/runs; while [ ! -e {1} ]; do sleep 0.05; done",
            bench.dir(),
            go.display()
        );
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(handle.submit(shell(&script)).await.unwrap().job.id);
        }
        for id in &ids {
            bench.until(&handle, *id, |job| job.state == JobState::Running).await;
        }
        supervisor.shutdown().await;
        let handle = bench.start().await.handle();
        handle.recovered().await;
        assert_eq!(
            handle
                .list(&Filter { states: vec![JobState::Running], limit: 50, ..Filter::default() })
                .unwrap()
                .jobs
                .len(),
            5
        );
        std::fs::write(&go, "").unwrap();
        for id in ids {
            let job = handle.wait(id, Duration::from_secs(20)).await.unwrap();
            assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1), "{job:?}");
        }
        assert_eq!(std::fs::read_to_string(bench.path("runs")).unwrap().lines().count(), 5);
    });
}

#[test]
fn a_job_is_suspended_resumed_restarted_and_retried() {
    Bench::run(async |bench| {
        let handle = bench.start().await.handle();
        let go = bench.path("go");
        let job = handle
            .submit(shell(&format!("test -e {} && exit 0; sleep 600", go.display())))
            .await
            .unwrap()
            .job;
        bench.until(&handle, job.id, |job| job.state == JobState::Running).await;
        handle.command(job.id, Command::Suspend).await.unwrap();
        bench.until(&handle, job.id, |job| job.state == JobState::Suspended).await;
        handle.command(job.id, Command::Resume).await.unwrap();
        bench.until(&handle, job.id, |job| job.state == JobState::Running && job.attempt == 2).await;
        handle.command(job.id, Command::Restart).await.unwrap();
        bench.until(&handle, job.id, |job| job.state == JobState::Running && job.attempt == 3).await;
        handle.command(job.id, Command::Cancel).await.unwrap();
        bench.until(&handle, job.id, |job| job.state == JobState::Cancelled).await;
        std::fs::write(&go, "").unwrap();
        handle.command(job.id, Command::Retry).await.unwrap();
        let job = handle.wait(job.id, Duration::from_secs(20)).await.unwrap();
        assert_eq!((job.state, job.attempt), (JobState::Succeeded, 4), "{job:?}");
    });
}

#[test]
fn jobs_are_listed_by_state_label_and_name_newest_first() {
    Bench::run(async |bench| {
        let handle = bench.start().await.handle();
        let mut ids = Vec::new();
        for number in 0..7 {
            let mut spec = Spec { suspended: true, ..shell("true") };
            spec.name = Some(if number % 2 == 0 { "even".into() } else { "odd".into() });
            spec.labels.insert("n/x".into(), format!("{}/v", number % 3));
            ids.push(handle.submit(spec).await.unwrap().job.id);
        }
        // Those of one millisecond are listed in any order, but always in the same.
        ids.sort_unstable_by(|one, other| other.cmp(one));
        let page = |filter: Filter| handle.list(&filter).unwrap();
        let all = page(Filter { limit: 4, ..Filter::default() });
        assert_eq!(all.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids[..4]);
        let rest = page(Filter { limit: 4, before: all.next, ..Filter::default() });
        assert_eq!(rest.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids[4..]);
        assert_eq!(rest.next, None);
        assert_eq!(page(Filter { limit: 50, name: Some("even".into()), ..Filter::default() }).jobs.len(), 4);
        let labels = [("n/x".to_owned(), "0/v".to_owned())].into();
        assert_eq!(page(Filter { limit: 50, labels, ..Filter::default() }).jobs.len(), 3);
        let states = vec![JobState::Suspended, JobState::Failed];
        assert_eq!(page(Filter { limit: 50, states: states.clone(), ..Filter::default() }).jobs.len(), 7);
        let labels = [("n/x".to_owned(), "0/v".to_owned())].into();
        let both = Filter { limit: 50, name: Some("even".into()), labels, states, ..Filter::default() };
        assert_eq!(page(both.clone()).jobs.len(), 2, "0 and 6");
        let first = page(Filter { limit: 1, ..both.clone() });
        let second = page(Filter { limit: 1, before: first.next, ..both });
        assert!(first.jobs[0].id > second.jobs[0].id);
        let created = |job: usize| handle.job(ids[job]).unwrap().created_at;
        let (newest, oldest) = (created(0), created(6));
        assert!(ids.iter().all(|id| id.made_at() == Some(handle.job(*id).unwrap().created_at)));
        let of = |created_after, created_before| {
            page(Filter { limit: 50, created_after, created_before, ..Filter::default() }).jobs.len()
        };
        assert_eq!(of(Some(oldest), Some(newest.after(Duration::from_millis(1)))), 7);
        assert_eq!((of(None, Some(oldest)), of(Some(newest.after(Duration::from_millis(1))), None)), (0, 0));
        assert_eq!(
            page(Filter { limit: 50, states: vec![JobState::Queued], ..Filter::default() }).jobs.len(),
            0
        );
    });
}

#[test]
fn whoever_follows_the_events_finds_the_job_at_least_as_far() {
    Bench::run(async |bench| {
        let handle = bench.start().await.handle();
        let mut events = handle.events(None);
        for _ in 0..20 {
            handle.submit(shell("exit 0")).await.unwrap();
        }
        let mut over = 0;
        while over < 20 {
            let event = events.next().await.unwrap().unwrap();
            let last = handle.history(event.job, 0, 100).unwrap().last().map(|entry| entry.seq);
            assert!(last >= Some(event.entry.seq), "{last:?} after {event:?}");
            if event.entry.state.is_terminal() {
                assert!(handle.job(event.job).unwrap().state.is_terminal(), "{event:?}");
                over += 1;
            }
        }
    });
}

#[test]
#[cfg(feature = "fault-points")]
fn an_embedding_application_hears_that_a_part_was_given_up() {
    Bench::run(async |bench| {
        let handle = bench.start().await.handle();
        handle.recovered().await;
        assert_eq!(handle.unready(), [] as [String; 0]);
        dogwatch_actors::fault::arm("fleet:input=panic@1..").unwrap();
        handle.submit(shell("exit 0")).await.unwrap();
        let gave_up = tokio::time::timeout(Duration::from_secs(20), handle.failed()).await.unwrap();
        assert_eq!((gave_up.part, gave_up.cause.as_str()), ("the fleet", "fault point fleet:input"));
        assert!(handle.unready()[0].contains("the fleet panicked too often"), "{:?}", handle.unready());
        dogwatch_actors::fault::disarm();
    });
}
