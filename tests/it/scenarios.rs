//! What must hold on every runtime, written once: the life of a job from its submission to its end.

use serde_json::{Value, json};

use crate::bench::{Bench, On, with};

/// A test for each scenario, here and in `restarts.rs`, on one runtime.
macro_rules! every_scenario {
    ($on:expr) => {
        crate::scenarios::tests_of! { $on,
            scenarios::a_callback_completes_the_job,
            scenarios::an_exit_completes_the_job,
            scenarios::a_failed_callback_fails_the_job,
            scenarios::a_crash_is_tried_again_and_then_succeeds,
            scenarios::retry_rules_and_policies_decide,
            scenarios::a_job_that_eats_its_memory_is_called_so,
            scenarios::time_limits_hold,
            scenarios::a_cancel_stops_what_runs_and_what_waits,
            scenarios::a_job_is_suspended_resumed_restarted_and_retried,
            scenarios::a_bad_command_says_so_and_is_not_tried_again,
            scenarios::a_follower_gets_every_line_as_it_comes_and_the_last_one,
            scenarios::secrets_reach_the_job_and_nobody_else,
            restarts::twenty_survive_a_graceful_stop,
            restarts::twenty_survive_a_kill,
            restarts::twenty_survive_an_upgrade,
            restarts::what_ends_while_nobody_watches_is_found_out,
            restarts::a_kill_amid_submissions_loses_nothing_that_was_answered,
        }
    };
}

macro_rules! tests_of {
    ($on:expr, $($module:ident::$scenario:ident,)*) => {
        $(#[tokio::test]
        async fn $scenario() {
            crate::$module::$scenario($on).await;
        })*
    };
}

pub(crate) use {every_scenario, tests_of};

fn codes(job: &Value) -> Vec<Option<i64>> {
    job["attempts"].as_array().unwrap().iter().map(|attempt| attempt["exit_code"].as_i64()).collect()
}

fn assert_end(job: &Value, state: &str, cause: &str) {
    assert_eq!((job["state"].as_str(), job["cause"].as_str()), (Some(state), Some(cause)), "{job}");
    assert!(job["message"].as_str().is_some_and(|message| !message.is_empty()), "{job}");
    assert!(job["finished_at"].is_string() && job["created_at"].is_string(), "{job}");
}

pub(crate) async fn a_callback_completes_the_job(on: On) {
    let bench = Bench::start(on).await;
    let script = r#"
        call '{"event": "progress", "data": {"percent": 50}}' || exit 7
        call '{"event": "order.paid", "id": "e1", "data": [1]}' || exit 7
        call '{"event": "completed", "id": "done", "data": {"rows": 42}}' || exit 7
        echo told"#;
    let spec = with(
        on.script(script),
        json!({"name": "told", "completion": "callback", "labels": {"team": "data"}}),
    );
    let id = bench.submit(&spec).await;
    let job = bench.over(&id).await;
    assert_end(&job, "succeeded", "success");
    assert_eq!((&job["output"], &job["progress"]), (&json!({"rows": 42}), &json!({"percent": 50})));
    assert_eq!((codes(&job), &job["attempt"]), (vec![Some(0)], &json!(1)), "{job}");
    assert_eq!((&job["name"], &job["labels"]), (&json!("told"), &json!({"team": "data"})));
    let kinds = bench.history(&id).await;
    // The callback may be faster than the report of the start.
    assert!(kinds.starts_with(&["submitted".to_owned(), "slot_granted".to_owned()]), "{kinds:?}");
    assert_eq!(kinds.last().map(String::as_str), Some("attempt_exited"), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "callback_received").count(), 3, "{kinds:?}");
    assert_eq!(bench.logs(&id, "").await, "told\n");
    bench.cleared().await;
}

pub(crate) async fn an_exit_completes_the_job(on: On) {
    let bench = Bench::start(on).await;
    let id = bench.submit(&on.script("echo out; echo err >&2; echo end")).await;
    let job = bench.over(&id).await;
    assert_end(&job, "succeeded", "success");
    assert_eq!(codes(&job), [Some(0)]);
    assert!(job["attempts"][0]["started_at"].is_string() && job["attempts"][0]["finished_at"].is_string());
    assert_eq!(bench.logs(&id, "?stream=stdout").await, "out\nend\n");
    assert_eq!(bench.logs(&id, "?stream=stderr").await, "err\n");
    assert_eq!(bench.logs(&id, "?stream=stdout&tail=1").await, "end\n");
    let mut kinds = bench.history(&id).await;
    // A container may be over before anybody saw it run.
    kinds.retain(|kind| kind != "attempt_started");
    assert_eq!(kinds, ["submitted", "slot_granted", "attempt_exited"]);
    bench.cleared().await;
}

