//! The callback listener serves one route and tells strangers nothing.

use actix_web::http::Method;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, web};
use dogwatch::api::Mount as _;
use dogwatch::api::routes::TABLE;

use crate::api_support::{Answer, KEY, NO_JOB, bearer, handle, send};

async fn answer(request: TestRequest) -> Answer {
    let scope = web::scope("").configure(handle().await.configure_callbacks());
    send(&init_service(App::new().service(scope)).await, request).await
}

fn call(path: &str, body: &str) -> TestRequest {
    let request = TestRequest::post().uri(path).insert_header(("content-type", "application/json"));
    request.insert_header(bearer("dwc_wrong")).set_payload(body.to_owned())
}

#[actix_web::test]
async fn whoever_has_not_the_token_gets_one_answer() {
    let here = format!("/v1/callbacks/{NO_JOB}/1");
    let done = r#"{"event": "completed"}"#;
    let without = TestRequest::post().uri(&here).insert_header(("content-type", "application/json"));
    let mut bodies = Vec::new();
    for (request, name) in [
        (call(&here, done), "a job that does not exist"),
        (without.set_payload(done), "no token"),
        (
            call(&format!("{here}?token=dwc_x"), done).insert_header(("authorization", "Basic eDp5")),
            "another scheme",
        ),
        (call("/v1/callbacks/not-a-job/1", done), "no job id"),
        (call(&format!("/v1/callbacks/{NO_JOB}/0"), done), "attempt 0"),
        (call(&format!("/v1/callbacks/{NO_JOB}/01"), done), "attempt 01"),
        (call(&format!("/v1/callbacks/{NO_JOB}/x"), done), "no attempt"),
        (call(&format!("/v1/callbacks/{NO_JOB}/99999999999"), done), "a huge attempt"),
        (call(&here, done).insert_header(bearer(KEY)), "a key of the API"),
    ] {
        let answer = answer(request).await;
        answer.assert_problem(403, "bad_token", name);
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the answers tell the cases apart");
}

#[actix_web::test]
async fn a_malformed_callback() {
    let here = format!("/v1/callbacks/{NO_JOB}/1");
    let long = format!(r#"{{"event": "{}"}}"#, "x".repeat(256));
    let long_id = format!(r#"{{"event": "x", "id": "{}"}}"#, "x".repeat(256));
    let large = format!(r#"{{"event": "x", "data": "{}"}}"#, "x".repeat(256 * 1024));
    let table = [
        ("oops", 400, "malformed_json", None),
        ("", 400, "malformed_json", None),
        (r#"{"event": "a", "event": "b"}"#, 400, "malformed_json", None),
        ("[]", 422, "invalid_spec", Some("")),
        ("{}", 422, "invalid_spec", Some("/event")),
        (r#"{"event": 1}"#, 422, "invalid_spec", Some("/event")),
        (r#"{"event": ""}"#, 422, "invalid_spec", Some("/event")),
        (r#"{"event": "a b"}"#, 422, "invalid_spec", Some("/event")),
        (r#"{"event": "x", "id": ""}"#, 422, "invalid_spec", Some("/id")),
        (r#"{"event": "x", "dta": 1}"#, 422, "invalid_spec", Some("/dta")),
        (&long, 422, "invalid_spec", Some("/event")),
        (&long_id, 422, "invalid_spec", Some("/id")),
        (&large, 413, "body_too_large", None),
    ];
    for (body, status, code, pointer) in table {
        let answer = answer(call(&here, body)).await;
        let name = format!("{body:.60}");
        answer.assert_problem(status, code, &name);
        if let Some(pointer) = pointer {
            assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{name}");
        }
    }
    let plain = call(&here, "{}").insert_header(("content-type", "text/plain"));
    answer(plain).await.assert_problem(415, "unsupported_media_type", "text");
    let packed = call(&here, "{}").insert_header(("content-encoding", "gzip"));
    answer(packed).await.assert_problem(415, "unsupported_media_type", "gzip");
    answer(call(&format!("{here}?x=1"), "{}")).await.assert_problem(400, "invalid_request", "a query");
}

#[actix_web::test]
async fn nothing_else_is_served() {
    for entry in TABLE {
        let uri = entry.pattern.replace("{id}", NO_JOB).replace("{name}", "paid");
        let request = TestRequest::with_uri(&uri).method(entry.method.clone()).insert_header(bearer(KEY));
        let is_work = |end: &str| uri.starts_with("/v1/queues/") && uri.ends_with(end);
        if ["/receive", "/ack", "/nack", "/renew"].into_iter().any(is_work) {
            // What workers do with the token of their attempt, and nobody with a key.
            answer(request).await.assert_problem(403, "bad_token", &uri);
            continue;
        }
        answer(request).await.assert_problem(404, "route_not_found", &uri);
    }
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
        let request = TestRequest::with_uri(&format!("/v1/callbacks/{NO_JOB}/1")).method(method.clone());
        let answer = answer(request).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "POST"), "{method}");
    }
}
