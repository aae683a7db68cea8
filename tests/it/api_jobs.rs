//! The life of a job over HTTP, with a real supervisor behind it.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, web};
use dogwatch::api::{Auth, Mount as _};
use dogwatch_actors::runtime::LogStream;
use dogwatch_actors::runtime::fake::Behaviour;
use serde_json::{Value, json};

use crate::api_support::{Answer, Bench, bearer, send};

/// An application with everything mounted under `/dogwatch`, without keys.
pub(crate) async fn app(
    bench: &Bench,
) -> impl Service<actix_http::Request, Response = ServiceResponse<impl MessageBody>, Error = actix_web::Error>
{
    let api = web::scope("/dogwatch").configure(bench.handle.configure(Auth::none()));
    let callbacks = web::scope("/calls").configure(bench.handle.configure_callbacks());
    init_service(App::new().service(api).service(callbacks)).await
}

pub(crate) fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(path)
}

fn post(path: &str, body: &Value) -> TestRequest {
    TestRequest::post().uri(path).set_json(body)
}

/// Submits and returns the path of the job, as the answer says it.
pub(crate) async fn submit<S, B>(app: &S, spec: Value) -> String
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let answer = send(app, post("/dogwatch/v1/jobs", &spec)).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let path = answer.header("location").to_owned();
    assert_eq!(answer.json()["links"]["self"], path);
    assert!(path.ends_with(answer.json()["id"].as_str().unwrap_or("?")), "{path}");
    path
}

/// Asks until `wanted` holds of the job.
pub(crate) async fn until<S, B>(app: &S, path: &str, wanted: impl Fn(&Value) -> bool) -> Value
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let job = send(app, get(path)).await.json();
        if wanted(&job) {
            return job;
        }
        assert!(tokio::time::Instant::now() < deadline, "the job never came to be as wanted: {job}");
        tokio::task::yield_now().await;
    }
}

fn in_state(state: &'static str) -> impl Fn(&Value) -> bool {
    move |job| job["state"] == state
}

#[actix_web::test]
async fn a_job_from_its_submission_to_its_purge() {
    let bench = Bench::start().await;
    let app = app(&bench).await;
    let path = submit(&app, json!({"name": "one", "args": ["true"], "secrets": {"TOKEN": "hunter2"}})).await;
    assert!(path.starts_with("/dogwatch/v1/jobs/"), "{path}");
    let answer = send(&app, get(&format!("{path}?wait=10s"))).await;
    assert_eq!((answer.status, answer.json()["state"].as_str()), (200, Some("succeeded")), "{answer:?}");
    assert_eq!(answer.json()["spec"]["secrets"]["TOKEN"], Value::Null);
    assert!(!String::from_utf8_lossy(&answer.body).contains("hunter2"));
    assert!(answer.json()["links"].get("cancel").is_none(), "{answer:?}");

    let first = send(&app, get(&format!("{path}/history?limit=2"))).await.json();
    assert_eq!(first["entries"].as_array().map(Vec::len), Some(2), "{first}");
    assert_eq!((&first["entries"][0]["seq"], &first["next_after"]), (&json!(1), &json!(2)));
    let rest = send(&app, get(&format!("{path}/history?after=2"))).await.json();
    assert_eq!((&rest["entries"][0]["seq"], &rest["next_after"]), (&json!(3), &Value::Null), "{rest}");

    for verb in ["cancel", "retry", "suspend", "resume", "restart"] {
        let answer = send(&app, TestRequest::post().uri(&format!("{path}/{verb}"))).await;
        answer.assert_problem(409, "job_conflict", verb);
        assert_eq!(answer.json()["state"], "succeeded", "{verb}");
    }
    let gone = send(&app, TestRequest::delete().uri(&path)).await;
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    send(&app, get(&path)).await.assert_problem(404, "job_not_found", "after the purge");
}

#[actix_web::test]
async fn the_same_key_gives_the_same_job() {
    let bench = Bench::start().await;
    let app = app(&bench).await;
    let send_with = |key: &'static str, args: &'static str| {
        let request = post("/dogwatch/v1/jobs", &json!({"args": [args]}));
        send(&app, request.insert_header(("idempotency-key", key)))
    };
    let first = send_with("k1", "a").await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, ""));
    let again = send_with("k1", "a").await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, "true"));
    assert_eq!(again.header("location"), first.header("location"));
    send_with("k1", "b").await.assert_problem(422, "idempotency_mismatch", "another body");
    assert_ne!(send_with("k2", "a").await.header("location"), first.header("location"));
}

