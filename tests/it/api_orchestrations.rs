//! The routes under `/v1/orchestrations`, and why a job is not finished.

use actix_web::http::Method;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, web};
use dogwatch::api::Mount as _;
use dogwatch_actors::orchestration::{ActivityContext, Failure, OrchestrationContext, Registry};
use serde_json::{Value, json};

use crate::api_support::{Answer, Bench, KEY, auth, bearer, send};

fn registry() -> Registry {
    Registry::new()
        .orchestration("waits", |ctx: OrchestrationContext, _: Value| async move {
            ctx.event::<Value>("go").await
        })
        .orchestration("works", |ctx: OrchestrationContext, number: u64| async move {
            ctx.activity::<u64>("double", number).await
        })
        .orchestration("fails", |ctx: OrchestrationContext, _: Value| async move {
            ctx.activity::<u64>("never", ()).await
        })
        .activity("double", |_: ActivityContext, number: u64| async move { Ok::<_, Failure>(number * 2) })
        .activity("never", |_: ActivityContext, (): ()| async move {
            Err::<u64, _>(Failure::new("never", "it never works"))
        })
}

/// An application with the routes under `/ops`.
macro_rules! app {
    ($bench:expr) => {
        init_service(App::new().service(web::scope("/ops").configure($bench.handle.configure(auth())))).await
    };
}

/// A request with a key, and a body where there is one.
fn request(method: Method, path: &str, body: Option<&str>) -> TestRequest {
    let request = TestRequest::with_uri(&format!("/ops/v1{path}")).method(method).insert_header(bearer(KEY));
    match body {
        Some(body) => {
            request.insert_header(("content-type", "application/json")).set_payload(body.to_owned())
        }
        None => request,
    }
}

fn get(path: &str) -> TestRequest {
    request(Method::GET, path, None)
}

fn post(path: &str, body: &str) -> TestRequest {
    request(Method::POST, path, Some(body).filter(|body| !body.is_empty()))
}

