//! Every route needs a key, but for those that the table names public.

use actix_web::test::{TestRequest, init_service};
use actix_web::{App, web};
use dogwatch::api::routes::{Access, TABLE};
use dogwatch::api::{Auth, Mount as _};

use crate::api_support::{KEY, NO_JOB, auth, bearer, handle, send};

fn path(pattern: &str) -> String {
    pattern.replace("{id}", NO_JOB).replace("{name}", "paid")
}

#[test]
fn the_public_routes_are_these() {
    let public: Vec<&str> =
        TABLE.iter().filter(|entry| entry.access == Access::Public).map(|entry| entry.pattern).collect();
    assert_eq!(public, ["/livez", "/readyz"]);
    let with_token = TABLE.iter().filter(|entry| entry.access == Access::Token);
    let with_token: Vec<(&str, &str)> =
        with_token.map(|entry| (entry.method.as_str(), entry.pattern)).collect();
    assert_eq!(with_token, [("POST", "/v1/triggers/{name}")]);
}

#[actix_web::test]
async fn every_route_with_no_key_a_wrong_key_and_the_right_key() {
    let app = init_service(App::new().configure(handle().await.configure(auth()))).await;
    let wrong = format!("{}x", &KEY[..KEY.len() - 1]);
    for entry in TABLE {
        let request = || TestRequest::with_uri(&path(entry.pattern)).method(entry.method.clone());
        let context = format!("{} {}", entry.method, entry.pattern);
        for request in [request(), request().insert_header(bearer(&wrong))] {
            let answer = send(&app, request).await;
            if entry.access == Access::Public {
                assert_ne!(answer.status, 401, "{context}");
            } else {
                answer.assert_problem(401, "unauthorized", &context);
                assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"dogwatch\"", "{context}");
                assert_eq!(answer.header("x-content-type-options"), "nosniff", "{context}");
            }
        }
        let answer = send(&app, request().insert_header(bearer(KEY))).await;
        // A key is no token.
        assert_eq!(answer.status == 401, entry.access == Access::Token, "{context}");
        assert_ne!(answer.json()["code"], "route_not_found", "{context}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{context}");
    }
}

#[actix_web::test]
async fn what_is_no_route_does_not_tell_without_a_key() {
    let app = init_service(App::new().configure(handle().await.configure(auth()))).await;
    for uri in ["/v1", "/v1/", "/v1/nope", "/v1/jobs/x/y/z", "/v1/jobs/"] {
        send(&app, TestRequest::with_uri(uri)).await.assert_problem(401, "unauthorized", uri);
        let request = TestRequest::with_uri(uri).insert_header(bearer(KEY));
        send(&app, request).await.assert_problem(404, "route_not_found", uri);
    }
    let wrong_method = TestRequest::patch().uri("/v1/jobs");
    send(&app, wrong_method).await.assert_problem(401, "unauthorized", "a wrong method");
}

#[actix_web::test]
async fn a_path_that_looks_public_is_not() {
    let app = init_service(App::new().configure(handle().await.configure(auth()))).await;
    for uri in [
        "/v1/livez",
        "/v1/jobs/livez",
        "/v1/jobs?/livez",
        "/v1/jobs/%2e%2e/livez",
        "//livez",
        "/metrics?livez",
    ] {
        let answer = send(&app, TestRequest::with_uri(uri)).await;
        assert!(matches!(answer.status, 401 | 404), "{uri}: {answer:?}");
    }
}

#[actix_web::test]
async fn an_application_that_guards_the_scope_itself_needs_no_key() {
    let scope = web::scope("/dogwatch").configure(handle().await.configure(Auth::none()));
    let app = init_service(App::new().service(scope)).await;
    let answer = send(&app, TestRequest::with_uri("/dogwatch/metrics")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
}
