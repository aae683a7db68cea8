//! Webhooks as their job's owner sees them: delivered, given up, tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use actix_web::{App, HttpResponse, HttpServer, web};
use dogwatch_actors::outbound::guard::Guard;
use serde_json::json;

use crate::api_jobs::{app, get, submit, until};
use crate::api_support::{Bench, NO_JOB, send};

/// A receiver that gives the answer that is set; returns its address.
fn receiver(answer: Arc<AtomicU16>) -> String {
    let server = HttpServer::new(move || {
        let answer = Arc::clone(&answer);
        App::new().default_service(web::to(move || {
            let status = StatusCode::from_u16(answer.load(Ordering::SeqCst)).unwrap();
            async move { HttpResponse::build(status).finish() }
        }))
    });
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/hook", server.addrs()[0]);
    actix_web::rt::spawn(server.run());
    url
}

#[actix_web::test]
async fn what_was_given_up_is_shown_and_can_be_tried_again() {
    let bench =
        Bench::start_as(|builder| builder.webhook_guard(Guard { allow_private: true, ..Guard::default() }))
            .await;
    let app = app(&bench).await;
    let (good, bad) = (Arc::new(AtomicU16::new(204)), Arc::new(AtomicU16::new(410)));
    let targets = json!([{"url": receiver(good)}, {"url": receiver(Arc::clone(&bad))}]);
    let path = submit(&app, json!({"args": ["true"], "suspended": true, "on_complete": targets})).await;
    let hooks = format!("{path}/webhooks");

    let before = send(&app, get(&hooks)).await.json();
    assert_eq!(
        (&before["webhooks"][0]["state"], &before["webhooks"][1]["state"]),
        (&json!("idle"), &json!("idle"))
    );
    let replay = |target: &str| TestRequest::post().uri(&format!("{hooks}/{target}/replay"));
    send(&app, replay("1")).await.assert_problem(409, "job_conflict", "nothing was told yet");

    send(&app, TestRequest::post().uri(&format!("{path}/resume"))).await;
    let after = until(&app, &hooks, |list| {
        list["webhooks"][0]["delivered"] == 1 && list["webhooks"][1]["state"] == "parked"
    })
    .await;
    assert_eq!(
        (&after["webhooks"][1]["pending"], &after["webhooks"][1]["delivered"]),
        (&json!(1), &json!(0))
    );
    assert!(after["webhooks"][1]["last_error"].as_str().is_some_and(|why| why.contains("410")), "{after}");

    send(&app, replay("0")).await.assert_problem(409, "job_conflict", "it was delivered");
    bad.store(200, Ordering::SeqCst);
    assert_eq!(send(&app, replay("1")).await.status, 202);
    until(&app, &hooks, |list| list["webhooks"][1]["delivered"] == 1).await;

    for target in ["2", "65536", "x", "-1"] {
        send(&app, replay(target)).await.assert_problem(404, "webhook_not_found", target);
    }
    let nowhere = format!("/dogwatch/v1/jobs/{NO_JOB}/webhooks");
    send(&app, get(&nowhere)).await.assert_problem(404, "job_not_found", "no such job");
}