pub(crate) async fn a_failed_callback_fails_the_job(on: On) {
    let bench = Bench::start(on).await;
    let script = r#"call '{"event": "failed", "data": {"message": "no rows"}}' || exit 7"#;
    let id = bench.submit(&with(on.script(script), json!({"restart_policy": "Never"}))).await;
    let job = bench.over(&id).await;
    assert_end(&job, "failed", "callback_failed");
    assert!(job["message"].as_str().unwrap().contains("no rows"), "{job}");
    bench.cleared().await;
}

pub(crate) async fn a_crash_is_tried_again_and_then_succeeds(on: On) {
    let bench = Bench::start(on).await;
    let script = "echo try $DOGWATCH_ATTEMPT; [ $DOGWATCH_ATTEMPT = 3 ] || exit 40";
    let spec = with(on.script(script), json!({"backoff": {"initial": "100ms", "jitter": 0.0}}));
    let id = bench.submit(&spec).await;
    let job = bench.over(&id).await;
    assert_end(&job, "succeeded", "success");
    assert_eq!(codes(&job), [Some(40), Some(40), Some(0)]);
    assert_eq!(
        (&job["attempts"][0]["cause"], &job["attempts"][2]["cause"]),
        (&json!("exit_code"), &json!("success"))
    );
    for attempt in 1..=3 {
        assert_eq!(bench.logs(&id, &format!("?attempt={attempt}")).await, format!("try {attempt}\n"));
    }
    bench.cleared().await;
}

pub(crate) async fn retry_rules_and_policies_decide(on: On) {
    let bench = Bench::start(on).await;
    let quick = json!({"backoff": {"initial": "50ms", "jitter": 0.0}});
    let rules = json!({"retry_rules": [{"exit_codes": [2, "64-78"], "action": "fail"}]});
    let fatal = bench.submit(&with(with(on.script("exit 65"), quick.clone()), rules)).await;
    let never = bench.submit(&with(on.script("exit 3"), json!({"restart_policy": "Never"}))).await;
    let twice = bench.submit(&with(with(on.script("exit 3"), quick), json!({"max_attempts": 2}))).await;
    for (id, expected) in [(fatal, vec![Some(65)]), (never, vec![Some(3)]), (twice, vec![Some(3), Some(3)])] {
        let job = bench.over(&id).await;
        assert_end(&job, "failed", "exit_code");
        assert_eq!(codes(&job), expected);
    }
}

pub(crate) async fn a_job_that_eats_its_memory_is_called_so(on: On) {
    let bench = Bench::start(on).await;
    // A shell variable that doubles: it needs nothing but the shell.
    let script = "x=0123456789; while :; do x=$x$x$x$x; done";
    let limits = json!({"resources": {"memory": "24Mi"}, "max_attempts": 1});
    let id = bench.submit(&with(on.script(script), limits)).await;
    let job = bench.over(&id).await;
    assert_end(&job, "failed", "oom");
    assert!(job["message"].as_str().unwrap().contains("memory"), "{job}");
}

pub(crate) async fn time_limits_hold(on: On) {
    let bench = Bench::start(on).await;
    let sleep = on.script("sleep 300 & wait");
    let one = json!({"attempt_timeout": "600ms", "stop_grace": "1s", "max_attempts": 2, "backoff": {"initial": "50ms"}});
    let whole = json!({"timeout": "900ms", "stop_grace": "1s"});
    let queue = json!({"queue_timeout": "300ms", "suspended": true});
    let (one, whole) =
        (bench.submit(&with(sleep.clone(), one)).await, bench.submit(&with(sleep.clone(), whole)).await);
    let waiting = bench.submit(&with(sleep, queue)).await;
    let job = bench.over(&one).await;
    assert_end(&job, "failed", "timeout");
    assert_eq!(job["attempt"], 2, "a timeout of an attempt is a failure that is tried again: {job}");
    let job = bench.over(&whole).await;
    assert_end(&job, "failed", "timeout");
    assert_eq!(job["attempt"], 1, "{job}");
    // A suspended job waits for somebody, not for a slot: its time in the queue does not run.
    assert_eq!(bench.job(&waiting).await["state"], "suspended");
    bench.ask(&waiting, "cancel").await;
    bench.cleared().await;
}

pub(crate) async fn a_cancel_stops_what_runs_and_what_waits(on: On) {
    let bench = Bench::start(on).await;
    let deaf = with(
        on.script("trap '' TERM; echo ready; while :; do sleep 1; done"),
        json!({"stop_grace": "500ms"}),
    );
    let (running, late) =
        (bench.submit(&deaf).await, with(deaf, json!({"start_at": "2099-01-01T00:00:00Z"})));
    let waiting = bench.submit(&late).await;
    bench
        .eventually("it is deaf", async || (bench.logs(&running, "").await == "ready\n").then_some(()))
        .await;
    assert_eq!(bench.job(&waiting).await["state"], "queued");
    for id in [&running, &waiting] {
        bench.ask(id, "cancel").await;
        assert_end(&bench.over(id).await, "cancelled", "canceled");
        let (status, problem) = bench.post(&format!("/v1/jobs/{id}/cancel"), &Value::Null).await;
        assert_eq!(
            (status, &problem["code"], &problem["state"]),
            (409, &json!("job_conflict"), &json!("cancelled"))
        );
    }
    assert_eq!(codes(&bench.job(&running).await), [Some(137)], "it ignored SIGTERM and was killed");
    assert_eq!(bench.job(&waiting).await["attempts"], json!([]));
    bench.cleared().await;
}