#[actix_web::test]
async fn an_instance_is_started_shown_and_explained() {
    let bench = Bench::start_as(|builder| builder.orchestrations(registry())).await;
    let app = app!(bench);
    let body = r#"{"name": "works", "input": 21, "id": "w:1", "tags": {"team": "data"}}"#;
    let started = send(&app, post("/orchestrations", body)).await;
    assert_eq!((started.status, started.header("location")), (202, "/ops/v1/orchestrations/w%3A1"));
    let shown = send(&app, get("/orchestrations/w%3A1?wait=20s")).await.json();
    assert_eq!(
        (&shown["status"], &shown["output"], &shown["input"]),
        (&json!("completed"), &json!(42), &json!(21))
    );
    assert_eq!(shown["links"]["restart"], "/ops/v1/orchestrations/w%3A1/restart");
    assert_eq!((&shown["tags"]["team"], &shown["version"]), (&json!("data"), &json!("1.0.0")));
    let history = send(&app, get("/orchestrations/w:1/history?limit=3")).await.json();
    let kinds: Vec<&str> =
        history["events"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(
        (kinds, &history["next_after"]),
        (vec!["execution_started", "activity_scheduled", "task_completed"], &json!(3))
    );
    let rest = send(&app, get("/orchestrations/w:1/history?after=3")).await.json();
    assert_eq!(
        (&rest["events"][0]["kind"], &rest["next_after"]),
        (&json!("execution_completed"), &Value::Null)
    );

    send(&app, post("/orchestrations", r#"{"name": "waits", "id": "w2"}"#)).await;
    send(&app, get("/orchestrations/w2?wait=50ms")).await;
    let explained = send(&app, get("/orchestrations/w2/explain")).await.json();
    assert_eq!(explained["waits_for"][0]["what"], "the event `go`", "{explained}");
    assert!(
        explained["sentence"].as_str().unwrap().contains("waits for the event `go` since"),
        "{explained}"
    );
    let raised = send(&app, post("/orchestrations/w2/events/go", "[1]")).await;
    assert_eq!(raised.status, 202);
    assert_eq!(send(&app, get("/orchestrations/w2?wait=20s")).await.json()["output"], json!([1]));

    send(&app, post("/orchestrations", r#"{"name": "fails", "id": "f"}"#)).await;
    send(&app, get("/orchestrations/f?wait=20s")).await;
    let explained = send(&app, get("/orchestrations/f/explain")).await.json();
    assert_eq!(explained["last_error"]["type"], "never", "{explained}");
    assert!(explained["sentence"].as_str().unwrap().contains("it never works. Rewind it"), "{explained}");
}

#[actix_web::test]
async fn instances_are_commanded() {
    let bench = Bench::start_as(|builder| builder.orchestrations(registry())).await;
    let app = app!(bench);
    send(&app, post("/orchestrations", r#"{"name": "waits", "id": "w"}"#)).await;
    send(&app, get("/orchestrations/w?wait=50ms")).await;
    for (verb, body, status, said) in [
        ("suspend", r#"{"reason": "lunch"}"#, 202, "suspended"),
        ("suspend", "", 202, "suspended"),
        ("resume", "{}", 202, "running"),
        ("rewind", "", 409, "instance_conflict"),
        ("release", "", 409, "instance_conflict"),
        ("restart", "", 409, "instance_conflict"),
        ("terminate", r#"{"reason": "enough", "recursive": false}"#, 202, "terminated"),
        ("terminate", "", 409, "instance_conflict"),
        ("restart", r#"{"with_new_id": false}"#, 202, "pending"),
    ] {
        let answer = send(&app, post(&format!("/orchestrations/w/{verb}"), body)).await;
        let json = answer.json();
        let told = json["status"].as_str().or_else(|| json["code"].as_str());
        assert_eq!((answer.status, told), (status, Some(said)), "{verb}: {json}");
    }
    let conflict = send(&app, request(Method::DELETE, "/orchestrations/w", None)).await;
    conflict.assert_problem(409, "instance_conflict", "it is not over");
    assert!(matches!(conflict.json()["instance_status"].as_str(), Some("running" | "pending")));
    send(&app, post("/orchestrations/w/terminate", "")).await;
    let gone = send(&app, request(Method::DELETE, "/orchestrations/w", None)).await;
    assert_eq!((gone.status, gone.json()), (200, json!({"deleted": 1, "is_complete": true})));
    send(&app, get("/orchestrations/w")).await.assert_problem(404, "instance_not_found", "purged");
}

#[actix_web::test]
async fn instances_are_listed_and_purged_by_what_they_are() {
    let bench = Bench::start_as(|builder| builder.orchestrations(registry())).await;
    let app = app!(bench);
    for number in 0..6 {
        let team = if number < 2 { "ops" } else { "data" };
        let body =
            json!({"name": "works", "input": number, "id": format!("i{number}"), "tags": {"team": team}});
        send(&app, post("/orchestrations", &body.to_string())).await;
        send(&app, get(&format!("/orchestrations/i{number}?wait=20s"))).await;
    }
    let first = send(&app, get("/orchestrations?tag=team:data&limit=3&payloads=true")).await.json();
    let outputs = |page: &Value| -> Vec<Value> {
        page["instances"].as_array().unwrap().iter().map(|one| one["output"].clone()).collect()
    };
    assert_eq!(outputs(&first), [10, 8, 6]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second =
        send(&app, get(&format!("/orchestrations?tag=team:data&limit=3&payloads=true&cursor={cursor}")))
            .await;
    assert_eq!((outputs(&second.json()), &second.json()["next_cursor"]), (vec![json!(4)], &Value::Null));
    let purge = |query: &str| request(Method::DELETE, &format!("/orchestrations{query}"), None);
    send(&app, purge("")).await.assert_problem(400, "invalid_request", "everything");
    send(&app, purge("?status=running")).await.assert_problem(400, "invalid_request", "what runs");
    let purged = send(&app, purge("?tag=team:data&status=completed")).await;
    assert_eq!(purged.json(), json!({"deleted": 4, "is_complete": true}));
    let left = send(&app, get("/orchestrations")).await.json();
    assert_eq!(left["instances"].as_array().unwrap().len(), 2);
}

#[actix_web::test]
async fn bad_requests_are_told_what_is_wrong() {
    let bench = Bench::start_as(|builder| builder.orchestrations(registry())).await;
    let app = app!(bench);
    send(&app, post("/orchestrations", r#"{"name": "waits", "id": "w"}"#)).await;
    let large = format!(r#"{{"name": "waits", "input": "{}"}}"#, "x".repeat(4 * 1024 * 1024));
    let table: Vec<(TestRequest, u16, &str, &str)> = vec![
        (post("/orchestrations", ""), 400, "malformed_json", "is empty"),
        (post("/orchestrations", "{oops"), 400, "malformed_json", ""),
        (post("/orchestrations", "{}"), 422, "invalid_spec", "name"),
        (post("/orchestrations", r#"{"nam": "waits"}"#), 422, "invalid_spec", ""),
        (post("/orchestrations", r#"{"name": "waits", "id": "a b"}"#), 422, "invalid_spec", ""),
        (post("/orchestrations", r#"{"name": "waits", "id": "a/b"}"#), 404, "task_hub_not_found", ""),
        (post("/orchestrations", r#"{"name": "wiats"}"#), 422, "unknown_orchestration", "waits, works"),
        (
            post("/orchestrations", r#"{"name": "waits", "version": "7"}"#),
            422,
            "unknown_orchestration",
            "version 7",
        ),
        (post("/orchestrations", r#"{"name": "waits", "id": "w"}"#), 409, "instance_exists", "another id"),
        (post("/orchestrations", &large), 422, "invalid_spec", "reference"),
        (post("/orchestrations/w/events/a%20b", "1"), 400, "invalid_request", "event"),
        (post("/orchestrations/nobody/events/go", "1"), 404, "instance_not_found", "nobody"),
        (post("/orchestrations/w/events/go?keep=1000d", "1"), 400, "invalid_request", "30 days"),
        (post("/orchestrations/w/suspend", r#"{"reson": 1}"#), 422, "invalid_spec", "reason"),
        (get("/orchestrations?status=sleeping"), 400, "invalid_request", "status"),
        (get("/orchestrations?tag=x"), 400, "invalid_request", "key:value"),
        (get("/orchestrations?cursor=x"), 400, "invalid_request", "cursor"),
        (get("/orchestrations/w/history?limit=0"), 400, "invalid_request", "limit"),
        (get("/orchestrations/w?wait=2m"), 400, "invalid_request", "wait"),
    ];
    for (request, status, code, said) in table {
        let context = format!("{code} {said}");
        let answer: Answer = send(&app, request).await;
        answer.assert_problem(status, code, &context);
        assert!(answer.json().to_string().contains(said), "{context}: {}", answer.json());
    }
}

#[actix_web::test]
async fn an_event_waits_for_its_instance_and_counts_once() {
    let bench = Bench::start_as(|builder| builder.orchestrations(registry())).await;
    let app = app!(bench);
    for _ in 0..2 {
        let raise =
            post("/orchestrations/later/events/go?keep=1h", "7").insert_header(("idempotency-key", "one"));
        assert_eq!(send(&app, raise).await.status, 202);
    }
    send(&app, get("/orchestrations/later")).await.assert_problem(404, "instance_not_found", "not started");
    send(&app, post("/orchestrations", r#"{"name": "waits", "id": "later"}"#)).await;
    let shown = send(&app, get("/orchestrations/later?wait=20s")).await.json();
    assert_eq!((&shown["status"], &shown["output"]), (&json!("completed"), &json!(7)));
    let history = send(&app, get("/orchestrations/later/history")).await.json();
    let raised = history["events"].as_array().unwrap().iter().filter(|event| event["kind"] == "event_raised");
    assert_eq!(raised.count(), 1);
}

#[actix_web::test]
async fn a_job_says_why_it_is_not_finished() {
    let bench = Bench::start().await;
    let app = app!(bench);
    for (spec, expected) in [
        (json!({"args": ["x"], "suspended": true}), "resume it to let it go on"),
        (json!({"args": ["x"], "start_at": "2099-01-01T00:00:00Z"}), "its time to start since"),
        (json!({"args": ["x"], "name": "night"}), "`night` is"),
    ] {
        let job = send(&app, post("/jobs", &spec.to_string())).await.json();
        let explained =
            send(&app, get(&format!("/jobs/{}/explain", job["id"].as_str().unwrap()))).await.json();
        assert!(explained["sentence"].as_str().unwrap().contains(expected), "{explained}");
    }
}
