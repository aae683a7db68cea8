//! The routes in somebody else's application: under any scope, untouched by its configuration, twice.

use actix_web::test::{TestRequest, init_service};
use actix_web::{App, HttpResponse, web};
use dogwatch::api::{Auth, Mount as _};

use crate::api_support::{KEY, NO_JOB, auth, bearer, handle, send};

#[actix_web::test]
async fn the_applications_own_extractor_settings_change_nothing() {
    let teapot = || HttpResponse::ImATeapot().finish();
    let json = web::JsonConfig::default().limit(1).error_handler(move |error, _| {
        actix_web::error::InternalError::from_response(error, teapot()).into()
    });
    let query = web::QueryConfig::default().error_handler(move |error, _| {
        actix_web::error::InternalError::from_response(error, teapot()).into()
    });
    let path = web::PathConfig::default().error_handler(move |error, _| {
        actix_web::error::InternalError::from_response(error, teapot()).into()
    });
    let app = App::new().app_data(json).app_data(query).app_data(path).app_data(web::PayloadConfig::new(1));
    let app =
        init_service(app.service(web::scope("/ops/{team}").configure(handle().await.configure(auth()))))
            .await;
    let post = |body: &str| {
        let request = TestRequest::post().uri("/ops/data/v1/jobs").insert_header(bearer(KEY));
        request.insert_header(("content-type", "application/json")).set_payload(body.to_owned())
    };
    send(&app, post("{oops")).await.assert_problem(400, "malformed_json", "malformed");
    send(&app, post(r#"{"args": 1}"#)).await.assert_problem(422, "invalid_spec", "a wrong type");
    let get = |path: &str| TestRequest::get().uri(&format!("/ops/data{path}")).insert_header(bearer(KEY));
    send(&app, get("/v1/jobs?x=1")).await.assert_problem(400, "invalid_request", "a wrong query");
    send(&app, get("/v1/jobs/x")).await.assert_problem(404, "job_not_found", "a wrong id");
    send(&app, get(&format!("/v1/jobs/{NO_JOB}"))).await.assert_problem(404, "job_not_found", "no job");
    send(&app, get("/nope")).await.assert_problem(404, "route_not_found", "no route");
    let document = send(&app, get("/openapi.json")).await.json();
    assert_eq!(document["servers"][0]["url"], "/ops/data", "{document}");
}

#[actix_web::test]
async fn the_application_keeps_its_own_routes_and_answers() {
    let scope = web::scope("/dogwatch").configure(handle().await.configure(auth()));
    let app = App::new()
        .service(scope)
        .route("/hello", web::get().to(|| async { "hello" }))
        .default_service(web::to(|| async { HttpResponse::ImATeapot().finish() }));
    let app = init_service(app).await;
    assert_eq!(send(&app, TestRequest::with_uri("/hello")).await.body, b"hello");
    assert_eq!(send(&app, TestRequest::with_uri("/elsewhere")).await.status, 418);
    send(&app, TestRequest::with_uri("/dogwatch/x")).await.assert_problem(
        404,
        "route_not_found",
        "in the scope",
    );
}

#[actix_web::test]
async fn two_supervisors_live_in_one_application() {
    let app = App::new()
        .service(web::scope("/locked").configure(handle().await.configure(auth())))
        .service(web::scope("/open").configure(handle().await.configure(Auth::none())));
    let app = init_service(app).await;
    send(&app, TestRequest::with_uri("/locked/metrics")).await.assert_problem(401, "unauthorized", "locked");
    assert_eq!(send(&app, TestRequest::with_uri("/open/metrics")).await.status, 200);
}

#[actix_web::test]
async fn the_public_routes_answer() {
    let app = init_service(App::new().configure(handle().await.configure(auth()))).await;
    let answer = send(&app, TestRequest::with_uri("/livez")).await;
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("ok")));
    let answer = send(&app, TestRequest::with_uri("/readyz")).await;
    let reasons = answer.json()["reasons"].as_array().map(Vec::len);
    assert_eq!((answer.status, reasons), if answer.status == 200 { (200, Some(0)) } else { (503, reasons) });
    assert!(answer.json()["ready"].is_boolean());
}