#[actix_web::test]
async fn what_parses_and_cannot_be_accepted_is_named_field_by_field() {
    let bench = Bench::start().await;
    let app = app(&bench).await;
    let table = [
        (json!({}), ""),
        (json!({"args": ["x"], "max_attempts": 0}), "/max_attempts"),
        (json!({"args": ["x"], "env": {"DOGWATCH_X": "1"}}), "/env/DOGWATCH_X"),
        (json!({"args": ["x"], "network": "none"}), "/network"),
        (json!({"args": ["x"], "backoff": {"factor": 0.5}}), "/backoff/factor"),
        (json!({"image": "x"}), "/image"),
        (json!({"args": ["x"], "on_complete": [{"url": "http://10.0.0.1"}]}), "/on_complete/0/url"),
    ];
    for (spec, pointer) in table {
        let answer = send(&app, post("/dogwatch/v1/jobs", &spec)).await;
        answer.assert_problem(422, "invalid_spec", &spec.to_string());
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{spec}: {answer:?}");
    }
}

#[actix_web::test]
async fn the_list_is_paged_and_filtered() {
    let bench = Bench::start().await;
    bench.engine.behave(Behaviour::runs());
    let app = app(&bench).await;
    let mut paths = Vec::new();
    for n in 0..5 {
        let team = if n % 2 == 0 { "data" } else { "web" };
        paths.push(
            submit(&app, json!({"name": format!("j{n}"), "args": ["x"], "labels": {"team": team}})).await,
        );
    }
    // Ids sort by time, and within one millisecond somehow.
    paths.sort_unstable();
    paths.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = send(&app, get(&format!("/dogwatch/v1/jobs?limit=2{cursor}"))).await.json();
        for job in page["jobs"].as_array().unwrap() {
            seen.push(job["links"]["self"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, paths, "newest first, each once");
    for (query, count) in
        [("label=team:data", 3), ("label=team:nobody", 0), ("name=j1", 1), ("state=failed", 0)]
    {
        let page = send(&app, get(&format!("/dogwatch/v1/jobs?{query}"))).await.json();
        assert_eq!(page["jobs"].as_array().map(Vec::len), Some(count), "{query}: {page}");
    }
}

#[actix_web::test]
async fn commands_are_answered_with_the_job() {
    let bench = Bench::start().await;
    bench.engine.behave(Behaviour::runs());
    let app = app(&bench).await;
    let path = submit(&app, json!({"args": ["x"]})).await;
    for (verb, before, after) in [
        ("restart", "running", "running"),
        ("suspend", "running", "suspended"),
        ("resume", "suspended", "running"),
        ("cancel", "running", "cancelled"),
        ("retry", "cancelled", "running"),
    ] {
        until(&app, &path, in_state(before)).await;
        let answer = send(&app, TestRequest::post().uri(&format!("{path}/{verb}"))).await;
        assert_eq!(answer.status, 202, "{verb}: {answer:?}");
        assert_eq!(answer.json()["links"]["self"], path, "{verb}");
        until(&app, &path, in_state(after)).await;
    }
    let answer = send(&app, TestRequest::delete().uri(&path)).await;
    answer.assert_problem(409, "job_conflict", "a purge of a job that runs");
}

#[actix_web::test]
async fn a_log_is_read_and_followed() {
    let bench = Bench::start().await;
    let prints = Behaviour::exits(0, Duration::from_millis(20));
    let prints = prints.printing(LogStream::Stdout, "one").printing(LogStream::Stderr, "\u{1b}[31mtwo");
    bench.engine.behave(prints);
    let app = app(&bench).await;
    let path = submit(&app, json!({"args": ["x"]})).await;
    let followed = send(&app, get(&format!("{path}/logs?follow=true"))).await;
    assert_eq!(String::from_utf8_lossy(&followed.body), "one\n\u{1b}[31mtwo\n", "{followed:?}");
    assert_eq!(followed.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(followed.header("x-content-type-options"), "nosniff");
    until(&app, &path, in_state("succeeded")).await;
    for (query, text) in
        [("", "one\n\u{1b}[31mtwo\n"), ("?tail=1", "\u{1b}[31mtwo\n"), ("?stream=stdout", "one\n")]
    {
        let answer = send(&app, get(&format!("{path}/logs{query}"))).await;
        assert_eq!(String::from_utf8_lossy(&answer.body), text, "{query}");
    }
    let answer = send(&app, get(&format!("{path}/logs?attempt=9"))).await;
    answer.assert_problem(404, "attempt_not_found", "an attempt that was not");
    for name in ["sidecar", "../../root.key", "..%2F..%2Froot.key"] {
        let answer = send(&app, get(&format!("{path}/logs?container={name}"))).await;
        answer.assert_problem(400, "invalid_request", name);
    }
}

#[actix_web::test]
async fn a_callback_is_applied_once_and_the_end_is_final() {
    let bench = Bench::start().await;
    bench.engine.behave(Behaviour::runs());
    let app = app(&bench).await;
    let path = submit(&app, json!({"args": ["x"], "completion": "callback"})).await;
    until(&app, &path, |job| job["state"] == "running").await;
    let id = path.rsplit('/').next().unwrap().to_owned();
    let call = |attempt: u32, body: Value| {
        let token = bench.token(&id, attempt);
        send(&app, post(&format!("/calls/v1/callbacks/{id}/{attempt}"), &body).insert_header(bearer(&token)))
    };
    let duplicate = |answer: &Answer| answer.json()["duplicate"].as_bool();

    let progress = json!({"event": "progress", "id": "p1", "data": {"percent": 40}});
    let answer = call(1, progress.clone()).await;
    assert_eq!((answer.status, duplicate(&answer)), (200, Some(false)), "{answer:?}");
    let answer = call(1, progress).await;
    assert_eq!((answer.status, duplicate(&answer)), (200, Some(true)), "{answer:?}");
    assert_eq!(send(&app, get(&path)).await.json()["progress"]["percent"], 40);

    let restarted = send(&app, TestRequest::post().uri(&format!("{path}/restart"))).await;
    assert_eq!(restarted.status, 202);
    until(&app, &path, |job| job["attempt"] == 2 && job["state"] == "running").await;
    let stale = call(1, json!({"event": "completed"})).await;
    stale.assert_problem(410, "stale_attempt", "a callback of the first attempt");
    assert_eq!(stale.json()["attempt"], 2);
    let done = json!({"event": "completed", "data": {"rows": 3}});
    assert_eq!(call(2, done.clone()).await.status, 200);
    let job = until(&app, &path, in_state("succeeded")).await;
    assert_eq!(job["output"]["rows"], 3);
    assert_eq!(call(2, done).await.status, 200, "the same one again");
    let late = call(2, json!({"event": "failed"})).await;
    late.assert_problem(409, "job_conflict", "another one after the end");
    assert_eq!((&late.json()["state"], &late.json()["cause"]), (&json!("succeeded"), &json!("success")));
    let splice = post(&format!("/calls/v1/callbacks/{id}/2"), &json!({"event": "completed"}));
    let splice = splice.insert_header(bearer(&bench.token(&id, 1)));
    send(&app, splice).await.assert_problem(403, "bad_token", "the token of another attempt");
}

#[actix_web::test]
async fn a_raised_event_is_in_the_history_once() {
    let bench = Bench::start().await;
    bench.engine.behave(Behaviour::runs());
    let app = app(&bench).await;
    let path = submit(&app, json!({"args": ["x"]})).await;
    until(&app, &path, in_state("running")).await;
    for duplicate in [false, true] {
        let request = post(&format!("{path}/events/order.paid"), &json!([1, {"a": null}]));
        let answer = send(&app, request.insert_header(("idempotency-key", "e1"))).await;
        assert_eq!((answer.status, &answer.json()["duplicate"]), (202, &json!(duplicate)), "{answer:?}");
    }
    let empty = send(&app, TestRequest::post().uri(&format!("{path}/events/ping"))).await;
    assert_eq!(empty.status, 202, "{empty:?}");
    let history = send(&app, get(&format!("{path}/history"))).await.json().to_string();
    assert_eq!(history.matches("order.paid").count(), 1, "{history}");
}

#[actix_web::test]
async fn the_event_stream_is_resumed_where_it_broke() {
    let bench = Bench::start().await;
    let app = app(&bench).await;
    let path = submit(&app, json!({"args": ["x"]})).await;
    until(&app, &path, in_state("succeeded")).await;
    let whole = frames(&app, get("/dogwatch/v1/events?after=0"), 3).await;
    assert!(whole[0].contains("event: submitted\n") && whole[0].contains(path.rsplit('/').next().unwrap()));
    let id =
        |frame: &str| frame.lines().find_map(|line| line.strip_prefix("id: ")).map(str::to_owned).unwrap();
    let request = get("/dogwatch/v1/events?after=0").insert_header(("last-event-id", id(&whole[0])));
    let rest = frames(&app, request, 2).await;
    assert_eq!(rest, whole[1..], "the header wins over the parameter, and nothing is missed");
}

/// The first `count` events of a stream.
async fn frames<S, B>(app: &S, request: TestRequest, count: usize) -> Vec<String>
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let response = call_service(app, request.to_request()).await;
    assert_eq!(response.headers().get("content-type").unwrap(), "text/event-stream");
    let mut body = Box::pin(response.into_body());
    let mut text = String::new();
    let read = async {
        loop {
            let events: Vec<String> = text
                .split_inclusive("\n\n")
                .filter(|frame| frame.starts_with("id: "))
                .map(str::to_owned)
                .collect();
            if events.len() >= count {
                return events[..count].to_vec();
            }
            let chunk = poll_fn(|cx| Pin::as_mut(&mut body).poll_next(cx)).await.expect("the stream goes on");
            let chunk = chunk.map_err(|_| "a broken stream").unwrap();
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("events in time")
}
