//! Every kind of bad input: its status, its code and, where it is a field, the pointer to it.

use actix_web::App;
use actix_web::http::Method;
use actix_web::test::{TestRequest, init_service};
use dogwatch::api::Mount as _;
use dogwatch::api::routes::TABLE;

use crate::api_support::{Answer, KEY, NO_JOB, auth, bearer, handle, send};

struct Case {
    request: TestRequest,
    name: String,
}

fn get(uri: &str) -> Case {
    Case { request: TestRequest::get().uri(&uri.replace("{id}", NO_JOB)), name: format!("GET {uri}") }
}

fn post(uri: &str, body: impl Into<String>) -> Case {
    let body = body.into();
    let name = format!("POST {uri} {:.80}", body);
    let request = TestRequest::post().uri(&uri.replace("{id}", NO_JOB));
    Case { request: request.insert_header(("content-type", "application/json")).set_payload(body), name }
}

impl Case {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.request = self.request.insert_header((name, value));
        self.name = format!("{} {name}: {value:.40}", self.name);
        self
    }
}

async fn answer(case: Case) -> (Answer, String) {
    let app = init_service(App::new().configure(handle().await.configure(auth()))).await;
    (send(&app, case.request.insert_header(bearer(KEY))).await, case.name)
}

#[actix_web::test]
async fn a_spec_that_cannot_be_accepted() {
    let table = [
        (r#"{"args": ["x"], "comand": 1}"#, "/comand", "args"),
        (r#"{"args": ["x"], "command": ["y"]}"#, "/command", "entrypoint"),
        (r#"{"args": ["x"], "maxAttempts": 1}"#, "/maxAttempts", "max_attempts"),
        (r#"{"args": "x"}"#, "/args", "a list"),
        (r#"{"args": ["x", 1]}"#, "/args/1", "a string"),
        (r#"{"args": ["x"], "timeout": "soon"}"#, "/timeout", "duration"),
        (r#"{"args": ["x"], "restart_policy": "no"}"#, "/restart_policy", "Never"),
        (r#"{"args": ["x"], "resources": {"memory": "lots"}}"#, "/resources/memory", "256Mi"),
        (r#"{"args": ["x"], "resources": {"gpu": 1}}"#, "/resources/gpu", "cpu"),
        (r#"{"image": "x", "retry_rules": [{"action": "nope"}]}"#, "/retry_rules/0/action", "retry_free"),
        (r#"{"image": "x", "service": {"prt": 80}}"#, "/service/prt", "port"),
        (r#"["x"]"#, "", "object"),
        ("null", "", "object"),
        ("42", "", "object"),
    ];
    for (spec, pointer, word) in table {
        let (answer, name) = answer(post("/v1/jobs", spec)).await;
        answer.assert_problem(422, "invalid_spec", &name);
        let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
        let hit = errors.iter().any(|error| {
            error["pointer"] == pointer && error["message"].as_str().is_some_and(|text| text.contains(word))
        });
        assert!(hit, "{name} should have said {word:?} at {pointer:?}, but said {errors:?}");
    }
}

#[actix_web::test]
async fn a_body_that_is_none() {
    let spec = r#"{"args": ["true"]}"#;
    let large = format!(r#"{{"args": ["{}"]}}"#, "x".repeat(256 * 1024));
    let table = [
        (post("/v1/jobs", "{oops"), 400, "malformed_json"),
        (post("/v1/jobs", ""), 400, "malformed_json"),
        (post("/v1/jobs", r#"{"args": ["a"], "args": ["b"]}"#), 400, "malformed_json"),
        (post("/v1/jobs", "[".repeat(10_000)), 400, "malformed_json"),
        (post("/v1/jobs", large), 413, "body_too_large"),
        (post("/v1/jobs", spec).with("content-type", "text/plain"), 415, "unsupported_media_type"),
        (post("/v1/jobs", spec).with("content-type", "application/jsonx"), 415, "unsupported_media_type"),
        (post("/v1/jobs", spec).with("content-encoding", "gzip"), 415, "unsupported_media_type"),
        (post("/v1/jobs", spec).with("idempotency-key", ""), 400, "invalid_request"),
        (post("/v1/jobs", spec).with("idempotency-key", "a b"), 400, "invalid_request"),
        (post("/v1/jobs", spec).with("idempotency-key", &"k".repeat(256)), 400, "invalid_request"),
        (post("/v1/jobs/{id}/cancel", r#"{"reason": "x"}"#), 400, "invalid_request"),
        (post("/v1/jobs/{id}/cancel", "oops"), 400, "malformed_json"),
        (post("/v1/jobs/{id}/cancel", "x".repeat(2000)), 413, "body_too_large"),
        (post("/v1/jobs/{id}/events/paid", "oops"), 400, "malformed_json"),
        (post("/v1/jobs/{id}/events/paid", "\"".to_owned() + &"x".repeat(300_000)), 413, "body_too_large"),
        (post("/v1/jobs/{id}/events/not%20paid", "{}"), 400, "invalid_request"),
        (post(&format!("/v1/jobs/{{id}}/events/{}", "x".repeat(256)), "{}"), 400, "invalid_request"),
        (post("/v1/jobs/{id}/events/paid", "{}").with("idempotency-key", "é"), 400, "invalid_request"),
    ];
    for (case, status, code) in table {
        let (answer, name) = answer(case).await;
        answer.assert_problem(status, code, &name);
    }
}

#[actix_web::test]
async fn malformed_json_says_where() {
    let (answer, _) = answer(post("/v1/jobs", "{\n  \"args\": [oops]\n}")).await;
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("line 2, column 12"), "{detail}");
}

#[actix_web::test]
async fn a_query_that_is_not_known() {
    let long = format!("/v1/jobs?name={}", "x".repeat(9000));
    let table = [
        ("/v1/jobs?limt=3", "did you mean `limit`"),
        ("/v1/jobs?limit=0", "between 1 and 500"),
        ("/v1/jobs?limit=501", "between 1 and 500"),
        ("/v1/jobs?limit=x", "between 1 and 500"),
        ("/v1/jobs?limit=1&limit=2", "more than once"),
        ("/v1/jobs?cursor=x", "next_cursor"),
        ("/v1/jobs?state=runing", "did you mean `running`"),
        ("/v1/jobs?label=team", "key:value"),
        (&long, "longer than"),
        ("/v1/jobs/{id}?wait=soon", "duration"),
        ("/v1/jobs/{id}?wait=1h", "at most 60 seconds"),
        ("/v1/jobs/{id}?wiat=1s", "did you mean `wait`"),
        ("/v1/jobs/{id}/history?after=-1", "`after`"),
        ("/v1/jobs/{id}/history?limit=1001", "between 1 and 1000"),
        ("/v1/jobs/{id}/logs?attempt=x", "`attempt`"),
        ("/v1/jobs/{id}/logs?stream=stdot", "did you mean `stdout`"),
        ("/v1/jobs/{id}/logs?tail=-1", "between 0 and 100000"),
        ("/v1/jobs/{id}/logs?follow=maybe", "`follow`"),
        ("/v1/events?after=x", "`after`"),
        ("/v1/events?job=x", "takes after"),
        ("/metrics?x=1", "takes none"),
        ("/livez?x=1", "takes none"),
        ("/openapi.json?x=1", "takes none"),
    ];
    for (uri, word) in table {
        let (answer, name) = answer(get(uri)).await;
        answer.assert_problem(400, "invalid_request", &name);
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(word), "{name} should have said {word:?}, but said {detail}");
    }
    let (answer, name) = answer(get("/v1/events").with("last-event-id", "x")).await;
    answer.assert_problem(400, "invalid_request", &name);
}

#[actix_web::test]
async fn a_job_that_does_not_exist_or_is_no_id() {
    for id in [NO_JOB, "x", "..", "%2e%2e", &NO_JOB.to_uppercase(), "%00", "{id}"] {
        for entry in TABLE.iter().filter(|entry| entry.pattern.contains("{id}")) {
            let uri = entry
                .pattern
                .replace("{id}", id)
                .replace("{name}", "paid")
                .replace("{instance}", "nobody")
                .replace('{', "%7B")
                .replace('}', "%7D");
            let request = TestRequest::with_uri(&uri).method(entry.method.clone());
            let (answer, name) = answer(Case { request, name: format!("{} {uri}", entry.method) }).await;
            let code = if uri.starts_with("/v1/arrays/") { "array_not_found" } else { "job_not_found" };
            answer.assert_problem(404, code, &name);
        }
    }
}

#[actix_web::test]
async fn a_wrong_method_says_the_right_ones() {
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let app = init_service(App::new().configure(handle().await.configure(auth()))).await;
    for entry in TABLE {
        let right: Vec<&Method> =
            TABLE.iter().filter(|other| other.pattern == entry.pattern).map(|other| &other.method).collect();
        for method in methods.iter().filter(|method| !right.contains(method)) {
            let uri = entry
                .pattern
                .replace("{id}", NO_JOB)
                .replace("{name}", "paid")
                .replace("{instance}", "nobody");
            let request = TestRequest::with_uri(&uri).method(method.clone());
            let (answer, name) =
                (send(&app, request.insert_header(bearer(KEY))).await, format!("{method} {uri}"));
            answer.assert_problem(405, "method_not_allowed", &name);
            let right: Vec<&str> = right.iter().map(|method| method.as_str()).collect();
            assert_eq!(answer.header("allow"), right.join(", "), "{name}");
        }
    }
}