pub(crate) async fn a_job_is_suspended_resumed_restarted_and_retried(on: On) {
    let bench = Bench::start(on).await;
    let script = "[ $DOGWATCH_ATTEMPT -ge 3 ] && exit 9; echo up; sleep 300 & wait";
    let id = bench.submit(&with(on.script(script), json!({"max_attempts": 1, "stop_grace": "1s"}))).await;
    bench.in_state(&id, "running").await;
    bench.ask(&id, "suspend").await;
    bench.in_state(&id, "suspended").await;
    bench.cleared().await;
    bench.ask(&id, "resume").await;
    let job = bench.in_state(&id, "running").await;
    assert_eq!(job["attempt"], 2, "{job}");
    bench.ask(&id, "restart").await;
    let job = bench.over(&id).await;
    assert_end(&job, "failed", "exit_code");
    assert_eq!((&job["attempt"], codes(&job).last()), (&json!(3), Some(&Some(9))), "{job}");
    bench.ask(&id, "retry").await;
    let job = bench.until(&id, "it ran again", |job| job["attempt"] == 4 && job["state"] == "failed").await;
    assert_eq!(codes(&job).last(), Some(&Some(9)), "{job}");
    bench.cleared().await;
}

pub(crate) async fn a_bad_command_says_so_and_is_not_tried_again(on: On) {
    let bench = Bench::start(on).await;
    let argv = |argv: Value| match on {
        On::Process => json!({"args": argv}),
        On::Docker => json!({"image": crate::bench::IMAGE, "entrypoint": argv}),
    };
    let id = bench.submit(&argv(json!(["no-such-command"]))).await;
    let job = bench.over(&id).await;
    assert_end(&job, "failed", "start_error");
    assert_eq!(codes(&job), [Some(127)]);
    assert!(job["message"].as_str().unwrap().contains("no-such-command"), "{job}");
    bench.cleared().await;
}

pub(crate) async fn a_follower_gets_every_line_as_it_comes_and_the_last_one(on: On) {
    let bench = Bench::start(on).await;
    let id = bench
        .submit(&on.script("for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done; printf 'no end'"))
        .await;
    bench.in_state(&id, "running").await;
    let followed = bench.logs(&id, "?follow=true").await;
    assert_eq!(followed, "line 1\nline 2\nline 3\nline 4\nline 5\nno end\n");
    // The end of a log races with the end of its job: whoever sees the one must find the other.
    for round in 0..12 {
        let id = bench.submit(&on.script(&format!("echo first {round}; echo last {round}"))).await;
        let (job, log) = tokio::join!(bench.over(&id), bench.logs(&id, "?follow=true"));
        assert_end(&job, "succeeded", "success");
        let all = format!("first {round}\nlast {round}\n");
        assert_eq!(bench.logs(&id, "").await, all, "after the end");
        assert_eq!(log, all, "followed");
    }
}

pub(crate) async fn secrets_reach_the_job_and_nobody_else(on: On) {
    let bench = Bench::start_with(on, &[("RUST_LOG", "trace")]).await;
    let script = r#"[ ${#TOKEN} = 15 ] || exit 5; sleep 1"#;
    let id = bench.submit(&with(on.script(script), json!({"secrets": {"TOKEN": "hunter2-hunter2"}}))).await;
    let running = bench.in_state(&id, "running").await.to_string();
    if on == On::Docker {
        let container = bench.containers("ps").pop().unwrap();
        let labels =
            crate::bench::docker(&["inspect", "--format", "{{json .Config.Labels}}", &container]).unwrap();
        assert!(!labels.contains("hunter2") && labels.contains(&id), "{labels}");
    }
    let job = bench.over(&id).await;
    assert_end(&job, "succeeded", "success");
    let history = bench.get(&format!("/v1/jobs/{id}/history")).await.to_string();
    for (place, text) in
        [("job", job.to_string()), ("running", running), ("history", history), ("log", bench.log())]
    {
        assert!(!text.contains("hunter2"), "the secret is in the {place}: {text}");
    }
    let needle = b"hunter2-hunter2";
    for file in ["store", "logs", "server.log"] {
        assert_absent(&bench.path().join(file), needle);
    }
}

fn assert_absent(path: &std::path::Path, needle: &[u8]) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            assert_absent(&entry.unwrap().path(), needle);
        }
    } else {
        let content = std::fs::read(path).unwrap();
        let found = content.windows(needle.len()).any(|window| window == needle);
        assert!(!found, "{} holds a secret in the clear", path.display());
    }
}
